// Answers in pieces: their bytes, their pace, and every way in which they end.
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "daemon/http/server.h"
#include "tests/http/fixture.h"

namespace mailotp::daemon {
namespace {

using std::chrono::milliseconds;
using test::Answer;
using test::Client;
using test::Fixture;

const std::string k_get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const std::string k_large(1024 * 1024, 'L');  // more than two socket buffers hold

// Each request for /stream becomes a stream that the test holds; others are answered at once.
class Streams : public Fixture {
 public:
  void start_streams() {
    start([this](HttpRequest request, Responder responder) {
      if (request.path != "/stream") return responder.respond(test::text_answer(request.path));
      StreamHead head;
      head.content_type = "text/event-stream";
      head.headers.emplace_back("X-More", "1");
      streams.push_back(std::make_unique<HttpStream>(responder.stream(std::move(head))));
      streams.back()->on_writable([this] { ++writable; });
      streams.back()->on_gone([this] { ++gone; });
    });
  }
  Client& open(const std::string& request = "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n") {
    Client& client = connect();
    client.send(request);
    const std::size_t before = streams.size();
    REQUIRE(pump([&] {
      return streams.size() == before + 1 && client.received().find("\r\n\r\n") != std::string::npos;
    }));
    return client;
  }
  std::string chunk(Client& client) {
    std::optional<std::string> found;
    REQUIRE(pump([&] { return (found = client.take_chunk()).has_value(); }));
    return *found;
  }

  std::vector<std::unique_ptr<HttpStream>> streams;
  std::size_t writable = 0;
};

TEST_CASE("a stream is an HTTP/1.1 answer in chunks, and the connection goes on behind it") {
  Streams fixture;
  fixture.start_streams();
  Client& client = fixture.open();
  const auto head = client.take_head();
  REQUIRE(head);
  CHECK(head->status == 200);
  CHECK(head->header("Transfer-Encoding") == "chunked");
  CHECK(head->header("Content-Type") == "text/event-stream");
  CHECK(head->header("X-More") == "1");
  CHECK(head->header("Cache-Control") == "no-store");
  CHECK(head->header("X-Request-Id") == "request-1");
  CHECK(head->headers.count("Content-Length") == 0);
  CHECK(head->headers.count("Connection") == 0);

  HttpStream& stream = *fixture.streams[0];
  std::size_t writes = 0;
  for (const std::string& piece : {std::string("a"), std::string("data: x\r\n\r\n"),
                                   std::string("\0\r\n0\r\n", 6), std::string(70000, 'p')}) {
    REQUIRE(stream.writable());
    REQUIRE(stream.write(piece));
    CHECK_FALSE(stream.writable());
    CHECK(fixture.writable == writes);  // never from inside write()
    CHECK(fixture.chunk(client) == piece);
    ++writes;
    REQUIRE(fixture.pump([&] { return fixture.writable == writes; }));
  }
  stream.end();
  CHECK(fixture.chunk(client).empty());
  CHECK(client.received().empty());
  CHECK(fixture.ask(client, k_get)->body == "/");
  CHECK(fixture.gone == 0);
  CHECK(fixture.writable == writes);
}

TEST_CASE("one write at a time: a second one is not taken until the first is with the kernel") {
  Streams fixture;
  fixture.start_streams();
  Client& client = fixture.open();
  (void)client.take_head();
  client.stop_reading();
  HttpStream& stream = *fixture.streams[0];
  REQUIRE(stream.write(k_large));
  for (int turn = 0; turn < 100; ++turn) {
    (void)uv_run(&fixture.loop, UV_RUN_NOWAIT);
    CHECK_FALSE(stream.writable());
    CHECK_FALSE(stream.write("more"));
  }
  CHECK(fixture.writable == 0);
  client.read_again();
  CHECK(fixture.chunk(client) == k_large);
  REQUIRE(fixture.pump([&] { return fixture.writable == 1; }));
  REQUIRE(stream.write("more"));
  CHECK(fixture.chunk(client) == "more");
}

TEST_CASE("the first write may follow at once, and one write may follow the other from the callback") {
  Fixture fixture;
  std::unique_ptr<HttpStream> stream;
  int left = 1000;
  fixture.start([&](HttpRequest, Responder responder) {
    stream = std::make_unique<HttpStream>(responder.stream({}));
    stream->on_writable([&] {
      if (--left == 0) return stream->end();
      REQUIRE(stream->write("next"));
    });
    REQUIRE(stream->write("first"));
    CHECK_FALSE(stream->write("too early"));
  });
  Client& client = fixture.connect();
  client.send(k_get);
  std::optional<Answer> head;
  REQUIRE(fixture.pump([&] { return (head = client.take_head()).has_value(); }));
  std::vector<std::string> chunks;
  REQUIRE(fixture.pump([&] {
    while (auto chunk = client.take_chunk())
      chunks.push_back(*chunk);
    return !chunks.empty() && chunks.back().empty();
  }));
  CHECK(chunks.size() == 1001);
  CHECK(chunks.front() == "first");
  CHECK(chunks.at(1) == "next");
}

TEST_CASE("a client that takes nothing of a stream is given up after a while, one that rests is not") {
  Streams fixture;
  fixture.limits.write_stall = milliseconds(60);
  fixture.limits.idle = milliseconds(20);
  fixture.limits.request = milliseconds(20);
  fixture.start_streams();
  Client& quiet = fixture.open();
  Client& slow = fixture.open();
  Client& stalled = fixture.open();
  stalled.stop_reading();
  slow.stop_reading();
  REQUIRE(fixture.streams[1]->write(k_large));
  REQUIRE(fixture.streams[2]->write(k_large));
  // The slow one takes a little now and then.
  REQUIRE(fixture.pump([&] {
    slow.read_again();
    slow.exchange();
    slow.stop_reading();
    if (fixture.streams[1]->writable()) REQUIRE(fixture.streams[1]->write(k_large));
    return fixture.gone == 1;
  }));
  CHECK_FALSE(fixture.streams[2]->write("x"));
  CHECK(fixture.server->connections() == 2);
  stalled.read_again();
  REQUIRE(fixture.pump([&] { return stalled.ended(); }));
  CHECK(fixture.gone == 1);
  (void)quiet.take_head();
  REQUIRE(fixture.streams[0]->write("still there"));
  CHECK(fixture.chunk(quiet) == "still there");
}

TEST_CASE("a client of a stream that goes away is noticed with nothing written") {
  enum class Before { nothing, half_closed, pipelined, clogged, unsent };
  for (const auto before :
       {Before::nothing, Before::half_closed, Before::pipelined, Before::clogged, Before::unsent}) {
    INFO(static_cast<int>(before));
    Streams fixture;
    fixture.limits.gone_interval = milliseconds(10);
    fixture.start_streams();
    Client& client = fixture.open();
    if (before == Before::half_closed) client.half_close();
    if (before == Before::pipelined) client.send(k_get);
    if (before == Before::clogged) client.send(std::string(300000, '\n'));  // more than is read ahead
    if (before == Before::unsent) {
      client.stop_reading();
      REQUIRE(fixture.streams[0]->write(k_large));
    }
    int turns = 0;
    REQUIRE(fixture.pump([&] { return ++turns > 20; }));
    CHECK(fixture.gone == 0);
    client.close();
    REQUIRE(fixture.pump([&] { return fixture.gone == 1 && fixture.server->connections() == 0; }));
    CHECK_FALSE(fixture.streams[0]->writable());
    CHECK_FALSE(fixture.streams[0]->write("nobody"));
    fixture.streams[0]->end();
    CHECK(fixture.gone == 1);
    CHECK(fixture.log.lines.empty());
  }
}

TEST_CASE("a client that only shut down its sending side gets its stream, then the answers behind it") {
  Streams fixture;
  fixture.limits.gone_interval = milliseconds(5);
  fixture.start_streams();
  Client& client = fixture.open("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n" + k_get);
  client.half_close();
  (void)client.take_head();
  int looks = 0;
  REQUIRE(fixture.pump([&] { return ++looks > 30; }));
  CHECK(fixture.gone == 0);
  REQUIRE(fixture.streams[0]->write("x"));
  CHECK(fixture.chunk(client) == "x");
  fixture.streams[0]->end();
  CHECK(fixture.chunk(client).empty());
  const auto behind = fixture.answer(client);
  REQUIRE(behind);
  CHECK(behind->body == "/");
  CHECK(behind->header("Connection") == "close");
  CHECK(fixture.pump([&] { return client.ended() && fixture.server->connections() == 0; }));
}

TEST_CASE("requests behind a stream wait for its end, and no more is read ahead than behind any answer") {
  Streams fixture;
  fixture.start_streams();
  std::string behind;
  constexpr std::size_t k_requests = 20000;
  for (std::size_t i = 0; i < k_requests; ++i)
    behind += "GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: a\r\n\r\n";
  Client& client = fixture.open();
  (void)client.take_head();
  client.send(behind);
  std::size_t unsent = 0;
  REQUIRE(fixture.pump([&] { return std::exchange(unsent, client.unsent()) == client.unsent(); }));
  CHECK(client.unsent() > behind.size() / 3);
  REQUIRE(fixture.streams[0]->write("x"));
  CHECK(fixture.chunk(client) == "x");
  CHECK(client.received().empty());
  fixture.streams[0]->end();
  CHECK(fixture.chunk(client).empty());
  for (std::size_t i = 0; i < k_requests; ++i) {
    const auto answer = fixture.answer(client);
    REQUIRE(answer);
    REQUIRE(answer->body == "/" + std::to_string(i));
  }
}

TEST_CASE("the end comes behind what is unsent, and the connection ends when its request asked for that") {
  Streams fixture;
  fixture.start_streams();
  Client& client = fixture.open("GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  CHECK(client.take_head()->header("Connection") == "close");
  client.stop_reading();
  REQUIRE(fixture.streams[0]->write(k_large));
  fixture.streams[0]->end();
  fixture.streams.clear();
  client.read_again();
  CHECK(fixture.chunk(client) == k_large);
  CHECK(fixture.chunk(client).empty());
  REQUIRE(fixture.pump([&] { return client.ended(); }));
  CHECK(client.received().empty());
  CHECK(fixture.gone == 0);
  CHECK(fixture.writable == 0);
}

TEST_CASE("a client of HTTP/1.0 gets the bytes as they are, up to the end of the connection") {
  for (const bool ended_at_once : {false, true}) {
    Streams fixture;
    fixture.start_streams();
    Client& client = fixture.open("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    const auto head = client.take_head();
    REQUIRE(head);
    CHECK(head->header("Connection") == "close");
    CHECK(head->headers.count("Transfer-Encoding") == 0);
    REQUIRE(fixture.streams[0]->write("one"));
    REQUIRE(fixture.pump([&] { return fixture.writable == 1; }));
    REQUIRE(fixture.streams[0]->write(k_large));
    if (!ended_at_once) REQUIRE(fixture.pump([&] { return fixture.writable == 2; }));
    fixture.streams[0]->end();
    REQUIRE(fixture.pump([&] { return client.ended(); }));
    CHECK(client.received() == "one" + k_large);
    CHECK(fixture.gone == 0);
  }
}

TEST_CASE("a stream that is dropped before its end ends the connection in the middle of the answer") {
  Streams fixture;
  fixture.start_streams();
  Client& client = fixture.open();
  (void)client.take_head();
  REQUIRE(fixture.streams[0]->write("x"));
  REQUIRE(fixture.pump([&] { return fixture.writable == 1; }));
  fixture.streams.clear();
  CHECK(fixture.gone == 0);
  REQUIRE(fixture.pump([&] { return client.ended(); }));
  CHECK(client.take_chunk() == "x");
  CHECK(client.received().empty());
  CHECK(fixture.server->connections() == 0);
}

TEST_CASE("a stream may be ended, dropped or moved from inside its callbacks") {
  Fixture fixture;
  std::vector<HttpStream> streams;
  std::size_t told = 0;
  const auto drop = [&] {
    ++told;
    streams.clear();
  };
  fixture.start([&](HttpRequest request, Responder responder) {
    HttpStream stream = responder.stream({});
    if (request.path == "/drop") stream.on_writable(drop);
    if (request.path == "/end") {
      stream.on_writable([&] {
        streams.front().end();
        drop();
      });
    }
    stream.on_gone(drop);
    REQUIRE(stream.write("x"));
    streams.clear();
    streams.push_back(std::move(stream));
  });
  for (const std::string path : {"/drop", "/end", "/gone"}) {
    const std::size_t before = told;
    Client& client = fixture.connect();
    client.send("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n");
    if (path == "/gone") {
      REQUIRE(fixture.pump([&] { return !client.received().empty(); }));
      client.close();
    }
    REQUIRE(fixture.pump([&] { return told == before + 1; }));
    client.close();
    REQUIRE(fixture.pump([&] { return fixture.server->connections() == 0; }));
    CHECK(told == before + 1);
  }
}

TEST_CASE("a stream for a client that has gone already is gone") {
  Fixture fixture;
  fixture.start([&](HttpRequest, Responder responder) {
    responder.on_gone([&] { ++fixture.gone; });
    fixture.held.push_back(std::move(responder));
  });
  Client& client = fixture.connect();
  client.send(k_get);
  REQUIRE(fixture.pump([&] { return fixture.held.size() == 1; }));
  client.close();
  REQUIRE(fixture.pump([&] { return fixture.gone == 1; }));
  HttpStream stream = fixture.held[0].stream({});
  CHECK_FALSE(stream.writable());
  CHECK_FALSE(stream.write("x"));
  stream.on_gone([&] { ++fixture.gone; });
  CHECK(fixture.gone == 2);
}

TEST_CASE("a stream whose head would break the protocol is not begun") {
  Fixture fixture;
  std::size_t gone = 0;
  fixture.start([&](HttpRequest, Responder responder) {
    StreamHead head;
    head.content_type = "text/plain\r\nX-Evil: 1";
    HttpStream stream = responder.stream(std::move(head));
    CHECK_FALSE(stream.write("x"));
    stream.on_gone([&] { ++gone; });
  });
  Client& client = fixture.connect();
  CHECK(fixture.ask(client, k_get)->status == 500);
  CHECK(gone == 1);
  CHECK(fixture.log.lines.size() == 1);
  CHECK(fixture.ask(client, k_get)->status == 500);
}

// Each request is answered with a body of ten bytes, in pieces that the test writes.
class Lengths : public Fixture {
 public:
  void start_streams() {
    start([this](HttpRequest, Responder responder) {
      StreamHead head;
      head.length = 10;
      streams.push_back(std::make_unique<HttpStream>(responder.stream(std::move(head))));
    });
  }
  // The head has come.
  Client& open(const std::string& version = "1.1") {
    Client& client = connect();
    client.send("GET / HTTP/" + version + "\r\nHost: a\r\n\r\n");
    const std::size_t before = streams.size();
    std::optional<Answer> head;
    REQUIRE(pump([&] { return streams.size() == before + 1 && (head = client.take_head()).has_value(); }));
    CHECK(head->header("Content-Length") == "10");
    CHECK(head->headers.count("Transfer-Encoding") == 0);
    return client;
  }
  void write(Client& client, const std::string& bytes) {
    const std::string before = client.received();
    REQUIRE(pump([&] { return streams.back()->writable(); }));
    REQUIRE(streams.back()->write(bytes));
    REQUIRE(pump([&] { return client.received() == before + bytes; }));
  }
  std::vector<std::unique_ptr<HttpStream>> streams;
};

TEST_CASE("a body of a length that is told comes without chunks, and the connection goes on behind it") {
  Lengths fixture;
  fixture.start_streams();
  Client& client = fixture.open();
  fixture.write(client, "01234");
  fixture.write(client, "56789");
  fixture.streams.back()->end();
  client.send(k_get);
  REQUIRE(fixture.pump([&] { return fixture.streams.size() == 2; }));
  CHECK_FALSE(client.ended());
}

TEST_CASE("a body of a length that is told comes to a client of HTTP/1.0 as well") {
  Lengths fixture;
  fixture.start_streams();
  Client& client = fixture.open("1.0");
  fixture.write(client, "0123456789");
  fixture.streams.back()->end();
  REQUIRE(fixture.pump([&] { return client.ended(); }));
  CHECK(client.received() == "0123456789");
}

TEST_CASE("a body that is shorter than was told ends the connection, so that its client can tell") {
  Lengths fixture;
  fixture.start_streams();
  SECTION("ended") {
    Client& client = fixture.open();
    fixture.write(client, "01234");
    client.send(k_get);
    fixture.streams.back()->end();
    REQUIRE(fixture.pump([&] { return client.ended(); }));
    CHECK(client.received() == "01234");
  }
  SECTION("dropped") {
    Client& client = fixture.open();
    fixture.write(client, "01234");
    fixture.streams.clear();
    REQUIRE(fixture.pump([&] { return client.ended(); }));
    CHECK(client.received() == "01234");
  }
  SECTION("drained, with more asked for behind it") {
    Client& client = fixture.open();
    fixture.write(client, "01234");
    client.send(k_get);
    bool drained = false;
    fixture.server->drain([&] { drained = true; });
    REQUIRE(fixture.pump([&] { return drained && client.ended(); }));
    CHECK(client.received() == "01234");
  }
}

TEST_CASE("drain ends streams well, whatever their owners do: at once, or behind what is unsent") {
  Streams fixture;
  fixture.start_streams();
  Client& resting = fixture.open();
  Client& pipelined = fixture.open();
  Client& half_closed = fixture.open();
  Client& unsent = fixture.open();
  Client& stalled = fixture.open();
  for (Client* client : {&resting, &pipelined, &half_closed, &unsent, &stalled})
    (void)client->take_head();
  pipelined.send(k_get);
  half_closed.half_close();
  unsent.stop_reading();
  stalled.stop_reading();
  REQUIRE(fixture.streams[3]->write(k_large));
  REQUIRE(fixture.streams[4]->write(k_large));
  int turns = 0;
  REQUIRE(fixture.pump([&] { return ++turns > 20; }));

  bool drained = false;
  fixture.server->drain([&] { drained = true; });
  CHECK(fixture.gone == 3);
  CHECK_FALSE(fixture.streams[0]->write("late"));
  for (Client* client : {&resting, &pipelined, &half_closed})
    CHECK(fixture.chunk(*client).empty());
  CHECK(fixture.answer(pipelined)->header("Connection") == "close");
  REQUIRE(fixture.pump([&] { return resting.ended() && pipelined.ended() && half_closed.ended(); }));
  CHECK(fixture.gone == 3);
  unsent.read_again();
  CHECK(fixture.chunk(unsent) == k_large);
  CHECK(fixture.chunk(unsent).empty());
  CHECK(fixture.gone == 4);
  CHECK(fixture.writable == 0);
  CHECK_FALSE(drained);
  stalled.close();
  REQUIRE(fixture.pump([&] { return drained; }));
  CHECK(fixture.gone == 5);
}

TEST_CASE("a client that takes nothing does not hold up a drain for longer than it may stall") {
  Streams fixture;
  fixture.limits.write_stall = milliseconds(40);
  fixture.start_streams();
  Client& stalled = fixture.open();
  stalled.stop_reading();
  REQUIRE(fixture.streams[0]->write(k_large));
  bool drained = false;
  fixture.server->drain([&] { drained = true; });
  REQUIRE(fixture.pump([&] { return drained; }));
  CHECK(fixture.gone == 1);
}

TEST_CASE("a stream that begins while the server drains ends at once") {
  Streams fixture;
  fixture.start_streams();
  Client& client = fixture.connect();
  client.send(k_get);
  client.exchange();
  REQUIRE(fixture.answer(client));
  client.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
  client.exchange();  // into the kernel; the loop has not run
  bool drained = false;
  fixture.server->drain([&] { drained = true; });
  REQUIRE(fixture.pump([&] { return drained && client.ended(); }));
  CHECK(client.take_head()->status == 200);
  CHECK(client.take_chunk() == "");
  CHECK(fixture.gone == 1);
}

TEST_CASE("close ends streams in the middle; they may outlive the server") {
  Streams fixture;
  fixture.start_streams();
  Client& client = fixture.open();
  Client& clogged = fixture.open();
  clogged.stop_reading();
  REQUIRE(fixture.streams[1]->write(k_large));
  fixture.server->close([&] { fixture.server.reset(); });
  CHECK(fixture.gone == 2);
  REQUIRE(fixture.pump([&] { return fixture.server == nullptr && client.ended(); }));
  CHECK_FALSE(fixture.streams[0]->write("nobody"));
  fixture.streams[0]->end();
  (void)client.take_head();
  CHECK(client.received().empty());
}

}  // namespace
}  // namespace mailotp::daemon
