// Sends for the store benchmark: made of nothing but numbers, so that two ways of writing them write the
// same.
#pragma once

#include <chrono>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "core/address.h"
#include "core/id.h"
#include "core/random.h"
#include "core/result.h"
#include "core/time.h"

namespace mailotp::bench {

// Fast, and no secret: the store's own work is measured, not the kernel's.
class QuickRandom final : public core::RandomSource {
 public:
  explicit QuickRandom(std::uint64_t seed) : engine_(seed) {}
  void fill(std::span<std::uint8_t> out) override;

 private:
  std::mt19937_64 engine_;
};

inline constexpr std::size_t k_body_size = 2500;  // bytes of a mail
inline constexpr const char* k_app = "shop";
inline constexpr const char* k_purpose = "login";
inline constexpr core::Seconds k_life{600};

struct Send {
  core::Id challenge;
  core::Id message;
  core::WallTime at;
  core::Address recipient;
  bool known = false;  // the recipient was written to before
};

// The clock and the addresses of one run of the benchmark.
class Sends {
 public:
  struct Windows {
    std::int64_t addresses = 0;  // that take turns; 0: each send has one of its own
    std::int64_t sends = 0;      // fill the window of each: one leaves it as one comes
  };
  // Its recipients are of `domain`: others than those of another one.
  Sends(core::RandomSource& random, std::string domain, Windows windows);

  // The next one; moves the clock.
  [[nodiscard]] Send next();
  [[nodiscard]] core::WallTime now() const { return now_; }
  // Of the limit that the windows are of.
  static constexpr core::Seconds k_period{86400};

 private:
  core::IdSource ids_;
  std::string domain_;
  Windows windows_;
  core::Millis step_{0};
  core::WallTime now_;
  std::int64_t made_ = 0;
};

// How to write sends. Each call of turn() is one transaction: these are created and claimed, and those of the
// last call, which a relay has taken, are settled.
class SendWriter {
 public:
  virtual ~SendWriter() = default;
  [[nodiscard]] virtual core::Result<> turn(std::vector<Send> sends, core::WallTime now) = 0;
  // In the transactions alone, without making what they write.
  struct Spent {
    std::chrono::nanoseconds time{0};
    std::chrono::nanoseconds cpu{0};
  };
  [[nodiscard]] const Spent& spent() const { return spent_; }

 protected:
  // Adds the time from its making to its end.
  class Stopwatch {
   public:
    explicit Stopwatch(Spent& spent);
    ~Stopwatch();
    Stopwatch(const Stopwatch&) = delete;
    Stopwatch& operator=(const Stopwatch&) = delete;

   private:
    Spent& spent_;
    std::chrono::steady_clock::time_point began_;
    std::chrono::nanoseconds cpu_;
  };
  Spent spent_;
};

}  // namespace mailotp::bench
