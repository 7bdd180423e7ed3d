#include "mail/channel/cbor.h"

#include <algorithm>

namespace mailotp::channel {
namespace {

// Additional information of the initial byte: up to 23 is the value itself, 24 to 27 say that it follows in
// 1, 2, 4 or 8 bytes (RFC 8949 section 3).
constexpr unsigned k_one_byte = 24;

// The smallest value that may use this length: anything less has a shorter form.
constexpr std::uint64_t least_for(unsigned info) {
  switch (info) {
    case 24:
      return 24;
    case 25:
      return 0x100;
    case 26:
      return 0x10000;
    default:
      return 0x100000000;
  }
}

}  // namespace

void CborWriter::head(unsigned major, std::uint64_t value) {
  const unsigned high = major << 5;
  if (value < k_one_byte) {
    out_.push_back(static_cast<char>(high | value));
    return;
  }
  unsigned info = 27;
  while (info > k_one_byte && value < least_for(info))
    --info;
  out_.push_back(static_cast<char>(high | info));
  for (unsigned left = 1U << (info - k_one_byte); left > 0; --left)
    out_.push_back(static_cast<char>(value >> (8 * (left - 1))));
}

void CborWriter::bytes(std::string_view value) {
  head(2, value.size());
  out_.append(value);
}

void CborWriter::text(std::string_view value) {
  head(3, value.size());
  out_.append(value);
}

std::string_view CborReader::take(std::size_t size) {
  if (!ok_ || rest_.size() < size) {
    fail();
    return {};
  }
  const std::string_view taken = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return taken;
}

std::uint64_t CborReader::head(unsigned major, std::uint64_t max) {
  const std::string_view first = take(1);
  if (first.empty()) return 0;
  const auto initial = static_cast<unsigned char>(first.front());
  const unsigned info = initial & 0x1fU;
  if (initial >> 5U != major || info > 27) {
    fail();
    return 0;
  }
  std::uint64_t value = info;
  if (info >= k_one_byte) {
    value = 0;
    for (const char byte : take(std::size_t{1} << (info - k_one_byte)))
      value = value << 8U | static_cast<unsigned char>(byte);
    if (value < least_for(info)) fail();
  }
  if (value > max) fail();
  return ok_ ? value : 0;
}

std::uint64_t CborReader::number(std::uint64_t max) {
  return head(0, max);
}

std::string_view CborReader::bytes(std::size_t max) {
  return take(head(2, max));
}

std::string_view CborReader::text(std::size_t max) {
  const std::string_view taken = take(head(3, max));
  if (!std::all_of(taken.begin(), taken.end(), is_printable)) {
    fail();
    return {};
  }
  return taken;
}

std::size_t CborReader::array(std::size_t max) {
  return head(4, max);
}

bool CborReader::boolean() {
  const std::string_view item = take(1);
  if (item == "\xf5") return true;
  if (item != "\xf4") fail();
  return false;
}

bool CborReader::null() {
  if (!ok_ || rest_.empty() || rest_.front() != '\xf6') return false;
  rest_.remove_prefix(1);
  return true;
}

}  // namespace mailotp::channel
