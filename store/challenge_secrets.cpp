#include "store/challenge_secrets.h"

#include <cstring>

namespace mailotp::store {

using core::Errc;
using core::Result;
using core::Secret;

namespace {

CodeSubject subject_of(const ChallengeRecord& c) {
  return {c.id, c.app, c.purpose, c.mailbox};
}

// The length of the variables, the variables, the binding.
Secret join(const Secret& variables, const Secret& binding) {
  std::string out(sizeof(std::uint32_t), '\0');
  const auto size = static_cast<std::uint32_t>(variables.size());
  std::memcpy(out.data(), &size, sizeof size);
  out.reserve(out.size() + variables.size() + binding.size());
  out += variables.reveal();
  out += binding.reveal();
  return Secret(std::move(out));
}

bool split(const Secret& joined, ChallengeSecrets& out) {
  const std::string_view bytes = joined.reveal();
  std::uint32_t size = 0;
  if (bytes.size() < sizeof size) return false;
  std::memcpy(&size, bytes.data(), sizeof size);
  const std::string_view rest = bytes.substr(sizeof size);
  if (rest.size() < size) return false;
  out.variables = Secret(std::string(rest.substr(0, size)));
  out.binding = Secret(std::string(rest.substr(size)));
  return true;
}

}  // namespace

Result<> seal_secrets(Writer& writer, ChallengeRecord& c, const Secret& code, const Secret& variables,
                      const Secret& binding) {
  c.key = writer.keys.writing();
  const auto mac = writer.keys.code_mac(c.key, subject_of(c), code.reveal());
  if (!mac) return tl::unexpected(mac.error());
  c.code_mac = bytes_of(*mac);
  if (!binding.empty()) {
    const auto bound = writer.keys.binding_mac(c.key, c.id, binding.reveal());
    if (!bound) return tl::unexpected(bound.error());
    c.binding_mac = bytes_of(*bound);
  }
  if (c.row.sends >= c.row.max_sends) return {};
  if (c.resend == core::ResendMode::same) {
    auto kept = writer.keys.seal(Sealed::code, c.id, code.reveal(), writer.random);
    if (!kept) return tl::unexpected(kept.error());
    c.kept_code = *std::move(kept);
  }
  auto data = writer.keys.seal(Sealed::data, c.id, join(variables, binding).reveal(), writer.random);
  if (!data) return tl::unexpected(data.error());
  c.data = *std::move(data);
  return {};
}

Result<ChallengeSecrets> open_secrets(Writer& writer, const ChallengeRecord& c) {
  ChallengeSecrets out;
  const auto data = writer.keys.unseal(c.key, Sealed::data, c.id, c.data);
  if (!data) return tl::unexpected(data.error());
  if (!split(*data, out)) return core::fail(Errc::corrupt, "store: a challenge's data is cut short");
  if (c.resend == core::ResendMode::fresh) {
    out.code = core::make_code(c.code, writer.random);
    return out;
  }
  auto code = writer.keys.unseal(c.key, Sealed::code, c.id, c.kept_code);
  if (!code) return tl::unexpected(code.error());
  out.code = *std::move(code);
  return out;
}

Result<> save_new_code(Transaction& tx, ChallengeRecord& c, const Secret& code) {
  // Under the challenge's own key, which is that of its binding and data as well.
  const auto mac = tx.writer().keys.code_mac(c.key, subject_of(c), code.reveal());
  if (!mac) return tl::unexpected(mac.error());
  c.code_mac = bytes_of(*mac);
  return tx.sql(WriterSql::challenge_save_code).run(c.n, Blob{c.code_mac});
}

Result<Comparison> compare(Writer& writer, const ChallengeRecord& c, const Secret& typed,
                           const Secret& binding) {
  const auto bound = writer.keys.binding_mac(c.key, c.id, binding.reveal());
  if (!bound) return tl::unexpected(bound.error());
  const bool binding_agrees =
      c.binding_mac.empty() ? binding.empty() : same_bytes(bytes_of(*bound), c.binding_mac);
  if (!binding_agrees) return Comparison::binding_differed;
  const Secret code = core::normalise_typed(typed.reveal(), c.code.alphabet);
  const auto mac = writer.keys.code_mac(c.key, subject_of(c), code.reveal());
  if (!mac) return tl::unexpected(mac.error());
  return same_bytes(bytes_of(*mac), c.code_mac) ? Comparison::matched : Comparison::differed;
}

Result<> compare_for_nothing(Writer& writer, const core::CheckCode& command) {
  ChallengeRecord nobody;
  nobody.key = writer.keys.writing();
  nobody.app = command.app;
  nobody.purpose = command.purpose;
  if (command.recipient) nobody.mailbox = command.recipient->mailbox();
  nobody.code_mac.assign(sizeof(Mac), '\0');
  // Bound or not as the guess is, so that the code is compared, whatever comes.
  if (!command.binding.empty()) {
    const auto bound = writer.keys.binding_mac(nobody.key, nobody.id, command.binding.reveal());
    if (!bound) return tl::unexpected(bound.error());
    nobody.binding_mac = bytes_of(*bound);
  }
  const auto compared = compare(writer, nobody, command.typed, command.binding);
  if (!compared) return tl::unexpected(compared.error());
  return {};
}

core::Address address_of(const std::string& mailbox) {
  // A quoted local part may contain an @, a domain never does.
  const std::size_t at = mailbox.rfind('@');
  if (at == std::string::npos) return {mailbox, {}};
  return {mailbox.substr(0, at), mailbox.substr(at + 1)};
}

}  // namespace mailotp::store
