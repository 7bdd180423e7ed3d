// Lines to a place that nobody may be reading (row 62 of docs/RELIABILITY.md: a full pipe, a journal that
// hangs): the caller never waits for it. A line that does not fit now waits in a bounded queue, which a
// thread of its own empties; beyond the bound lines are dropped, and how many is told in their place when
// there is room again.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "core/time.h"

namespace mailotp::daemon {

// Where lines go. Used by one thread at a time.
class LineTarget {
 public:
  virtual ~LineTarget() = default;
  // Within `wait`; or it can take nothing ever again, which take() then finds.
  [[nodiscard]] virtual bool has_room(core::Millis wait) = 0;
  // How many of these bytes it has taken; the rest has found no room. Who cannot be written to has nowhere to
  // say so: the line is lost, and counts as taken. Never waits when has_room() was true.
  [[nodiscard]] virtual std::size_t take(std::string_view line) = 0;
  // The longest that take() has a chance to take whole, without waiting.
  [[nodiscard]] virtual std::size_t longest() const = 0;
};

// A descriptor that stays as it is, blocking: others share it. So each write is one that poll(2) says there
// is room for, and no longer than a pipe takes whole (PIPE_BUF).
class StreamTarget final : public LineTarget {
 public:
  explicit StreamTarget(int descriptor) : descriptor_(descriptor) {}
  [[nodiscard]] bool has_room(core::Millis wait) override;
  [[nodiscard]] std::size_t take(std::string_view line) override;
  [[nodiscard]] std::size_t longest() const override;

 private:
  int descriptor_;
};

// journald's socket: each line is one datagram. One that comes back after it was away is found again.
class JournalTarget final : public LineTarget {
 public:
  // None: nobody is there.
  [[nodiscard]] static std::unique_ptr<JournalTarget> open(const std::string& path);
  ~JournalTarget() override;
  JournalTarget(const JournalTarget&) = delete;
  JournalTarget& operator=(const JournalTarget&) = delete;
  [[nodiscard]] bool has_room(core::Millis wait) override;
  [[nodiscard]] std::size_t take(std::string_view line) override;
  [[nodiscard]] std::size_t longest() const override;

 private:
  explicit JournalTarget(std::string path) : path_(std::move(path)) {}
  [[nodiscard]] bool connect();

  std::string path_;
  int socket_ = -1;
};

class LineSink {
 public:
  // `dropped` makes the line, with its end, that stands for so many dropped ones. It is called by the thread.
  // The target outlives the sink.
  LineSink(LineTarget& target, std::function<std::string(std::uint64_t)> dropped);
  // Waits up to k_last_words for what is queued, and gives up the rest.
  ~LineSink();
  LineSink(const LineSink&) = delete;
  LineSink& operator=(const LineSink&) = delete;

  // Any thread. With nothing queued and room in the target the line is there when this returns.
  void write(std::string line);
  // Lines, ever. Any thread.
  [[nodiscard]] std::uint64_t dropped() const;

 private:
  void run();
  [[nodiscard]] bool write_all(std::string_view line);
  [[nodiscard]] std::string next_locked();

  static constexpr std::size_t k_most_bytes = 1 << 20;
  static constexpr core::Millis k_last_words{1000};

  // The caller's under the mutex while nothing is queued, else the thread's alone.
  LineTarget& target_;
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
