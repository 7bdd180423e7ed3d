#include "ctl/command_line.h"

#include <sstream>
#include <utility>

#include <fmt/format.h>

#include "ctl/command_words.h"
#include "ctl/text.h"

namespace mailotp::ctl {
namespace {

constexpr const char* k_default_socket = "/run/mailotpd/admin.sock";

void add_all(CLI::App& app, Words& words) {
  app.require_subcommand(1);
  app.set_version_flag("--version", "mailotpctl " MAILOTP_VERSION, "Print the version and end");
  app.add_option("--socket", words.socket,
                 fmt::format("The operators' socket of mailotpd; default {}, or the environment variable "
                             "MAILOTPD_ADMIN_SOCKET",
                             k_default_socket))
      ->type_name("PATH")
      ->envname("MAILOTPD_ADMIN_SOCKET");
  app.add_flag("--json", words.json, "JSON Lines for programs in place of tables for people");
  app.footer(
      "Ends with 0 done, 1 refused, 2 usage, 69 no daemon, 75 try again, 77 no permission.\n"
      "Example:\n  mailotpctl outbox list --state deferred");
  CLI::App* status =
      add_verb(app, "status", "Is it ready, are its relays up, how much waits", "status --json");
  status->callback([&words] { words.verb = ShowStatus{}; });
  add_outbox_verbs(app, words);
  add_address_verbs(app, words);
  add_relay_verbs(app, words);
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
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& wanted) {  // --help, --version
    std::ostringstream out;
    (void)app.exit(wanted, out, out);
    return NothingToRun{ExitCode::done, out.str()};
  } catch (const CLI::ParseError& error) {
    return NothingToRun{ExitCode::usage, mistake(app, error)};
  }
  return CommandLine{words.socket, words.json ? Output::json_lines : Output::people, std::move(*words.verb)};
}

}  // namespace mailotp::ctl
