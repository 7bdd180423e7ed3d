// How many messages a relay was handed, for its rate and its quota: counted in the commit of the hand-over,
// so that a restart forgets none. Time is cut into slots, a fiftieth of the period each; a slot counts until
// all of it is past, so that no period ever sees more than its maximum.
#pragma once

#include "core/relay_choice.h"
#include "store/transaction.h"

namespace mailotp::store {

inline constexpr std::int64_t k_relay_use_slots = 50;  // in a period

struct RelayRoom {
  std::int64_t left = INT64_MAX;
  core::WallTime until = core::k_never;  // with none left: when the first slot stops counting
};
[[nodiscard]] core::Result<RelayRoom> relay_room(Transaction& tx, const core::RelayOffer& relay,
                                                 core::WallTime now);
[[nodiscard]] core::Result<> relay_used(Transaction& tx, const core::RelayOffer& relay, core::WallTime now);

}  // namespace mailotp::store
