// Owners of libuv handles. The handle's memory outlives its owner until libuv's close callback, so an owner
// may be destroyed at any time on the loop thread; the loop must run once more before uv_loop_close().
#pragma once

#include <functional>

#include <uv.h>

#include "core/time.h"

namespace mailotp::daemon {

// One-shot timer. Loop thread only.
class Timer {
 public:
  Timer(uv_loop_t* loop, std::function<void()> fired);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  // Replaces what was set before.
  void start(core::Millis delay);
  void stop();

 private:
  struct State;
  State* state_;
};

// Wakes the loop from another thread: `woken` runs on the loop thread at least once after each send().
class Wakeup {
 public:
  Wakeup(uv_loop_t* loop, std::function<void()> woken);
  ~Wakeup();
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;
  void send() noexcept;  // any thread

 private:
  struct State;
  State* state_;
};

// Loop thread only.
class SignalWatch {
 public:
  SignalWatch(uv_loop_t* loop, int signal, std::function<void()> received);
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

 private:
  struct State;
  State* state_;
};

}  // namespace mailotp::daemon
