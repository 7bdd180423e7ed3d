#include <utility>

#include "ctl/show.h"
#include "ctl/timeline.h"
#include "ctl/verb.h"

namespace mailotp::ctl {
namespace {

constexpr std::string_view k_page = "500";
constexpr std::string_view k_newest = "3";  // mails whose standing is told

// Whose story: one parameter of GET /v1/timeline.
struct Asked {
  std::string_view name;
  std::string value;
};

std::string target_of_page(const Asked& asked, const std::string& cursor) {
  return target_of("/v1/timeline",
                   {{asked.name, asked.value}, {"limit", std::string(k_page)}, {"cursor", cursor}});
}

// An id is one of a challenge or of a message.
Attempt<Asked> asked_of(DaemonClient& client, const std::string& subject) {
  if (subject.find('@') != std::string::npos) return Asked{"recipient", subject};
  // A mail without a challenge has a timeline under both; under its own name it has a standing, too.
  for (const std::string_view name : {"message", "challenge"}) {
    auto reply = client.get(target_of("/v1/timeline", {{name, subject}, {"limit", "1"}}));
    if (!reply) return tl::unexpected(std::move(reply.error()));
    if (reply->status == 200) return Asked{name, subject};
    if (reply->status != 404) return tl::unexpected(failure_of(*reply));
    // A daemon that does not know the call says so in the same way for both.
    if (name == "challenge") return tl::unexpected(failure_of(*reply));
  }
  return tl::unexpected(Failure{ExitCode::refused, "nothing is known of it"});
}

// How its newest mails stand, for people; a call that fails leaves its part out, since the story was told.
class Standing {
 public:
  explicit Standing(DaemonClient& client) : client_(client) {}

  Attempt<StandingInfo> of(const Asked& asked) {
    if (asked.name == "recipient") {
      of_recipient(asked.value);
    } else if (asked.name == "message") {
      if (const auto detail = read("/v1/outbox/" + asked.value, read_message))
        out_.messages.push_back(detail->message);
    } else if (const auto challenge = read("/v1/challenges/" + asked.value, read_challenge)) {
      if (challenge->message) of_message(challenge->message->id);
    }
    if (const auto relays = read("/v1/relays", read_relays)) out_.relays = relays->items;
    if (failed_) return tl::unexpected(*failed_);
    return std::move(out_);
  }

 private:
  void of_recipient(const std::string& address) {
    const auto page = read(
        target_of("/v1/outbox", {{"recipient", address}, {"limit", std::string(k_newest)}}), read_outbox);
    if (page) out_.messages = page->items;
    const auto suppressed = read(target_of("/v1/suppressions", {{"recipient", address}}), read_suppressions);
    if (suppressed) out_.suppressions = suppressed->items;
  }
  void of_message(const std::string& id) {
    if (const auto detail = read("/v1/outbox/" + id, read_message)) out_.messages.push_back(detail->message);
  }

  template <class T>
  std::optional<T> read(const std::string& target, core::Result<T> (*read_body)(std::string_view)) {
    auto reply = client_.get(target);
    if (!reply) {
      failed_ = std::move(reply.error());
      return std::nullopt;
    }
    if (reply->status != 200) return std::nullopt;
    auto value = read_body(reply->body);
    if (!value) return std::nullopt;
    return *std::move(value);
  }

  DaemonClient& client_;
  StandingInfo out_;
  std::optional<Failure> failed_;
};

// True: something was told.
Attempt<bool> print_story(const Run& run, DaemonClient& client, const Asked& asked) {
  bool told = false;
  for (std::string cursor;;) {
    const auto body = get_ok(client, target_of_page(asked, cursor));
    if (!body) return tl::unexpected(body.error());
    auto page = read_timeline(*body);
    if (!page) return strange(page.error());
    if (run.for_programs()) {
      if (auto lines = print_item_lines(run, *body); !lines) return tl::unexpected(std::move(lines.error()));
    } else if (!page->items.empty()) {
      run.print((told ? std::string() : timeline_head(run.screen)) + timeline_rows(page->items, run.screen));
    }
    told = told || !page->items.empty();
    if (page->next_cursor.empty()) return told;
    if (page->next_cursor == cursor)
      return tl::unexpected(Failure{ExitCode::refused, "the daemon's timeline does not end"});
    cursor = std::move(page->next_cursor);
  }
}

}  // namespace

Attempt<void> carry_out(const ShowTimeline& show, const Run& run) {
  DaemonClient client = run.daemon();
  const auto asked = asked_of(client, show.subject);
  if (!asked) return tl::unexpected(asked.error());
  const auto told = print_story(run, client, *asked);
  if (!told) return tl::unexpected(told.error());
  if (run.for_programs()) return {};
  const auto standing = Standing(client).of(*asked);
  if (!standing) return tl::unexpected(standing.error());
  const std::string now = show_standing(*standing, run.screen);
  if (!*told)
    run.print(
        fmt::format("nothing is kept of {}: no app asked for a mail to it, or it is longer ago than the "
                    "retention\n",
                    printable(show.subject)));
  if (!now.empty()) run.print((*told ? "\nNow:\n" : "") + now);
  return {};
}

}  // namespace mailotp::ctl
