#include <array>

#include <fmt/format.h>

#include "ctl/show.h"
#include "ctl/show_words.h"
#include "ctl/text.h"

namespace mailotp::ctl {
namespace {

constexpr std::array<Column, 9> k_bounce_columns{{{"AGE", 6, 6, 2, Align::right},
                                                  {"KIND", 10, 10, 4},
                                                  {"CLASS", 18, 18, 1},
                                                  {"STATUS", 6, 9, 5},
                                                  {"WEIGHT", 6, 6, 6},
                                                  {"RECIPIENT", 16, 32, 3},
                                                  {"SOURCE", 8, 8, 8},
                                                  {"MESSAGE", 36, 36, 9},
                                                  {"DIAGNOSTIC", 20, k_whole_line, 7}}};
constexpr std::array<Column, 8> k_suppression_columns{{{"ADDRESS", 24, 40, 1},
                                                       {"CLASS", 18, 18, 2},
                                                       {"LEFT", 6, 6, 3, Align::right},
                                                       {"PROBE", 6, 6, 5, Align::right},
                                                       {"SOURCE", 8, 8, 4},
                                                       {"AGE", 6, 6, 6, Align::right},
                                                       {"TIMES", 5, 5, 8, Align::right},
                                                       {"APP", 8, 16, 7}}};

Colour colour_of_weight(std::string_view weight) {
  if (weight == "hard" || weight == "alarm") return Colour::bad;
  return weight == "soft" ? Colour::waiting : Colour::none;
}

}  // namespace

std::string bounces_head(const Screen& screen) {
  return Table(k_bounce_columns, screen).head();
}

std::string bounces_rows(const std::vector<BounceInfo>& bounces, const Screen& screen) {
  const Table table(k_bounce_columns, screen);
  std::string out;
  for (const BounceInfo& bounce : bounces) {
    out += table.row({{bounce.at ? age(since(*bounce.at, screen.now)) : std::string(k_nothing)},
                      {or_dash(bounce.kind)},
                      {or_dash(bounce.bounce_class)},
                      {or_dash(bounce.status)},
                      {or_dash(bounce.weight), colour_of_weight(bounce.weight)},
                      {or_dash(bounce.recipient)},
                      {or_dash(bounce.source)},
                      {or_dash(bounce.message)},
                      {or_dash(bounce.diagnostic)}});
  }
  return out;
}

std::string suppressions_head(const Screen& screen) {
  return Table(k_suppression_columns, screen).head();
}

std::string suppressions_rows(const std::vector<SuppressionInfo>& suppressions, const Screen& screen) {
  const Table table(k_suppression_columns, screen);
  std::string out;
  for (const SuppressionInfo& one : suppressions) {
    out += table.row({{or_dash(one.address)},
                      {or_dash(one.bounce_class)},
                      {one.until ? until(one.until, screen) : "always"},
                      {until(one.probe_at, screen)},
                      {or_dash(one.source)},
                      {one.since ? age(since(*one.since, screen.now)) : std::string(k_nothing)},
                      {std::to_string(one.times)},
                      {or_dash(one.app)}});
  }
  return out;
}

}  // namespace mailotp::ctl
