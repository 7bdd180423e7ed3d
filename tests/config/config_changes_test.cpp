// What another configuration changes, and what of it waits for a restart.
#include "daemon/config/config_changes.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "daemon/config/config_file.h"
#include "tests/config/sample.h"

using namespace mailotp;
using namespace mailotp::daemon;

namespace {

using Names = std::vector<std::string>;

core::Config parsed(const std::string& text) {
  const auto loaded = parse_config(text, "m.toml");
  INFO((loaded ? "" : loaded.error().what));
  REQUIRE(loaded);
  return loaded->config;
}

core::Config sample(const std::string& tail = {}) {
  return parsed(sample_with(tail));
}

}  // namespace

TEST_CASE("the same configuration changes nothing, in whatever order and words") {
  const ConfigChanges none =
      changes_of(sample("port = 587\n[limits]\nfold_plus = true\n"), sample("# words\n"));
  CHECK(none.sections.empty());
  CHECK(none.needs_restart.empty());
  CHECK_FALSE((none.relays.any() || none.apps.any() || none.smtp_agent || none.imap_agent));
}

TEST_CASE("each table that differs is named, and in force") {
  const std::string before = "[purpose.login]\nttl = \"10m\"\n";
  const struct {
    std::string tail;
    std::string section;
    bool smtp_agent = false;
  } cases[] = {
      {"[purpose.login]\nttl = \"5m\"\n", "purpose"},
      {"[purpose.other]\n", "purpose"},
      {"[limits]\napp_sends = \"9/1h\"\n", "limits"},
      {"[delivery]\nretry = [\"2s\"]\n", "delivery"},
      {"[delivery]\nmin_free_disk = \"1MiB\"\n", "delivery"},
      {"[delivery]\nbreaker_failures = 9\n", "delivery"},
      {"[delivery]\ndot_timeout = \"9s\"\n", "delivery", true},
      {"[brake]\nratio = 7\n", "brake"},
      {"[verdict]\nspam = \"hard\"\n", "verdict"},
      {"[retention]\nevents = \"9d\"\n", "retention"},
      {"[[app]]\nname = \"a\"\nuids = [1]\n", "app"},
      {"[daemon]\ntemplates = \"/t\"\n", "daemon"},
      {"[daemon]\nkey_file = \"/k\"\n", "daemon"},
      {"port = 25\n", "relay", true},
      {"priority = 7\nrate = \"1/1s\"\nquota = \"9/1d\"\n", "relay"},
      {"max_connections = 3\n", "relay", true},
  };
  for (const auto& one : cases) {
    INFO(one.tail);
    const core::Config wanted = sample(one.tail);
    const ConfigChanges changes = changes_of(sample(), wanted);
    CHECK(changes.sections == Names{one.section});
    CHECK(changes.needs_restart.empty());
    CHECK(changes.smtp_agent == one.smtp_agent);
    CHECK(changes_of(wanted, changes.taken).sections.empty());
  }
}

TEST_CASE("[mail] is in force, and its name for EHLO is told the agent") {
  core::Config other = sample();
  other.mail.locale = "de";
  CHECK_FALSE(changes_of(sample(), other).smtp_agent);
  other.mail.hostname = "x.example.org";
  CHECK(changes_of(sample(), other).smtp_agent);
  CHECK(changes_of(sample(), other).sections == Names{"mail"});
}

TEST_CASE("relays and apps are told by their names") {
  const std::string more = "[[relay]]\nname = \"b\"\nhost = \"b.example.net\"\n";
  const ConfigChanges added = changes_of(sample(), sample("port = 25\n" + more));
  CHECK(added.relays.added == Names{"b"});
  CHECK(added.relays.changed == Names{"primary"});
  CHECK(added.smtp_agent);
  CHECK(changes_of(sample(more), sample()).relays.removed == Names{"b"});
  const std::string app = "[[app]]\nname = \"a\"\nuids = [1]\n";
  const ConfigChanges apps =
      changes_of(sample(app + "[[app]]\nname = \"b\"\nuids = [2]\n"),
                 sample(app + "domain = \"a.example\"\n[[app]]\nname = \"c\"\nuids = [2]\n"));
  CHECK(apps.apps.added == Names{"c"});
  CHECK(apps.apps.changed == Names{"a"});
  CHECK(apps.apps.removed == Names{"b"});
}

TEST_CASE("what is made once stays as it was, and is named; the rest is in force") {
  const ConfigChanges changes = changes_of(
      sample(), sample("port = 25\n[daemon]\nstate_dir = \"/s\"\napi_socket = \"/a\"\nadmin_socket = \"/b\"\n"
                       "api_mode = \"0600\"\nadmin_mode = \"0600\"\napi_group = \"g\"\nadmin_group = \"g\"\n"
                       "metrics_socket = \"/m\"\nlog = \"json\"\ntemplates = \"/t\"\n"));
  CHECK(changes.needs_restart == Names{"daemon.state_dir", "daemon.api_socket", "daemon.admin_socket",
                                       "daemon.api_mode", "daemon.admin_mode", "daemon.api_group",
                                       "daemon.admin_group", "daemon.metrics_socket", "daemon.log"});
  CHECK(changes.sections == Names{"daemon", "relay"});
  CHECK(changes.taken.daemon.state_dir == core::DaemonConfig{}.state_dir);
  CHECK(changes.taken.daemon.templates == "/t");
  CHECK(changes.taken.relays[0].port == 25);
}

TEST_CASE("neither mode gets the relays or the brake of the other") {
  core::Config development = sample();
  development.daemon.mode = core::Mode::development;
  development.relays[0].kind = core::RelayKind::capture;
  development.brake.floor = 1'000'000'000;
  development.mail.locale = "de";
  const ConfigChanges changes = changes_of(sample(), development);
  CHECK(changes.needs_restart == Names{"daemon.mode", "relay", "brake"});
  CHECK(changes.sections == Names{"mail"});
  CHECK(changes.taken.relays == sample().relays);
  CHECK(changes.taken.brake == sample().brake);
  CHECK_FALSE(changes.smtp_agent);
}

TEST_CASE("[bounces] is in force, but comes and goes with a restart") {
  const std::string table = "[bounces]\nhost = \"imap.example.net\"\nusername = \"b\"\n";
  const core::Config with = sample(table);
  const ConfigChanges comes = changes_of(sample(), with);
  CHECK(comes.needs_restart == Names{"bounces"});
  CHECK_FALSE(comes.taken.bounces);
  CHECK(changes_of(with, sample()).taken.bounces == with.bounces);
  const ConfigChanges foreign = changes_of(with, sample(table + "foreign = \"move\"\n"));
  CHECK(foreign.sections == Names{"bounces"});
  CHECK_FALSE(foreign.imap_agent);
  CHECK(changes_of(with, sample(table + "mailbox = \"X\"\n")).imap_agent);
  CHECK(changes_of(with, sample(table + "[retention]\nbounces = \"9d\"\n")).imap_agent);
}

TEST_CASE("the same server is the same, whenever it is chosen") {
  core::RelayConfig a;
  a.host = "a.example.net";
  core::RelayConfig b = a;
  b.priority = 1;
  b.max_connections = 3;
  b.quota = core::Rate{5, core::Seconds{60}};
  CHECK(is_same_server(a, b));
  b.username = "other";
  CHECK_FALSE(is_same_server(a, b));
}

TEST_CASE("a place of the configuration is found later, too") {
  auto loaded = parse_config(sample_with("password_file = \"/p\"\n"), "m.toml");
  REQUIRE(loaded);
  loaded->path = "m.toml";
  CHECK(loaded->where("relay[0].password_file") == "m.toml:8:17: ");
  CHECK(loaded->where("relay[0].ca_file") == "m.toml:5:1: ");
  CHECK(loaded->where("daemon.key_file") == "m.toml:1:1: ");
}
