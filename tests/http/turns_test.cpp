#include "daemon/http/turns.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/http/fixture.h"

namespace mailotp::daemon {
namespace {

// Turns never looks into a connection: any address will do.
Connection& numbered(std::uintptr_t number) {
  return *reinterpret_cast<Connection*>((number + 1) * 64);
}

class Recorder {
 public:
  Recorder() {
    REQUIRE(uv_loop_init(&loop) == 0);
    turns = std::make_unique<Turns>(&loop, [this](Connection& connection) {
      taken.push_back(reinterpret_cast<std::uintptr_t>(&connection) / 64 - 1);
      const std::uint64_t start = uv_hrtime();
      while (uv_hrtime() - start < busy_ns) {
      }
      if (and_then) and_then();
    });
  }
  ~Recorder() {
    turns->close([this] { turns.reset(); });
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    CHECK(turns == nullptr);
    CHECK(uv_loop_close(&loop) == 0);
  }
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  void run_all() { REQUIRE(uv_run(&loop, UV_RUN_DEFAULT) == 0); }

  uv_loop_t loop{};
  std::unique_ptr<Turns> turns;
  std::vector<std::uintptr_t> taken;
  std::uint64_t busy_ns = 0;
  std::function<void()> and_then;
};

TEST_CASE("uids take turns, however many connections one has") {
  Recorder recorder;
  for (std::uintptr_t i = 100; i < 200; ++i)
    (void)recorder.turns->add(7, numbered(i));
  (void)recorder.turns->add(8, numbered(1));
  (void)recorder.turns->add(9, numbered(2));
  (void)recorder.turns->add(8, numbered(3));
  recorder.run_all();
  REQUIRE(recorder.taken.size() == 103);
  CHECK(std::vector<std::uintptr_t>(recorder.taken.begin(), recorder.taken.begin() + 6) ==
        std::vector<std::uintptr_t>{100, 1, 2, 101, 3, 102});
  CHECK(recorder.taken.back() == 199);
}

TEST_CASE("a turn of the loop is short; what is left waits for the next one") {
  Recorder recorder;
  recorder.busy_ns = 1'000'000;
  for (std::uintptr_t i = 0; i < 20; ++i)
    (void)recorder.turns->add(7, numbered(i));
  (void)uv_run(&recorder.loop, UV_RUN_NOWAIT);
  CHECK(recorder.taken.size() <= 2);
  (void)recorder.turns->add(8, numbered(99));
  while (recorder.taken.size() < 21)
    (void)uv_run(&recorder.loop, UV_RUN_NOWAIT);
  // One of uid 7 at most was before it.
  CHECK((recorder.taken.at(2) == 99 || recorder.taken.at(3) == 99 || recorder.taken.at(1) == 99));
  recorder.run_all();
}

TEST_CASE("a place can be given up, and taken again from inside a turn") {
  Recorder recorder;
  const auto first = recorder.turns->add(7, numbered(1));
  (void)recorder.turns->add(7, numbered(2));
  const auto alone = recorder.turns->add(8, numbered(3));
  recorder.turns->remove(7, first);
  recorder.turns->remove(8, alone);
  int again = 5;
  recorder.and_then = [&] {
    if (--again > 0) (void)recorder.turns->add(7, numbered(2));
  };
  recorder.run_all();
  CHECK(recorder.taken == std::vector<std::uintptr_t>{2, 2, 2, 2, 2});
  CHECK(uv_loop_alive(&recorder.loop) == 0);
}

TEST_CASE("a client that sends thousands of requests at once does not keep another one waiting") {
  test::Fixture fixture;
  fixture.start();
  test::Client& greedy = fixture.connect();
  test::Client& other = fixture.connect();
  const std::string get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  REQUIRE(fixture.ask(other, get));
  std::string many;
  for (int i = 0; i < 2000; ++i)
    many += get;
  greedy.send(many);
  greedy.exchange();
  (void)uv_run(&fixture.loop, UV_RUN_NOWAIT);
  other.send(get);
  other.exchange();
  int turns = 0;
  while (!other.take()) {
    (void)uv_run(&fixture.loop, UV_RUN_NOWAIT);
    other.exchange();
    REQUIRE(++turns < 10);
  }
  greedy.exchange();
  int answered = 0;
  while (greedy.take())
    ++answered;
  CHECK(answered < 20);
}

}  // namespace
}  // namespace mailotp::daemon
