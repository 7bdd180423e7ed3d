#include "daemon/diagnosis/mail.h"

#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "daemon/app/places.h"
#include "daemon/app/senders.h"

namespace mailotp::daemon {

Finding check_mail_templates(const LoadedConfig& loaded) {
  const std::string folders = fmt::format("{}", fmt::join(template_directories(loaded.config), ", "));
  if (const auto made = check_senders(loaded); !made)
    return {
        "templates", folders, Outcome::failed, made.error().what,
        "correct that file, then try: mailotpctl doctor; without a file of your own the one that comes with "
        "mailotpd is used"};
  return {"templates", folders, Outcome::ok, "can be used", ""};
}

// What is wrong with it makes no mail fail: it hides what became of one.
Finding check_bounce_path(const Site& site) {
  const core::MailConfig& mail = site.config.mail;
  const std::string address = mail.bounce_address.mailbox();
  const auto warns = [&address](std::string saw, std::string remedy) {
    return Finding{"return-path", address, Outcome::warning, std::move(saw), std::move(remedy)};
  };
  const bool leaves = std::ranges::any_of(
      site.config.relays, [](const core::RelayConfig& relay) { return relay.kind == core::RelayKind::smtp; });
  if (!leaves)
    return {"return-path", address, Outcome::ok, "no mail leaves this machine in development mode", ""};
  if (!site.config.bounces)
    return warns(
        "bounces go there, and nobody reads them: apps are not told that a mail came back",
        "add [bounces] with the mailbox of that address, or have its provider report by POST /v1/bounces");
  if (std::ranges::find(mail.dsn, "failure") == mail.dsn.end())
    return warns("dsn does not ask for \"failure\": servers that keep to it send no bounce",
                 "add \"failure\" to dsn in [mail]");
  if (mail.verp == core::Verp::off)
    return warns("with verp = \"off\" a bounce that returns none of our headers leads to nobody",
                 "set verp = \"recipient\" in [mail], where the mailbox takes addresses with +");
  std::string saw = "bounces are traced, and read from the mailbox of [bounces]";
  if (mail.bounce_address.domain != mail.from.address.domain)
    saw += fmt::format("; its domain is not {}: DMARC then needs a DKIM signature of {}",
                       mail.from.address.domain, mail.from.address.domain);
  return {"return-path", address, Outcome::ok, std::move(saw), ""};
}

}  // namespace mailotp::daemon
