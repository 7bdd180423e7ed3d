// What has happened since the start, counted where it happens: an increment each. What the store counts for
// good (accepted, ended, bounces, suppressions) is not counted again here. Loop thread.
//
// Labels are words of ours and names of the configuration; never an address, an id or a code.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/config.h"
#include "core/store.h"
#include "daemon/metrics/exposition.h"
#include "daemon/metrics/histogram.h"

namespace mailotp::daemon {

// How one hand-over of a message to a relay ended.
enum class AttemptEnd : std::uint8_t {
  relayed,
  refused,    // the relay judged the message
  not_sent,   // it did not come to that
  uncertain,  // the dot left and nothing came back
  lost,       // the agent died
};
inline constexpr std::size_t k_attempt_ends = 5;

class Tally {
 public:
  explicit Tally(const std::vector<core::RelayConfig>& relays);

  // Relays that are counted from here on; those that were stay.
  void add_relays(const std::vector<core::RelayConfig>& relays);
  // One transaction of the store, with what it answered.
  void commit(const core::Committed& committed, std::size_t commands, std::chrono::nanoseconds took);
  // `reply_code` 0: there was none.
  void attempt(std::string_view relay, AttemptEnd end, int reply_code);
  // A request was refused for this limit (LimitName in docs/openapi.yaml).
  void limit_hit(std::string_view name);

  // All of it, as families of their own.
  [[nodiscard]] std::vector<Family> families() const;

 private:
  static constexpr std::size_t k_check_results = 7;
  static constexpr std::size_t k_dispositions = 4;
  static constexpr std::size_t k_reply_classes = 3;
  static constexpr std::size_t k_message_kinds = 2;
  struct OfRelay {
    std::array<std::uint64_t, k_attempt_ends> attempts{};
    std::array<std::uint64_t, k_reply_classes> replies{};
  };

  void outcome(const core::Outcome& outcome);
  void add_store(std::vector<Family>& out) const;
  void add_relays(std::vector<Family>& out) const;

  std::array<std::uint64_t, k_check_results> checks_{};
  std::array<std::uint64_t, k_dispositions> challenges_{};
  std::uint64_t repeats_ = 0;
  std::map<std::string, std::uint64_t, std::less<>> limits_;
  std::map<std::string, OfRelay, std::less<>> relays_;
  std::vector<Histogram> delivery_;  // by MessageKind
  Histogram commit_time_;
  Histogram commit_size_;
  std::uint64_t commit_errors_ = 0;
};

}  // namespace mailotp::daemon
