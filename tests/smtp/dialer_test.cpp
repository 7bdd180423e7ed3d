#include "mail/smtp/dialer.h"

#include <array>
#include <cstring>
#include <memory>

#include <catch2/catch.hpp>
#include <netinet/tcp.h>
#include <unistd.h>

using namespace mailotp;
using mail::Dialer;
using mail::Endpoint;

namespace {

Endpoint loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  Endpoint endpoint;
  std::memcpy(&endpoint.address, &address, sizeof address);
  endpoint.length = sizeof address;
  return endpoint;
}

// A socket on a port that the kernel chose; listening or not.
class Port {
 public:
  explicit Port(int backlog) : descriptor_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    Endpoint any = loopback(0);
    REQUIRE(::bind(descriptor_, any.get(), any.length) == 0);
    if (backlog >= 0) REQUIRE(::listen(descriptor_, backlog) == 0);
    REQUIRE(::getsockname(descriptor_, reinterpret_cast<sockaddr*>(&any.address), &any.length) == 0);
    endpoint_ = any;
  }
  ~Port() { ::close(descriptor_); }
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;
  [[nodiscard]] const Endpoint& endpoint() const { return endpoint_; }

 private:
  int descriptor_;
  Endpoint endpoint_;
};

// Listens, but its backlog is full: what comes is neither accepted nor refused.
class BlackHole {
 public:
  BlackHole() : port_(0) {
    for (int& filler : fillers_) {
      filler = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      (void)::connect(filler, port_.endpoint().get(), port_.endpoint().length);
    }
  }
  ~BlackHole() {
    for (const int filler : fillers_)
      ::close(filler);
  }
  BlackHole(const BlackHole&) = delete;
  BlackHole& operator=(const BlackHole&) = delete;
  [[nodiscard]] const Endpoint& endpoint() const { return port_.endpoint(); }

 private:
  Port port_;
  std::array<int, 8> fillers_{};
};

struct Outcome {
  int descriptor = -1;
  std::string peer;
  std::string fault;
  ~Outcome() {
    if (descriptor >= 0) ::close(descriptor);
  }
};

std::unique_ptr<Outcome> dial(std::vector<Endpoint> endpoints) {
  auto outcome = std::make_unique<Outcome>();
  uv_loop_t loop;
  REQUIRE(uv_loop_init(&loop) == 0);
  std::optional<Dialer> dialer;
  dialer.emplace(
      &loop, core::Millis{20},
      [&](int descriptor, const Endpoint& peer) {
        outcome->descriptor = descriptor;
        outcome->peer = mail::to_string(peer);
        dialer.reset();
      },
      [&](const mail::DialFault& fault) {
        outcome->fault = fault.reason;
        dialer.reset();
      });
  dialer->dial(std::move(endpoints));
  CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
  CHECK(uv_loop_close(&loop) == 0);
  return outcome;
}

int option(int descriptor, int level, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  REQUIRE(getsockopt(descriptor, level, name, &value, &length) == 0);
  return value;
}

}  // namespace

TEST_CASE("4 KB messages without Nagle: a connection has TCP_NODELAY, and keep-alive") {
  const Port port(4);
  const auto outcome = dial({port.endpoint()});
  REQUIRE(outcome->descriptor >= 0);
  CHECK(option(outcome->descriptor, IPPROTO_TCP, TCP_NODELAY) == 1);
  CHECK(option(outcome->descriptor, SOL_SOCKET, SO_KEEPALIVE) == 1);
}

TEST_CASE("row 5: a refused address is followed by the next at once, a silent one after the stagger") {
  const Port refused(-1);
  const BlackHole silent;
  const Port answers(4);
  CHECK(dial({refused.endpoint(), answers.endpoint()})->peer == mail::to_string(answers.endpoint()));
  CHECK(dial({silent.endpoint(), answers.endpoint()})->peer == mail::to_string(answers.endpoint()));
  CHECK(dial({silent.endpoint(), refused.endpoint(), answers.endpoint()})->peer ==
        mail::to_string(answers.endpoint()));
}

TEST_CASE("when no address answers every one is named") {
  const Port one(-1);
  const Port two(-1);
  const auto outcome = dial({one.endpoint(), two.endpoint()});
  CHECK(outcome->descriptor == -1);
  CHECK(outcome->fault == mail::to_string(one.endpoint()) + ": connection refused; " +
                              mail::to_string(two.endpoint()) + ": connection refused");
}
