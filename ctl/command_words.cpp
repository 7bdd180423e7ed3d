#include "ctl/command_words.h"

#include <fmt/format.h>

#include "core/bounce.h"
#include "core/outbox.h"
#include "core/time.h"

namespace mailotp::ctl {

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

std::string is_subject(const std::string& text) {
  return text.find('@') != std::string::npos || core::parse_id(text)
             ? std::string()
             : fmt::format("\"{}\" is neither an address nor an id", text);
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

}  // namespace mailotp::ctl
