#include "mail/smtp/opener.h"

#include <algorithm>

#include "mail/channel/codec.h"

namespace mailotp::mail {

using core::Stage;

namespace {

std::string join(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words)
    out += (out.empty() ? "" : " ") + word;
  return out;
}

std::string in_words(const core::Reply& reply) {
  return std::to_string(reply.code) + (reply.status.empty() ? "" : " " + reply.status) + " " + reply.text;
}

bool wants_auth(const core::RelaySettings& settings) {
  return settings.auth != core::AuthMode::none && !settings.username.empty();
}

}  // namespace

Opener::Opener(uv_loop_t* loop, const core::RelaySettings& settings, const std::string& hostname,
               Resolver& resolver, const Deadlines& deadlines, OpenerListener& listener)
    : loop_(loop),
      settings_(settings),
      hostname_(hostname),
      resolver_(resolver),
      deadlines_(deadlines),
      listener_(listener),
      timer_(loop, [this] { timed_out(); }),
      dialer_(
          loop, deadlines.stagger,
          [this](int descriptor, const Endpoint& peer) { connected(descriptor, peer); },
          [this](const DialFault& fault) {
            if (fault.local) stage_ = Stage::local;
            fail("cannot connect: " + fault.reason);
          }) {}

Opener::~Opener() {
  resolver_.forget(this);
}

void Opener::open() {
  enter(Stage::dns);
  timer_.stop();  // the resolver has its own deadline, and addresses to fall back on
  resolver_.resolve(this, [this](const core::Result<std::vector<Endpoint>>& found) { resolved(found); });
}

core::Millis Opener::allowed(Stage stage) const {
  switch (stage) {
    case Stage::connect:
      return deadlines_.connect;
    case Stage::greeting:
      return deadlines_.greeting;
    case Stage::starttls:
    case Stage::tls:
      return deadlines_.starttls;
    case Stage::auth:
      return deadlines_.auth;
    case Stage::dns:
      return deadlines_.dns;
    case Stage::local:
    case Stage::ehlo:
    case Stage::mail:
    case Stage::rcpt:
    case Stage::data:
    case Stage::body:
    case Stage::dot:
      break;
  }
  return deadlines_.ehlo;
}

void Opener::enter(Stage stage) {
  stage_ = stage;
  looked_again_ = false;
  timer_.start(allowed(stage));
}

void Opener::timed_out() {
  // After the process was stopped, or starved, timers fire before sockets are looked at: what came in time
  // counts, and is seen in the turn that begins now.
  if (!std::exchange(looked_again_, true)) return timer_.start(core::Millis{1});
  std::string reason = std::string(core::to_string(stage_)) + ": no end within " +
                       std::to_string(allowed(stage_).count()) + " ms";
  if (stage_ == Stage::connect) reason += " (" + dialer_.progress() + ")";
  fail(std::move(reason), std::nullopt, OpenFault::Kind::timed_out);
}

core::RelayTrouble trouble_of(const OpenFault& fault) {
  switch (fault.kind) {
    case OpenFault::Kind::auth_refused:
      return core::RelayTrouble::auth_refused;
    case OpenFault::Kind::certificate:
      return core::RelayTrouble::certificate;
    case OpenFault::Kind::ordinary:
    case OpenFault::Kind::timed_out:
    case OpenFault::Kind::late:
    case OpenFault::Kind::closes:
    case OpenFault::Kind::canceled:
      return core::RelayTrouble::ordinary;
  }
  return core::RelayTrouble::ordinary;
}

void Opener::fail(std::string reason, std::optional<core::Reply> reply, OpenFault::Kind kind) {
  if (std::exchange(over_, true)) return;
  timer_.stop();
  if (stream_) stream_->close();
  listener_.on_open_failed({stage_, channel::printable(reason), std::move(reply), kind});
}

void Opener::fail_with(std::string_view what, const ReplyLines& lines, OpenFault::Kind kind) {
  core::Reply reply = to_reply(lines);
  std::string reason = std::string(what) + ": " + in_words(reply);
  fail(std::move(reason), std::move(reply), kind);
}

void Opener::resolved(const core::Result<std::vector<Endpoint>>& found) {
  if (!found) return fail(found.error().what);
  std::vector<Endpoint> endpoints = *found;
  if (settings_.tls == core::TlsMode::none) {
    std::erase_if(endpoints, [](const Endpoint& endpoint) { return !is_loopback(endpoint); });
    if (endpoints.empty())
      return fail("tls = \"none\" is for loopback addresses only, and " + settings_.host + " has none");
  }
  std::vector<std::string> addresses;
  for (const Endpoint& endpoint : endpoints)
    addresses.push_back(to_string(endpoint));
  listener_.on_open_step(Stage::dns, join(addresses));
  enter(Stage::connect);
  dialer_.dial(std::move(endpoints));
}

void Opener::connected(int descriptor, const Endpoint& peer) {
  StreamListener& listener = *this;
  stream_ = std::make_unique<Stream>(loop_, descriptor, listener);
  listener_.on_open_step(Stage::connect, to_string(peer));
  if (settings_.tls == core::TlsMode::implicit) return start_tls();
  enter(Stage::greeting);
}

void Opener::start_tls() {
  enter(Stage::tls);
  const auto context = TlsContext::make(settings_.ca_file);
  if (!context) return fail(context.error().what);
  auto tls = context->connection(settings_.server_name.empty() ? settings_.host : settings_.server_name);
  if (!tls) return fail(tls.error().what);
  stream_->secure(std::move(*tls));
}

void Opener::on_secured() {
  secured_ = true;
  listener_.on_open_step(Stage::tls, tls_summary(stream_->tls()));
  if (settings_.tls == core::TlsMode::implicit) return enter(Stage::greeting);
  greet();
}

void Opener::greet() {
  capabilities_ = {};
  enter(Stage::ehlo);
  stream_->write((said_helo_ ? "HELO " : "EHLO ") + hostname_ + "\r\n");
}

void Opener::on_end(const std::string& reason) {
  const bool certificate = reason.find(k_certificate_refused) != std::string::npos;
  fail(std::string(core::to_string(stage_)) + ": " + reason, std::nullopt,
       certificate ? OpenFault::Kind::certificate : OpenFault::Kind::ordinary);
}

void Opener::on_bytes(std::string_view bytes) {
  replies_.feed(bytes);
  while (!over_) {
    auto reply = replies_.next();
    if (!reply) return fail(reply.error().what);
    if (!*reply) return;
    if ((*reply)->code == 421) return fail_with("the relay closes", **reply, OpenFault::Kind::closes);
    take_reply(**reply);
  }
}

void Opener::take_reply(const ReplyLines& reply) {
  switch (stage_) {
    case Stage::greeting:
      return take_greeting(reply);
    case Stage::ehlo:
      return take_ehlo(reply);
    case Stage::starttls:
      return take_starttls(reply);
    case Stage::auth:
      return take_auth(reply);
    case Stage::local:
    case Stage::dns:
    case Stage::connect:
    case Stage::tls:
    case Stage::mail:
    case Stage::rcpt:
    case Stage::data:
    case Stage::body:
    case Stage::dot:
      break;
  }
  fail_with("a reply that nobody asked for", reply);
}

void Opener::take_greeting(const ReplyLines& reply) {
  if (reply.code != 220) return fail_with("greeting", reply);
  listener_.on_open_step(Stage::greeting, in_words(to_reply(reply)));
  greet();
}

void Opener::take_ehlo(const ReplyLines& reply) {
  const bool needs_ehlo = wants_auth(settings_) || (settings_.tls == core::TlsMode::starttls && !secured_);
  if (reply.code >= 500 && !said_helo_ && !needs_ehlo) {
    said_helo_ = true;  // RFC 5321 section 3.2: an old server, good enough without TLS and AUTH of SMTP
    return greet();
  }
  if (reply.code != 250) return fail_with(said_helo_ ? "HELO" : "EHLO", reply);
  if (!said_helo_) capabilities_ = parse_capabilities(reply);
  listener_.on_open_step(Stage::ehlo, channel::printable(join(capabilities_.keywords)));
  if (settings_.tls == core::TlsMode::starttls && !secured_) {
    enter(Stage::starttls);
    if (!capabilities_.starttls) return fail("the relay does not offer STARTTLS");
    return stream_->write("STARTTLS\r\n");
  }
  if (wants_auth(settings_)) return begin_auth();
  succeed();
}

void Opener::take_starttls(const ReplyLines& reply) {
  if (reply.code != 220) return fail_with("STARTTLS", reply);
  // What follows the 220 in the clear would be taken for what the relay says under TLS (CVE-2011-0411).
  if (!replies_.empty()) return fail("data after the reply to STARTTLS");
  listener_.on_open_step(Stage::starttls, in_words(to_reply(reply)));
  start_tls();
}

void Opener::begin_auth() {
  enter(Stage::auth);
  mechanisms_ = auth_candidates(settings_.auth, capabilities_.auth);
  next_mechanism(nullptr);
}

void Opener::next_mechanism(const ReplyLines* refused) {
  if (mechanisms_.empty()) {
    if (refused != nullptr) return fail_with("AUTH", *refused, OpenFault::Kind::auth_refused);
    return fail("the relay offers no AUTH mechanism that is configured (it offers: " +
                (capabilities_.auth.empty() ? "none" : join(capabilities_.auth)) + ")");
  }
  exchange_.emplace(mechanisms_.front(), settings_.username, settings_.password.clone());
  mechanisms_.erase(mechanisms_.begin());
  stream_->write(exchange_->command().reveal());
}

void Opener::take_auth(const ReplyLines& reply) {
  if (!exchange_) return fail_with("a reply that nobody asked for", reply);
  if (reply.code == 334) {
    const auto answer = exchange_->answer();
    if (!answer) return fail("AUTH: the relay asks without end");
    return stream_->write(answer->reveal());
  }
  const std::string mechanism(sasl_name(exchange_->mechanism()));
  exchange_.reset();
  if (reply.code == 235) {
    authenticated_ = true;
    listener_.on_open_step(Stage::auth, mechanism + ": " + in_words(to_reply(reply)));
    return succeed();
  }
  if (reply.code == 504 || reply.code == 534) return next_mechanism(&reply);
  const bool refused = reply.code >= 500;
  fail_with("AUTH " + mechanism, reply, refused ? OpenFault::Kind::auth_refused : OpenFault::Kind::ordinary);
}

void Opener::succeed() {
  if (!replies_.empty()) return fail("data that nobody asked for");
  if (std::exchange(over_, true)) return;
  timer_.stop();
  listener_.on_opened({std::move(stream_), std::move(capabilities_), authenticated_});
}

}  // namespace mailotp::mail
