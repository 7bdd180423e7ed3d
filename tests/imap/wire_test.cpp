#include "mail/imap/wire.h"

#include <array>
#include <string>
#include <string_view>
#include <thread>

#include <catch2/catch.hpp>
#include <sys/socket.h>
#include <unistd.h>

using namespace mailotp;
using mail::StopSignal;
using mail::Wire;

namespace {

constexpr core::Millis k_long{60'000};
constexpr core::Millis k_short{20};

// A wire, and the server's end of it.
struct Pair {
  Pair() {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) == 0);
    far = ends[1];
    wire.emplace(ends[0], stop);
  }
  ~Pair() { hang_up(); }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;
  void say(std::string_view text) const {
    REQUIRE(::send(far, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  }
  void hang_up() {
    if (far >= 0) (void)::close(far);
    far = -1;
  }
  core::Result<std::string> read() {
    std::array<char, 100> bytes;
    auto size = wire->read(bytes);
    if (!size) return tl::unexpected(size.error());
    return std::string(bytes.data(), *size);
  }

  StopSignal stop;
  int far = -1;
  std::optional<Wire> wire;
};

}  // namespace

TEST_CASE("a wire reads what is there and writes what it is given") {
  Pair pair;
  pair.wire->begin(k_long, 1000);
  pair.say("hello");
  CHECK(pair.read() == "hello");
  REQUIRE(pair.wire->write("there"));
  std::array<char, 10> bytes{};
  CHECK(::recv(pair.far, bytes.data(), bytes.size(), 0) == 5);
  CHECK(pair.wire->fault() == nullptr);
}

TEST_CASE("a step ends at its deadline, whether the server is silent or drips") {
  Pair silent;
  silent.wire->begin(k_short, 1000);
  CHECK(silent.read().error().code == core::Errc::timed_out);
  Pair drips;
  drips.wire->begin(k_short, 1 << 30);
  while (drips.wire->fault() == nullptr) {
    drips.say("x");
    (void)drips.read();
  }
  CHECK(drips.wire->fault()->code == core::Errc::timed_out);
}

TEST_CASE("a step reads no more than its budget, the next one has its own") {
  Pair pair;
  pair.wire->begin(k_long, 6);
  pair.say("12345678");
  CHECK(pair.read() == "123456");
  pair.wire->begin(k_long, 6);
  CHECK(pair.read() == "78");
  pair.say("abcdefg");
  CHECK(pair.read() == "abcd");
  CHECK(pair.read().error().code == core::Errc::full);
  pair.wire->begin(k_long, 6);
  CHECK(pair.read().error().code == core::Errc::full);  // for good
  CHECK(pair.wire->write("x").error().code == core::Errc::full);
}

TEST_CASE("the end of the connection is said again and again, and never spins") {
  Pair pair;
  pair.wire->begin(k_long, 1000);
  pair.say("last");
  pair.hang_up();
  CHECK(pair.read() == "last");
  CHECK(pair.read().error().code == core::Errc::unavailable);
  CHECK(pair.read().error().code == core::Errc::unavailable);
  CHECK(pair.wire->wait(-1) == Wire::Woken::readable);
}

TEST_CASE("a wire that was shut moves no byte") {
  Pair pair;
  pair.wire->begin(k_long, 1000);
  pair.say("x");
  pair.wire->shut({core::Errc::malformed, "enough"});
  CHECK(pair.read().error().what == "enough");
  CHECK(pair.wire->write("x").error().code == core::Errc::malformed);
}

TEST_CASE("a wait ends by bytes, by the other descriptor, by time, and by the stop signal") {
  Pair pair;
  Pair other;
  pair.wire->begin(k_short, 1000);
  CHECK(pair.wire->wait(-1) == Wire::Woken::time);
  pair.wire->begin(k_long, 1000);
  other.stop.raise(core::Millis{0});
  CHECK(pair.wire->wait(other.stop.descriptor()) == Wire::Woken::other);
  pair.say("x");
  CHECK(pair.wire->wait(other.stop.descriptor()) == Wire::Woken::readable);
  CHECK(pair.read() == "x");
  pair.stop.raise(k_long);  // before the wait: it must not be missed
  CHECK(pair.wire->wait(-1) == Wire::Woken::other);
}

TEST_CASE("the stop signal shortens a step that waits already") {
  Pair pair;
  pair.wire->begin(k_long * 100, 1000);
  std::thread stopper([&] { pair.stop.raise(k_short); });
  CHECK(pair.read().error().code == core::Errc::timed_out);
  stopper.join();
  // A second one never makes it longer.
  pair.stop.raise(k_long * 100);
  CHECK(*pair.stop.until() < mail::since_boot() + k_long);
}
