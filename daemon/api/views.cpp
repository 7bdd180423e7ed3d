#include "daemon/api/views.h"

#include <nlohmann/json.hpp>

#include "core/bounce_rules.h"

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

ordered_json reply_value(const std::optional<core::Reply>& reply) {
  if (!reply) return nullptr;
  return {{"code", reply->code == 0 ? ordered_json(nullptr) : ordered_json(reply->code)},
          {"status", reply->status},
          {"text", reply->text}};
}

ordered_json verdict_value(const std::optional<core::Verdict>& verdict) {
  if (!verdict) return nullptr;
  return {{"kind", core::to_string(verdict->kind)},
          {"class", verdict->verdict_class},
          {"permanent", verdict->permanent},
          {"status", verdict->status},
          {"detail", verdict->detail},
          {"source", core::to_string(verdict->source)},
          {"at", core::format_rfc3339(verdict->at)}};
}

ordered_json delivery_value(const core::MessageView& view) {
  return {{"id", core::to_string(view.id)},
          {"state", core::to_string(view.state)},
          {"current", view.current},
          {"attempts", view.attempts},
          {"next_attempt_at", time_or_null(view.next_attempt_at)},
          {"reply", reply_value(view.reply)},
          {"verdict", verdict_value(view.verdict)}};
}

ordered_json message_value(const core::MessageView& view) {
  ordered_json value = delivery_value(view);
  value["app"] = view.app;
  value["recipient"] = view.recipient;
  value["challenge"] =
      view.challenge ? ordered_json(core::to_string(*view.challenge)) : ordered_json(nullptr);
  value["created_at"] = core::format_rfc3339(view.created_at);
  value["not_after"] = core::format_rfc3339(view.not_after);
  value["template"] = view.template_name;
  value["template_version"] = view.template_version;
  value["locale"] = view.locale;
  value["message_id"] = view.message_id;
  value["revision"] = view.revision;
  value["metadata"] = stored_json(view.metadata);
  return value;
}

ordered_json outbox_row(const core::MessageView& view, core::WallTime now) {
  ordered_json value = message_value(view);
  value["kind"] = view.kind == core::MessageKind::otp ? "otp" : "templated";
  value["relay"] = view.relay.empty() ? ordered_json(nullptr) : ordered_json(view.relay);
  value["uncertain"] = view.uncertain;
  value["age_seconds"] = std::chrono::duration_cast<core::Seconds>(now - view.created_at).count();
  return value;
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
  return dump({{"id", core::to_string(view.id)},
               {"app", view.app},
               {"recipient", view.recipient},
               {"purpose", view.purpose},
               {"state", core::to_string(view.state)},
               {"created_at", core::format_rfc3339(view.created_at)},
               {"expires_at", core::format_rfc3339(view.expires_at)},
               {"attempts_left", view.attempts_left},
               {"sends_left", view.sends_left},
               {"resend_at", time_or_null(view.resend_at)},
               {"revision", view.revision},
               {"metadata", stored_json(view.metadata)},
               {"message", view.message ? delivery_value(*view.message) : ordered_json(nullptr)}});
}

std::string message_json(const core::MessageView& view) {
  return dump(message_value(view));
}

std::string check_json(const core::CheckAnswer& answer, int max_attempts) {
  const bool unknown = !answer.state;
  const auto state = answer.state.value_or(max_attempts > 1 ? core::ChallengeState::otp_invalid
                                                            : core::ChallengeState::otp_exhausted);
  return dump({{"valid", answer.result == core::CheckResult::valid},
               {"result", core::to_string(answer.result)},
               {"attempts_left", unknown ? max_attempts - 1 : answer.attempts_left},
               {"state", core::to_string(state)},
               {"metadata", stored_json(answer.metadata)}});
}

std::string outbox_json(const core::PageOf<core::MessageView>& page, core::WallTime now) {
  ordered_json items = ordered_json::array();
  for (const core::MessageView& view : page.items)
    items.push_back(outbox_row(view, now));
  return dump({{"items", std::move(items)}, {"next_cursor", cursor_value(page.next_cursor)}});
}

std::string outbox_item_json(const core::OutboxDetail& detail, core::WallTime now) {
  ordered_json value = outbox_row(detail.message, now);
  ordered_json events = ordered_json::array();
  for (const core::EventView& event : detail.events)
    events.push_back(event_value(event));
  value["events"] = std::move(events);
  return dump(value);
}

std::string outbox_row_json(const core::MessageView& view, core::WallTime now) {
  return dump(outbox_row(view, now));
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
  ordered_json suppressed = nullptr;
  if (const auto& suppression = recipient.suppressed)
    suppressed = {{"class", core::to_string(suppression->bounce_class)},
                  {"until", time_or_null(suppression->until)},
                  {"probe_at", time_or_null(suppression->probe_at)}};
  return dump({{"address", recipient.address},
               {"deliverable", core::to_string(recipient.deliverable)},
               {"suppressed", std::move(suppressed)},
               {"last_verdict", verdict_value(recipient.last_verdict)}});
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
