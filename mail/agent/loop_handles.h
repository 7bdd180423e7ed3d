// Owners of libuv handles. A handle outlives its owner until its close callback; its function is not called
// after the owner is gone, and an owner may be destroyed inside that function.
#pragma once

#include <functional>

#include <uv.h>

#include "core/time.h"

namespace mailotp::mail {

class Timer {
 public:
  Timer(uv_loop_t* loop, std::function<void()> fire);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // Once, after `delay`; an earlier start is forgotten.
  void start(core::Millis delay);
  void stop();

 private:
  struct State;
  State* state_;  // frees itself in the close callback
};

// Watches a descriptor, which is to be closed after its Poll is gone.
class Poll {
 public:
  // `ready` gets UV_READABLE | UV_WRITABLE, or a negative libuv error.
  Poll(uv_loop_t* loop, int descriptor, std::function<void(int)> ready);
  ~Poll();
  Poll(const Poll&) = delete;
  Poll& operator=(const Poll&) = delete;

  void watch(int events);

 private:
  struct State;
  State* state_;  // frees itself in the close callback
  int events_ = 0;
};

}  // namespace mailotp::mail
