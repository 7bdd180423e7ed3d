#include "ctl/command_words.h"

namespace mailotp::ctl {

void add_upkeep_verbs(CLI::App& app, Words& words) {
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

}  // namespace mailotp::ctl
