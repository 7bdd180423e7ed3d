// Lines to a descriptor that nobody may be reading (row 62 of docs/RELIABILITY.md: a full pipe, a journal
// that hangs): the caller never waits for it. A line that does not fit now waits in a bounded queue, which a
// thread of its own empties; beyond the bound lines are dropped, and how many is told in their place when
// there is room again.
//
// The descriptor stays as it is, blocking: others share it. So each write is one that poll(2) says there is
// room for, and no longer than a pipe takes whole (PIPE_BUF).
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "core/time.h"

namespace mailotp::daemon {

class LineSink {
 public:
  // `dropped` makes the line, with its end, that stands for so many dropped ones. It is called by the thread.
  LineSink(int descriptor, std::function<std::string(std::uint64_t)> dropped);
  // Waits up to k_last_words for what is queued, and gives up the rest.
  ~LineSink();
  LineSink(const LineSink&) = delete;
  LineSink& operator=(const LineSink&) = delete;

  // Any thread. With nothing queued and room in the descriptor the line is there when this returns.
  void write(std::string line);
  // Lines, ever. Any thread.
  [[nodiscard]] std::uint64_t dropped() const;

 private:
  void run();
  [[nodiscard]] std::size_t write_some(std::string_view line) const;
  [[nodiscard]] bool write_all(std::string_view line);
  [[nodiscard]] std::string next_locked();

  static constexpr std::size_t k_most_bytes = 1 << 20;
  static constexpr core::Millis k_last_words{1000};

  const int descriptor_;
  const std::function<std::string(std::uint64_t)> dropped_line_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> queue_;
  std::size_t bytes_ = 0;
  std::uint64_t dropped_ = 0;  // not told yet
  std::uint64_t dropped_ever_ = 0;
  bool writing_ = false;  // the thread has a line in its hands
  bool ending_ = false;
  std::chrono::steady_clock::time_point last_moment_;  // when ending
  std::thread thread_;                                 // since the first line that had to wait
};

}  // namespace mailotp::daemon
