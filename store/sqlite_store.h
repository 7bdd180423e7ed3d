// The Store in one SQLite file, state_dir/mailotpd.db: WAL, synchronous=FULL, one transaction a batch. One
// thread, and the only writer: it holds the folder's lock. A SqliteReader may read beside it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/composer.h"
#include "core/random.h"
#include "core/store.h"
#include "store/keys.h"

namespace mailotp::store {

struct StoreOptions {
  std::string state_dir;  // must exist
  KeyRing keys;
  core::DeliveryPolicy policy;
  std::string return_path;                     // envelope sender of every job
  std::int64_t max_open_messages = 1'000'000;  // with as many, nothing more is sent: RefusalKind::overloaded
  const core::Composer& composer;              // outlives the store
  core::RandomSource& random;                  // outlives the store
};

class SqliteStore final : public core::Store {
 public:
  // Errc::busy when another process uses the folder (its pid is named); Errc::unsupported when the database's
  // schema is newer than this program; Errc::invalid when it needs a key that is not in the ring (key and
  // file are named), or is not ours; else what the operating system or SQLite says.
  [[nodiscard]] static core::Result<std::unique_ptr<SqliteStore>> open(StoreOptions options);
  // Moves the log into the database and empties it.
  ~SqliteStore() override;
  SqliteStore(const SqliteStore&) = delete;
  SqliteStore& operator=(const SqliteStore&) = delete;

  [[nodiscard]] core::Result<core::Recovered> recover(core::WallTime now) override;
  // After a failed COMMIT or ROLLBACK by reason of I/O nothing can be promised any more (the kernel may show
  // what the disk does not have): every later commit fails with the same error, and the daemon has to end.
  [[nodiscard]] core::Committed commit(std::span<core::Command> batch, const core::ClaimBudget& budget,
                                       core::WallTime now) override;
  [[nodiscard]] core::Result<> rest() override;

 private:
  struct State;
  explicit SqliteStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace mailotp::store
