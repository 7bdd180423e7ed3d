// The daemon's answers as values; answer_json.h takes them apart. A field that an older or
// newer daemon does not send is empty. Nothing here is escaped for a terminal.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.h"
#include "core/time.h"
#include "ctl/command_line.h"

namespace mailotp::ctl {

struct VerdictInfo {
  std::string kind;
  std::string verdict_class;
  bool permanent = false;
  std::string status;
  std::string detail;
  std::string source;
};

struct MessageInfo {
  std::string id;
  std::string challenge;
  std::string app;
  std::string kind;
  std::string recipient;
  std::string state;
  std::int64_t attempts = 0;
  std::int64_t uncertain = 0;
  std::optional<core::Seconds> age;
  std::optional<core::WallTime> created_at;
  std::optional<core::WallTime> not_after;
  std::optional<core::WallTime> next_attempt_at;
  std::string relay;
  std::string reply;  // "450 4.2.1 try again"
  std::optional<VerdictInfo> verdict;
  std::string message_id;
  std::string template_name;
  std::string template_version;
  std::string locale;
};

struct EventInfo {
  std::string at;
  std::string type;
  std::string actor;   // "app 33", "daemon"
  std::string detail;  // "stage=rcpt relay=primary"
};

struct MessageDetail {
  MessageInfo message;
  std::vector<EventInfo> events;
};

struct ChallengeInfo {
  std::string id;
  std::string app;
  std::string recipient;
  std::string purpose;
  std::string state;
  std::optional<core::WallTime> created_at;
  std::optional<core::WallTime> expires_at;
  std::optional<core::WallTime> resend_at;
  std::int64_t attempts_left = 0;
  std::int64_t sends_left = 0;
  std::int64_t revision = 0;
  std::optional<MessageInfo> message;
};

struct RelayInfo {
  std::string name;
  std::string state;
  std::string breaker;  // empty from a daemon that has none
  std::int64_t connections = 0;
  std::string last_error;
  std::optional<core::WallTime> last_error_at;
};

struct RelayTestInfo {
  struct Step {
    std::string stage;
    bool ok = false;
    std::string saw;
  };
  bool ok = false;
  std::vector<Step> steps;
};

struct BounceInfo {
  std::optional<core::WallTime> at;
  std::string source;
  std::string recipient;
  std::string kind;
  std::string bounce_class;
  std::string status;
  std::string diagnostic;
  std::string rule;
  std::string message;
  std::string app;
  std::string weight;
};

struct SuppressionInfo {
  std::string address;
  std::string app;
  std::string bounce_class;
  std::string source;
  std::optional<core::WallTime> since;
  std::optional<core::WallTime> until;
  std::optional<core::WallTime> probe_at;
  std::int64_t times = 0;
};

struct DaemonInfo {
  std::string version;
  std::string mode;
};

struct ReadyInfo {
  bool ready = false;
  std::string store;
  std::string bounces;
  std::int64_t bounces_foreign = 0;  // mails in the bounce mailbox that are not ours; 0: few
  std::vector<std::pair<std::string, std::string>> relays;  // name, state
  std::vector<std::string> braked;                          // apps
  // Of the operators' socket, and not of older daemons.
  struct MailboxError {
    std::string step;
    std::string reason;
    std::string trouble;  // ordinary | auth_refused | certificate
  };
  std::string store_error;
  std::optional<MailboxError> mailbox_error;
  std::vector<std::pair<std::string, std::string>> agents;  // name, what is wrong
};

struct KeyInfo {
  std::string id;
  bool writing = false;
  bool needed = true;
  bool challenges = false;
  bool messages = false;
  std::optional<core::WallTime> answers_until;
  std::optional<core::WallTime> bounces_until;
};

struct NamesInfo {
  std::vector<std::string> added;
  std::vector<std::string> changed;
  std::vector<std::string> removed;
};
struct ReloadInfo {
  std::int64_t keys = 0;
  bool from_credential = false;
  std::vector<std::string> changed;  // tables, "keys", "templates"
  NamesInfo relays;
  NamesInfo apps;
  NamesInfo templates;
  std::vector<std::string> needs_restart;
};

struct StatsInfo {
  std::map<std::string, std::int64_t> messages;
  std::map<std::string, std::int64_t> oldest_seconds;
  std::map<std::string, std::int64_t> ended_total;
  std::map<std::string, std::int64_t> challenges;
  std::map<std::string, std::int64_t> bounces;
  std::int64_t accepted_total = 0;
};

struct TemplateInfo {
  struct Locale {
    std::string locale;
    std::string version;
    std::string origin;
    bool code = false;
  };
  std::string name;
  std::string variables;  // "name, link (required)"
  std::vector<Locale> locales;
};

struct PreviewInfo {
  std::string locale;
  std::string version;
  std::string subject;
  std::string text;
  std::string html;
};

// An event of the stream.
struct StreamedInfo {
  std::string cursor;
  std::string type;
  std::string app;
  std::string about;  // the message, else the challenge
  EventInfo event;
};

struct ProblemInfo {  // RFC 9457
  std::string code;
  std::string title;
  std::string detail;
  std::string field;
  std::string request_id;
  std::optional<core::Seconds> retry_after;
};

template <class T>
struct PageInfo {
  std::vector<T> items;
  std::string next_cursor;  // empty: the last page
};

// Errc::malformed: not JSON, or not the shape that every version has.
[[nodiscard]] core::Result<PageInfo<MessageInfo>> read_outbox(std::string_view body);
[[nodiscard]] core::Result<MessageDetail> read_message(std::string_view body);
[[nodiscard]] core::Result<ChallengeInfo> read_challenge(std::string_view body);
[[nodiscard]] core::Result<PageInfo<RelayInfo>> read_relays(std::string_view body);
[[nodiscard]] core::Result<RelayInfo> read_relay(std::string_view body);
[[nodiscard]] core::Result<RelayTestInfo> read_relay_test(std::string_view body);
[[nodiscard]] core::Result<PageInfo<BounceInfo>> read_bounces(std::string_view body);
[[nodiscard]] core::Result<PageInfo<SuppressionInfo>> read_suppressions(std::string_view body);
[[nodiscard]] core::Result<SuppressionInfo> read_suppression(std::string_view body);
[[nodiscard]] core::Result<DaemonInfo> read_daemon(std::string_view body);
[[nodiscard]] core::Result<ReadyInfo> read_ready(std::string_view body);
[[nodiscard]] core::Result<StatsInfo> read_stats(std::string_view body);
[[nodiscard]] core::Result<PageInfo<KeyInfo>> read_keys(std::string_view body);
[[nodiscard]] core::Result<ReloadInfo> read_reload(std::string_view body);
// How many messages a flush made due.
[[nodiscard]] core::Result<std::int64_t> read_flushed(std::string_view body);
// How many rows an erasure removed.
[[nodiscard]] core::Result<std::int64_t> read_erased(std::string_view body);
[[nodiscard]] core::Result<PageInfo<TemplateInfo>> read_templates(std::string_view body);
[[nodiscard]] core::Result<PreviewInfo> read_preview(std::string_view body);
[[nodiscard]] core::Result<StreamedInfo> read_streamed(std::string_view line);
// The revision of a message, to wait for the next one.
[[nodiscard]] core::Result<std::int64_t> read_revision(std::string_view body);
// Any bytes: what is no problem document gives an empty one.
[[nodiscard]] ProblemInfo read_problem(std::string_view body);

[[nodiscard]] std::string erase_body(const std::string& address);
// The body of a preview or a test of a template; empty values are left out, and so is an empty recipient.
[[nodiscard]] std::string template_body(const TemplateUse& use, const std::string& recipient);
// The body of a PUT of a suppression; `until` may be empty.
[[nodiscard]] std::string suppression_body(const std::string& bounce_class, const std::string& until);

// JSON Lines, in ASCII: what the daemon sent, with \u escapes for every other character.
[[nodiscard]] core::Result<std::string> object_line(std::string_view body);
[[nodiscard]] core::Result<PageInfo<std::string>> item_lines(std::string_view body);
// One object of the members of all; a name that comes again is the first one's. `relays` and `keys`, when not
// empty, are pages whose items become the members of these names.
[[nodiscard]] core::Result<std::string> status_line(std::string_view daemon, std::string_view ready,
                                                    std::string_view stats, std::string_view relays,
                                                    std::string_view keys);

// One JSON line.
[[nodiscard]] std::string backup_line(const std::string& file, std::uint64_t bytes, double seconds);

}  // namespace mailotp::ctl
