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
  explicit Secret(const std::string& bytes) : bytes_(bytes) {}
  // Leaves nothing of it in `bytes`.
  explicit Secret(std::string&& bytes) noexcept : bytes_(std::move(bytes)) { wipe(bytes); }
  Secret(Secret&& other) noexcept : bytes_(std::move(other.bytes_)) { wipe(other.bytes_); }
  Secret& operator=(Secret&& other) noexcept {
    if (this != &other) {
      wipe(bytes_);
      bytes_ = std::move(other.bytes_);
      wipe(other.bytes_);
    }
    return *this;
  }
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret() { wipe(bytes_); }

  [[nodiscard]] Secret clone() const { return Secret(bytes_); }
  [[nodiscard]] std::string_view reveal() const { return bytes_; }
  [[nodiscard]] bool empty() const { return bytes_.empty(); }
  [[nodiscard]] std::size_t size() const { return bytes_.size(); }

 private:
  // Short strings live inside the object, so moving leaves their bytes behind: wipe what was moved from as
  // well.
  static void wipe(std::string& bytes) noexcept {
    bytes.resize(bytes.capacity());
    if (!bytes.empty()) ::explicit_bzero(bytes.data(), bytes.size());
    bytes.clear();
  }

  std::string bytes_;
};

}  // namespace mailotp::core
