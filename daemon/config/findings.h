// What was found while a configuration was read: which keys it sets, where, and what is wrong with them.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "daemon/config/document.h"

namespace mailotp::daemon {

class Findings {
 public:
  explicit Findings(std::string_view file_name) : file_name_(file_name) {}

  // `path` is dotted, with the index of what stands in an array: "mail.from", "relay[0].port", "relay[0]",
  // "app[0].users[1]".
  void saw(const std::string& path, Place at) { seen_.emplace(path, at); }
  [[nodiscard]] bool is_set(const std::string& path) const { return seen_.contains(path); }
  [[nodiscard]] const std::map<std::string, Place>& seen() const { return seen_; }

  void refuse(Place at, std::string what) { refusals_.push_back({at, std::move(what)}); }
  // At the value; for one that is not set at its table.
  void refuse(const std::string& path, std::string what);

  [[nodiscard]] bool clean() const { return refusals_.empty(); }
  // All refusals in the order of the file, one a line. Only when not clean.
  [[nodiscard]] core::Error error() const;

 private:
  struct Refusal {
    Place at;
    std::string what;
  };

  std::string file_name_;
  std::map<std::string, Place> seen_;
  std::vector<Refusal> refusals_;
};

// Where the key stands, else the table that it would stand in, else the file's beginning.
[[nodiscard]] Place place_of(const std::map<std::string, Place>& seen, std::string path);

// Text of the file as a message may show it: at most 40 bytes, without control characters.
[[nodiscard]] std::string shown(std::string_view text);

}  // namespace mailotp::daemon
