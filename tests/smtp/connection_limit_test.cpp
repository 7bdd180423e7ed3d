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

TEST_CASE("after each sign of too many it waits twice as long before it asks for more") {
  ConnectionLimit limit(8);
  limit.overloaded();
  CHECK(limit.now() == 1);
  limit.succeeded();
  CHECK(limit.now() == 1);
  limit.succeeded();
  CHECK(limit.now() == 2);
  for (int i = 0; i < 20; ++i)
    limit.overloaded();
  for (int i = 0; i < 63; ++i)
    limit.succeeded();
  CHECK(limit.now() == 1);
  limit.succeeded();
  CHECK(limit.now() == 2);
}

TEST_CASE("row 60: a relay that was lost is met by few connections when it is back") {
  ConnectionLimit limit(8);
  for (int i = 0; i < 100; ++i)
    limit.succeeded();
  CHECK(limit.now() == 8);
  limit.lost();
  CHECK(limit.now() == 2);
  limit.succeeded();
  limit.succeeded();
  CHECK(limit.now() == 3);
}
