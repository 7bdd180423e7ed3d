#include "mail/compose/keyed_tokens.h"

#include <algorithm>
#include <array>
#include <utility>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "core/check.h"
#include "mail/compose/base32.h"

namespace mailotp::mail {

namespace {

template <class T, auto release>
struct Releaser {
  void operator()(T* handle) const noexcept { release(handle); }
};
using MacPtr = std::unique_ptr<EVP_MAC, Releaser<EVP_MAC, EVP_MAC_free>>;
using MacContext = std::unique_ptr<EVP_MAC_CTX, Releaser<EVP_MAC_CTX, EVP_MAC_CTX_free>>;

constexpr std::size_t k_key = 32;
constexpr std::size_t k_mac = 10;
constexpr std::size_t k_epoch_bytes = 2;
constexpr std::size_t k_id = 16;
constexpr std::size_t k_most_number = 8;
constexpr std::uint32_t k_last_epoch = 0xffff;  // in the year 3764

const unsigned char* readable(std::string_view bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

void append_number(std::string& out, std::uint64_t value, std::size_t bytes) {
  for (std::size_t i = bytes; i-- > 0;)
    out.push_back(static_cast<char>(value >> 8 * i & 0xff));
}

std::uint64_t number_of(std::string_view bytes) {
  std::uint64_t value = 0;
  for (const char byte : bytes)
    value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

std::size_t bytes_of_number(std::uint64_t value) {
  std::size_t bytes = 1;
  while (bytes < k_most_number && value >> 8 * bytes != 0)
    ++bytes;
  return bytes;
}

std::uint32_t epoch_of(core::WallTime at) {
  const auto epoch = std::chrono::floor<core::Seconds>(at).time_since_epoch() / core::k_token_epoch;
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(epoch, 0, k_last_epoch));
}

std::string_view bytes_of(const core::Id& id) {
  return {reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()};
}

// What is hashed. The first letter keeps the sorts apart; all but the address key is of a fixed size.
std::string message_text(std::string_view id) {
  std::string text("m");
  text += id;
  return text;
}
std::string recipient_text(std::uint64_t number, std::uint32_t epoch, std::string_view key) {
  std::string text("r");
  append_number(text, number, 8);
  append_number(text, epoch, 4);
  text += key;
  return text;
}

bool is_of_sort(std::string_view token, char sort) {
  return !token.empty() && (token.front() | 0x20) == sort;
}

using Cut = std::array<unsigned char, EVP_MAX_MD_SIZE>;

}  // namespace

// A context that has its key and is never used itself: each use takes a copy, so that any thread may.
struct KeyedTokens::Keyed {
  MacContext context;

  [[nodiscard]] std::string mac(std::string_view text) const {
    const MacContext copy(EVP_MAC_CTX_dup(context.get()));
    Cut out{};
    std::size_t size = 0;
    // With a key that has been taken already only memory can be missing.
    CHECK(copy && EVP_MAC_update(copy.get(), readable(text), text.size()) == 1 &&
          EVP_MAC_final(copy.get(), out.data(), &size, out.size()) == 1 && size >= k_mac);
    return {reinterpret_cast<const char*>(out.data()), k_mac};
  }
};

KeyedTokens::KeyedTokens(std::vector<Keyed> keys) : keys_(std::move(keys)) {}
KeyedTokens::KeyedTokens(KeyedTokens&&) noexcept = default;
KeyedTokens& KeyedTokens::operator=(KeyedTokens&&) noexcept = default;
KeyedTokens::~KeyedTokens() = default;

core::Result<KeyedTokens> KeyedTokens::create(const std::vector<core::Secret>& keys) {
  if (keys.empty()) return core::fail(core::Errc::invalid, "tokens: no key");
  const MacPtr hmac(EVP_MAC_fetch(nullptr, "HMAC", nullptr));
  if (!hmac) return core::fail(core::Errc::internal, "tokens: OpenSSL has no HMAC");
  char digest[] = "SHA256";
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                               OSSL_PARAM_construct_end()};
  std::vector<Keyed> made;
  for (const core::Secret& key : keys) {
    if (key.size() != k_key) return core::fail(core::Errc::invalid, "tokens: a key is not of 32 bytes");
    MacContext context(EVP_MAC_CTX_new(hmac.get()));
    if (!context || EVP_MAC_init(context.get(), readable(key.reveal()), key.size(), params) != 1)
      return core::fail(core::Errc::internal, "tokens: OpenSSL: HMAC");
    made.push_back(Keyed{std::move(context)});
  }
  return KeyedTokens(std::move(made));
}

std::string KeyedTokens::recipient(std::int64_t recipient, std::string_view key, core::WallTime at) const {
  CHECK(recipient >= 0);
  const auto number = static_cast<std::uint64_t>(recipient);
  const std::uint32_t epoch = epoch_of(at);
  std::string bytes;
  append_number(bytes, number, bytes_of_number(number));
  append_number(bytes, epoch, k_epoch_bytes);
  bytes += keys_.front().mac(recipient_text(number, epoch, key));
  std::string token("r");
  append_base32(token, bytes);
  return token;
}

std::string KeyedTokens::message(const core::Id& id) const {
  std::string bytes(bytes_of(id));
  bytes += keys_.front().mac(message_text(bytes_of(id)));
  std::string token("m");
  append_base32(token, bytes);
  return token;
}

// Every key is tried, also after one has fitted.
bool KeyedTokens::is_of_any(std::string_view text, std::string_view mac) const {
  int fits = 0;
  for (const Keyed& key : keys_) {
    const std::string right = key.mac(text);
    fits |= mac.size() == right.size() && CRYPTO_memcmp(right.data(), mac.data(), mac.size()) == 0 ? 1 : 0;
  }
  return fits != 0;
}

std::optional<core::Id> KeyedTokens::read_message(std::string_view token) const {
  if (token.size() != k_message_token || !is_of_sort(token, 'm')) return std::nullopt;
  const auto bytes = read_base32(token.substr(1));
  if (!bytes || bytes->size() != k_id + k_mac) return std::nullopt;
  const std::string_view all(*bytes);
  if (!is_of_any(message_text(all.substr(0, k_id)), all.substr(k_id))) return std::nullopt;
  core::Id id;
  std::ranges::copy(all.substr(0, k_id), id.bytes.begin());
  return id;
}

std::optional<core::RecipientClaim> KeyedTokens::read_recipient(std::string_view token,
                                                                core::WallTime at) const {
  if (token.size() > k_recipient_token || !is_of_sort(token, 'r')) return std::nullopt;
  const auto bytes = read_base32(token.substr(1));
  if (!bytes || bytes->size() < 1 + k_epoch_bytes + k_mac) return std::nullopt;
  const std::string_view all(*bytes);
  const std::size_t number_size = all.size() - k_epoch_bytes - k_mac;
  if (number_size > k_most_number) return std::nullopt;
  const std::uint64_t number = number_of(all.substr(0, number_size));
  if (bytes_of_number(number) != number_size || number > INT64_MAX) return std::nullopt;
  const auto epoch = static_cast<std::uint32_t>(number_of(all.substr(number_size, k_epoch_bytes)));
  const std::uint32_t now = epoch_of(at);
  if (epoch != now && epoch + 1 != now) return std::nullopt;
  return core::RecipientClaim{static_cast<std::int64_t>(number), epoch,
                              std::string(all.substr(number_size + k_epoch_bytes))};
}

bool KeyedTokens::confirms(const core::RecipientClaim& claim, std::string_view key) const {
  return is_of_any(recipient_text(static_cast<std::uint64_t>(claim.recipient), claim.epoch, key), claim.mac);
}

}  // namespace mailotp::mail
