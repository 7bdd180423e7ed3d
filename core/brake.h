// The brake: mails with codes rise and right codes do not, so somebody sends them who does not read them.
// Pure.
//
// Counted in slots of time, a fiftieth of the period each; a slot counts until all of it is past.
#pragma once

#include <cstdint>
#include <deque>

#include "core/config.h"
#include "core/time.h"

namespace mailotp::core {

struct BrakeCount {
  std::int64_t sends = 0;  // mails with codes
  std::int64_t right_codes = 0;
  bool operator==(const BrakeCount&) const = default;
};

// One more send would be one too many.
[[nodiscard]] bool is_braked(const BrakeConfig& brake, const BrakeCount& count);

struct BrakeSlot {
  WallTime start;
  BrakeCount count;
  bool operator==(const BrakeSlot&) const = default;
};
// The start of the slot of a moment, and of the oldest one that still counts then.
[[nodiscard]] WallTime brake_slot(const BrakeConfig& brake, WallTime at);
[[nodiscard]] WallTime first_brake_slot(const BrakeConfig& brake, WallTime at);

// What one app has done in the period.
class BrakeCounts {
 public:
  // In any order; those of one slot are added up.
  void add(const BrakeSlot& slot);
  // Slots that start before count no more, nor do later ones than there can be: the clock was wrong.
  void keep_between(WallTime first, WallTime last);
  [[nodiscard]] BrakeCount total() const;
  // When so many old slots are past that a send would pass, if nothing more happens.
  [[nodiscard]] WallTime passes_at(const BrakeConfig& brake) const;

 private:
  std::deque<BrakeSlot> slots_;  // in their order
};

}  // namespace mailotp::core
