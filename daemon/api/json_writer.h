// JSON text, written field by field in the order of the calls: for the answers that each request gets. It
// has the bytes that the library's dump() would give for the same values.
#pragma once

#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

namespace mailotp::daemon {

class JsonWriter {
 public:
  JsonWriter() { out_.reserve(k_room); }

  // Braces and brackets must match, and each value of an object stands behind its key.
  void begin_object() { begin('{'); }
  void end_object() { end('}'); }
  void begin_array() { begin('['); }
  void end_array() { end(']'); }
  void key(std::string_view name);

  // What is not UTF-8 is replaced, never a failure: a relay or an app may have sent it.
  void value(std::string_view text);
  void value(std::nullptr_t) { raw("null"); }
  void value(std::integral auto number) {
    if constexpr (std::is_same_v<decltype(number), bool>) {
      raw(number ? "true" : "false");
    } else {
      const fmt::format_int digits(number);
      raw({digits.data(), digits.size()});
    }
  }
  // JSON already.
  void raw(std::string_view json);

  void field(std::string_view name, const auto& of) {
    key(name);
    value(of);
  }

  // Of all that was written; the writer is not to be used after it.
  [[nodiscard]] std::string take() { return std::move(out_); }

 private:
  static constexpr std::size_t k_room = 1024;  // bytes: a challenge with its message has some 700

  void begin(char bracket);
  void end(char bracket);
  void separate();
  void append_quoted(std::string_view text);

  std::string out_;
  bool first_ = true;  // nothing stands before in this object or array, or behind its key
};

}  // namespace mailotp::daemon
