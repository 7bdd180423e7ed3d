#include "daemon/app/service_notices.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

namespace mailotp::daemon {

namespace {

constexpr core::Millis k_again{100};  // a manager that takes nothing now
constexpr core::Millis k_longest_between_looks{2000};
constexpr int k_looks = 10;  // in the watchdog's time

}  // namespace

ServiceNotices::Manager ServiceNotices::manager_of_environment() {
  Manager manager;
  if (const char* socket = std::getenv("NOTIFY_SOCKET"); socket != nullptr) manager.socket = socket;
  std::uint64_t watchdog = 0;  // µs
  if (sd_watchdog_enabled(0, &watchdog) > 0)
    manager.watchdog = core::Millis{std::max<std::int64_t>(1, static_cast<std::int64_t>(watchdog / 1000))};
  return manager;
}

// The descriptor is kept: there may be none left when it matters.
ServiceNotices::ServiceNotices(uv_loop_t* loop, Manager manager, core::Log& log)
    : loop_(loop), manager_(std::move(manager)), log_(log), timer_(loop, [this] { on_timer(); }) {
  if (!manager_.socket.empty()) socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

ServiceNotices::~ServiceNotices() {
  if (socket_ >= 0) (void)::close(socket_);
}

void ServiceNotices::ready(std::vector<WatchedPart> parts) {
  if (socket_ < 0) return;
  for (WatchedPart& part : parts)
    watched_.push_back({std::move(part), std::nullopt});
  feeding_ = manager_.watchdog.has_value();
  fed_at_ = uv_now(loop_);
  owe("READY=1");
}

void ServiceNotices::stopping(core::Millis most) {
  if (socket_ < 0) return;
  owe(fmt::format("STOPPING=1\nEXTEND_TIMEOUT_USEC={}",
                  std::chrono::duration_cast<std::chrono::microseconds>(most).count()));
}

void ServiceNotices::owe(const std::string& notice) {
  if (!owed_.empty()) owed_ += '\n';
  owed_ += notice;
  pay();
  schedule();
}

void ServiceNotices::pay() {
  if (!owed_.empty() && send(owed_)) owed_.clear();
}

void ServiceNotices::on_timer() {
  pay();
  if (feeding_) look();
  schedule();
}

void ServiceNotices::schedule() {
  core::Millis wait = k_longest_between_looks;
  if (feeding_) wait = std::clamp(*manager_.watchdog / k_looks, core::Millis{1}, wait);
  if (!owed_.empty()) wait = std::min(wait, k_again);
  if (feeding_ || !owed_.empty()) timer_.start(wait);
}

void ServiceNotices::look() {
  const std::string name = silent();
  if (name.empty()) {
    if (!send("WATCHDOG=1")) return;  // a manager that takes nothing looks at no watchdog either
    for (Watched& watched : watched_)
      watched.signs = watched.part.signs_of_life();
    fed_at_ = uv_now(loop_);
    if (std::exchange(told_, false)) log_.write(core::LogLevel::notice, "event=watchdog_fed_again");
    return;
  }
  const core::Millis since{static_cast<std::int64_t>(uv_now(loop_) - fed_at_)};
  if (since < *manager_.watchdog / 2 || std::exchange(told_, true)) return;
  log_.write(core::LogLevel::error,
             fmt::format("event=watchdog_withheld silent={} since_ms={}", name, since.count()));
}

// Empty: nobody is.
std::string ServiceNotices::silent() {
  for (const Watched& watched : watched_) {
    const std::optional<std::uint64_t> now = watched.part.signs_of_life();
    if (now && now == watched.signs) return watched.part.name;
  }
  return {};
}

// False: it is to be tried again. A manager that is gone, or that never was where the variable says, is not.
bool ServiceNotices::send(const std::string& notice) const {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (manager_.socket.size() >= sizeof address.sun_path) return true;
  std::memcpy(address.sun_path, manager_.socket.data(), manager_.socket.size());
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + manager_.socket.size());
  ssize_t sent = -1;
  do {
    sent = ::sendto(socket_, notice.data(), notice.size(), MSG_NOSIGNAL,
                    reinterpret_cast<const sockaddr*>(&address), length);
  } while (sent < 0 && errno == EINTR);
  return sent >= 0 || (errno != EAGAIN && errno != ENOBUFS);
}

}  // namespace mailotp::daemon
