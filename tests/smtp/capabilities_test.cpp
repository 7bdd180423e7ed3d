#include "mail/smtp/capabilities.h"

#include <catch2/catch.hpp>

using namespace mailotp::mail;

TEST_CASE("what a relay offers") {
  const Capabilities c =
      parse_capabilities({250,
                          {"relay.test hello", "pipelining", "SIZE 1000", "8BITMIME", "DSN", "STARTTLS",
                           "CHUNKING", "AUTH PLAIN  login", "AUTH=LOGIN XOAUTH2", "", "X\xff"}});
  CHECK(c.pipelining);
  CHECK(c.eight_bit_mime);
  CHECK(c.dsn);
  CHECK(c.starttls);
  CHECK(c.size == 1000);
  CHECK(c.auth == std::vector<std::string>{"PLAIN", "LOGIN", "XOAUTH2"});
  CHECK(c.keywords.back() == "X\\xff");
  CHECK(engine_ehlo(c) ==
        "250-relay\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-DSN\r\n250-SIZE\r\n250 HELP\r\n");
}

TEST_CASE("the greeting line of EHLO offers nothing") {
  const Capabilities c = parse_capabilities({250, {"STARTTLS"}});
  CHECK_FALSE(c.starttls);
  CHECK(engine_ehlo(c) == "250-relay\r\n250 HELP\r\n");
}

TEST_CASE("SIZE without a usable limit is no limit") {
  for (const char* line : {"SIZE", "SIZE 0", "SIZE x", "SIZE 12x", "SIZE 99999999999999999999999"}) {
    const Capabilities c = parse_capabilities({250, {"hi", line}});
    CHECK_FALSE(c.size);
    CHECK(c.size_parameter);
  }
}
