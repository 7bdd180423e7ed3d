#include <array>
#include <utility>

#include <fmt/format.h>

#include "ctl/timeline.h"

namespace mailotp::ctl {
namespace {

using Named = std::pair<std::string_view, std::string_view>;

// The words of the classes in docs/BOUNCES.md.
constexpr std::array<Named, 21> k_classes{
    {{"user-unknown", "there is no such mailbox"},
     {"host-unknown", "the domain takes no mail"},
     {"host-not-accepting", "the host of the mailbox takes no mail now"},
     {"mailbox-disabled", "the mailbox is disabled"},
     {"mailbox-full", "the mailbox is full"},
     {"expired", "it could not be delivered in time"},
     {"network", "the host of the mailbox could not be reached"},
     {"recipient-filtered", "the recipient's own filter refuses it"},
     {"rate-limited", "we send more than the far side takes"},
     {"greylisted", "the far side wants a second try later"},
     {"ip-blocked", "the far side blocks our address"},
     {"auth", "our mail fails SPF, DKIM or DMARC, or the relay wants another login"},
     {"sender-rejected", "our sender address is refused"},
     {"spam", "it was taken for spam"},
     {"content", "its content is refused"},
     {"too-large", "it is too large for the far side"},
     {"policy", "a rule of the far side refuses it"},
     {"security", "a rule of security refuses it"},
     {"system", "the far side has a fault of its own"},
     {"suppressed", "the far side has the address on a list of its own"},
     {"relay-down", "no relay could be reached in time"}}};

constexpr std::array<Named, 8> k_refusals{
    {{"rate_limited", "a limit is full"},
     {"resend_cooldown", "the last mail is too recent for another one"},
     {"sends_exhausted", "the challenge has had all its mails"},
     {"recipient_suppressed", "the address is suppressed: mails to it have bounced"},
     {"template_failed", "its template cannot be filled in"},
     {"template_unknown", "there is no such template"},
     {"overloaded", "more waits to be sent than may"},
     {"challenge_closed", "the challenge has ended"}}};

// Where a session with a relay failed.
constexpr std::array<Named, 12> k_stages{{{"dns", "its name could not be looked up"},
                                          {"connect", "no connection"},
                                          {"tls", "no TLS"},
                                          {"greeting", "refused at its greeting"},
                                          {"ehlo", "refused at EHLO"},
                                          {"starttls", "no STARTTLS"},
                                          {"auth", "refused our login"},
                                          {"mail", "refused our sender"},
                                          {"rcpt", "refused the recipient"},
                                          {"data", "refused DATA"},
                                          {"dot", "refused the mail"},
                                          {"session", "ended the session"}}};

template <std::size_t N>
std::string_view named(const std::array<Named, N>& names, std::string_view name) {
  for (const auto& [key, words] : names) {
    if (key == name) return words;
  }
  return {};
}

class Story {
 public:
  explicit Story(const TimelineInfo& item) : item_(item) {}

  [[nodiscard]] std::string tell() const {
    const auto dot = item_.type.find('.');
    const std::string_view type(item_.type);
    const std::string_view what = dot == std::string::npos ? type : type.substr(dot + 1);
    std::string words;
    if (type.starts_with("challenge."))
      words = challenge(what);
    else if (type.starts_with("message."))
      words = message(what);
    else if (type.starts_with("recipient."))
      words = recipient(what);
    return words.empty() ? plain() : words;
  }

 private:
  [[nodiscard]] std::string_view get(const char* name) const {
    const auto it = item_.detail.find(name);
    return it == item_.detail.end() ? std::string_view{} : std::string_view(it->second);
  }
  [[nodiscard]] bool by_operator() const { return item_.actor.starts_with("operator"); }

  [[nodiscard]] std::string challenge(std::string_view what) const {
    if (what == "created") return fmt::format("{} asked for a code", item_.actor);
    if (what == "sent") return fmt::format("{} asked for another mail", item_.actor);
    if (what == "checked") return checked();
    if (what == "exhausted") return "the last try was wrong: no code is taken any more";
    if (what == "expired") return "the code's time is over";
    if (what == "canceled") return fmt::format("canceled by {}", item_.actor);
    return {};
  }

  [[nodiscard]] std::string checked() const {
    const std::string_view result = get("result");
    if (result == "valid") return "the right code was typed";
    const std::string left(get("attempts_left"));
    if (result == "invalid") return fmt::format("a wrong code was typed, tries left: {}", left);
    if (result == "binding_mismatch")
      return fmt::format("a code was typed in another session or for other data, tries left: {}", left);
    return {};
  }

  // "relay primary", or that there is none yet.
  [[nodiscard]] std::string relay() const {
    return get("relay").empty() ? std::string("the relay") : fmt::format("relay {}", get("relay"));
  }

  // What the last attempt met.
  [[nodiscard]] std::string met() const {
    std::string out;
    if (!get("relay").empty()) out = relay();
    if (const auto stage = named(k_stages, get("stage")); !stage.empty())
      out += fmt::format("{}{}", out.empty() ? "" : " ", at_stage(stage));
    for (const char* name : {"reason", "reply"}) {
      // A reason may end in the reply.
      if (!get(name).empty() && !out.ends_with(get(name)))
        out += fmt::format("{}{}", out.empty() ? "" : ": ", get(name));
    }
    return out;
  }
  static std::string at_stage(std::string_view words) {
    return words.starts_with("refused") || words.starts_with("ended") ? std::string(words)
                                                                      : fmt::format("gives {}", words);
  }

  [[nodiscard]] std::string ordered() const {
    if (!by_operator() || get("order").empty()) return {};
    return fmt::format("{} ordered: {}", item_.actor, get("order"));
  }

  [[nodiscard]] std::string message(std::string_view what) const {
    if (const std::string order = ordered(); !order.empty()) return order;
    const std::string cause = met();
    const auto with_cause = [&cause](std::string_view words) {
      return cause.empty() ? std::string(words) : fmt::format("{}: {}", words, cause);
    };
    if (what == "queued" && cause.empty()) return queued();
    if (what == "queued") return with_cause("to be tried again at once");
    if (what == "relayed") return cause.empty() ? "handed over" : fmt::format("handed over to {}", cause);
    if (what == "deferred") return with_cause("not yet");
    if (what == "uncertain") return with_cause("a copy may have left");
    if (what == "held") return with_cause("kept until an operator releases it");
    if (what == "failed") return with_cause("given up");
    if (what == "bounced") return with_cause("came back");
    if (what == "delivered") return with_cause("a report says that it is in the mailbox");
    if (what == "expired" && !get("challenge").empty()) return "not sent: the time of its code is over";
    if (what == "expired") return with_cause("not sent: at the next try its code would have been dead");
    if (what == "superseded") return "not sent: a newer mail takes its place";
    if (what == "canceled") return get("challenge").empty() ? "not sent: canceled" : not_needed();
    if (what == "suppressed") return "not sent: its address was found dead";
    return {};
  }

  [[nodiscard]] std::string not_needed() const {
    const std::string_view state = get("challenge");
    if (state == "otp_valid") return "not sent: the right code was typed before";
    if (state == "otp_exhausted") return "not sent: no code is taken any more";
    return "not sent: its challenge has ended";
  }

  [[nodiscard]] std::string queued() const {
    if (item_.template_name.empty()) return "a mail was made and stored";
    return fmt::format("a mail was made from template {}, locale {}, and stored", item_.template_name,
                       item_.locale.empty() ? "-" : item_.locale);
  }

  [[nodiscard]] std::string recipient(std::string_view what) const {
    if (what == "refused") return refused();
    if (what == "reported") return reported();
    if (what == "suppressed") return suppressed();
    if (what == "healed") return healed();
    return {};
  }

  [[nodiscard]] std::string refused() const {
    const auto words = named(k_refusals, get("code"));
    std::string out = fmt::format("refused to {}: {}", item_.actor, words.empty() ? get("code") : words);
    if (!get("limit").empty() && get("code") == "rate_limited")
      out += fmt::format(" ({}: {} in {} s), until {}", get("limit"), get("max"), get("period_seconds"),
                         get("reset_at"));
    else if (!get("why").empty() && get("code") != "recipient_suppressed")
      out += fmt::format(" ({})", get("why"));
    if (!get("times").empty()) out += fmt::format("; {} times", get("times"));
    return out;
  }

  [[nodiscard]] std::string reported() const {
    const std::string_view kind = get("kind");
    const std::string why = class_words(get("class"));
    const std::string status = get("status").empty() ? "" : fmt::format(", status {}", get("status"));
    const std::string from = get("source") == "smtp"       ? "the relay's reply"
                             : get("source") == "provider" ? "a report of the provider"
                                                           : "a mail that came back";
    if (kind == "bounce") return fmt::format("{} says: {} ({}{})", from, why, get("class"), status);
    if (kind == "delay") return fmt::format("{} says that it is late ({}{})", from, get("class"), status);
    return {};
  }

  [[nodiscard]] std::string suppressed() const {
    std::string out = fmt::format("no more mail to it: {} ({})", class_words(get("class")), get("class"));
    if (by_operator()) out = fmt::format("{} suppressed it ({})", item_.actor, get("class"));
    return out + (get("until").empty() ? std::string(", until it is removed")
                                       : fmt::format(", until {}", get("until")));
  }

  [[nodiscard]] std::string healed() const {
    if (get("by") == "operator") return fmt::format("{} removed the suppression", item_.actor);
    if (get("by") == "probe") return "mail goes to it again: nothing came back from the last one";
    return "mail goes to it again: the address has shown that it lives";
  }

  // As it is: an event of a version to come.
  [[nodiscard]] std::string plain() const {
    std::string out;
    for (const auto& [name, value] : item_.detail)
      out += fmt::format("{}{}={}", out.empty() ? "" : " ", name, value);
    return out;
  }

  const TimelineInfo& item_;
};

}  // namespace

std::string class_words(std::string_view name) {
  const auto words = named(k_classes, name);
  return std::string(words.empty() ? name : words);
}

std::string words_of(const TimelineInfo& item) {
  return Story(item).tell();
}

}  // namespace mailotp::ctl
