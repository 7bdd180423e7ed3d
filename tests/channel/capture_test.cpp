// The capture relay in this process, on a loop of the test's.
#include "mail/smtp/capture.h"

#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include <catch2/catch.hpp>
#include <uv.h>

#include "tests/channel/samples.h"
#include "tests/channel/temporary_folder.h"

using namespace mailotp;

namespace {

class Facts final : public mail::FactSink {
 public:
  void report(core::Fact fact) override { all.push_back(std::move(fact)); }
  template <class T>
  std::vector<T> of() const {
    std::vector<T> some;
    for (const core::Fact& fact : all)
      if (const T* one = std::get_if<T>(&fact)) some.push_back(*one);
    return some;
  }
  std::vector<core::Fact> all;
};

struct Capture {
  testing::TemporaryFolder folder;
  std::string maildir = folder.maildir("captured");
  uv_loop_t loop{};
  Facts facts;
  std::unique_ptr<mail::CaptureRelay> relay;
  bool drained = false;

  Capture() {
    REQUIRE(uv_loop_init(&loop) == 0);
    relay = std::make_unique<mail::CaptureRelay>("primary", maildir, "mail.example.org", &loop, facts);
  }
  ~Capture() {
    if (!drained) drain();
    relay.reset();
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&loop) == 0);
  }
  void drain() {
    relay->drain(core::Millis{0}, [this] { drained = true; });
    run_until([this] { return drained; });
  }
  template <class Condition>
  void run_until(Condition condition) {
    bool late = false;
    uv_timer_t bound;
    REQUIRE(uv_timer_init(&loop, &bound) == 0);
    bound.data = &late;
    REQUIRE(uv_timer_start(
                &bound, [](uv_timer_t* timer) { *static_cast<bool*>(timer->data) = true; }, 20'000, 0) == 0);
    while (!condition() && !late)
      (void)uv_run(&loop, UV_RUN_ONCE);
    uv_close(reinterpret_cast<uv_handle_t*>(&bound), nullptr);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    REQUIRE(condition());
  }
  void run_until_facts(std::size_t count) {
    run_until([this, count] { return facts.all.size() >= count; });
  }
  std::size_t mails() const { return testing::files_in(maildir + "/new").size(); }
  std::size_t drafts() const { return testing::files_in(maildir + "/tmp").size(); }
};

}  // namespace

TEST_CASE("a job canceled before its dot is not sent and leaves no file") {
  Capture capture;
  capture.relay->submit(samples::job(samples::key(1)));
  capture.relay->submit(samples::job(samples::key(2)));
  capture.relay->cancel(samples::key(1));
  capture.relay->cancel(samples::key(2, 99));  // another attempt: means nothing
  capture.run_until([&] {
    return capture.facts.of<core::JobNotSent>().size() + capture.facts.of<core::JobRelayed>().size() == 2;
  });
  REQUIRE(capture.facts.of<core::JobNotSent>().size() == 1);
  CHECK(capture.facts.of<core::JobNotSent>()[0].key == samples::key(1));
  CHECK(capture.facts.of<core::JobRelayed>().size() == 1);
  CHECK(capture.facts.of<core::JobDotNext>().size() == 1);
  capture.drain();  // the first look at the folder may still have its file in tmp
  CHECK(capture.mails() == 1);
  CHECK(capture.drafts() == 0);
}

TEST_CASE("a drain ends what has no dot yet, then takes nothing") {
  Capture capture;
  capture.relay->submit(samples::job(samples::key(1)));
  capture.drain();
  CHECK(capture.facts.of<core::JobNotSent>().size() == 1);
  capture.relay->submit(samples::job(samples::key(2)));
  CHECK(capture.facts.of<core::JobNotSent>().size() == 2);
  CHECK(capture.mails() == 0);
  CHECK(capture.drafts() == 0);
}

TEST_CASE("no dot after the time that a job had") {
  Capture capture;
  core::Job job = samples::job(samples::key());
  job.time_left = core::Millis{-1};
  capture.relay->submit(std::move(job));
  capture.run_until([&] { return !capture.facts.of<core::JobNotSent>().empty(); });
  CHECK(capture.facts.of<core::JobDotNext>().empty());
  CHECK(capture.mails() == 0);
}

TEST_CASE("a folder that goes away takes the relay down, and one that comes back takes it up") {
  Capture capture;
  capture.run_until_facts(1);
  REQUIRE(capture.facts.of<core::RelayFact>()[0].condition == core::RelayCondition::up);
  std::filesystem::rename(capture.maildir, capture.maildir + ".away");
  capture.relay->submit(samples::job(samples::key()));
  capture.run_until_facts(3);
  REQUIRE(capture.facts.of<core::JobNotSent>().size() == 1);
  CHECK(capture.facts.of<core::JobNotSent>()[0].stage == core::Stage::local);
  REQUIRE(capture.facts.of<core::RelayFact>().size() == 2);
  CHECK(capture.facts.of<core::RelayFact>()[1].condition == core::RelayCondition::down);
  CHECK_FALSE(capture.facts.of<core::RelayFact>()[1].reason.empty());
  std::filesystem::rename(capture.maildir + ".away", capture.maildir);
  capture.run_until([&] { return capture.facts.of<core::RelayFact>().size() == 3; });
  CHECK(capture.facts.of<core::RelayFact>()[2].condition == core::RelayCondition::up);
}

TEST_CASE("a mail that cannot be renamed was not sent") {
  Capture capture;
  capture.run_until_facts(1);
  std::filesystem::remove(capture.maildir + "/new");
  capture.relay->submit(samples::job(samples::key()));
  capture.run_until([&] { return !capture.facts.of<core::JobNotSent>().empty(); });
  CHECK(capture.facts.of<core::JobDotNext>().size() == 1);
  CHECK(capture.facts.of<core::JobRelayed>().empty());
  std::filesystem::create_directory(capture.maildir + "/new");
  CHECK(capture.drafts() == 0);
}

TEST_CASE("a test says whether the folder can be written, and leaves nothing in it") {
  Capture capture;
  capture.run_until_facts(1);
  capture.relay->test(7);
  capture.run_until([&] { return capture.facts.of<core::TestDone>().size() == 1; });
  CHECK(capture.facts.of<core::TestStep>()[0].ok);
  CHECK(capture.facts.of<core::TestDone>()[0].ok);
  CHECK(capture.facts.of<core::TestDone>()[0].test == 7);
  std::filesystem::rename(capture.maildir, capture.maildir + ".away");
  capture.relay->test(8);
  capture.run_until([&] { return capture.facts.of<core::TestDone>().size() == 2; });
  CHECK_FALSE(capture.facts.of<core::TestStep>()[1].ok);
  CHECK_FALSE(capture.facts.of<core::TestDone>()[1].ok);
  std::filesystem::rename(capture.maildir + ".away", capture.maildir);
  CHECK(capture.mails() == 0);
  CHECK(capture.drafts() == 0);
}
