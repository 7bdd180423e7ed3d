#include "ctl/answers.h"

#include <cmath>

#include <fmt/format.h>

#include "ctl/answer_json.h"

namespace mailotp::ctl {
namespace {

using answer::counts;
using answer::event_of;
using answer::Json;
using answer::line_of;
using answer::member;
using answer::page_of;
using answer::parse_object;
using answer::parse_page;
using answer::reply_text;
using answer::text;
using answer::texts;
using answer::time;
using answer::truth;
using answer::whole;
using core::Errc;

NamesInfo names_of(const Json& object, const char* name) {
  const Json& value = member(object, name);
  if (!value.is_object()) return {};
  return {texts(value, "added"), texts(value, "changed"), texts(value, "removed")};
}

std::optional<VerdictInfo> verdict_of(const Json& value) {
  if (!value.is_object()) return std::nullopt;
  return VerdictInfo{text(value, "kind"),   text(value, "class"),  truth(value, "permanent"),
                     text(value, "status"), text(value, "detail"), text(value, "source")};
}

MessageInfo message_of(const Json& value) {
  MessageInfo out;
  out.id = text(value, "id");
  out.challenge = text(value, "challenge");
  out.app = text(value, "app");
  out.kind = text(value, "kind");
  out.recipient = text(value, "recipient");
  out.state = text(value, "state");
  out.attempts = whole(value, "attempts");
  out.uncertain = whole(value, "uncertain");
  if (member(value, "age_seconds").is_number_integer()) out.age = core::Seconds{whole(value, "age_seconds")};
  out.created_at = time(value, "created_at");
  out.not_after = time(value, "not_after");
  out.next_attempt_at = time(value, "next_attempt_at");
  out.relay = text(value, "relay");
  out.reply = reply_text(member(value, "reply"));
  out.verdict = verdict_of(member(value, "verdict"));
  out.message_id = text(value, "message_id");
  out.template_name = text(value, "template");
  out.template_version = text(value, "template_version");
  out.locale = text(value, "locale");
  return out;
}

RelayInfo relay_of(const Json& item) {
  return {text(item, "name"),         text(item, "state"),      text(item, "breaker"),
          whole(item, "connections"), text(item, "last_error"), time(item, "last_error_at")};
}

BounceInfo bounce_of(const Json& item) {
  BounceInfo out;
  out.at = time(item, "at");
  out.source = text(item, "source");
  out.recipient = text(item, "recipient");
  out.kind = text(item, "kind");
  out.bounce_class = text(item, "class");
  out.status = text(item, "status");
  out.diagnostic = text(item, "diagnostic");
  out.rule = text(item, "rule");
  out.message = text(item, "message");
  out.app = text(item, "app");
  out.weight = text(item, "weight");
  return out;
}

SuppressionInfo suppression_of(const Json& item) {
  return {text(item, "address"), text(item, "app"),   text(item, "class"),    text(item, "source"),
          time(item, "since"),   time(item, "until"), time(item, "probe_at"), whole(item, "times")};
}

KeyInfo key_of(const Json& item) {
  return {text(item, "id"),           truth(item, "writing"),  truth(item, "needed"),
          truth(item, "challenges"),  truth(item, "messages"), time(item, "answers_until"),
          time(item, "bounces_until")};
}

}  // namespace

core::Result<PageInfo<MessageInfo>> read_outbox(std::string_view body) {
  return page_of(body, message_of);
}

core::Result<PageInfo<BounceInfo>> read_bounces(std::string_view body) {
  return page_of(body, bounce_of);
}

core::Result<PageInfo<SuppressionInfo>> read_suppressions(std::string_view body) {
  return page_of(body, suppression_of);
}

core::Result<SuppressionInfo> read_suppression(std::string_view body) {
  const auto value = parse_object(body);
  if (!value) return tl::unexpected(value.error());
  return suppression_of(*value);
}

std::string suppression_body(const std::string& bounce_class, const std::string& until) {
  Json body = {{"class", bounce_class}};
  if (!until.empty()) body["until"] = until;
  return line_of(body);
}

core::Result<MessageDetail> read_message(std::string_view body) {
  const auto value = parse_object(body);
  if (!value) return tl::unexpected(value.error());
  MessageDetail out{message_of(*value), {}};
  if (const Json& events = member(*value, "events"); events.is_array()) {
    for (const Json& event : events) {
      if (event.is_object()) out.events.push_back(event_of(event));
    }
  }
  return out;
}

core::Result<ChallengeInfo> read_challenge(std::string_view body) {
  const auto value = parse_object(body);
  if (!value) return tl::unexpected(value.error());
  ChallengeInfo out;
  out.id = text(*value, "id");
  out.app = text(*value, "app");
  out.recipient = text(*value, "recipient");
  out.purpose = text(*value, "purpose");
  out.state = text(*value, "state");
  out.created_at = time(*value, "created_at");
  out.expires_at = time(*value, "expires_at");
  out.resend_at = time(*value, "resend_at");
  out.attempts_left = whole(*value, "attempts_left");
  out.sends_left = whole(*value, "sends_left");
  out.revision = whole(*value, "revision");
  if (const Json& message = member(*value, "message"); message.is_object()) out.message = message_of(message);
  return out;
}

core::Result<PageInfo<RelayInfo>> read_relays(std::string_view body) {
  return page_of(body, relay_of);
}

core::Result<RelayInfo> read_relay(std::string_view body) {
  const auto value = parse_object(body);
  if (!value) return tl::unexpected(value.error());
  return relay_of(*value);
}

core::Result<RelayTestInfo> read_relay_test(std::string_view body) {
  const auto value = parse_object(body);
  if (!value) return tl::unexpected(value.error());
  const auto is_true = [](const Json& flag) { return flag.is_boolean() && flag.get<bool>(); };
  RelayTestInfo out;
  out.ok = is_true(member(*value, "ok"));
  for (const Json& step : member(*value, "steps")) {
    if (step.is_object())
      out.steps.push_back({text(step, "stage"), is_true(member(step, "ok")), text(step, "saw")});
  }
  return out;
}

core::Result<DaemonInfo> read_daemon(std::string_view body) {
  const auto value = parse_object(body);
  if (!value) return tl::unexpected(value.error());
  return DaemonInfo{text(*value, "version"), text(*value, "mode")};
}

core::Result<ReadyInfo> read_ready(std::string_view body) {
  const auto value = parse_object(body);
  if (!value) return tl::unexpected(value.error());
  if (!member(*value, "ready").is_boolean())
    return core::fail(Errc::malformed, "the answer of /readyz does not say \"ready\"");
  ReadyInfo out{truth(*value, "ready"),
                text(*value, "store"),
                text(*value, "bounces"),
                whole(*value, "bounces_foreign"),
                {},
                {},
                text(*value, "store_error"),
                std::nullopt,
                {}};
  if (const Json& error = member(*value, "bounces_error"); error.is_object())
    out.mailbox_error = {text(error, "step"), text(error, "reason"), text(error, "trouble")};
  if (const Json& agents = member(*value, "agents"); agents.is_object()) {
    for (const auto& [name, state] : agents.items())
      out.agents.emplace_back(name, state.is_string() ? state.get<std::string>() : std::string());
  }
  for (const Json& app : member(*value, "braked")) {
    if (app.is_string()) out.braked.push_back(app.get<std::string>());
  }
  if (const Json& relays = member(*value, "relays"); relays.is_object()) {
    for (const auto& [name, state] : relays.items())
      out.relays.emplace_back(name, state.is_string() ? state.get<std::string>() : std::string());
  }
  return out;
}

core::Result<StatsInfo> read_stats(std::string_view body) {
  const auto value = parse_object(body);
  if (!value) return tl::unexpected(value.error());
  return StatsInfo{counts(*value, "messages"),    counts(*value, "oldest_seconds"),
                   counts(*value, "ended_total"), counts(*value, "challenges"),
                   counts(*value, "bounces"),     whole(*value, "accepted_total")};
}

core::Result<PageInfo<KeyInfo>> read_keys(std::string_view body) {
  return page_of(body, key_of);
}

core::Result<ReloadInfo> read_reload(std::string_view body) {
  const auto value = parse_object(body);
  if (!value) return tl::unexpected(value.error());
  return ReloadInfo{whole(*value, "keys"),         text(*value, "keys_from") == "credential",
                    texts(*value, "changed"),      names_of(*value, "relays"),
                    names_of(*value, "apps"),      names_of(*value, "templates"),
                    texts(*value, "needs_restart")};
}

core::Result<std::int64_t> read_flushed(std::string_view body) {
  const auto value = parse_object(body);
  if (!value) return tl::unexpected(value.error());
  return whole(*value, "flushed");
}

core::Result<std::int64_t> read_erased(std::string_view body) {
  const auto value = parse_object(body);
  if (!value) return tl::unexpected(value.error());
  return whole(*value, "rows");
}

std::string erase_body(const std::string& address) {
  return line_of(Json{{"recipient", address}});
}

ProblemInfo read_problem(std::string_view body) {
  const auto value = parse_object(body);
  if (!value) return {};
  ProblemInfo out{text(*value, "code"),  text(*value, "title"),      text(*value, "detail"),
                  text(*value, "field"), text(*value, "request_id"), std::nullopt};
  if (member(*value, "retry_after").is_number_integer())
    out.retry_after = core::Seconds{whole(*value, "retry_after")};
  return out;
}

core::Result<std::string> object_line(std::string_view body) {
  const auto value = parse_object(body);
  if (!value) return tl::unexpected(value.error());
  return line_of(*value);
}

core::Result<PageInfo<std::string>> item_lines(std::string_view body) {
  const auto page = parse_page(body);
  if (!page) return tl::unexpected(page.error());
  PageInfo<std::string> out;
  for (const Json& item : member(*page, "items"))
    out.items.push_back(line_of(item));
  out.next_cursor = text(*page, "next_cursor");
  return out;
}

core::Result<std::string> status_line(std::string_view daemon, std::string_view ready, std::string_view stats,
                                      std::string_view relays, std::string_view keys) {
  Json out = Json::object();
  for (const std::string_view body : {daemon, ready}) {
    const auto value = parse_object(body);
    if (!value) return tl::unexpected(value.error());
    for (const auto& [key, one] : value->items()) {
      if (!out.contains(key)) out[key] = one;
    }
  }
  const auto numbers = parse_object(stats);
  if (!numbers) return tl::unexpected(numbers.error());
  out["stats"] = *numbers;
  const std::pair<const char*, std::string_view> pages[] = {{"relays", relays}, {"keys", keys}};
  for (const auto& [name, body] : pages) {
    if (body.empty()) continue;
    const auto page = parse_page(body);
    if (!page) return tl::unexpected(page.error());
    out[name] = member(*page, "items");
  }
  return line_of(out);
}

std::string backup_line(const std::string& file, std::uint64_t bytes, double seconds) {
  return line_of(Json{{"file", file}, {"bytes", bytes}, {"seconds", std::round(seconds * 1000) / 1000}});
}

}  // namespace mailotp::ctl
