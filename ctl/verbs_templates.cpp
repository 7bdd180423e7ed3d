#include <chrono>
#include <utility>

#include <fmt/format.h>

#include "ctl/show.h"
#include "ctl/verb.h"

namespace mailotp::ctl {
namespace {

constexpr core::Seconds k_one_wait{25};

std::string path_of(const TemplateUse& use, std::string_view call) {
  return fmt::format("/v1/templates/{}/{}", encoded(use.name), call);
}

// How the mail stands; `body` is an answer about a message.
Attempt<MessageInfo> message_in(const std::string& body) {
  auto message = read_message(body);
  if (!message) return strange(message.error());
  return std::move(message->message);
}

bool is_on_its_way(const std::string& state) {
  return state == "queued" || state == "sending" || state == "deferred" || state == "uncertain";
}

// Until its end, or until the time is up; then it is as it was seen last.
Attempt<std::string> wait_for_end(DaemonClient& client, std::string body, core::Seconds patience) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + patience;
  for (;;) {
    const auto message = message_in(body);
    if (!message) return tl::unexpected(message.error());
    const auto revision = read_revision(body);
    if (!revision) return strange(revision.error());
    const auto left = std::chrono::ceil<core::Seconds>(end - Clock::now());
    if (!is_on_its_way(message->state) || left.count() <= 0) return body;
    auto next = get_ok(client, fmt::format("/v1/messages/{}?revision={}&wait={}", encoded(message->id),
                                           *revision, std::min(left, k_one_wait).count()));
    if (!next) return next;
    body = std::move(*next);
  }
}

// Of a test that was waited for: relayed is what it was to show.
Attempt<void> verdict_on(const MessageInfo& message, core::Seconds waited) {
  if (message.state == "relayed" || message.state == "delivered") return {};
  const std::string why = message.reply.empty() ? std::string() : ": " + printable(message.reply);
  if (is_on_its_way(message.state)) {
    return tl::unexpected(Failure{
        ExitCode::try_again, fmt::format("the mail is still {} after {}{}; \"outbox show {}\" follows it",
                                         printable(message.state), age(waited), why, printable(message.id))});
  }
  return tl::unexpected(
      Failure{ExitCode::refused, fmt::format("the mail is {}{}", printable(message.state), why)});
}

}  // namespace

Attempt<void> carry_out(const ListTemplates& list, const Run& run) {
  const auto target = [&list](const std::string&) { return target_of("/v1/templates", {{"app", list.app}}); };
  return print_list(run, "", Paging::one_page, target,
                    Rows<TemplateInfo>{templates_head, read_templates, templates_rows});
}

Attempt<void> carry_out(const PreviewTemplate& preview, const Run& run) {
  DaemonClient client = run.daemon();
  auto reply = client.post(path_of(preview.use, "preview"), template_body(preview.use, ""));
  if (!reply) return tl::unexpected(std::move(reply.error()));
  if (reply->status != 200) return tl::unexpected(failure_of(*reply));
  if (run.for_programs()) return print_object_line(run, reply->body);
  const auto shown = read_preview(reply->body);
  if (!shown) return strange(shown.error());
  run.print(show_preview(*shown, preview.part));
  return {};
}

Attempt<void> carry_out(const TestTemplate& test, const Run& run) {
  DaemonClient client = run.daemon();
  auto reply = client.post(path_of(test.use, "test-send"), template_body(test.use, test.recipient));
  if (!reply) return tl::unexpected(std::move(reply.error()));
  if (reply->status != 201) return tl::unexpected(failure_of(*reply));
  auto message = message_in(reply->body);
  if (!message) return tl::unexpected(std::move(message.error()));
  if (run.for_programs()) {
    if (auto printed = print_object_line(run, reply->body); !printed) return printed;
  } else {
    run.print(outbox_head(run.screen) + outbox_rows({*message}, run.screen));
  }
  if (!test.wait) return {};
  (void)std::fflush(stdout);  // its id, while it is waited for
  if (auto ended = wait_for_end(client, reply->body, *test.wait); !ended)
    return tl::unexpected(std::move(ended.error()));
  // As a row of the outbox: it has the relay, too.
  const auto row = get_ok(client, "/v1/outbox/" + encoded(message->id));
  if (!row) return tl::unexpected(row.error());
  message = message_in(*row);
  if (!message) return tl::unexpected(std::move(message.error()));
  if (run.for_programs()) {
    if (auto printed = print_object_line(run, *row); !printed) return printed;
  } else {
    run.print(outbox_rows({*message}, run.screen));
  }
  return verdict_on(*message, *test.wait);
}

}  // namespace mailotp::ctl
