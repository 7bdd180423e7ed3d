// Tables with fixed columns: a column's width depends on the screen alone, never on the rows, so that pages
// can be printed as they come. A narrow screen loses its least important columns first.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/time.h"

namespace mailotp::ctl {

enum class Colour : std::uint8_t { none, good, waiting, bad };

// Where it is printed.
struct Screen {
  std::size_t width = 0;  // columns; 0: no screen, nothing is cut
  bool colour = false;
  core::WallTime now;
  std::size_t height = 0;  // lines; 0: no screen
};

enum class Align : std::uint8_t { left, right };

struct Column {
  std::string_view title;
  std::size_t least = 0;  // columns it needs
  std::size_t most = 0;   // columns that it takes when there is room; more than `least` only for texts
  int rank = 0;           // 1 is the most important
  Align align = Align::left;
};

struct Cell {
  std::string text;  // printable
  Colour colour = Colour::none;
};

class Table {
 public:
  Table(std::span<const Column> columns, const Screen& screen);

  [[nodiscard]] std::string head() const;
  // As many cells as columns. One line, without blanks at its end.
  [[nodiscard]] std::string row(const std::vector<Cell>& cells) const;

 private:
  struct Shown {
    std::size_t index;
    std::size_t width;
  };
  std::span<const Column> columns_;
  std::vector<Shown> shown_;
  bool cuts_;
  bool colour_;
};

// `text` in the colour, where the screen has colours.
[[nodiscard]] std::string coloured(std::string_view text, Colour colour, bool enabled);

}  // namespace mailotp::ctl
