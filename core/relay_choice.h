// Which relay takes a message. Pure; the store asks it for each claim, with what the daemon last said of its
// relays.
//
// Of the relays that may take a message those with a clean record come first, then any but the one that has
// just put it off for the second time or more (its disk may be full), then the lower priority number; equal
// ones take turns. One of a worse rank is used only when no better one may be: a busy relay keeps its
// messages.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "core/outbox.h"
#include "core/rate.h"

namespace mailotp::core {

enum class RelayUse : std::uint8_t {
  clean,     // the last session with it was good, or there was none
  doubtful,  // the last one failed: only when there is no clean one
  no,        // its breaker is open, it is suspended, or its quota is used up
};

// What a commit may hand out to one relay.
struct RelayOffer {
  std::string name;
  int priority = 10;  // lower first
  RelayUse use = RelayUse::no;
  int jobs = 0;              // free places: two to eight a connection are out at most
  std::optional<Rate> rate;  // both: hand-overs in any period of this length
  std::optional<Rate> quota;
  std::uint64_t last_turn = 0;  // the smallest one of equal relays is next
};

struct RelayWait {};  // one that may take it has no free place
struct RelayNone {};  // every usable one has been tried, or has refused it
using RelayChoice = std::variant<std::size_t, RelayWait, RelayNone>;

[[nodiscard]] RelayChoice choose_relay(const MessageRow& row, std::span<const RelayOffer> relays);

// Whether a usable relay is left for it besides the one that has it.
[[nodiscard]] OtherRelay other_relay(const MessageRow& row, std::span<const RelayOffer> relays);

// Some relay may be given something, free place or not.
[[nodiscard]] bool any_usable(std::span<const RelayOffer> relays);

}  // namespace mailotp::core
