// The load generator's engine: N connections, one thread, epoll.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bench/load_work.h"
#include "core/result.h"

namespace mailotp::bench {

struct RunPlan {
  std::string socket;
  std::size_t connections = 1;
  std::optional<std::uint64_t> requests;  // ends after that many; at least one of the two is given
  std::optional<std::chrono::duration<double>> duration;
  double rate = 0;  // requests a second, evenly spaced; 0: as fast as the answers come
  bool stamps = false;
};

// An acknowledged create.
struct SendStamp {
  std::uint64_t recipient = 0;
  std::chrono::steady_clock::time_point due;  // when it was to be sent
};

struct Tally {
  std::uint64_t acknowledged = 0;
  std::map<std::pair<Kind, int>, std::uint64_t> by_status;
  std::uint64_t lost = 0;  // connections that ended before the answer; each was opened again
  // Microseconds from the moment when the request was to be sent, so that waiting for a free connection
  // counts when a rate is given.
  std::vector<std::uint32_t> latencies;
  std::vector<SendStamp> stamps;  // as the plan wants them
  std::chrono::steady_clock::time_point began;
  std::chrono::duration<double> elapsed{0};
};

// `next` gives the next request, or nothing when none is left at present; `answered` hears of every answer.
// Ends when the plan is fulfilled, or when nothing is left and nothing is under way. Errc::unavailable: no
// connection can be made; Errc::io.
[[nodiscard]] core::Result<Tally> run_load(const RunPlan& plan,
                                           const std::function<std::optional<Request>()>& next,
                                           const std::function<void(Kind, const Answer&)>& answered);

}  // namespace mailotp::bench
