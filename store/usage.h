// When something was done under one key: the windows of the limits slide over these logs. A log is kept in
// parts of k_uses_a_part times each, oldest first, so that to add one rewrites one small row, and to look
// back by any number reads one more. Exact, at the same cost for any length of a window.
//
// Times are even: the wall clock less all its steps (clock_shift), so that a clock that is set neither opens
// a window nor keeps one shut.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/rate.h"
#include "core/result.h"
#include "core/time.h"
#include "store/sqlite.h"

namespace mailotp::store {

inline constexpr std::int64_t k_uses_a_part = 32;
inline constexpr core::Millis k_ahead{60'000};  // a later time is from when the clock was wrong

struct UsagePart {
  std::int64_t part = 0;  // 0, 1, …
  std::vector<core::WallTime> times;
};

// Where logs are read.
class UsageSource {
 public:
  virtual ~UsageSource() = default;
  // The part with the newest time; absent: nothing was done.
  [[nodiscard]] virtual core::Result<std::optional<UsagePart>> newest(const std::string& key) = 0;
  [[nodiscard]] virtual core::Result<std::optional<UsagePart>> part(const std::string& key,
                                                                    std::int64_t part) = 0;
};
// From the rows of usage_newest and usage_part. Errc::corrupt for what cannot be.
[[nodiscard]] core::Result<std::optional<UsagePart>> read_usage(Rows rows);

// Whether one more fits under each of several rates, seen from one moment.
class Window {
 public:
  Window(UsageSource& source, std::string key, core::WallTime now)
      : source_(source), key_(std::move(key)), now_(now) {}

  // Absent: one more may be done. Else when it may.
  [[nodiscard]] core::Result<std::optional<core::WallTime>> full_until(const core::Rate& rate);
  // How many more may be done, `most` at most.
  [[nodiscard]] core::Result<int> room(const core::Rate& rate, int most);
  // The newest is 1. Absent: so many are not known.
  [[nodiscard]] core::Result<std::optional<core::WallTime>> nth_newest(std::int64_t n);

 private:
  [[nodiscard]] bool counts(core::WallTime time, const core::Rate& rate) const;
  [[nodiscard]] core::Result<const UsagePart*> load(std::int64_t part);

  UsageSource& source_;
  std::string key_;
  core::WallTime now_;
  bool looked_ = false;
  std::optional<UsagePart> newest_;
  std::optional<UsagePart> older_;  // the one that was read last
};

// How long, and how many times, a log must remember.
struct UsageMemory {
  std::int64_t uses = 1;
  core::Millis time{0};
  void hold(const core::Rate& rate);
};

class Transaction;

// The logs of one transaction: read once, written once, however many commands of a batch use them.
class UsageCache final : public UsageSource {
 public:
  explicit UsageCache(Transaction& tx) : tx_(tx) {}

  [[nodiscard]] core::Result<std::optional<UsagePart>> newest(const std::string& key) override;
  [[nodiscard]] core::Result<std::optional<UsagePart>> part(const std::string& key,
                                                            std::int64_t part) override;
  [[nodiscard]] core::Result<> add(const std::string& key, core::WallTime at, const UsageMemory& memory);
  // Before the COMMIT.
  [[nodiscard]] core::Result<> flush();

 private:
  struct Entry {
    std::optional<UsagePart> newest;
    core::WallTime until{};  // needed so long
    bool dirty = false;
  };
  [[nodiscard]] core::Result<Entry*> entry(const std::string& key);
  [[nodiscard]] core::Result<> save(const std::string& key, const Entry& entry);

  Transaction& tx_;
  std::map<std::string, Entry> entries_;
};

}  // namespace mailotp::store
