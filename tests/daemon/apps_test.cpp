// Which app a request is, and what is said to those that are none.
#include "daemon/api/apps.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace mailotp;
using daemon::Problem;

namespace {

struct Lines final : core::Log {
  void write(core::LogLevel, std::string_view line) override { lines.emplace_back(line); }
  std::vector<std::string> lines;
};

struct Machine {
  Machine() {
    for (const char* name : {"shop", "blog", "box"}) {
      core::AppConfig app;
      app.name = name;
      config.apps.push_back(app);
    }
    rules.uids = {{33, 0}};
    rules.gids = {{500, 1}};
  }

  std::string name_of(uid_t uid, gid_t gid, std::vector<gid_t> groups = {}, const std::string& via = {}) {
    daemon::HttpRequest request;
    request.peer = {uid, gid, 1, std::move(groups)};
    request.via = via;
    const auto found = apps().find(request);
    if (found) return (*found)->name;
    CHECK(found.error().problem == Problem::app_unknown);
    detail = found.error().detail;
    // Who is no app does not learn which ones there are.
    for (const char* name : {"shop", "blog", "box"})
      CHECK(detail.find(name) == std::string::npos);
    return "";
  }

  daemon::Apps& apps() {
    if (!made) {
      in_force.emplace(std::make_shared<daemon::Configured>(daemon::Configured{config, rules, nullptr, {}}));
      made.emplace(*in_force, log, [this] { return now; });
    }
    return *made;
  }

  core::Config config;
  core::AppRules rules;
  Lines log;
  core::Millis now{5};
  std::optional<daemon::InForce> in_force;
  std::optional<daemon::Apps> made;
  std::string detail;
};

}  // namespace

TEST_CASE("without [[app]] everybody is the app default, and may use every purpose") {
  Machine machine;
  machine.config.apps.clear();
  CHECK(machine.name_of(33, 33) == "default");
  CHECK(machine.name_of(4711, 1, {500}) == "default");
  CHECK(core::may_use(**machine.apps().find(daemon::HttpRequest()), "login"));
}

TEST_CASE("an app is known by its uid, its group, or a supplementary group") {
  Machine machine;
  CHECK(machine.name_of(33, 33) == "shop");
  CHECK(machine.name_of(34, 500) == "blog");
  CHECK(machine.name_of(34, 34, {7, 500}) == "blog");
}

TEST_CASE("who is no app is told the uid, and what to do") {
  Machine machine;
  CHECK(machine.name_of(34, 35, {36}).empty());
  CHECK(machine.detail.find("uid 34 with gid 35") != std::string::npos);
  CHECK(machine.detail.find("[[app]]") != std::string::npos);
  CHECK(machine.log.lines.empty());
}

TEST_CASE("a socket of its own says which app it is, whoever the peer is") {
  Machine machine;
  CHECK(machine.name_of(4711, 1, {}, "box") == "box");
  CHECK(machine.name_of(33, 500, {500}, "box") == "box");
  CHECK(machine.name_of(33, 33, {}, "blog") == "blog");
  CHECK(machine.name_of(33, 33, {}, "no-app").empty());
}

TEST_CASE("on the common socket an app without ids is nobody") {
  Machine machine;
  machine.rules = {};
  CHECK(machine.name_of(0, 0).empty());
}

TEST_CASE("a peer of two apps is none, and the log names both, once a second") {
  Machine machine;
  CHECK(machine.name_of(33, 33, {500}).empty());
  CHECK(machine.detail.find("uid 33 matches more than one") != std::string::npos);
  REQUIRE(machine.log.lines == std::vector<std::string>{"event=app_ambiguous uid=33 apps=shop,blog"});
  machine.now += core::Millis{999};
  CHECK(machine.name_of(33, 500).empty());
  CHECK(machine.log.lines.size() == 1);
  machine.now += core::Millis{1};
  CHECK(machine.name_of(33, 500).empty());
  CHECK(machine.log.lines.size() == 2);
}

TEST_CASE("a uid that a user namespace hides is no app's, and its peer is told why") {
  Machine machine;
  machine.rules.uids[65534] = 0;
  machine.rules.hidden_uid = 65534;
  machine.rules.hidden_gid = 65534;
  CHECK(machine.name_of(65534, 65534).empty());
  CHECK(machine.detail.find("hidden from mailotpd by a user namespace") != std::string::npos);
  CHECK(machine.name_of(65534, 65534, {}, "box") == "box");
}
