// Drives one network relay from a pipe: orders as JSON Lines on stdin, facts as JSON Lines on stdout.
//
//   {"op":"hello","hostname":…,"dsn_notify":[…],"relay":{…},"deadlines":{"connect":400,…}}   first, once
//   {"op":"job","id":7,"attempt":1,"from":…,"to":…,"envid":…,"time_left":60000,"content":BASE64}
//   {"op":"cancel","id":7,"attempt":1}  {"op":"password","password":…}  {"op":"test","test":1}
//   {"op":"drain","grace":1000}         the end of stdin does the same
//
// Deadlines are milliseconds. Exits 0 when drained, 2 after an order that it does not know.
#include <csignal>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <openssl/evp.h>
#include <unistd.h>
#include <uv.h>

#include "core/check.h"
#include "mail/smtp/loop_handles.h"
#include "mail/smtp/network_relay.h"

namespace mailotp::mail {
namespace {

using nlohmann::json;

core::Id id_of(std::uint64_t number) {
  core::Id id;
  for (std::size_t i = 0; i < 8; ++i)
    id.bytes[15 - i] = static_cast<std::uint8_t>(number >> (8 * i));
  return id;
}

std::uint64_t number_of(const core::Id& id) {
  std::uint64_t number = 0;
  for (std::size_t i = 8; i < 16; ++i)
    number = number << 8 | id.bytes[i];
  return number;
}

std::string from_base64(const std::string& text) {
  std::string bytes(text.size() / 4 * 3 + 1, '\0');
  const int length =
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                      reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  CHECK(length >= 0);
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=')
    ++padding;
  bytes.resize(static_cast<std::size_t>(length) - padding);
  return bytes;
}

json reply_json(const core::Reply& reply) {
  return {{"code", reply.code}, {"status", reply.status}, {"text", reply.text}};
}

json start(const char* fact, const core::AttemptKey& key) {
  return {{"fact", fact}, {"id", number_of(key.message)}, {"attempt", key.attempt}};
}

struct FactJson {
  json operator()(const core::JobDotNext& f) const { return start("dot_next", f.key); }
  json operator()(const core::JobRelayed& f) const {
    json out = start("relayed", f.key);
    out["reply"] = reply_json(f.reply);
    return out;
  }
  json operator()(const core::JobRefused& f) const {
    json out = start("refused", f.key);
    out["stage"] = core::to_string(f.stage);
    out["reply"] = reply_json(f.reply);
    return out;
  }
  json operator()(const core::JobNotSent& f) const {
    json out = start("not_sent", f.key);
    out["stage"] = core::to_string(f.stage);
    out["reason"] = f.reason;
    if (f.reply) out["reply"] = reply_json(*f.reply);
    return out;
  }
  json operator()(const core::JobUncertain& f) const {
    json out = start("uncertain", f.key);
    out["reason"] = f.reason;
    return out;
  }
  json operator()(const core::RelayFact& f) const {
    return {{"fact", f.condition == core::RelayCondition::up ? "up" : "down"},
            {"stage", core::to_string(f.stage)},
            {"reason", f.reason},
            {"connections", f.connections}};
  }
  json operator()(const core::TestStep& f) const {
    return {{"fact", "test_step"},
            {"test", f.test},
            {"stage", core::to_string(f.stage)},
            {"ok", f.ok},
            {"saw", f.saw}};
  }
  json operator()(const core::TestDone& f) const {
    return {{"fact", "test_done"}, {"test", f.test}, {"ok", f.ok}};
  }
  json operator()(const core::AgentReady&) const { return {{"fact", "ready"}}; }
  json operator()(const core::AgentLog& f) const { return {{"fact", "log"}, {"line", f.line}}; }
};

class Printer final : public FactSink {
 public:
  void report(core::Fact fact) override {
    const std::string line = std::visit(FactJson{}, fact).dump() + "\n";
    CHECK(std::fwrite(line.data(), 1, line.size(), stdout) == line.size());
    CHECK(std::fflush(stdout) == 0);
  }
};

Deadlines deadlines_of(const json& given) {
  Deadlines out;
  const std::map<std::string, core::Millis*> by_name{
      {"dns", &out.dns},           {"connect", &out.connect},     {"stagger", &out.stagger},
      {"tls", &out.tls},           {"greeting", &out.greeting},   {"ehlo", &out.ehlo},
      {"starttls", &out.starttls}, {"auth", &out.auth},           {"mail", &out.mail},
      {"rcpt", &out.rcpt},         {"data", &out.data},           {"before_dot", &out.before_dot},
      {"dot", &out.dot},           {"dot_least", &out.dot_least}, {"quit", &out.quit},
      {"idle", &out.idle},         {"session", &out.session},     {"auth_refused", &out.auth_refused}};
  for (const auto& [name, value] : given.items()) {
    if (name == "session_messages")
      out.session_messages = value.get<int>();
    else
      *by_name.at(name) = core::Millis{value.get<int>()};
  }
  return out;
}

core::RelaySettings settings_of(const json& given) {
  static const std::map<std::string, core::TlsMode> k_tls{{"none", core::TlsMode::none},
                                                          {"starttls", core::TlsMode::starttls},
                                                          {"implicit", core::TlsMode::implicit}};
  static const std::map<std::string, core::AuthMode> k_auth{{"none", core::AuthMode::none},
                                                            {"auto", core::AuthMode::automatic},
                                                            {"plain", core::AuthMode::plain},
                                                            {"login", core::AuthMode::login},
                                                            {"xoauth2", core::AuthMode::xoauth2}};
  core::RelaySettings settings;
  settings.name = given.value("name", "relay");
  settings.host = given.value("host", "127.0.0.1");
  settings.port = given.at("port").get<std::uint16_t>();
  settings.tls = k_tls.at(given.value("tls", "none"));
  settings.server_name = given.value("server_name", "");
  settings.ca_file = given.value("ca_file", "");
  settings.auth = k_auth.at(given.value("auth", "auto"));
  settings.username = given.value("username", "");
  settings.password = core::Secret(given.value("password", ""));
  settings.max_connections = given.value("max_connections", 8);
  return settings;
}

class Driver {
 public:
  explicit Driver(uv_loop_t* loop) : loop_(loop) {
    input_.emplace(loop_, STDIN_FILENO, [this](int) { read_orders(); });
    input_->watch(UV_READABLE);
    over_.emplace(loop_, [this] {
      relay_.reset();
      over_.reset();
    });
  }

 private:
  void read_orders() {
    char bytes[65536];
    const ssize_t count = ::read(STDIN_FILENO, bytes, sizeof bytes);
    if (count < 0) return;
    if (count == 0) return drain(core::Millis{5000});
    lines_.append(bytes, static_cast<std::size_t>(count));
    std::size_t from = 0;
    for (std::size_t end = lines_.find('\n'); end != std::string::npos; end = lines_.find('\n', from)) {
      obey(json::parse(lines_.substr(from, end - from)));
      from = end + 1;
    }
    lines_.erase(0, from);
  }

  void obey(const json& order) {
    const std::string op = order.at("op");
    const core::AttemptKey key{id_of(order.value("id", std::uint64_t{0})), order.value("attempt", 1U)};
    if (op == "hello") {
      core::Hello hello;
      hello.hostname = order.value("hostname", "client.test");
      hello.dsn_notify = order.value("dsn_notify", std::vector<std::string>{});
      relay_ = make_network_relay(settings_of(order.at("relay")), hello, loop_, printer_,
                                  deadlines_of(order.value("deadlines", json::object())));
    } else if (op == "job") {
      relay_->submit({key, "relay", order.at("from"), order.at("to"), order.value("envid", ""),
                      core::Millis{order.value("time_left", 60'000)},
                      core::Secret(from_base64(order.at("content")))});
    } else if (op == "cancel") {
      relay_->cancel(key);
    } else if (op == "password") {
      relay_->set_password(core::Secret(order.at("password").get<std::string>()));
    } else if (op == "test") {
      relay_->test(order.at("test"));
    } else if (op == "drain") {
      drain(core::Millis{order.value("grace", 1000)});
    } else {
      std::_Exit(2);
    }
  }

  void drain(core::Millis grace) {
    if (!input_) return;
    input_.reset();
    // The relay may not be destroyed inside its own call.
    if (relay_) return relay_->drain(grace, [this] { over_->start(core::Millis{0}); });
    over_->start(core::Millis{0});
  }

  uv_loop_t* loop_;
  Printer printer_;
  std::unique_ptr<Relay> relay_;
  std::optional<Poll> input_;
  std::optional<Timer> over_;
  std::string lines_;
};

}  // namespace
}  // namespace mailotp::mail

int main() {
  (void)std::signal(SIGPIPE, SIG_IGN);
  CHECK(::fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK) == 0);
  uv_loop_t loop;
  CHECK(uv_loop_init(&loop) == 0);
  {
    mailotp::mail::Driver driver(&loop);
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
  }
  CHECK(uv_loop_close(&loop) == 0);
  return 0;
}
