// What clients may cost the HTTP server, one of them and all of a uid. Tests set short times and small
// numbers; the daemon keeps the defaults, but for the connections: those follow from what the process may
// open.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace mailotp::daemon {

struct HttpLimits {
  std::size_t header_bytes = 16 * 1024;  // request line and fields, with the empty line
  std::size_t header_count = 64;
  std::size_t target_bytes = 4 * 1024;
  std::size_t body_bytes = 64 * 1024;
  // Pipelined bytes that are read while a request is being handled; reading stops there.
  std::size_t read_ahead_bytes = 16 * 1024;
  std::size_t connections = 16000;
  std::size_t connections_of_uid = 8500;
  // In hand at once: being handled, or with an answer that the client does not take; long-polls and streams,
  // too. For each the daemon holds something.
  std::size_t requests_of_uid = 1024;
  std::chrono::milliseconds idle{60000};         // between requests, and before the first
  std::chrono::milliseconds request{10000};      // from the first byte of a request to its last
  std::chrono::milliseconds write_stall{30000};  // an answer of which the client takes nothing
  std::chrono::milliseconds linger{2000};  // after a refusal: for the client to stop sending and read it
  // While the server drains, in place of longer ones of these: for a request that has begun, to come to its
  // end, and for a client that takes nothing.
  std::chrono::milliseconds drain{1000};
  std::chrono::milliseconds gone_interval{500};  // how often a client that is not being read is looked at
};

// RLIMIT_NOFILE that gives every connection there may be.
inline constexpr std::uint64_t k_descriptors_wanted = 16512;

// Each server has connections of its own, so that apps never shut operators out.
struct HttpShares {
  HttpLimits apps;
  HttpLimits operators;
  HttpLimits metrics;
  bool few = false;  // fewer than we want: worth a word to the operator
};
// For a process that may have `descriptors` of them (RLIMIT_NOFILE).
[[nodiscard]] HttpShares share_descriptors(std::uint64_t descriptors);

}  // namespace mailotp::daemon
