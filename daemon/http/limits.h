// What one client may cost the HTTP server. Tests set short times; the daemon keeps the defaults.
#pragma once

#include <chrono>
#include <cstddef>

namespace mailotp::daemon {

struct HttpLimits {
  std::size_t header_bytes = 16 * 1024;  // request line and fields, with the empty line
  std::size_t header_count = 64;
  std::size_t target_bytes = 4 * 1024;
  std::size_t body_bytes = 64 * 1024;
  // Pipelined bytes that are read while a request is being handled; reading stops there.
  std::size_t read_ahead_bytes = 16 * 1024;
  std::size_t connections = 10000;
  std::chrono::milliseconds idle{60000};         // between requests, and before the first
  std::chrono::milliseconds request{10000};      // from the first byte of a request to its last
  std::chrono::milliseconds write_stall{30000};  // an answer of which the client takes nothing
  std::chrono::milliseconds linger{2000};  // after a refusal: for the client to stop sending and read it
  std::chrono::milliseconds gone_interval{500};  // how often a client that is not being read is looked at
};

}  // namespace mailotp::daemon
