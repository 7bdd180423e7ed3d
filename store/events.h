// The event log's vocabulary.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/delivery.h"
#include "core/outbox.h"
#include "core/result.h"

namespace mailotp::store {

// The numbers are stored: never renumber. What happens to a message is told by the state that it reaches:
// k_message_event plus its number.
enum class ChallengeNews : std::uint8_t {
  created = 0,
  sent = 1,
  checked = 2,
  exhausted = 3,
  expired = 4,
  canceled = 5,
};
inline constexpr int k_challenge_news = 6;
inline constexpr int k_message_event = 100;
// What is learned of a recipient; k_recipient_event plus the number.
enum class RecipientNews : std::uint8_t {
  suppressed = 0,
  healed = 1,
  reported = 2,  // an event of the ledger that was traced to one of our mails
  erased = 3,
  refused = 4,  // a request for it, or for a challenge of it
};
inline constexpr int k_recipient_news = 5;
inline constexpr int k_recipient_event = 200;
// What holds for an app as a whole; k_app_event plus the number.
enum class AppNews : std::uint8_t { braked = 0, released = 1 };
inline constexpr int k_app_news = 2;
inline constexpr int k_app_event = 300;

// "challenge.checked", "message.relayed"; Errc::corrupt for a number that is none.
[[nodiscard]] core::Result<std::string> event_type_name(std::int64_t type);

// A flat JSON object, built by hand: the store has no JSON library. Bytes beyond ASCII are escaped one by
// one.
class Detail {
 public:
  Detail& add(std::string_view name, std::string_view text);
  Detail& add(std::string_view name, std::int64_t number);
  // "reply":{"code","status","text"}
  Detail& add(const core::Reply& reply);
  [[nodiscard]] std::string take();  // empty when nothing was added

 private:
  void name(std::string_view name);
  std::string json_;
};

}  // namespace mailotp::store
