// The addresses of one relay: getaddrinfo in libuv's pool, with a deadline. Every fault is temporary; the
// last good addresses stand in for an hour.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/result.h"
#include "mail/agent/endpoint.h"
#include "mail/agent/loop_handles.h"
#include "mail/smtp/deadlines.h"

namespace mailotp::mail {

class Resolver {
 public:
  // Families take turns, in the order of RFC 6724 as the system gives them (RFC 8305 section 4).
  using Done = std::function<void(const core::Result<std::vector<Endpoint>>&)>;

  Resolver(uv_loop_t* loop, std::string host, std::uint16_t port, const Deadlines& deadlines);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // Calls `done` once, possibly at once; callers that come while a query runs share its answer. One query an
  // owner, who is not called after forget().
  void resolve(const void* owner, Done done);
  void forget(const void* owner);

 private:
  struct Query;
  void ask();
  void settle(core::Result<std::vector<Endpoint>> found);

  uv_loop_t* loop_;
  std::string host_;
  std::uint16_t port_;
  const Deadlines& deadlines_;
  Timer deadline_;
  Query* query_ = nullptr;  // frees itself when the pool gives it back, possibly long after its deadline
  std::vector<std::pair<const void*, Done>> waiting_;
  std::vector<Endpoint> last_good_;
  std::uint64_t last_good_at_ = 0;  // loop time, ms
};

}  // namespace mailotp::mail
