#include "mail/smtp/protocol_thread.h"

#include <array>
#include <csignal>

#include <catch2/catch.hpp>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mail/smtp/connect_override.h"

using namespace mailotp::mail;

namespace {

constexpr int k_bound_ms = 30'000;

OutgoingMessage message(const std::string& id) {
  OutgoingMessage out;
  out.return_path = "a@example.test";
  out.recipient = "b@example.test";
  out.content =
      mailotp::core::Secret("Date: d\r\nFrom: f\r\nTo: t\r\nMessage-ID: <" + id + ">\r\n\r\nhi\r\n");
  return out;
}

// The far end of a session: replies, and reads until what is expected has come.
class Peer {
 public:
  Peer() { REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_.data()) == 0); }
  ~Peer() { hang_up(); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  [[nodiscard]] int give() const { return ends_[1]; }
  void say(std::string_view text) {
    REQUIRE(::send(ends_[0], text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()));
  }
  // Everything up to and with `end`; "" when the other side closes first.
  std::string hear(std::string_view end) {
    std::string heard;
    while (heard.find(end) == std::string::npos) {
      pollfd wait{ends_[0], POLLIN, 0};
      REQUIRE(::poll(&wait, 1, k_bound_ms) == 1);
      std::array<char, 4096> bytes{};
      const ssize_t count = ::recv(ends_[0], bytes.data(), bytes.size(), 0);
      if (count <= 0) return "";
      heard.append(bytes.data(), static_cast<std::size_t>(count));
    }
    return heard;
  }
  std::string transaction() {
    (void)hear("MAIL FROM:<a@example.test>\r\n");
    say("250 ok\r\n");
    (void)hear("RCPT TO:<b@example.test>\r\n");
    say("250 ok\r\n");
    (void)hear("DATA\r\n");
    say("354 go\r\n");
    const std::string body = hear("\r\n.\r\n");
    say("250 ok\r\n");
    return body;
  }
  void greet() {
    say("220 hi\r\n");
    (void)hear("EHLO client.test\r\n");
    say("250 hi\r\n");
  }
  void hang_up() {
    if (ends_[0] >= 0) ::close(ends_[0]);
    ends_[0] = -1;
  }

 private:
  std::array<int, 2> ends_{-1, -1};
};

}  // namespace

TEST_CASE("libesmtp connects through us") {
  ProtocolThread::prove();  // aborts when it does not
}

TEST_CASE("an open-ended session takes one message after another") {
  (void)std::signal(SIGPIPE, SIG_IGN);
  ProtocolThread thread("test", "client.test");
  Peer peer;  // hangs up before the thread is waited for
  thread.begin(peer.give(), message("1"));
  peer.greet();
  CHECK(peer.transaction().find("<1>") != std::string::npos);
  thread.next(message("2"));
  CHECK(peer.transaction().find("<2>") != std::string::npos);
  thread.end();
  CHECK(peer.hear("QUIT\r\n") == "QUIT\r\n");
}

TEST_CASE("a session that was hung up makes way for the next, at any moment") {
  (void)std::signal(SIGPIPE, SIG_IGN);
  ProtocolThread thread("test", "client.test");
  for (int moment = 0; moment < 4; ++moment) {
    Peer peer;
    thread.begin(peer.give(), message("1"));
    if (moment >= 1) peer.greet();
    if (moment >= 2) (void)peer.hear("MAIL FROM");
    if (moment >= 3) {
      peer.say("550 no\r\n");  // it now waits for the next message
      thread.end();
      CHECK(peer.hear("QUIT\r\n") == "QUIT\r\n");
    }
    peer.hang_up();
    thread.next(message("stale"));  // comes too late for the session it was meant for
    thread.end();
  }
  Peer peer;
  thread.begin(peer.give(), message("last"));
  peer.greet();
  CHECK(peer.transaction().find("<last>") != std::string::npos);
}

TEST_CASE("connect(2) of other threads dials") {
  CHECK_FALSE(connect_still_waits());
  const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr nowhere{AF_UNIX, "/nowhere"};
  CHECK(::connect(descriptor, &nowhere, sizeof nowhere) == -1);
  CHECK(errno == ENOENT);

  const int given = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  give_to_next_connect(given);
  CHECK(connect_still_waits());
  CHECK(::connect(descriptor, &nowhere, sizeof nowhere) == 0);
  CHECK_FALSE(connect_still_waits());
  ::close(descriptor);
}
