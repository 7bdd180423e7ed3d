// What is done with the keys: hashing codes, sealing what must not lie in the database in the clear. Each
// purpose has a key of its own from each master key (HKDF-SHA256, RFC 5869).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/id.h"
#include "core/random.h"
#include "core/result.h"
#include "core/secret.h"
#include "store/hmac.h"

namespace mailotp::store {

// Derived from the key, so that it needs no bookkeeping; says nothing about it.
using KeyId = std::uint32_t;
[[nodiscard]] std::string format_key_id(KeyId id);  // 8 hexadecimal digits

// In a time that depends on the sizes alone.
[[nodiscard]] bool same_bytes(std::string_view a, std::string_view b);

// What a code's hash is bound to: with another challenge, app, purpose or recipient the same code has another
// hash.
struct CodeSubject {
  const core::Id& challenge;
  std::string_view app;
  std::string_view purpose;
  std::string_view recipient;  // mailbox, as the challenge has it
};

// What a sealed value is; part of what its seal authenticates, and each has a key of its own.
enum class Sealed : std::uint8_t { content = 0, code = 1, data = 2, answer = 3, secret = 4 };

// All keys of the key file. One thread.
class KeyRing {
 public:
  // The first key writes. `source` is the file's path, for errors. Keys are of k_master_key_size bytes.
  [[nodiscard]] static core::Result<KeyRing> create(const std::vector<core::Secret>& keys,
                                                    std::string source);
  KeyRing(KeyRing&&) noexcept;
  KeyRing& operator=(KeyRing&&) noexcept;
  ~KeyRing();

  [[nodiscard]] KeyId writing() const;
  [[nodiscard]] bool has(KeyId key) const;
  [[nodiscard]] std::vector<KeyId> ids() const;  // the writing one first
  [[nodiscard]] const std::string& source() const;

  // 32 bytes from each key, the writing one's first: for the tokens in what leaves us (core/tokens.h).
  [[nodiscard]] std::vector<core::Secret> token_keys() const;
  // 32 bytes from the writing key: for the names that recipients have in a log.
  [[nodiscard]] core::Secret log_key() const;

  // HMAC-SHA256. Errc::not_found for a key that is not in the ring.
  [[nodiscard]] core::Result<Mac> code_mac(KeyId key, const CodeSubject& subject, std::string_view code);
  [[nodiscard]] core::Result<Mac> binding_mac(KeyId key, const core::Id& challenge, std::string_view binding);
  // Of an app's Idempotency-Key, and of the request that came with it: a request may hold a code.
  [[nodiscard]] core::Result<Mac> once_mac(KeyId key, std::string_view app, std::string_view once_key);
  [[nodiscard]] core::Result<Mac> request_mac(KeyId key, const Mac& once, std::string_view request);

  // AES-256-GCM under the writing key: nonce (12 bytes, random), ciphertext, tag (16). `record` and `kind`
  // are authenticated, so that a value cannot be moved to another row or column.
  [[nodiscard]] core::Result<std::string> seal(Sealed kind, const core::Id& record, std::string_view plain,
                                               core::RandomSource& random);
  // Errc::corrupt when the value was not sealed by this key for this record and kind.
  [[nodiscard]] core::Result<core::Secret> unseal(KeyId key, Sealed kind, const core::Id& record,
                                                  std::string_view sealed);

 private:
  struct State;
  explicit KeyRing(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace mailotp::store
