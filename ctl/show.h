// Answers as text for people. Pure; everything that came from the daemon is made printable here.
#pragma once

#include <string>
#include <vector>

#include "ctl/answers.h"
#include "ctl/table.h"

namespace mailotp::ctl {

struct StatusInfo {
  DaemonInfo daemon;
  ReadyInfo ready;
  StatsInfo stats;
  std::vector<RelayInfo> relays;
  std::vector<KeyInfo> keys;
};

// Why an old key must stay in the file, or that it need not.
[[nodiscard]] std::string key_text(const KeyInfo& key, core::WallTime now);
[[nodiscard]] std::string show_status(const StatusInfo& status, const Screen& screen);
[[nodiscard]] std::string outbox_head(const Screen& screen);
[[nodiscard]] std::string outbox_rows(const std::vector<MessageInfo>& messages, const Screen& screen);
[[nodiscard]] std::string bounces_head(const Screen& screen);
[[nodiscard]] std::string bounces_rows(const std::vector<BounceInfo>& bounces, const Screen& screen);
[[nodiscard]] std::string suppressions_head(const Screen& screen);
[[nodiscard]] std::string suppressions_rows(const std::vector<SuppressionInfo>& suppressions,
                                            const Screen& screen);
[[nodiscard]] std::string show_message(const MessageDetail& detail, const Screen& screen);
[[nodiscard]] std::string show_challenge(const ChallengeInfo& challenge, const Screen& screen);
[[nodiscard]] std::string show_relay_test(const RelayTestInfo& test, const Screen& screen);
[[nodiscard]] std::string show_reload(const ReloadInfo& reload);
[[nodiscard]] std::string templates_head(const Screen& screen);
[[nodiscard]] std::string templates_rows(const std::vector<TemplateInfo>& templates, const Screen& screen);
[[nodiscard]] std::string show_preview(const PreviewInfo& preview, Part part);
[[nodiscard]] std::string events_head(const Screen& screen);
[[nodiscard]] std::string event_row(const StreamedInfo& event, const Screen& screen);
[[nodiscard]] std::string show_relays(const std::vector<RelayInfo>& relays, const Screen& screen);

}  // namespace mailotp::ctl
