#include "daemon/http/turns.h"

#include <cstdint>
#include <utility>

#include "core/check.h"

namespace mailotp::daemon {
namespace {

constexpr std::uint64_t k_turn = 2'000'000;  // ns; then the loop looks at what is new

}  // namespace

Turns::Turns(uv_loop_t* loop, std::function<void(Connection&)> take) : loop_(loop), take_(std::move(take)) {}

Turns::~Turns() {
  CHECK(!open_);
}

Turns::Place Turns::add(uid_t uid, Connection& connection) {
  const auto [at, is_new] = queues_.try_emplace(uid);
  if (is_new) order_.push_back(uid);
  if (!open_) {
    CHECK(uv_idle_init(loop_, &idle_) == 0);
    idle_.data = this;
    open_ = true;
  }
  if (uv_is_active(reinterpret_cast<const uv_handle_t*>(&idle_)) == 0) {
    // Fails only without a callback.
    (void)uv_idle_start(&idle_, [](uv_idle_t* idle) noexcept { static_cast<Turns*>(idle->data)->run(); });
  }
  return at->second.insert(at->second.end(), &connection);
}

void Turns::remove(uid_t uid, Place place) {
  queues_.at(uid).erase(place);
}

void Turns::run() {
  const std::uint64_t end = uv_hrtime() + k_turn;
  while (!order_.empty() && uv_hrtime() < end) {
    const uid_t uid = order_.front();
    order_.pop_front();
    Queue& queue = queues_.at(uid);
    if (queue.empty()) {
      queues_.erase(uid);
      continue;
    }
    Connection& connection = *queue.front();
    queue.pop_front();
    order_.push_back(uid);
    take_(connection);
  }
  if (order_.empty()) (void)uv_idle_stop(&idle_);  // always 0
}

void Turns::close(std::function<void()> done) {
  if (!open_) return done();
  closed_ = std::move(done);
  uv_close(reinterpret_cast<uv_handle_t*>(&idle_), [](uv_handle_t* handle) noexcept {
    auto& self = *static_cast<Turns*>(handle->data);
    self.open_ = false;
    const auto closed = std::move(self.closed_);
    closed();
  });
}

}  // namespace mailotp::daemon
