// A function that runs in its caller's thread, on a stack of its own, and gives the word back whenever it
// waits: for a library that wants to block, in a loop that may not.
#pragma once

#include <cstddef>
#include <functional>

#include <ucontext.h>

namespace mailotp::mail {

class Fiber {
 public:
  // Runs nothing yet. `body` may not throw. Aborts when there is no memory for a stack.
  explicit Fiber(std::function<void()> body);
  // Only when it is over, or was never resumed: what lies on its stack would not be destroyed.
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Until the body pauses or returns. Each side keeps its own errno.
  void resume();
  // Called by the body: returns in the next resume().
  void pause();
  [[nodiscard]] bool over() const { return state_ == State::over; }

 private:
  static void enter(unsigned high, unsigned low);
  void arrived();
  void leaving(void** keep);

  std::function<void()> body_;
  enum class State { fresh, running, paused, over } state_ = State::fresh;
  char* mapped_ = nullptr;  // a page that nobody may touch, then the stack
  ucontext_t own_{};
  ucontext_t caller_{};
  int errno_ = 0;
  // What the sanitizers want to know of a change of stacks.
  void* own_shadow_ = nullptr;
  const void* caller_stack_ = nullptr;
  std::size_t caller_size_ = 0;
  void* own_thread_ = nullptr;
  void* caller_thread_ = nullptr;
};

}  // namespace mailotp::mail
