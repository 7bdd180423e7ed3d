#include "daemon/http/server.h"

#include <array>
#include <numeric>
#include <string>
#include <utility>

#include <catch2/catch.hpp>
#include <grp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/http/listener.h"
#include "daemon/http/peer.h"
#include "tests/http/fixture.h"
#include "tests/http/malformed.h"

namespace mailotp::daemon {
namespace {

using test::Answer;
using test::Client;
using test::Fixture;

std::string get(const std::string& path) {
  return "GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n";
}

std::string post(const std::string& path, const std::string& body) {
  return "POST " + path + " HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

std::vector<gid_t> own_groups() {
  std::vector<gid_t> groups(static_cast<std::size_t>(::getgroups(0, nullptr)));
  groups.resize(static_cast<std::size_t>(::getgroups(static_cast<int>(groups.size()), groups.data())));
  return groups;
}

TEST_CASE("an answer carries what every answer must carry") {
  Fixture fixture;
  fixture.start();
  Client& client = fixture.connect();
  for (int round = 1; round <= 3; ++round) {
    const auto answer = fixture.ask(client, post("/v1/x?y=z", "body"));
    REQUIRE(answer);
    CHECK(answer->status == 200);
    CHECK(answer->body == "POST /v1/x?y=z body");
    CHECK(answer->header("X-Request-Id") == "request-" + std::to_string(round));
    CHECK(answer->header("Cache-Control") == "no-store");
    CHECK(answer->header("Content-Type") == "text/plain");
    CHECK(answer->header("Connection").empty());
  }
  CHECK(fixture.server->connections() == 1);
}

TEST_CASE("a request split at every byte is answered") {
  Fixture fixture;
  fixture.start();
  Client& client = fixture.connect();
  const std::string bytes =
      "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
  for (std::size_t split = 1; split < bytes.size(); ++split) {
    client.send(bytes.substr(0, split));
    REQUIRE(fixture.pump([&] { return client.unsent() == 0; }));
    const auto answer = fixture.ask(client, bytes.substr(split));
    REQUIRE(answer);
    REQUIRE(answer->body == "POST /p abc");
  }
  for (const char byte : bytes) {
    client.send({&byte, 1});
    REQUIRE(fixture.pump([&] { return client.unsent() == 0; }));
  }
  const auto answer = fixture.answer(client);
  REQUIRE(answer);
  CHECK(answer->body == "POST /p abc");
}

TEST_CASE("pipelined requests are answered in order") {
  for (const int count : {3, 100}) {
    Fixture fixture;
    fixture.start();
    Client& client = fixture.connect();
    for (int i = 0; i < count; ++i) {
      client.send(post("/" + std::to_string(i), std::string(static_cast<std::size_t>(i) * 17, 'x')));
    }
    for (int i = 0; i < count; ++i) {
      const auto answer = fixture.answer(client);
      REQUIRE(answer);
      REQUIRE(answer->body.starts_with("POST /" + std::to_string(i) + " "));
    }
  }
}

TEST_CASE("one request of a connection is handled at a time, connections do not wait for each other") {
  Fixture fixture;
  fixture.start(fixture.hold());
  Client& first = fixture.connect();
  Client& second = fixture.connect();
  first.send(get("/1") + get("/2") + get("/3"));
  second.send(get("/4"));
  REQUIRE(fixture.pump([&] { return fixture.held.size() == 2; }));
  for (std::size_t i = 0; i < 4; ++i) {
    REQUIRE(fixture.pump([&] { return fixture.held.size() > i; }));
    fixture.held[i].respond(test::text_answer("late"));
  }
  for (Client* client : {&first, &first, &first, &second}) {
    REQUIRE(fixture.answer(*client));
  }
  CHECK(fixture.held.size() == 4);
  CHECK(fixture.gone == 0);
}

TEST_CASE("malformed requests get their problem, and the connection ends") {
  Fixture fixture;
  fixture.start([](HttpRequest, Responder) { FAIL("a malformed request reached the handler"); });
  for (const test::Malformed& request : test::malformed_requests()) {
    INFO(request.name);
    Client& client = fixture.connect();
    client.send(request.bytes);
    client.half_close();
    const bool head = request.name == "HEAD";
    const auto answer = fixture.answer(client, head);
    REQUIRE(answer);
    CHECK(answer->status == request.status);
    CHECK(answer->header("Content-Type") == "application/problem+json");
    CHECK(answer->header("Connection") == "close");
    CHECK(answer->header("X-Request-Id").starts_with("request-"));
    CHECK(answer->header("Allow") == (request.status == 405 ? "GET, POST, PUT, DELETE" : ""));
    if (!head) CHECK(answer->body.find("\"code\":\"" + request.code + "\"") != std::string::npos);
    REQUIRE(fixture.pump([&] { return client.ended(); }));
    CHECK(client.received().empty());
    client.close();
  }
  CHECK(fixture.pump([&] { return fixture.server->connections() == 0; }));
}

TEST_CASE("a client that sends a large body to the end still reads the refusal") {
  Fixture fixture;
  fixture.start();
  for (const std::string head :
       {"Content-Length: 2000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n1e8480\r\n"}) {
    Client& client = fixture.connect();
    client.stop_reading();
    client.send("POST /x HTTP/1.1\r\nHost: a\r\n" + head + std::string(2000000, 'x'));
    REQUIRE(fixture.pump([&] { return client.unsent() == 0; }));
    client.read_again();
    const auto answer = fixture.answer(client);
    REQUIRE(answer);
    CHECK(answer->status == 413);
    client.close();
  }
  CHECK(fixture.pump([&] { return fixture.server->connections() == 0; }));
}

TEST_CASE("what was asked before a malformed request is answered first") {
  Fixture fixture;
  fixture.start();
  Client& client = fixture.connect();
  client.send(get("/good") + "bad\n" + get("/never"));
  CHECK(fixture.answer(client)->body == "GET /good ");
  CHECK(fixture.answer(client)->status == 400);
  REQUIRE(fixture.pump([&] { return client.ended(); }));
  CHECK(client.received().empty());
}

TEST_CASE("100 Continue is sent to who waits for it, and not before a refusal") {
  Fixture fixture;
  fixture.start();
  Client& client = fixture.connect();
  const std::string head = "POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: ";
  REQUIRE(fixture.ask(client, head + "2\r\n\r\n")->status == 100);
  CHECK(fixture.ask(client, "ab")->body == "POST /x ab");
  CHECK(fixture.ask(client, head + "2\r\n\r\nab")->body == "POST /x ab");
  CHECK(fixture.ask(client, head + "65537\r\n\r\n")->status == 413);
}

TEST_CASE("the client decides whether the connection stays") {
  Fixture fixture;
  fixture.start();
  const std::vector<std::pair<std::string, bool>> cases{
      {"GET / HTTP/1.0\r\n\r\n", false},
      {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false},
      {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false},
      {"GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, Close\r\n\r\n", false},
      {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", true},
  };
  for (const auto& [bytes, stays] : cases) {
    INFO(bytes);
    Client& client = fixture.connect();
    const auto answer = fixture.ask(client, bytes);
    REQUIRE(answer);
    CHECK(answer->status == 200);
    CHECK(answer->header("Connection") == (stays ? "" : "close"));
    if (stays) {
      CHECK(fixture.ask(client, get("/again"))->status == 200);
    } else {
      CHECK(fixture.pump([&] { return client.ended(); }));
    }
  }
}

TEST_CASE("the handler sees who calls, and the headers in lower case") {
  Fixture fixture;
  fixture.start([](HttpRequest request, Responder responder) {
    CHECK(request.peer.uid == ::getuid());
    CHECK(request.peer.gid == ::getgid());
    CHECK(request.peer.pid == ::getpid());
    CHECK(request.peer.groups == own_groups());
    CHECK(request.via.empty());
    CHECK(request.header("idempotency-key") == "One");
    CHECK(request.header("absent").empty());
    responder.respond(test::text_answer(request.request_id));
  });
  Client& client = fixture.connect();
  const auto answer = fixture.ask(client, "GET / HTTP/1.1\r\nHost: a\r\nIDEMPOTENCY-Key: One\r\n\r\n");
  REQUIRE(answer);
  CHECK(answer->body == answer->header("X-Request-Id"));
}

TEST_CASE("a peer of many groups is known with all of them") {
  if (::getuid() != 0) {
    WARN("not tested: only root may set its groups");
    return;
  }
  for (const int count : {0, 1, 32, 33, 1000}) {
    std::array<int, 2> ends{};
    std::vector<gid_t> groups(static_cast<std::size_t>(count));
    std::iota(groups.begin(), groups.end(), gid_t{5000});
    const std::vector<gid_t> before = own_groups();
    REQUIRE(::setgroups(groups.size(), groups.data()) == 0);
    const int made = ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data());
    REQUIRE(::setgroups(before.size(), before.data()) == 0);
    REQUIRE(made == 0);
    CHECK(credentials_of(ends[0]).groups == groups);
    (void)::close(ends[0]);
    (void)::close(ends[1]);
  }
}

TEST_CASE("what is no socket has no credentials") {
  const PeerCredentials nobody = credentials_of(-1);
  CHECK(nobody.uid == static_cast<uid_t>(-1));
  CHECK(nobody.gid == static_cast<gid_t>(-1));
  CHECK(nobody.groups.empty());
}

TEST_CASE("one server has several listeners, and the handler sees by which one a request came") {
  Fixture fixture;
  fixture.start([](HttpRequest request, Responder responder) {
    responder.respond(test::text_answer("via " + request.via));
  });
  const std::string own = fixture.folder.path("shop.sock");
  REQUIRE(fixture.server->listen(own, 0600, "", "shop"));
  const auto passed = make_listening_socket(fixture.folder.path("passed.sock"), 0600, "");
  REQUIRE(passed);
  REQUIRE(fixture.server->adopt(passed->fd, "a name with spaces"));
  for (const auto& [path, via] : {std::pair{fixture.socket, std::string()},
                                  {own, std::string("shop")},
                                  {passed->file.path, std::string("a name with spaces")}}) {
    fixture.clients.push_back(std::make_unique<Client>(path));
    for (int round = 0; round < 2; ++round) {
      CHECK(fixture.ask(*fixture.clients.back(), get("/"))->body == "via " + via);
    }
  }
  CHECK(fixture.server->connections() == 3);
  fixture.server->drain();
  CHECK(::access(own.c_str(), F_OK) != 0);
}

TEST_CASE("a socket comes, is called otherwise and goes while the server runs") {
  Fixture fixture;
  fixture.start([](HttpRequest request, Responder responder) {
    responder.respond(test::text_answer("via " + request.via));
  });
  const std::string path = fixture.folder.path("shop.sock");
  auto made = make_listening_socket(path, 0600, "");
  REQUIRE(made);
  fixture.clients.push_back(std::make_unique<Client>(path));  // waits until the socket is the server's
  Client& shop = *fixture.clients.back();
  REQUIRE(fixture.server->add(std::move(*made), "shop"));
  Client& common = fixture.connect();
  CHECK(fixture.ask(common, get("/"))->body == "via ");
  CHECK(fixture.ask(shop, get("/"))->body == "via shop");
  fixture.server->rename(path, "blog");
  CHECK(fixture.pump([&shop] { return shop.ended(); }));
  fixture.clients.push_back(std::make_unique<Client>(path));
  Client& blog = *fixture.clients.back();
  CHECK(fixture.ask(blog, get("/"))->body == "via blog");
  fixture.server->close_socket(path);
  CHECK(::access(path.c_str(), F_OK) != 0);
  CHECK(fixture.pump([&blog] { return blog.ended(); }));
  CHECK(fixture.ask(common, get("/"))->body == "via ");
  fixture.server->close_socket(path);  // there is none
  fixture.server->rename(path, "x");
}

TEST_CASE("who is being answered when his socket goes gets the answer, and is sent away with it") {
  Fixture fixture;
  fixture.start(fixture.hold());
  const std::string path = fixture.folder.path("shop.sock");
  REQUIRE(fixture.server->listen(path, 0600, "", "shop"));
  fixture.clients.push_back(std::make_unique<Client>(path));
  Client& shop = *fixture.clients.back();
  Client& common = fixture.connect();
  shop.send(get("/a"));
  common.send(get("/b"));
  REQUIRE(fixture.pump([&fixture] { return fixture.held.size() == 2; }));
  fixture.server->close_socket(path);
  for (Responder& responder : fixture.held)
    responder.respond(test::text_answer("done"));
  const auto last = fixture.answer(shop);
  REQUIRE(last);
  CHECK(last->body == "done");
  CHECK(last->header("Connection") == "close");
  CHECK(fixture.pump([&shop] { return shop.ended(); }));
  const auto other = fixture.answer(common);
  REQUIRE(other);
  CHECK(other->header("Connection").empty());
}

TEST_CASE("a request that nobody answers is answered 500 and logged") {
  Fixture fixture;
  fixture.start([](HttpRequest, Responder) {});
  Client& client = fixture.connect();
  const auto answer = fixture.ask(client, get("/"));
  REQUIRE(answer);
  CHECK(answer->status == 500);
  CHECK(fixture.log.lines == std::vector<std::string>{"event=http_unanswered request_id=request-1"});
  CHECK(fixture.ask(client, get("/"))->status == 500);
}

TEST_CASE("an answer whose header would break the protocol is not sent") {
  Fixture fixture;
  fixture.start([](HttpRequest, Responder responder) {
    HttpResponse response;
    response.headers.emplace_back("Location", "/a\r\nX-Evil: 1");
    responder.respond(std::move(response));
  });
  Client& client = fixture.connect();
  const auto answer = fixture.ask(client, get("/"));
  REQUIRE(answer);
  CHECK(answer->status == 500);
  CHECK(answer->header("X-Evil").empty());
  CHECK(fixture.log.lines.size() == 1);
}

TEST_CASE("a large answer arrives whole, and the next request waits for it") {
  Fixture fixture;
  const std::string large(8 * 1024 * 1024, 'L');
  fixture.start([&](HttpRequest request, Responder responder) {
    responder.respond(test::text_answer(request.path == "/large" ? large : "small"));
  });
  Client& client = fixture.connect();
  client.send(get("/large") + get("/small") + get("/large"));
  CHECK(fixture.answer(client)->body == large);
  CHECK(fixture.answer(client)->body == "small");
  CHECK(fixture.answer(client)->body == large);
}

TEST_CASE("reading is bounded while a request is handled") {
  Fixture fixture;
  fixture.start(fixture.hold());
  Client& client = fixture.connect();
  constexpr std::size_t k_requests = 20000;
  std::string all;
  for (std::size_t i = 0; i < k_requests; ++i) {
    all += get("/" + std::to_string(i));
  }
  client.send(all);
  REQUIRE(fixture.pump([&] { return fixture.held.size() == 1; }));
  std::size_t unsent = 0;
  REQUIRE(fixture.pump([&] { return std::exchange(unsent, client.unsent()) == client.unsent(); }));
  // The rest is in the kernel's buffers (212,992 bytes by default) and in ours.
  CHECK(client.unsent() > all.size() / 2);
  std::size_t answered = 0;
  REQUIRE(fixture.pump([&] {
    while (answered < fixture.held.size()) {
      fixture.held[answered++].respond(test::text_answer(""));
    }
    while (client.take()) {
    }
    return answered == k_requests;
  }));
}

}  // namespace
}  // namespace mailotp::daemon
