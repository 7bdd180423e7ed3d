#include "mail/smtp/capture.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <unistd.h>

#include "core/check.h"

namespace mailotp::mail {
namespace {

constexpr core::Millis k_probe_again{1000};

core::WallTime wall_now() {
  return std::chrono::floor<core::Millis>(std::chrono::system_clock::now());
}

struct PoolWork {
  uv_work_t request{};
  std::function<void()> work;
  std::function<void()> after;
};

}  // namespace

// One mail on its way. While the pool works on it the loop thread touches `canceled` alone.
struct CaptureRelay::Letter {
  core::Job job;
  std::uint64_t deadline = 0;  // uv_now() of the loop
  std::string file;
  core::Result<> moved;
  core::Result<> synced;
  bool canceled = false;
};

CaptureRelay::CaptureRelay(std::string name, std::string folder, std::string hostname, uv_loop_t* loop,
                           FactSink& facts)
    : name_(std::move(name)),
      maildir_(std::move(folder)),
      hostname_(std::move(hostname)),
      loop_(loop),
      facts_(facts),
      probe_again_(loop, [this] { probe(std::nullopt); }) {
  probe(std::nullopt);
}

CaptureRelay::~CaptureRelay() {
  CHECK(letters_.empty() && probes_ == 0);
}

void CaptureRelay::in_pool(std::function<void()> work, std::function<void()> after) {
  auto* job = new PoolWork{{}, std::move(work), std::move(after)};  // the last callback deletes it
  job->request.data = job;
  const int queued = uv_queue_work(
      loop_, &job->request,
      [](uv_work_t* request) noexcept { static_cast<PoolWork*>(request->data)->work(); },
      [](uv_work_t* request, int) noexcept {
        const std::unique_ptr<PoolWork> done(static_cast<PoolWork*>(request->data));
        done->after();
      });
  CHECK(queued == 0);
}

void CaptureRelay::submit(core::Job job) {
  if (drained_) {
    facts_.report(core::JobNotSent{job.key, core::Stage::local, "the agent is ending", std::nullopt});
    return;
  }
  letters_.push_back(std::make_unique<Letter>());
  Letter& letter = *letters_.back();
  letter.file = CaptureMaildir::file_name(job.key, wall_now(), hostname_);
  letter.deadline = uv_now(loop_) + static_cast<std::uint64_t>(job.time_left.count());
  letter.job = std::move(job);
  in_pool([this, &letter] { letter.moved = maildir_.write(letter.file, letter.job.content.reveal()); },
          [this, &letter] { written(letter); });
}

void CaptureRelay::written(Letter& letter) {
  if (!letter.moved) {
    end(letter,
        core::JobNotSent{letter.job.key, core::Stage::local, letter.moved.error().what, std::nullopt});
    return;
  }
  if (letter.canceled) {
    give_up(letter, "canceled");
    return;
  }
  if (uv_now(loop_) > letter.deadline) {
    give_up(letter, "no time left");
    return;
  }
  facts_.report(core::JobDotNext{letter.job.key});
  in_pool(
      [this, &letter] {
        letter.moved = maildir_.publish(letter.file);
        if (letter.moved) letter.synced = maildir_.sync();
      },
      [this, &letter] { published(letter); });
}

void CaptureRelay::published(Letter& letter) {
  const core::AttemptKey key = letter.job.key;
  if (!letter.moved) {
    end(letter, core::JobNotSent{key, core::Stage::local, letter.moved.error().what, std::nullopt});
  } else if (!letter.synced) {
    end(letter, core::JobUncertain{key, letter.synced.error().what});
  } else {
    end(letter, core::JobRelayed{key, {250, "2.0.0", "saved as " + letter.file}});
  }
}

void CaptureRelay::give_up(Letter& letter, const char* reason) {
  in_pool([this, &letter] { maildir_.discard(letter.file); },
          [this, &letter, reason] {
            end(letter, core::JobNotSent{letter.job.key, core::Stage::local, reason, std::nullopt});
          });
}

void CaptureRelay::end(Letter& letter, core::Fact fact) {
  note(letter.moved ? letter.synced : letter.moved);
  std::erase_if(letters_, [&letter](const auto& one) { return one.get() == &letter; });
  facts_.report(std::move(fact));
  end_drain_if_idle();
}

// Tells the daemon when the folder begins or ceases to work, and keeps looking while it does not: jobs are
// not sent to a relay that is down.
void CaptureRelay::note(const core::Result<>& outcome) {
  const auto condition = outcome ? core::RelayCondition::up : core::RelayCondition::down;
  if (reported_ != condition) {
    facts_.report(
        core::RelayFact{name_, condition, core::Stage::local, outcome ? "" : outcome.error().what, 0});
    reported_ = condition;
  }
  if (outcome || drained_)
    probe_again_.stop();
  else
    probe_again_.start(k_probe_again);
}

void CaptureRelay::probe(std::optional<std::uint32_t> test) {
  ++probes_;
  const auto outcome = std::make_shared<core::Result<>>();  // shared by the two callbacks below
  std::string file = "probe." + std::to_string(::getpid()) + "_" + std::to_string(++probe_name_);
  in_pool([this, outcome, file = std::move(file)] { *outcome = maildir_.probe(file); },
          [this, outcome, test] { probed(test, *outcome); });
}

void CaptureRelay::probed(std::optional<std::uint32_t> test, const core::Result<>& outcome) {
  --probes_;
  if (test) {
    const bool ok = outcome.has_value();
    facts_.report(core::TestStep{*test, core::Stage::local, ok,
                                 ok ? "the folder can be written" : outcome.error().what});
    facts_.report(core::TestDone{*test, ok});
  }
  note(outcome);
  end_drain_if_idle();
}

void CaptureRelay::cancel(const core::AttemptKey& key) {
  for (const auto& letter : letters_)
    if (letter->job.key == key) letter->canceled = true;
}

// A folder asks for none.
void CaptureRelay::set_password(core::Secret password) {
  (void)password;
}

void CaptureRelay::test(std::uint32_t test) {
  probe(test);
}

void CaptureRelay::drain(core::Millis grace, std::function<void()> done) {
  (void)grace;
  drained_ = std::move(done);
  probe_again_.stop();
  for (const auto& letter : letters_)
    letter->canceled = true;  // means nothing to those whose rename has begun
  end_drain_if_idle();
}

void CaptureRelay::end_drain_if_idle() {
  if (drained_ && letters_.empty() && probes_ == 0) drained_();
}

}  // namespace mailotp::mail
