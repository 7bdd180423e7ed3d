// A code, a body, a password or a key. It has no printer, no implicit conversion and no copy; its bytes are
// wiped when it goes. Names the places where a secret is looked at: search for `.reveal()`.
#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace mailotp::core {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string bytes) : bytes_(std::move(bytes)) {}
  Secret(Secret&& other) noexcept : bytes_(std::move(other.bytes_)) { other.wipe(); }
  Secret& operator=(Secret&& other) noexcept {
    if (this != &other) {
      wipe();
      bytes_ = std::move(other.bytes_);
      other.wipe();
    }
    return *this;
  }
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret() { wipe(); }

  [[nodiscard]] Secret clone() const { return Secret(bytes_); }
  [[nodiscard]] std::string_view reveal() const { return bytes_; }
  [[nodiscard]] bool empty() const { return bytes_.empty(); }
  [[nodiscard]] std::size_t size() const { return bytes_.size(); }

 private:
  // Short strings live inside the object, so moving leaves their bytes behind: wipe what was moved from as
  // well.
  void wipe() noexcept {
    bytes_.resize(bytes_.capacity());
    if (!bytes_.empty()) ::explicit_bzero(bytes_.data(), bytes_.size());
    bytes_.clear();
  }

  std::string bytes_;
};

}  // namespace mailotp::core
