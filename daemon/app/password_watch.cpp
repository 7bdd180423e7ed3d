#include "daemon/app/password_watch.h"

#include <utility>

#include <fmt/format.h>
#include <sys/stat.h>

#include "daemon/app/places.h"

namespace mailotp::daemon {

namespace {

constexpr core::Millis k_interval{1000};

struct Look {
  std::string stamp;
  core::Result<core::Secret> password;
};

std::string stamp_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return "missing";
  return fmt::format("{} {} {} {}.{}", status.st_ino, status.st_size, status.st_mode, status.st_ctim.tv_sec,
                     status.st_ctim.tv_nsec);
}

}  // namespace

PasswordWatch::PasswordWatch(uv_loop_t* loop, const core::Config& config, ReaderThread& reader,
                             std::function<void(core::SetPassword)> changed, core::Log& log)
    : reader_(reader), changed_(std::move(changed)), log_(log), timer_(loop, [this] { look(); }) {
  for (const core::RelayConfig& relay : config.relays) {
    if (authenticates(relay)) watched_.push_back({relay, stamp_of(password_file_of(relay))});
  }
}

void PasswordWatch::start() {
  if (!watched_.empty()) timer_.start(k_interval);
}

void PasswordWatch::stop() {
  timer_.stop();
}

void PasswordWatch::read_again(std::string_view relay) {
  for (std::size_t i = 0; i < watched_.size(); ++i) {
    if (watched_[i].relay.name != relay) continue;
    watched_[i].stamp.clear();
    look_at(i);
  }
}

void PasswordWatch::look() {
  for (std::size_t i = 0; i < watched_.size(); ++i)
    look_at(i);
  timer_.start(k_interval);
}

void PasswordWatch::look_at(std::size_t index) {
  const Watched& watched = watched_[index];
  const auto work = [relay = watched.relay, known = watched.stamp](core::StoreReader&) -> core::Result<Look> {
    // The stamp first: a change between the two is seen again at the next look.
    std::string stamp = stamp_of(password_file_of(relay));
    if (stamp == known) return Look{std::move(stamp), core::Secret{}};
    return Look{std::move(stamp), read_relay_password(relay)};
  };
  const auto done = [this, index](core::Result<Look> look) {
    if (!look || look->stamp == watched_[index].stamp) return;
    Watched& seen = watched_[index];
    seen.stamp = look->stamp;
    if (look->password) {
      log_.write(core::LogLevel::info, fmt::format("event=password_read relay={}", seen.relay.name));
      changed_(core::SetPassword{seen.relay.name, std::move(*look->password)});
    } else {
      log_.write(core::LogLevel::error, fmt::format("event=password_unreadable relay={} what=\"{}\"",
                                                    seen.relay.name, look->password.error().what));
    }
  };
  (void)reader_.read<Look>(work, done);  // too busy: the next look will see it
}

}  // namespace mailotp::daemon
