// The story of an address, a challenge or a message, in words. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ctl/answers.h"
#include "ctl/table.h"

namespace mailotp::ctl {

struct TimelineInfo {
  std::optional<core::WallTime> at;
  std::string type;
  std::string app;
  std::string challenge;
  std::string message;
  std::string actor;                          // "app 33", "daemon"
  std::map<std::string, std::string> detail;  // by name; "reply" as "450 4.2.1 try again"
  std::string template_name;
  std::string locale;
};
[[nodiscard]] core::Result<PageInfo<TimelineInfo>> read_timeline(std::string_view body);

// How things stand when the story ends.
struct StandingInfo {
  std::vector<MessageInfo> messages;  // the newest ones, newest first
  std::vector<SuppressionInfo> suppressions;
  std::vector<RelayInfo> relays;
};

[[nodiscard]] std::string timeline_head(const Screen& screen);
[[nodiscard]] std::string timeline_rows(const std::vector<TimelineInfo>& items, const Screen& screen);
// What became of the newest mails, and what stands in the way of others.
[[nodiscard]] std::string show_standing(const StandingInfo& standing, const Screen& screen);

// An event in words: "relay primary refused the recipient: 550 5.1.1 no such user".
[[nodiscard]] std::string words_of(const TimelineInfo& item);
// Why a class of bounce or verdict is: "user-unknown" → "there is no such mailbox". Unknown ones as they are.
[[nodiscard]] std::string class_words(std::string_view name);

}  // namespace mailotp::ctl
