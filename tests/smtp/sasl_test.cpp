#include "mail/smtp/sasl.h"

#include <catch2/catch.hpp>

using namespace mailotp;
using core::AuthMode;
using mail::SaslExchange;

namespace {

core::Secret password(std::string text = "pencil") {
  return core::Secret(std::move(text));
}

}  // namespace

TEST_CASE("mechanisms are tried in our order, of those offered") {
  using mail::auth_candidates;
  using Modes = std::vector<AuthMode>;
  CHECK(auth_candidates(AuthMode::automatic, {"LOGIN", "PLAIN", "XOAUTH2"}) ==
        Modes{AuthMode::plain, AuthMode::login});
  CHECK(auth_candidates(AuthMode::automatic, {"LOGIN"}) == Modes{AuthMode::login});
  CHECK(auth_candidates(AuthMode::automatic, {"XOAUTH2", "CRAM-MD5"}).empty());
  CHECK(auth_candidates(AuthMode::xoauth2, {"XOAUTH2", "PLAIN"}) == Modes{AuthMode::xoauth2});
  CHECK(auth_candidates(AuthMode::plain, {"LOGIN"}).empty());
}

TEST_CASE("PLAIN goes in one line, or after a 334 when it is long") {
  SaslExchange exchange(AuthMode::plain, "tim", password("tanstaaftanstaaf"));
  CHECK(exchange.command().reveal() == "AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm\r\n");  // RFC 4616 section 4
  CHECK_FALSE(exchange.answer());

  SaslExchange with_long(AuthMode::plain, "tim", password(std::string(400, 'p')));
  CHECK(with_long.command().reveal() == "AUTH PLAIN\r\n");
  CHECK(with_long.answer()->reveal().substr(0, 8) == "AHRpbQBw");
  CHECK_FALSE(with_long.answer());
}

TEST_CASE("LOGIN answers twice") {
  SaslExchange exchange(AuthMode::login, "tim", password());
  CHECK(exchange.command().reveal() == "AUTH LOGIN\r\n");
  CHECK(exchange.answer()->reveal() == "dGlt\r\n");
  CHECK(exchange.answer()->reveal() == "cGVuY2ls\r\n");
  CHECK_FALSE(exchange.answer());
}

TEST_CASE("XOAUTH2 hears a refusal out, but not for ever") {
  SaslExchange exchange(AuthMode::xoauth2, "u@x.test", password("tok"));
  // user=u@x.test ^A auth=Bearer tok ^A ^A
  CHECK(exchange.command().reveal() == "AUTH XOAUTH2 dXNlcj11QHgudGVzdAFhdXRoPUJlYXJlciB0b2sBAQ==\r\n");
  CHECK(exchange.answer()->reveal() == "\r\n");
  CHECK(exchange.answer()->reveal() == "\r\n");
  CHECK(exchange.answer()->reveal() == "\r\n");
  CHECK_FALSE(exchange.answer());
}
