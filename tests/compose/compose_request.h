// A composer over the installed templates and requests to it.
#pragma once

#include <string>
#include <vector>

#include "mail/compose/composer.h"
#include "mail/compose/keyed_tokens.h"

namespace mailotp::mail::test {

inline core::NamedAddress named(const std::string& text) {
  return core::parse_named_address(text).value();
}

// Under a key of 32 zero bytes.
inline const KeyedTokens& tokens() {
  static const KeyedTokens made = [] {
    std::vector<core::Secret> keys;
    keys.emplace_back(std::string(32, '\0'));
    return KeyedTokens::create(keys).value();
  }();
  return made;
}

inline ComposerSettings settings() {
  ComposerSettings made;
  made.tokens = &tokens();
  made.from = named("Example <no-reply@example.org>");
  made.hostname = "otp.example.org";
  return made;
}

inline core::ComposeRequest otp_request() {
  core::ComposeRequest request;
  request.app = "shop";
  request.template_name = "otp";
  request.locale = "en";
  request.recipient = {"alice", "example.net"};
  request.message = core::parse_id("0190b5a0-7c1e-7e3a-9f00-0123456789ab").value();
  request.challenge = core::parse_id("0190b5a0-7c1e-7e3a-9f00-0123456789ac").value();
  request.at = core::from_unix_ms(1'795'176'000'000);  // 2026-11-20 12:00:00 UTC
  request.life = core::Seconds(600);
  request.code = core::Secret("012345");
  request.purpose = "login";
  return request;
}

}  // namespace mailotp::mail::test
