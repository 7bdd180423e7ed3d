#include "mail/smtp/connection_limit.h"

#include <catch2/catch.hpp>

using mailotp::mail::ConnectionLimit;

TEST_CASE("connections grow by one after as many successes and are halved") {
  ConnectionLimit limit(4);
  CHECK(limit.now() == 2);
  limit.succeeded();
  CHECK(limit.now() == 2);
  limit.succeeded();
  CHECK(limit.now() == 3);
  for (int i = 0; i < 100; ++i)
    limit.succeeded();
  CHECK(limit.now() == 4);
  limit.overloaded();
  CHECK(limit.now() == 2);
  limit.overloaded();
  limit.overloaded();
  CHECK(limit.now() == 1);
}

TEST_CASE("a relay of one connection has one") {
  ConnectionLimit limit(1);
  CHECK(limit.now() == 1);
  limit.succeeded();
  CHECK(limit.now() == 1);
  CHECK(ConnectionLimit(0).now() == 1);
}
