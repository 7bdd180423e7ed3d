// A line of the log in each of its forms: one event, one line, whatever came from outside.
#include "daemon/app/log_line.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/app/log_output.h"

namespace mailotp::daemon {
namespace {

constexpr core::WallTime k_at{core::Millis{1'800'000'000'123}};
constexpr std::string_view k_line = R"(event=relay_down relay=primary reason="said "no" to us" code=421)";

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> out;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    REQUIRE(end != std::string::npos);
    out.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

TEST_CASE("what came from outside cannot pass for fields of ours") {
  const std::string reply = "554 no\" event=store_failed what=\"x";
  const std::string line = "event=relay_down reason=\"" + quotable(reply) + "\"";
  CHECK(fields_of(line) ==
        std::vector<LogField>{{"event", "relay_down"}, {"reason", "554 no' event=store_failed what='x"}});
}

TEST_CASE("the fields of a line") {
  using Fields = std::vector<LogField>;
  CHECK(fields_of(k_line) ==
        Fields{
            {"event", "relay_down"}, {"relay", "primary"}, {"reason", "said \"no\" to us"}, {"code", "421"}});
  CHECK(fields_of("event=stopped") == Fields{{"event", "stopped"}});
  CHECK(fields_of("event=x what=\"\"") == Fields{{"event", "x"}, {"what", ""}});
  CHECK(fields_of("event=x what=\"never closed") == Fields{{"event", "x"}, {"what", "never closed"}});
  CHECK(fields_of("").empty());
  CHECK(fields_of("no field").empty());
}

TEST_CASE("as text, with a priority, and as JSON") {
  const std::string at = core::format_rfc3339(k_at);
  CHECK(as_text(k_at, core::LogLevel::warning, k_line) == fmt::format("{} warning {}\n", at, k_line));
  CHECK(as_prefixed(core::LogLevel::error, "event=x") == "<3>event=x\n");
  CHECK(as_prefixed(core::LogLevel::warning, "event=x") == "<4>event=x\n");
  CHECK(as_prefixed(core::LogLevel::notice, "event=x") == "<5>event=x\n");
  CHECK(as_prefixed(core::LogLevel::info, "event=x") == "<6>event=x\n");
  CHECK(as_prefixed(core::LogLevel::debug, "event=x") == "<7>event=x\n");
  const auto json = nlohmann::json::parse(as_json(k_at, core::LogLevel::warning, k_line));
  CHECK(json == nlohmann::json{{"at", at},
                               {"level", "warning"},
                               {"event", "relay_down"},
                               {"relay", "primary"},
                               {"reason", "said \"no\" to us"},
                               {"code", "421"}});
}

TEST_CASE("for the journal: fields, a priority, and the number of the event") {
  const std::string entry = as_journal_entry(core::LogLevel::warning, k_line);
  CHECK(lines_of(entry) ==
        std::vector<std::string>{
            fmt::format("MESSAGE={}", k_line), "PRIORITY=4", "SYSLOG_IDENTIFIER=mailotpd",
            "MAILOTPD_EVENT=relay_down", fmt::format("MESSAGE_ID={}", message_id_of("relay_down")),
            "MAILOTPD_RELAY=primary", "MAILOTPD_REASON=said \"no\" to us", "MAILOTPD_CODE=421"});
  const std::string other = as_journal_entry(
      core::LogLevel::info, "event=bounce recipient_hash=3f6c1e0a9b2d4f58 domain=example.net");
  CHECK(other.find("\nMAILOTPD_RECIPIENT_HASH=3f6c1e0a9b2d4f58\nMAILOTPD_DOMAIN=example.net\n") !=
        std::string::npos);
  CHECK(as_journal_entry(core::LogLevel::info, "event=nobody_counts_it").find("MESSAGE_ID") ==
        std::string::npos);
}

TEST_CASE("what came from outside makes no line and no field of its own") {
  const std::string_view hostile = "event=x what=\"a\nPRIORITY=0\r\nMESSAGE=forged\x1b[2J\" b\x7f=1";
  for (const std::string& shown :
       {as_text(k_at, core::LogLevel::info, hostile), as_prefixed(core::LogLevel::info, hostile),
        as_json(k_at, core::LogLevel::info, hostile)}) {
    CHECK(std::count(shown.begin(), shown.end(), '\n') == 1);
    CHECK(std::none_of(shown.begin(), shown.end() - 1,
                       [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }));
  }
  const auto lines = lines_of(as_journal_entry(core::LogLevel::info, hostile));
  const auto begins = [&](const std::string& with) {
    return std::count_if(lines.begin(), lines.end(),
                         [&](const std::string& line) { return line.starts_with(with); });
  };
  CHECK(begins("PRIORITY=") == 1);
  CHECK(begins("MESSAGE=") == 1);
  for (const std::string& line : lines) {
    const std::string name = line.substr(0, line.find('='));
    CHECK(name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") == std::string::npos);
  }
}

TEST_CASE("numbers of events are UUIDs of version 4, each once") {
  std::set<std::string_view> seen;
  for (const std::string_view event :
       {"started", "stopped", "start_refused", "reload_refused", "store_failed", "disk_low", "relay_down",
        "relay_up", "delivery_stopped", "agent_killed", "watchdog_withheld", "mailbox_down", "bounce",
        "bounce_alarm", "brake_on"}) {
    const std::string_view id = message_id_of(event);
    INFO(event);
    REQUIRE(id.size() == 32);
    CHECK(id.find_first_not_of("0123456789abcdef") == std::string_view::npos);
    CHECK(id[12] == '4');
    CHECK(seen.insert(id).second);
  }
  CHECK(message_id_of("nobody_counts_it").empty());
}

TEST_CASE("standard error is the journal's only where JOURNAL_STREAM says just that") {
  const int file = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  REQUIRE(file >= 0);
  struct stat status {};
  REQUIRE(::fstat(file, &status) == 0);
  const std::string stream = fmt::format("{}:{}", status.st_dev, status.st_ino);
  CHECK(is_journal(file, stream.c_str()));
  CHECK_FALSE(is_journal(file, fmt::format("{}:{}", status.st_dev, status.st_ino + 1).c_str()));
  CHECK_FALSE(is_journal(file, fmt::format("{}:{}", status.st_dev + 1, status.st_ino).c_str()));
  CHECK_FALSE(is_journal(file, (stream + "0").c_str()));
  CHECK_FALSE(is_journal(file, ""));
  CHECK_FALSE(is_journal(file, nullptr));
  (void)::close(file);
  CHECK_FALSE(is_journal(-1, stream.c_str()));
}

}  // namespace
}  // namespace mailotp::daemon
