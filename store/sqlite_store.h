// The Store in one SQLite file, state_dir/mailotpd.db: WAL, synchronous=FULL, one transaction a batch. One
// thread, and the only writer: it holds the folder's lock. A SqliteReader may read beside it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/bounce_rules.h"
#include "core/composer.h"
#include "core/random.h"
#include "core/store.h"
#include "core/tokens.h"
#include "store/keys.h"

namespace mailotp::store {

struct StoreOptions {
  std::string state_dir;  // must exist
  KeyRing keys;
  core::DeliveryPolicy policy;
  std::string return_path;                     // envelope sender of every job, but for its tag
  std::int64_t max_open_messages = 1'000'000;  // with as many, nothing more is sent: RefusalKind::overloaded
  const core::Composer& composer;              // outlives the store
  core::RandomSource& random;                  // outlives the store
  const core::BounceTokens& tokens;            // outlives the store
  // With less left on the disk no new work is taken: RefusalKind::overloaded. 0: never.
  std::int64_t min_free_disk = 64LL << 20;
  std::int64_t reserve = 32LL << 20;  // for the results of what is under way when the disk is full; 0: none
  core::RetentionConfig retention = {};
  core::Verp verp = core::Verp::recipient;
  core::VerdictTable verdicts = core::verdict_table();
  core::ForeignMail foreign = core::ForeignMail::leave;
  core::LimitRules limits = {};
  core::BrakeConfig brake = {};
};

class SqliteStore final : public core::Store {
 public:
  // Errc::busy when another process uses the folder (its pid is named); Errc::unsupported when the database's
  // schema is newer than this program; Errc::invalid when it needs a key that is not in the ring (key and
  // file are named), or is not ours; Errc::corrupt when the last run did not end cleanly and its log is gone;
  // else what the operating system or SQLite says. A full disk is no hindrance while there is the reserve.
  [[nodiscard]] static core::Result<std::unique_ptr<SqliteStore>> open(StoreOptions options);
  // Moves the log into the database and empties it.
  ~SqliteStore() override;
  SqliteStore(const SqliteStore&) = delete;
  SqliteStore& operator=(const SqliteStore&) = delete;

  // As the last ShiftClock left it; absent in a new database.
  [[nodiscard]] core::Result<std::optional<core::ClockState>> saved_clock();
  [[nodiscard]] core::Result<core::Recovered> recover(core::WallTime now) override;
  // After a failed transaction or checkpoint by reason of I/O nothing can be promised any more (the
  // kernel may show what the disk does not have): every later commit fails with the same error, and the
  // daemon has to end. A disk that is full or read-only closes the store: facts and checks are still written
  // as far as the reserve goes, `Committed::error` is set, and look() opens it again.
  [[nodiscard]] core::Committed commit(std::span<core::Command> batch, const core::ClaimBudget& budget,
                                       core::WallTime now) override;
  [[nodiscard]] core::Result<> rest() override;
  [[nodiscard]] core::StoreLook look() override;

 private:
  struct State;
  explicit SqliteStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace mailotp::store
