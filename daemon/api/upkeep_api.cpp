#include "daemon/api/upkeep_api.h"

#include <memory>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "daemon/api/answers.h"
#include "daemon/api/backups.h"
#include "daemon/api/lists.h"
#include "daemon/api/requests.h"
#include "daemon/api/views.h"
#include "daemon/state/clock.h"

namespace mailotp::daemon {

namespace {

// An erasure on its way: one step a commit, until the store says that it was the last.
class Erasing : public std::enable_shared_from_this<Erasing> {
 public:
  Erasing(Services& services, core::Erase first, std::string request_id, Responder responder)
      : services_(services),
        next_(std::move(first)),
        request_id_(std::move(request_id)),
        responder_(std::move(responder)) {}

  void step() {
    next_.at = wall_now();
    // Kept alive by its own completion.
    const bool asked = services_.store.submit(
        next_, [self = shared_from_this()](const core::Outcome& outcome) { self->stepped(outcome); });
    if (asked) return;
    unfinished();
    responder_.respond(problem(Problem::overloaded, "more requests wait than can be taken", request_id_));
  }

 private:
  // Some of it may be gone: to be asked for again.
  void unfinished() {
    services_.log.write(core::LogLevel::warning, fmt::format("event=erase_unfinished rows={} uid={}",
                                                             next_.rows_before, next_.actor.uid));
  }

  void stepped(const core::Outcome& outcome) {
    if (!outcome) {
      unfinished();
      return responder_.respond(error_answer(outcome.error(), request_id_));
    }
    const auto* erased = std::get_if<core::Erased>(&*outcome);
    if (erased == nullptr) return responder_.respond(problem(Problem::internal, "no answer", request_id_));
    next_.rows_before += erased->rows;
    if (erased->next) {
      next_.from = *erased->next;
      return step();
    }
    services_.log.write(core::LogLevel::notice,
                        fmt::format("event=erased rows={} uid={}", next_.rows_before, next_.actor.uid));
    responder_.respond(ok_json(erased_json(next_.rows_before)));
  }

  Services& services_;
  core::Erase next_;
  std::string request_id_;
  Responder responder_;
};

void post_erase(Services& services, const HttpRequest& request, Responder responder) {
  auto recipient = parse_erase(request.body);
  if (!recipient) return responder.respond(make_problem(recipient.error(), request.request_id));
  core::Erase command;
  command.address = std::move(*recipient);
  command.actor = {core::ActorKind::operator_, request.peer.uid};
  std::make_shared<Erasing>(services, std::move(command), request.request_id, std::move(responder))->step();
}

Problem problem_of(ReloadFailure::Why why) {
  switch (why) {
    case ReloadFailure::Why::busy:
      return Problem::overloaded;
    case ReloadFailure::Why::files:
      return Problem::configuration_invalid;
    case ReloadFailure::Why::store:
      return Problem::storage_unavailable;
    case ReloadFailure::Why::stopping:
      return Problem::shutting_down;
  }
  return Problem::internal;
}

void post_reload(Services& services, const HttpRequest& request, Responder responder) {
  if (const auto nothing = parse_nothing(request.body); !nothing)
    return responder.respond(make_problem(nothing.error(), request.request_id));
  auto held = std::make_shared<Responder>(std::move(responder));  // std::function wants copies
  services.reload([held, id = request.request_id](const tl::expected<Reloaded, ReloadFailure>& done) {
    held->respond(done ? ok_json(reloaded_json(*done))
                       : problem(problem_of(done.error().why), done.error().what, id));
  });
}

void get_keys(Services& services, const HttpRequest& request, Responder responder) {
  read_and_answer<std::vector<core::KeyUse>>(
      services, request.request_id, std::move(responder),
      [](core::StoreReader& store) { return store.keys(); },
      [](const std::vector<core::KeyUse>& keys) { return keys_json(keys, wall_now()); });
}

void get_backup(Services& services, const HttpRequest& request, Responder responder) {
  services.backups.start(request.peer.uid, services.in_force->config.intake.min_free_disk, request.request_id,
                         std::move(responder));
}

}  // namespace

void add_upkeep_api(Router& router, Services& services) {
  using Call = void (*)(Services&, const HttpRequest&, Responder);
  const auto on = [&](std::string_view method, std::string_view path, Call call) {
    router.on(method, path,
              [&services, call](const HttpRequest& request, const std::string&, Responder responder) {
                call(services, request, std::move(responder));
              });
  };
  on("POST", "/v1/erase", post_erase);
  on("POST", "/v1/reload", post_reload);
  on("GET", "/v1/keys", get_keys);
  on("GET", "/v1/backup", get_backup);
}

}  // namespace mailotp::daemon
