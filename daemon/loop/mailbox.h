// The one way in which threads talk: values moved through a queue. Of the daemon's three mutexes it
// has one; the others are those of the log and of daemon/app/current_tokens.h.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

namespace mailotp::daemon {

template <class T>
class Mailbox {
 public:
  explicit Mailbox(std::size_t bound) : bound_(bound) {}

  // For new work: false when the bound is reached or the mailbox is closed; `value` is then untouched.
  [[nodiscard]] bool try_push(T& value) {
    {
      const std::lock_guard lock(mutex_);
      if (closed_ || queue_.size() >= bound_) return false;
      queue_.push_back(std::move(value));
    }
    filled_.notify_one();
    return true;
  }

  // For what is owed and bounded elsewhere (answers to commands, facts of jobs that are held): never refused.
  void push(T value) {
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back(std::move(value));
    }
    filled_.notify_one();
  }

  // Takes up to `most` values, at once; empty when there is none.
  [[nodiscard]] std::deque<T> take(std::size_t most) {
    const std::lock_guard lock(mutex_);
    return take_locked(most);
  }

  // Waits until there is a value, the mailbox is closed, or `until`.
  [[nodiscard]] std::deque<T> wait(std::size_t most, std::chrono::steady_clock::time_point until) {
    std::unique_lock lock(mutex_);
    filled_.wait_until(lock, until, [this] { return !queue_.empty() || closed_; });
    return take_locked(most);
  }

  // No new work; what is inside is still taken.
  void close() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    filled_.notify_all();
  }

  // Nobody has anything for whoever takes the values.
  [[nodiscard]] bool open_and_empty() {
    const std::lock_guard lock(mutex_);
    return !closed_ && queue_.empty();
  }

  [[nodiscard]] bool closed_and_empty() {
    const std::lock_guard lock(mutex_);
    return closed_ && queue_.empty();
  }

 private:
  std::deque<T> take_locked(std::size_t most) {
    if (queue_.size() <= most) return std::exchange(queue_, {});
    std::deque<T> taken;
    for (std::size_t i = 0; i < most; ++i) {
      taken.push_back(std::move(queue_.front()));
      queue_.pop_front();
    }
    return taken;
  }

  const std::size_t bound_;
  std::mutex mutex_;
  std::condition_variable filled_;
  std::deque<T> queue_;
  bool closed_ = false;
};

}  // namespace mailotp::daemon
