#include "daemon/api/views.h"

#include <nlohmann/json.hpp>

#include "core/bounce_rules.h"
#include "daemon/api/json_writer.h"

namespace mailotp::daemon {

namespace {

using nlohmann::ordered_json;

// What a relay or an app sent may not be UTF-8: replaced, never a failure.
std::string dump(const ordered_json& value) {
  return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

ordered_json time_or_null(const std::optional<core::WallTime>& t) {
  return t ? ordered_json(core::format_rfc3339(*t)) : ordered_json(nullptr);
}

ordered_json stored_json(const std::string& text) {
  if (text.empty()) return nullptr;
  auto value = ordered_json::parse(text, nullptr, false);
  return value.is_discarded() ? ordered_json(nullptr) : value;
}

void write_stored(JsonWriter& out, std::string_view name, const std::string& text) {
  out.key(name);
  out.raw(text.empty() ? "null" : dump(stored_json(text)));
}

void write_time(JsonWriter& out, std::string_view name, const std::optional<core::WallTime>& time) {
  if (time)
    out.field(name, core::format_rfc3339(*time));
  else
    out.field(name, nullptr);
}

void write_reply(JsonWriter& out, std::string_view name, const std::optional<core::Reply>& reply) {
  if (!reply) return out.field(name, nullptr);
  out.key(name);
  out.begin_object();
  if (reply->code == 0)
    out.field("code", nullptr);
  else
    out.field("code", reply->code);
  out.field("status", reply->status);
  out.field("text", reply->text);
  out.end_object();
}

void write_verdict(JsonWriter& out, std::string_view name, const std::optional<core::Verdict>& verdict) {
  if (!verdict) return out.field(name, nullptr);
  out.key(name);
  out.begin_object();
  out.field("kind", core::to_string(verdict->kind));
  out.field("class", verdict->verdict_class);
  out.field("permanent", verdict->permanent);
  out.field("status", verdict->status);
  out.field("detail", verdict->detail);
  out.field("source", core::to_string(verdict->source));
  out.field("at", core::format_rfc3339(verdict->at));
  out.end_object();
}

// What is said of a message wherever it is shown. The braces are the caller's.
void write_delivery(JsonWriter& out, const core::MessageView& view) {
  out.field("id", core::to_string(view.id));
  out.field("state", core::to_string(view.state));
  out.field("current", view.current);
  out.field("attempts", view.attempts);
  write_time(out, "next_attempt_at", view.next_attempt_at);
  write_reply(out, "reply", view.reply);
  write_verdict(out, "verdict", view.verdict);
}

void write_message(JsonWriter& out, const core::MessageView& view) {
  write_delivery(out, view);
  out.field("app", view.app);
  out.field("recipient", view.recipient);
  if (view.challenge)
    out.field("challenge", core::to_string(*view.challenge));
  else
    out.field("challenge", nullptr);
  out.field("created_at", core::format_rfc3339(view.created_at));
  out.field("not_after", core::format_rfc3339(view.not_after));
  out.field("template", view.template_name);
  out.field("template_version", view.template_version);
  out.field("locale", view.locale);
  out.field("message_id", view.message_id);
  out.field("revision", view.revision);
  write_stored(out, "metadata", view.metadata);
}

void write_outbox_row(JsonWriter& out, const core::MessageView& view, core::WallTime now) {
  write_message(out, view);
  out.field("kind", view.kind == core::MessageKind::otp ? "otp" : "templated");
  if (view.relay.empty())
    out.field("relay", nullptr);
  else
    out.field("relay", view.relay);
  out.field("uncertain", view.uncertain);
  out.field("age_seconds", std::chrono::duration_cast<core::Seconds>(now - view.created_at).count());
}

ordered_json relay_value(const ReadyView::Relay& relay) {
  return {{"name", relay.name},
          {"state", relay.state},
          {"breaker", relay.breaker},
          {"connections", relay.connections},
          {"last_error", relay.last_error.empty() ? ordered_json(nullptr) : ordered_json(relay.last_error)},
          {"last_error_at", time_or_null(relay.last_error_at)}};
}

std::string_view actor_name(core::ActorKind kind) {
  switch (kind) {
    case core::ActorKind::app:
      return "app";
    case core::ActorKind::operator_:
      return "operator";
    case core::ActorKind::daemon:
      return "daemon";
  }
  return "";
}

ordered_json event_value(const core::EventView& event) {
  return {{"at", core::format_rfc3339(event.at)},
          {"type", event.type},
          {"actor", actor_name(event.actor.kind)},
          {"uid", event.actor.kind == core::ActorKind::daemon ? ordered_json(nullptr)
                                                              : ordered_json(event.actor.uid)},
          {"detail", stored_json(event.detail)}};
}

ordered_json streamed_event(const core::EventView& event, const std::string& cursor, UidShown uid) {
  ordered_json value = {
      {"cursor", cursor}, {"type", event.type}, {"app", event.app}, {"at", core::format_rfc3339(event.at)}};
  if (event.challenge) value["challenge"] = core::to_string(*event.challenge);
  if (event.message) value["message"] = core::to_string(*event.message);
  value["actor"] = actor_name(event.actor.kind);
  if (uid == UidShown::yes && event.actor.kind != core::ActorKind::daemon) value["uid"] = event.actor.uid;
  value["detail"] = stored_json(event.detail);
  return value;
}

std::string_view tracing_name(core::TracedBy traced) {
  switch (traced) {
    case core::TracedBy::nothing:
      return "nothing";
    case core::TracedBy::recipient_token:
      return "recipient-token";
    case core::TracedBy::message_token:
      return "message-token";
    case core::TracedBy::both:
      return "both";
  }
  return "";
}

ordered_json id_or_null(const std::optional<core::Id>& id) {
  return id ? ordered_json(core::to_string(*id)) : ordered_json(nullptr);
}

ordered_json text_or_null(const std::string& text) {
  return text.empty() ? ordered_json(nullptr) : ordered_json(text);
}

ordered_json bounce_value(const core::BounceView& bounce) {
  return {
      {"at", core::format_rfc3339(bounce.at)},
      {"source", core::to_string(bounce.source)},
      {"recipient", text_or_null(bounce.recipient)},
      {"kind", core::to_string(bounce.kind)},
      {"class", core::to_string(bounce.bounce_class)},
      {"permanent", bounce.permanent ? ordered_json(*bounce.permanent) : ordered_json(nullptr)},
      {"status", bounce.status},
      {"diagnostic", bounce.diagnostic},
      {"rule", bounce.rule},
      {"message", bounce.message ? ordered_json(core::to_string(*bounce.message)) : ordered_json(nullptr)},
      {"app", text_or_null(bounce.app)},
      {"weight", core::to_string(bounce.weight)},
      {"traced_by", tracing_name(bounce.traced_by)}};
}

ordered_json suppression_value(const core::SuppressionView& suppression) {
  return {{"address", suppression.address},
          {"app", text_or_null(suppression.app)},
          {"class", core::to_string(suppression.bounce_class)},
          {"source", suppression.by_operator ? "operator" : core::to_string(suppression.source)},
          {"since", core::format_rfc3339(suppression.since)},
          {"until", time_or_null(suppression.until)},
          {"probe_at", time_or_null(suppression.probe_at)},
          {"times", suppression.times}};
}

ordered_json cursor_value(const std::optional<std::string>& cursor) {
  return cursor ? ordered_json(*cursor) : ordered_json(nullptr);
}

ordered_json counts(const std::map<std::string, std::int64_t>& map) {
  ordered_json value = ordered_json::object();
  for (const auto& [name, count] : map)
    value[name] = count;
  return value;
}

void add_ready_details(ordered_json& value, const ReadyView& view) {
  if (!view.braked.empty()) value["braked"] = view.braked;
  if (!view.store_error.empty()) value["store_error"] = view.store_error;
  if (view.mailbox_error) {
    const ReadyView::MailboxError& error = *view.mailbox_error;
    value["bounces_error"] = {{"step", error.step},
                              {"reason", error.reason},
                              {"trouble", error.trouble},
                              {"at", core::format_rfc3339(error.at)}};
  }
  ordered_json agents = ordered_json::object();
  for (const ReadyView::Agent& agent : view.agents) {
    if (agent.state != "confined") agents[agent.name] = agent.state;
  }
  if (!agents.empty()) value["agents"] = std::move(agents);
}

ordered_json changes_json(const NameChanges& changes) {
  return {{"added", changes.added}, {"changed", changes.changed}, {"removed", changes.removed}};
}

}  // namespace

std::string challenge_json(const core::ChallengeView& view) {
  JsonWriter out;
  out.begin_object();
  out.field("id", core::to_string(view.id));
  out.field("app", view.app);
  out.field("recipient", view.recipient);
  out.field("purpose", view.purpose);
  out.field("state", core::to_string(view.state));
  out.field("created_at", core::format_rfc3339(view.created_at));
  out.field("expires_at", core::format_rfc3339(view.expires_at));
  out.field("attempts_left", view.attempts_left);
  out.field("sends_left", view.sends_left);
  write_time(out, "resend_at", view.resend_at);
  out.field("revision", view.revision);
  write_stored(out, "metadata", view.metadata);
  if (view.message) {
    out.key("message");
    out.begin_object();
    write_delivery(out, *view.message);
    out.end_object();
  } else {
    out.field("message", nullptr);
  }
  out.end_object();
  return out.take();
}

std::string message_json(const core::MessageView& view) {
  JsonWriter out;
  out.begin_object();
  write_message(out, view);
  out.end_object();
  return out.take();
}

std::string check_json(const core::CheckAnswer& answer, int max_attempts) {
  const bool unknown = !answer.state;
  const auto state = answer.state.value_or(max_attempts > 1 ? core::ChallengeState::otp_invalid
                                                            : core::ChallengeState::otp_exhausted);
  JsonWriter out;
  out.begin_object();
  out.field("valid", answer.result == core::CheckResult::valid);
  out.field("result", core::to_string(answer.result));
  out.field("attempts_left", unknown ? max_attempts - 1 : answer.attempts_left);
  out.field("state", core::to_string(state));
  write_stored(out, "metadata", answer.metadata);
  out.end_object();
  return out.take();
}

std::string outbox_json(const core::PageOf<core::MessageView>& page, core::WallTime now) {
  JsonWriter out;
  out.begin_object();
  out.key("items");
  out.begin_array();
  for (const core::MessageView& view : page.items) {
    out.begin_object();
    write_outbox_row(out, view, now);
    out.end_object();
  }
  out.end_array();
  if (page.next_cursor)
    out.field("next_cursor", *page.next_cursor);
  else
    out.field("next_cursor", nullptr);
  out.end_object();
  return out.take();
}

std::string outbox_item_json(const core::OutboxDetail& detail, core::WallTime now) {
  JsonWriter out;
  out.begin_object();
  write_outbox_row(out, detail.message, now);
  out.key("events");
  out.begin_array();
  for (const core::EventView& event : detail.events)
    out.raw(dump(event_value(event)));
  out.end_array();
  out.end_object();
  return out.take();
}

std::string outbox_row_json(const core::MessageView& view, core::WallTime now) {
  JsonWriter out;
  out.begin_object();
  write_outbox_row(out, view, now);
  out.end_object();
  return out.take();
}

std::string flushed_json(std::int64_t messages) {
  return dump({{"flushed", messages}});
}

std::string event_json(const core::EventView& event, const std::string& cursor, UidShown uid) {
  return dump(streamed_event(event, cursor, uid));
}

std::string timeline_json(const core::PageOf<core::TimelineItem>& page) {
  ordered_json items = ordered_json::array();
  for (const core::TimelineItem& item : page.items) {
    ordered_json value = {{"at", core::format_rfc3339(item.event.at)},
                          {"type", item.event.type},
                          {"app", item.event.app},
                          {"challenge", id_or_null(item.event.challenge)},
                          {"message", id_or_null(item.event.message)}};
    value.update(event_value(item.event));
    if (!item.template_name.empty())
      value["template"] = {
          {"name", item.template_name}, {"version", item.template_version}, {"locale", item.locale}};
    items.push_back(std::move(value));
  }
  return dump({{"items", std::move(items)}, {"next_cursor", cursor_value(page.next_cursor)}});
}

std::string reloaded_json(const Reloaded& done) {
  return dump({{"changed", done.changed},
               {"relays", changes_json(done.relays)},
               {"apps", changes_json(done.apps)},
               {"templates", changes_json(done.templates)},
               {"keys", done.keys},
               {"keys_from", done.from_credential ? "credential" : "file"},
               {"restart_needed", !done.needs_restart.empty()},
               {"needs_restart", done.needs_restart}});
}

std::string erased_json(std::int64_t rows) {
  return dump({{"rows", rows}});
}

std::string keys_json(const std::vector<core::KeyUse>& keys, core::WallTime now) {
  ordered_json items = ordered_json::array();
  for (const core::KeyUse& key : keys)
    items.push_back({{"id", key.id},
                     {"writing", !key.retired_at},
                     {"retired_at", time_or_null(key.retired_at)},
                     {"needed", core::is_needed(key, now)},
                     {"challenges", key.challenges},
                     {"messages", key.messages},
                     {"answers_until", time_or_null(key.answers_until)},
                     {"bounces_until", time_or_null(key.bounces_until)}});
  return dump({{"items", std::move(items)}, {"next_cursor", nullptr}});
}

std::string stats_json(const core::Stats& stats) {
  return dump({{"messages", counts(stats.messages)},
               {"oldest_seconds", counts(stats.oldest_seconds)},
               {"accepted_total", stats.accepted_total},
               {"ended_total", counts(stats.ended_total)},
               {"challenges", counts(stats.challenges)},
               {"bounces", counts(stats.bounces)}});
}

std::string bounce_json(const core::BounceView& bounce) {
  return dump(bounce_value(bounce));
}

std::string bounces_json(const core::PageOf<core::BounceView>& page) {
  ordered_json items = ordered_json::array();
  for (const core::BounceView& bounce : page.items)
    items.push_back(bounce_value(bounce));
  return dump({{"items", std::move(items)}, {"next_cursor", cursor_value(page.next_cursor)}});
}

std::string suppression_json(const core::SuppressionView& suppression) {
  return dump(suppression_value(suppression));
}

std::string suppressions_json(const core::PageOf<core::SuppressionView>& page) {
  ordered_json items = ordered_json::array();
  for (const core::SuppressionView& suppression : page.items)
    items.push_back(suppression_value(suppression));
  return dump({{"items", std::move(items)}, {"next_cursor", cursor_value(page.next_cursor)}});
}

std::string unsuppressed_json(const std::string& address) {
  return dump({{"address", address}, {"suppressed", nullptr}});
}

std::string recipient_json(const core::RecipientView& recipient) {
  JsonWriter out;
  out.begin_object();
  out.field("address", recipient.address);
  out.field("deliverable", core::to_string(recipient.deliverable));
  if (const auto& suppression = recipient.suppressed) {
    out.key("suppressed");
    out.begin_object();
    out.field("class", core::to_string(suppression->bounce_class));
    write_time(out, "until", suppression->until);
    write_time(out, "probe_at", suppression->probe_at);
    out.end_object();
  } else {
    out.field("suppressed", nullptr);
  }
  write_verdict(out, "last_verdict", recipient.last_verdict);
  out.end_object();
  return out.take();
}

std::string ready_json(const ReadyView& view, ReadyFor whom) {
  ordered_json relays = ordered_json::object();
  for (const ReadyView::Relay& relay : view.relays)
    relays[relay.name] = relay.state;
  ordered_json value = {{"ready", view.ready},
                        {"mode", view.mode},
                        {"store", view.store},
                        {"relays", std::move(relays)},
                        {"bounces", view.bounces}};
  if (view.foreign_mails > k_foreign_told) value["bounces_foreign"] = view.foreign_mails;
  if (whom == ReadyFor::operators) add_ready_details(value, view);
  return dump(value);
}

std::string relays_json(const ReadyView& view) {
  ordered_json items = ordered_json::array();
  for (const ReadyView::Relay& relay : view.relays)
    items.push_back(relay_value(relay));
  return dump({{"items", std::move(items)}, {"next_cursor", nullptr}});
}

std::string relay_json(const ReadyView::Relay& relay) {
  return dump(relay_value(relay));
}

std::string relay_test_json(const std::string& relay, bool ok, const std::vector<core::TestStep>& steps) {
  ordered_json items = ordered_json::array();
  for (const core::TestStep& step : steps)
    items.push_back({{"stage", core::to_string(step.stage)}, {"ok", step.ok}, {"saw", step.saw}});
  return dump({{"relay", relay}, {"ok", ok}, {"steps", std::move(items)}});
}

std::string version_json(const std::string& mode) {
  return dump(
      {{"name", "mailotpd"},
       {"version", MAILOTP_VERSION},
       {"mode", mode},
       {"features",
        {"challenges", "long-poll",  "short-form",    "messages",  "idempotency", "outbox", "stats",
         "bounces",    "recipients", "suppressions",  "apps",      "limits",      "events", "erase",
         "keys",       "metrics",    "outbox-orders", "templates", "timeline",    "backup", "reload"}}});
}

std::string captured_json(const core::PageOf<CapturedMail>& page) {
  ordered_json items = ordered_json::array();
  for (const CapturedMail& mail : page.items) {
    items.push_back({{"to", mail.to},
                     {"subject", mail.subject},
                     {"text", mail.text},
                     {"html", mail.html},
                     {"raw", mail.raw}});
  }
  return dump({{"items", std::move(items)}, {"next_cursor", cursor_value(page.next_cursor)}});
}

}  // namespace mailotp::daemon
