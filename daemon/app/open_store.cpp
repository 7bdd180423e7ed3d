// The store at the start: opened, put right after whatever ended the last run, and running.
#include <chrono>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/store_rules.h"
#include "daemon/app/parts.h"
#include "daemon/app/places.h"
#include "store/sqlite_reader.h"
#include "store/sqlite_store.h"

namespace mailotp::daemon {

namespace {

StartFailure store_failure(const core::Config& config, const core::Error& error) {
  ExitCode code = ExitCode::store_failed;
  if (error.code == core::Errc::busy) code = ExitCode::store_locked;
  // A key that the file lacks is put right by the operator, not by another start.
  if (error.code == core::Errc::invalid) code = ExitCode::bad_configuration;
  return {code, fmt::format("{}/mailotpd.db: {}", config.daemon.state_dir, error.what)};
}

}  // namespace

// The clock may have been set while nobody ran.
core::Result<> App::Parts::follow_clock(store::SqliteStore& opened) {
  const auto saved = opened.saved_clock();
  if (!saved) return tl::unexpected(saved.error());
  core::ShiftClock shift{wall_now(), core::Millis{0}, {clock::boot_id(), clock::offset()}};
  if (*saved && !shift.clock.boot.empty() && (*saved)->boot == shift.clock.boot) {
    const core::Millis by = shift.clock.offset - (*saved)->offset;
    if (std::chrono::abs(by) > clock::k_step) shift.by = by;
  }
  if (shift.by.count() != 0)
    log.write(core::LogLevel::warning,
              fmt::format("event=clock_stepped by_seconds={}",
                          std::chrono::duration_cast<core::Seconds>(shift.by).count()));
  std::vector<core::Command> batch;
  batch.emplace_back(std::move(shift));
  const core::Committed done = opened.commit(batch, {}, wall_now());
  if (!done.outcomes.front()) return tl::unexpected(done.outcomes.front().error());
  return {};
}

tl::expected<void, StartFailure> App::Parts::open_store(store::KeyRing keys) {
  const core::Config& config = this->config();
  if (const auto made = make_directories(config); !made)
    return tl::unexpected(StartFailure{ExitCode::store_failed, made.error().what});
  const core::StoreRules rules = core::store_rules(config, (*in_force)->composer);
  store::StoreOptions options{.state_dir = config.daemon.state_dir,
                              .keys = std::move(keys),
                              .policy = rules.policy,
                              .return_path = rules.return_path,
                              .max_open_messages = rules.max_open_messages,
                              .composer = *rules.composer,
                              .random = random,
                              .tokens = *tokens,
                              .min_free_disk = rules.min_free_disk,
                              .retention = rules.retention,
                              .verp = rules.verp,
                              .verdicts = rules.verdicts,
                              .foreign = rules.foreign,
                              .limits = rules.limits,
                              .brake = rules.brake};
  auto opened = store::SqliteStore::open(std::move(options));
  if (!opened) return tl::unexpected(store_failure(config, opened.error()));
  if (auto shifted = follow_clock(**opened); !shifted)
    return tl::unexpected(store_failure(config, shifted.error()));
  const auto recovered = (*opened)->recover(wall_now());
  if (!recovered) return tl::unexpected(store_failure(config, recovered.error()));
  if (recovered->orphans > 0) {
    log.write(core::LogLevel::notice, fmt::format("event=recovered uncertain={} held={}",
                                                  recovered->orphans - recovered->held, recovered->held));
  }
  if (const auto& restored = recovered->restored) {
    log.write(
        core::LogLevel::warning,
        fmt::format(
            "event=restored challenges_canceled={} messages_held={} reason=\"the database is a backup\"",
            restored->challenges, restored->messages));
  }
  if (recovered->unreadable > 0) {
    log.write(core::LogLevel::error,
              fmt::format("event=rows_unreadable count={} reason=\"they are held\"", recovered->unreadable));
  }
  if (recovered->limits_anew)
    log.write(core::LogLevel::warning,
              "event=limits_anew reason=\"no key in the key file opens what they were counted under\"");
  auto reading = store::SqliteReader::open(config.daemon.state_dir, rules.limits);
  if (!reading) return tl::unexpected(store_failure(config, reading.error()));
  store.emplace(&loop.loop, std::move(*opened), *delivery, log);
  reader.emplace(&loop.loop, std::move(*reading));
  suspended = recovered->suspended;
  store->start(*recovered);
  return {};
}

}  // namespace mailotp::daemon
