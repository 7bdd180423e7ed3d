// Random sequences of commands against a model of one challenge in plain variables.
#include <algorithm>
#include <map>

#include <catch2/catch.hpp>
#include <rapidcheck.h>

#include "tests/store/store_fixture.h"

namespace mailotp::store::test {

using namespace std::chrono_literals;
using core::ChallengeState;
using core::CheckResult;

namespace {

struct ModelChallenge {
  std::string code;
  int attempts_left = 5;
  int sends = 1;
  core::WallTime expires_at;
  core::WallTime resend_at;
  ChallengeState end = ChallengeState::started;  // started: has not ended
  bool wrong = false;                            // the last thing was a wrong guess

  [[nodiscard]] bool open() const { return end == ChallengeState::started; }
  [[nodiscard]] ChallengeState state() const {
    if (!open()) return end;
    return wrong ? ChallengeState::otp_invalid : ChallengeState::otp_sent;
  }
};

class Model {
 public:
  void pass(core::Millis by) {
    store_.now += by;
    for (auto& [id, c] : challenges_) {
      if (c.open() && store_.now >= c.expires_at) c.end = ChallengeState::expired;
    }
    store_.done(core::Sweep{store_.now});
  }

  void create() {
    const core::ChallengeView made = store_.created();
    challenges_[made.id] = ModelChallenge{
        store_.last_code, 5, 1, store_.now + 600s, store_.now + 30s, ChallengeState::started, false};
    order_.push_back(made.id);
  }

  void check(std::size_t which, bool right) {
    if (order_.empty()) return;
    const core::Id id = order_[which % order_.size()];
    ModelChallenge& c = challenges_[id];
    const core::CheckAnswer answer = store_.check_answer(store_.check_command(id, right ? c.code : "0"));
    RC_ASSERT(answer.result == expected(c, right));
    RC_ASSERT(answer.attempts_left == c.attempts_left);
    RC_ASSERT(answer.state == c.state());
  }

  void send(std::size_t which) {
    if (order_.empty()) return;
    const core::Id id = order_[which % order_.size()];
    ModelChallenge& c = challenges_[id];
    const auto outcome = store_.run(store_.send_command(id));
    RC_ASSERT(outcome.has_value());
    const bool possible =
        c.open() && c.expires_at - store_.now >= 60s && c.sends < 5 && store_.now >= c.resend_at;
    RC_ASSERT(std::holds_alternative<core::ChallengeAnswer>(*outcome) == possible);
    if (!possible) return;
    ++c.sends;
    c.resend_at = store_.now + 30s;
    c.wrong = false;
  }

  void cancel(std::size_t which) {
    if (order_.empty()) return;
    const core::Id id = order_[which % order_.size()];
    ModelChallenge& c = challenges_[id];
    const auto outcome = store_.run(store_.cancel_command(id));
    RC_ASSERT(outcome.has_value());
    if (c.open()) c.end = ChallengeState::canceled;
    RC_ASSERT(std::holds_alternative<core::ChallengeAnswer>(*outcome) == (c.end == ChallengeState::canceled));
  }

  void claim() {
    for (core::Job& job : store_.claim(3))
      jobs_.push_back(std::move(job));
  }

  void settle(std::size_t how) {
    if (jobs_.empty()) return;
    const core::AttemptKey key = jobs_.back().key;
    jobs_.pop_back();
    if (how % 4 == 0) store_.done(store_.fact(core::JobRelayed{key, {250, "", "ok"}}));
    if (how % 4 == 1) store_.done(store_.fact(core::JobRefused{key, core::Stage::rcpt, {451, "", "later"}}));
    if (how % 4 == 2) store_.done(store_.fact(core::JobUncertain{key, "lost"}));
    if (how % 4 == 3) store_.done(core::SettleLost{store_.now, key, false});
  }

  void restart() {
    store_.close();
    store_.open();
    RC_ASSERT(store_.store->recover(store_.now).has_value());
    jobs_.clear();
  }

  // Everything that is shown agrees with the model.
  void compare() {
    std::map<std::string, std::int64_t> states;
    for (const auto& [id, c] : challenges_) {
      const core::ChallengeView view = store_.view(id);
      RC_ASSERT(view.state == c.state());
      RC_ASSERT(view.attempts_left == c.attempts_left);
      RC_ASSERT(view.sends_left == 5 - c.sends);
      // An ended challenge has nothing left to send.
      const bool waiting = view.message->state == core::MessageState::queued ||
                           view.message->state == core::MessageState::deferred;
      RC_ASSERT(c.open() || !waiting);
      ++states[std::string(to_string(c.state()))];
    }
    const core::Stats stats = store_.stats();
    for (const auto& [name, count] : stats.challenges)
      RC_ASSERT(count == states[name]);
    std::int64_t accounted = 0;
    for (const auto& [name, count] : stats.ended_total)
      accounted += count;
    for (int i = 0; i < core::k_message_states; ++i) {
      const auto state = static_cast<core::MessageState>(i);
      if (is_open(state)) accounted += stats.messages.at(std::string(to_string(state)));
    }
    RC_ASSERT(accounted == stats.accepted_total);
  }

 private:
  static CheckResult expected(ModelChallenge& c, bool right) {
    switch (c.state()) {
      case ChallengeState::otp_valid:
        return CheckResult::already_used;
      case ChallengeState::otp_exhausted:
        return CheckResult::exhausted;
      case ChallengeState::expired:
        return CheckResult::expired;
      case ChallengeState::canceled:
        return CheckResult::canceled;
      case ChallengeState::started:
      case ChallengeState::otp_sent:
      case ChallengeState::otp_invalid:
        break;
    }
    --c.attempts_left;
    if (right) {
      c.end = ChallengeState::otp_valid;
      return CheckResult::valid;
    }
    c.wrong = true;
    if (c.attempts_left == 0) c.end = ChallengeState::otp_exhausted;
    return CheckResult::invalid;
  }

  StoreFixture store_;
  std::map<core::Id, ModelChallenge> challenges_;
  std::vector<core::Id> order_;
  std::vector<core::Job> jobs_;
};

}  // namespace

TEST_CASE("any sequence of commands leaves what the model says") {
  const bool held = rc::check([](const std::vector<std::uint16_t>& steps) {
    Model model;
    for (const std::uint16_t step : steps) {
      const std::size_t which = step / 16;
      switch (step % 16) {
        case 0:
        case 1:
          model.create();
          break;
        case 2:
        case 3:
        case 4:
          model.check(which, false);
          break;
        case 5:
          model.check(which, true);
          break;
        case 6:
        case 7:
          model.send(which);
          break;
        case 8:
          model.cancel(which);
          break;
        case 9:
        case 10:
          model.claim();
          break;
        case 11:
        case 12:
          model.settle(which);
          break;
        case 13:
          model.restart();
          break;
        case 14:
          model.pass(core::Millis{30'000});
          break;
        default:
          model.pass(core::Millis{std::int64_t{1000} * (step / 64)});
          break;
      }
    }
    model.compare();
  });
  CHECK(held);
}

}  // namespace mailotp::store::test
