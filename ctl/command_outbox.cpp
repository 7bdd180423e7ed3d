#include <utility>

#include "core/id.h"
#include "ctl/command_words.h"

namespace mailotp::ctl {
namespace {

constexpr int k_most_ids = 10'000;

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

void add_challenge(CLI::App& app, Words& words) {
  CLI::App* challenge = add_group(app, "challenge", "Challenges: codes asked for and awaited",
                                  "challenge show 0190b5a0-7c1e-7e3a-9f00-0123456789ab");
  CLI::App* show = add_verb(*challenge, "show", "One challenge and its message; never the code",
                            "challenge show 0190b5a0-7c1e-7e3a-9f00-0123456789ab");
  add_id(*show, words, "Id of the challenge");
  show->callback([&words] { words.verb = ShowChallenge{*core::parse_id(words.id)}; });
}

void add_timeline(CLI::App& app, Words& words) {
  CLI::App* timeline =
      add_verb(app, "timeline",
               "Everything that happened to an address, a challenge or a message, oldest first, and how its "
               "newest mails stand",
               "timeline alice@example.org");
  timeline->add_option("ADDRESS|ID", words.subject, "The address, or the id of a challenge or a message")
      ->required()
      ->type_name("")
      ->check(CLI::Validator(is_subject, ""));
  timeline->callback([&words] { words.verb = ShowTimeline{words.subject}; });
}

}  // namespace

void add_outbox_verbs(CLI::App& app, Words& words) {
  add_outbox(app, words);
  add_challenge(app, words);
  add_timeline(app, words);
}

}  // namespace mailotp::ctl
