#include <array>

#include <fmt/format.h>

#include "ctl/show.h"
#include "ctl/show_words.h"
#include "ctl/text.h"

namespace mailotp::ctl {
namespace {

constexpr std::array<Column, 8> k_outbox_columns{{{"ID", 36, 36, 1},
                                                  {"STATE", 10, 10, 2},
                                                  {"AGE", 6, 6, 4, Align::right},
                                                  {"TRIES", 5, 5, 6, Align::right},
                                                  {"NEXT", 6, 6, 5, Align::right},
                                                  {"RECIPIENT", 16, 32, 3},
                                                  {"RELAY", 12, 12, 8},
                                                  {"LAST REPLY", 20, k_whole_line, 7}}};
constexpr std::array<Column, 4> k_event_columns{
    {{"AT", 24, 24, 1}, {"EVENT", 20, 24, 2}, {"ACTOR", 10, 10, 4}, {"DETAIL", 14, k_whole_line, 3}}};

std::string age_of(const MessageInfo& message, const Screen& screen) {
  if (message.age) return age(*message.age);
  return message.created_at ? age(since(*message.created_at, screen.now)) : std::string(k_nothing);
}

std::string verdict_text(const std::optional<VerdictInfo>& verdict) {
  if (!verdict) return std::string(k_nothing);
  std::string out = fmt::format("{}, {}", verdict->kind, verdict->verdict_class);
  out += verdict->permanent ? ", permanent" : ", not permanent";
  if (!verdict->status.empty()) out += fmt::format(", status {}", verdict->status);
  out += fmt::format(" (from {})", verdict->source);
  if (!verdict->detail.empty()) out += fmt::format(": {}", verdict->detail);
  return printable(out);
}

// What a challenge's message and a message of its own have in common.
void delivery_fields(std::string& out, const MessageInfo& message, const Screen& screen) {
  field(out, "attempts", std::to_string(message.attempts));
  field(out, "next attempt", moment(message.next_attempt_at, screen));
  field(out, "last reply", or_dash(message.reply));
  field(out, "verdict", verdict_text(message.verdict));
}

}  // namespace

std::string outbox_head(const Screen& screen) {
  return Table(k_outbox_columns, screen).head();
}

std::string outbox_rows(const std::vector<MessageInfo>& messages, const Screen& screen) {
  const Table table(k_outbox_columns, screen);
  std::string out;
  for (const MessageInfo& message : messages) {
    out += table.row({{or_dash(message.id)},
                      state_cell(message.state),
                      {age_of(message, screen)},
                      {std::to_string(message.attempts)},
                      {until(message.next_attempt_at, screen)},
                      {or_dash(message.recipient)},
                      {or_dash(message.relay)},
                      {or_dash(message.reply)}});
  }
  return out;
}

std::string show_message(const MessageDetail& detail, const Screen& screen) {
  const MessageInfo& message = detail.message;
  std::string out;
  field(out, "id", or_dash(message.id));
  field(out, "state", inked_state(message.state, screen));
  field(out, "recipient", or_dash(message.recipient));
  field(out, "app", or_dash(message.app));
  field(out, "kind", or_dash(message.kind));
  field(out, "challenge", or_dash(message.challenge));
  field(out, "created", moment(message.created_at, screen));
  field(out, "not after", moment(message.not_after, screen));
  delivery_fields(out, message, screen);
  field(out, "uncertain", fmt::format("{} times", message.uncertain));
  field(out, "relay", or_dash(message.relay));
  field(out, "template",
        fmt::format("{}, locale {}, version {}", or_dash(message.template_name), or_dash(message.locale),
                    or_dash(message.template_version)));
  field(out, "message-id", or_dash(message.message_id));
  if (detail.events.empty()) return out;
  const Table table(k_event_columns, screen);
  out += "\n" + table.head();
  for (const EventInfo& event : detail.events)
    out += table.row(
        {{or_dash(event.at)}, {or_dash(event.type)}, {or_dash(event.actor)}, {or_dash(event.detail)}});
  return out;
}

std::string show_challenge(const ChallengeInfo& challenge, const Screen& screen) {
  std::string out;
  field(out, "id", or_dash(challenge.id));
  field(out, "state", inked_state(challenge.state, screen));
  field(out, "recipient", or_dash(challenge.recipient));
  field(out, "app", or_dash(challenge.app));
  field(out, "purpose", or_dash(challenge.purpose));
  field(out, "created", moment(challenge.created_at, screen));
  field(out, "expires", moment(challenge.expires_at, screen));
  field(out, "attempts left", std::to_string(challenge.attempts_left));
  field(out, "sends left", std::to_string(challenge.sends_left));
  field(out, "resend from", moment(challenge.resend_at, screen));
  field(out, "revision", std::to_string(challenge.revision));
  if (!challenge.message) {
    field(out, "message", "none");
    return out;
  }
  out += "\n";
  field(out, "message", or_dash(challenge.message->id));
  field(out, "state", inked_state(challenge.message->state, screen));
  delivery_fields(out, *challenge.message, screen);
  return out;
}

}  // namespace mailotp::ctl
