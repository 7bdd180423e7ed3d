// Drives one network relay from a pipe: orders as JSON Lines on stdin, facts as JSON Lines on stdout. The
// relay is the library's, in this process; with `--agent PROGRAM` it is in mailotp-smtp, driven over its
// channel.
//
//   {"op":"hello","hostname":…,"dsn_notify":[…],"relay":{…},"deadlines":{"connect":400,…}}   first, once
//   {"op":"job","id":7,"attempt":1,"from":…,"to":…,"envid":…,"time_left":60000,"content":BASE64}
//   {"op":"cancel","id":7,"attempt":1}  {"op":"password","password":…}  {"op":"test","test":1}
//   {"op":"drain","grace":1000}         the end of stdin does the same
//
// Deadlines are milliseconds; those that are no part of core::SessionLimits cannot be set in an agent. Exits
// 0 when drained, 1 when the agent does not end well, 2 after an order that it does not know.
#include <array>
#include <csignal>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <openssl/evp.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "core/check.h"
#include "mail/agent/loop_handles.h"
#include "mail/channel/codec.h"
#include "mail/channel/frame_socket.h"
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

constexpr std::array<const char*, 3> k_troubles{"ordinary", "auth_refused", "certificate"};

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
            {"connections", f.connections},
            {"trouble", k_troubles.at(static_cast<std::size_t>(f.trouble))}};
  }
  json operator()(const core::TestStep& f) const {
    return {{"fact", "test_step"},
            {"test", f.test},
            {"stage", core::to_string(f.stage)},
            {"ok", f.ok},
            {"saw", f.saw}};
  }
  json operator()(const core::TestDone& f) const {
    return {{"fact", "test_done"},
            {"test", f.test},
            {"ok", f.ok},
            {"trouble", k_troubles.at(static_cast<std::size_t>(f.trouble))}};
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
  const std::map<std::string, core::Millis*> by_name{{"dns", &out.dns},
                                                     {"connect", &out.connect},
                                                     {"stagger", &out.stagger},
                                                     {"greeting", &out.greeting},
                                                     {"ehlo", &out.ehlo},
                                                     {"starttls", &out.starttls},
                                                     {"auth", &out.auth},
                                                     {"mail", &out.mail},
                                                     {"rcpt", &out.rcpt},
                                                     {"data", &out.data},
                                                     {"before_dot", &out.before_dot},
                                                     {"dot", &out.dot},
                                                     {"dot_least", &out.dot_least},
                                                     {"quit", &out.quit},
                                                     {"idle", &out.idle},
                                                     {"write", &out.write},
                                                     {"surplus", &out.surplus},
                                                     {"session_age", &out.session_age},
                                                     {"auth_refused", &out.auth_refused}};
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

// Where orders go.
class Target {
 public:
  virtual ~Target() = default;
  virtual void obey(core::Order order) = 0;
};

class Library final : public Target {
 public:
  Library(uv_loop_t* loop, FactSink& sink, const Deadlines& deadlines)
      : loop_(loop), sink_(sink), deadlines_(deadlines), over_(std::in_place, loop, [this] {
          relay_.reset();
          over_.reset();
        }) {}

  void obey(core::Order order) override { std::visit(*this, std::move(order)); }

  void operator()(core::Hello hello) {
    core::RelaySettings settings = std::move(hello.relays.front());
    hello.relays.clear();
    relay_ = make_network_relay(std::move(settings), hello, loop_, sink_, deadlines_);
  }
  void operator()(core::Job job) { relay_->submit(std::move(job)); }
  void operator()(const core::CancelJob& order) { relay_->cancel(order.key); }
  void operator()(core::SetPassword order) { relay_->set_password(std::move(order.password)); }
  void operator()(const core::TestRelay& order) { relay_->test(order.test); }
  void operator()(const core::Drain& order) {
    // The relay may not be destroyed inside its own call.
    relay_->drain(order.grace, [this] { over_->start(core::Millis{0}); });
  }

 private:
  uv_loop_t* loop_;
  FactSink& sink_;
  Deadlines deadlines_;
  std::unique_ptr<Relay> relay_;
  std::optional<Timer> over_;
};

class AgentProcess final : public Target {
 public:
  AgentProcess(uv_loop_t* loop, const char* program, FactSink& sink) : sink_(sink) {
    int pair[2];
    CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    std::FILE* lock = std::tmpfile();
    CHECK(lock != nullptr);
    spawn(loop, program, pair[1], ::fileno(lock));
    (void)std::fclose(lock);
    ::close(pair[1]);
    channel_.emplace(pair[0], channel::k_max_fact);
    poll_.emplace(loop, pair[0], [this](int) { read_facts(); });
    poll_->watch(UV_READABLE);
  }

  void obey(core::Order order) override {
    auto frame = channel::encode(order);
    CHECK(frame.has_value());
    channel_->send(std::move(*frame));
    channel_->flush_all();
  }

 private:
  void spawn(uv_loop_t* loop, const char* program, int channel, int lock) {
    std::string words[] = {program, "--channel", "3", "--lock", "4"};
    char* arguments[] = {words[0].data(), words[1].data(), words[2].data(),
                         words[3].data(), words[4].data(), nullptr};
    uv_stdio_container_t stdio[5]{};
    stdio[0].flags = UV_IGNORE;
    for (int i = 1; i < 5; ++i)
      stdio[i].flags = UV_INHERIT_FD;
    stdio[1].data.fd = stdio[2].data.fd = STDERR_FILENO;
    stdio[3].data.fd = channel;
    stdio[4].data.fd = lock;
    uv_process_options_t options{};
    options.file = program;
    options.args = arguments;
    options.stdio = stdio;
    options.stdio_count = 5;
    options.exit_cb = [](uv_process_t* process, std::int64_t status, int signal) noexcept {
      if (status != 0 || signal != 0) {
        (void)std::fprintf(stderr, "agent ended: status %d, signal %d\n", static_cast<int>(status), signal);
        std::_Exit(1);
      }
      uv_close(reinterpret_cast<uv_handle_t*>(process), nullptr);
    };
    CHECK(uv_spawn(loop, &process_, &options) == 0);
  }

  void read_facts() {
    const bool ended = channel_->receive() == channel::FrameSocket::Received::end;
    while (true) {
      const auto frame = channel_->next();
      CHECK(frame.has_value());
      if (!*frame) break;
      auto fact = channel::decode_fact(**frame);
      CHECK(fact.has_value());
      sink_.report(std::move(*fact));
    }
    if (ended) poll_.reset();
  }

  FactSink& sink_;
  uv_process_t process_;
  std::optional<channel::FrameSocket> channel_;
  std::optional<Poll> poll_;
};

class Driver {
 public:
  // `agent` null: the library.
  Driver(uv_loop_t* loop, const char* agent) : loop_(loop), agent_(agent) {
    input_.emplace(loop_, STDIN_FILENO, [this](int) { read_orders(); });
    input_->watch(UV_READABLE);
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
      hello(order);
    } else if (op == "job") {
      target_->obey(core::Job{key, "relay", order.at("from"), order.at("to"), order.value("envid", ""),
                              core::Millis{order.value("time_left", 60'000)},
                              core::Secret(from_base64(order.at("content")))});
    } else if (op == "cancel") {
      target_->obey(core::CancelJob{key});
    } else if (op == "password") {
      target_->obey(core::SetPassword{"relay", core::Secret(order.at("password").get<std::string>())});
    } else if (op == "test") {
      target_->obey(core::TestRelay{order.at("test"), "relay"});
    } else if (op == "drain") {
      drain(core::Millis{order.value("grace", 1000)});
    } else {
      std::_Exit(2);
    }
  }

  void hello(const json& order) {
    core::Hello hello;
    hello.hostname = order.value("hostname", "client.test");
    hello.dsn_notify = order.value("dsn_notify", std::vector<std::string>{});
    hello.relays.push_back(settings_of(order.at("relay")));
    const Deadlines deadlines = deadlines_of(order.value("deadlines", json::object()));
    hello.limits = deadlines;
    if (agent_ != nullptr)
      target_ = std::make_unique<AgentProcess>(loop_, agent_, printer_);
    else
      target_ = std::make_unique<Library>(loop_, printer_, deadlines);
    target_->obey(std::move(hello));
  }

  void drain(core::Millis grace) {
    if (!input_) return;
    input_.reset();
    if (target_) target_->obey(core::Drain{grace});
  }

  uv_loop_t* loop_;
  const char* agent_;
  Printer printer_;
  std::unique_ptr<Target> target_;
  std::optional<Poll> input_;
  std::string lines_;
};

}  // namespace
}  // namespace mailotp::mail

int main(int argc, char** argv) {
  (void)std::signal(SIGPIPE, SIG_IGN);
  CHECK(::fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK) == 0);
  uv_loop_t loop;
  CHECK(uv_loop_init(&loop) == 0);
  {
    const bool agent = argc == 3 && std::string_view(argv[1]) == "--agent";
    mailotp::mail::Driver driver(&loop, agent ? argv[2] : nullptr);
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
  }
  CHECK(uv_loop_close(&loop) == 0);
  return 0;
}
