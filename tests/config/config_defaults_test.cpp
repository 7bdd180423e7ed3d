// What a short file means, what the complete one of the contract means, and what is not in force yet.
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "daemon/config/config_file.h"
#include "tests/config/accounts_table.h"
#include "tests/config/sample.h"

namespace mailotp::daemon {
namespace {

using core::Millis;
using core::Rate;
using core::Seconds;
using Strings = std::vector<std::string>;

LoadedConfig load(const std::string& text) {
  auto loaded = parse_config(text, "m.toml");
  INFO((loaded ? std::string() : loaded.error().what));
  REQUIRE(loaded);
  return std::move(*loaded);
}

TEST_CASE("config: defaults of [daemon] and [mail]") {
  const auto config = load(sample_with("")).config;
  CHECK(config.daemon.mode == core::Mode::production);
  CHECK(config.daemon.state_dir == "/var/lib/mailotpd");
  CHECK(config.daemon.api_socket == "/run/mailotpd/api.sock");
  CHECK(config.daemon.admin_socket == "/run/mailotpd/admin.sock");
  CHECK(config.daemon.api_mode == 0660);
  CHECK(config.daemon.admin_mode == 0660);
  CHECK(config.daemon.api_group.empty());
  CHECK(config.daemon.admin_group.empty());
  CHECK(config.daemon.metrics_socket.empty());
  CHECK(config.daemon.key_file == "/etc/mailotpd/otp.key");
  CHECK(config.daemon.templates == "/etc/mailotpd/templates");
  CHECK(config.daemon.log == core::LogFormat::automatic);
  CHECK(config.daemon.log_level == core::LogLevel::info);
  CHECK(config.mail.verp == core::Verp::recipient);
  CHECK(config.mail.dsn == Strings{"failure", "delay"});
  CHECK(config.mail.locale == "en");
}

TEST_CASE("config: defaults of [[relay]]") {
  const auto config = load(sample_with("")).config;
  REQUIRE(config.relays.size() == 1);
  const auto& relay = config.relays[0];
  CHECK(relay.kind == core::RelayKind::smtp);
  CHECK(relay.port == 587);
  CHECK(relay.tls == core::TlsMode::starttls);
  CHECK(relay.server_name == "smtp.example.net");
  CHECK(relay.ca_file.empty());
  CHECK(relay.auth == core::AuthMode::automatic);
  CHECK(relay.username.empty());
  CHECK(relay.password_file.empty());
  CHECK(relay.max_connections == 8);
  CHECK(relay.priority == 10);
  CHECK_FALSE(relay.rate);
  CHECK_FALSE(relay.quota);
  CHECK(relay.directory.empty());
}

TEST_CASE("config: three purposes are always there, and a new one begins with the defaults of login") {
  const auto config =
      load(sample_with("[purpose.pay]\nlength = 8\n[purpose.login]\nmax_sends = 7\nlength = 9\n")).config;
  REQUIRE(config.purposes.size() == 4);
  CHECK(config.purposes.at("pay").max_sends == 5);
  CHECK(config.purposes.at("login").max_sends == 7);
  CHECK(config.purposes.at("login").code.length == 9);
}

TEST_CASE("config: a table of a preset purpose changes single keys of it") {
  const auto presets = load(sample_with("")).config.purposes;
  REQUIRE(presets.size() == 3);
  CHECK(presets.at("address_validation").ttl == Seconds{86'400});
  CHECK(presets.at("address_validation").code == core::CodeSpec{8, core::Alphabet::digits});
  CHECK(presets.at("recovery").ttl == Seconds{3600});
  CHECK(presets.at("recovery").code == core::CodeSpec{8, core::Alphabet::digits});
  CHECK(presets.at("recovery").max_attempts == 5);
  const auto changed = load(sample_with("[purpose.address_validation]\nmax_sends = 2\n[purpose.recovery]\n"
                                        "ttl = \"30m\"\nlength = 6\n"))
                           .config.purposes;
  CHECK(changed.at("address_validation").ttl == Seconds{86'400});
  CHECK(changed.at("address_validation").code.length == 8);
  CHECK(changed.at("address_validation").max_sends == 2);
  CHECK(changed.at("recovery").ttl == Seconds{1800});
  CHECK(changed.at("recovery").code.length == 6);
}

TEST_CASE("config: defaults of login") {
  const auto config = load(sample_with("[purpose.pay]\nlength = 8\n")).config;
  const auto& login = config.purposes.at("login");
  CHECK(login.template_name == "otp");
  CHECK(login.ttl == Seconds{600});
  CHECK(login.code == core::CodeSpec{6, core::Alphabet::digits});
  CHECK(login.entropy_floor == core::k_default_entropy_floor);
  CHECK(login.max_attempts == 5);
  CHECK(login.max_sends == 5);
  CHECK(login.cooldown == Seconds{30});
  CHECK(login.resend == core::ResendMode::same);
  CHECK(login.usable_minimum == Seconds{60});
  CHECK(config.purposes.at("pay").code == core::CodeSpec{8, core::Alphabet::digits});
  CHECK(config.purposes.at("pay").ttl == Seconds{600});
}

TEST_CASE("config: defaults of the other tables") {
  const auto config = load(sample_with("")).config;
  CHECK_FALSE(config.bounces);
  CHECK(config.limits.recipient_sends == std::vector<Rate>{{3, Seconds{900}}, {5, Seconds{3600}}});
  CHECK(config.limits.recipient_failures == std::vector<Rate>{{20, Seconds{86'400}}});
  CHECK(config.limits.fold_plus);
  CHECK(config.limits.fold_dots_domains == Strings{"gmail.com", "googlemail.com"});
  CHECK(config.limits.client_sends == std::vector<Rate>{{30, Seconds{3600}}});
  CHECK(config.limits.app_sends.empty());
  CHECK(config.limits.global_sends.empty());
  CHECK(config.delivery.retry == core::DeliveryPolicy{}.retry);
  CHECK(config.delivery.greylist == core::DeliveryPolicy{}.greylist);
  CHECK(config.delivery.uncertain == core::OnUncertain::resend);
  CHECK(config.delivery.uncertain_pause == Millis{2000});
  CHECK(config.delivery.jitter_percent == 20);
  CHECK(config.session == core::SessionLimits{});
  CHECK(config.session.connect == Millis{4000});
  CHECK(config.session.before_dot == Millis{20'000});
  CHECK(config.session.dot == Millis{60'000});
  CHECK(config.breaker.failures_in_row == 3);
  CHECK(config.breaker.first == Millis{2000});
  CHECK(config.breaker.most == Millis{60'000});
  CHECK(config.intake.max_open_messages == 1'000'000);
  CHECK(config.intake.min_free_disk == 64LL << 20);
  CHECK(config.brake.ratio == 20);
  CHECK(config.brake.floor == 200);
  CHECK(config.brake.period == Seconds{600});
  CHECK(config.verdict.empty());
  CHECK(config.apps.empty());
  CHECK(config.retention.challenges == Seconds{86'400});
  CHECK(config.retention.messages == Seconds{30 * 86'400});
  CHECK(config.retention.events == Seconds{90 * 86'400});
  CHECK(config.retention.bounces == Seconds{30 * 86'400});
}

TEST_CASE("config: defaults of [bounces] and [[app]]") {
  const auto config = load(sample_with("[bounces]\nhost = \"imap.example.net\"\nusername = "
                                       "\"b\"\n[[app]]\nname = \"a\"\nuids = [7]\n"))
                          .config;
  REQUIRE(config.bounces);
  CHECK(config.bounces->port == 993);
  CHECK(config.bounces->tls == core::TlsMode::implicit);
  CHECK(config.bounces->server_name == "imap.example.net");
  CHECK(config.bounces->auth == core::AuthMode::login);
  CHECK(config.bounces->mailbox == "INBOX");
  CHECK(config.bounces->processed == "Processed");
  CHECK(config.bounces->unrecognised == "Unrecognised");
  CHECK(config.bounces->foreign == core::ForeignMail::leave);
  CHECK(config.bounces->poll == Seconds{60});
  REQUIRE(config.apps.size() == 1);
  CHECK(config.apps[0].users.empty());
  CHECK(config.apps[0].socket.empty());
  CHECK_FALSE(config.apps[0].limits);
  CHECK(config.apps[0].purposes.empty());
  CHECK_FALSE(config.apps[0].from);
}

std::string read(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  REQUIRE(in);
  return text.str();
}

void check_contract(const core::Config& config) {
  REQUIRE(config.relays.size() == 1);
  CHECK(config.mail.from.name == "Example");
  CHECK(config.mail.from.address.mailbox() == "no-reply@example.org");
  CHECK(config.mail.bounce_address.mailbox() == "bounces@example.org");
  CHECK(config.mail.hostname == "otp.example.org");
  CHECK(config.relays[0].name == "primary");
  CHECK(config.relays[0].username == "apikey");
  CHECK(config.relays[0].password_file == "/etc/mailotpd/relay-primary.password");
  REQUIRE(config.bounces);
  CHECK(config.bounces->host == "imap.example.net");
  CHECK(config.bounces->password_file == "/etc/mailotpd/imap.password");
  REQUIRE(config.apps.size() == 1);
  CHECK(config.apps[0].name == "shop");
  CHECK(config.apps[0].users == Strings{"www-data"});
  CHECK_FALSE(config.apps[0].limits);
  CHECK(config.apps[0].purposes == Strings{"login", "signup"});
  REQUIRE(config.apps[0].from);
  CHECK(config.apps[0].from->name == "Shop");
  CHECK(config.apps[0].domain == "shop.example");
}

TEST_CASE("config: the complete file of the contract") {
  const auto loaded = load(read(MAILOTP_TEST_FOLDER "/contract.toml"));
  check_contract(loaded.config);
}

TEST_CASE("config: a purpose that only an app names begins with the defaults of login") {
  const auto config = load(read(MAILOTP_TEST_FOLDER "/contract.toml")).config;
  REQUIRE(config.purposes.contains("signup"));
  CHECK(config.purposes.at("signup").ttl == Seconds{600});
}

TEST_CASE("config: in development the brake is off until its table is there") {
  const std::string development =
      "[daemon]\nmode = \"development\"\n[mail]\nfrom = \"a@b.example\"\nbounce_address = \"b@b.example\"\n"
      "hostname = \"b.example\"\n[[relay]]\nname = \"c\"\nkind = \"capture\"\ndirectory = \"/x\"\n";
  CHECK(load(development).config.brake.floor == 1'000'000'000);
  CHECK(load(development + "[brake]\nratio = 3\n").config.brake.floor == 200);
  CHECK(load(sample_with("")).config.brake.floor == 200);
}

TEST_CASE("config: the installed example says the same as the contract, from its file") {
  const auto loaded = load_config(MAILOTP_EXAMPLES "/mailotpd.toml", small_machine());
  INFO((loaded ? std::string() : loaded.error().what));
  REQUIRE(loaded);
  check_contract(loaded->config);
  CHECK(loaded->config.purposes.at("signup").ttl == Seconds{1800});
}

}  // namespace
}  // namespace mailotp::daemon
