#include "ctl/command_line.h"

#include <optional>
#include <sstream>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "core/bounce.h"
#include "core/outbox.h"
#include "core/time.h"
#include "ctl/text.h"

namespace mailotp::ctl {
namespace {

constexpr const char* k_default_socket = "/run/mailotpd/admin.sock";
constexpr int k_most_ids = 10'000;

// What CLI11 writes into; the chosen verb takes what it needs.
struct Words {
  std::string socket = k_default_socket;
  bool json = false;
  ListOutbox outbox;
  ListBounces bounces;
  ListSuppressions suppressions;
  Suppress suppress;
  bool all = false;
  std::string id;
  std::vector<std::string> ids;
  bool yes = false;
  std::string file;
  std::string name;
  std::optional<Verb> verb;
};

std::string is_state(const std::string& name) {
  if (core::parse_message_state(name)) return {};
  std::string known;
  for (int i = 0; i < core::k_message_states; ++i) {
    if (i != 0) known += ", ";
    known += core::to_string(static_cast<core::MessageState>(i));
  }
  return fmt::format("no state is named \"{}\"; there are {}", name, known);
}

std::string is_class(const std::string& name) {
  if (core::parse_bounce_class(name)) return {};
  std::string known;
  for (int i = 0; i < core::k_bounce_classes; ++i) {
    if (i != 0) known += ", ";
    known += core::to_string(static_cast<core::BounceClass>(i));
  }
  return fmt::format("no class is named \"{}\"; there are {}", name, known);
}

std::string is_kind(const std::string& name) {
  std::string known;
  for (int i = 0; i < core::k_bounce_kinds; ++i) {
    const std::string_view kind = core::to_string(static_cast<core::BounceKind>(i));
    if (name == kind) return {};
    if (i != 0) known += ", ";
    known += kind;
  }
  return fmt::format("no kind is named \"{}\"; there are {}", name, known);
}

std::string is_time(const std::string& text) {
  return core::parse_rfc3339(text)
             ? std::string()
             : fmt::format("\"{}\" is no time; one looks like 2026-12-24T18:00:00Z", text);
}

std::string is_id(const std::string& text) {
  return core::parse_id(text)
             ? std::string()
             : fmt::format("\"{}\" is no id; one looks like 0190b5a0-7c1e-7e3a-9f00-0123456789ab", text);
}

CLI::App* add_verb(CLI::App& parent, const std::string& name, const std::string& what,
                   const std::string& example) {
  CLI::App* verb = parent.add_subcommand(name, what);
  verb->fallthrough();  // --json and --socket may follow the verb
  verb->footer("Example:\n  mailotpctl " + example);
  return verb;
}

CLI::App* add_group(CLI::App& parent, const std::string& name, const std::string& what,
                    const std::string& example) {
  CLI::App* group = add_verb(parent, name, what, example);
  group->require_subcommand(1);
  return group;
}

void add_id(CLI::App& verb, Words& words, const std::string& what) {
  verb.add_option("ID", words.id, what)->required()->type_name("")->check(CLI::Validator(is_id, ""));
}

void add_paging(CLI::App& list, Words& words, int& limit, std::string& cursor) {
  list.add_option("--limit", limit, "Rows of a page, 1 to 500; default 50")
      ->check(CLI::Range(1, 500).description(""))
      ->type_name("ROWS");
  CLI::Option* all = list.add_flag("--all", words.all, "All pages");
  list.add_option("--cursor", cursor, "Go on where a page ended")->excludes(all)->type_name("CURSOR");
}

CLI::App* add_order(CLI::App& outbox, Words& words, core::MessageOrder order, const std::string& what) {
  const std::string name(core::to_string(order));
  CLI::App* verb = add_verb(outbox, name, what, "outbox " + name + " 0190b5a0-7c1e-7e3a-9f00-0123456789ab");
  verb->add_option("ID", words.ids, "Ids of messages")
      ->required()
      ->type_name("")
      ->expected(1, k_most_ids)
      ->check(CLI::Validator(is_id, ""));
  verb->callback([&words, order] {
    OrderMessages orders;
    for (const std::string& id : words.ids)
      orders.ids.push_back(*core::parse_id(id));
    orders.order = order;
    if (order == core::MessageOrder::cancel && !words.yes) orders.confirm = Confirm::ask;
    words.verb = std::move(orders);
  });
  return verb;
}

void add_orders(CLI::App& outbox, Words& words) {
  using core::MessageOrder;
  add_order(outbox, words, MessageOrder::retry,
            "Try deferred, uncertain or held messages now; of an uncertain one a second copy may arrive");
  add_order(outbox, words, MessageOrder::hold,
            "Keep messages from leaving until they are released, or their time is over");
  add_order(outbox, words, MessageOrder::release, "Let held messages leave");
  add_order(outbox, words, MessageOrder::cancel, "End messages; what is being sent may leave all the same")
      ->add_flag("--yes", words.yes, "Do not ask; needed where there is no terminal");
  add_verb(outbox, "flush", "Try every deferred message now; not the uncertain and the held ones",
           "outbox flush")
      ->callback([&words] { words.verb = FlushOutbox{}; });
}

void add_outbox(CLI::App& app, Words& words) {
  CLI::App* outbox = add_group(app, "outbox", "Messages: what waits, what left, what failed",
                               "outbox list --state deferred");
  CLI::App* list = add_verb(*outbox, "list", "List messages, newest first",
                            "outbox list --state deferred --recipient alice@example.org");
  list->add_option("--state", words.outbox.state, "Only in this state, such as queued, deferred, failed")
      ->type_name("STATE")
      ->check(CLI::Validator(is_state, ""));
  list->add_option("--recipient", words.outbox.recipient, "Only to this address")->type_name("ADDRESS");
  list->add_option("--app", words.outbox.app, "Only of this app")->type_name("NAME");
  list->add_option("--relay", words.outbox.relay, "Only by this relay")->type_name("NAME");
  add_paging(*list, words, words.outbox.limit, words.outbox.cursor);
  list->callback([&words] {
    words.outbox.paging = words.all ? Paging::all_pages : Paging::one_page;
    words.verb = words.outbox;
  });
  CLI::App* show = add_verb(*outbox, "show", "One message with everything that happened to it",
                            "outbox show 0190b5a0-7c1e-7e3a-9f00-0123456789ab");
  add_id(*show, words, "Id of the message");
  show->callback([&words] { words.verb = ShowMessage{*core::parse_id(words.id)}; });
  add_orders(*outbox, words);
}

void add_bounces(CLI::App& app, Words& words) {
  CLI::App* bounces =
      add_verb(app, "bounces", "What came back, newest first: failures, delays, reports, auto-replies",
               "bounces --class user-unknown --recipient alice@example.org");
  bounces->add_option("--recipient", words.bounces.recipient, "Only about this address")
      ->type_name("ADDRESS");
  bounces->add_option("--class", words.bounces.bounce_class, "Only of this class, such as mailbox-full, spam")
      ->type_name("CLASS")
      ->check(CLI::Validator(is_class, ""));
  bounces->add_option("--kind", words.bounces.kind, "Only of this kind, such as bounce, delay, auto-reply")
      ->type_name("KIND")
      ->check(CLI::Validator(is_kind, ""));
  bounces->add_option("--app", words.bounces.app, "Only of this app")->type_name("NAME");
  add_paging(*bounces, words, words.bounces.limit, words.bounces.cursor);
  bounces->callback([&words] {
    words.bounces.paging = words.all ? Paging::all_pages : Paging::one_page;
    words.verb = words.bounces;
  });
}

void add_suppress(CLI::App& app, Words& words) {
  CLI::App* suppress = add_group(app, "suppress", "Addresses that are left alone", "suppress list");
  CLI::App* list = add_verb(*suppress, "list", "List them, newest first", "suppress list");
  list->add_option("--recipient", words.suppressions.recipient, "Only this address")->type_name("ADDRESS");
  add_paging(*list, words, words.suppressions.limit, words.suppressions.cursor);
  list->callback([&words] {
    words.suppressions.paging = words.all ? Paging::all_pages : Paging::one_page;
    words.verb = words.suppressions;
  });
  CLI::App* add = add_verb(*suppress, "add", "Send nothing more to an address, of any app",
                           "suppress add alice@example.org --until 2026-12-24T18:00:00Z");
  add->add_option("ADDRESS", words.suppress.address, "The address")->required()->type_name("");
  add->add_option("--class", words.suppress.bounce_class, "Why; default user-unknown")
      ->type_name("CLASS")
      ->check(CLI::Validator(is_class, ""));
  add->add_option("--until", words.suppress.until, "For so long; default until it is removed")
      ->type_name("TIME")
      ->check(CLI::Validator(is_time, ""));
  add->callback([&words] { words.verb = words.suppress; });
  CLI::App* remove = add_verb(*suppress, "remove", "Send to an address again, whatever came back before",
                              "suppress remove alice@example.org");
  remove->add_option("ADDRESS", words.suppress.address, "The address")->required()->type_name("");
  remove->callback([&words] { words.verb = Unsuppress{words.suppress.address}; });
}

void add_other_verbs(CLI::App& app, Words& words) {
  CLI::App* challenge = add_group(app, "challenge", "Challenges: codes asked for and awaited",
                                  "challenge show 0190b5a0-7c1e-7e3a-9f00-0123456789ab");
  CLI::App* show = add_verb(*challenge, "show", "One challenge and its message; never the code",
                            "challenge show 0190b5a0-7c1e-7e3a-9f00-0123456789ab");
  add_id(*show, words, "Id of the challenge");
  show->callback([&words] { words.verb = ShowChallenge{*core::parse_id(words.id)}; });

  CLI::App* relay = add_group(app, "relay", "Relays: where mails are handed over", "relay list");
  add_verb(*relay, "list", "List relays and their state", "relay list")->callback([&words] {
    words.verb = ListRelays{};
  });
  CLI::App* test =
      add_verb(*relay, "test",
               "Try a relay as far as its AUTH (DNS, TCP, TLS, AUTH) and say what each step saw; no mail "
               "is sent. Ends with 1 when a step fails",
               "relay test primary");
  test->add_option("NAME", words.name, "The relay's name")->required()->type_name("");
  test->callback([&words] { words.verb = TestRelay{words.name}; });

  CLI::App* suspend =
      add_verb(*relay, "suspend",
               "Hand nothing more to a relay until it is resumed, across restarts of the daemon too",
               "relay suspend primary");
  suspend->add_option("NAME", words.name, "The relay's name")->required()->type_name("");
  suspend->callback([&words] { words.verb = OrderRelay{words.name, RelayOrder::suspend}; });
  CLI::App* resume = add_verb(*relay, "resume", "Use a relay again; what waits for one is sent at once",
                              "relay resume primary");
  resume->add_option("NAME", words.name, "The relay's name")->required()->type_name("");
  resume->callback([&words] { words.verb = OrderRelay{words.name, RelayOrder::resume}; });

  CLI::App* erase =
      add_verb(app, "erase",
               "Remove an address, in every spelling, from all that is kept: its challenges and "
               "mails end, what came back is forgotten. What is counted against it stays",
               "erase alice@example.org");
  erase->add_option("ADDRESS", words.suppress.address, "The address")->required()->type_name("");
  erase->add_flag("--yes", words.yes, "Do not ask; needed where there is no terminal");
  erase->callback([&words] {
    words.verb = Erase{words.suppress.address, words.yes ? Confirm::given : Confirm::ask};
  });
  add_verb(
      app, "reload",
      "Have the daemon take over its configuration, templates and key file as they are now: all of it, or "
      "nothing where anything of it cannot be used (exit 1, and what is wrong where). Tells what has "
      "changed, "
      "and what is left out until a restart",
      "reload")
      ->callback([&words] { words.verb = Reload{}; });

  CLI::App* keygen =
      add_verb(app, "keygen",
               "Make a new key file, mode 0600. An existing file is never touched; the key is not shown",
               "keygen /etc/mailotpd/otp.key");
  keygen->add_option("FILE", words.file, "The file to make")->required()->type_name("");
  keygen->callback([&words] { words.verb = MakeKey{words.file}; });

  CLI::App* check =
      add_verb(app, "check-config", "Say whether a configuration file is right; ends with 78 when not",
               "check-config /etc/mailotpd/mailotpd.toml");
  check->add_option("FILE", words.file, "The file to check")->required()->type_name("");
  check->callback([&words] { words.verb = CheckConfig{words.file}; });
}

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
  add_outbox(app, words);
  add_bounces(app, words);
  add_suppress(app, words);
  add_other_verbs(app, words);
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
