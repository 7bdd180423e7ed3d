#include "store/idempotency.h"

#include <algorithm>
#include <charconv>
#include <chrono>

#include <fmt/format.h>

namespace mailotp::store {

using core::Answer;
using core::Errc;
using core::Result;

namespace {

using RecipientRow = Result<std::optional<std::int64_t>>;

struct Kept {
  std::int64_t n = 0;
  std::string request;  // its hash
  std::string answer;   // sealed
};

// The row of a key of the ring, whether or not its day is over.
Result<std::optional<Kept>> find(Transaction& tx, const Mac& mac, core::WallTime at) {
  Rows rows = tx.sql(WriterSql::once_find).select(Blob{bytes_of(mac)});
  const auto found = rows.next();
  if (!found) return tl::unexpected(found.error());
  if (!*found || std::chrono::abs(at - rows.time(1)) >= k_kept_for) return std::optional<Kept>{};
  return std::optional(Kept{rows.integer(0), std::string(rows.blob(2)), std::string(rows.blob(3))});
}

// What the seal is bound to: the request's hash, which in turn is bound to app and key.
core::Id record_of(std::string_view request_mac) {
  core::Id id;
  std::copy_n(request_mac.begin(), std::min(request_mac.size(), id.bytes.size()), id.bytes.begin());
  return id;
}

// "201 /v1/challenges/…", a line end, the body.
core::Secret pack(const core::KeptAnswer& answer) {
  std::string out = fmt::format("{} {}\n", answer.status, answer.location);
  out.reserve(out.size() + answer.body.size());
  out += answer.body.reveal();
  return core::Secret(std::move(out));
}

std::optional<core::KeptAnswer> unpack(std::string_view packed) {
  core::KeptAnswer out;
  const auto [space, error] = std::from_chars(packed.data(), packed.data() + packed.size(), out.status);
  if (error != std::errc{}) return std::nullopt;
  packed.remove_prefix(static_cast<std::size_t>(space - packed.data()));
  const std::size_t end = packed.find('\n');
  if (!packed.starts_with(' ') || end == std::string_view::npos) return std::nullopt;
  out.location = packed.substr(1, end - 1);
  out.body = core::Secret(std::string(packed.substr(end + 1)));
  return out;
}

Result<Answer> open(Transaction& tx, KeyId key, const Kept& kept) {
  const auto packed = tx.writer().keys.unseal(key, Sealed::answer, record_of(kept.request), kept.answer);
  if (!packed) return tl::unexpected(packed.error());
  auto answer = unpack(packed->reveal());
  if (!answer) return core::fail(Errc::corrupt, fmt::format("store: the kept answer {} cannot be", kept.n));
  return *std::move(answer);
}

core::Refusal refusal(core::RefusalKind kind) {
  core::Refusal out;
  out.kind = kind;
  return out;
}

RecipientRow recipient_row(Transaction& tx, const core::Address& address) {
  return tx.known_recipient(address);
}

RecipientRow recipient_row(Transaction& tx, const core::Id& challenge) {
  const auto found = tx.challenge(challenge);
  if (!found) return tl::unexpected(found.error());
  if (!*found) return std::optional<std::int64_t>{};
  return std::optional((*found)->recipient);
}

}  // namespace

Result<std::optional<Answer>> recall(Transaction& tx, const std::string& app, const core::Once& once,
                                     core::WallTime at) {
  KeyRing& keys = tx.writer().keys;
  for (const KeyId key : keys.ids()) {
    const auto mac = keys.once_mac(key, app, once.key);
    if (!mac) return tl::unexpected(mac.error());
    const auto kept = find(tx, *mac, at);
    if (!kept) return tl::unexpected(kept.error());
    if (!*kept) continue;
    const auto request = keys.request_mac(key, *mac, once.request.reveal());
    if (!request) return tl::unexpected(request.error());
    if (!same_bytes(bytes_of(*request), (*kept)->request))
      return std::optional<Answer>(refusal(core::RefusalKind::idempotency_mismatch));
    auto answer = open(tx, key, **kept);
    if (!answer) return tl::unexpected(answer.error());
    return std::optional<Answer>(*std::move(answer));
  }
  return std::optional<Answer>{};
}

Result<> keep(Transaction& tx, const std::string& app, const core::Once& once, core::WallTime at,
              std::optional<std::int64_t> recipient, const Answer& answer) {
  KeyRing& keys = tx.writer().keys;
  const KeyId key = keys.writing();
  const auto mac = keys.once_mac(key, app, once.key);
  if (!mac) return tl::unexpected(mac.error());
  const auto request = keys.request_mac(key, *mac, once.request.reveal());
  if (!request) return tl::unexpected(request.error());
  const auto sealed = keys.seal(Sealed::answer, record_of(bytes_of(*request)),
                                pack(once.keep(answer)).reveal(), tx.writer().random);
  if (!sealed) return tl::unexpected(sealed.error());
  // One whose day is over may still lie there. It goes rather than being changed: rows stand in the order of
  // their times, by which they are removed.
  if (auto old = tx.sql(WriterSql::once_forget).run(Blob{bytes_of(*mac)}); !old) return old;
  return tx.sql(WriterSql::once_add)
      .run(Blob{bytes_of(*mac)}, at, recipient, Blob{bytes_of(*request)}, key, Blob{*sealed});
}

RecipientRow recipient_of(Transaction& tx, const core::CreateChallenge& command) {
  return recipient_row(tx, command.recipient);
}
RecipientRow recipient_of(Transaction& tx, const core::CreateMessage& command) {
  return recipient_row(tx, command.recipient);
}
RecipientRow recipient_of(Transaction& tx, const core::SendChallenge& command) {
  return recipient_row(tx, command.id);
}
RecipientRow recipient_of(Transaction& tx, const core::CheckCode& command) {
  return command.id ? recipient_row(tx, *command.id) : recipient_row(tx, *command.recipient);
}
RecipientRow recipient_of(Transaction& tx, const core::CancelChallenge& command) {
  return recipient_row(tx, command.id);
}

Result<Answer> recall(Transaction& tx, const core::Recall& command) {
  auto told = recall(tx, command.app, command.once, command.at);
  if (!told) return tl::unexpected(told.error());
  if (!*told) return refusal(core::RefusalKind::not_found);
  return **std::move(told);
}

}  // namespace mailotp::store
