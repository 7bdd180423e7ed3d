// Whether the files that are open are still the ones that the folder has: what is written to a file that was
// removed or replaced is written for nobody.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "core/result.h"

namespace mailotp::store {

class FileWatch {
 public:
  // Remembers the database and its log as they are now.
  explicit FileWatch(const std::string& database);
  // Errc::unavailable names the file that is gone or another one.
  [[nodiscard]] core::Result<> look() const;

 private:
  struct Watched {
    std::string path;
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    bool operator==(const Watched&) const = default;
  };
  static Watched stat(std::string path);

  std::array<Watched, 3> files_;
};

}  // namespace mailotp::store
