// A queue of bytes that may hold a code: whatever leaves it, by reading, growing or destruction, is wiped.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

namespace mailotp::daemon {

class SecretBuffer {
 public:
  SecretBuffer() = default;
  SecretBuffer(const SecretBuffer&) = delete;
  SecretBuffer& operator=(const SecretBuffer&) = delete;
  ~SecretBuffer();

  void append(std::string_view bytes);
  // Drops the first `count` bytes, count <= size(). A large block is given back once it is empty.
  void consume(std::size_t count);
  // Valid until the next append or consume.
  [[nodiscard]] std::string_view view() const { return {data_.get() + begin_, end_ - begin_}; }
  [[nodiscard]] std::size_t size() const { return end_ - begin_; }
  [[nodiscard]] bool empty() const { return begin_ == end_; }

 private:
  void make_room(std::size_t more);

  std::unique_ptr<char[]> data_;
  std::size_t capacity_ = 0;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace mailotp::daemon
