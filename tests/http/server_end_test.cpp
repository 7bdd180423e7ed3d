// How connections end: clients that go away, time-outs, limits, drain and close.
#include <algorithm>
#include <memory>
#include <string>

#include <catch2/catch.hpp>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/http/server.h"
#include "tests/http/fixture.h"

namespace mailotp::daemon {
namespace {

using std::chrono::milliseconds;
using test::Client;
using test::Fixture;

const std::string k_get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

TEST_CASE("500 clients that go away while they are served leave nothing behind") {
  Fixture fixture;
  fixture.limits.gone_interval = milliseconds(20);
  fixture.start(fixture.hold());
  Client& warm = fixture.connect();
  warm.send(k_get);
  REQUIRE(fixture.pump([&] { return fixture.held.size() == 1; }));
  fixture.held[0].respond(test::text_answer(""));
  REQUIRE(fixture.answer(warm));
  fixture.held.clear();
  const std::size_t before = test::open_descriptors();

  constexpr std::size_t k_count = 500;
  std::vector<Client*> leaving;
  for (std::size_t i = 0; i < k_count; ++i) {
    Client& client = fixture.connect();
    leaving.push_back(&client);
    client.send(k_get);
    if (i % 4 == 1) client.half_close();                     // was half-closed before it goes
    if (i % 4 == 2) client.send(k_get + k_get);              // with requests that nobody will answer
    if (i % 4 == 3) client.send(std::string(300000, '\n'));  // more than is read while it is served
  }
  REQUIRE(fixture.pump([&] { return fixture.held.size() == k_count; }));
  CHECK(fixture.gone == 0);
  for (Client* client : leaving) {
    client->close();
  }
  REQUIRE(fixture.pump([&] { return fixture.gone == k_count && fixture.server->connections() == 1; }));
  CHECK(test::open_descriptors() == before);
  for (Responder& responder : fixture.held) {
    responder.respond(test::text_answer("too late"));
  }
  CHECK(fixture.held.size() == k_count);
  CHECK(fixture.log.lines.empty());
}

TEST_CASE("a client that only shut down its sending side gets its answers") {
  Fixture fixture;
  fixture.limits.gone_interval = milliseconds(5);
  fixture.start(fixture.hold());
  Client& client = fixture.connect();
  client.send(k_get + k_get);
  client.half_close();
  int looks = 0;
  REQUIRE(fixture.pump([&] { return fixture.held.size() == 1 && ++looks > 30; }));
  CHECK(fixture.gone == 0);
  fixture.held[0].respond(test::text_answer("first"));
  REQUIRE(fixture.pump([&] { return fixture.held.size() == 2; }));
  fixture.held[1].respond(test::text_answer("second"));
  CHECK(fixture.answer(client)->body == "first");
  const auto last = fixture.answer(client);
  REQUIRE(last);
  CHECK(last->body == "second");
  CHECK(last->header("Connection") == "close");
  CHECK(fixture.pump([&] { return client.ended() && fixture.server->connections() == 0; }));
}

TEST_CASE("on_gone set after the client went away runs at once; its callback may drop the responder") {
  Fixture fixture;
  fixture.start([&](HttpRequest, Responder responder) { fixture.held.push_back(std::move(responder)); });
  Client& client = fixture.connect();
  client.send(k_get);
  REQUIRE(fixture.pump([&] { return fixture.held.size() == 1; }));
  fixture.held[0].on_gone([&] { fixture.held.clear(); });
  client.close();
  REQUIRE(fixture.pump([&] { return fixture.held.empty(); }));

  Client& other = fixture.connect();
  other.send(k_get);
  REQUIRE(fixture.pump([&] { return fixture.held.size() == 1; }));
  other.close();
  REQUIRE(fixture.pump([&] { return fixture.server->connections() == 0; }));
  bool told = false;
  fixture.held[0].on_gone([&] { told = true; });
  CHECK(told);
  CHECK(fixture.log.lines.empty());
}

TEST_CASE("an answer to a client that has just gone is dropped") {
  for (const std::size_t size : {std::size_t{10}, std::size_t{4} * 1024 * 1024}) {
    Fixture fixture;
    fixture.start(fixture.hold());
    Client& client = fixture.connect();
    client.send(k_get + k_get);
    REQUIRE(fixture.pump([&] { return fixture.held.size() == 1; }));
    client.close();  // the loop has not seen it yet
    fixture.held[0].respond(test::text_answer(std::string(size, 'x')));
    CHECK(fixture.pump([&] { return fixture.server->connections() == 0; }));
    CHECK(fixture.held.size() == 1);
    CHECK(fixture.gone == 0);
  }
}

TEST_CASE("idle connections are closed without a word") {
  Fixture fixture;
  fixture.limits.idle = milliseconds(30);
  fixture.start();
  Client& fresh = fixture.connect();
  Client& used = fixture.connect();
  CHECK(fixture.ask(used, k_get)->status == 200);
  REQUIRE(fixture.pump([&] { return fresh.ended() && used.ended(); }));
  CHECK(fresh.received().empty());
  CHECK(used.received().empty());
  CHECK(fixture.server->connections() == 0);
}

TEST_CASE("a request that does not come to its end is refused, however its bytes trickle") {
  Fixture fixture;
  fixture.limits.request = milliseconds(40);
  fixture.limits.gone_interval = milliseconds(5);
  fixture.start();
  Client& silent = fixture.connect();
  silent.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab");
  Client& trickling = fixture.connect();
  trickling.send("GET / HTTP/1.1\r\nX: ");
  REQUIRE(fixture.pump([&] {
    if (trickling.unsent() == 0 && trickling.received().empty()) trickling.send("y");
    return silent.ended() && trickling.ended();
  }));
  for (Client* client : {&silent, &trickling}) {
    const auto answer = client->take();
    REQUIRE(answer);
    CHECK(answer->status == 400);
    CHECK(answer->body.find("malformed_request") != std::string::npos);
    CHECK(answer->header("Connection") == "close");
  }
}

TEST_CASE("a request that is handled has all the time it needs") {
  Fixture fixture;
  fixture.limits.request = milliseconds(1);
  fixture.limits.idle = milliseconds(60);
  fixture.start(fixture.hold());
  Client& waiting = fixture.connect();
  waiting.send(k_get);
  Client& idle = fixture.connect();
  REQUIRE(fixture.pump([&] { return idle.ended() && fixture.held.size() == 1; }));
  fixture.held[0].respond(test::text_answer("at last"));
  CHECK(fixture.answer(waiting)->body == "at last");
}

TEST_CASE("a client that takes nothing of its answer is given up") {
  Fixture fixture;
  fixture.limits.write_stall = milliseconds(50);
  const std::string large(4 * 1024 * 1024, 'L');
  fixture.start([&](HttpRequest, Responder responder) { responder.respond(test::text_answer(large)); });
  Client& stalled = fixture.connect();
  stalled.stop_reading();
  stalled.send(k_get);
  REQUIRE(fixture.pump([&] { return fixture.server->connections() == 1 && stalled.unsent() == 0; }));
  REQUIRE(fixture.pump([&] { return fixture.server->connections() == 0; }));
  stalled.read_again();
  REQUIRE(fixture.pump([&] { return stalled.ended(); }));
  CHECK(stalled.received().size() < large.size());
}

TEST_CASE("after the process was stopped for long, what came meanwhile is read before time-outs count") {
  Fixture fixture;
  fixture.limits.idle = milliseconds(20);
  fixture.limits.request = milliseconds(20);
  fixture.start();
  Client& idle = fixture.connect();
  Client& partial = fixture.connect();
  partial.send(k_get.substr(0, 10));
  REQUIRE(fixture.pump([&] { return fixture.server->connections() == 2 && partial.unsent() == 0; }));
  (void)uv_run(&fixture.loop, UV_RUN_NOWAIT);
  idle.send(k_get);
  idle.exchange();
  partial.send(k_get.substr(10));
  partial.exchange();
  const std::uint64_t stopped_at = uv_hrtime();
  while (uv_hrtime() - stopped_at < 60'000'000) {  // ns; the loop stands still
  }
  for (Client* client : {&idle, &partial}) {
    const auto answer = fixture.answer(*client);
    REQUIRE(answer);
    CHECK(answer->status == 200);
  }
}

TEST_CASE("a connection too many is told so") {
  Fixture fixture;
  fixture.limits.connections = 2;
  fixture.start();
  Client& first = fixture.connect();
  Client& second = fixture.connect();
  CHECK(fixture.ask(first, k_get)->status == 200);
  CHECK(fixture.ask(second, k_get)->status == 200);
  Client& third = fixture.connect();
  const auto answer = fixture.answer(third);
  REQUIRE(answer);
  CHECK(answer->status == 503);
  CHECK(answer->header("Retry-After") == "1");
  CHECK(answer->body.find("overloaded") != std::string::npos);
  REQUIRE(fixture.pump([&] { return third.ended(); }));
  first.close();
  REQUIRE(fixture.pump([&] { return fixture.server->connections() == 1; }));
  Client& fourth = fixture.connect();
  CHECK(fixture.ask(fourth, k_get)->status == 200);
}

// The lowest limit at which `spare` more descriptors fit.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(int spare) {
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
    std::vector<int> probes;
    for (int i = 0; i < spare; ++i) {
      probes.push_back(::dup(0));
      REQUIRE(probes.back() >= 0);
    }
    rlimit low = before_;
    low.rlim_cur = static_cast<rlim_t>(*std::max_element(probes.begin(), probes.end())) + 1;
    for (const int fd : probes) {
      (void)::close(fd);
    }
    REQUIRE(low.rlim_cur < before_.rlim_cur);
    (void)::setrlimit(RLIMIT_NOFILE, &low);  // to lower a limit is always allowed
  }
  DescriptorLimit(const DescriptorLimit&) = delete;
  DescriptorLimit& operator=(const DescriptorLimit&) = delete;
  ~DescriptorLimit() { (void)::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST_CASE("out of descriptors: what waits is shed, the loop rests, and service goes on") {
  Fixture fixture;
  fixture.start();
  CHECK(fixture.ask(fixture.connect(), k_get)->status == 200);
  std::vector<Client*> crowd;
  for (int i = 0; i < 20; ++i) {
    fixture.clients.push_back(std::make_unique<Client>());
    crowd.push_back(fixture.clients.back().get());
  }
  // Nothing is asserted while descriptors are short: the sanitizer's own checks need some.
  bool all_done = false;
  std::ptrdiff_t served = 0;
  int ready = -1;
  {
    const DescriptorLimit limit(5);
    for (Client* client : crowd) {
      client->connect(fixture.socket);
      client->send(k_get);
    }
    all_done = fixture.pump([&] {
      return std::all_of(crowd.begin(), crowd.end(), [](Client* client) {
        return client->ended() || client->received().find("\r\n\r\n") != std::string::npos;
      });
    });
    served = std::count_if(crowd.begin(), crowd.end(), [](Client* client) { return !client->ended(); });
    for (int turn = 0; turn < 10 && ready != 0; ++turn) {
      (void)uv_run(&fixture.loop, UV_RUN_NOWAIT);
      pollfd backend{uv_backend_fd(&fixture.loop), POLLIN, 0};
      ready = ::poll(&backend, 1, 0);  // 0: the listener is not ready again and again
    }
  }
  CHECK(all_done);
  CHECK(served == 5);
  CHECK(ready == 0);
  CHECK(fixture.ask(fixture.connect(), k_get)->status == 200);
}

TEST_CASE("drain answers what has been read, then closes") {
  Fixture fixture;
  fixture.start(fixture.hold());
  Client& idle = fixture.connect();
  Client& waiting = fixture.connect();
  Client& pipelining = fixture.connect();
  waiting.send(k_get);
  pipelining.send(k_get + k_get + "GET / HT");
  REQUIRE(fixture.pump([&] { return fixture.held.size() == 2 && fixture.server->connections() == 3; }));
  bool drained = false;
  fixture.server->drain([&] { drained = true; });
  REQUIRE(fixture.pump([&] { return idle.ended(); }));
  CHECK(::access(fixture.socket.c_str(), F_OK) != 0);
  CHECK_FALSE(drained);

  waiting.send(k_get);  // after the drain began: not taken
  for (std::size_t i = 0; i < 3; ++i) {
    REQUIRE(fixture.pump([&] { return fixture.held.size() > i; }));
    fixture.held[i].respond(test::text_answer("done"));
  }
  const auto alone = fixture.answer(waiting);
  REQUIRE(alone);
  CHECK(alone->header("Connection") == "close");
  const auto first = fixture.answer(pipelining);
  REQUIRE(first);
  CHECK(first->header("Connection").empty());
  const auto second = fixture.answer(pipelining);
  REQUIRE(second);
  CHECK(second->header("Connection") == "close");
  REQUIRE(fixture.pump([&] { return waiting.ended() && pipelining.ended(); }));
  CHECK(drained);
  CHECK(fixture.held.size() == 3);
  CHECK(fixture.gone == 0);
}

TEST_CASE("a request that the kernel had when the drain began is answered") {
  Fixture fixture;
  fixture.start();
  Client& client = fixture.connect();
  CHECK(fixture.ask(client, k_get)->status == 200);
  client.send(k_get);
  client.exchange();  // into the kernel; the loop has not run
  bool drained = false;
  fixture.server->drain([&] { drained = true; });
  CHECK_FALSE(drained);
  const auto answer = fixture.answer(client);
  REQUIRE(answer);
  CHECK(answer->header("Connection") == "close");
  CHECK(fixture.pump([&] { return drained && client.ended(); }));
}

TEST_CASE("a request half read when the drain began is read to its end") {
  Fixture fixture;
  fixture.start();
  Client& client = fixture.connect();
  client.send(k_get.substr(0, 10));
  REQUIRE(fixture.pump([&] { return fixture.server->connections() == 1 && client.unsent() == 0; }));
  (void)uv_run(&fixture.loop, UV_RUN_NOWAIT);
  bool drained = false;
  fixture.server->drain([&] { drained = true; });
  const auto answer = fixture.ask(client, k_get.substr(10));
  REQUIRE(answer);
  CHECK(answer->status == 200);
  CHECK(answer->header("Connection") == "close");
  CHECK(fixture.pump([&] { return drained; }));
}

TEST_CASE("a drain waits neither for a request that does not end nor for a client that takes nothing") {
  Fixture fixture;
  fixture.limits.drain = milliseconds(50);
  fixture.limits.header_bytes = 64 * 1024 * 1024;  // not what ends it
  fixture.start([](HttpRequest, Responder responder) {
    responder.respond(test::text_answer(std::string(4 * 1024 * 1024, 'L')));
  });
  Client& partial = fixture.connect();
  partial.send(k_get.substr(0, 10));
  Client& trickling = fixture.connect();
  trickling.send("GET / HTTP/1.1\r\nX: ");
  Client& stalled = fixture.connect();
  stalled.stop_reading();
  stalled.send(k_get);
  Client& reading = fixture.connect();
  reading.send(k_get);
  REQUIRE(fixture.pump([&] {
    return fixture.server->connections() == 4 &&
           partial.unsent() + trickling.unsent() + stalled.unsent() == 0 && !reading.received().empty();
  }));
  bool drained = false;
  fixture.server->drain([&] { drained = true; });
  REQUIRE(fixture.pump([&] {
    if (trickling.unsent() == 0 && trickling.received().empty()) trickling.send("y");
    return drained;
  }));
  for (Client* client : {&partial, &trickling}) {
    const auto answer = fixture.answer(*client);
    REQUIRE(answer);
    CHECK(answer->status == 503);
    CHECK(answer->body.find("shutting_down") != std::string::npos);
    CHECK(answer->header("Connection") == "close");
  }
  CHECK(fixture.answer(reading)->body.size() == 4 * 1024 * 1024);
  stalled.read_again();
  REQUIRE(fixture.pump([&] { return stalled.ended(); }));
  CHECK_FALSE(stalled.take());
}

TEST_CASE("a drain without connections ends at once; the server may be destroyed when close is done") {
  Fixture fixture;
  fixture.start();
  bool drained = false;
  fixture.server->drain([&] { drained = true; });
  CHECK(drained);
  fixture.server->close([&] { fixture.server.reset(); });
  CHECK(fixture.pump([&] { return fixture.server == nullptr; }));
}

TEST_CASE("close detaches what is being handled; responders may outlive the server") {
  Fixture fixture;
  fixture.start(fixture.hold());
  Client& client = fixture.connect();
  Client& refused = fixture.connect();
  client.send(k_get);
  refused.send("bad\n");
  REQUIRE(fixture.pump([&] { return fixture.held.size() == 1 && !refused.received().empty(); }));
  fixture.server->close([&] { fixture.server.reset(); });
  CHECK(fixture.gone == 1);
  REQUIRE(fixture.pump([&] { return fixture.server == nullptr; }));
  fixture.held[0].respond(test::text_answer("nobody"));
  CHECK(fixture.pump([&] { return client.ended(); }));
  CHECK(client.received().empty());
}

}  // namespace
}  // namespace mailotp::daemon
