#include "daemon/config/document.h"

#include <utility>

#include <fmt/format.h>

#include "mail/compose/toml.h"

namespace mailotp::daemon {
namespace {

// Deeper than anything the configuration knows; what is below is refused as a whole.
constexpr int k_max_depth = 8;

Place place_of(const toml::source_position& position) {
  return position ? Place{position.line, position.column} : Place{};
}

Node to_node(const toml::node& from, int depth);

void add_entries(const toml::table& from, int depth, Node& to) {
  for (const auto& [key, value] : from) {
    Entry entry{std::string(key.str()), place_of(key.source().begin), to_node(value, depth + 1)};
    // A table that only its children name stands where they first name it.
    if (!value.source().begin) entry.value.at = entry.key_at;
    to.entries.push_back(std::move(entry));
  }
}

Node to_node(const toml::node& from, int depth) {
  Node to;
  to.at = place_of(from.source().begin);
  if (const auto* table = from.as_table()) {
    to.kind = NodeKind::table;
    if (depth < k_max_depth) add_entries(*table, depth, to);
  } else if (const auto* array = from.as_array()) {
    to.kind = NodeKind::array;
    if (depth < k_max_depth) {
      for (const auto& item : *array)
        to.items.push_back(to_node(item, depth + 1));
    }
  } else if (const auto* text = from.as_string()) {
    to.kind = NodeKind::text;
    to.text = text->get();
  } else if (const auto* whole = from.as_integer()) {
    to.kind = NodeKind::whole;
    to.whole = whole->get();
  } else if (const auto* real = from.as_floating_point()) {
    to.kind = NodeKind::real;
    to.real = real->get();
  } else if (const auto* boolean = from.as_boolean()) {
    to.kind = NodeKind::boolean;
    to.boolean = boolean->get();
  } else {
    to.kind = NodeKind::moment;
  }
  return to;
}

}  // namespace

std::string_view with_article(NodeKind kind) {
  switch (kind) {
    case NodeKind::text:
      return "a string";
    case NodeKind::whole:
      return "a whole number";
    case NodeKind::real:
      return "a number with a fraction";
    case NodeKind::boolean:
      return "a boolean";
    case NodeKind::moment:
      return "a date or time";
    case NodeKind::array:
      return "an array";
    case NodeKind::table:
      return "a table";
  }
  return "";
}

core::Result<Node> parse_document(std::string_view text, std::string_view file_name) {
  const auto parsed = mail::parse_toml(text);
  if (!parsed) {
    const Place at = place_of(parsed.error().at);
    return core::fail(core::Errc::malformed, fmt::format("{}:{}:{}: not TOML: {}", file_name, at.line,
                                                         at.column, parsed.error().what));
  }
  Node root = to_node(*parsed, 0);
  root.at = Place{};
  return root;
}

}  // namespace mailotp::daemon
