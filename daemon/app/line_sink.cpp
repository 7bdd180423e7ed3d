#include "daemon/app/line_sink.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <utility>

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace mailotp::daemon {

namespace {

constexpr core::Millis k_look{100};  // how soon the thread sees that it is to end

bool becomes_writable(int descriptor, core::Millis wait) {
  pollfd out{descriptor, POLLOUT, 0};
  return ::poll(&out, 1, static_cast<int>(wait.count())) == 1;
}

}  // namespace

bool StreamTarget::has_room(core::Millis wait) {
  return becomes_writable(descriptor_, wait);
}

std::size_t StreamTarget::take(std::string_view line) {
  ssize_t written = -1;
  do {
    written = ::write(descriptor_, line.data(), std::min<std::size_t>(line.size(), PIPE_BUF));
  } while (written < 0 && errno == EINTR);
  return written < 0 ? line.size() : static_cast<std::size_t>(written);
}

std::size_t StreamTarget::longest() const {
  return PIPE_BUF;
}

std::unique_ptr<JournalTarget> JournalTarget::open(const std::string& path) {
  std::unique_ptr<JournalTarget> target(new JournalTarget(path));
  if (path.size() >= sizeof sockaddr_un{}.sun_path || !target->connect()) return nullptr;
  return target;
}

JournalTarget::~JournalTarget() {
  if (socket_ >= 0) (void)::close(socket_);
}

bool JournalTarget::connect() {
  if (socket_ < 0) socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path_.copy(address.sun_path, sizeof address.sun_path - 1);
  return socket_ >= 0 && ::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

// The kernel wakes a poll for a datagram socket that is connected when its peer has read.
bool JournalTarget::has_room(core::Millis wait) {
  return becomes_writable(socket_, wait);
}

std::size_t JournalTarget::take(std::string_view line) {
  for (bool again = false;; again = true) {
    const ssize_t sent = ::send(socket_, line.data(), line.size(), MSG_NOSIGNAL);
    if (sent >= 0) return line.size();
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == ENOBUFS) return 0;
    const bool away = errno == ECONNREFUSED || errno == ENOTCONN || errno == ECONNRESET;
    if (again || !away || !connect()) return line.size();
  }
}

std::size_t JournalTarget::longest() const {
  return std::string_view::npos;
}

LineSink::LineSink(LineTarget& target, std::function<std::string(std::uint64_t)> dropped)
    : target_(target), dropped_line_(std::move(dropped)) {}

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
  if (idle && line.size() <= target_.longest() && target_.has_room(core::Millis{0})) {
    line.erase(0, target_.take(line));
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

// For the thread. False: there was no room for all of it within the time that is left.
bool LineSink::write_all(std::string_view line) {
  while (true) {
    line.remove_prefix(target_.take(line));
    if (line.empty()) return true;
    while (!target_.has_room(k_look)) {
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
    const bool room = target_.has_room(k_look);
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
