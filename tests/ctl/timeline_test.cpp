// The story of an address in words.
#include "ctl/timeline.h"

#include <algorithm>

#include <catch2/catch.hpp>

namespace mailotp::ctl {
namespace {

TimelineInfo event(std::string type, std::map<std::string, std::string> detail = {}) {
  TimelineInfo item;
  item.at = core::WallTime{core::Millis{1'795'860'000'000}};
  item.type = std::move(type);
  item.app = "shop";
  item.message = "0190b5a0-7c1e-7e3a-9f00-0123456789ab";
  item.actor = "app 33";
  item.detail = std::move(detail);
  return item;
}

TEST_CASE("timeline: events in words") {
  CHECK(words_of(event("challenge.created")) == "app 33 asked for a code");
  CHECK(words_of(event("challenge.checked", {{"result", "invalid"}, {"attempts_left", "3"}})) ==
        "a wrong code was typed, tries left: 3");
  CHECK(words_of(event("message.failed",
                       {{"relay", "primary"}, {"stage", "rcpt"}, {"reply", "550 5.1.1 no such user"}})) ==
        "given up: relay primary refused the recipient: 550 5.1.1 no such user");
  CHECK(words_of(event("message.deferred",
                       {{"relay", "primary"}, {"stage", "connect"}, {"reason", "connection refused"}})) ==
        "not yet: relay primary gives no connection: connection refused");
  CHECK(words_of(event("message.deferred", {{"relay", "primary"},
                                            {"stage", "auth"},
                                            {"reason", "AUTH PLAIN: 535 no"},
                                            {"reply", "535 no"}})) ==
        "not yet: relay primary refused our login: AUTH PLAIN: 535 no");
  CHECK(words_of(event("message.canceled", {{"challenge", "otp_valid"}})) ==
        "not sent: the right code was typed before");
  CHECK(words_of(event("recipient.refused", {{"code", "rate_limited"},
                                             {"limit", "recipient_sends"},
                                             {"max", "3"},
                                             {"period_seconds", "900"},
                                             {"reset_at", "2026-11-28T10:00:00.000Z"},
                                             {"times", "7"}})) ==
        "refused to app 33: a limit is full (recipient_sends: 3 in 900 s), until 2026-11-28T10:00:00.000Z; 7 "
        "times");
  TimelineInfo ordered = event("message.held", {{"order", "hold"}});
  ordered.actor = "operator 0";
  CHECK(words_of(ordered) == "operator 0 ordered: hold");
}

TEST_CASE("timeline: an event of a version to come is shown as it is") {
  CHECK(words_of(event("weather.changed", {{"to", "rain"}, {"by", "wind"}})) == "by=wind to=rain");
  CHECK(words_of(event("message.teleported")) == "");
  CHECK(class_words("user-unknown") == "there is no such mailbox");
  CHECK(class_words("moon-full") == "moon-full");
}

std::size_t longest_line(const std::string& text) {
  std::size_t longest = 0;
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t end = std::min(text.find('\n', from), text.size());
    longest = std::max(longest, end - from);
    from = end + 1;
  }
  return longest;
}

TEST_CASE("timeline: what happened goes on in the next line and is never cut") {
  const std::string reply = "550 5.1.1 " + std::string(30, 'a') + " " + std::string(90, 'b') + " the end";
  const std::vector<TimelineInfo> items{event("message.failed", {{"relay", "primary"}, {"reply", reply}})};
  for (const std::size_t width : {40U, 80U, 120U, 200U}) {
    CAPTURE(width);
    const std::string rows = timeline_rows(items, {width, false, {}});
    CHECK(longest_line(rows) <= std::max<std::size_t>(width, 66));  // the time, and 40 columns of words
    std::string joined;
    for (const char c : rows)
      if (c != '\n' && c != ' ') joined += c;
    CHECK(joined.find(std::string(90, 'b') + "theend") != std::string::npos);
    CHECK(rows.starts_with("2026-11-28T10:00:00.000Z  "));
  }
  CHECK(timeline_rows(items, {80, false, {}}).find("message.failed") == std::string::npos);
  CHECK(timeline_rows(items, {200, false, {}}).find("message.failed") != std::string::npos);
  const std::string whole = timeline_rows(items, {0, false, {}});
  CHECK(std::count(whole.begin(), whole.end(), '\n') == 1);
}

}  // namespace
}  // namespace mailotp::ctl
