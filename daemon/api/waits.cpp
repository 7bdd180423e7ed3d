#include "daemon/api/waits.h"

#include <algorithm>
#include <utility>

#include "daemon/api/answers.h"
#include "daemon/api/views.h"
#include "daemon/state/clock.h"

namespace mailotp::daemon {

struct Waits::Wait {
  WaitRequest request;
  Responder responder;
  std::uint64_t deadline = 0;  // loop time, ms
  bool due = false;            // answer with whatever the next read brings
};

Waits::Waits(uv_loop_t* loop, ReaderThread& reader, Tally& tally)
    : loop_(loop), reader_(reader), tally_(tally), timer_(loop, [this] { expire(); }) {}

Waits::~Waits() = default;

void Waits::add(WaitRequest request, Responder responder) {
  const bool waits = request.patience > core::Millis{0} && !finishing_;
  if (waits && by_peer_[{request.uid, request.app}] >= k_per_uid) {
    tally_.limit_hit("waits");
    ProblemDetail refused;
    refused.problem = Problem::too_many_waits;
    refused.detail = "this user has as many waiting requests as one may have";
    refused.retry_after = core::Millis{1000};
    refused.limit = core::Limit{"waits", static_cast<std::int64_t>(k_per_uid), core::Seconds{60},
                                wall_now() + core::Millis{1000}};
    responder.respond(make_problem(refused, request.request_id));
    return;
  }
  const Key key = next_key_++;
  uv_update_time(loop_);
  auto wait = std::make_unique<Wait>(Wait{std::move(request), std::move(responder), 0, !waits});
  wait->deadline = uv_now(loop_) + static_cast<std::uint64_t>(wait->request.patience.count());
  if (waits) {
    by_id_.emplace(wait->request.id, key);
    by_deadline_.emplace(wait->deadline, key);
    ++by_peer_[{wait->request.uid, wait->request.app}];
  }
  Responder& watched = waits_.emplace(key, std::move(wait)).first->second->responder;
  watched.on_gone([this, key] { forget(key); });
  if (!waits_.contains(key)) return;  // gone already
  arm();
  read(key);
}

void Waits::read(Key key) {
  const WaitRequest& request = waits_.at(key)->request;
  bool asked = false;
  if (request.subject == Subject::challenge) {
    asked = reader_.read<core::ChallengeView>(
        [app = request.app, id = request.id](core::StoreReader& store) {
          return store.challenge(app, id, wall_now());
        },
        [this, key](core::Result<core::ChallengeView> view) { answer_with(key, view); });
  } else {
    asked = reader_.read<core::MessageView>(
        [app = request.app, id = request.id](core::StoreReader& store) { return store.message(app, id); },
        [this, key](core::Result<core::MessageView> view) { answer_with(key, view); });
  }
  if (!asked)
    answer(key, problem(Problem::overloaded, "too many requests wait to be read", request.request_id));
}

template <class View>
void Waits::answer_with(Key key, const core::Result<View>& view) {
  const auto at = waits_.find(key);
  if (at == waits_.end()) return;  // answered by an earlier read, or the client is gone
  const Wait& wait = *at->second;
  if (!view) {
    answer(key, error_answer(view.error(), wait.request.request_id));
    return;
  }
  if (!wait.due && view->revision <= wait.request.revision) return;
  if constexpr (std::is_same_v<View, core::ChallengeView>) {
    answer(key, ok_json(challenge_json(*view)));
  } else {
    answer(key, ok_json(message_json(*view)));
  }
}

void Waits::answer(Key key, HttpResponse response) {
  Responder responder = std::move(waits_.at(key)->responder);
  forget(key);
  responder.respond(std::move(response));
}

void Waits::on_changes(const std::vector<core::Change>& changes) {
  if (by_id_.empty()) return;
  for (const core::Change& change : changes) {
    if (change.challenge) wake(*change.challenge);
    if (change.message) wake(*change.message);
  }
}

void Waits::wake(const core::Id& id) {
  const auto [first, last] = by_id_.equal_range(id);
  std::vector<Key> keys;
  std::transform(first, last, std::back_inserter(keys), [](const auto& entry) { return entry.second; });
  for (const Key key : keys)
    read(key);
}

void Waits::expire() {
  std::vector<Key> due;
  for (const auto& [deadline, key] : by_deadline_) {
    if (deadline > uv_now(loop_)) break;
    due.push_back(key);
  }
  for (const Key key : due) {
    Wait& wait = *waits_.at(key);
    if (std::exchange(wait.due, true)) continue;
    read(key);
  }
  arm();
}

void Waits::arm() {
  const auto next =
      std::ranges::find_if(by_deadline_, [this](const auto& entry) { return !waits_.at(entry.second)->due; });
  if (next == by_deadline_.end()) return timer_.stop();
  const std::uint64_t now = uv_now(loop_);
  timer_.start(core::Millis{next->first > now ? next->first - now : 0});
}

void Waits::finish() {
  finishing_ = true;
  answer_all();
}

void Waits::answer_all() {
  std::vector<Key> keys;
  for (const auto& [deadline, key] : by_deadline_)
    keys.push_back(key);
  for (const Key key : keys) {
    waits_.at(key)->due = true;
    read(key);
  }
}

void Waits::forget(Key key) {
  const auto at = waits_.find(key);
  if (at == waits_.end()) return;
  const Wait& wait = *at->second;
  const auto drop = [key](auto& index, const auto& value) {
    const auto [first, last] = index.equal_range(value);
    const auto entry = std::find_if(first, last, [key](const auto& e) { return e.second == key; });
    if (entry == last) return false;
    index.erase(entry);
    return true;
  };
  (void)drop(by_id_, wait.request.id);  // one that never waited stands in no index
  if (drop(by_deadline_, wait.deadline)) {
    const auto count = by_peer_.find({wait.request.uid, wait.request.app});
    if (--count->second == 0) by_peer_.erase(count);
  }
  waits_.erase(at);
}

}  // namespace mailotp::daemon
