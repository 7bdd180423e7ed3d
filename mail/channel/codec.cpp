#include "mail/channel/codec.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/check.h"
#include "mail/channel/cbor.h"
#include "mail/channel/codec_fields.h"

namespace mailotp::channel {
namespace {

// The first item of a frame. Orders and facts share no number, so neither is ever taken for the other.
enum class Tag : std::uint8_t {
  hello = 1,
  job = 2,
  cancel_job = 3,
  set_password = 4,
  test_relay = 5,
  drain = 6,
  dot_next = 32,
  relayed = 33,
  refused = 34,
  not_sent = 35,
  uncertain = 36,
  relay = 37,
  ready = 38,
  log = 39,
  test_step = 40,
  test_done = 41,
};

constexpr std::size_t k_max_envid = 100;  // RFC 3461 section 4.4
constexpr std::size_t k_max_notify = 3;   // failure, delay, success
constexpr std::size_t k_limits = 14;      // fields of SessionLimits
constexpr std::uint64_t k_max_connections = 1 << 16;

// ---- Writing

// Two items.
void put_key(CborWriter& out, const core::AttemptKey& key) {
  out.bytes({reinterpret_cast<const char*>(key.message.bytes.data()), key.message.bytes.size()});
  out.number(key.attempt);
}

void put_reply(CborWriter& out, const core::Reply& reply) {
  out.array(3);
  put_count(out, reply.code);
  out.text(printable(reply.status, k_max_status));
  put_words(out, reply.text);
}

void put_relay(CborWriter& out, const core::RelaySettings& relay) {
  out.array(12);
  out.text(relay.name);
  put_enum(out, relay.kind);
  out.bytes(relay.directory);
  out.bytes(relay.host);
  out.number(relay.port);
  put_enum(out, relay.tls);
  out.bytes(relay.server_name);
  out.bytes(relay.ca_file);
  put_enum(out, relay.auth);
  out.bytes(relay.username);
  out.bytes(relay.password.reveal());
  put_count(out, relay.max_connections);
}

void put_limits(CborWriter& out, const core::SessionLimits& limits) {
  out.array(k_limits);
  for (const core::Millis value :
       {limits.connect, limits.greeting, limits.ehlo, limits.starttls, limits.auth, limits.mail, limits.rcpt,
        limits.data, limits.write, limits.before_dot, limits.dot, limits.idle, limits.session_age})
    put_millis(out, value);
  put_count(out, limits.session_messages);
}

struct Write {
  CborWriter& out;

  void operator()(const core::Hello& order) const {
    put_head(out, Tag::hello, 5);
    out.number(k_protocol);
    out.bytes(order.hostname);
    out.array(order.dsn_notify.size());
    for (const std::string& word : order.dsn_notify)
      out.text(word);
    put_limits(out, order.limits);
    out.array(order.relays.size());
    for (const core::RelaySettings& relay : order.relays)
      put_relay(out, relay);
  }
  void operator()(const core::Job& order) const {
    put_head(out, Tag::job, 8);
    put_key(out, order.key);
    out.text(order.relay);
    out.text(order.return_path);
    out.text(order.recipient);
    out.text(order.envid);
    put_millis(out, order.time_left);
    out.bytes(order.content.reveal());
  }
  void operator()(const core::CancelJob& order) const {
    put_head(out, Tag::cancel_job, 2);
    put_key(out, order.key);
  }
  void operator()(const core::SetPassword& order) const {
    put_head(out, Tag::set_password, 2);
    out.text(order.relay);
    out.bytes(order.password.reveal());
  }
  void operator()(const core::TestRelay& order) const {
    put_head(out, Tag::test_relay, 2);
    out.number(order.test);
    out.text(order.relay);
  }
  void operator()(const core::Drain& order) const {
    put_head(out, Tag::drain, 1);
    put_millis(out, order.grace);
  }

  void operator()(const core::JobDotNext& fact) const {
    put_head(out, Tag::dot_next, 2);
    put_key(out, fact.key);
  }
  void operator()(const core::JobRelayed& fact) const {
    put_head(out, Tag::relayed, 3);
    put_key(out, fact.key);
    put_reply(out, fact.reply);
  }
  void operator()(const core::JobRefused& fact) const {
    put_head(out, Tag::refused, 4);
    put_key(out, fact.key);
    put_enum(out, fact.stage);
    put_reply(out, fact.reply);
  }
  void operator()(const core::JobNotSent& fact) const {
    put_head(out, Tag::not_sent, 5);
    put_key(out, fact.key);
    put_enum(out, fact.stage);
    put_words(out, fact.reason);
    fact.reply ? put_reply(out, *fact.reply) : out.null();
  }
  void operator()(const core::JobUncertain& fact) const {
    put_head(out, Tag::uncertain, 3);
    put_key(out, fact.key);
    put_words(out, fact.reason);
  }
  void operator()(const core::RelayFact& fact) const {
    put_head(out, Tag::relay, 6);
    out.text(fact.relay);
    put_enum(out, fact.condition);
    put_enum(out, fact.stage);
    put_words(out, fact.reason);
    put_count(out, fact.connections);
    put_enum(out, fact.trouble);
  }
  void operator()(const core::AgentReady& fact) const {
    put_head(out, Tag::ready, 3);
    put_ready(out, fact);
  }
  void operator()(const core::AgentLog& fact) const {
    put_head(out, Tag::log, 1);
    put_words(out, fact.line);
  }
  void operator()(const core::TestStep& fact) const {
    put_head(out, Tag::test_step, 4);
    out.number(fact.test);
    put_enum(out, fact.stage);
    out.boolean(fact.ok);
    put_words(out, fact.saw);
  }
  void operator()(const core::TestDone& fact) const {
    put_head(out, Tag::test_done, 3);
    out.number(fact.test);
    out.boolean(fact.ok);
    put_enum(out, fact.trouble);
  }
};

// An upper bound of an order's frame: the string must not grow, or it would leave a secret behind in freed
// memory.
std::size_t room_for(const core::Order& order) {
  constexpr std::size_t k_heads = 128;  // initial bytes and numbers of one array
  std::size_t room = k_length_bytes + k_heads;
  if (const auto* hello = std::get_if<core::Hello>(&order)) {
    room += hello->hostname.size() + 2 * k_heads;  // the limits: 14 numbers
    for (const std::string& word : hello->dsn_notify)
      room += k_heads + word.size();
    for (const core::RelaySettings& r : hello->relays)
      room += k_heads + r.name.size() + r.directory.size() + r.host.size() + r.server_name.size() +
              r.ca_file.size() + r.username.size() + r.password.size();
  } else if (const auto* job = std::get_if<core::Job>(&order)) {
    room += job->relay.size() + job->return_path.size() + job->recipient.size() + job->envid.size() +
            job->content.size();
  } else if (const auto* password = std::get_if<core::SetPassword>(&order)) {
    room += password->relay.size() + password->password.size();
  } else if (const auto* test = std::get_if<core::TestRelay>(&order)) {
    room += test->relay.size();
  }
  return room;
}

template <class Message>
std::string message_frame(const Message& message, std::size_t room) {
  return frame_of(room, [&](CborWriter& out) { std::visit(Write{out}, message); });
}

// ---- Reading

core::AttemptKey get_key(CborReader& in) {
  core::AttemptKey key;
  const std::string_view id = in.bytes(key.message.bytes.size());
  if (id.size() == key.message.bytes.size())
    std::copy(id.begin(), id.end(), key.message.bytes.begin());
  else
    in.fail();
  key.attempt = get_any32(in);
  return key;
}

core::Reply get_reply(CborReader& in) {
  core::Reply reply;
  if (in.array(3) != 3) in.fail();
  reply.code = static_cast<int>(in.number(599));
  if (reply.code < 200) in.fail();
  reply.status = get_status(in);
  reply.text = get_text(in, k_max_text);
  return reply;
}

core::RelaySettings get_relay(CborReader& in) {
  core::RelaySettings relay;
  if (in.array(12) != 12) in.fail();
  relay.name = get_text(in, k_max_name);
  relay.kind = get_enum(in, core::RelayKind::capture);
  relay.directory = get_bytes(in, k_max_path);
  relay.host = get_bytes(in, k_max_name);
  relay.port = static_cast<std::uint16_t>(in.number(std::numeric_limits<std::uint16_t>::max()));
  relay.tls = get_enum(in, core::TlsMode::implicit);
  relay.server_name = get_bytes(in, k_max_name);
  relay.ca_file = get_bytes(in, k_max_path);
  relay.auth = get_enum(in, core::AuthMode::xoauth2);
  relay.username = get_bytes(in, k_max_path);
  relay.password = core::Secret(get_bytes(in, k_max_secret));
  relay.max_connections = static_cast<int>(in.number(k_max_connections));
  return relay;
}

core::SessionLimits get_limits(CborReader& in) {
  core::SessionLimits limits;
  if (in.array(k_limits) != k_limits) in.fail();
  for (core::Millis* value : {&limits.connect, &limits.greeting, &limits.ehlo, &limits.starttls, &limits.auth,
                              &limits.mail, &limits.rcpt, &limits.data, &limits.write, &limits.before_dot,
                              &limits.dot, &limits.idle, &limits.session_age})
    *value = get_millis(in);
  limits.session_messages = static_cast<int>(in.number(std::numeric_limits<std::int32_t>::max()));
  return limits;
}

core::Hello get_hello(CborReader& in) {
  core::Hello hello;
  if (in.number(k_any32) != k_protocol) in.fail();
  hello.hostname = get_bytes(in, k_max_name);
  for (std::size_t left = in.array(k_max_notify); left > 0; --left)
    hello.dsn_notify.push_back(get_text(in, k_max_name));
  hello.limits = get_limits(in);
  for (std::size_t left = in.array(k_max_relays); left > 0 && in.ok(); --left)
    hello.relays.push_back(get_relay(in));
  return hello;
}

core::Job get_job(CborReader& in) {
  core::Job job;
  job.key = get_key(in);
  job.relay = get_text(in, k_max_name);
  job.return_path = get_text(in, k_max_mailbox);
  job.recipient = get_text(in, k_max_mailbox);
  job.envid = get_text(in, k_max_envid);
  job.time_left = get_millis(in);
  job.content = core::Secret(get_bytes(in, k_max_frame));
  return job;
}

core::JobNotSent get_not_sent(CborReader& in) {
  core::JobNotSent fact;
  fact.key = get_key(in);
  fact.stage = get_enum(in, core::Stage::dot);
  fact.reason = get_text(in, k_max_text);
  if (!in.null()) fact.reply = get_reply(in);
  return fact;
}

core::RelayFact get_relay_fact(CborReader& in) {
  core::RelayFact fact;
  fact.relay = get_text(in, k_max_name);
  fact.condition = get_enum(in, core::RelayCondition::down);
  fact.stage = get_enum(in, core::Stage::dot);
  fact.reason = get_text(in, k_max_text);
  fact.connections = static_cast<int>(in.number(k_max_connections));
  fact.trouble = get_enum(in, core::RelayTrouble::certificate);
  return fact;
}

core::TestDone get_test_done(CborReader& in) {
  core::TestDone fact;
  fact.test = get_any32(in);
  fact.ok = in.boolean();
  fact.trouble = get_enum(in, core::RelayTrouble::certificate);
  return fact;
}

core::TestStep get_test_step(CborReader& in) {
  core::TestStep fact;
  fact.test = get_any32(in);
  fact.stage = get_enum(in, core::Stage::dot);
  fact.ok = in.boolean();
  fact.saw = get_text(in, k_max_text);
  return fact;
}

// Braced initialisers are evaluated from left to right, which is the order of the fields in a frame.
core::Order get_order(CborReader& in, Tag tag) {
  switch (tag) {
    case Tag::hello:
      return get_hello(in);
    case Tag::job:
      return get_job(in);
    case Tag::cancel_job:
      return core::CancelJob{get_key(in)};
    case Tag::set_password:
      return core::SetPassword{get_text(in, k_max_name), core::Secret(get_bytes(in, k_max_secret))};
    case Tag::test_relay:
      return core::TestRelay{get_any32(in), get_text(in, k_max_name)};
    case Tag::drain:
      return core::Drain{get_millis(in)};
    default:  // a number from outside, not an enumerator
      in.fail();
      return core::Drain{};
  }
}

core::Fact get_fact(CborReader& in, Tag tag) {
  switch (tag) {
    case Tag::dot_next:
      return core::JobDotNext{get_key(in)};
    case Tag::relayed:
      return core::JobRelayed{get_key(in), get_reply(in)};
    case Tag::refused:
      return core::JobRefused{get_key(in), get_enum(in, core::Stage::dot), get_reply(in)};
    case Tag::not_sent:
      return get_not_sent(in);
    case Tag::uncertain:
      return core::JobUncertain{get_key(in), get_text(in, k_max_text)};
    case Tag::relay:
      return get_relay_fact(in);
    case Tag::ready:
      return get_ready(in);
    case Tag::log:
      return core::AgentLog{get_text(in, k_max_text)};
    case Tag::test_step:
      return get_test_step(in);
    case Tag::test_done:
      return get_test_done(in);
    default:  // a number from outside, not an enumerator
      in.fail();
      return core::AgentLog{};
  }
}

std::size_t fields_of(Tag tag) {
  switch (tag) {
    case Tag::refused:
    case Tag::test_step:
      return 4;
    case Tag::job:
      return 8;
    case Tag::cancel_job:
    case Tag::set_password:
    case Tag::test_relay:
    case Tag::dot_next:
      return 2;
    case Tag::drain:
    case Tag::log:
      return 1;
    case Tag::relayed:
    case Tag::uncertain:
    case Tag::ready:
    case Tag::test_done:
      return 3;
    case Tag::hello:
    case Tag::not_sent:
      return 5;
    case Tag::relay:
      return 6;
  }
  return 0;
}

}  // namespace

core::Result<core::Secret> encode(const core::Order& order) {
  const std::size_t room = room_for(order);
  if (room > k_max_frame) return core::fail(core::Errc::invalid, "an order larger than 4 MiB");
  std::string frame = message_frame(order, room);
  CHECK(frame.size() <= room);
  return core::Secret(std::move(frame));
}

std::string encode(const core::Fact& fact) {
  return message_frame(fact, 256);
}

std::string encode_beat() {
  return std::string(k_length_bytes, '\0');
}

core::Result<core::Order> decode_order(std::string_view frame) {
  return decode_frame<core::Order>(frame, get_order, fields_of, "a frame that is no order");
}

core::Result<core::Fact> decode_fact(std::string_view frame) {
  return decode_frame<core::Fact>(frame, get_fact, fields_of, "a frame that is no fact");
}

std::string printable(std::string_view text, std::size_t max) {
  constexpr std::string_view k_hex = "0123456789abcdef";
  std::string out;
  for (const char c : text) {
    const bool plain = is_printable(c);
    if (out.size() + (plain ? 1 : 4) > max) break;
    if (plain) {
      out.push_back(c);
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += {'\\', 'x', k_hex[byte >> 4U], k_hex[byte & 0xfU]};
    }
  }
  return out;
}

}  // namespace mailotp::channel
