#include "mail/smtp/fiber.h"

#include <cerrno>
#include <cstring>
#include <optional>
#include <string>

#include <catch2/catch.hpp>

using mailotp::mail::Fiber;

TEST_CASE("a fiber and its caller take turns, each with its own errno") {
  std::string log;
  std::optional<Fiber> fiber;
  fiber.emplace([&] {
    for (int i = 0; i < 3; ++i) {
      log += 'f';
      errno = ERANGE;
      fiber->pause();
      CHECK(errno == ERANGE);
    }
  });
  CHECK(log.empty());
  while (!fiber->over()) {
    errno = EDOM;
    fiber->resume();
    CHECK(errno == EDOM);
    log += 'c';
  }
  CHECK(log == "fcfcfcc");
}

TEST_CASE("fibers inside fibers, and many at once") {
  std::string log;
  std::optional<Fiber> outer;
  std::optional<Fiber> inner;
  inner.emplace([&] {
    log += '2';
    inner->pause();
    log += '4';
  });
  outer.emplace([&] {
    log += '1';
    inner->resume();
    log += '3';
    outer->pause();
    inner->resume();
  });
  outer->resume();
  outer->resume();
  CHECK(log == "1234");
  CHECK((outer->over() && inner->over()));
}

TEST_CASE("a fiber has a stack that is good for a library's buffers") {
  int sum = 0;
  Fiber fiber([&] {
    char bytes[64 * 1024];
    std::memset(bytes, 1, sizeof bytes);
    for (const char byte : bytes)
      sum += byte;
  });
  fiber.resume();
  CHECK(sum == 64 * 1024);
}

TEST_CASE("a fiber that never ran goes") {
  const Fiber fiber([] {});
  CHECK_FALSE(fiber.over());
}
