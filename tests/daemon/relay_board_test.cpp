// What the daemon knows of its relays, and what it makes of it: offers to the store, probes, /readyz.
#include "daemon/app/relay_board.h"

#include <optional>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <uv.h>

using namespace mailotp;
using namespace mailotp::daemon;

namespace {

struct Lines final : core::Log {
  void write(core::LogLevel, std::string_view line) override { all += std::string(line) + "\n"; }
  std::string all;
};

struct Zero final : core::RandomSource {
  void fill(std::span<std::uint8_t> out) override { std::fill(out.begin(), out.end(), std::uint8_t{0}); }
};

core::Config config_of(std::vector<std::string> names) {
  core::Config config;
  for (std::string& name : names) {
    core::RelayConfig relay;
    relay.name = std::move(name);
    config.relays.push_back(std::move(relay));
  }
  return config;
}

struct Bench {
  explicit Bench(std::vector<std::string> names, const std::vector<std::string>& suspended = {})
      : config(config_of(std::move(names))), health(config) {
    REQUIRE(uv_loop_init(&loop) == 0);
    board.emplace(&loop, config, health, random, log);
    RelayBoard::Links links;
    links.probe = [this](const core::TestRelay& order) { probes.push_back(order); };
    links.offer = [this](std::vector<core::RelayOffer> offer) { offers.push_back(std::move(offer)); };
    links.back = [this] { ++backs; };
    board->connect(std::move(links), suspended);
    board->agent_is(core::RelayCondition::up);
  }
  ~Bench() {
    board.reset();
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&loop) == 0);
  }
  void down(const std::string& relay, core::RelayTrouble trouble = core::RelayTrouble::ordinary) {
    board->on_fact({relay, core::RelayCondition::down, core::Stage::connect, "refused", 0, trouble});
  }
  void up(const std::string& relay) {
    board->on_fact({relay, core::RelayCondition::up, core::Stage::local, "", 1});
  }
  // Runs the loop until a probe is asked for: the board's timer is the only thing in it.
  core::TestRelay probe() {
    const std::size_t before = probes.size();
    while (probes.size() == before && uv_run(&loop, UV_RUN_ONCE) != 0) {
    }
    REQUIRE(probes.size() == before + 1);
    return probes.back();
  }
  // "+" clean, "?" doubtful, "-" not to be used; in the order of the configuration.
  [[nodiscard]] std::string uses() const {
    std::string out;
    for (const core::RelayOffer& relay : offers.back())
      out += relay.use == core::RelayUse::clean ? '+' : relay.use == core::RelayUse::doubtful ? '?' : '-';
    return out;
  }
  [[nodiscard]] std::string state(std::size_t relay) const { return health.view().relays[relay].state; }

  uv_loop_t loop{};
  core::Config config;
  Health health;
  Zero random;
  Lines log;
  std::optional<RelayBoard> board;
  std::vector<core::TestRelay> probes;
  std::vector<std::vector<core::RelayOffer>> offers;
  int backs = 0;
};

}  // namespace

TEST_CASE("each change of a relay's use is offered to the store, and nothing else") {
  Bench b({"one", "two"});
  CHECK(b.uses() == "++");
  CHECK(b.offers.size() == 1);
  b.up("one");
  b.board->on_answer("one");
  CHECK(b.offers.size() == 1);
  b.down("one");
  CHECK(b.uses() == "?+");
  CHECK(b.state(0) == "down");
  CHECK(b.health.view().ready);
  b.board->on_answer("one");
  CHECK(b.uses() == "++");
  CHECK(b.backs == 1);
  for (int i = 0; i < 3; ++i)
    b.down("one");
  CHECK(b.uses() == "-+");
  CHECK(b.health.view().relays[0].breaker == "open");
  CHECK(b.health.view().relays[0].last_error == "connect: refused");
}

TEST_CASE("a doubtful relay is probed, and what the probe sees counts") {
  Bench b({"one", "two"});
  b.down("one");
  core::TestRelay probe = b.probe();
  CHECK(probe.relay == "one");
  CHECK(b.board->on_step({probe.test, core::Stage::dns, true, "127.0.0.1"}));
  CHECK(b.board->on_step({probe.test, core::Stage::connect, false, "refused"}));
  CHECK(b.board->on_test_done({probe.test, false}));
  CHECK(b.uses() == "?+");
  probe = b.probe();
  CHECK(b.board->on_test_done({probe.test, true}));
  CHECK(b.uses() == "++");
  CHECK(b.backs == 1);
}

TEST_CASE("a probe whose agent died says nothing about the relay") {
  Bench b({"one"});
  b.down("one");
  b.down("one");
  const core::TestRelay probe = b.probe();
  CHECK(b.board->on_test_done({probe.test, false}));
  CHECK(b.uses() == "?");  // a third failure would have opened the breaker
}

TEST_CASE("a probe that failed for our own reasons says nothing about the relay") {
  Bench b({"one"});
  b.down("one");
  b.down("one");
  const core::TestRelay probe = b.probe();
  CHECK(b.board->on_step({probe.test, core::Stage::local, false, "too many open files"}));
  CHECK(b.board->on_test_done({probe.test, false}));
  CHECK(b.uses() == "?");
}

TEST_CASE("an operator's test is not the board's") {
  Bench b({"one"});
  CHECK_FALSE(b.board->on_step({7, core::Stage::dns, true, ""}));
  CHECK_FALSE(b.board->on_test_done({7, true}));
}

TEST_CASE("with no relay to be used that is told, and what waits is woken when one is back") {
  Bench b({"one"});
  for (int i = 0; i < 3; ++i)
    b.down("one");
  CHECK(b.uses() == "-");
  CHECK_FALSE(b.health.view().ready);
  CHECK(b.log.all.find("event=delivery_stopped") != std::string::npos);
  const core::TestRelay probe = b.probe();  // after a second, not after the breaker's two
  CHECK(b.health.view().relays[0].breaker == "half-open");
  CHECK(b.board->on_test_done({probe.test, true}));
  CHECK(b.uses() == "+");
  CHECK(b.backs == 1);
  CHECK(b.health.view().ready);
  CHECK(b.log.all.find("event=delivery_resumed") != std::string::npos);
}

TEST_CASE("a suspended relay gets nothing, not even a probe, until it is resumed") {
  Bench b({"one", "two"}, {"one"});
  CHECK(b.uses() == "-+");
  CHECK(b.state(0) == "suspended");
  for (int i = 0; i < 3; ++i)
    b.down("one");
  b.down("two");
  CHECK(b.probe().relay == "two");
  b.board->suspend("one", false);
  CHECK(b.uses() == "+?");  // its breaker was closed with that
  CHECK(b.backs == 1);
  b.board->suspend("two", true);
  CHECK(b.state(1) == "suspended");
  CHECK(b.uses() == "+-");
}

TEST_CASE("a new password closes the breaker that the old one opened") {
  Bench b({"one", "two"});
  b.down("one", core::RelayTrouble::auth_refused);
  CHECK(b.uses() == "-+");
  b.board->reset("one");
  CHECK(b.uses() == "++");
}

TEST_CASE("without an agent no relay is up, and none is probed or blamed") {
  Bench b({"one"});
  b.board->agent_is(core::RelayCondition::down);
  CHECK_FALSE(b.health.view().ready);
  CHECK(b.uses() == "+");
  CHECK(uv_run(&b.loop, UV_RUN_NOWAIT) == 0);
  b.board->agent_is(core::RelayCondition::up);
  CHECK(b.health.view().ready);
}

TEST_CASE("what is known of a relay stays when others come and go, and with its server") {
  Bench b({"one", "two"}, {"late"});
  for (int i = 0; i < 3; ++i)
    b.down("one");
  b.board->suspend("two", true);
  CHECK(b.uses() == "--");
  core::Config next = config_of({"two", "one", "late", "new"});
  next.relays[1].priority = 3;
  b.board->take_over(next);
  CHECK(b.uses() == "---+");
  CHECK(b.offers.back()[1].priority == 3);
  CHECK(b.health.view().relays[1].breaker == "open");
  CHECK(b.health.view().relays[1].last_error == "connect: refused");
  CHECK(b.state(0) == "suspended");
  CHECK(b.state(2) == "suspended");
  CHECK(b.backs == 1);  // what waits may have its relay now
  // Another server under the same name begins anew; the operator's word is about the name.
  next.relays[0].host = next.relays[1].host = "other.example.net";
  b.board->take_over(next);
  CHECK(b.uses() == "-+-+");
  b.board->take_over(config_of({"one"}));
  b.board->suspend("two", false);  // ordered before, and told later
  b.board->take_over(config_of({"one", "two", "late"}));
  CHECK(b.uses() == "++-");
}

TEST_CASE("an agent that is renewed is no error of a relay") {
  Bench b({"one"});
  b.board->agent_renews();
  CHECK(b.state(0) == "down");
  CHECK(b.health.view().relays[0].last_error.empty());
  b.board->agent_is(core::RelayCondition::up);
  CHECK(b.state(0) == "up");
}
