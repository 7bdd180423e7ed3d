#include "core/breaker.h"

#include <algorithm>
#include <bit>

namespace mailotp::core {

std::string_view to_string(BreakerState state) {
  switch (state) {
    case BreakerState::closed:
      return "closed";
    case BreakerState::open:
      return "open";
    case BreakerState::half_open:
      return "half-open";
  }
  return "";
}

void Breaker::succeeded() {
  state_ = BreakerState::closed;
  in_row_ = 0;
  window_ <<= 1;
  sessions_ = std::min(sessions_ + 1, policy_.window);
  pause_ = Millis{0};
  refused_ = false;
  probing_ = false;
}

void Breaker::failed(RelayTrouble trouble, Millis now, RandomSource& jitter) {
  probing_ = false;
  last_failure_ = now;
  ++in_row_;
  window_ = (window_ << 1) | 1U;
  sessions_ = std::min(sessions_ + 1, policy_.window);
  // What was under way when it opened adds nothing.
  if (state_ == BreakerState::open && trouble == RelayTrouble::ordinary) return;
  const auto seen = static_cast<std::uint32_t>(window_ & ((std::uint64_t{1} << sessions_) - 1));
  const int failures = std::popcount(seen);
  const bool often = failures >= policy_.window_failures && 2 * failures >= sessions_;
  if (state_ == BreakerState::half_open || trouble != RelayTrouble::ordinary ||
      in_row_ >= policy_.failures_in_row || often)
    open(trouble, now, jitter);
}

void Breaker::open(RelayTrouble trouble, Millis now, RandomSource& jitter) {
  state_ = BreakerState::open;
  refused_ = trouble == RelayTrouble::auth_refused;
  pause_ = pause_ == Millis{0} ? policy_.first : std::min(2 * pause_, policy_.most);
  if (trouble != RelayTrouble::ordinary) pause_ = policy_.refused;
  const auto spread = static_cast<std::uint32_t>(policy_.jitter_percent);
  const auto percent = spread == 0 ? 100U : 100 - spread + uniform_below(jitter, 2 * spread + 1);
  open_until_ = now + pause_ * percent / 100;
}

void Breaker::reset() {
  *this = Breaker(policy_);
}

std::optional<Millis> Breaker::probe_at(bool alone) const {
  if (probing_) return std::nullopt;
  const Millis soon = last_failure_ + policy_.probe;
  if (state_ == BreakerState::closed) return in_row_ > 0 ? std::optional(soon) : std::nullopt;
  return alone && !refused_ ? std::min(soon, open_until_) : open_until_;
}

void Breaker::probing() {
  probing_ = true;
  if (state_ == BreakerState::open) state_ = BreakerState::half_open;
}

void Breaker::probe_lost(Millis now) {
  probing_ = false;
  last_failure_ = now;
  if (state_ != BreakerState::half_open) return;
  state_ = BreakerState::open;
  open_until_ = std::max(open_until_, now + policy_.probe);
}

RelayUse Breaker::use() const {
  if (state_ != BreakerState::closed) return RelayUse::no;
  return in_row_ > 0 ? RelayUse::doubtful : RelayUse::clean;
}

}  // namespace mailotp::core
