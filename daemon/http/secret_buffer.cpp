#include "daemon/http/secret_buffer.h"

#include <algorithm>
#include <cstring>

#include "core/check.h"

namespace mailotp::daemon {
namespace {

constexpr std::size_t k_first_block = 1024;
constexpr std::size_t k_kept_block = 4096;  // an idle connection holds no more than this

}  // namespace

SecretBuffer::~SecretBuffer() {
  if (data_) ::explicit_bzero(data_.get(), capacity_);
}

void SecretBuffer::append(std::string_view bytes) {
  if (bytes.empty()) return;
  if (capacity_ - end_ < bytes.size()) make_room(bytes.size());
  std::memcpy(data_.get() + end_, bytes.data(), bytes.size());
  end_ += bytes.size();
}

void SecretBuffer::consume(std::size_t count) {
  CHECK(count <= size());
  if (count == 0) return;
  ::explicit_bzero(data_.get() + begin_, count);
  begin_ += count;
  if (begin_ != end_) return;
  begin_ = end_ = 0;
  if (capacity_ > k_kept_block) {
    data_.reset();  // wiped already: every byte that was in it has been consumed
    capacity_ = 0;
  }
}

void SecretBuffer::make_room(std::size_t more) {
  const std::size_t kept = size();
  if (capacity_ - kept >= more) {
    std::memmove(data_.get(), data_.get() + begin_, kept);
    ::explicit_bzero(data_.get() + kept, capacity_ - kept);
  } else {
    const std::size_t capacity = std::max({k_first_block, capacity_ * 2, kept + more});
    auto block = std::make_unique<char[]>(capacity);
    if (data_) {
      std::memcpy(block.get(), data_.get() + begin_, kept);
      ::explicit_bzero(data_.get(), capacity_);
    }
    data_ = std::move(block);
    capacity_ = capacity;
  }
  begin_ = 0;
  end_ = kept;
}

}  // namespace mailotp::daemon
