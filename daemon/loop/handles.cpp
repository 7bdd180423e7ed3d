#include "daemon/loop/handles.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "core/check.h"

namespace mailotp::daemon {

namespace {

template <class State>
void close_state(State* state) {
  state->call = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&state->handle),
           [](uv_handle_t* handle) { delete static_cast<State*>(handle->data); });
}

}  // namespace

struct Timer::State {
  uv_timer_t handle{};
  std::function<void()> call;
};

Timer::Timer(uv_loop_t* loop, std::function<void()> fired) : state_(new State{{}, std::move(fired)}) {
  CHECK(uv_timer_init(loop, &state_->handle) == 0);
  state_->handle.data = state_;
}

Timer::~Timer() {
  close_state(state_);
}

void Timer::start(core::Millis delay) {
  const auto ms = static_cast<std::uint64_t>(std::max<std::int64_t>(delay.count(), 0));
  uv_update_time(state_->handle.loop);  // the loop's time is as old as its turn
  const auto fire = [](uv_timer_t* handle) {
    auto* state = static_cast<State*>(handle->data);
    if (state->call) state->call();
  };
  CHECK(uv_timer_start(&state_->handle, fire, ms, 0) == 0);
}

void Timer::stop() {
  CHECK(uv_timer_stop(&state_->handle) == 0);
}

struct Wakeup::State {
  uv_async_t handle{};
  std::function<void()> call;
};

Wakeup::Wakeup(uv_loop_t* loop, std::function<void()> woken) : state_(new State{{}, std::move(woken)}) {
  const auto wake = [](uv_async_t* handle) {
    auto* state = static_cast<State*>(handle->data);
    if (state->call) state->call();
  };
  CHECK(uv_async_init(loop, &state_->handle, wake) == 0);
  state_->handle.data = state_;
}

Wakeup::~Wakeup() {
  close_state(state_);
}

void Wakeup::send() noexcept {
  CHECK(uv_async_send(&state_->handle) == 0);
}

struct SignalWatch::State {
  uv_signal_t handle{};
  std::function<void()> call;
};

SignalWatch::SignalWatch(uv_loop_t* loop, int signal, std::function<void()> received)
    : state_(new State{{}, std::move(received)}) {
  CHECK(uv_signal_init(loop, &state_->handle) == 0);
  state_->handle.data = state_;
  const auto receive = [](uv_signal_t* handle, int) {
    auto* state = static_cast<State*>(handle->data);
    if (state->call) state->call();
  };
  CHECK(uv_signal_start(&state_->handle, receive, signal) == 0);
}

SignalWatch::~SignalWatch() {
  close_state(state_);
}

}  // namespace mailotp::daemon
