// A TOML file as plain values that know where they stand. The one .cpp of it is the one that sees toml++.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace mailotp::daemon {

// Both from 1; columns count code points.
struct Place {
  std::uint32_t line = 1;
  std::uint32_t column = 1;
  auto operator<=>(const Place&) const = default;
};

enum class NodeKind : std::uint8_t { text, whole, real, boolean, moment, array, table };
// "a string", "an array", … for messages.
[[nodiscard]] std::string_view with_article(NodeKind kind);

struct Entry;
struct Node {
  NodeKind kind = NodeKind::table;
  Place at;  // where the value, or the header of the table, begins
  std::string text;
  std::int64_t whole = 0;
  double real = 0;
  bool boolean = false;
  std::vector<Node> items;     // array
  std::vector<Entry> entries;  // table
};

struct Entry {
  std::string key;
  Place key_at;
  Node value;
};

// The root table. Errc::malformed with "file:line:column: …".
[[nodiscard]] core::Result<Node> parse_document(std::string_view text, std::string_view file_name);

}  // namespace mailotp::daemon
