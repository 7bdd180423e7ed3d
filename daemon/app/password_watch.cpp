#include "daemon/app/password_watch.h"

#include <algorithm>
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

PasswordWatch::PasswordWatch(uv_loop_t* loop, ReaderThread& reader, core::Log& log)
    : reader_(reader), log_(log), timer_(loop, [this] { look(); }) {}

void PasswordWatch::watch(std::vector<File> files) {
  std::vector<Watched> before = std::exchange(watched_, {});
  ++generation_;
  for (File& file : files) {
    const auto old = std::ranges::find(before, file.name, [](const Watched& one) { return one.of.name; });
    std::string stamp = old == before.end() ? std::string() : std::move(old->stamp);
    watched_.push_back({std::move(file), std::move(stamp)});
  }
}

void PasswordWatch::know() {
  for (Watched& watched : watched_)
    watched.stamp = stamp_of(watched.of.file());
}

void PasswordWatch::start() {
  timer_.start(k_interval);
}

void PasswordWatch::stop() {
  timer_.stop();
}

void PasswordWatch::read_again(std::string_view name) {
  for (Watched& watched : watched_) {
    if (watched.of.name == name) watched.stamp.clear();
  }
  look_now(name);
}

void PasswordWatch::look_now(std::string_view name) {
  for (std::size_t i = 0; i < watched_.size(); ++i) {
    if (watched_[i].of.name == name) look_at(i);
  }
}

void PasswordWatch::look() {
  for (std::size_t i = 0; i < watched_.size(); ++i)
    look_at(i);
  timer_.start(k_interval);
}

void PasswordWatch::look_at(std::size_t index) {
  const Watched& watched = watched_[index];
  const auto work = [file = watched.of.file,
                     known = watched.stamp](core::StoreReader&) -> core::Result<Look> {
    const std::string path = file();
    // The stamp first: a change between the two is seen again at the next look.
    std::string stamp = stamp_of(path);
    if (stamp == known) return Look{std::move(stamp), core::Secret{}};
    return Look{std::move(stamp), read_password(path)};
  };
  const auto done = [this, index, generation = generation_](core::Result<Look> look) {
    if (generation != generation_) return;
    if (!look || look->stamp == watched_[index].stamp) return;
    Watched& seen = watched_[index];
    seen.stamp = look->stamp;
    if (look->password) {
      log_.write(core::LogLevel::info, fmt::format("event=password_read {}", seen.of.name));
      seen.of.changed(std::move(*look->password));
    } else {
      log_.write(core::LogLevel::error, fmt::format("event=password_unreadable {} what=\"{}\"", seen.of.name,
                                                    look->password.error().what));
    }
  };
  (void)reader_.read<Look>(work, done);  // too busy: the next look will see it
}

}  // namespace mailotp::daemon
