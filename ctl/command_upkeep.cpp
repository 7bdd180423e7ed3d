#include <fmt/format.h>

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

  CLI::App* backup =
      add_verb(app, "backup",
               "Write a snapshot of the database into a new file, mode 0600, while the daemon goes on. "
               "What is sealed in it needs the key file, which is not part of it. The first start on it "
               "cancels open challenges and holds unsent messages",
               "backup /var/backups/mailotpd-2026-12-24.db");
  backup->add_option("FILE", words.file, "The file to make; an existing one is never touched")
      ->required()
      ->type_name("");
  backup->callback([&words] { words.verb = Backup{words.file}; });

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

  CLI::App* doctor = add_verb(
      app, "doctor",
      "Say what is wrong with this installation, and what to do about it: configuration, templates, key and "
      "password files, state folder, database, disk, clock, confinement, sockets, return path; then the "
      "daemon, "
      "each relay (DNS, TCP, TLS, AUTH; no mail is sent), the bounce mailbox, what is held. Changes nothing. "
      "Run it as root: others see less. Ends with 0 when nothing failed (warnings are no failure), 1 when "
      "something did, a daemon that is not running included, 77 when nothing failed but this user may not "
      "ask the "
      "daemon",
      "doctor --config /etc/mailotpd/mailotpd.toml");
  doctor
      ->add_option("--config", words.config,
                   fmt::format("The daemon's configuration; default {}. Without --socket it names the "
                               "operators' socket, too",
                               words.config))
      ->type_name("FILE");
  doctor->callback([&app, &words] {
    const bool named = app.get_option("--socket")->count() > 0;
    words.verb = Doctor{words.config, named ? SocketFrom::command_line : SocketFrom::configuration};
  });
}

}  // namespace mailotp::ctl
