// One AUTH exchange (RFC 4954) with PLAIN (RFC 4616), LOGIN or XOAUTH2: what is sent, line by line.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/delivery.h"
#include "core/secret.h"

namespace mailotp::mail {

// Mechanisms to try, in order, of those offered: for `automatic` PLAIN, then LOGIN; else the one asked for.
[[nodiscard]] std::vector<core::AuthMode> auth_candidates(core::AuthMode wanted,
                                                          const std::vector<std::string>& offered);
[[nodiscard]] std::string_view sasl_name(core::AuthMode mechanism);

class SaslExchange {
 public:
  // `mechanism` is plain, login or xoauth2.
  SaslExchange(core::AuthMode mechanism, std::string username, core::Secret password);

  // The AUTH command, with CRLF.
  [[nodiscard]] core::Secret command();
  [[nodiscard]] core::AuthMode mechanism() const { return mechanism_; }
  // The answer to a 334, with CRLF; nothing after three of them, or when the mechanism has no more to say.
  [[nodiscard]] std::optional<core::Secret> answer();

 private:
  [[nodiscard]] core::Secret credentials() const;

  core::AuthMode mechanism_;
  std::string username_;
  core::Secret password_;
  bool initial_sent_ = false;
  int rounds_ = 0;
};

}  // namespace mailotp::mail
