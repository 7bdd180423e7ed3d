// SQLite's file layer, counted: what a database costs the disk.
#pragma once

#include <cstdint>

namespace mailotp::bench {

struct FileCounts {
  std::uint64_t syncs = 0;  // of any file
  std::uint64_t log_writes = 0;
  std::uint64_t log_bytes = 0;
  std::uint64_t database_bytes = 0;  // by checkpoints

  [[nodiscard]] FileCounts operator-(const FileCounts& before) const {
    return {syncs - before.syncs, log_writes - before.log_writes, log_bytes - before.log_bytes,
            database_bytes - before.database_bytes};
  }
};

// Is SQLite's default file layer for as long as it lives, which is longer than any connection. One at a time;
// its connections are of one thread.
class CountedFiles {
 public:
  CountedFiles();
  ~CountedFiles();
  CountedFiles(const CountedFiles&) = delete;
  CountedFiles& operator=(const CountedFiles&) = delete;

  // Since it was made.
  [[nodiscard]] FileCounts counts() const;
};

}  // namespace mailotp::bench
