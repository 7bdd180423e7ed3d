// Running totals, kept beside the rows so that statistics never scan them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/bounce.h"
#include "core/challenge.h"
#include "core/outbox.h"

namespace mailotp::store {

class Counters {
 public:
  static constexpr std::size_t k_size =
      2 * core::k_message_states + core::k_challenge_states + core::k_bounce_classes + 5;

  // Positions in the table of them.
  [[nodiscard]] static constexpr std::size_t messages(core::MessageState s) {
    return static_cast<std::size_t>(s);
  }
  [[nodiscard]] static constexpr std::size_t ended(core::MessageState s) {
    return core::k_message_states + static_cast<std::size_t>(s);
  }
  [[nodiscard]] static constexpr std::size_t challenges(core::ChallengeState s) {
    return 2 * core::k_message_states + static_cast<std::size_t>(s);
  }
  // Failures in the ledger, ever.
  [[nodiscard]] static constexpr std::size_t bounces(core::BounceClass c) {
    return 2 * core::k_message_states + core::k_challenge_states + static_cast<std::size_t>(c);
  }
  static constexpr std::size_t k_suppressed = k_size - 5;     // an address, each time
  static constexpr std::size_t k_contradictory = k_size - 4;  // reports whose tokens lead to different mails
  static constexpr std::size_t k_unread_mails = k_size - 3;   // that killed their reader
  static constexpr std::size_t k_accepted = k_size - 2;
  // Every check writes at least this, so that one without a challenge waits for the disk as well and takes as
  // long.
  static constexpr std::size_t k_checks = k_size - 1;

  // "messages.queued", "ended_total.relayed", "challenges.otp_sent", "bounces.user-unknown",
  // "suppressed_total", "contradictory_total", "unread_mails_total", "accepted_total", "checks_total".
  [[nodiscard]] static std::string name(std::size_t position);
  [[nodiscard]] static std::optional<std::size_t> position(std::string_view name);

  [[nodiscard]] std::int64_t& operator[](std::size_t position) { return values_[position]; }
  [[nodiscard]] std::int64_t operator[](std::size_t position) const { return values_[position]; }

  void accept(core::MessageState state);
  void move(core::MessageState from, core::MessageState to);
  // Its row is gone. One that rests `uncertain` counts as ended from then on.
  void remove(core::MessageState state);
  void start(core::ChallengeState state) { ++values_[challenges(state)]; }
  void move(core::ChallengeState from, core::ChallengeState to);
  void add(const Counters& change);
  [[nodiscard]] std::int64_t open_messages() const;

 private:
  std::array<std::int64_t, k_size> values_{};
};

}  // namespace mailotp::store
