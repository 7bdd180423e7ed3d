// Room on a full disk for the results of what is already under way: a file beside the database that is
// allocated in good times and given up when the disk is full.
#pragma once

#include <cstdint>
#include <string>

#include "core/result.h"

namespace mailotp::store {

class Reserve {
 public:
  // `size` bytes in state_dir/mailotpd.reserve; 0: none.
  Reserve(const std::string& state_dir, std::int64_t size)
      : path_(state_dir + "/mailotpd.reserve"), size_(size) {}

  // Is there already, or is allocated now: then half as much room again must be left beside it, or the disk
  // would be full again with the next commit. Errc::no_space; Errc::unavailable when nothing can be written.
  [[nodiscard]] core::Result<> make() const;
  // The file stays, with nothing in it: where inodes have run out, a new one could not be made.
  void give_up() const;

 private:
  std::string path_;
  std::int64_t size_;
};

// What the disk of the folder has left for us, in bytes. Errc::unavailable: it cannot be asked, or is
// read-only.
[[nodiscard]] core::Result<std::int64_t> free_disk(const std::string& state_dir);

}  // namespace mailotp::store
