#include "ctl/table.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "core/check.h"
#include "ctl/text.h"

namespace mailotp::ctl {
namespace {

constexpr std::size_t k_gap = 2;

std::string_view start_of(Colour colour) {
  switch (colour) {
    case Colour::none:
      return "";
    case Colour::good:
      return "\x1b[32m";
    case Colour::waiting:
      return "\x1b[33m";
    case Colour::bad:
      return "\x1b[31m";
  }
  return "";
}

}  // namespace

std::string coloured(std::string_view text, Colour colour, bool enabled) {
  if (!enabled || colour == Colour::none) return std::string(text);
  return fmt::format("{}{}\x1b[0m", start_of(colour), text);
}

Table::Table(std::span<const Column> columns, const Screen& screen)
    : columns_(columns), cuts_(screen.width != 0), colour_(screen.colour) {
  std::vector<std::size_t> by_rank(columns.size());
  std::iota(by_rank.begin(), by_rank.end(), 0U);
  std::sort(by_rank.begin(), by_rank.end(),
            [&columns](std::size_t a, std::size_t b) { return columns[a].rank < columns[b].rank; });
  std::size_t used = 0;
  for (const std::size_t index : by_rank) {
    const std::size_t needed = columns[index].least + (shown_.empty() ? 0 : k_gap);
    // The first column is shown whatever the screen.
    if (cuts_ && !shown_.empty() && used + needed > screen.width) continue;
    used += needed;
    shown_.push_back({index, columns[index].least});
  }
  for (Shown& shown : shown_) {  // still by rank: the important ones grow first
    const std::size_t room = cuts_ ? screen.width - std::min(screen.width, used) : columns[shown.index].most;
    const std::size_t growth = std::min(room, columns[shown.index].most - columns[shown.index].least);
    shown.width += growth;
    used += growth;
  }
  std::sort(shown_.begin(), shown_.end(), [](const Shown& a, const Shown& b) { return a.index < b.index; });
}

std::string Table::head() const {
  std::vector<Cell> titles;
  for (const Column& column : columns_)
    titles.push_back({std::string(column.title), Colour::none});
  return row(titles);
}

std::string Table::row(const std::vector<Cell>& cells) const {
  CHECK(cells.size() == columns_.size());
  std::string line;
  for (const Shown& shown : shown_) {
    const Cell& cell = cells[shown.index];
    const std::string text = cuts_ ? cut(cell.text, shown.width) : cell.text;
    const std::string blanks(shown.width - std::min(shown.width, columns_of(text)), ' ');
    if (!line.empty()) line.append(k_gap, ' ');
    const std::string inked = coloured(text, cell.colour, colour_);
    line += columns_[shown.index].align == Align::right ? blanks + inked : inked + blanks;
  }
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

}  // namespace mailotp::ctl
