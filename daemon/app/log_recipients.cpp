#include "daemon/app/log_recipients.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include <fmt/format.h>

#include "core/address.h"

namespace mailotp::daemon {

namespace {

constexpr std::size_t k_hash_bytes = 8;

}  // namespace

core::Result<LogRecipients> LogRecipients::create(const core::Secret& key, core::LogLevel least) {
  auto hmac = store::Hmac::create(key);
  if (!hmac) return tl::unexpected(hmac.error());
  return LogRecipients(std::move(*hmac), least == core::LogLevel::debug);
}

std::string LogRecipients::fields(std::string_view mailbox) {
  const auto address = core::parse_address(mailbox);
  std::string hash;
  if (const auto mac = hmac_.of({address ? address->key() : std::string(mailbox)})) {
    for (std::size_t i = 0; i < k_hash_bytes; ++i)
      hash += fmt::format("{:02x}", (*mac)[i]);
  }
  std::string out =
      fmt::format("recipient_hash={} domain={}", hash.empty() ? "-" : hash, address ? address->domain : "-");
  if (in_full_ && address) {
    std::string text = address->mailbox();
    std::ranges::replace(text, '"', '\'');  // so that it cannot pass for fields of ours
    out += fmt::format(" recipient=\"{}\"", text);
  }
  return out;
}

}  // namespace mailotp::daemon
