// Every key takes effect: each is set to something that is not its default.
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "daemon/config/config_file.h"
#include "daemon/config/units.h"
#include "tests/config/sample.h"

namespace mailotp::daemon {
namespace {

using core::Millis;
using core::Rate;
using core::Seconds;
using Strings = std::vector<std::string>;

core::Config load(const std::string& text) {
  auto loaded = parse_config(text, "m.toml");
  INFO((loaded ? std::string() : loaded.error().what));
  REQUIRE(loaded);
  return std::move(loaded->config);
}

TEST_CASE("config: every key of [daemon] and [mail], and a capture relay") {
  const auto config = load(R"([daemon]
mode = "development"
state_dir = "/tmp/state"
api_socket = "/tmp/api.sock"
admin_socket = "/tmp/admin.sock"
api_mode = "0666"
admin_mode = "600"
api_group = "www-data"
admin_group = "adm"
metrics_socket = "/tmp/metrics.sock"
key_file = "/tmp/key"
templates = "/tmp/templates"
log = "json"
[mail]
from = "\"Müller, Shop\" <a@example.org>"
bounce_address = "B@example.org"
hostname = "mx"
verp = "off"
dsn = ["success"]
locale = "de-AT"
[[relay]]
name = "captured"
kind = "capture"
directory = "/tmp/captured"
)");
  CHECK(config.daemon.mode == core::Mode::development);
  CHECK(config.daemon.state_dir == "/tmp/state");
  CHECK(config.daemon.api_socket == "/tmp/api.sock");
  CHECK(config.daemon.admin_socket == "/tmp/admin.sock");
  CHECK(config.daemon.api_mode == 0666);
  CHECK(config.daemon.admin_mode == 0600);
  CHECK(config.daemon.api_group == "www-data");
  CHECK(config.daemon.admin_group == "adm");
  CHECK(config.daemon.metrics_socket == "/tmp/metrics.sock");
  CHECK(config.daemon.key_file == "/tmp/key");
  CHECK(config.daemon.templates == "/tmp/templates");
  CHECK(config.daemon.log == core::LogFormat::json);
  CHECK(config.mail.from.name == "Müller, Shop");
  CHECK(config.mail.from.address.mailbox() == "a@example.org");
  CHECK(config.mail.bounce_address.mailbox() == "B@example.org");
  CHECK(config.mail.hostname == "mx");
  CHECK(config.mail.verp == core::Verp::off);
  CHECK(config.mail.dsn == Strings{"success"});
  CHECK(config.mail.locale == "de-AT");
  CHECK(config.relays.at(0).kind == core::RelayKind::capture);
  CHECK(config.relays.at(0).directory == "/tmp/captured");
}

TEST_CASE("config: every key of [[relay]] and [bounces]") {
  const auto config = load(sample_with(R"(port = 2525
tls = "implicit"
server_name = "mx.example.net"
ca_file = "/tmp/ca.pem"
auth = "xoauth2"
username = "u"
password_file = "/tmp/p"
max_connections = 256
priority = 0
rate = "14/1s"
quota = "500/1d"
[[relay]]
name = "local-2"
host = "127.0.0.53"
tls = "none"
auth = "none"
[[relay]]
name = "six"
host = "::1"
tls = "none"
auth = "login"
username = "u"
[[relay]]
name = "name"
host = "localhost"
tls = "none"
auth = "plain"
username = "u"
[bounces]
host = "192.0.2.1"
port = 143
tls = "starttls"
server_name = "imap.example"
ca_file = "/tmp/ca2.pem"
auth = "xoauth2"
username = "b"
password_file = "/tmp/p2"
mailbox = "In"
processed = "Done"
unrecognised = "Odd"
foreign = "move"
)"));
  REQUIRE(config.relays.size() == 4);
  const auto& relay = config.relays[0];
  CHECK(relay.port == 2525);
  CHECK(relay.tls == core::TlsMode::implicit);
  CHECK(relay.server_name == "mx.example.net");
  CHECK(relay.ca_file == "/tmp/ca.pem");
  CHECK(relay.auth == core::AuthMode::xoauth2);
  CHECK(relay.username == "u");
  CHECK(relay.password_file == "/tmp/p");
  CHECK(relay.max_connections == 256);
  CHECK(relay.priority == 0);
  CHECK(relay.rate == Rate{14, Seconds{1}});
  CHECK(relay.quota == Rate{500, Seconds{86'400}});
  CHECK(config.relays[1].tls == core::TlsMode::none);
  CHECK(config.relays[1].auth == core::AuthMode::none);
  CHECK(config.relays[2].auth == core::AuthMode::login);
  CHECK(config.relays[3].auth == core::AuthMode::plain);
  REQUIRE(config.bounces);
  CHECK(config.bounces->host == "192.0.2.1");
  CHECK(config.bounces->port == 143);
  CHECK(config.bounces->tls == core::TlsMode::starttls);
  CHECK(config.bounces->server_name == "imap.example");
  CHECK(config.bounces->ca_file == "/tmp/ca2.pem");
  CHECK(config.bounces->auth == core::AuthMode::xoauth2);
  CHECK(config.bounces->username == "b");
  CHECK(config.bounces->password_file == "/tmp/p2");
  CHECK(config.bounces->mailbox == "In");
  CHECK(config.bounces->processed == "Done");
  CHECK(config.bounces->unrecognised == "Odd");
  CHECK(config.bounces->foreign == core::ForeignMail::move);
}

TEST_CASE("config: every key of [purpose.NAME], [delivery], [brake], [verdict], [retention]") {
  const auto config = load(sample_with(R"([purpose.login]
template = "sign-in"
ttl = "1d"
length = 4
alphabet = "crockford32"
entropy_floor = 20
max_attempts = 1
max_sends = 20
cooldown = "0s"
resend = "new"
usable_minimum = "0s"
[purpose.pay_2]
alphabet = "alphanumeric"
[delivery]
retry = ["500ms"]
greylist = ["2m", "1h"]
uncertain = "hold"
retry_templated = ["1d"]
jitter = 0
uncertain_pause = "0s"
connect_timeout = "11ms"
greeting_timeout = "12ms"
ehlo_timeout = "13ms"
starttls_timeout = "14ms"
auth_timeout = "15ms"
mail_timeout = "16ms"
rcpt_timeout = "17ms"
data_timeout = "18ms"
write_timeout = "19ms"
before_dot_timeout = "20ms"
dot_timeout = "10m"
idle_timeout = "1h"
session_age = "1d"
session_messages = 100
breaker_failures = 1
breaker_first = "10ms"
breaker_most = "1h"
breaker_refused = "5m"
probe = "250ms"
max_open_messages = 5000
min_free_disk = "2GiB"
[brake]
ratio = 3
floor = 10
period = "1h"
[verdict]
user-unknown = "hard"
spam = "soft"
auth = "alarm"
greylisted = "none"
[retention]
challenges = "2h"
messages = "2d"
events = "3d"
bounces = "4d"
)"));
  const auto& login = config.purposes.at("login");
  CHECK(login.template_name == "sign-in");
  CHECK(login.ttl == Seconds{86'400});
  CHECK(login.code == core::CodeSpec{4, core::Alphabet::crockford32});
  CHECK(login.entropy_floor == 20.0);
  CHECK(login.max_attempts == 1);
  CHECK(login.max_sends == 20);
  CHECK(login.cooldown == Seconds{0});
  CHECK(login.resend == core::ResendMode::fresh);
  CHECK(login.usable_minimum == Seconds{0});
  CHECK(config.purposes.at("pay_2").code.alphabet == core::Alphabet::alphanumeric);
  CHECK(config.delivery.retry == std::vector<Millis>{Millis{500}});
  CHECK(config.delivery.greylist == std::vector<Millis>{Millis{120'000}, Millis{3'600'000}});
  CHECK(config.delivery.uncertain == core::OnUncertain::hold);
  CHECK(config.delivery.retry_templated == std::vector<Millis>{Millis{86'400'000}});
  CHECK(config.delivery.jitter_percent == 0);
  CHECK(config.delivery.uncertain_pause == Millis{0});
  CHECK(config.session == core::SessionLimits{Millis{11}, Millis{12}, Millis{13}, Millis{14}, Millis{15},
                                              Millis{16}, Millis{17}, Millis{18}, Millis{19}, Millis{20},
                                              Millis{600'000}, Millis{3'600'000}, Millis{86'400'000}, 100});
  CHECK(config.breaker.failures_in_row == 1);
  CHECK(config.breaker.first == Millis{10});
  CHECK(config.breaker.most == Millis{3'600'000});
  CHECK(config.breaker.refused == Millis{300'000});
  CHECK(config.breaker.probe == Millis{250});
  CHECK(config.breaker.jitter_percent == 0);
  CHECK(config.intake.max_open_messages == 5000);
  CHECK(config.intake.min_free_disk == 2LL << 30);
  CHECK(config.brake.ratio == 3);
  CHECK(config.brake.floor == 10);
  CHECK(config.brake.period == Seconds{3600});
  CHECK(config.verdict ==
        std::map<std::string, core::VerdictWeight>{{"user-unknown", core::VerdictWeight::hard},
                                                   {"spam", core::VerdictWeight::soft},
                                                   {"auth", core::VerdictWeight::alarm},
                                                   {"greylisted", core::VerdictWeight::none}});
  CHECK(config.retention.challenges == Seconds{7200});
  CHECK(config.retention.messages == Seconds{2 * 86'400});
  CHECK(config.retention.events == Seconds{3 * 86'400});
  CHECK(config.retention.bounces == Seconds{4 * 86'400});
}

TEST_CASE("config: every key of [limits] and [[app]]; an app's limits begin with the common ones") {
  const auto config = load(sample_with(R"([[app]]
name = "shop"
users = ["www-data", "shop"]
uids = [33, 0]
groups = ["adm"]
socket = "/run/mailotpd/shop.sock"
templates = "/srv/shop/templates"
purposes = ["login"]
from = "shop@shop.example"
domain = "shop.example"
limits = {app_sends = ["9/1m"], client_sends = ""}
[limits]
recipient_sends = ["1/1m"]
recipient_failures = ""
fold_plus = false
fold_dots_domains = ["example.org"]
client_sends = "2/1h"
app_sends = ["3/1d", ""]
global_sends = ["4/2h", "5/10s"]
)"));
  CHECK(config.limits.recipient_sends == std::vector<Rate>{{1, Seconds{60}}});
  CHECK(config.limits.recipient_failures.empty());
  CHECK_FALSE(config.limits.fold_plus);
  CHECK(config.limits.fold_dots_domains == Strings{"example.org"});
  CHECK(config.limits.client_sends == std::vector<Rate>{{2, Seconds{3600}}});
  CHECK(config.limits.app_sends == std::vector<Rate>{{3, Seconds{86'400}}});
  CHECK(config.limits.global_sends == std::vector<Rate>{{4, Seconds{7200}}, {5, Seconds{10}}});
  REQUIRE(config.apps.size() == 1);
  const auto& app = config.apps[0];
  CHECK(app.name == "shop");
  CHECK(app.users == Strings{"www-data", "shop"});
  CHECK(app.uids == std::vector<std::uint32_t>{33, 0});
  CHECK(app.groups == Strings{"adm"});
  CHECK(app.socket == "/run/mailotpd/shop.sock");
  CHECK(app.templates == "/srv/shop/templates");
  CHECK(app.purposes == Strings{"login"});
  REQUIRE(app.from);
  CHECK(app.from->address.mailbox() == "shop@shop.example");
  CHECK(app.domain == "shop.example");
  REQUIRE(app.limits);
  CHECK(app.limits->app_sends == std::vector<Rate>{{9, Seconds{60}}});
  CHECK(app.limits->client_sends.empty());
  CHECK(app.limits->recipient_sends == config.limits.recipient_sends);
  CHECK_FALSE(app.limits->fold_plus);
}

TEST_CASE("config: the other choices of each enum") {
  const auto log = [](const char* name) {
    return load(sample_with("[daemon]\nlog = \"" + std::string(name) + "\"\n")).daemon.log;
  };
  CHECK(log("auto") == core::LogFormat::automatic);
  CHECK(log("text") == core::LogFormat::text);
  CHECK(log("journal") == core::LogFormat::journal);
  const auto level = [](const char* name) {
    return load(sample_with("[daemon]\nlog_level = \"" + std::string(name) + "\"\n")).daemon.log_level;
  };
  CHECK(level("debug") == core::LogLevel::debug);
  CHECK(level("notice") == core::LogLevel::notice);
  CHECK(level("warning") == core::LogLevel::warning);
  CHECK(level("error") == core::LogLevel::error);
  CHECK(load(sample_with("tls = \"starttls\"\nauth = \"auto\"\nkind = \"smtp\"\n")).relays[0].auth ==
        core::AuthMode::automatic);
}

TEST_CASE("config: sizes have a unit") {
  CHECK(parse_size("0") == 0);
  CHECK(parse_size("512B") == 512);
  CHECK(parse_size("3KiB") == 3072);
  CHECK(parse_size("64MiB") == 64LL << 20);
  CHECK(parse_size("1TiB") == 1LL << 40);
  for (const char* text : {"", "5", "MiB", "1.5MiB", "-1MiB", "1 MiB", "1MB", "1mib", "00", "999999999TiB"})
    CHECK_FALSE(parse_size(text));
}

TEST_CASE("config: durations read back what they print") {
  CHECK(parse_duration("500ms") == Millis{500});
  CHECK(parse_duration("0s") == Millis{0});
  CHECK(parse_duration("90s") == Millis{90'000});
  CHECK(parse_duration("1d") == Millis{86'400'000});
  CHECK_FALSE(parse_duration(""));
  CHECK_FALSE(parse_duration("s"));
  CHECK_FALSE(parse_duration("5"));
  CHECK_FALSE(parse_duration("1.5s"));
  CHECK_FALSE(parse_duration("+1s"));
  CHECK_FALSE(parse_duration("1w"));
  CHECK_FALSE(parse_duration("99999999999999999999s"));
  for (const char* text : {"0s", "1ms", "90s", "10m", "1h", "36h", "1d", "366d"})
    CHECK(format_duration(*parse_duration(text)) == text);
}

TEST_CASE("config: which hosts are on the loopback") {
  for (const char* host : {"localhost", "127.0.0.1", "127.255.255.254", "::1"})
    CHECK(is_loopback(host));
  for (const char* host : {"127.example.org", "128.0.0.1", "localhost.example", "::2", "0.0.0.0", ""})
    CHECK_FALSE(is_loopback(host));
}

}  // namespace
}  // namespace mailotp::daemon
