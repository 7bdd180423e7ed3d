#include "daemon/app/line_sink.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <utility>

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

namespace mailotp::daemon {

namespace {

constexpr core::Millis k_look{100};  // how soon the thread sees that it is to end

bool has_room(int descriptor, core::Millis wait) {
  pollfd out{descriptor, POLLOUT, 0};
  return ::poll(&out, 1, static_cast<int>(wait.count())) == 1;
}

}  // namespace

LineSink::LineSink(int descriptor, std::function<std::string(std::uint64_t)> dropped)
    : descriptor_(descriptor), dropped_line_(std::move(dropped)) {}

LineSink::~LineSink() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    last_moment_ = std::chrono::steady_clock::now() + k_last_words;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void LineSink::write(std::string line) {
  const std::lock_guard lock(mutex_);
  const bool idle = queue_.empty() && dropped_ == 0 && !writing_;
  if (idle && line.size() <= PIPE_BUF && has_room(descriptor_, core::Millis{0})) {
    line.erase(0, write_some(line));
    if (line.empty()) return;
  }
  if (bytes_ + line.size() > k_most_bytes) {
    ++dropped_;
    ++dropped_ever_;
    return;
  }
  bytes_ += line.size();
  queue_.push_back(std::move(line));
  if (!thread_.joinable()) {
    thread_ = std::thread([this] { run(); });
    (void)pthread_setname_np(thread_.native_handle(), "log");  // for people only
  }
  changed_.notify_all();
}

std::uint64_t LineSink::dropped() const {
  const std::lock_guard lock(mutex_);
  return dropped_ever_;
}

// What is left of it afterwards has found no room.
std::size_t LineSink::write_some(std::string_view line) const {
  ssize_t written = -1;
  do {
    written = ::write(descriptor_, line.data(), std::min<std::size_t>(line.size(), PIPE_BUF));
  } while (written < 0 && errno == EINTR);
  // A log that cannot be written has nowhere to say so: the line is lost.
  return written < 0 ? line.size() : static_cast<std::size_t>(written);
}

// For the thread. False: there was no room for all of it within the time that is left.
bool LineSink::write_all(std::string_view line) {
  while (true) {
    line.remove_prefix(write_some(line));
    if (line.empty()) return true;
    while (!has_room(descriptor_, k_look)) {
      const std::lock_guard lock(mutex_);
      if (ending_ && std::chrono::steady_clock::now() >= last_moment_) return false;
    }
  }
}

// What was dropped was dropped after all that is queued.
std::string LineSink::next_locked() {
  if (queue_.empty()) return dropped_line_(std::exchange(dropped_, 0));
  std::string line = std::move(queue_.front());
  queue_.pop_front();
  bytes_ -= line.size();
  return line;
}

void LineSink::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return ending_ || !queue_.empty() || dropped_ > 0; });
    if (queue_.empty() && dropped_ == 0) return;
    lock.unlock();
    const bool room = has_room(descriptor_, k_look);
    lock.lock();
    if (!room) {
      if (ending_ && std::chrono::steady_clock::now() >= last_moment_) return;
      continue;
    }
    const std::string line = next_locked();
    writing_ = true;
    lock.unlock();
    const bool done = write_all(line);
    lock.lock();
    writing_ = false;
    if (!done) return;
  }
}

}  // namespace mailotp::daemon
