#include "mail/channel/mailbox_codec.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <variant>

#include "core/check.h"
#include "mail/channel/cbor.h"
#include "mail/channel/codec_fields.h"

namespace mailotp::channel {
namespace {

// Beside those of codec.cpp, which it shares no number with but for drain, ready and log.
enum class MailboxTag : std::uint8_t {
  drain = 6,
  hello = 16,
  resume = 17,
  decided = 18,
  set_password = 19,
  ready = 38,
  log = 39,
  mailbox = 48,
  opened = 49,
  next = 50,
  read = 51,
  moved = 52,
};

constexpr std::size_t k_limits = 11;    // fields of MailboxLimits
constexpr std::size_t k_settings = 14;  // fields of MailboxSettings
constexpr std::size_t k_recipient = 8;  // fields of BouncedRecipient
constexpr std::size_t k_max_step = 20;
constexpr std::uint64_t k_max_keep = 100ULL * 366 * 86400;  // seconds
constexpr std::uint64_t k_max_fetch = 16 << 20;

// ---- Writing

void put_mail(CborWriter& out, const core::MailUid& mail) {
  out.number(mail.uidvalidity);
  out.number(mail.uid);
}

void put_limits(CborWriter& out, const core::MailboxLimits& limits) {
  out.array(k_limits);
  for (const core::Millis value :
       {limits.connect, limits.tls, limits.command, limits.fetch, limits.poll, limits.idle, limits.noop,
        limits.backoff_first, limits.backoff_most, limits.refused_pause})
    put_millis(out, value);
  out.number(limits.fetch_bytes);
}

void put_settings(CborWriter& out, const core::MailboxSettings& settings) {
  out.array(k_settings);
  out.bytes(settings.host);
  out.number(settings.port);
  put_enum(out, settings.tls);
  out.bytes(settings.server_name);
  out.bytes(settings.ca_file);
  put_enum(out, settings.auth);
  out.bytes(settings.username);
  out.bytes(settings.password.reveal());
  out.bytes(settings.mailbox);
  out.bytes(settings.processed);
  out.bytes(settings.unrecognised);
  out.bytes(settings.bounce_local);
  out.bytes(settings.bounce_domain);
  out.number(static_cast<std::uint64_t>(std::clamp<std::int64_t>(settings.keep.count(), 0, k_max_keep)));
}

// A token that was changed on its way would be another one.
void put_tokens(CborWriter& out, const std::vector<std::string>& tokens) {
  std::vector<std::string_view> kept;
  for (const std::string& token : tokens) {
    if (kept.size() == core::k_returned_tokens) break;
    if (token.size() <= core::k_returned_token && std::all_of(token.begin(), token.end(), is_printable))
      kept.push_back(token);
  }
  out.array(kept.size());
  for (const std::string_view token : kept)
    out.text(token);
}

void put_recipient(CborWriter& out, const core::BouncedRecipient& recipient) {
  out.array(k_recipient);
  put_words(out, recipient.address, k_max_mailbox);
  put_enum(out, recipient.kind);
  recipient.permanent ? out.boolean(*recipient.permanent) : out.null();
  const bool a_status = recipient.status.size() <= k_max_status &&
                        recipient.status.find_first_not_of("0123456789.") == std::string::npos;
  out.text(a_status ? std::string_view(recipient.status) : std::string_view());
  put_words(out, recipient.diagnostic, core::k_bounce_diagnostic);
  put_words(out, recipient.remote_host, k_max_name);
  put_enum(out, recipient.bounce_class);
  out.boolean(recipient.null_mx);
}

void put_report(CborWriter& out, const core::BounceReport& report) {
  put_enum(out, report.kind);
  put_words(out, report.rule, core::k_bounce_rule);
  const std::size_t recipients = std::min(report.recipients.size(), core::k_bounced_recipients);
  out.array(recipients);
  for (std::size_t i = 0; i < recipients; ++i)
    put_recipient(out, report.recipients[i]);
  put_tokens(out, report.envids);
  put_tokens(out, report.message_ids);
  put_tokens(out, report.headers);
}

void put_uids(CborWriter& out, const std::vector<std::uint32_t>& uids) {
  const std::size_t count = std::min(uids.size(), core::k_mails_a_fact);
  out.array(count);
  for (std::size_t i = 0; i < count; ++i)
    out.number(uids[i]);
}

struct Write {
  CborWriter& out;

  void operator()(const core::MailboxHello& order) const {
    put_head(out, MailboxTag::hello, 3);
    out.number(k_protocol);
    put_limits(out, order.limits);
    put_settings(out, order.mailbox);
  }
  void operator()(const core::MailboxResume& order) const {
    put_head(out, MailboxTag::resume, 4);
    out.number(order.uidvalidity);
    out.number(order.after_uid);
    out.array(order.moves.size());
    for (const core::MailToMove& move : order.moves) {
      out.array(2);
      out.number(move.uid);
      put_enum(out, move.fate);
    }
    put_uids(out, order.poison);
  }
  void operator()(const core::MailDecided& order) const {
    put_head(out, MailboxTag::decided, 3);
    put_mail(out, order.mail);
    put_enum(out, order.fate);
  }
  void operator()(const core::SetMailboxPassword& order) const {
    put_head(out, MailboxTag::set_password, 1);
    out.bytes(order.password.reveal());
  }
  void operator()(const core::Drain& order) const {
    put_head(out, MailboxTag::drain, 1);
    put_millis(out, order.grace);
  }

  void operator()(const core::AgentReady& event) const {
    put_head(out, MailboxTag::ready, 3);
    put_ready(out, event);
  }
  void operator()(const core::AgentLog& event) const {
    put_head(out, MailboxTag::log, 1);
    put_words(out, event.line);
  }
  void operator()(const core::MailboxFact& event) const {
    put_head(out, MailboxTag::mailbox, 4);
    out.boolean(event.up);
    put_words(out, event.step, k_max_step);
    put_words(out, event.reason);
    put_enum(out, event.trouble);
  }
  void operator()(const core::MailboxOpened& event) const {
    put_head(out, MailboxTag::opened, 3);
    out.number(event.uidvalidity);
    out.number(event.uidnext);
    out.number(event.exists);
  }
  void operator()(const core::MailNext& event) const {
    put_head(out, MailboxTag::next, 2);
    put_mail(out, event.mail);
  }
  void operator()(const core::MailRead& event) const {
    put_head(out, MailboxTag::read, 12);
    put_mail(out, event.mail);
    out.number(event.size);
    out.bytes({reinterpret_cast<const char*>(event.hash.data()), event.hash.size()});
    out.boolean(event.addressed);
    put_tokens(out, event.tags);
    put_report(out, event.report);
  }
  void operator()(const core::MailMoved& event) const {
    put_head(out, MailboxTag::moved, 2);
    out.number(event.uidvalidity);
    put_uids(out, event.uids);
  }
};

// An upper bound, as in codec.cpp: a string with a password in it must not grow.
std::size_t room_for(const core::MailboxOrder& order) {
  constexpr std::size_t k_heads = 256;  // initial bytes and numbers of the largest order
  constexpr std::size_t k_move = 7;
  std::size_t room = k_length_bytes + k_heads;
  if (const auto* hello = std::get_if<core::MailboxHello>(&order)) {
    const core::MailboxSettings& s = hello->mailbox;
    room += s.host.size() + s.server_name.size() + s.ca_file.size() + s.username.size() + s.password.size() +
            s.mailbox.size() + s.processed.size() + s.unrecognised.size() + s.bounce_local.size() +
            s.bounce_domain.size();
  } else if (const auto* resume = std::get_if<core::MailboxResume>(&order)) {
    room += k_move * (resume->moves.size() + resume->poison.size());
  } else if (const auto* password = std::get_if<core::SetMailboxPassword>(&order)) {
    room += password->password.size();
  }
  return room;
}

// ---- Reading

std::uint32_t get_nonzero(CborReader& in) {
  const std::uint32_t value = get_any32(in);
  if (value == 0) in.fail();
  return value;
}

core::MailUid get_mail(CborReader& in) {
  core::MailUid mail;
  mail.uidvalidity = get_nonzero(in);
  mail.uid = get_nonzero(in);
  return mail;
}

core::MailFate get_fate(CborReader& in) {
  return get_enum(in, core::MailFate::unrecognised);
}

core::MailboxLimits get_limits(CborReader& in) {
  core::MailboxLimits limits;
  if (in.array(k_limits) != k_limits) in.fail();
  for (core::Millis* value :
       {&limits.connect, &limits.tls, &limits.command, &limits.fetch, &limits.poll, &limits.idle,
        &limits.noop, &limits.backoff_first, &limits.backoff_most, &limits.refused_pause})
    *value = get_millis(in);
  limits.fetch_bytes = static_cast<std::uint32_t>(in.number(k_max_fetch));
  return limits;
}

core::MailboxSettings get_settings(CborReader& in) {
  core::MailboxSettings settings;
  if (in.array(k_settings) != k_settings) in.fail();
  settings.host = get_bytes(in, k_max_name);
  settings.port = static_cast<std::uint16_t>(in.number(std::numeric_limits<std::uint16_t>::max()));
  settings.tls = get_enum(in, core::TlsMode::implicit);
  settings.server_name = get_bytes(in, k_max_name);
  settings.ca_file = get_bytes(in, k_max_path);
  settings.auth = get_enum(in, core::AuthMode::xoauth2);
  settings.username = get_bytes(in, k_max_path);
  settings.password = core::Secret(get_bytes(in, k_max_secret));
  settings.mailbox = get_bytes(in, k_max_path);
  settings.processed = get_bytes(in, k_max_path);
  settings.unrecognised = get_bytes(in, k_max_path);
  settings.bounce_local = get_bytes(in, k_max_mailbox);
  settings.bounce_domain = get_bytes(in, k_max_name);
  settings.keep = core::Seconds{static_cast<std::int64_t>(in.number(k_max_keep))};
  return settings;
}

std::vector<std::uint32_t> get_uids(CborReader& in) {
  std::vector<std::uint32_t> uids;
  for (std::size_t left = in.array(core::k_mails_a_fact); left > 0 && in.ok(); --left)
    uids.push_back(get_nonzero(in));
  return uids;
}

core::MailboxResume get_resume(CborReader& in) {
  core::MailboxResume resume;
  resume.uidvalidity = get_nonzero(in);
  resume.after_uid = get_any32(in);
  for (std::size_t left = in.array(core::k_mails_a_fact); left > 0 && in.ok(); --left) {
    if (in.array(2) != 2) in.fail();
    const std::uint32_t uid = get_nonzero(in);
    resume.moves.push_back({uid, get_fate(in)});
  }
  resume.poison = get_uids(in);
  return resume;
}

std::vector<std::string> get_tokens(CborReader& in) {
  std::vector<std::string> tokens;
  for (std::size_t left = in.array(core::k_returned_tokens); left > 0 && in.ok(); --left)
    tokens.push_back(get_text(in, core::k_returned_token));
  return tokens;
}

core::BouncedRecipient get_recipient(CborReader& in) {
  core::BouncedRecipient recipient;
  if (in.array(k_recipient) != k_recipient) in.fail();
  recipient.address = get_text(in, k_max_mailbox);
  recipient.kind = get_enum(in, core::BounceKind::feedback);
  if (!in.null()) recipient.permanent = in.boolean();
  recipient.status = get_status(in);
  recipient.diagnostic = get_text(in, core::k_bounce_diagnostic);
  recipient.remote_host = get_text(in, k_max_name);
  recipient.bounce_class = get_enum(in, core::BounceClass::suppressed);
  recipient.null_mx = in.boolean();
  return recipient;
}

core::BounceReport get_report(CborReader& in) {
  core::BounceReport report;
  report.kind = get_enum(in, core::BounceKind::feedback);
  report.rule = get_text(in, core::k_bounce_rule);
  for (std::size_t left = in.array(core::k_bounced_recipients); left > 0 && in.ok(); --left)
    report.recipients.push_back(get_recipient(in));
  report.envids = get_tokens(in);
  report.message_ids = get_tokens(in);
  report.headers = get_tokens(in);
  return report;
}

core::MailRead get_read(CborReader& in) {
  core::MailRead read;
  read.mail = get_mail(in);
  read.size = get_any32(in);
  const std::string_view hash = in.bytes(read.hash.size());
  if (hash.size() == read.hash.size())
    std::copy(hash.begin(), hash.end(), read.hash.begin());
  else
    in.fail();
  read.addressed = in.boolean();
  read.tags = get_tokens(in);
  read.report = get_report(in);
  return read;
}

core::MailboxFact get_mailbox(CborReader& in) {
  core::MailboxFact fact;
  fact.up = in.boolean();
  fact.step = get_text(in, k_max_step);
  fact.reason = get_text(in, k_max_text);
  fact.trouble = get_enum(in, core::RelayTrouble::certificate);
  return fact;
}

// Braced initialisers are evaluated from left to right, which is the order of the fields in a frame.
core::MailboxOrder get_order(CborReader& in, MailboxTag tag) {
  switch (tag) {
    case MailboxTag::hello:
      if (in.number(k_any32) != k_protocol) in.fail();
      return core::MailboxHello{get_limits(in), get_settings(in)};
    case MailboxTag::resume:
      return get_resume(in);
    case MailboxTag::decided:
      return core::MailDecided{get_mail(in), get_fate(in)};
    case MailboxTag::set_password:
      return core::SetMailboxPassword{core::Secret(get_bytes(in, k_max_secret))};
    case MailboxTag::drain:
      return core::Drain{get_millis(in)};
    default:  // a number from outside, not an enumerator
      in.fail();
      return core::Drain{};
  }
}

core::MailboxEvent get_event(CborReader& in, MailboxTag tag) {
  switch (tag) {
    case MailboxTag::ready:
      return get_ready(in);
    case MailboxTag::log:
      return core::AgentLog{get_text(in, k_max_text)};
    case MailboxTag::mailbox:
      return get_mailbox(in);
    case MailboxTag::opened:
      return core::MailboxOpened{get_nonzero(in), get_any32(in), get_any32(in)};
    case MailboxTag::next:
      return core::MailNext{get_mail(in)};
    case MailboxTag::read:
      return get_read(in);
    case MailboxTag::moved:
      return core::MailMoved{get_nonzero(in), get_uids(in)};
    default:  // a number from outside, not an enumerator
      in.fail();
      return core::AgentLog{};
  }
}

std::size_t fields_of(MailboxTag tag) {
  switch (tag) {
    case MailboxTag::drain:
    case MailboxTag::set_password:
    case MailboxTag::log:
      return 1;
    case MailboxTag::next:
    case MailboxTag::moved:
      return 2;
    case MailboxTag::hello:
    case MailboxTag::decided:
    case MailboxTag::ready:
    case MailboxTag::opened:
      return 3;
    case MailboxTag::resume:
    case MailboxTag::mailbox:
      return 4;
    case MailboxTag::read:
      return 12;
  }
  return 0;
}

}  // namespace

core::Result<core::Secret> encode_mailbox_order(const core::MailboxOrder& order) {
  if (const auto* resume = std::get_if<core::MailboxResume>(&order)) {
    if (resume->moves.size() > core::k_mails_a_fact || resume->poison.size() > core::k_mails_a_fact)
      return core::fail(core::Errc::invalid, "more mails than one order may name");
  }
  const std::size_t room = room_for(order);
  if (room > k_max_frame) return core::fail(core::Errc::invalid, "an order larger than 4 MiB");
  std::string frame = frame_of(room, [&](CborWriter& out) { std::visit(Write{out}, order); });
  CHECK(frame.size() <= room);
  return core::Secret(std::move(frame));
}

std::string encode_mailbox_event(const core::MailboxEvent& event) {
  std::string frame = frame_of(256, [&](CborWriter& out) { std::visit(Write{out}, event); });
  CHECK(frame.size() <= k_length_bytes + k_max_fact);
  return frame;
}

core::Result<core::MailboxOrder> decode_mailbox_order(std::string_view frame) {
  return decode_frame<core::MailboxOrder>(frame, get_order, fields_of, "a frame that is no mailbox order");
}

core::Result<core::MailboxEvent> decode_mailbox_event(std::string_view frame) {
  return decode_frame<core::MailboxEvent>(frame, get_event, fields_of, "a frame that is no mailbox event");
}

}  // namespace mailotp::channel
