#include "store/keys.h"

#include <cstring>
#include <limits>
#include <utility>

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "store/key_file.h"

namespace mailotp::store {

using core::Errc;
using core::Result;
using core::Secret;

namespace {

template <class T, auto release>
struct Releaser {
  void operator()(T* handle) const noexcept { release(handle); }
};
using KdfPtr = std::unique_ptr<EVP_KDF, Releaser<EVP_KDF, EVP_KDF_free>>;
using KdfContext = std::unique_ptr<EVP_KDF_CTX, Releaser<EVP_KDF_CTX, EVP_KDF_CTX_free>>;
using CipherPtr = std::unique_ptr<EVP_CIPHER, Releaser<EVP_CIPHER, EVP_CIPHER_free>>;
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, Releaser<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free>>;

constexpr std::size_t k_nonce = 12;
constexpr std::size_t k_tag = 16;
constexpr std::array<std::string_view, 5> k_kind_labels{"content", "code", "data", "answer", "secret"};

unsigned char* writable(std::string& bytes) {
  return reinterpret_cast<unsigned char*>(bytes.data());
}
const unsigned char* readable(std::string_view bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

tl::unexpected<core::Error> crypto_failed(std::string_view what) {
  return core::fail(Errc::internal, fmt::format("store: OpenSSL: {}", what));
}

Result<Secret> derive(EVP_KDF* hkdf, const Secret& master, std::string_view label, std::size_t size) {
  const KdfContext context(EVP_KDF_CTX_new(hkdf));
  if (!context) return crypto_failed("HKDF");
  char digest[] = "SHA256";
  char salt[] = "mailotpd";
  std::string key(master.reveal());
  std::string info(label);
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, salt, sizeof salt - 1),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, key.data(), key.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info.data(), info.size()),
      OSSL_PARAM_construct_end()};
  std::string out(size, '\0');
  const int good = EVP_KDF_derive(context.get(), writable(out), out.size(), params);
  OPENSSL_cleanse(key.data(), key.size());
  Secret derived(std::move(out));
  if (good != 1) return crypto_failed("HKDF");
  return derived;
}

// Each use starts it afresh.
Result<CipherContext> keyed_cipher(EVP_CIPHER* aes, const Secret& key, bool encrypt) {
  CipherContext context(EVP_CIPHER_CTX_new());
  if (!context ||
      EVP_CipherInit_ex2(context.get(), aes, readable(key.reveal()), nullptr, encrypt ? 1 : 0, nullptr) != 1)
    return crypto_failed("AES-256-GCM");
  return context;
}

std::string_view bytes_of(const core::Id& id) {
  return {reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()};
}

// AAD: the record's id and the kind. The kind's label is the last part, so no length is needed.
bool authenticate(EVP_CIPHER_CTX* context, Sealed kind, const core::Id& record) {
  const std::string_view label = k_kind_labels[static_cast<std::size_t>(kind)];
  const std::string_view id = bytes_of(record);
  int ignored = 0;
  return EVP_CipherUpdate(context, nullptr, &ignored, readable(id), static_cast<int>(id.size())) == 1 &&
         EVP_CipherUpdate(context, nullptr, &ignored, readable(label), static_cast<int>(label.size())) == 1;
}

struct Key {
  KeyId id = 0;
  Hmac code;
  Hmac binding;
  Hmac once;
  Hmac request;
  Secret token;
  Secret log;
  std::array<CipherContext, k_kind_labels.size()> sealing;
  std::array<CipherContext, k_kind_labels.size()> unsealing;
};

Result<Key> make_key(const Secret& master, EVP_KDF* hkdf, EVP_CIPHER* aes) {
  Key key;
  const auto id = derive(hkdf, master, "mailotpd key id", sizeof(KeyId));
  if (!id) return tl::unexpected(id.error());
  for (const char c : id->reveal())
    key.id = key.id << 8 | static_cast<unsigned char>(c);
  const std::array<std::pair<std::string_view, Hmac*>, 4> hashes{
      {{"code", &key.code}, {"binding", &key.binding}, {"once", &key.once}, {"request", &key.request}}};
  for (const auto& [purpose, hmac] : hashes) {
    const auto secret = derive(hkdf, master, fmt::format("mailotpd {} hash", purpose), 32);
    if (!secret) return tl::unexpected(secret.error());
    auto keyed = Hmac::create(*secret);
    if (!keyed) return tl::unexpected(keyed.error());
    *hmac = *std::move(keyed);
  }
  auto token = derive(hkdf, master, "mailotpd bounce token", 32);
  if (!token) return tl::unexpected(token.error());
  key.token = *std::move(token);
  auto log = derive(hkdf, master, "mailotpd log recipient", 32);
  if (!log) return tl::unexpected(log.error());
  key.log = *std::move(log);
  for (std::size_t kind = 0; kind < k_kind_labels.size(); ++kind) {
    const auto seal = derive(hkdf, master, fmt::format("mailotpd seal {}", k_kind_labels[kind]), 32);
    if (!seal) return tl::unexpected(seal.error());
    auto sealing = keyed_cipher(aes, *seal, true);
    auto unsealing = keyed_cipher(aes, *seal, false);
    if (!sealing || !unsealing) return crypto_failed("AES-256-GCM");
    key.sealing[kind] = *std::move(sealing);
    key.unsealing[kind] = *std::move(unsealing);
  }
  return key;
}

}  // namespace

std::string format_key_id(KeyId id) {
  return fmt::format("{:08x}", id);
}

bool same_bytes(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

struct KeyRing::State {
  std::string source;
  std::vector<Key> keys;  // the first one writes

  [[nodiscard]] Result<Key*> find(KeyId id) {
    for (Key& key : keys) {
      if (key.id == id) return &key;
    }
    return core::fail(Errc::not_found, fmt::format("the key {} is not in {}", format_key_id(id), source));
  }
};

KeyRing::KeyRing(std::unique_ptr<State> state) : state_(std::move(state)) {}
KeyRing::KeyRing(KeyRing&&) noexcept = default;
KeyRing& KeyRing::operator=(KeyRing&&) noexcept = default;
KeyRing::~KeyRing() = default;

Result<KeyRing> KeyRing::create(const std::vector<Secret>& keys, std::string source) {
  if (keys.empty()) return core::fail(Errc::invalid, fmt::format("{}: no key", source));
  const KdfPtr hkdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr));
  const CipherPtr aes(EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr));
  if (!hkdf || !aes) return crypto_failed("HKDF or AES-256-GCM is missing");
  auto state = std::make_unique<State>();
  state->source = std::move(source);
  for (const Secret& master : keys) {
    if (master.size() != k_master_key_size)
      return core::fail(Errc::invalid, fmt::format("{}: a key is not of 32 bytes", state->source));
    auto key = make_key(master, hkdf.get(), aes.get());
    if (!key) return tl::unexpected(key.error());
    if (state->find(key->id))
      return core::fail(Errc::invalid, fmt::format("{}: two keys have the id {}; replace one", state->source,
                                                   format_key_id(key->id)));
    state->keys.push_back(*std::move(key));
  }
  return KeyRing(std::move(state));
}

KeyId KeyRing::writing() const {
  return state_->keys.front().id;
}

bool KeyRing::has(KeyId key) const {
  return state_->find(key).has_value();
}

std::vector<KeyId> KeyRing::ids() const {
  std::vector<KeyId> out;
  for (const Key& key : state_->keys)
    out.push_back(key.id);
  return out;
}

std::vector<Secret> KeyRing::token_keys() const {
  std::vector<Secret> out;
  for (const Key& key : state_->keys)
    out.push_back(key.token.clone());
  return out;
}

Secret KeyRing::log_key() const {
  return state_->keys.front().log.clone();
}

const std::string& KeyRing::source() const {
  return state_->source;
}

Result<Mac> KeyRing::code_mac(KeyId key, const CodeSubject& subject, std::string_view code) {
  const auto found = state_->find(key);
  if (!found) return tl::unexpected(found.error());
  return (*found)->code.of(
      {bytes_of(subject.challenge), subject.app, subject.purpose, subject.recipient, code});
}

Result<Mac> KeyRing::binding_mac(KeyId key, const core::Id& challenge, std::string_view binding) {
  const auto found = state_->find(key);
  if (!found) return tl::unexpected(found.error());
  return (*found)->binding.of({bytes_of(challenge), binding});
}

Result<Mac> KeyRing::once_mac(KeyId key, std::string_view app, std::string_view once_key) {
  const auto found = state_->find(key);
  if (!found) return tl::unexpected(found.error());
  return (*found)->once.of({app, once_key});
}

Result<Mac> KeyRing::request_mac(KeyId key, const Mac& once, std::string_view request) {
  const auto found = state_->find(key);
  if (!found) return tl::unexpected(found.error());
  return (*found)->request.of({store::bytes_of(once), request});
}

Result<std::string> KeyRing::seal(Sealed kind, const core::Id& record, std::string_view plain,
                                  core::RandomSource& random) {
  if (plain.size() > std::numeric_limits<int>::max() / 2) return crypto_failed("too long to seal");
  EVP_CIPHER_CTX* context = state_->keys.front().sealing[static_cast<std::size_t>(kind)].get();
  std::array<std::uint8_t, k_nonce> nonce{};
  random.fill(nonce);
  std::string out(k_nonce + plain.size() + k_tag, '\0');
  std::memcpy(out.data(), nonce.data(), k_nonce);
  unsigned char* body = writable(out) + k_nonce;
  int size = 0;
  int rest = 0;
  const bool good =
      EVP_CipherInit_ex2(context, nullptr, nullptr, nonce.data(), -1, nullptr) == 1 &&
      authenticate(context, kind, record) &&
      EVP_CipherUpdate(context, body, &size, readable(plain), static_cast<int>(plain.size())) == 1 &&
      EVP_CipherFinal_ex(context, body + size, &rest) == 1 &&
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, k_tag, body + plain.size()) == 1;
  if (!good || !std::cmp_equal(std::int64_t{size} + rest, plain.size())) return crypto_failed("sealing");
  return out;
}

Result<Secret> KeyRing::unseal(KeyId key, Sealed kind, const core::Id& record, std::string_view sealed) {
  const auto found = state_->find(key);
  if (!found) return tl::unexpected(found.error());
  const auto broken = [&] {
    return core::fail(Errc::corrupt,
                      fmt::format("store: the {} of {} does not open",
                                  k_kind_labels[static_cast<std::size_t>(kind)], core::to_string(record)));
  };
  if (sealed.size() < k_nonce + k_tag || sealed.size() > std::numeric_limits<int>::max() / 2) return broken();
  EVP_CIPHER_CTX* context = (*found)->unsealing[static_cast<std::size_t>(kind)].get();
  const std::string_view body = sealed.substr(k_nonce, sealed.size() - k_nonce - k_tag);
  std::string tag(sealed.substr(sealed.size() - k_tag));
  std::string plain(body.size(), '\0');
  int size = 0;
  int rest = 0;
  const bool good =
      EVP_CipherInit_ex2(context, nullptr, nullptr, readable(sealed), -1, nullptr) == 1 &&
      authenticate(context, kind, record) &&
      EVP_CipherUpdate(context, writable(plain), &size, readable(body), static_cast<int>(body.size())) == 1 &&
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, k_tag, tag.data()) == 1 &&
      EVP_CipherFinal_ex(context, writable(plain) + size, &rest) == 1;
  Secret out(std::move(plain));
  if (!good) return broken();
  return out;
}

}  // namespace mailotp::store
