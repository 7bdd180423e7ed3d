// What keygen and backup need of files. errno says why something failed.
#pragma once

#include <string>
#include <string_view>

namespace mailotp::ctl {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor();
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

[[nodiscard]] bool write_all(int fd, std::string_view bytes);
// The name of a new file is durable when its folder is.
[[nodiscard]] bool sync_folder_of(const std::string& path);

}  // namespace mailotp::ctl
