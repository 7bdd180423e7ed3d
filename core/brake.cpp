#include "core/brake.h"

#include <algorithm>

namespace mailotp::core {

namespace {

constexpr std::int64_t k_slots = 50;  // in a period

Millis width_of(const BrakeConfig& brake) {
  return std::max(Millis{brake.period} / k_slots, Millis{1});
}

void add_to(BrakeCount& sum, const BrakeCount& more) {
  sum.sends += more.sends;
  sum.right_codes += more.right_codes;
}

}  // namespace

bool is_braked(const BrakeConfig& brake, const BrakeCount& count) {
  return count.sends >= brake.floor && count.sends >= count.right_codes * std::int64_t{brake.ratio};
}

WallTime brake_slot(const BrakeConfig& brake, WallTime at) {
  const std::int64_t width = width_of(brake).count();
  return from_unix_ms(to_unix_ms(at) / width * width);
}

WallTime first_brake_slot(const BrakeConfig& brake, WallTime at) {
  return brake_slot(brake, at - brake.period);
}

void BrakeCounts::add(const BrakeSlot& slot) {
  const auto at = std::ranges::lower_bound(slots_, slot.start, {}, &BrakeSlot::start);
  if (at != slots_.end() && at->start == slot.start)
    add_to(at->count, slot.count);
  else
    slots_.insert(at, slot);
}

void BrakeCounts::keep_between(WallTime first, WallTime last) {
  while (!slots_.empty() && slots_.front().start < first)
    slots_.pop_front();
  while (!slots_.empty() && slots_.back().start > last)
    slots_.pop_back();
}

BrakeCount BrakeCounts::total() const {
  BrakeCount sum;
  for (const BrakeSlot& slot : slots_)
    add_to(sum, slot.count);
  return sum;
}

WallTime BrakeCounts::passes_at(const BrakeConfig& brake) const {
  BrakeCount left = total();
  WallTime passes{};
  for (const BrakeSlot& slot : slots_) {
    if (!is_braked(brake, left)) break;
    left.sends -= slot.count.sends;
    left.right_codes -= slot.count.right_codes;
    passes = slot.start + width_of(brake) + brake.period;
  }
  return passes;
}

}  // namespace mailotp::core
