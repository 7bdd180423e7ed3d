// The command line of mailotpctl as a value. command_words.h says who sees CLI11.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "core/id.h"
#include "core/store.h"
#include "ctl/exit_code.h"

namespace mailotp::ctl {

enum class Output : std::uint8_t { people, json_lines };
enum class Paging : std::uint8_t { one_page, all_pages };

struct ShowStatus {};
struct ListOutbox {
  std::string state;
  std::string recipient;
  std::string app;
  std::string relay;
  std::string cursor;
  int limit = 50;  // 1 to 500: rows of a page
  Paging paging = Paging::one_page;
};
struct ShowMessage {
  core::Id id;
};
struct ShowChallenge {
  core::Id id;
};
struct ShowTimeline {
  std::string subject;  // an address, or the id of a challenge or a message
};
struct ListRelays {};
struct TestRelay {
  std::string name;
};
enum class RelayOrder : std::uint8_t { suspend, resume };
struct OrderRelay {
  std::string name;
  RelayOrder order = RelayOrder::suspend;
};
enum class Confirm : std::uint8_t { ask, given };
struct OrderMessages {
  std::vector<core::Id> ids;  // at least one
  core::MessageOrder order = core::MessageOrder::retry;
  Confirm confirm = Confirm::given;  // ask: at the terminal, before anything is done
};
struct FlushOutbox {};
struct ListBounces {
  std::string recipient;
  std::string bounce_class;
  std::string kind;
  std::string app;
  std::string cursor;
  int limit = 50;
  Paging paging = Paging::one_page;
};
struct ListSuppressions {
  std::string recipient;
  std::string cursor;
  int limit = 50;
  Paging paging = Paging::one_page;
};
struct Suppress {
  std::string address;
  std::string bounce_class = "user-unknown";
  std::string until;  // RFC 3339; empty: until it is removed
};
struct Unsuppress {
  std::string address;
};
struct Erase {
  std::string address;
  Confirm confirm = Confirm::ask;
};
struct Reload {};
struct MakeKey {
  std::string file;
};
struct CheckConfig {
  std::string file;
};
using Verb = std::variant<ShowStatus, ListOutbox, ShowMessage, OrderMessages, FlushOutbox, ShowChallenge,
                          ShowTimeline, ListRelays, TestRelay, OrderRelay, ListBounces, ListSuppressions,
                          Suppress, Unsuppress, Erase, Reload, MakeKey, CheckConfig>;

struct CommandLine {
  std::string socket;
  Output output = Output::people;
  Verb verb;
};

// Nothing to run: help or the version (done, for stdout), or a mistake (usage, for stderr).
struct NothingToRun {
  ExitCode exit = ExitCode::usage;
  std::string text;
};

// Also reads the environment variable MAILOTPD_ADMIN_SOCKET.
[[nodiscard]] std::variant<CommandLine, NothingToRun> read_command_line(int argc, const char* const* argv);

}  // namespace mailotp::ctl
