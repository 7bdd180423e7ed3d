#include "daemon/api/backups.h"

#include <utility>

#include <fmt/format.h>

#include "daemon/api/answers.h"

namespace mailotp::daemon {

namespace {

constexpr std::size_t k_piece = 128UL * 1024;

HttpResponse busy(const std::string& request_id) {
  ProblemDetail refused;
  refused.problem = Problem::overloaded;
  refused.detail = "another backup is under way";
  refused.retry_after = core::Millis{5000};
  return make_problem(refused, request_id);
}

}  // namespace

void Backups::start(uid_t uid, std::int64_t keep_free, std::string request_id, Responder responder) {
  if (finishing_)
    return responder.respond(
        problem(Problem::shutting_down, "the daemon is stopping; come back", request_id));
  if (running_) return responder.respond(busy(request_id));
  const std::uint64_t key = next_key_++;
  running_.emplace(Running{.key = key,
                           .uid = uid,
                           .request_id = std::move(request_id),
                           .responder = std::move(responder),
                           .since = std::chrono::steady_clock::now()});
  running_->responder->on_gone([this, key] { cut(key, "the client went away"); });
  if (!runs(key)) return;  // gone already
  snapshots_.take(keep_free, [this, key](const core::Result<std::uint64_t>& size) { taken(key, size); });
}

void Backups::taken(std::uint64_t key, const core::Result<std::uint64_t>& size) {
  if (!runs(key)) return;
  if (!size) {
    log_.write(core::LogLevel::error,
               fmt::format("event=backup_failed uid={} what=\"{}\"", running_->uid, size.error().what));
    Running failed = *std::exchange(running_, std::nullopt);
    // That there is no room is what the operator can do something about.
    const HttpResponse answer =
        size.error().code == core::Errc::no_space
            ? problem(Problem::storage_unavailable, size.error().what, failed.request_id)
            : error_answer(size.error(), failed.request_id);
    return failed.responder->respond(answer);
  }
  running_->size = *size;
  StreamHead head;
  head.content_type = "application/vnd.sqlite3";
  head.length = *size;
  Responder responder = *std::exchange(running_->responder, std::nullopt);
  running_->stream.emplace(responder.stream(std::move(head)));
  running_->stream->on_writable([this, key] { go_on(key); });
  running_->stream->on_gone([this, key] { cut(key, "the client went away"); });
  if (runs(key)) go_on(key);
}

// The client has taken what came before.
void Backups::go_on(std::uint64_t key) {
  if (!runs(key)) return;
  if (running_->sent < running_->size) {
    return snapshots_.read(running_->sent, k_piece,
                           [this, key](core::Result<std::string> piece) { send(key, std::move(piece)); });
  }
  running_->stream->end();
  finished();
}

// All of it has been handed on; whether all of it came is for the client to see.
void Backups::finished() {
  const auto done = std::exchange(running_, std::nullopt);
  snapshots_.drop();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - done->since;
  log_.write(core::LogLevel::notice,
             fmt::format("event=backup uid={} bytes={} seconds={:.1f}", done->uid, done->size, took.count()));
}

void Backups::send(std::uint64_t key, core::Result<std::string> piece) {
  if (!runs(key)) return;
  if (!piece) return cut(key, piece.error().what);
  running_->sent += piece->size();
  // Refused only when the client has gone, and then on_gone has said so.
  (void)running_->stream->write(std::move(*piece));
}

// Its client sees a body that is shorter than its length.
void Backups::cut(std::uint64_t key, std::string_view why) {
  if (!runs(key)) return;
  if (running_->stream && running_->sent == running_->size) return finished();
  const auto gone = std::exchange(running_, std::nullopt);
  snapshots_.drop();
  log_.write(core::LogLevel::warning, fmt::format("event=backup_cut uid={} bytes={} of={} reason=\"{}\"",
                                                  gone->uid, gone->sent, gone->size, why));
}

void Backups::finish() {
  finishing_ = true;
  if (!running_) return;
  if (running_->responder) {
    Running waiting = *std::exchange(running_, std::nullopt);
    snapshots_.drop();
    return waiting.responder->respond(
        problem(Problem::shutting_down, "the daemon is stopping; come back", waiting.request_id));
  }
  cut(running_->key, "the daemon stops");
}

}  // namespace mailotp::daemon
