#include "mail/smtp/fiber.h"

#include <cerrno>
#include <cstdint>
#include <utility>

#include <sys/mman.h>

#include "core/check.h"

#if defined(__SANITIZE_ADDRESS__)
#include <dlfcn.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

// The thread sanitizer notes each function's begin and end with the fiber that runs: a function that changes
// fibers in between must not be noted.
#if defined(__SANITIZE_THREAD__)
#define MAILOTP_CHANGES_FIBERS __attribute__((no_sanitize_thread))
#else
#define MAILOTP_CHANGES_FIBERS
#endif

namespace mailotp::mail {

namespace {

// libesmtp keeps lines of 1 KiB and less on it; untouched pages cost nothing.
constexpr std::size_t k_stack_bytes = 256 * 1024;
constexpr std::size_t k_guard_bytes = 64 * 1024;  // a whole page wherever pages are no larger

MAILOTP_CHANGES_FIBERS int swap(ucontext_t* from, const ucontext_t* to) {
#if defined(__SANITIZE_ADDRESS__)
  // The sanitizer's own swapcontext(3) guesses what it is told here, and warns that it does.
  using Swap = int (*)(ucontext_t*, const ucontext_t*);
  static const Swap real =
      reinterpret_cast<Swap>(::dlsym(::dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD), "swapcontext"));
  return real(from, to);
#else
  return ::swapcontext(from, to);
#endif
}

}  // namespace

Fiber::Fiber(std::function<void()> body) : body_(std::move(body)) {
  void* mapped = ::mmap(nullptr, k_guard_bytes + k_stack_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
  CHECK(mapped != MAP_FAILED);
  mapped_ = static_cast<char*>(mapped);
  CHECK(::mprotect(mapped_, k_guard_bytes, PROT_NONE) == 0);
  CHECK(::getcontext(&own_) == 0);
  own_.uc_stack.ss_sp = mapped_ + k_guard_bytes;
  own_.uc_stack.ss_size = k_stack_bytes;
  own_.uc_link = nullptr;
  // makecontext(3) passes nothing but ints.
  const auto self = reinterpret_cast<std::uintptr_t>(this);
  ::makecontext(&own_, reinterpret_cast<void (*)()>(&Fiber::enter), 2, static_cast<unsigned>(self >> 32U),
                static_cast<unsigned>(self));
#if defined(__SANITIZE_THREAD__)
  own_thread_ = __tsan_create_fiber(0);
#endif
}

Fiber::~Fiber() {
  CHECK(state_ == State::fresh || state_ == State::over);
#if defined(__SANITIZE_THREAD__)
  __tsan_destroy_fiber(own_thread_);
#endif
  (void)::munmap(mapped_, k_guard_bytes + k_stack_bytes);  // a leak at worst
}

MAILOTP_CHANGES_FIBERS void Fiber::enter(unsigned high, unsigned low) {
  auto* self = reinterpret_cast<Fiber*>(static_cast<std::uintptr_t>(high) << 32U | low);
  self->arrived();
  self->body_();
  self->state_ = State::over;
  self->leaving(nullptr);
  (void)::setcontext(&self->caller_);
  CHECK(false);
}

MAILOTP_CHANGES_FIBERS void Fiber::resume() {
  CHECK(state_ == State::fresh || state_ == State::paused);
  const int kept = std::exchange(errno, errno_);
  state_ = State::running;
#if defined(__SANITIZE_ADDRESS__)
  void* shadow = nullptr;
  __sanitizer_start_switch_fiber(&shadow, own_.uc_stack.ss_sp, own_.uc_stack.ss_size);
#endif
#if defined(__SANITIZE_THREAD__)
  caller_thread_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(own_thread_, 0);
#endif
  CHECK(swap(&caller_, &own_) == 0);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(shadow, nullptr, nullptr);
#endif
  errno_ = std::exchange(errno, kept);
}

MAILOTP_CHANGES_FIBERS void Fiber::pause() {
  CHECK(state_ == State::running);
  state_ = State::paused;
  leaving(&own_shadow_);
  CHECK(swap(&own_, &caller_) == 0);
  arrived();
}

// On the fiber's stack, after each change to it.
MAILOTP_CHANGES_FIBERS void Fiber::arrived() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(own_shadow_, &caller_stack_, &caller_size_);
#endif
}

// … and before each change away from it; `keep` null: for good.
MAILOTP_CHANGES_FIBERS void Fiber::leaving([[maybe_unused]] void** keep) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(keep, caller_stack_, caller_size_);
#endif
#if defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(caller_thread_, 0);
#endif
}

}  // namespace mailotp::mail
