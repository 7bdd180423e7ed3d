#include "ctl/command_words.h"

namespace mailotp::ctl {
namespace {

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

void add_erase(CLI::App& app, Words& words) {
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
}

}  // namespace

void add_address_verbs(CLI::App& app, Words& words) {
  add_bounces(app, words);
  add_suppress(app, words);
  add_erase(app, words);
}

}  // namespace mailotp::ctl
