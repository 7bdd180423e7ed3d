// What a bounce counts for: correlation, the weight of a class, and how long an address is left alone. Pure;
// the store runs it inside its transaction (store/bounce_commands.h). docs/BOUNCES.md says the same for
// people.
//
//   tokens ─► correlate() ─► judge() ─► the message (FailureDsn, DelayDsn, SuccessDsn), the evidence about
//   its recipient, a suppression; and the ledger in any case
#pragma once

#include <array>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/bounce.h"
#include "core/config.h"
#include "core/store.h"
#include "core/time.h"

namespace mailotp::core {

// ---- Correlation

// What the tokens of one mail lead to, each confirmed with the key.
struct ReturnedTokens {
  int messages = 0;    // different messages of ours that they name
  int recipients = 0;  // different recipients of ours, in tokens of this epoch or the last one
  bool agree = true;   // the message went to that recipient
};
enum class Correlation : std::uint8_t {
  nothing,        // anybody may have written it
  recipient,      // it answers some mail to that recipient
  message,        // it answers that message
  contradictory,  // the tokens are ours and lead to different mails
};
[[nodiscard]] Correlation correlate(const ReturnedTokens& tokens);
[[nodiscard]] TracedBy traced_by(const ReturnedTokens& tokens);

// Which of the reported recipients speaks for ours: the same address, else the same domain, else (it was
// forwarded, or nobody is named) the first that is of the report's kind. Null: there is none.
[[nodiscard]] const BouncedRecipient* reported(const BounceReport& report, const std::string& key,
                                               const std::string& domain);

// ---- Verdict

[[nodiscard]] std::string_view to_string(VerdictWeight weight);  // "hard", … as [verdict] names them

// When a class counts as its weight; until then a hard one counts as soft.
struct VerdictRule {
  VerdictWeight weight = VerdictWeight::soft;
  int needed = 1;        // bounces of this class, this one included, …
  Seconds within{0};     // … in this time
  bool null_mx = false;  // only where the domain says that it takes no mail
};
using VerdictTable = std::array<VerdictRule, k_bounce_classes>;
// BOUNCES.md's. `words` ([verdict]) replace a row with its conditions: a class that an operator calls hard is
// hard at once. Unknown names are left out; the configuration has refused them.
[[nodiscard]] VerdictTable verdict_table(const std::map<std::string, VerdictWeight>& words = {});

inline constexpr Seconds k_traced_for{10 * 86400};     // a verdict needs a mail that left within this
inline constexpr Seconds k_confirmed_within{86400};    // the second word where a recipient's token is alone
inline constexpr Seconds k_bounce_history{3 * 86400};  // no rule looks further back

// One event about a message of ours, now or in the ledger.
struct BounceEvent {
  BounceSource source = BounceSource::dsn;
  BounceKind kind = BounceKind::bounce;
  BounceClass bounce_class = BounceClass::unknown;
  std::optional<bool> permanent;
  bool null_mx = false;
};
struct PastBounce {
  WallTime at;
  BounceSource source = BounceSource::dsn;
  BounceClass bounce_class = BounceClass::unknown;
};

struct Judgement {
  VerdictWeight weight = VerdictWeight::none;  // what it counts as
  bool tells = false;                          // the message is told: it bounces, is late, or is delivered
  bool suppresses = false;                     // its recipient is left alone
  bool proves = false;                         // its recipient lives
};
// `left`: a copy of the message left within k_traced_for, or may have. `past`: failures of the same recipient
// and app that were traced and not called temporary, k_bounce_history at least; the order does not matter.
[[nodiscard]] Judgement judge(const BounceEvent& event, Correlation correlation, bool left,
                              std::span<const PastBounce> past, const VerdictTable& table, WallTime now);

// What the message is told. `kind` is bounce or delay.
[[nodiscard]] Verdict verdict_of(const BounceEvent& event, const std::string& status,
                                 const std::string& diagnostic, WallTime now);

// ---- Suppression

inline constexpr Seconds k_probe_pause{86400};
inline constexpr Seconds k_probe_proof{600};  // a probe that was relayed and has not bounced since
// How long for the n-th time in a row: 1 h, 24 h, 7 d, 30 d.
[[nodiscard]] Seconds suppressed_for(int times);

}  // namespace mailotp::core
