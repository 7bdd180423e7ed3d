#include "daemon/config/table_reader.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace mailotp::daemon {
namespace {

constexpr std::size_t k_max_items = 256;
constexpr std::size_t k_max_durations = 32;
constexpr std::size_t k_max_rates = 16;

// Bytes below 0x20 and DEL have no place in a path, a name or a header.
bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
  });
}

// Keys under which people put a secret; the value is never looked at.
bool names_a_secret(std::string_view key) {
  return key == "password" || key == "passwd" || key == "pass" || key == "secret" || key == "token" ||
         key == "key";
}

}  // namespace

TableReader::TableReader(const Node* table, std::string path, Findings& findings)
    : table_(table), path_(std::move(path)), findings_(findings) {
  if (table_ != nullptr) findings_.saw(path_, table_->at);
}

std::string TableReader::path_of(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

// The table as the file writes it.
std::string TableReader::where() const {
  if (path_.empty()) return "the file";
  if (const auto bracket = path_.find('['); bracket != std::string::npos) {
    const auto after = path_.substr(path_.find(']') + 1);
    return fmt::format("[[{}]]{}", path_.substr(0, bracket), after);
  }
  return fmt::format("[{}]", path_);
}

void TableReader::refuse(const Node& node, std::string_view key, std::string_view what) {
  findings_.refuse(node.at, fmt::format("{} {}", key, what));
}

const Node* TableReader::take(std::string_view key) {
  known_.push_back(key);
  if (table_ == nullptr) return nullptr;
  const auto it = std::find_if(table_->entries.begin(), table_->entries.end(),
                               [key](const Entry& entry) { return entry.key == key; });
  if (it == table_->entries.end()) return nullptr;
  findings_.saw(path_of(key), it->value.at);
  return &it->value;
}

bool TableReader::is_kind(const Node& node, std::string_view key, NodeKind kind, std::string_view wanted) {
  if (node.kind == kind) return true;
  refuse(node, key, fmt::format("must be {}, not {}", wanted, with_article(node.kind)));
  return false;
}

const Node* TableReader::take_kind(std::string_view key, NodeKind kind, std::string_view wanted) {
  const Node* node = take(key);
  return node != nullptr && is_kind(*node, key, kind, wanted) ? node : nullptr;
}

const Node* TableReader::take_table(std::string_view key) {
  return take_kind(key, NodeKind::table, fmt::format("a table: write [{}]", path_of(key)));
}

std::vector<const Node*> TableReader::take_tables(std::string_view key) {
  const auto wanted = fmt::format("an array of tables: write [[{}]]", path_of(key));
  std::vector<const Node*> tables;
  const Node* array = take_kind(key, NodeKind::array, wanted);
  if (array == nullptr) return tables;
  for (const Node& item : array->items) {
    if (is_kind(item, key, NodeKind::table, wanted)) tables.push_back(&item);
  }
  return tables;
}

void TableReader::require(std::string_view key, std::string_view example) {
  if (findings_.is_set(path_of(key))) return;
  findings_.refuse(path_of(key),
                   fmt::format("{} needs the key {}, such as {} = {}", where(), key, key, example));
}

bool TableReader::is_clean(const Node& node, std::string_view key) {
  if (!has_control(node.text)) return true;
  refuse(node, key, "must not contain control characters or line breaks");
  return false;
}

void TableReader::text(std::string_view key, std::string& out, Rule rule) {
  const Node* node = take_kind(key, NodeKind::text, "a string in quotes");
  if (node == nullptr || !is_clean(*node, key)) return;
  if (rule != nullptr) {
    if (const auto ok = rule(node->text); !ok) return refuse(*node, key, ok.error().what);
  }
  out = node->text;
}

void TableReader::texts(std::string_view key, std::vector<std::string>& out, Rule rule) {
  const Node* array = take_kind(key, NodeKind::array, "an array of strings");
  if (array == nullptr) return;
  if (array->items.size() > k_max_items)
    return refuse(*array, key, fmt::format("must have at most {} entries", k_max_items));
  std::vector<std::string> read;
  for (const Node& item : array->items) {
    if (!is_kind(item, key, NodeKind::text, "an array of strings") || !is_clean(item, key)) continue;
    if (const auto ok = rule(item.text); !ok) {
      refuse(item, key, fmt::format("(each entry) {}", ok.error().what));
    } else if (std::find(read.begin(), read.end(), item.text) != read.end()) {
      refuse(item, key, fmt::format("names \"{}\" twice", shown(item.text)));
    } else {
      findings_.saw(fmt::format("{}[{}]", path_of(key), read.size()), item.at);
      read.push_back(item.text);
    }
  }
  out = std::move(read);
}

void TableReader::boolean(std::string_view key, bool& out) {
  if (const Node* node = take_kind(key, NodeKind::boolean, "true or false")) out = node->boolean;
}

std::optional<std::int64_t> TableReader::take_whole(std::string_view key, std::int64_t min,
                                                    std::int64_t max) {
  const auto wanted = fmt::format("a whole number from {} to {}", min, max);
  const Node* node = take_kind(key, NodeKind::whole, wanted);
  if (node == nullptr) return std::nullopt;
  if (node->whole < min || node->whole > max) {
    refuse(*node, key, fmt::format("must be {}, not {}", wanted, node->whole));
    return std::nullopt;
  }
  return node->whole;
}

void TableReader::wholes(std::string_view key, std::vector<std::uint32_t>& out, std::int64_t max) {
  const auto wanted = fmt::format("an array of whole numbers from 0 to {}", max);
  const Node* array = take_kind(key, NodeKind::array, wanted);
  if (array == nullptr) return;
  if (array->items.size() > k_max_items)
    return refuse(*array, key, fmt::format("must have at most {} entries", k_max_items));
  std::vector<std::uint32_t> read;
  for (const Node& item : array->items) {
    if (!is_kind(item, key, NodeKind::whole, wanted)) continue;
    if (item.whole < 0 || item.whole > max) {
      refuse(item, key, fmt::format("must be {}, not {}", wanted, item.whole));
    } else {
      findings_.saw(fmt::format("{}[{}]", path_of(key), read.size()), item.at);
      read.push_back(static_cast<std::uint32_t>(item.whole));
    }
  }
  out = std::move(read);
}

void TableReader::real(std::string_view key, double& out, double min, double max) {
  const Node* node = take(key);
  if (node == nullptr) return;
  const auto wanted = fmt::format("a number from {} to {}", min, max);
  if (node->kind != NodeKind::whole && !is_kind(*node, key, NodeKind::real, wanted)) return;
  const double number = node->kind == NodeKind::whole ? static_cast<double>(node->whole) : node->real;
  // Also false for nan.
  if (!(number >= min && number <= max)) return refuse(*node, key, fmt::format("must be {}", wanted));
  out = number;
}

void TableReader::duration(std::string_view key, core::Seconds& out, core::Seconds min, core::Seconds max) {
  const auto wanted =
      fmt::format("a duration in whole seconds from {} to {}, such as \"{}\" (units s, m, h, d)",
                  format_duration(min), format_duration(max), format_duration(out));
  const Node* node = take_kind(key, NodeKind::text, wanted);
  if (node == nullptr) return;
  const auto duration = parse_duration(node->text);
  if (!duration || *duration < min || *duration > max || duration->count() % 1000 != 0)
    return refuse(*node, key, fmt::format("must be {}, not \"{}\"", wanted, shown(node->text)));
  out = std::chrono::duration_cast<core::Seconds>(*duration);
}

void TableReader::duration(std::string_view key, core::Millis& out, core::Millis min, core::Millis max) {
  const auto wanted = fmt::format("a duration from {} to {}, such as \"{}\" (units ms, s, m, h, d)",
                                  format_duration(min), format_duration(max), format_duration(out));
  const Node* node = take_kind(key, NodeKind::text, wanted);
  if (node == nullptr) return;
  const auto duration = parse_duration(node->text);
  if (!duration || *duration < min || *duration > max)
    return refuse(*node, key, fmt::format("must be {}, not \"{}\"", wanted, shown(node->text)));
  out = *duration;
}

void TableReader::durations(std::string_view key, std::vector<core::Millis>& out, core::Millis min,
                            core::Millis max) {
  const auto wanted = fmt::format("an array of 1 to {} durations from {} to {}, such as [\"1s\", \"10s\"]",
                                  k_max_durations, format_duration(min), format_duration(max));
  const Node* array = take_kind(key, NodeKind::array, wanted);
  if (array == nullptr) return;
  if (array->items.empty() || array->items.size() > k_max_durations)
    return refuse(*array, key, fmt::format("must be {}", wanted));
  std::vector<core::Millis> read;
  for (const Node& item : array->items) {
    if (!is_kind(item, key, NodeKind::text, wanted)) continue;
    const auto duration = parse_duration(item.text);
    if (!duration || *duration < min || *duration > max) {
      refuse(item, key, fmt::format("must be {}, not \"{}\"", wanted, shown(item.text)));
    } else {
      read.push_back(*duration);
    }
  }
  out = std::move(read);
}

void TableReader::size(std::string_view key, std::int64_t& out, std::int64_t max) {
  constexpr std::string_view k_wanted = R"(a size, such as "64MiB" (units B, KiB, MiB, GiB, TiB), or "0")";
  const Node* node = take_kind(key, NodeKind::text, k_wanted);
  if (node == nullptr) return;
  const auto size = parse_size(node->text);
  if (!size || *size > max)
    return refuse(*node, key, fmt::format("must be {}, not \"{}\"", k_wanted, shown(node->text)));
  out = *size;
}

std::optional<core::Rate> TableReader::read_rate(const Node& node, std::string_view key) {
  constexpr std::string_view k_wanted = R"(a rate "max/period", such as "3/15m" (units s, m, h, d), or "")";
  if (!is_kind(node, key, NodeKind::text, k_wanted) || node.text.empty()) return std::nullopt;
  auto rate = parse_rate(node.text);
  if (!rate) refuse(node, key, fmt::format("must be {}, not \"{}\"", k_wanted, shown(node.text)));
  return rate;
}

void TableReader::rate(std::string_view key, std::optional<core::Rate>& out) {
  if (const Node* node = take(key)) out = read_rate(*node, key);
}

void TableReader::rates(std::string_view key, std::vector<core::Rate>& out) {
  const Node* node = take(key);
  if (node == nullptr) return;
  std::vector<core::Rate> read;
  if (node->kind != NodeKind::array) {
    if (const auto rate = read_rate(*node, key)) read.push_back(*rate);
  } else if (node->items.size() > k_max_rates) {
    return refuse(*node, key, fmt::format("must have at most {} entries", k_max_rates));
  } else {
    for (const Node& item : node->items) {
      if (const auto rate = read_rate(item, key)) read.push_back(*rate);
    }
  }
  out = std::move(read);
}

void TableReader::file_mode(std::string_view key, std::uint32_t& out) {
  constexpr std::string_view k_wanted = R"(a mode in octal digits and quotes, such as "0660")";
  const Node* node = take_kind(key, NodeKind::text, k_wanted);
  if (node == nullptr) return;
  const auto mode = parse_file_mode(node->text);
  if (!mode) return refuse(*node, key, fmt::format("must be {}, not \"{}\"", k_wanted, shown(node->text)));
  out = *mode;
}

void TableReader::address(std::string_view key, core::Address& out) {
  const Node* node = take_kind(key, NodeKind::text, "a mail address in quotes");
  if (node == nullptr) return;
  auto parsed = core::parse_address(node->text);
  if (!parsed) return refuse(*node, key, fmt::format("must be a mail address: {}", parsed.error().what));
  out = std::move(*parsed);
}

std::optional<core::NamedAddress> TableReader::read_sender(const Node& node, std::string_view key) {
  auto parsed = core::parse_named_address(node.text);
  if (parsed) return std::move(*parsed);
  refuse(node, key,
         fmt::format("must be a mail address, such as \"Example <no-reply@example.org>\": {}",
                     parsed.error().what));
  return std::nullopt;
}

void TableReader::sender(std::string_view key, core::NamedAddress& out) {
  const Node* node = take_kind(key, NodeKind::text, "a mail address in quotes");
  if (node == nullptr) return;
  if (auto address = read_sender(*node, key)) out = std::move(*address);
}

void TableReader::optional_sender(std::string_view key, std::optional<core::NamedAddress>& out) {
  const Node* node = take_kind(key, NodeKind::text, "a mail address in quotes");
  if (node == nullptr) return;
  out = node->text.empty() ? std::nullopt : read_sender(*node, key);
}

std::optional<std::size_t> TableReader::take_choice(std::string_view key,
                                                    std::span<const std::string_view> names) {
  const auto wanted = fmt::format("one of {}", fmt::join(names, ", "));
  const Node* node = take_kind(key, NodeKind::text, wanted);
  if (node == nullptr) return std::nullopt;
  const auto it = std::find(names.begin(), names.end(), node->text);
  if (it == names.end()) {
    refuse(*node, key, fmt::format("must be {}, not \"{}\"", wanted, shown(node->text)));
    return std::nullopt;
  }
  return static_cast<std::size_t>(it - names.begin());
}

void TableReader::finish() {
  if (table_ == nullptr) return;
  for (const Entry& entry : table_->entries) {
    if (std::find(known_.begin(), known_.end(), entry.key) != known_.end()) continue;
    if (names_a_secret(entry.key)) {
      findings_.refuse(
          entry.key_at,
          fmt::format("{} does not belong in this file: put it into a file of mode 0600 and name that file{}",
                      entry.key,
                      std::find(known_.begin(), known_.end(), "password_file") != known_.end()
                          ? " in password_file"
                          : ""));
      continue;
    }
    findings_.refuse(entry.key_at, fmt::format("unknown key {} in {}; known here: {}", shown(entry.key),
                                               where(), fmt::join(known_, ", ")));
  }
}

}  // namespace mailotp::daemon
