#include "mail/imap/name_lookup.h"

#include <catch2/catch.hpp>

using namespace mailotp;
using mail::NameLookup;
using mail::StopSignal;

TEST_CASE("an address needs no resolver, and localhost has one") {
  const StopSignal stop;
  for (const char* host : {"127.0.0.1", "::1", "localhost"}) {
    NameLookup names(host, 993);
    const auto found = names.lookup(core::Millis{60'000}, stop);
    REQUIRE(found);
    REQUIRE_FALSE(found->empty());
    CHECK(mail::is_loopback(found->front()));
    CHECK(mail::to_string(found->front()).ends_with(":993"));
  }
}

TEST_CASE("a name that cannot be is unavailable") {
  const StopSignal stop;
  NameLookup names("no..name", 993);
  const auto found = names.lookup(core::Millis{60'000}, stop);
  REQUIRE_FALSE(found);
  CHECK(found.error().code == core::Errc::unavailable);
  CHECK(found.error().what.starts_with("cannot resolve no..name"));
}
