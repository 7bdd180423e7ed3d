// Reads one table of the configuration: each call takes one key, checks it, and leaves the given default
// where the key is absent or wrong; what is wrong goes into the Findings. finish() refuses what nobody asked
// for.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/config.h"
#include "daemon/config/document.h"
#include "daemon/config/findings.h"
#include "daemon/config/units.h"

namespace mailotp::daemon {

using Rule = core::Result<> (*)(std::string_view text);

template <class E>
struct Choice {
  std::string_view name;
  E value;
};

class TableReader {
 public:
  // `table` null: absent, everything keeps its default. `path` as in Findings, "" for the root. All
  // references outlive the reader.
  TableReader(const Node* table, std::string path, Findings& findings);

  // Marks the key as known. Null when it is absent.
  [[nodiscard]] const Node* take(std::string_view key);
  // A table of its own; null when it is absent or no table.
  [[nodiscard]] const Node* take_table(std::string_view key);
  // [[key]]; empty when it is absent or something else.
  [[nodiscard]] std::vector<const Node*> take_tables(std::string_view key);
  // Refuses the table when the key is not in it; `example` follows "such as".
  void require(std::string_view key, std::string_view example);

  void text(std::string_view key, std::string& out, Rule rule = nullptr);
  void texts(std::string_view key, std::vector<std::string>& out, Rule rule);
  void boolean(std::string_view key, bool& out);
  template <class T>
  void whole(std::string_view key, T& out, std::int64_t min, std::int64_t max) {
    if (const auto number = take_whole(key, min, max)) out = static_cast<T>(*number);
  }
  void wholes(std::string_view key, std::vector<std::uint32_t>& out, std::int64_t max);
  // A number, with or without a fraction.
  void real(std::string_view key, double& out, double min, double max);
  void duration(std::string_view key, core::Seconds& out, core::Seconds min, core::Seconds max);
  void duration(std::string_view key, core::Millis& out, core::Millis min, core::Millis max);
  // One to 32 of them.
  void durations(std::string_view key, std::vector<core::Millis>& out, core::Millis min, core::Millis max);
  // Bytes, written with a unit.
  void size(std::string_view key, std::int64_t& out, std::int64_t max);
  // "" is none.
  void rate(std::string_view key, std::optional<core::Rate>& out);
  // One text or an array of them; "" and [] switch the limit off.
  void rates(std::string_view key, std::vector<core::Rate>& out);
  void file_mode(std::string_view key, std::uint32_t& out);
  void address(std::string_view key, core::Address& out);
  void sender(std::string_view key, core::NamedAddress& out);
  // "" is none.
  void optional_sender(std::string_view key, std::optional<core::NamedAddress>& out);
  template <class E, std::size_t N>
  void choice(std::string_view key, E& out, const std::array<Choice<E>, N>& choices) {
    std::array<std::string_view, N> names{};
    for (std::size_t i = 0; i < N; ++i)
      names[i] = choices[i].name;
    if (const auto index = take_choice(key, names)) out = choices[*index].value;
  }

  void finish();

 private:
  [[nodiscard]] std::string path_of(std::string_view key) const;
  [[nodiscard]] std::string where() const;
  [[nodiscard]] const Node* take_kind(std::string_view key, NodeKind kind, std::string_view wanted);
  [[nodiscard]] bool is_kind(const Node& node, std::string_view key, NodeKind kind, std::string_view wanted);
  [[nodiscard]] bool is_clean(const Node& node, std::string_view key);
  [[nodiscard]] std::optional<std::int64_t> take_whole(std::string_view key, std::int64_t min,
                                                       std::int64_t max);
  [[nodiscard]] std::optional<std::size_t> take_choice(std::string_view key,
                                                       std::span<const std::string_view> names);
  [[nodiscard]] std::optional<core::Rate> read_rate(const Node& node, std::string_view key);
  [[nodiscard]] std::optional<core::NamedAddress> read_sender(const Node& node, std::string_view key);
  void refuse(const Node& node, std::string_view key, std::string_view what);

  const Node* table_;
  std::string path_;
  Findings& findings_;
  std::vector<std::string_view> known_;
};

}  // namespace mailotp::daemon
