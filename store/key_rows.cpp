#include "store/key_rows.h"

#include <array>
#include <utility>

#include <fmt/format.h>
#include <openssl/crypto.h>

namespace mailotp::store {

using core::Errc;
using core::Result;
using core::Secret;

namespace {

constexpr std::string_view k_budgets = "budgets";
constexpr std::size_t k_secret_size = 32;

// Keys that have written and are not in the ring.
Result<std::vector<KeyId>> keys_outside(Writer& writer, const KeyRing& ring) {
  std::vector<KeyId> unknown;
  Rows rows = writer.sql[WriterSql::key_all].select();
  for (;;) {
    const auto more = rows.next();
    if (!more) return tl::unexpected(more.error());
    if (!*more) return unknown;
    const auto id = static_cast<KeyId>(rows.integer(0));
    if (!ring.has(id)) unknown.push_back(id);
  }
}

// One that the ring lacks and open challenges or unsent messages need; none: all is well.
Result<std::optional<KeyId>> missing_key(Writer& writer, const std::vector<KeyId>& outside) {
  for (const KeyId id : outside) {
    const auto in_challenge = writer.sql[WriterSql::key_of_open_challenge].select(id).next();
    if (!in_challenge) return tl::unexpected(in_challenge.error());
    const auto in_body = writer.sql[WriterSql::key_of_body].select(id).next();
    if (!in_body) return tl::unexpected(in_body.error());
    if (*in_challenge || *in_body) return std::optional(id);
  }
  return std::optional<KeyId>{};
}

std::string needs(KeyId id, const std::string& source) {
  return fmt::format("the database needs the key {}, which is not in {}", format_key_id(id), source);
}

// Retired in good order: nothing that they sealed is needed. Kept answers may be left; they are found with a
// key of the ring alone and go within a day, and a key that must go is worth more than a repeat of theirs.
Result<> forget(Writer& writer, const std::vector<KeyId>& outside) {
  for (const KeyId id : outside) {
    if (auto done = writer.sql[WriterSql::key_forget].run(id); !done) return done;
  }
  return {};
}

Result<> save_budget_secret(Writer& writer, const Secret& secret) {
  const auto sealed = writer.keys.seal(Sealed::secret, core::Id{}, secret.reveal(), writer.random);
  if (!sealed) return tl::unexpected(sealed.error());
  return writer.sql[WriterSql::secret_set].run(k_budgets, writer.keys.writing(), Blob{*sealed});
}

struct SealedSecret {
  KeyId key = 0;
  std::string value;
};

Result<std::optional<SealedSecret>> sealed_budget_secret(Writer& writer) {
  Rows rows = writer.sql[WriterSql::secret_get].select(k_budgets);
  const auto found = rows.next();
  if (!found) return tl::unexpected(found.error());
  if (!*found) return std::optional<SealedSecret>{};
  return std::optional(SealedSecret{static_cast<KeyId>(rows.integer(0)), std::string(rows.blob(1))});
}

// Absent: there is none, or no key of the ring opens it.
Result<std::optional<Secret>> open_budget_secret(Writer& writer) {
  const auto sealed = sealed_budget_secret(writer);
  if (!sealed) return tl::unexpected(sealed.error());
  if (!*sealed || !writer.keys.has((*sealed)->key)) return std::optional<Secret>{};
  auto secret = writer.keys.unseal((*sealed)->key, Sealed::secret, core::Id{}, (*sealed)->value);
  if (!secret && secret.error().code == Errc::corrupt) return std::optional<Secret>{};
  if (!secret) return tl::unexpected(secret.error());
  return std::optional<Secret>(*std::move(secret));
}

Secret new_secret(core::RandomSource& random) {
  std::array<std::uint8_t, k_secret_size> bytes{};
  random.fill(bytes);
  Secret secret(std::string(bytes.begin(), bytes.end()));
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return secret;
}

}  // namespace

Result<> check_keys(Writer& writer) {
  const auto outside = keys_outside(writer, writer.keys);
  if (!outside) return tl::unexpected(outside.error());
  const auto missing = missing_key(writer, *outside);
  if (!missing) return tl::unexpected(missing.error());
  if (*missing) return core::fail(Errc::invalid, "store: " + needs(**missing, writer.keys.source()));
  if (auto done = forget(writer, *outside); !done) return done;
  return writer.sql[WriterSql::key_add].run(writer.keys.writing());
}

Result<> load_budget_secret(Writer& writer) {
  const auto sealed = sealed_budget_secret(writer);
  if (!sealed) return tl::unexpected(sealed.error());
  auto secret = open_budget_secret(writer);
  if (!secret) return tl::unexpected(secret.error());
  const bool opened = secret->has_value();
  writer.limits_anew = *sealed && !opened;
  if (!opened) secret->emplace(new_secret(writer.random));
  if (!opened || (*sealed)->key != writer.keys.writing()) {
    if (auto saved = save_budget_secret(writer, **secret); !saved) return saved;
  }
  auto mac = Hmac::create(**secret);
  if (!mac) return tl::unexpected(mac.error());
  writer.budget_mac = *std::move(mac);
  return {};
}

Result<> note_writing_key(Transaction& tx, core::WallTime at) {
  const KeyId writing = tx.writer().keys.writing();
  if (auto added = tx.sql(WriterSql::key_add).run(writing); !added) return added;
  return tx.sql(WriterSql::key_retire).run(writing, at);
}

Result<core::Answer> take_over(Transaction& tx, const core::TakeOver& command) {
  auto ring = KeyRing::create(command.keys, command.source);
  if (!ring) return tl::unexpected(ring.error());
  Writer& writer = tx.writer();
  const auto outside = keys_outside(writer, *ring);
  if (!outside) return tl::unexpected(outside.error());
  const auto missing = missing_key(writer, *outside);
  if (!missing) return tl::unexpected(missing.error());
  if (*missing) {
    core::Refusal refusal;
    refusal.kind = core::RefusalKind::keys_missing;
    refusal.detail = needs(**missing, command.source);
    return refusal;
  }
  // By the old ones, which may all be gone from the file.
  const auto secret = open_budget_secret(writer);
  if (!secret) return tl::unexpected(secret.error());
  if (!*secret) return core::fail(Errc::corrupt, "store: the secret of the limits does not open");
  // From here on the transaction works with the new ones, and puts the old ones back when it fails.
  tx.keep_keys(std::exchange(writer.keys, *std::move(ring)));
  if (command.rules) tx.keep_rules(std::exchange(writer.rules, command.rules));
  if (auto done = forget(writer, *outside); !done) return tl::unexpected(done.error());
  if (auto saved = save_budget_secret(writer, **secret); !saved) return tl::unexpected(saved.error());
  if (auto noted = note_writing_key(tx, command.at); !noted) return tl::unexpected(noted.error());
  return core::Done{};
}

}  // namespace mailotp::store
