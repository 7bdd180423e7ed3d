#include "ctl/verb.h"

namespace mailotp::ctl {

void Run::print(const std::string& text) const {
  (void)std::fwrite(text.data(), 1, text.size(), stdout);
}

tl::unexpected<Failure> strange(const core::Error& error) {
  return tl::unexpected(Failure{ExitCode::refused, "the daemon's answer cannot be read: " + error.what});
}

Attempt<std::string> get_ok(DaemonClient& client, const std::string& target) {
  auto reply = client.get(target);
  if (!reply) return tl::unexpected(std::move(reply.error()));
  if (reply->status < 200 || reply->status > 299) return tl::unexpected(failure_of(*reply));
  return std::move(reply->body);
}

Attempt<void> print_object_line(const Run& run, const std::string& body) {
  const auto line = object_line(body);
  if (!line) return strange(line.error());
  run.print(*line + "\n");
  return {};
}

Attempt<std::string> print_item_lines(const Run& run, const std::string& body) {
  auto page = item_lines(body);
  if (!page) return strange(page.error());
  for (const std::string& line : page->items)
    run.print(line + "\n");
  return std::move(page->next_cursor);
}

}  // namespace mailotp::ctl
