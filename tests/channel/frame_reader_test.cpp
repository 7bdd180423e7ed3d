#include "mail/channel/frame_reader.h"

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

#include "mail/channel/codec.h"
#include "tests/channel/samples.h"

using namespace mailotp;

namespace {

std::string stream_of_facts() {
  std::string stream;
  for (const core::Fact& fact : samples::facts()) {
    stream += channel::encode(fact);
    stream += channel::encode_beat();
  }
  return stream;
}

void take(channel::FrameReader& reader, std::vector<std::string>& frames) {
  while (true) {
    const auto frame = reader.next();
    REQUIRE(frame);
    if (!*frame) return;
    frames.emplace_back(**frame);
  }
}

std::vector<std::string> read_in_two(std::string_view stream, std::size_t split) {
  channel::FrameReader reader(channel::k_max_fact);
  std::vector<std::string> frames;
  reader.feed(stream.substr(0, split));
  take(reader, frames);
  reader.feed(stream.substr(split));
  take(reader, frames);
  return frames;
}

}  // namespace

TEST_CASE("frames are the same wherever the stream is split") {
  const std::string stream = stream_of_facts();
  const std::vector<std::string> whole = read_in_two(stream, stream.size());
  REQUIRE(whole.size() == 2 * samples::facts().size());
  for (std::size_t i = 0; i < whole.size(); i += 2) {
    CHECK(channel::decode_fact(whole[i]));
    CHECK(whole[i + 1].empty());
  }
  for (std::size_t split = 0; split < stream.size(); ++split)
    if (read_in_two(stream, split) != whole) FAIL("split at " << split);
}

TEST_CASE("frames come out of a stream that comes byte by byte") {
  const std::string stream = stream_of_facts();
  channel::FrameReader reader(channel::k_max_fact);
  std::vector<std::string> frames;
  for (const char byte : stream) {
    reader.feed({&byte, 1});
    take(reader, frames);
  }
  CHECK(frames == read_in_two(stream, stream.size()));
}

TEST_CASE("large frames, read in place, arrive whole") {
  std::string stream;
  for (std::size_t size : {1UL, 65'535UL, 65'536UL, 1UL << 20, 3UL, 4'000'000UL})
    stream += channel::encode(core::Order(samples::job(samples::key(), std::string(size, 'x'))))->reveal();
  channel::FrameReader reader(channel::k_max_frame);
  std::vector<std::size_t> sizes;
  std::string_view rest = stream;
  while (!rest.empty()) {
    const std::span<char> room = reader.room();
    const std::size_t size = std::min(room.size(), rest.size());
    std::memcpy(room.data(), rest.data(), size);
    reader.filled(size);
    rest.remove_prefix(size);
    std::vector<std::string> frames;
    take(reader, frames);
    for (const std::string& frame : frames) {
      auto order = channel::decode_order(frame);
      REQUIRE(order);
      sizes.push_back(std::get<core::Job>(*order).content.size());
    }
  }
  CHECK(sizes == std::vector<std::size_t>{1, 65'535, 65'536, 1 << 20, 3, 4'000'000});
}

TEST_CASE("a frame above the bound ends the reading, before its bytes are there") {
  channel::FrameReader reader(100);
  reader.feed(std::string("\0\0\0\x64", 4) + std::string(100, 'a') + std::string("\0\0\0\x65", 4));
  const auto first = reader.next();
  REQUIRE((first && *first));
  CHECK((*first)->size() == 100);
  const auto second = reader.next();
  REQUIRE_FALSE(second);
  CHECK(second.error().code == core::Errc::malformed);
  reader.feed(std::string(200, 'a'));
  CHECK_FALSE(reader.next());
}

TEST_CASE("what was read is wiped") {
  constexpr std::string_view k_secret = "the code is 123456";
  channel::FrameReader reader(channel::k_max_frame);
  std::string frame(
      channel::encode(core::Order(samples::job(samples::key(), std::string(k_secret))))->reveal());
  reader.feed(frame + frame.substr(0, 5));
  REQUIRE(*reader.next());
  REQUIRE_FALSE(*reader.next());
  reader.feed(frame.substr(5));
  REQUIRE(*reader.next());
  const std::span<char> room = reader.room();  // the whole of the buffer, now that nothing is in it
  CHECK(std::string_view(room.data(), room.size()).find(k_secret) == std::string_view::npos);
}
