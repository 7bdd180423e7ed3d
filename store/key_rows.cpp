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

Result<std::vector<KeyId>> keys_outside(Writer& writer) {
  std::vector<KeyId> unknown;
  Rows rows = writer.sql[WriterSql::key_all].select();
  for (;;) {
    const auto more = rows.next();
    if (!more) return tl::unexpected(more.error());
    if (!*more) return unknown;
    const auto id = static_cast<KeyId>(rows.integer(0));
    if (!writer.keys.has(id)) unknown.push_back(id);
  }
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

Result<> count_under(Writer& writer, const Secret& secret) {
  auto mac = Hmac::create(secret);
  if (!mac) return tl::unexpected(mac.error());
  writer.budget_mac = *std::move(mac);
  return {};
}

}  // namespace

Result<> check_keys(Writer& writer) {
  const auto unknown = keys_outside(writer);
  if (!unknown) return tl::unexpected(unknown.error());
  for (const KeyId id : *unknown) {
    const auto in_challenge = writer.sql[WriterSql::key_of_open_challenge].select(id).next();
    if (!in_challenge) return tl::unexpected(in_challenge.error());
    const auto in_body = writer.sql[WriterSql::key_of_body].select(id).next();
    if (!in_body) return tl::unexpected(in_body.error());
    if (*in_challenge || *in_body)
      return core::fail(Errc::invalid, fmt::format("store: the database needs the key {}, which is not in {}",
                                                   format_key_id(id), writer.keys.source()));
  }
  // Retired in good order: nothing that it sealed is needed. Kept answers may be left; they are found with
  // a key of the ring alone and go within a day, and a key that must go is worth more than a repeat of
  // theirs.
  for (const KeyId id : *unknown) {
    if (auto done = writer.sql[WriterSql::key_forget].run(id); !done) return done;
  }
  return writer.sql[WriterSql::key_add].run(writer.keys.writing());
}

Result<> load_budget_secret(Writer& writer) {
  const auto sealed = sealed_budget_secret(writer);
  if (!sealed) return tl::unexpected(sealed.error());
  if (*sealed && writer.keys.has((*sealed)->key)) {
    const auto secret = writer.keys.unseal((*sealed)->key, Sealed::secret, core::Id{}, (*sealed)->value);
    if (secret) {
      if ((*sealed)->key != writer.keys.writing()) {
        if (auto saved = save_budget_secret(writer, *secret); !saved) return saved;
      }
      return count_under(writer, *secret);
    }
    if (secret.error().code != Errc::corrupt) return tl::unexpected(secret.error());
  }
  writer.limits_anew = sealed->has_value();
  std::array<std::uint8_t, k_secret_size> bytes{};
  writer.random.fill(bytes);
  const Secret secret(std::string(bytes.begin(), bytes.end()));
  OPENSSL_cleanse(bytes.data(), bytes.size());
  if (auto saved = save_budget_secret(writer, secret); !saved) return saved;
  return count_under(writer, secret);
}

Result<> note_writing_key(Transaction& tx, core::WallTime at) {
  const KeyId writing = tx.writer().keys.writing();
  if (auto added = tx.sql(WriterSql::key_add).run(writing); !added) return added;
  return tx.sql(WriterSql::key_retire).run(writing, at);
}

Result<core::Answer> replace_keys(Transaction& tx, const core::ReplaceKeys& command) {
  auto ring = KeyRing::create(command.keys, command.source);
  if (!ring) return tl::unexpected(ring.error());
  Writer& writer = tx.writer();
  // From here on the transaction writes with the new ones, and puts the old ones back when it fails.
  tx.keep_keys(std::exchange(writer.keys, *std::move(ring)));
  if (auto checked = check_keys(writer); !checked) return tl::unexpected(checked.error());
  if (auto loaded = load_budget_secret(writer); !loaded) return tl::unexpected(loaded.error());
  if (auto noted = note_writing_key(tx, command.at); !noted) return tl::unexpected(noted.error());
  return core::Done{};
}

}  // namespace mailotp::store
