#include "daemon/app/reload.h"

#include <cstdlib>
#include <exception>
#include <utility>
#include <variant>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pthread.h>

#include "core/check.h"
#include "daemon/state/clock.h"

namespace mailotp::daemon {

namespace {

using Why = ReloadFailure::Why;

tl::unexpected<ReloadFailure> failure(Why why, std::string what) {
  return tl::unexpected(ReloadFailure{why, std::move(what)});
}

std::string listed(const std::vector<std::string>& names) {
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ","));
}

std::string line_of(const Reloaded& done) {
  return fmt::format("event=reloaded keys={} keys_from={} restart_needed={} changed={} needs_restart={}",
                     done.keys, done.from_credential ? "credential" : "file",
                     done.needs_restart.empty() ? "no" : "yes", listed(done.changed),
                     listed(done.needs_restart));
}

}  // namespace

Reload::Reload(uv_loop_t* loop, std::string config_path, const InForce& in_force,
               std::vector<store::KeyId> keys, StoreThread& store, const core::BounceTokens& tokens,
               core::Log& log, std::function<void(TakenOver&)> take_over)
    : config_path_(std::move(config_path)),
      in_force_(in_force),
      keys_(std::move(keys)),
      store_(store),
      tokens_(tokens),
      log_(log),
      take_over_(std::move(take_over)),
      made_(1),
      wakeup_(loop, [this] { deliver(); }) {}

Reload::~Reload() {
  CHECK(!is_reading());
}

void Reload::run(ReloadDone done) {
  if (stopped_) return done(failure(Why::stopping, "the daemon is stopping"));
  if (done_ || is_reading()) return done(failure(Why::busy, "a reload is under way"));
  done_ = std::move(done);
  read();
}

void Reload::read() {
  thread_ = std::thread([this, running = Running{in_force_.hold(), keys_, passed_}] {
    try {
      made_.push(prepare(config_path_, running, tokens_));
    } catch (const std::exception& e) {
      log_.write(core::LogLevel::error, fmt::format("event=reload_thread_failed what=\"{}\"", e.what()));
      std::abort();
    }
    wakeup_.send();
  });
  (void)pthread_setname_np(thread_.native_handle(), "reload");  // for people only
}

void Reload::deliver() {
  for (const Made& made : made_.take(1)) {
    thread_.join();  // it has nothing more to do
    take(made);
  }
}

void Reload::take(const Made& prepared) {
  if (!done_) return;  // the daemon stops
  if (!prepared) return finish(failure(Why::files, prepared.error().what));
  const std::shared_ptr<Prepared>& made = *prepared;
  made->order.at = wall_now();
  const bool asked = store_.submit(std::move(made->order), [this, made](const core::Outcome& outcome) {
    if (!done_) return;  // the daemon stops: the next one reads all of it anew
    if (!outcome) return finish(failure(Why::store, outcome.error().what));
    if (const auto* refusal = std::get_if<core::Refusal>(&*outcome))
      return finish(failure(Why::files, refusal->detail));
    keys_ = std::move(made->keys);
    take_over_(made->taken);
    finish(std::move(made->told));
  });
  if (!asked) finish(failure(Why::busy, "more requests wait than can be taken"));
}

void Reload::stop() {
  stopped_ = true;
  if (done_) finish(failure(Why::stopping, "the daemon is stopping"));
}

void Reload::finish(tl::expected<Reloaded, ReloadFailure> result) {
  if (!result)
    log_.write(core::LogLevel::error, fmt::format("event=reload_refused what=\"{}\"", result.error().what));
  else
    log_.write(core::LogLevel::notice, line_of(*result));
  std::exchange(done_, nullptr)(std::move(result));
}

}  // namespace mailotp::daemon
