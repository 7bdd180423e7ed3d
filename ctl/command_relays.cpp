#include "ctl/command_words.h"

namespace mailotp::ctl {

void add_relay_verbs(CLI::App& app, Words& words) {
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
}

}  // namespace mailotp::ctl
