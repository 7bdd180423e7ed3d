#include "store/counters.h"

#include <algorithm>

namespace mailotp::store {

using core::ChallengeState;
using core::MessageState;

std::string Counters::name(std::size_t position) {
  if (position == k_accepted) return "accepted_total";
  if (position == k_checks) return "checks_total";
  if (position == k_suppressed) return "suppressed_total";
  if (position == k_contradictory) return "contradictory_total";
  if (position == k_unread_mails) return "unread_mails_total";
  constexpr std::size_t k_states = core::k_message_states;
  if (position < k_states) return "messages." + std::string(to_string(static_cast<MessageState>(position)));
  if (position < 2 * k_states)
    return "ended_total." + std::string(to_string(static_cast<MessageState>(position - k_states)));
  if (position < bounces(core::BounceClass::unknown))
    return "challenges." + std::string(to_string(static_cast<ChallengeState>(position - 2 * k_states)));
  const auto bounce_class = static_cast<core::BounceClass>(position - bounces(core::BounceClass::unknown));
  return "bounces." + std::string(to_string(bounce_class));
}

std::optional<std::size_t> Counters::position(std::string_view name) {
  for (std::size_t i = 0; i < k_size; ++i) {
    if (Counters::name(i) == name) return i;
  }
  return std::nullopt;
}

void Counters::accept(MessageState state) {
  ++values_[k_accepted];
  ++values_[messages(state)];
}

void Counters::move(MessageState from, MessageState to) {
  if (from == to) return;
  --values_[messages(from)];
  ++values_[messages(to)];
  // What has ended and moves on (relayed, then bounced) was counted when it ended: the totals of the ends and
  // the open messages always add up to the accepted ones.
  if (is_open(from) && !is_open(to)) ++values_[ended(to)];
}

void Counters::remove(MessageState state) {
  --values_[messages(state)];
  if (is_open(state)) ++values_[ended(state)];
}

void Counters::move(ChallengeState from, ChallengeState to) {
  if (from == to) return;
  --values_[challenges(from)];
  ++values_[challenges(to)];
}

void Counters::add(const Counters& change) {
  std::ranges::transform(values_, change.values_, values_.begin(), std::plus<>{});
}

std::int64_t Counters::open_messages() const {
  std::int64_t open = 0;
  for (std::size_t i = 0; i < core::k_message_states; ++i) {
    if (const auto state = static_cast<MessageState>(i); is_open(state)) open += values_[messages(state)];
  }
  return open;
}

}  // namespace mailotp::store
