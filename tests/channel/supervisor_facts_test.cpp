// The supervisor and what its agent says: only what can be true gets through.
#include <string>

#include <catch2/catch.hpp>

#include "mail/channel/codec.h"
#include "tests/channel/samples.h"
#include "tests/channel/supervised.h"

using namespace mailotp;
using testing::Supervised;

TEST_CASE("facts of another attempt, job, relay or test are dropped, and logged once") {
  Supervised supervised("stale");
  supervised.start_and_wait();
  supervised.submit(samples::key(1, 5));
  supervised.run_until([&] { return supervised.agent->held() == 0; });
  supervised.submit(samples::key(1, 6));  // everything that was said of the first has come by the end of this
  supervised.run_until([&] { return supervised.agent->held() == 0; });
  REQUIRE(supervised.facts.size() == 4);
  CHECK(supervised.facts_of<core::JobDotNext>().size() == 2);
  REQUIRE(supervised.facts_of<core::JobRelayed>().size() == 2);
  CHECK(supervised.facts_of<core::JobRelayed>()[0].key == samples::key(1, 5));
  CHECK(supervised.facts_of<core::JobRelayed>()[1].key == samples::key(1, 6));
  CHECK(supervised.log.count("event=agent_fact_dropped") == 1);
}

TEST_CASE("a job that is submitted without an agent is lost at once, without a dot") {
  Supervised supervised("mute");
  supervised.start();
  supervised.submit(samples::key());
  REQUIRE(supervised.lost.size() == 1);
  REQUIRE(supervised.lost[0].size() == 1);
  CHECK(supervised.lost[0][0].key == samples::key());
  CHECK_FALSE(supervised.lost[0][0].dot_possible);
  CHECK(supervised.agent->held() == 0);
}

TEST_CASE("a job that is too large for the channel was not sent") {
  Supervised supervised("relay");
  supervised.start_and_wait();
  supervised.agent->submit(samples::job(samples::key(), std::string(channel::k_max_frame, 'x')));
  REQUIRE(supervised.facts_of<core::JobNotSent>().size() == 1);
  CHECK(supervised.agent->held() == 0);
  supervised.submit(samples::key(2));
  supervised.run_until([&] { return !supervised.facts_of<core::JobRelayed>().empty(); });
}

TEST_CASE("log lines are bounded and cannot forge fields") {
  Supervised supervised("flood");
  supervised.options.beat = core::Millis{20'000};
  supervised.start_and_wait();
  supervised.submit(samples::key());
  supervised.run_until([&] { return !supervised.facts_of<core::JobRelayed>().empty(); });
  CHECK(supervised.log.count("event=agent_log") == 50);
  CHECK(supervised.log.count("line=\"event=spam line=' event=forged\"") == 50);
  CHECK(supervised.log.count("event=agent_fact_dropped") == 1);
}

TEST_CASE("a test's steps are bounded, and it ends once") {
  Supervised supervised("relay");
  supervised.start_and_wait();
  supervised.agent->test({7, "primary"});
  supervised.run_until([&] { return !supervised.facts_of<core::TestDone>().empty(); });
  CHECK(supervised.facts_of<core::TestStep>().size() == 32);
  CHECK(supervised.facts_of<core::TestDone>()[0].test == 7);
  CHECK(supervised.facts_of<core::TestDone>()[0].ok);
}

TEST_CASE("a test whose agent dies, or that has none, ends as failed") {
  Supervised supervised("hold");
  supervised.start_and_wait();
  supervised.agent->test({7, "primary"});
  supervised.kill_agent(SIGKILL);
  supervised.run_until([&] { return supervised.lost.size() == 1; });
  supervised.agent->test({8, "primary"});
  const auto done = supervised.facts_of<core::TestDone>();
  REQUIRE(done.size() == 2);
  CHECK((done[0].test == 7 && !done[0].ok));
  CHECK((done[1].test == 8 && !done[1].ok));
}

TEST_CASE("a relay's test and a new password reach the real agent") {
  Supervised supervised("");
  supervised.start_and_wait();
  supervised.agent->set_password({"primary", core::Secret("hunter2")});
  supervised.agent->test({9, "primary"});
  supervised.run_until([&] { return !supervised.facts_of<core::TestDone>().empty(); });
  CHECK(supervised.facts_of<core::TestDone>()[0].ok);
  supervised.submit(samples::key());
  supervised.agent->cancel(samples::key());
  supervised.run_until([&] { return supervised.agent->held() == 0; });
  CHECK(supervised.readies.size() == 1);
}
