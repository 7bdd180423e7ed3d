// What one uid may have of a server, and that nothing is left counted however things end.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>
#include <unistd.h>

#include "daemon/http/server.h"
#include "tests/http/fixture.h"

namespace mailotp::daemon {
namespace {

using std::chrono::milliseconds;
using test::Client;
using test::Fixture;

const std::string k_get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

UidLoad own_load(const Fixture& fixture) {
  return fixture.server->load_of(::getuid());
}

TEST_CASE("a uid has its connections and no more: the next one is told so and closed") {
  Fixture fixture;
  fixture.limits.connections_of_uid = 2;
  fixture.start();
  Client& first = fixture.connect();
  CHECK(fixture.ask(first, k_get)->status == 200);
  CHECK(fixture.ask(fixture.connect(), k_get)->status == 200);
  for (int i = 0; i < 3; ++i) {
    Client& refused = fixture.connect();
    const auto answer = fixture.answer(refused);
    REQUIRE(answer);
    CHECK(answer->status == 503);
    CHECK(answer->header("Retry-After") == "1");
    CHECK(answer->header("Connection") == "close");
    CHECK(answer->body.find("overloaded") != std::string::npos);
    REQUIRE(fixture.pump([&] { return refused.ended() && fixture.server->connections() == 2; }));
    CHECK(own_load(fixture).connections == 2);
    CHECK(fixture.server->load().connections == 2);
  }
  const std::string line = "event=http_uid_limited uid=" + std::to_string(::getuid()) + " limit=connections";
  CHECK(fixture.log.lines == std::vector<std::string>{line});  // once a second
  first.close();
  REQUIRE(fixture.pump([&] { return own_load(fixture).connections == 1; }));
  CHECK(fixture.ask(fixture.connect(), k_get)->status == 200);
}

TEST_CASE("a uid has its requests in hand and no more: the next one is refused, its connection stays") {
  Fixture fixture;
  fixture.limits.requests_of_uid = 3;
  fixture.start(fixture.hold());
  for (int i = 0; i < 3; ++i)
    fixture.connect().send(k_get);
  REQUIRE(fixture.pump([&] { return fixture.held.size() == 3; }));
  CHECK(own_load(fixture).requests == 3);
  Client& client = fixture.connect();
  for (int i = 0; i < 3; ++i) {
    const auto refused = fixture.ask(client, k_get);
    REQUIRE(refused);
    CHECK(refused->status == 503);
    CHECK(refused->header("Retry-After") == "1");
    CHECK(refused->headers.count("Connection") == 0);
    CHECK(refused->body.find("overloaded") != std::string::npos);
  }
  const std::string line = "event=http_uid_limited uid=" + std::to_string(::getuid()) + " limit=requests";
  CHECK(fixture.log.lines == std::vector<std::string>{line});
  fixture.held[0].respond(test::text_answer("done"));
  REQUIRE(fixture.pump([&] { return own_load(fixture).requests == 2; }));
  client.send(k_get);
  REQUIRE(fixture.pump([&] { return fixture.held.size() == 4; }));
  fixture.held[3].respond(test::text_answer("now"));
  CHECK(fixture.answer(client)->body == "now");
}

TEST_CASE("a request whose client has gone counts for as long as its handler is at it") {
  Fixture fixture;
  fixture.start(fixture.hold());
  Client& client = fixture.connect();
  client.send(k_get);
  REQUIRE(fixture.pump([&] { return fixture.held.size() == 1; }));
  client.close();
  REQUIRE(fixture.pump([&] { return fixture.gone == 1 && fixture.server->connections() == 0; }));
  CHECK(own_load(fixture).connections == 0);
  CHECK(own_load(fixture).requests == 1);
  SECTION("answered") {
    fixture.held[0].respond(test::text_answer("nobody"));
    CHECK(own_load(fixture).requests == 0);
  }
  SECTION("dropped") {
    fixture.held.clear();
    CHECK(own_load(fixture).requests == 0);
  }
  SECTION("answered after the server is gone") {
    fixture.server->close([&] { fixture.server.reset(); });
    REQUIRE(fixture.pump([&] { return fixture.server == nullptr; }));
    fixture.held[0].respond(test::text_answer("nobody"));
  }
}

TEST_CASE("a stream is a request in hand until its end") {
  Fixture fixture;
  std::unique_ptr<HttpStream> stream;
  fixture.start(
      [&](HttpRequest, Responder responder) { stream = std::make_unique<HttpStream>(responder.stream({})); });
  Client& client = fixture.connect();
  client.send(k_get);
  REQUIRE(fixture.pump([&] { return !client.received().empty(); }));
  CHECK(own_load(fixture).requests == 1);
  SECTION("ended") {
    stream->end();
  }
  SECTION("dropped") {
    stream.reset();
  }
  SECTION("the client goes") {
    client.close();
    REQUIRE(fixture.pump([&] { return fixture.server->connections() == 0; }));
    CHECK(own_load(fixture).requests == 1);
    stream.reset();
  }
  SECTION("the server drains") {
    fixture.server->drain();
    stream.reset();
  }
  CHECK(fixture.pump([&] { return own_load(fixture).requests == 0; }));
}

TEST_CASE("a request counts for as long as its client does not take the answer") {
  Fixture fixture;
  fixture.limits.requests_of_uid = 2;
  const std::string large(4 * 1024 * 1024, 'L');
  fixture.start([&](HttpRequest, Responder responder) { responder.respond(test::text_answer(large)); });
  Client& first = fixture.connect();
  Client& second = fixture.connect();
  for (Client* client : {&first, &second}) {
    client->stop_reading();
    client->send(k_get);
  }
  REQUIRE(fixture.pump([&] { return own_load(fixture).requests == 2; }));
  Client& third = fixture.connect();
  CHECK(fixture.ask(third, k_get)->status == 503);
  first.read_again();
  CHECK(fixture.answer(first)->body == large);
  REQUIRE(fixture.pump([&] { return own_load(fixture).requests == 1; }));
  CHECK(fixture.ask(third, k_get)->status == 200);
  second.close();
  CHECK(fixture.pump([&] { return own_load(fixture).requests == 0; }));
}

// The real world's ends, in random order: answers, streams, drops, half-closed, gone, malformed, time-outs.
class Chaos : public Fixture {
 public:
  explicit Chaos(std::uint32_t seed) : random(seed) {
    limits.connections = 20;
    limits.connections_of_uid = 15;
    limits.requests_of_uid = 5;
    limits.idle = limits.request = limits.write_stall = limits.linger = milliseconds(30);
    limits.gone_interval = milliseconds(5);
    start([this](HttpRequest request, Responder responder) {
      ++handled;
      most = std::max(most, own_load(*this).requests);
      if (request.path == "/drop") return;
      if (request.path == "/large") return responder.respond(test::text_answer(std::string(1 << 20, 'L')));
      if (request.path == "/stream") {
        streams.push_back(std::make_unique<HttpStream>(responder.stream({})));
        (void)streams.back()->write(std::string(1 + one_of(400000), 's'));
        return;
      }
      if (request.path == "/hold") {
        held.push_back(std::move(responder));
        return;
      }
      responder.respond(test::text_answer("now"));
    });
  }
  std::uint32_t one_of(std::uint32_t count) { return static_cast<std::uint32_t>(random() % count); }

  void act() {
    static const std::vector<std::string> k_sent{
        "GET /now HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /stream HTTP/1.0\r\n\r\n",
        "GET /large HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /drop HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /hold HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET /no",
        "bad\n",
    };
    if (clients.size() < 30 && one_of(3) == 0) connect();
    if (clients.empty()) return;
    const auto at = clients.begin() + one_of(static_cast<std::uint32_t>(clients.size()));
    switch (one_of(8)) {
      case 0:
        clients.erase(at);
        break;
      case 1:
        (*at)->half_close();
        break;
      case 2:
        (*at)->stop_reading();
        break;
      case 3:
        (*at)->read_again();
        break;
      default:
        (*at)->send(k_sent[one_of(static_cast<std::uint32_t>(k_sent.size()))]);
    }
    if (!held.empty() && one_of(20) == 0) {
      std::swap(held[one_of(static_cast<std::uint32_t>(held.size()))], held.back());
      if (one_of(2) == 0) held.back().respond(test::text_answer("late"));
      held.pop_back();
    }
    if (!streams.empty() && one_of(20) == 0) {
      std::swap(streams[one_of(static_cast<std::uint32_t>(streams.size()))], streams.back());
      if (one_of(2) == 0) streams.back()->end();
      streams.pop_back();
    }
  }

  std::mt19937 random;
  std::vector<std::unique_ptr<HttpStream>> streams;
  std::size_t handled = 0;
  std::size_t most = 0;
};

TEST_CASE("nothing stays counted, however connections and requests end") {
  std::set<std::string> limited;
  for (std::uint32_t seed = 1; seed <= 8; ++seed) {
    INFO("seed " << seed);
    Chaos fixture(seed);
    for (int step = 0; step < 3000; ++step) {
      fixture.act();
      if (step % 4 == 0) REQUIRE(fixture.pump([] { return true; }));
      const UidLoad load = own_load(fixture);
      REQUIRE(load.connections <= std::min<std::size_t>(15, fixture.server->connections()));
      REQUIRE(load.requests <= 5);
      REQUIRE(load.requests >= fixture.held.size());
      REQUIRE(fixture.server->load().requests == load.requests);
    }
    CHECK(fixture.handled > 100);
    CHECK(fixture.most == 5);
    for (const std::string& line : fixture.log.lines)
      limited.insert(line.substr(line.rfind(' ') + 1));
    const bool drains = seed % 2 == 0;
    if (drains) fixture.server->drain();
    fixture.clients.clear();
    REQUIRE(fixture.pump([&] { return fixture.server->connections() == 0; }));
    fixture.held.clear();
    fixture.streams.clear();
    CHECK(own_load(fixture).connections == 0);
    CHECK(own_load(fixture).requests == 0);
  }
  CHECK(limited.contains("limit=connections"));
  CHECK(limited.contains("limit=requests"));
}

TEST_CASE("a crowd that connects does not keep the loop from who is there") {
  Fixture fixture;
  fixture.start();
  Client& there = fixture.connect();
  CHECK(fixture.ask(there, k_get)->status == 200);
  constexpr std::size_t k_crowd = 1000;
  for (std::size_t i = 0; i < k_crowd; ++i)
    fixture.connect();
  there.send(k_get);
  there.exchange();
  std::size_t turns = 0;
  while (!there.take()) {
    (void)uv_run(&fixture.loop, UV_RUN_NOWAIT);
    there.exchange();
    REQUIRE(++turns < 20);
  }
  CHECK(fixture.server->connections() < k_crowd / 2);
  REQUIRE(fixture.pump([&] { return fixture.server->connections() == k_crowd + 1; }));
  for (std::size_t i = 0; i < k_crowd; ++i)
    fixture.connect();
  (void)uv_run(&fixture.loop, UV_RUN_NOWAIT);
  bool drained = false;  // with a connection that is between libuv and us
  fixture.server->drain([&] { drained = true; });
  REQUIRE(fixture.pump([&] { return drained; }));
}

TEST_CASE("the connections follow from the descriptors that the process may have") {
  const HttpShares plenty = share_descriptors(k_descriptors_wanted);
  CHECK(plenty.apps.connections == 16000);
  CHECK(plenty.apps.connections_of_uid == 8500);
  CHECK(plenty.operators.connections == 256);
  CHECK_FALSE(plenty.few);
  const HttpShares unlimited = share_descriptors(UINT64_MAX);
  CHECK(unlimited.apps.connections == 16000);
  CHECK_FALSE(unlimited.few);
  const HttpShares usual = share_descriptors(1024);
  CHECK(usual.apps.connections == 512);
  CHECK(usual.apps.connections_of_uid == 272);
  CHECK(usual.operators.connections == 256);
  CHECK(usual.few);
  CHECK(usual.metrics.connections == 16);
  CHECK(usual.metrics.connections_of_uid == 16);
  CHECK(share_descriptors(4096).apps.connections == 3584);
  for (std::uint64_t descriptors = 16; descriptors < 20000; ++descriptors) {
    const HttpShares shares = share_descriptors(descriptors);
    REQUIRE(shares.apps.connections_of_uid >= 1);
    REQUIRE(shares.apps.connections_of_uid < shares.apps.connections);
    REQUIRE(shares.operators.connections >= 2);
    REQUIRE(shares.metrics.connections >= 1);
    REQUIRE(shares.metrics.connections <= std::max<std::uint64_t>(1, descriptors / 64));
    // A quarter at least is left for everything else, up to 256; the few of the metrics come out of it.
    REQUIRE(shares.apps.connections + shares.operators.connections +
                std::min<std::uint64_t>(256, descriptors / 4) <=
            descriptors);
    REQUIRE(shares.apps.connections <= share_descriptors(descriptors + 1).apps.connections);
  }
}

}  // namespace
}  // namespace mailotp::daemon
