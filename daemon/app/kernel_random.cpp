#include "daemon/app/kernel_random.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include <sys/mman.h>
#include <sys/random.h>

#include "core/check.h"

namespace mailotp::daemon {

namespace {

constexpr std::size_t k_page = 4096;
constexpr std::size_t k_longest_pooled = 31;  // bytes; keys have 32

void fill_from_kernel(std::span<std::uint8_t> out) {
  while (!out.empty()) {
    const ssize_t got = ::getrandom(out.data(), out.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    CHECK(got > 0);
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

// Zeros are an empty pool: that is what the kernel makes of it in a child.
struct Bytes {
  std::size_t left;  // at the end of `random`; those before it have been handed out, and are zeros
  std::array<std::uint8_t, k_page - sizeof(std::size_t)> random;
};
static_assert(sizeof(Bytes) == k_page);

class Pool {
 public:
  Pool() {
    void* page = ::mmap(nullptr, sizeof(Bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return;
    if (::madvise(page, sizeof(Bytes), MADV_WIPEONFORK) == 0 &&
        ::madvise(page, sizeof(Bytes), MADV_DONTDUMP) == 0)
      bytes_ = static_cast<Bytes*>(page);
    else
      (void)::munmap(page, sizeof(Bytes));
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() {
    if (bytes_ == nullptr) return;
    ::explicit_bzero(bytes_, sizeof(Bytes));
    (void)::munmap(bytes_, sizeof(Bytes));
  }

  void fill(std::span<std::uint8_t> out) {
    if (bytes_ == nullptr || out.size() > k_longest_pooled) return fill_from_kernel(out);
    if (bytes_->left < out.size()) {
      fill_from_kernel(bytes_->random);
      bytes_->left = bytes_->random.size();
    }
    std::uint8_t* const next = bytes_->random.data() + (bytes_->random.size() - bytes_->left);
    std::copy_n(next, out.size(), out.data());
    ::explicit_bzero(next, out.size());
    bytes_->left -= out.size();
  }

 private:
  Bytes* bytes_ = nullptr;  // null: the kernel gave no page that it would wipe, so each call is one to it
};

}  // namespace

void KernelRandom::fill(std::span<std::uint8_t> out) {
  thread_local Pool pool;
  pool.fill(out);
}

}  // namespace mailotp::daemon
