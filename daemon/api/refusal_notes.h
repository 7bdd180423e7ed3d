// Which refusals are noted in the log of events, so that a timeline tells why no mail was sent. A refusal is
// cheap, and whoever is refused may ask on: of those that are alike one a minute is noted, with how many came
// since the last one, and never more than some a second altogether. Loop thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>

#include "core/store.h"
#include "daemon/state/store_thread.h"

namespace mailotp::daemon {

// Pure: times come in.
class RefusalGate {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds k_pause{60};  // between two of one kind
  static constexpr int k_a_second = 20;               // of all kinds
  static constexpr std::size_t k_kinds = 4096;        // that are remembered

  // How many of this kind it stands for, when it is to be noted.
  [[nodiscard]] std::optional<std::int64_t> pass(const std::string& kind, Time now);

 private:
  struct Kind {
    Time noted;
    std::int64_t since = 0;  // refused and not noted
  };
  [[nodiscard]] bool has_room(Time now);

  std::unordered_map<std::string, Kind> kinds_;
  Time second_;
  int noted_ = 0;  // in this second
};

class RefusalNotes {
 public:
  explicit RefusalNotes(StoreThread& store) : store_(store) {}
  // Its `times` is set here. Nobody waits for it: with a store that takes nothing it is not noted.
  void note(core::NoteRefusal refusal);

 private:
  StoreThread& store_;
  RefusalGate gate_;
};

}  // namespace mailotp::daemon
