#include "store/records.h"

#include <algorithm>

#include <fmt/format.h>

#include "store/events.h"

namespace mailotp::store {

using core::Errc;
using core::Result;

namespace {

// Reads the columns of a row one after the other and remembers whether all were possible.
class Columns {
 public:
  explicit Columns(const Rows& rows) : rows_(rows) {}

  std::int64_t integer() { return rows_.integer(at_++); }
  template <class T>
  T count() {
    const std::int64_t value = integer();
    good_ = good_ && value >= 0 && std::in_range<T>(value);
    return static_cast<T>(value);
  }
  // A stored number of an enum with the values 0 to last.
  template <class E>
  E choice(E last) {
    const std::int64_t value = integer();
    good_ = good_ && value >= 0 && value <= static_cast<std::int64_t>(last);
    return static_cast<E>(value);
  }
  std::optional<std::int64_t> optional_integer() {
    if (rows_.is_null(at_)) return ++at_, std::nullopt;
    return integer();
  }
  std::string text() { return std::string(rows_.text(at_++)); }
  std::string blob() { return std::string(rows_.blob(at_++)); }
  core::WallTime time() { return rows_.time(at_++); }
  std::optional<core::WallTime> optional_time() {
    if (rows_.is_null(at_)) return ++at_, std::nullopt;
    return time();
  }
  core::Millis millis() { return core::Millis{integer()}; }
  std::optional<core::Id> optional_id() {
    if (rows_.is_null(at_)) return ++at_, std::nullopt;
    return id();
  }
  core::Id id() {
    const auto id = rows_.id(at_++);
    good_ = good_ && id.has_value();
    return id.value_or(core::Id{});
  }
  [[nodiscard]] bool null_here() const { return rows_.is_null(at_); }
  void skip(int columns) { at_ += columns; }
  [[nodiscard]] bool good() const { return good_; }

 private:
  const Rows& rows_;
  int at_ = 0;
  bool good_ = true;
};

std::optional<core::Reply> read_reply(Columns& columns) {
  if (columns.null_here()) return columns.skip(3), std::nullopt;
  core::Reply reply;
  reply.code = columns.count<int>();
  reply.status = columns.text();
  reply.text = columns.text();
  return reply;
}

std::optional<core::Verdict> read_verdict(Columns& columns) {
  if (columns.null_here()) return columns.skip(7), std::nullopt;
  core::Verdict verdict;
  verdict.kind = columns.choice(core::VerdictKind::unsent);
  verdict.verdict_class = columns.text();
  verdict.permanent = columns.integer() != 0;
  verdict.status = columns.text();
  verdict.detail = columns.text();
  verdict.source = columns.choice(core::VerdictSource::policy);
  verdict.at = columns.time();
  return verdict;
}

// Names of relays hold no comma.
std::vector<std::string> split(const std::string& names) {
  std::vector<std::string> out;
  for (std::size_t from = 0; from < names.size();) {
    const std::size_t comma = std::min(names.find(',', from), names.size());
    out.push_back(names.substr(from, comma - from));
    from = comma + 1;
  }
  return out;
}

core::MessageRow read_message_row(Columns& columns) {
  core::MessageRow row;
  row.kind = columns.choice(core::MessageKind::templated);
  row.state = columns.choice(core::MessageState::suppressed);
  row.attempt = columns.count<std::uint32_t>();
  row.attempts = columns.count<std::uint32_t>();
  row.uncertain = columns.count<std::uint32_t>();
  row.orphaned = columns.count<std::uint32_t>();
  row.not_after = columns.time();
  row.due_at = columns.time();
  row.revision = columns.count<std::uint64_t>();
  return row;
}

core::ChallengeRow read_challenge_row(Columns& columns) {
  core::ChallengeRow row;
  row.state = columns.choice(core::ChallengeState::canceled);
  row.attempts_left = columns.count<int>();
  row.sends = columns.count<int>();
  row.max_sends = columns.count<int>();
  row.cooldown = columns.millis();
  row.usable_minimum = columns.millis();
  row.expires_at = columns.time();
  row.resend_at = columns.time();
  row.revision = columns.count<std::uint64_t>();
  return row;
}

}  // namespace

Result<ChallengeRecord> read_challenge(const Rows& rows) {
  Columns columns(rows);
  ChallengeRecord out;
  out.n = columns.integer();
  out.id = columns.id();
  out.recipient = columns.integer();
  out.app = columns.text();
  out.purpose = columns.text();
  out.mailbox = columns.text();
  out.created_at = columns.time();
  out.row = read_challenge_row(columns);
  out.message = columns.optional_integer();
  out.resend = columns.choice(core::ResendMode::fresh);
  out.code.length = columns.count<int>();
  out.code.alphabet = columns.choice(core::Alphabet::alphanumeric);
  out.template_name = columns.text();
  out.locale = columns.text();
  out.metadata = columns.text();
  out.key = columns.count<KeyId>();
  out.code_mac = columns.blob();
  out.binding_mac = columns.blob();
  out.kept_code = columns.blob();
  out.data = columns.blob();
  out.budget.recipient = columns.blob();
  out.budget.network = columns.blob();
  out.budget.device = columns.blob();
  if (!columns.good())
    return core::fail(Errc::corrupt, fmt::format("store: the row of challenge {} cannot be", out.n));
  return out;
}

Result<ChallengeClock> read_challenge_clock(const Rows& rows) {
  Columns columns(rows);
  ChallengeClock out;
  out.n = columns.integer();
  out.row.state = columns.choice(core::ChallengeState::canceled);
  out.row.expires_at = columns.time();
  out.row.revision = columns.count<std::uint64_t>();
  if (!columns.good())
    return core::fail(Errc::corrupt, fmt::format("store: the row of challenge {} cannot be", out.n));
  return out;
}

Result<MessageRecord> read_message(const Rows& rows) {
  Columns columns(rows);
  MessageRecord out;
  out.n = columns.integer();
  out.id = columns.id();
  out.challenge = columns.optional_id();
  out.previous = columns.optional_integer();
  out.current = columns.integer() != 0;
  out.recipient = columns.integer();
  out.app = columns.text();
  out.mailbox = columns.text();
  out.created_at = columns.time();
  out.row = read_message_row(columns);
  out.message_id = columns.text();
  out.template_name = columns.text();
  out.template_version = columns.text();
  out.locale = columns.text();
  out.metadata = columns.text();
  out.row.relay = columns.text();
  out.row.reply = read_reply(columns);
  out.row.verdict = read_verdict(columns);
  out.row.waits_for = columns.choice(core::WaitsFor::relay);
  out.row.tried = split(columns.text());
  out.row.refused_by = columns.text();
  if (const auto ends_as = columns.optional_integer())
    out.row.ends_as = static_cast<core::MessageState>(*ends_as);
  out.row.on_uncertain = columns.choice(core::OnUncertain::hold);
  out.ended_at = columns.optional_time();
  if (!columns.good())
    return core::fail(Errc::corrupt, fmt::format("store: the row of message {} cannot be", out.n));
  return out;
}

Result<SuppressionRecord> read_suppression(const Rows& rows) {
  Columns columns(rows);
  SuppressionRecord out;
  out.n = columns.integer();
  out.recipient = columns.integer();
  out.app = columns.text();
  out.bounce_class = columns.choice(core::BounceClass::suppressed);
  out.mailbox = columns.text();
  out.since = columns.time();
  out.until = columns.time();
  out.probe_at = columns.optional_time();
  out.source = columns.choice(core::BounceSource::provider);
  out.times = columns.count<int>();
  out.probe = columns.optional_id();
  out.check_at = columns.optional_time();
  if (!columns.good())
    return core::fail(Errc::corrupt, fmt::format("store: the row of suppression {} cannot be", out.n));
  return out;
}

Result<core::BounceView> read_bounce(const Rows& rows) {
  Columns columns(rows);
  core::BounceView out;
  out.n = columns.integer();
  out.at = columns.time();
  out.source = columns.choice(core::BounceSource::provider);
  out.kind = columns.choice(core::BounceKind::feedback);
  out.bounce_class = columns.choice(core::BounceClass::suppressed);
  if (const auto permanent = columns.optional_integer()) out.permanent = *permanent != 0;
  out.recipient = columns.text();
  out.message = columns.optional_id();
  out.app = columns.text();
  out.status = columns.text();
  out.diagnostic = columns.text();
  out.rule = columns.text();
  out.traced_by = columns.choice(core::TracedBy::both);
  out.weight = columns.choice(core::VerdictWeight::none);
  if (!columns.good())
    return core::fail(Errc::corrupt, fmt::format("store: the row of bounce {} cannot be", out.n));
  return out;
}

Result<Evidence> read_evidence(const Rows& rows) {
  Columns columns(rows);
  Evidence out;
  out.app = columns.text();
  out.proven_at = columns.optional_time();
  out.doubted_at = columns.optional_time();
  out.hard = columns.integer() != 0;
  out.verdict = read_verdict(columns);
  if (!columns.good()) return core::fail(Errc::corrupt, "store: a row of evidence cannot be");
  return out;
}

core::SuppressionView view_of(const SuppressionRecord& suppression) {
  core::SuppressionView out;
  out.address = suppression.mailbox;
  out.app = suppression.app;
  out.bounce_class = suppression.bounce_class;
  out.since = suppression.since;
  if (suppression.until < core::k_never) out.until = suppression.until;
  out.probe_at = suppression.probe_at;
  out.source = suppression.source;
  out.by_operator = suppression.app.empty();
  out.times = suppression.times;
  return out;
}

core::MessageView view_of(const MessageRecord& message) {
  core::MessageView out;
  out.id = message.id;
  out.challenge = message.challenge;
  out.app = message.app;
  out.kind = message.row.kind;
  out.recipient = message.mailbox;
  out.state = message.row.state;
  out.current = message.current;
  out.attempts = message.row.attempts;
  out.uncertain = message.row.uncertain;
  const bool waits =
      message.row.state == core::MessageState::deferred || message.row.state == core::MessageState::uncertain;
  // After a second uncertainty nothing more is planned.
  const bool planned = message.row.due_at < message.row.not_after;
  if (waits && planned) out.next_attempt_at = message.row.due_at;
  out.created_at = message.created_at;
  out.not_after = message.row.not_after;
  out.relay = message.row.relay;
  out.reply = message.row.reply;
  // Another relay has it now: the refusal of the first one counts only if that one cannot be asked.
  const bool pending = core::is_open(message.row.state) && !message.row.refused_by.empty();
  if (!pending) out.verdict = message.row.verdict;
  out.message_id = message.message_id;
  out.template_name = message.template_name;
  out.template_version = message.template_version;
  out.locale = message.locale;
  out.revision = message.row.revision;
  out.metadata = message.metadata;
  return out;
}

core::ChallengeView view_of(const ChallengeRecord& challenge, const std::optional<MessageRecord>& message) {
  const core::ChallengeRow& row = challenge.row;
  core::ChallengeView out;
  out.id = challenge.id;
  out.app = challenge.app;
  out.recipient = challenge.mailbox;
  out.purpose = challenge.purpose;
  out.state = row.state;
  out.created_at = challenge.created_at;
  out.expires_at = row.expires_at;
  out.attempts_left = row.attempts_left;
  out.sends_left = row.max_sends - row.sends;
  if (is_open(row.state) && out.sends_left > 0 && row.expires_at - row.resend_at >= row.usable_minimum)
    out.resend_at = row.resend_at;
  out.revision = row.revision;
  out.metadata = challenge.metadata;
  if (message) out.message = view_of(*message);
  return out;
}

core::Result<core::EventView> read_event(const Rows& rows) {
  auto type = event_type_name(rows.integer(2));
  if (!type) return tl::unexpected(type.error());
  core::EventView event;
  event.seq = rows.integer(0);
  event.at = rows.time(1);
  event.type = *std::move(type);
  event.app = rows.text(3);
  event.challenge = rows.id(4);
  event.message = rows.id(5);
  event.actor.kind = static_cast<core::ActorKind>(rows.integer(6));
  event.actor.uid = static_cast<std::uint32_t>(rows.integer(7));
  event.detail = rows.text(8);
  return event;
}

}  // namespace mailotp::store
