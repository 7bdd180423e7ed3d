#include <array>

#include <fmt/format.h>

#include "ctl/show.h"
#include "ctl/show_words.h"
#include "ctl/text.h"

namespace mailotp::ctl {
namespace {

constexpr std::array<Column, 5> k_relay_columns{{{"RELAY", 16, 20, 1},
                                                 {"STATE", 9, 9, 2},
                                                 {"BREAKER", 9, 9, 5},
                                                 {"CONNECTIONS", 11, 11, 4, Align::right},
                                                 {"LAST ERROR", 20, k_whole_line, 3}}};
constexpr std::array<Column, 3> k_test_columns{
    {{"STEP", 9, 9, 1}, {"RESULT", 6, 6, 2}, {"SAW", 20, k_whole_line, 3}}};

Cell breaker_cell(std::string_view breaker) {
  if (breaker == "open") return {std::string(breaker), Colour::bad};
  if (breaker == "half-open") return {std::string(breaker), Colour::waiting};
  return {or_dash(breaker)};
}

}  // namespace

std::string show_relay_test(const RelayTestInfo& test, const Screen& screen) {
  const Table table(k_test_columns, screen);
  std::string out = table.head();
  for (const RelayTestInfo::Step& step : test.steps) {
    out += table.row({{or_dash(step.stage)},
                      {step.ok ? "ok" : "failed", step.ok ? Colour::good : Colour::bad},
                      {or_dash(step.saw)}});
  }
  return out;
}

std::string show_relays(const std::vector<RelayInfo>& relays, const Screen& screen) {
  const Table table(k_relay_columns, screen);
  std::string out = table.head();
  for (const RelayInfo& relay : relays) {
    std::string error = or_dash(relay.last_error);
    if (relay.last_error_at && !relay.last_error.empty())
      error = fmt::format("{} ago: {}", age(since(*relay.last_error_at, screen.now)), error);
    out += table.row({{or_dash(relay.name)},
                      state_cell(relay.state),
                      breaker_cell(relay.breaker),
                      {std::to_string(relay.connections)},
                      {error}});
  }
  return out;
}

}  // namespace mailotp::ctl
