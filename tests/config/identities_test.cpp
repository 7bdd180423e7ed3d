// Who an app is: names and numbers against the accounts of a machine, and what is refused because a peer
// would be nobody or two.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>
#include <pwd.h>
#include <unistd.h>

#include "daemon/config/config_file.h"
#include "tests/config/accounts_table.h"
#include "tests/config/sample.h"

namespace mailotp::daemon {
namespace {

using Ids = std::map<std::uint32_t, core::AppIndex>;
using Apps = std::vector<core::AppIndex>;

// [[app]] "a" on line 8, its key on line 10; "b" on line 11, its key on line 13.
std::string two_apps(std::string_view a, std::string_view b) {
  return sample_with("[[app]]\nname = \"a\"\n" + std::string(a) + "\n[[app]]\nname = \"b\"\n" +
                     std::string(b) + "\n");
}

std::string refusal_of(const std::string& text, const AccountsTable& machine = small_machine()) {
  const auto loaded = parse_config(text, "m.toml", machine);
  return loaded ? std::string() : loaded.error().what;
}

core::AppRules rules_of(const std::string& text, const AccountsTable& machine = small_machine()) {
  const auto loaded = parse_config(text, "m.toml", machine);
  INFO((loaded ? std::string() : loaded.error().what));
  REQUIRE(loaded);
  return loaded->rules;
}

TEST_CASE("identities: users, uids and groups become the ids of peers") {
  const auto rules = rules_of(two_apps("users = [\"www-data\"]\nuids = [4711]", "groups = [\"lonely\"]"));
  CHECK(rules.uids == Ids{{33, 0}, {4711, 0}});
  CHECK(rules.gids == Ids{{7000, 1}});
  CHECK_FALSE(rules.hidden_uid);
  CHECK_FALSE(rules.hidden_gid);
}

TEST_CASE("identities: without accounts names stay names") {
  const auto loaded =
      parse_config(two_apps("users = [\"nobody-knows\"]", "groups = [\"neither\"]"), "m.toml");
  REQUIRE(loaded);
  CHECK(loaded->rules.uids.empty());
  CHECK(loaded->config.apps.at(0).users.front() == "nobody-knows");
}

TEST_CASE("identities: one app may name one uid twice") {
  CHECK(rules_of(two_apps("users = [\"www-data\", \"web-alias\"]\nuids = [33]", "uids = [34]")).uids ==
        Ids{{33, 0}, {34, 1}});
}

struct Bad {
  std::string_view a, b;
  std::string_view place;
  std::string_view says;
};

TEST_CASE("identities: what would be nobody or two is refused at its place") {
  const std::vector<Bad> bad{
      {"users = [\"www-data\", \"wwwdata\"]", "uids = [1]", "10:22", "there is no user \"wwwdata\""},
      {"groups = [\"web\"]", "groups = [\"wed\"]", "13:11", "there is no group \"wed\""},
      {"users = [\"33\"]", "uids = [1]", "10:10", "there is no user \"33\""},
      // The same id by two names, in each order.
      {"users = [\"www-data\"]", "uids = [5, 33]", "13:12",
       "uid 33 belongs to app \"a\" already, as user \"www-data\" (uid 33)"},
      {"uids = [33]", "users = [\"www-data\"]", "13:10",
       "user \"www-data\" (uid 33) belongs to app \"a\" already, as uid 33"},
      {"users = [\"www-data\"]", "users = [\"web-alias\"]", "13:10", "belongs to app \"a\" already"},
      {"groups = [\"web\"]", "groups = [\"site\"]", "13:11",
       "group \"site\" (gid 500) belongs to app \"a\" already, as group \"web\" (gid 500)"},
      // An account that the rules of two apps fit.
      {"users = [\"www-data\"]", "groups = [\"web\"]", "13:11",
       "user \"www-data\" would be two apps: \"a\" by user \"www-data\" (uid 33), and \"b\" by group \"web\" "
       "(gid 500); a peer must be one"},
      {"groups = [\"web\"]", "uids = [33]", "13:9",
       "user \"www-data\" would be two apps: \"a\" by group \"web\" (gid 500), and \"b\" by uid 33"},
      {"users = [\"postman\"]", "groups = [\"mail\"]", "13:11", "user \"postman\" would be two apps"},
      {"groups = [\"web\"]", "groups = [\"ops\"]", "13:11", "user \"editor\" would be two apps"},
      // A socket of its own beside them changes nothing: they hold on the common one.
      {"users = [\"www-data\"]\nsocket = \"/run/a.sock\"", "uids = [33]", "14:9", "belongs to app \"a\""},
  };
  for (const Bad& one : bad) {
    CAPTURE(one.a, one.b);
    const std::string what = refusal_of(two_apps(one.a, one.b));
    CAPTURE(what);
    CHECK(std::count(what.begin(), what.end(), '\n') == 0);
    CHECK(what.starts_with("m.toml:" + std::string(one.place) + ": "));
    CHECK(what.find(one.says) != std::string::npos);
  }
}

TEST_CASE("identities: one line for two apps, however many accounts they share") {
  AccountsTable machine = small_machine();
  for (std::uint32_t i = 0; i < 50; ++i)
    machine.accounts.push_back({"u" + std::to_string(i), 2000 + i, {500, 501}});
  const std::string what = refusal_of(two_apps("groups = [\"web\"]", "groups = [\"ops\"]"), machine);
  CHECK(std::count(what.begin(), what.end(), '\n') == 0);
}

TEST_CASE("identities: an account that its directory does not list is known by its name") {
  AccountsTable machine = small_machine();
  machine.unlisted = {"www-data", "editor"};
  CHECK(refusal_of(two_apps("users = [\"www-data\"]", "groups = [\"web\"]"), machine)
            .find("user \"www-data\" would be two apps") != std::string::npos);
  CHECK(refusal_of(two_apps("groups = [\"web\"]", "groups = [\"ops\"]"), machine).empty());
}

TEST_CASE("identities: a system that gives no answer is not one without the user") {
  AccountsTable machine = small_machine();
  machine.no_answer = {"www-data"};
  CHECK(refusal_of(two_apps("users = [\"www-data\"]", "uids = [1]"), machine) ==
        "m.toml:10:10: no answer for www-data");
}

TEST_CASE("identities: the groups of the sockets must be there too") {
  CHECK(refusal_of(sample_with("[daemon]\napi_group = \"web\"\nadmin_group = \"ops\"\n")).empty());
  CHECK(refusal_of(sample_with("[daemon]\napi_group = \"wed\"\n")) ==
        "m.toml:9:13: there is no group \"wed\" on this system");
}

// ---- Matching.

TEST_CASE("identities: a peer matches by its uid, its group, or any of its supplementary groups") {
  core::AppRules rules;
  rules.uids = {{33, 0}, {34, 1}};
  rules.gids = {{500, 0}, {501, 1}, {502, 2}};
  CHECK(core::matching_apps(rules, {33, {33}}) == Apps{0});
  CHECK(core::matching_apps(rules, {99, {501}}) == Apps{1});
  CHECK(core::matching_apps(rules, {99, {99, 7, 502}}) == Apps{2});
  CHECK(core::matching_apps(rules, {33, {500, 500}}) == Apps{0});
  CHECK(core::matching_apps(rules, {99, {99}}).empty());
  CHECK(core::matching_apps(rules, {500, {33}}).empty());
  CHECK(core::matching_apps(rules, {34, {500, 502}}) == Apps{0, 1, 2});
}

TEST_CASE("identities: what a hidden id looks like matches no rule") {
  core::AppRules rules;
  rules.uids = {{65534, 0}};
  rules.gids = {{65534, 1}, {7, 2}};
  CHECK(core::matching_apps(rules, {65534, {65534}}) == Apps{0, 1});
  rules.hidden_uid = 65534;
  rules.hidden_gid = 65534;
  CHECK(core::matching_apps(rules, {65534, {65534}}).empty());
  CHECK(core::matching_apps(rules, {65534, {65534, 7}}) == Apps{2});
}

// ---- User namespaces.

TEST_CASE("identities: a namespace maps what its lines say") {
  CHECK(IdMap().is_whole());
  CHECK(IdMap("         0          0 4294967295\n").is_whole());
  CHECK(IdMap("0 0 1000\n1000 5000 4294966295\n").is_whole());
  const IdMap some("0 100000 1\n   33 33 2\n");
  CHECK_FALSE(some.is_whole());
  CHECK(some.maps(0));
  CHECK(some.maps(33));
  CHECK(some.maps(34));
  for (const std::uint32_t id : {1U, 32U, 35U, 65534U, 100'000U})
    CHECK_FALSE(some.maps(id));
  for (const char* text : {"", "\n", "zero 0 1\n", "0 0\n"}) {
    CHECK_FALSE(IdMap(text).is_whole());
    CHECK_FALSE(IdMap(text).maps(0));
  }
}

TEST_CASE("identities: rules that a namespace hides are refused, with the reason and the way out") {
  AccountsTable machine = small_machine();
  machine.maps.uids = IdMap("0 0 1\n34 34 1\n65534 65534 1\n");  // PrivateUsers=yes of a service of uid 34
  machine.maps.gids = IdMap("0 0 1\n501 501 1\n");
  const auto rules = rules_of(two_apps("users = [\"backup\"]", "uids = [0]"), machine);
  CHECK(rules.uids == Ids{{34, 0}, {0, 1}});
  CHECK(rules.hidden_uid == 65534U);
  CHECK(rules.hidden_gid == 65534U);
  const std::string what = refusal_of(two_apps("users = [\"www-data\"]", "groups = [\"web\"]"), machine);
  CHECK(
      what.starts_with("m.toml:10:10: user \"www-data\" (uid 33) cannot be known here: the user namespace of "
                       "this process hides it, and everybody outside would look like 65534; run without "
                       "that namespace (systemd: PrivateUsers=no), or give app \"a\" a socket of its own"));
  CHECK(what.find("\nm.toml:13:11: group \"web\" (gid 500) cannot be known here") != std::string::npos);
  // Mapped, but nobody can tell it from those that are not.
  CHECK(refusal_of(two_apps("uids = [65534]", "uids = [0]"), machine).find("cannot be known here") !=
        std::string::npos);
  // A socket needs no id.
  CHECK(refusal_of(two_apps("socket = \"/run/a.sock\"", "socket = \"/run/b.sock\""), machine).empty());
}

TEST_CASE("identities: only one kind of id may be hidden, and the kernel says as what") {
  AccountsTable machine = small_machine();
  machine.maps.gids = IdMap("0 0 1\n");
  machine.maps.overflow_gid = 4242;
  const auto rules = rules_of(two_apps("users = [\"www-data\"]", "uids = [65534]"), machine);
  CHECK_FALSE(rules.hidden_uid);
  CHECK(rules.hidden_gid == 4242U);
  CHECK(refusal_of(two_apps("groups = [\"web\"]", "uids = [1]"), machine).find("look like 4242") !=
        std::string::npos);
}

// ---- The machine itself.

struct Folder {
  Folder() {
    std::string made = "/tmp/mailotp-proc-XXXXXX";
    REQUIRE(::mkdtemp(made.data()) != nullptr);
    path = made;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  void write(const std::string& name, std::string_view text) const {
    std::filesystem::create_directories((path / name).parent_path());
    std::ofstream(path / name) << text;
  }
  std::filesystem::path path;
};

TEST_CASE("identities: the kernel's files are read, and a missing one hides nothing") {
  const Folder proc;
  CHECK(read_id_maps(proc.path).uids.is_whole());
  CHECK(read_id_maps(proc.path).overflow_uid == 65534);
  proc.write("self/uid_map", "0 1000 1\n");
  proc.write("self/gid_map", "7 7 1\n");
  proc.write("sys/kernel/overflowuid", "60001\n");
  proc.write("sys/kernel/overflowgid", "60002\n");
  const IdMaps maps = read_id_maps(proc.path);
  CHECK((maps.uids.maps(0) && !maps.uids.maps(1)));
  CHECK((maps.gids.maps(7) && !maps.gids.maps(0)));
  CHECK(maps.overflow_uid == 60001);
  CHECK(maps.overflow_gid == 60002);
}

TEST_CASE("identities: the system's accounts are what getpwuid says") {
  const SystemAccounts accounts;
  const passwd* self = ::getpwuid(::getuid());
  if (self == nullptr) return;  // an id without an account, as containers have
  const std::string name = self->pw_name;
  const gid_t primary = self->pw_gid;
  const auto found = accounts.user(name);
  REQUIRE(found);
  CHECK(found->uid == ::getuid());
  CHECK(std::ranges::count(found->gids, primary) == 1);
  CHECK(std::ranges::count(accounts.all(), name, &Account::user) == 1);
  CHECK(accounts.user("mailotp-no-such-user").error().code == core::Errc::not_found);
  CHECK(accounts.group("mailotp-no-such-group").error().code == core::Errc::not_found);
}

}  // namespace
}  // namespace mailotp::daemon
