#include <fmt/format.h>

#include "ctl/command_words.h"

namespace mailotp::ctl {
namespace {

std::string is_pair(const std::string& text) {
  const std::size_t equals = text.find('=');
  return equals == std::string::npos || equals == 0 ? fmt::format("\"{}\" is not NAME=VALUE", text)
                                                    : std::string();
}

void add_use(CLI::App& verb, Words& words) {
  verb.add_option("NAME", words.use.name, "The template's name")->required()->type_name("");
  verb.add_option("--locale", words.use.locale,
                  "In this language, such as de-AT; default the configuration's")
      ->type_name("LOCALE");
  verb.add_option("--data", words.data, "A variable, NAME=VALUE; may be repeated. Others have their samples")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false)
      ->check(CLI::Validator(is_pair, ""));
  verb.add_option("--purpose", words.use.purpose, "As for this purpose; default login")->type_name("NAME");
  verb.add_option("--app", words.use.app, "With this app's templates and sender")->type_name("NAME");
}

TemplateUse use_of(const Words& words) {
  TemplateUse use = words.use;
  for (const std::string& pair : words.data) {
    const std::size_t equals = pair.find('=');
    use.values.emplace_back(pair.substr(0, equals), pair.substr(equals + 1));
  }
  return use;
}

void add_preview(CLI::App& group, Words& words) {
  CLI::App* preview =
      add_verb(group, "preview",
               "Show how a mail of a template looks: its subject and text, with a made-up code. "
               "Nothing is sent",
               "template preview otp --locale de --data name=Alice");
  add_use(*preview, words);
  CLI::Option* text = preview->add_flag("--text", words.text, "The text alone");
  preview->add_flag("--html", words.html, "The HTML alone, for a browser")->excludes(text);
  preview->callback([&words] {
    words.verb = PreviewTemplate{use_of(words), words.html   ? Part::html
                                                : words.text ? Part::text
                                                             : Part::mail};
  });
}

void add_test_send(CLI::App& group, Words& words) {
  CLI::App* test =
      add_verb(group, "test-send",
               "Send a mail of a template the whole way, with a made-up code that no challenge has. "
               "It counts for its app's limits like any mail that is no code",
               "template test-send otp alice@example.org --wait");
  add_use(*test, words);
  test->add_option("RECIPIENT", words.test_recipient, "The address to send it to")->required()->type_name("");
  test->add_flag("--wait{60}", words.wait,
                 "Wait until a relay has taken it, at most so many seconds (--wait=SECONDS); default 60. "
                 "Ends with 1 "
                 "when it failed, with 75 when the time is up")
      ->check(CLI::Validator(is_seconds, ""));
  test->callback([&words] {
    TestTemplate verb{use_of(words), words.test_recipient, {}};
    if (!words.wait.empty()) verb.wait = core::Seconds{std::stoi(words.wait)};
    words.verb = std::move(verb);
  });
}

}  // namespace

void add_template_verbs(CLI::App& app, Words& words) {
  CLI::App* group = add_group(app, "template", "Templates: what mails are made of", "template list");
  CLI::App* list = add_verb(*group, "list", "List templates, one line a language", "template list");
  list->add_option("--app", words.use.app, "What this app's mails are made of")->type_name("NAME");
  add_watch(*list, words);
  list->callback([&words] { words.verb = ListTemplates{words.use.app}; });
  add_preview(*group, words);
  add_test_send(*group, words);
}

void add_tail_verb(CLI::App& app, Words& words) {
  CLI::App* tail =
      add_verb(app, "tail",
               "Show what happens as it happens, until Ctrl-C. A daemon that is started again is followed "
               "on: nothing is missed",
               "tail --app shop --type message.failed --type message.bounced");
  tail->add_option("--app", words.tail.app, "Only of this app")->type_name("NAME");
  tail->add_option(
          "--type", words.tail.types,
          "Only of this type, such as message.relayed, or message for all of messages; may be repeated")
      ->type_name("TYPE")
      ->allow_extra_args(false);
  tail->callback([&words] { words.verb = words.tail; });
}

}  // namespace mailotp::ctl
