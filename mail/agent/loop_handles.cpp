#include "mail/agent/loop_handles.h"

#include <algorithm>

#include "core/check.h"

namespace mailotp::mail {

struct Timer::State {
  uv_timer_t handle;
  std::function<void()> fire;
};

struct Poll::State {
  uv_poll_t handle;
  std::function<void(int)> ready;
};

Timer::Timer(uv_loop_t* loop, std::function<void()> fire) : state_(new State{{}, std::move(fire)}) {
  CHECK(uv_timer_init(loop, &state_->handle) == 0);
  state_->handle.data = state_;
}

Timer::~Timer() {
  uv_close(reinterpret_cast<uv_handle_t*>(&state_->handle),
           [](uv_handle_t* handle) noexcept { delete static_cast<State*>(handle->data); });
}

void Timer::start(core::Millis delay) {
  const auto wait = static_cast<std::uint64_t>(std::max<core::Millis::rep>(delay.count(), 0));
  const int started = uv_timer_start(
      &state_->handle, [](uv_timer_t* handle) noexcept { static_cast<State*>(handle->data)->fire(); }, wait,
      0);
  CHECK(started == 0);
}

void Timer::stop() {
  uv_timer_stop(&state_->handle);
}

Poll::Poll(uv_loop_t* loop, int descriptor, std::function<void(int)> ready)
    : state_(new State{{}, std::move(ready)}) {
  CHECK(uv_poll_init(loop, &state_->handle, descriptor) == 0);
  state_->handle.data = state_;
}

Poll::~Poll() {
  uv_close(reinterpret_cast<uv_handle_t*>(&state_->handle),
           [](uv_handle_t* handle) noexcept { delete static_cast<State*>(handle->data); });
}

void Poll::watch(int events) {
  if (events == events_) return;
  events_ = events;
  const int watching =
      uv_poll_start(&state_->handle, events, [](uv_poll_t* handle, int status, int seen) noexcept {
        static_cast<State*>(handle->data)->ready(status < 0 ? status : seen);
      });
  CHECK(watching == 0);
}

}  // namespace mailotp::mail
