#include <array>

#include "ctl/show.h"
#include "ctl/show_words.h"

namespace mailotp::ctl {
namespace {

constexpr std::array<Column, 6> k_stream_columns{{{"AT (UTC)", 12, 12, 1},
                                                  {"EVENT", 20, 24, 2},
                                                  {"MESSAGE", 36, 36, 3},
                                                  {"APP", 8, 12, 5},
                                                  {"ACTOR", 10, 14, 6},
                                                  {"DETAIL", 20, k_whole_line, 4}}};

// "2026-11-20T12:00:00.123Z": what is watched is of today.
std::string time_of_day(const std::string& at) {
  return at.size() == 24 ? at.substr(11, 12) : at;
}

Colour colour_of_event(std::string_view type) {
  const std::size_t dot = type.find('.');
  return dot == std::string_view::npos ? Colour::none : colour_of(type.substr(dot + 1));
}

}  // namespace

std::string events_head(const Screen& screen) {
  return Table(k_stream_columns, screen).head();
}

std::string event_row(const StreamedInfo& event, const Screen& screen) {
  return Table(k_stream_columns, screen)
      .row({{or_dash(time_of_day(event.event.at))},
            {or_dash(event.type), colour_of_event(event.type)},
            {or_dash(event.about)},
            {or_dash(event.app)},
            {or_dash(event.event.actor)},
            {or_dash(event.event.detail)}});
}

}  // namespace mailotp::ctl
