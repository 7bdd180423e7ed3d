#include <utility>

#include <fmt/format.h>

#include "ctl/check_config.h"
#include "ctl/keygen.h"
#include "ctl/show.h"
#include "ctl/text.h"
#include "ctl/verb.h"

namespace mailotp::ctl {

Attempt<void> carry_out(const Reload&, const Run& run) {
  DaemonClient client(run.command.socket);
  auto reply = client.post("/v1/reload");
  if (!reply) return tl::unexpected(std::move(reply.error()));
  if (reply->status != 200) return tl::unexpected(failure_of(*reply));
  if (run.for_programs()) return print_object_line(run, reply->body);
  const auto done = read_reload(reply->body);
  if (!done) return strange(done.error());
  run.print(show_reload(*done));
  return {};
}

Attempt<void> carry_out(const MakeKey& make, const Run& run) {
  if (auto made = make_key_file(make.file); !made) return made;
  run.print(fmt::format("{}: made, readable by its owner only; the user that mailotpd runs as must own it\n",
                        printable(make.file)));
  return {};
}

Attempt<void> carry_out(const CheckConfig& check, const Run&) {
  return tl::unexpected(become_config_check(check.file));
}

}  // namespace mailotp::ctl
