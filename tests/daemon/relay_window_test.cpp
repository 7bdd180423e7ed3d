// How many jobs a relay may hold at once.
#include "daemon/app/relay_window.h"

#include <chrono>

#include <catch2/catch.hpp>

using mailotp::daemon::RelayWindow;
using namespace std::chrono_literals;

namespace {

const RelayWindow::Time k_now{1h};

void hand_out(RelayWindow& window, int jobs) {
  for (int i = 0; i < jobs; ++i)
    window.handed_out();
}

// So many that come and go at once.
void do_quickly(RelayWindow& window, int jobs) {
  hand_out(window, jobs);
  for (int i = 0; i < jobs; ++i)
    REQUIRE(window.ended(true, k_now - 20ms, k_now) == 1);
}

}  // namespace

TEST_CASE("a relay has two jobs a connection, and gets one for one") {
  RelayWindow window(4);
  CHECK(window.places() == 8);
  hand_out(window, 8);
  CHECK(window.ended(true, k_now - 10ms, k_now) == 1);
  CHECK(window.ended(true, k_now - 10s, k_now) == 1);  // slow, but fewer would leave a connection idle
  CHECK(window.places() == 8);
}

TEST_CASE("a relay that has run dry while mails wait gets twice as many, up to eight a connection") {
  RelayWindow window(4);
  do_quickly(window, 8);
  CHECK(window.claimed_with_more_waiting() == 8);
  CHECK(window.claimed_with_more_waiting() == 0);
  do_quickly(window, 16);
  CHECK(window.claimed_with_more_waiting() == 16);
  do_quickly(window, 32);
  CHECK(window.claimed_with_more_waiting() == 0);
  CHECK(window.places() == 32);
}

TEST_CASE("one of which nothing is known, or that takes its time, gets no more") {
  RelayWindow window(4);
  CHECK(window.claimed_with_more_waiting() == 0);
  do_quickly(window, 7);
  hand_out(window, 1);
  CHECK(window.ended(true, k_now - 21ms, k_now) == 1);
  CHECK(window.claimed_with_more_waiting() == 0);
  do_quickly(window, 7);
  CHECK(window.claimed_with_more_waiting() == 0);
}

TEST_CASE("one that refuses at once gets no more") {
  RelayWindow window(1);
  hand_out(window, 2);
  CHECK(window.ended(false, k_now, k_now) == 1);
  CHECK(window.ended(true, k_now, k_now) == 1);
  CHECK(window.claimed_with_more_waiting() == 0);
}

TEST_CASE("one that still has work for its connections gets no more") {
  RelayWindow window(4);
  do_quickly(window, 8);
  hand_out(window, 5);
  CHECK(window.claimed_with_more_waiting() == 0);
  CHECK(window.ended(true, k_now, k_now) == 1);
  CHECK(window.claimed_with_more_waiting() == 8);
}

TEST_CASE("each job that was long out takes one place back, down to two a connection") {
  RelayWindow window(1);
  do_quickly(window, 2);
  CHECK(window.claimed_with_more_waiting() == 2);
  do_quickly(window, 4);
  CHECK(window.claimed_with_more_waiting() == 4);
  hand_out(window, 8);
  int given = 0;
  for (int i = 0; i < 8; ++i)
    given += window.ended(true, k_now - 51ms, k_now);
  CHECK(given == 2);
  CHECK(window.places() == 2);
  CHECK(window.out() == 0);
}

TEST_CASE("jobs that end in time keep the window") {
  RelayWindow window(1);
  do_quickly(window, 2);
  CHECK(window.claimed_with_more_waiting() == 2);
  hand_out(window, 4);
  for (int i = 0; i < 4; ++i)
    CHECK(window.ended(true, k_now - 50ms, k_now) == 1);
  CHECK(window.places() == 4);
}
