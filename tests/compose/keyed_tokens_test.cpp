// What nobody without the key can make, and what is read back.
#include "mail/compose/keyed_tokens.h"

#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include "mail/compose/base32.h"
#include "tests/compose/compose_request.h"

namespace mailotp::mail::test {

namespace {

const core::Id k_id = core::parse_id("0190b5a0-7c1e-7e3a-9f00-0123456789ab").value();
const core::WallTime k_now = core::from_unix_ms(1'795'176'000'000);  // 2026-11-20, epoch 2077, its day 7.5
constexpr std::string_view k_alice = "alice@example.net";

KeyedTokens with(const std::vector<char>& fills) {
  std::vector<core::Secret> keys;
  for (const char fill : fills)
    keys.emplace_back(std::string(32, fill));
  return KeyedTokens::create(keys).value();
}

std::string upper(std::string text) {
  for (char& c : text)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return text;
}

// The address of a token, when it is one that counts.
std::optional<std::int64_t> believed(const core::BounceTokens& tokens, std::string_view token,
                                     std::string_view key, core::WallTime at = k_now) {
  const auto claim = tokens.read_recipient(token, at);
  if (!claim || !tokens.confirms(*claim, key)) return std::nullopt;
  return claim->recipient;
}

}  // namespace

// Made by another program, from the header's description and RFC 2104.
TEST_CASE("tokens: vectors") {
  CHECK(tokens().message(k_id) == "magillid4dz7dvhyaaerukz4jvnp3h7ja4pqy5iuwjy");
  const std::vector<std::pair<std::int64_t, std::string>> recipients{
      {0, "raaeb3vopsw4ore3qelmaa"},         {1, "raeeb2agw7zdrqokuwaypg"},
      {255, "r74eb2c7fjllw4rcdmbwx4"},       {256, "raeaaqhimvp4o4vmltkw7ypa"},
      {70'000, "raeixaca5nw7nmoipc4dvrjvs"}, {INT64_MAX, "rp777777777776ca5jdp6kb267hve63hb"}};
  for (const auto& [number, token] : recipients) {
    CHECK(tokens().recipient(number, k_alice, k_now) == token);
    CHECK(believed(tokens(), token, k_alice) == number);
  }
}

TEST_CASE("tokens: a message's token is read back, in any case of its letters") {
  const std::string token = tokens().message(k_id);
  CHECK(token.size() == k_message_token);
  CHECK(tokens().read_message(token) == k_id);
  CHECK(tokens().read_message(upper(token)) == k_id);
  CHECK(tokens().read_message("M" + token.substr(1)) == k_id);
}

TEST_CASE("tokens: they are short enough for a return path, the longest number too") {
  STATIC_REQUIRE(k_message_token <= core::k_max_token);
  STATIC_REQUIRE(k_recipient_token <= core::k_max_token);
  CHECK(tokens().recipient(INT64_MAX, k_alice, k_now).size() == k_recipient_token);
  CHECK(tokens().recipient(1, k_alice, core::from_unix_ms(INT64_MAX)).size() <= k_recipient_token);
}

TEST_CASE("tokens: no bit of a token can be changed but the case of a letter") {
  const std::string message = tokens().message(k_id);
  const std::string recipient = tokens().recipient(70'000, k_alice, k_now);
  const auto spelled_alike = [](char a, char b) { return upper({a}) == upper({b}); };
  for (const std::string& token : {message, recipient}) {
    for (std::size_t at = 0; at < token.size(); ++at) {
      for (int bit = 0; bit < 8; ++bit) {
        std::string other = token;
        other[at] = static_cast<char>(other[at] ^ 1 << bit);
        CAPTURE(other);
        if (spelled_alike(other[at], token[at])) continue;
        CHECK_FALSE(tokens().read_message(other));
        CHECK_FALSE(believed(tokens(), other, k_alice));
      }
    }
  }
}

TEST_CASE("tokens: what is longer, shorter or of the other sort is none") {
  const std::string message = tokens().message(k_id);
  const std::string recipient = tokens().recipient(7, k_alice, k_now);
  for (std::string token : {message, recipient}) {
    CHECK_FALSE(tokens().read_message(token + "a"));
    CHECK_FALSE(believed(tokens(), token + "a", k_alice));
    std::string swapped = token;
    swapped.front() = token.front() == 'm' ? 'r' : 'm';
    CHECK_FALSE(tokens().read_message(swapped));
    CHECK_FALSE(believed(tokens(), swapped, k_alice));
    for (; !token.empty(); token.pop_back()) {
      CHECK_FALSE((token.size() < message.size() && tokens().read_message(token)));
      CHECK_FALSE((token.size() < recipient.size() && believed(tokens(), token, k_alice)));
    }
  }
  CHECK_FALSE(tokens().read_message(""));
  CHECK_FALSE(tokens().read_recipient("", k_now));
  CHECK_FALSE(tokens().read_recipient(std::string(1'000'000, 'r'), k_now));
}

TEST_CASE("tokens: a recipient's number has one spelling") {
  std::string bytes("\x00\x01", 2);  // 1, with a zero before it
  bytes += std::string("\x08\x1d", 2) + std::string(10, 'x');
  std::string token("r");
  append_base32(token, bytes);
  CHECK_FALSE(tokens().read_recipient(token, k_now));
}

TEST_CASE("tokens: a recipient's token is the same within ten days and counts for ten more") {
  const core::Millis day = std::chrono::hours(24);
  const core::WallTime start = core::from_unix_ms(2077LL * 10 * 86'400'000);
  const std::string token = tokens().recipient(5, k_alice, start);
  CHECK(tokens().recipient(5, k_alice, start + 10 * day - core::Millis{1}) == token);
  CHECK(tokens().recipient(5, k_alice, start + 10 * day) != token);
  CHECK(believed(tokens(), token, k_alice, start) == 5);
  CHECK(believed(tokens(), token, k_alice, start + 20 * day - core::Millis{1}) == 5);
  CHECK_FALSE(believed(tokens(), token, k_alice, start + 20 * day));
  CHECK_FALSE(believed(tokens(), token, k_alice, start - core::Millis{1}));  // from the future
  CHECK(believed(tokens(), tokens().recipient(5, k_alice, core::from_unix_ms(-1)), k_alice,
                 core::from_unix_ms(0)) == 5);
}

TEST_CASE("tokens: a number that another address has got confirms nothing") {
  const auto claim = tokens().read_recipient(tokens().recipient(5, k_alice, k_now), k_now);
  REQUIRE(claim);
  CHECK(tokens().confirms(*claim, k_alice));
  CHECK_FALSE(tokens().confirms(*claim, "bob@example.net"));
  CHECK_FALSE(tokens().confirms(*claim, ""));
  core::RecipientClaim other = *claim;
  other.recipient = 6;
  CHECK_FALSE(tokens().confirms(other, k_alice));
  other = *claim;
  ++other.epoch;
  CHECK_FALSE(tokens().confirms(other, k_alice));
  other = *claim;
  other.mac.clear();
  CHECK_FALSE(tokens().confirms(other, k_alice));
}

TEST_CASE("tokens: the first key makes, every key confirms, another one nothing") {
  const KeyedTokens before = with({1});
  const KeyedTokens rotated = with({2, 1});
  const KeyedTokens after = with({2});
  const std::string old_message = before.message(k_id);
  const std::string old_recipient = before.recipient(5, k_alice, k_now);
  CHECK(rotated.read_message(old_message) == k_id);
  CHECK(believed(rotated, old_recipient, k_alice) == 5);
  CHECK(rotated.message(k_id) == after.message(k_id));
  CHECK(rotated.recipient(5, k_alice, k_now) == after.recipient(5, k_alice, k_now));
  CHECK_FALSE(after.read_message(old_message));
  CHECK_FALSE(believed(after, old_recipient, k_alice));
}

TEST_CASE("tokens: keys of another size are refused, and none") {
  CHECK(KeyedTokens::create({}).error().code == core::Errc::invalid);
  std::vector<core::Secret> keys;
  keys.emplace_back(std::string(32, 'a'));
  keys.emplace_back(std::string(31, 'a'));
  CHECK(KeyedTokens::create(keys).error().code == core::Errc::invalid);
}

TEST_CASE("tokens: any thread may make and read them") {
  std::vector<std::thread> threads;
  std::array<int, 4> right{};
  for (int& count : right) {
    threads.emplace_back([&count] {
      for (int i = 0; i < 500; ++i) {
        core::Id id = k_id;
        id.bytes[15] = static_cast<std::uint8_t>(i);
        if (tokens().read_message(tokens().message(id)) == id) ++count;
      }
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  CHECK(right == std::array{500, 500, 500, 500});
}

TEST_CASE("tokens: how long one takes", "[.][figures]") {
  constexpr int k_rounds = 200'000;
  const auto start = std::chrono::steady_clock::now();
  std::size_t size = 0;
  for (int i = 0; i < k_rounds; ++i)
    size += tokens().recipient(i, k_alice, k_now).size();
  const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - start;
  WARN(took.count() / k_rounds << " us a token, " << size);
}

TEST_CASE("base32: as RFC 4648 section 10, without padding") {
  const std::vector<std::pair<std::string, std::string>> vectors{{"", ""},
                                                                 {"f", "my"},
                                                                 {"fo", "mzxq"},
                                                                 {"foo", "mzxw6"},
                                                                 {"foob", "mzxw6yq"},
                                                                 {"fooba", "mzxw6ytb"},
                                                                 {"foobar", "mzxw6ytboi"}};
  for (const auto& [bytes, text] : vectors) {
    std::string made;
    append_base32(made, bytes);
    CHECK(made == text);
    CHECK(read_base32(text) == bytes);
    CHECK(read_base32(upper(text)) == bytes);
  }
  for (const std::string bad : {"m", "mz=", "mz", "mzx", "m1", "m8", "m y", "mzxw6a"})
    CHECK_FALSE(read_base32(bad));
}

}  // namespace mailotp::mail::test
