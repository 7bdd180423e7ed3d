#include "daemon/api/refusal_notes.h"

#include <utility>

#include <fmt/format.h>

namespace mailotp::daemon {

bool RefusalGate::has_room(Time now) {
  if (now - second_ >= std::chrono::seconds{1}) {
    second_ = now;
    noted_ = 0;
  }
  return noted_ < k_a_second;
}

std::optional<std::int64_t> RefusalGate::pass(const std::string& kind, Time now) {
  if (kinds_.size() >= k_kinds && !kinds_.contains(kind)) {
    std::erase_if(kinds_, [now](const auto& one) { return now - one.second.noted >= k_pause; });
    if (kinds_.size() >= k_kinds) return std::nullopt;
  }
  const auto [place, is_new] = kinds_.try_emplace(kind, Kind{now, 0});
  Kind& one = place->second;
  ++one.since;
  if ((!is_new && now - one.noted < k_pause) || !has_room(now)) return std::nullopt;
  ++noted_;
  one.noted = now;
  return std::exchange(one.since, 0);
}

void RefusalNotes::note(core::NoteRefusal refusal) {
  const std::string whom = refusal.challenge   ? core::to_string(*refusal.challenge)
                           : refusal.recipient ? refusal.recipient->key()
                                               : std::string();
  const auto times =
      gate_.pass(fmt::format("{}\n{}\n{}\n{}\n{}", refusal.app, refusal.purpose, whom, refusal.code,
                             refusal.limit ? refusal.limit->name : std::string()),
                 std::chrono::steady_clock::now());
  if (!times) return;
  refusal.times = *times;
  (void)store_.submit(std::move(refusal), [](const core::Outcome&) {});  // full, or stopping: see the header
}

}  // namespace mailotp::daemon
