#include "mail/smtp/engine.h"

#include <array>
#include <cerrno>

#include <catch2/catch.hpp>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace mailotp::mail;

namespace {

OutgoingMessage message(const std::string& id, const std::string& text = "hi\r\n") {
  OutgoingMessage out;
  out.return_path = "a@example.test";
  out.recipient = "b@example.test";
  out.content =
      mailotp::core::Secret("Date: d\r\nFrom: f\r\nTo: t\r\nMessage-ID: <" + id + ">\r\n\r\n" + text);
  return out;
}

// Lets it run until it waits.
std::string run(Engine& engine) {
  std::string said;
  while (engine.can_run())
    said += engine.run();
  return said;
}

std::string answer(Engine& engine, std::string_view reply) {
  engine.hear(reply);
  return run(engine);
}

void greet(Engine& engine) {
  CHECK(answer(engine, "220 hi\r\n") == "EHLO client.test\r\n");
}

std::string transaction(Engine& engine) {
  CHECK(run(engine) == "MAIL FROM:<a@example.test>\r\n");
  CHECK(answer(engine, "250 ok\r\n") == "RCPT TO:<b@example.test>\r\n");
  CHECK(answer(engine, "250 ok\r\n") == "DATA\r\n");
  std::string body = answer(engine, "354 go\r\n");
  CHECK(answer(engine, "250 ok\r\n").empty());
  return body;
}

}  // namespace

TEST_CASE("libesmtp has no socket but ours") {
  Engine::prove();  // aborts when it does not
}

TEST_CASE("an open-ended session takes one message after another") {
  Engine engine("client.test");
  CHECK(run(engine).empty());
  engine.send(message("1"));
  CHECK(run(engine).empty());
  greet(engine);
  engine.hear("250 hi\r\n");
  CHECK(transaction(engine).find("<1>") != std::string::npos);
  engine.send(message("2"));
  CHECK(transaction(engine).find("<2>") != std::string::npos);
  CHECK_FALSE(engine.over());
  engine.end();
  CHECK(engine.over());
}

TEST_CASE("replies split at every byte, and all at once") {
  const std::string replies =
      "220 hi\r\n250-hi\r\n250 PIPELINING\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n";
  std::string expected;
  for (std::size_t split = 0; split <= replies.size(); ++split) {
    Engine engine("client.test");
    engine.send(message("1"));
    std::string said = answer(engine, std::string_view(replies).substr(0, split));
    said += answer(engine, std::string_view(replies).substr(split));
    if (split == 0) expected = said;
    CHECK(said.ends_with("\r\nhi\r\n.\r\n"));
    CHECK(said == expected);
  }
}

TEST_CASE("two sessions take turns") {
  Engine one("client.test");
  Engine other("client.test");
  one.send(message("1"));
  other.send(message("2"));
  greet(one);
  greet(other);
  one.hear("250 hi\r\n");
  other.hear("250 hi\r\n");
  CHECK(transaction(one).find("<1>") != std::string::npos);
  CHECK(transaction(other).find("<2>") != std::string::npos);
}

TEST_CASE("a large mail comes in pieces") {
  Engine engine("client.test");
  const std::string line = std::string(70, 'x') + "\r\n";
  std::string text;
  while (text.size() < 1'000'000)
    text += line;
  engine.send(message("1", text));
  engine.hear("220 hi\r\n250 hi\r\n250 ok\r\n250 ok\r\n354 go\r\n");
  std::string said;
  int pieces = 0;
  for (; engine.can_run(); ++pieces) {
    const std::string_view piece = engine.run();
    CHECK(piece.size() < 32'000);
    said += piece;
  }
  CHECK(pieces > 10);
  CHECK(said.ends_with("\r\n\r\n" + text + ".\r\n"));
  CHECK(answer(engine, "250 ok\r\n").empty());
}

TEST_CASE("a session ends at any moment") {
  const std::array replies = {"", "220 hi\r\n", "250 hi\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"};
  for (std::size_t moment = 0; moment < 2 * replies.size(); ++moment) {
    Engine engine("client.test");
    if (moment >= replies.size()) engine.send(message("1", std::string(100'000, 'x') + "\r\n"));
    for (std::size_t i = 0; i <= moment % replies.size(); ++i) {
      engine.hear(replies[i]);
      (void)engine.run();
    }
    if (moment % 2 == 0) engine.hear("2");
    engine.end();
    CHECK(engine.over());
    CHECK(run(engine).empty());
  }
  const Engine unused("client.test");
}

TEST_CASE("other descriptors are what they were, also beside a session") {
  Engine engine("client.test");
  engine.send(message("1"));
  greet(engine);

  const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr nowhere{AF_UNIX, "/nowhere"};
  CHECK(::connect(descriptor, &nowhere, sizeof nowhere) == -1);
  CHECK(errno == ENOENT);
  ::close(descriptor);

  std::array<int, 2> pipe{};
  REQUIRE(::pipe(pipe.data()) == 0);
  pollfd wait{pipe[0], POLLIN, 0};
  CHECK(::poll(&wait, 1, 0) == 0);
  CHECK(::poll(&wait, 1, 1) == 0);
  CHECK(::write(pipe[1], "x", 1) == 1);
  CHECK(::poll(&wait, 1, -1) == 1);
  char byte = 0;
  CHECK(::read(pipe[0], &byte, 1) == 1);
  CHECK(byte == 'x');
  ::close(pipe[0]);
  ::close(pipe[1]);
}
