#include "mail/smtp/sasl.h"

#include <algorithm>

#include <openssl/evp.h>

#include "core/check.h"

namespace mailotp::mail {

namespace {

// RFC 4954 section 4: a command line with an initial response may have 12288 octets, but relays that keep to
// the 512 of RFC 5321 exist: a longer response waits for the 334.
constexpr std::size_t k_initial_response_bytes = 480;
constexpr int k_most_rounds = 3;

core::Secret base64(std::string_view bytes, std::string_view before, std::string_view after) {
  std::string out;
  // One reserve, so that no smaller copy of the secret is left behind by growth.
  out.reserve(before.size() + (bytes.size() + 2) / 3 * 4 + 1 + after.size());
  out = before;
  out.resize(before.size() + (bytes.size() + 2) / 3 * 4 + 1);
  const int length =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data() + before.size()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  out.resize(before.size() + static_cast<std::size_t>(length));
  out += after;
  return core::Secret(std::move(out));
}

bool offers(const std::vector<std::string>& offered, core::AuthMode mechanism) {
  return std::find(offered.begin(), offered.end(), sasl_name(mechanism)) != offered.end();
}

}  // namespace

std::string_view sasl_name(core::AuthMode mechanism) {
  switch (mechanism) {
    case core::AuthMode::plain:
      return "PLAIN";
    case core::AuthMode::login:
      return "LOGIN";
    case core::AuthMode::xoauth2:
      return "XOAUTH2";
    case core::AuthMode::none:
    case core::AuthMode::automatic:
      break;
  }
  return "";
}

std::vector<core::AuthMode> auth_candidates(core::AuthMode wanted, const std::vector<std::string>& offered) {
  std::vector<core::AuthMode> candidates{wanted};
  if (wanted == core::AuthMode::automatic) candidates = {core::AuthMode::plain, core::AuthMode::login};
  std::erase_if(candidates, [&](core::AuthMode mechanism) { return !offers(offered, mechanism); });
  return candidates;
}

SaslExchange::SaslExchange(core::AuthMode mechanism, std::string username, core::Secret password)
    : mechanism_(mechanism), username_(std::move(username)), password_(std::move(password)) {
  CHECK(!sasl_name(mechanism).empty());
}

core::Secret SaslExchange::credentials() const {
  std::string bytes;
  bytes.reserve(username_.size() + password_.size() + 32);
  if (mechanism_ == core::AuthMode::xoauth2) {
    bytes += "user=";
    bytes += username_;
    bytes +=
        "\x01"
        "auth=Bearer ";
    bytes += password_.reveal();
    bytes += "\x01\x01";
  } else {
    bytes += '\0';
    bytes += username_;
    bytes += '\0';
    bytes += password_.reveal();
  }
  return core::Secret(std::move(bytes));
}

core::Secret SaslExchange::command() {
  const std::string start = "AUTH " + std::string(sasl_name(mechanism_));
  if (mechanism_ == core::AuthMode::login) return core::Secret(start + "\r\n");
  core::Secret line = base64(credentials().reveal(), start + " ", "\r\n");
  if (line.size() > k_initial_response_bytes) return core::Secret(start + "\r\n");
  initial_sent_ = true;
  return line;
}

std::optional<core::Secret> SaslExchange::answer() {
  if (++rounds_ > k_most_rounds) return std::nullopt;
  if (mechanism_ == core::AuthMode::login) {
    if (rounds_ == 1) return base64(username_, "", "\r\n");
    if (rounds_ == 2) return base64(password_.reveal(), "", "\r\n");
    return std::nullopt;
  }
  if (!std::exchange(initial_sent_, true)) return base64(credentials().reveal(), "", "\r\n");
  // XOAUTH2 explains a refusal in a 334 and wants an empty line before it gives its 535.
  if (mechanism_ == core::AuthMode::xoauth2) return core::Secret("\r\n");
  return std::nullopt;
}

}  // namespace mailotp::mail
