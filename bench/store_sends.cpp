#include "bench/store_sends.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <utility>

#include <fmt/format.h>

namespace mailotp::bench {

namespace {

std::chrono::nanoseconds cpu_of_thread() {
  timespec spent{};
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);  // cannot fail for this clock
  return std::chrono::seconds{spent.tv_sec} + std::chrono::nanoseconds{spent.tv_nsec};
}

// No two are the same, and one does not stand beside the next: in an index addresses come in no order.
std::string name_of(std::int64_t number) {
  return fmt::format("u{:016x}", static_cast<std::uint64_t>(number) * 0x9e37'79b9'7f4a'7c15);
}

}  // namespace

void QuickRandom::fill(std::span<std::uint8_t> out) {
  while (!out.empty()) {
    const std::uint64_t word = engine_();
    const std::size_t taken = std::min(out.size(), sizeof word);
    std::memcpy(out.data(), &word, taken);
    out = out.subspan(taken);
  }
}

Sends::Sends(core::RandomSource& random, std::string domain, Windows windows)
    : ids_(random),
      domain_(std::move(domain)),
      windows_(windows),
      now_(std::chrono::floor<core::Millis>(std::chrono::system_clock::now())) {
  // A millisecond more, so that rounding refuses none.
  if (windows.addresses > 0)
    step_ = core::Millis{k_period} / (windows.addresses * windows.sends) + core::Millis{1};
}

Send Sends::next() {
  now_ = windows_.addresses > 0
             ? now_ + step_
             : std::max(now_, std::chrono::floor<core::Millis>(std::chrono::system_clock::now()));
  const std::int64_t number = windows_.addresses > 0 ? made_ % windows_.addresses : made_;
  Send send{ids_.next(now_), ids_.next(now_), now_, {name_of(number), domain_}, number < made_};
  ++made_;
  return send;
}

SendWriter::Stopwatch::Stopwatch(Spent& spent)
    : spent_(spent), began_(std::chrono::steady_clock::now()), cpu_(cpu_of_thread()) {}

SendWriter::Stopwatch::~Stopwatch() {
  spent_.cpu += cpu_of_thread() - cpu_;
  spent_.time += std::chrono::steady_clock::now() - began_;
}

}  // namespace mailotp::bench
