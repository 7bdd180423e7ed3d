#include "daemon/app/kernel_random.h"

#include <algorithm>
#include <array>
#include <set>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>
#include <sys/wait.h>
#include <unistd.h>

using mailotp::daemon::KernelRandom;

namespace {

using Block = std::array<std::uint8_t, 16>;

Block draw(KernelRandom& random) {
  Block block{};
  random.fill(block);
  return block;
}

}  // namespace

TEST_CASE("no bytes are handed out twice, however many are asked for at a time") {
  KernelRandom random;
  std::set<Block> seen;
  std::vector<std::uint8_t> bytes(10'000);
  for (std::size_t size = 16; size < bytes.size(); size += 97) {
    random.fill(std::span(bytes).first(size));
    Block last{};
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(size - last.size()), last.size(), last.begin());
    CHECK(seen.insert(last).second);
    CHECK(seen.insert(draw(random)).second);
  }
  for (int i = 0; i < 2000; ++i)
    CHECK(seen.insert(draw(random)).second);
  random.fill({});
}

TEST_CASE("every byte of what is asked for is filled") {
  KernelRandom random;
  std::array<bool, 31> filled{};
  for (int i = 0; i < 64; ++i) {
    std::array<std::uint8_t, 31> bytes{};
    random.fill(bytes);
    for (std::size_t k = 0; k < bytes.size(); ++k)
      filled[k] = filled[k] || bytes[k] != 0;
  }
  CHECK(std::count(filled.begin(), filled.end(), true) == 31);
}

TEST_CASE("two threads and a forked child draw other bytes") {
  KernelRandom random;
  std::set<Block> seen{draw(random)};  // from here on there is a pool
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const Block block = draw(random);
    ::_exit(::write(ends[1], block.data(), block.size()) == 16 ? 0 : 1);
  }
  Block of_child{};
  CHECK(::read(ends[0], of_child.data(), of_child.size()) == 16);
  CHECK(::waitpid(child, nullptr, 0) == child);
  (void)::close(ends[0]);
  (void)::close(ends[1]);
  Block of_thread{};
  std::thread([&] { of_thread = draw(random); }).join();
  CHECK(seen.insert(of_child).second);
  CHECK(seen.insert(of_thread).second);
  CHECK(seen.insert(draw(random)).second);
}
