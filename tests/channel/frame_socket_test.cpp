#include "mail/channel/frame_socket.h"

#include <array>
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <sys/socket.h>
#include <unistd.h>

#include "mail/channel/codec.h"
#include "tests/channel/samples.h"

using namespace mailotp;
using channel::FrameSocket;

namespace {

struct Pair {
  std::unique_ptr<FrameSocket> one;
  std::unique_ptr<FrameSocket> two;
  Pair() {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    one = std::make_unique<FrameSocket>(ends[0], channel::k_max_frame);
    two = std::make_unique<FrameSocket>(ends[1], channel::k_max_frame);
  }
};

core::Secret job_of(std::size_t size) {
  return std::move(*channel::encode(core::Order(samples::job(samples::key(), std::string(size, 'x')))));
}

std::size_t take(FrameSocket& socket) {
  std::size_t frames = 0;
  while (true) {
    auto frame = socket.next();
    REQUIRE(frame);
    if (!*frame) return frames;
    REQUIRE(channel::decode_order(**frame));
    ++frames;
  }
}

}  // namespace

TEST_CASE("many frames leave in few writes and arrive in order, also when the socket is full in between") {
  Pair pair;
  constexpr std::size_t k_frames = 1000;
  for (std::size_t i = 0; i < k_frames; ++i)
    pair.one->send(job_of(i));
  std::size_t arrived = 0;
  bool was_full = false;
  while (arrived < k_frames) {
    pair.one->flush();
    was_full = was_full || pair.one->waiting() > 0;
    REQUIRE(pair.two->receive() == FrameSocket::Received::some);
    arrived += take(*pair.two);
  }
  CHECK(was_full);
  CHECK(arrived == k_frames);
  CHECK(pair.one->waiting() == 0);
  CHECK(pair.two->receive() == FrameSocket::Received::nothing_yet);
}

TEST_CASE("nothing is written before a flush") {
  Pair pair;
  pair.one->send(job_of(10));
  CHECK(pair.one->waiting() > 0);
  CHECK(pair.two->receive() == FrameSocket::Received::nothing_yet);
  pair.one->flush_all();
  CHECK(pair.one->waiting() == 0);
  CHECK(pair.two->receive() == FrameSocket::Received::some);
}

TEST_CASE("what the far side said before it died is read, though writing to it fails") {
  Pair pair;
  pair.two->send(job_of(10));
  pair.two->flush();
  pair.one->send(job_of(20));
  pair.one->flush();  // stays unread over there: the kernel then reports an error in place of an end
  pair.two.reset();
  pair.one->send(job_of(30));
  pair.one->flush_all();
  CHECK(pair.one->waiting() == 0);
  REQUIRE(pair.one->receive() == FrameSocket::Received::some);
  CHECK(take(*pair.one) == 1);
  CHECK(pair.one->receive() == FrameSocket::Received::end);
}
