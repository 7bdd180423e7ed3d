#include "core/relay_choice.h"

#include <algorithm>
#include <tuple>

namespace mailotp::core {

namespace {

bool may_take(const MessageRow& row, const RelayOffer& relay) {
  return relay.use != RelayUse::no && relay.name != row.refused_by &&
         std::ranges::find(row.tried, relay.name) == row.tried.end();
}

// The relay of the last attempt has put the message off, not for the first time.
bool puts_off(const MessageRow& row, const RelayOffer& relay) {
  return row.attempts >= 2 && row.reply && row.reply->code >= 400 && row.reply->code <= 499 &&
         relay.name == row.relay;
}

auto rank(const MessageRow& row, const RelayOffer& relay) {
  return std::tuple(relay.use, puts_off(row, relay), relay.priority);
}

}  // namespace

RelayChoice choose_relay(const MessageRow& row, std::span<const RelayOffer> relays) {
  const RelayOffer* best = nullptr;
  for (const RelayOffer& relay : relays) {
    if (!may_take(row, relay)) continue;
    // Another address would start the greylisting anew.
    if (row.waits_for == WaitsFor::greylist && relay.name == row.relay) {
      best = &relay;
      break;
    }
    if (best == nullptr || rank(row, relay) < rank(row, *best)) {
      best = &relay;
    } else if (rank(row, relay) == rank(row, *best)) {
      // Of equal ones: with a free place, then by turns.
      if (std::tuple(relay.jobs <= 0, relay.last_turn) < std::tuple(best->jobs <= 0, best->last_turn))
        best = &relay;
    }
  }
  if (best == nullptr) return RelayNone{};
  if (best->jobs <= 0) return RelayWait{};
  return static_cast<std::size_t>(best - relays.data());
}

OtherRelay other_relay(const MessageRow& row, std::span<const RelayOffer> relays) {
  const bool found = std::ranges::any_of(
      relays, [&](const RelayOffer& relay) { return relay.name != row.relay && may_take(row, relay); });
  return found ? OtherRelay::usable : OtherRelay::none;
}

bool any_usable(std::span<const RelayOffer> relays) {
  return std::ranges::any_of(relays, [](const RelayOffer& relay) { return relay.use != RelayUse::no; });
}

}  // namespace mailotp::core
