#include "ctl/command_line.h"

#include <cstdlib>
#include <sstream>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "ctl/command_words.h"
#include "ctl/text.h"

namespace mailotp::ctl {
namespace {

constexpr const char* k_default_socket = "/run/mailotpd/admin.sock";
constexpr const char* k_socket_variable = "MAILOTPD_ADMIN_SOCKET";
constexpr std::string_view k_complete = "complete-words";

void add_all(CLI::App& app, Words& words) {
  app.require_subcommand(1);
  app.set_version_flag("--version", "mailotpctl " MAILOTP_VERSION, "Print the version and end");
  app.add_option("--socket", words.socket,
                 fmt::format("The operators' socket of mailotpd; default {}, or the environment variable "
                             "MAILOTPD_ADMIN_SOCKET",
                             k_default_socket))
      ->type_name("PATH")
      ->envname(k_socket_variable);
  app.add_flag("--json", words.json, "JSON Lines for programs in place of tables for people");
  app.footer(
      "Ends with 0 done, 1 refused, 2 usage, 69 no daemon, 75 try again, 77 no permission.\n"
      "Example:\n  mailotpctl outbox list --state deferred");
  CLI::App* status =
      add_verb(app, "status", "Is it ready, are its relays up, how much waits", "status --json");
  add_watch(*status, words);
  status->callback([&words] { words.verb = ShowStatus{}; });
  add_outbox_verbs(app, words);
  add_address_verbs(app, words);
  add_relay_verbs(app, words);
  add_template_verbs(app, words);
  add_tail_verb(app, words);
  add_upkeep_verbs(app, words);
}

// The verb that was reached: `app` itself when none was.
const CLI::App& reached(const CLI::App& app) {
  const CLI::App* at = &app;
  for (auto verbs = at->get_subcommands(); !verbs.empty(); verbs = at->get_subcommands())
    at = verbs.front();
  return *at;
}

std::string mistake(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& at = reached(app);
  std::string above;
  for (const CLI::App* parent = at.get_parent(); parent != nullptr; parent = parent->get_parent())
    above = parent->get_display_name() + (above.empty() ? "" : " ") + above;
  const bool verb_missing = at.get_require_subcommand_min() > 0;
  const auto unknown = app.remaining(true);
  if (verb_missing && unknown.empty()) return at.help(above);
  const std::string what =
      verb_missing ? fmt::format("\"{}\" is not known here", unknown.front()) : std::string(error.what());
  return fmt::format("mailotpctl: {}\nTry \"{}{}{} --help\".\n", printable(what), above,
                     above.empty() ? "" : " ", at.get_display_name());
}

}  // namespace

std::variant<CommandLine, NothingToRun> read_command_line(int argc, const char* const* argv) {
  CLI::App app("Look at mailotpd: what it sends, what waits and why.", "mailotpctl");
  Words words;
  words.socket = k_default_socket;
  add_all(app, words);
  if (argc > 1 && std::string_view(argv[1]) == k_complete) {
    // Not a verb of the help: it is for the shell.
    std::vector<std::string> typed(argv + 2, argv + argc);
    if (!typed.empty() && typed.front() == "--") typed.erase(typed.begin());
    if (const char* socket = std::getenv(k_socket_variable); socket != nullptr && *socket != '\0')
      words.socket = socket;
    const Complete complete = complete_line(app, typed, words.socket);
    return CommandLine{words.socket, Output::people, {}, complete};
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& wanted) {  // --help, --version
    std::ostringstream out;
    (void)app.exit(wanted, out, out);
    return NothingToRun{ExitCode::done, out.str()};
  } catch (const CLI::ParseError& error) {
    return NothingToRun{ExitCode::usage, mistake(app, error)};
  }
  CommandLine out{words.socket, words.json ? Output::json_lines : Output::people, {}, std::move(*words.verb)};
  if (!words.watch.empty()) out.watch = core::Seconds{std::stoi(words.watch)};
  return out;
}

}  // namespace mailotp::ctl
