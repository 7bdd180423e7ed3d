// The few items of CBOR (RFC 8949) that our frames are made of: unsigned integers, byte and text strings,
// arrays, true, false and null, all of definite length and in the shortest form. Written here because both
// ends need more than a general decoder gives: no recursion (an agent's bytes are hostile, and a general
// decoder overflows its stack on 256 KiB of nested arrays) and no copies of a secret that nobody wipes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mailotp::channel {

// Appends items to a string that its owner has reserved.
class CborWriter {
 public:
  explicit CborWriter(std::string& out) : out_(out) {}
  void number(std::uint64_t value) { head(0, value); }
  void bytes(std::string_view value);
  void text(std::string_view value);
  void array(std::size_t items) { head(4, items); }
  void boolean(bool value) { out_.push_back(value ? '\xf5' : '\xf4'); }
  void null() { out_.push_back('\xf6'); }

 private:
  void head(unsigned major, std::uint64_t value);

  std::string& out_;
};

// Takes items from bytes. The first item that is not what was asked for ends the reading: it and all later
// ones are zero or empty, and ok() is false. Strings are views of the bytes.
class CborReader {
 public:
  explicit CborReader(std::string_view bytes) : rest_(bytes) {}
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool at_end() const { return ok_ && rest_.empty(); }
  std::uint64_t number(std::uint64_t max);
  std::string_view bytes(std::size_t max);
  // Printable ASCII only: the text strings of our frames are names, addresses and words for people.
  std::string_view text(std::size_t max);
  // The count of the array's items.
  std::size_t array(std::size_t max);
  bool boolean();
  // True, and the item is taken, when it is null.
  bool null();
  void fail() {
    ok_ = false;
    rest_ = {};
  }

 private:
  std::uint64_t head(unsigned major, std::uint64_t max);
  std::string_view take(std::size_t size);

  std::string_view rest_;
  bool ok_ = true;
};

[[nodiscard]] constexpr bool is_printable(char c) {
  return c >= ' ' && c <= '~';
}

}  // namespace mailotp::channel
