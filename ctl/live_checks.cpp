#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "ctl/answers.h"
#include "ctl/checks.h"
#include "ctl/show.h"

namespace mailotp::ctl {
namespace {

constexpr const char* k_log = "look at its log: journalctl -u mailotpd";
// Agents that have just been started need so long, for a first login too.
constexpr std::chrono::seconds k_patience{5};
constexpr std::chrono::milliseconds k_look_again{200};

// What an operator does about a step of a relay's test that failed.
std::string remedy_of(const std::string& stage, const std::string& relay) {
  const std::string where = "in [[relay]] " + relay;
  if (stage == "dns")
    return fmt::format("correct `host` {}; what the system resolves: getent ahosts HOST", where);
  if (stage == "connect")
    return fmt::format("correct `host` and `port` {}, or open the way there; try: nc -vz HOST PORT", where);
  if (stage == "tls" || stage == "starttls")
    return fmt::format(
        "{}: `server_name` is to be a name that its certificate has, `ca_file` the CA that signed it, "
        "`tls` what its port speaks (starttls for 587, implicit for 465)",
        where);
  if (stage == "greeting" || stage == "ehlo")
    return fmt::format(
        "the relay does not want us: see what it says; `hostname` in [mail] is what we call "
        "ourselves, `host`, `port` and `tls` {} who it is",
        where);
  if (stage == "auth")
    return fmt::format(
        "write the right password into `password_file` {} (it is read again by itself), or correct "
        "`username` or `auth`",
        where);
  return k_log;
}

std::string remedy_of_mailbox(const ReadyInfo::MailboxError& error) {
  if (error.trouble == "auth_refused")
    return "write the right password into `password_file` in [bounces] (it is read again by itself), or "
           "correct "
           "`username` or `auth`";
  if (error.trouble == "certificate")
    return "in [bounces]: `server_name` is to be a name that its certificate has, `ca_file` the CA that "
           "signed it";
  return "see that the server answers, and that `host`, `port` and `tls` in [bounces] are its; mailotpd "
         "tries on by "
         "itself";
}

class LiveChecks {
 public:
  LiveChecks(const std::string& socket, core::WallTime now, const CheckSink& found, const Progress& progress)
      : client_(socket), socket_(socket), now_(now), found_(found), progress_(progress) {}

  void run() {
    const auto daemon = client_.get("/v1");
    if (!daemon) return no_answer(daemon.error());
    if (daemon->status != 200) return no_answer(failure_of(*daemon));
    auto ready = read_ready_of(client_);
    if (!ready) return no_answer(ready.error());
    *ready = when_settled(*std::move(ready));
    daemon_is(daemon->body, *ready);
    store_is(*ready);
    agents_are(*ready);
    relays_are();
    mailbox_is(*ready);
    stats_are();
    brakes_are(*ready);
    keys_are();
  }

 private:
  void tell(std::string check, std::string subject, CheckResult result, std::string saw,
            std::string remedy = "") {
    found_({std::move(check), std::move(subject), result, std::move(saw), std::move(remedy)});
  }

  void no_answer(const Failure& failure) {
    if (failure.exit == ExitCode::no_permission)
      return tell("daemon", socket_, CheckResult::unseen, failure.what, "run as root, or join that group");
    // What follows is a remedy, which is told more of here.
    tell("daemon", socket_, CheckResult::failed, failure.what.substr(0, failure.what.find("; ")),
         "systemctl start mailotpd (when it does not stay: journalctl -u mailotpd), or name its admin_socket "
         "with --socket");
  }

  // /readyz says 503 with the same body when the daemon is not ready.
  static Attempt<ReadyInfo> read_ready_of(DaemonClient& client) {
    auto reply = client.get("/readyz");
    if (!reply) return tl::unexpected(std::move(reply.error()));
    const auto ready = read_ready(reply->body);
    if (!ready) return tl::unexpected(failure_of(*reply));
    return *ready;
  }

  static bool is_settling(const ReadyInfo& ready) {
    const bool starting =
        std::ranges::any_of(ready.agents, [](const auto& agent) { return agent.second == "down"; });
    return starting || (ready.bounces == "down" && !ready.mailbox_error);
  }

  ReadyInfo when_settled(ReadyInfo ready) {
    if (!is_settling(ready)) return ready;
    progress_("waiting for what the daemon has just started");
    const auto end = std::chrono::steady_clock::now() + k_patience;
    while (is_settling(ready) && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(k_look_again);
      auto again = read_ready_of(client_);
      if (!again) break;
      ready = *std::move(again);
    }
    return ready;
  }

  void daemon_is(const std::string& body, const ReadyInfo& ready) {
    const auto info = read_daemon(body);
    const std::string version = info ? info->version : "";
    if (version != MAILOTP_VERSION)
      return tell("daemon", socket_, CheckResult::warning,
                  fmt::format("it is version {}, and {} is installed", version, MAILOTP_VERSION),
                  "systemctl restart mailotpd");
    tell("daemon", socket_, CheckResult::ok,
         fmt::format("version {}, {}", version, ready.ready ? "ready" : "not ready"));
  }

  void store_is(const ReadyInfo& ready) {
    if (ready.store == "ok") return tell("store", "", CheckResult::ok, "takes and keeps");
    tell("store", "", CheckResult::failed, ready.store_error.empty() ? ready.store : ready.store_error,
         "it is tried again every second; make room on the disk of state_dir, or make it writable");
  }

  // Told are those with which something is not well.
  void agents_are(const ReadyInfo& ready) {
    for (const auto& [name, state] : ready.agents) {
      const std::string program = "mailotp-" + name;
      if (state == "unconfined")
        tell("agent", program, CheckResult::warning, "runs, and can reach files that it does not need",
             "run a kernel with Landlock (5.19 or later), then: systemctl restart mailotpd");
      else
        tell("agent", program, CheckResult::failed, "does not run; it is started again", k_log);
    }
    if (ready.agents.empty()) tell("agent", "", CheckResult::ok, "every one runs, confined");
  }

  void relays_are() {
    auto reply = client_.get("/v1/relays");
    const auto page =
        reply && reply->status == 200 ? read_relays(reply->body) : core::fail(core::Errc::unavailable, "");
    if (!page) return tell("relay", "", CheckResult::failed, "the daemon does not list its relays", k_log);
    const bool one_in_use = std::ranges::any_of(page->items, [](const RelayInfo& relay) {
      return relay.state != "down" && relay.state != "suspended";
    });
    for (const RelayInfo& relay : page->items)
      relay_is(relay, one_in_use);
  }

  void relay_is(const RelayInfo& relay, bool one_in_use) {
    progress_(fmt::format("testing relay {}", relay.name));
    auto reply = client_.post("/v1/relays/" + encoded(relay.name) + "/test");
    if (!reply) return tell("relay", relay.name, CheckResult::failed, reply.error().what, k_log);
    if (reply->status != 200)
      return tell("relay", relay.name, CheckResult::failed, failure_of(*reply).what, k_log);
    const auto test = read_relay_test(reply->body);
    if (!test) return tell("relay", relay.name, CheckResult::failed, test.error().what, k_log);
    std::string saw;
    for (const RelayTestInfo::Step& step : test->steps) {
      const std::string said = step.saw.empty() ? step.stage : step.stage + ": " + step.saw;
      if (!step.ok)
        return tell("relay", relay.name, CheckResult::failed, said, remedy_of(step.stage, relay.name));
      saw += (saw.empty() ? "" : ", ") + step.stage;
    }
    if (!test->ok)
      return tell("relay", relay.name, CheckResult::failed, "the test of it came to no end", k_log);
    reachable(relay, one_in_use, fmt::format("works ({})", saw));
  }

  // It could be used. Is it?
  void reachable(const RelayInfo& relay, bool one_in_use, const std::string& saw) {
    if (relay.state == "suspended")
      return tell(
          "relay", relay.name, one_in_use ? CheckResult::warning : CheckResult::failed,
          fmt::format("suspended{}; {}", one_in_use ? "" : ", and no other is in use: no mail leaves", saw),
          "mailotpctl relay resume " + relay.name);
    if (relay.state == "down")
      return tell(
          "relay", relay.name, CheckResult::warning,
          fmt::format("not used yet: {}; {}",
                      relay.last_error.empty() ? "its breaker is open" : relay.last_error, saw),
          fmt::format("it is tried again by itself; at once: mailotpctl relay resume {}", relay.name));
    tell("relay", relay.name, CheckResult::ok, saw);
  }

  void mailbox_is(const ReadyInfo& ready) {
    if (ready.bounces == "off") return;
    if (ready.bounces != "up") {
      const ReadyInfo::MailboxError error = ready.mailbox_error.value_or(ReadyInfo::MailboxError{});
      return tell("bounce-mailbox", "", CheckResult::failed,
                  error.step.empty() ? "it is not read, and mailotpd does not say why"
                                     : fmt::format("{}: {}", error.step, error.reason),
                  error.step.empty() ? k_log : remedy_of_mailbox(error));
    }
    if (ready.bounces_foreign > 0)
      return tell(
          "bounce-mailbox", "", CheckResult::warning,
          fmt::format("{} mails in it answer none of ours", ready.bounces_foreign),
          "give bounce_address in [mail] a mailbox of its own, or set foreign = \"move\" in [bounces]");
    tell("bounce-mailbox", "", CheckResult::ok, "is read");
  }

  void stats_are() {
    auto reply = client_.get("/v1/stats");
    const auto stats =
        reply && reply->status == 200 ? read_stats(reply->body) : core::fail(core::Errc::unavailable, "");
    if (!stats) return tell("outbox", "", CheckResult::failed, "the daemon does not tell what waits", k_log);
    const auto held = stats->messages.find("held");
    if (held != stats->messages.end() && held->second > 0)
      return tell("outbox", "", CheckResult::warning,
                  fmt::format("{} {} held until somebody decides", held->second,
                              held->second == 1 ? "mail is" : "mails are"),
                  "mailotpctl outbox list --state held, then: mailotpctl outbox release ID, or cancel ID");
    tell("outbox", "", CheckResult::ok, "nothing is held");
  }

  void brakes_are(const ReadyInfo& ready) {
    for (const std::string& app : ready.braked)
      tell("brake", app, CheckResult::failed,
           "on: its mails rise, its right codes do not; only known devices get more",
           "see who asks (event=brake_on in the log, `client` in its requests); [brake] says when it is on");
  }

  void keys_are() {
    auto reply = client_.get("/v1/keys");
    const auto keys =
        reply && reply->status == 200 ? read_keys(reply->body) : core::fail(core::Errc::unavailable, "");
    if (!keys) return tell("keys", "", CheckResult::failed, "the daemon does not tell its keys", k_log);
    std::string saw;
    bool may_go = false;
    for (const KeyInfo& key : keys->items) {
      saw += (saw.empty() ? "" : "; ") + key.id + " " + key_text(key, now_);
      may_go = may_go || (!key.writing && !key.needed);
    }
    tell("keys", "", CheckResult::ok, saw,
         may_go ? "remove the line of the key that may go from key_file, then: mailotpctl reload" : "");
  }

  DaemonClient client_;
  std::string socket_;
  core::WallTime now_;
  const CheckSink& found_;
  const Progress& progress_;
};

}  // namespace

void check_live(const std::string& socket, core::WallTime now, const CheckSink& found,
                const Progress& progress) {
  LiveChecks(socket, now, found, progress).run();
}

}  // namespace mailotp::ctl
