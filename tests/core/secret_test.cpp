#include "core/secret.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include <catch2/catch.hpp>

#include "core/code.h"
#include "tests/core/random_sources.h"

namespace mailotp::core {
namespace {

static_assert(!std::is_copy_constructible_v<Secret>);
static_assert(!std::is_copy_assignable_v<Secret>);
static_assert(!std::is_convertible_v<std::string, Secret>);
static_assert(!std::is_convertible_v<Secret, std::string_view>);
static_assert(std::is_nothrow_move_constructible_v<Secret>);
static_assert(std::is_nothrow_move_assignable_v<Secret>);

const std::string k_short = "271828";  // lives inside a std::string
const std::string k_long(100, 'x');    // does not

// Looks at the bytes of the object itself, as a memory dump would.
template <class T>
bool holds(const T& object, std::string_view bytes) {
  std::array<char, sizeof(T)> image{};
  std::memcpy(image.data(), static_cast<const void*>(&object), sizeof(T));
  return std::search(image.begin(), image.end(), bytes.begin() + 1, bytes.end()) != image.end();
}

TEST_CASE("a short secret is inside its object, so the tests below can fail") {
  const Secret secret(k_short);
  CHECK(holds(secret, k_short));
}

TEST_CASE("a secret that was moved from holds nothing") {
  SECTION("by construction") {
    Secret from(k_short);
    const Secret to(std::move(from));
    CHECK(to.reveal() == k_short);
    CHECK(from.empty());  // NOLINT(bugprone-use-after-move): that is the question
    CHECK_FALSE(holds(from, k_short));
  }
  SECTION("by assignment") {
    Secret from(k_short), to(k_long);
    to = std::move(from);
    CHECK(to.reveal() == k_short);
    CHECK(from.empty());  // NOLINT(bugprone-use-after-move)
    CHECK_FALSE(holds(from, k_short));
  }
  SECTION("by assignment of a long one, which swaps buffers") {
    Secret from(k_long), to(k_short);
    to = std::move(from);
    CHECK(to.reveal() == k_long);
    CHECK(from.empty());  // NOLINT(bugprone-use-after-move)
    CHECK_FALSE(holds(from, k_short));
    CHECK_FALSE(holds(to, k_short));
  }
  SECTION("onto itself nothing is lost") {
    Secret secret(k_short);
    Secret& same = secret;
    secret = std::move(same);
    CHECK(secret.reveal() == k_short);
  }
}

TEST_CASE("the string a secret is made from holds nothing of it") {
  std::string text = k_short;
  REQUIRE(holds(text, k_short));
  const Secret secret(std::move(text));
  CHECK(secret.reveal() == k_short);
  CHECK(text.empty());  // NOLINT(bugprone-use-after-move)
  CHECK_FALSE(holds(text, k_short));
}

TEST_CASE("a secret made from a string that stays is a copy") {
  const std::string text = k_long;
  const Secret secret(text);
  CHECK(secret.reveal() == text);
}

TEST_CASE("a shorter secret leaves nothing of a longer one") {
  Secret secret(std::string("9876543210"));
  secret = Secret(std::string("12"));
  CHECK(secret.reveal() == "12");
  CHECK_FALSE(holds(secret, "43210"));
}

TEST_CASE("a secret that ended leaves nothing in its place") {
  alignas(Secret) std::array<unsigned char, sizeof(Secret)> place{};
  auto* const secret = std::construct_at(reinterpret_cast<Secret*>(place.data()), k_short);
  REQUIRE(holds(place, k_short));
  std::destroy_at(secret);
  CHECK_FALSE(holds(place, k_short));
}

TEST_CASE("a clone is equal and independent, zero bytes are kept") {
  const std::string bytes("a\0b", 3);
  Secret secret(bytes);
  const Secret clone = secret.clone();
  secret = Secret();
  CHECK(clone.reveal() == bytes);
  CHECK(clone.size() == 3);
  CHECK(secret.empty());
}

TEST_CASE("a container of secrets that grows leaves none behind") {
  alignas(Secret) std::array<std::array<unsigned char, sizeof(Secret)>, 2> places{};
  auto* const first = std::construct_at(reinterpret_cast<Secret*>(places[0].data()), k_short);
  auto* const second = std::construct_at(reinterpret_cast<Secret*>(places[1].data()), std::move(*first));
  std::destroy_at(first);
  CHECK_FALSE(holds(places[0], k_short));
  CHECK(second->reveal() == k_short);
  std::destroy_at(second);
  CHECK_FALSE(holds(places[1], k_short));
}

}  // namespace
}  // namespace mailotp::core
