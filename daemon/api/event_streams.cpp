#include "daemon/api/event_streams.h"

#include <charconv>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "daemon/api/answers.h"
#include "daemon/api/views.h"
#include "daemon/state/clock.h"

namespace mailotp::daemon {

namespace {

constexpr int k_page = 100;

HttpResponse bad_cursor(const std::string& request_id) {
  ProblemDetail refused;
  refused.problem = Problem::invalid_field;
  refused.field = "after";
  refused.detail = "after: is not a cursor that an event had; leave it out to begin now";
  return make_problem(refused, request_id);
}

HttpResponse too_many(const std::string& request_id) {
  ProblemDetail refused;
  refused.problem = Problem::too_many_waits;
  refused.detail = "this user has as many streams of events as one may have";
  refused.retry_after = core::Millis{1000};
  refused.limit = core::Limit{"event_streams", static_cast<std::int64_t>(EventStreams::k_per_uid),
                              core::Seconds{60}, wall_now() + core::Millis{1000}};
  return make_problem(refused, request_id);
}

}  // namespace

struct EventStreams::Stream {
  EventRequest request;
  std::optional<Responder> responder;  // until the head has been sent
  std::optional<HttpStream> stream;    // from then on
  std::int64_t after = 0;
  bool reading = false;
  bool stale = true;  // something may have come since the last read began

  [[nodiscard]] std::string text_of(const core::EventPage& page) const {
    std::string out;
    for (const core::EventView& event : page.items) {
      const std::string cursor = event_cursor(event.seq);
      const std::string json = event_json(event, cursor, request.uid_shown);
      if (request.format == EventFormat::ndjson)
        out += json + "\n";
      else
        out += fmt::format("id: {}\nevent: {}\ndata: {}\n\n", cursor, event.type, json);
    }
    return out;
  }
};

EventStreams::EventStreams(uv_loop_t* loop, ReaderThread& reader, Tally& tally)
    : reader_(reader), tally_(tally), heartbeat_(loop, [this] { beat(); }) {}

EventStreams::~EventStreams() = default;

EventStreams::Stream* EventStreams::find(Key key) {
  const auto at = streams_.find(key);
  return at == streams_.end() ? nullptr : at->second.get();
}

void EventStreams::add(EventRequest request, Responder responder) {
  if (finishing_)
    return responder.respond(
        problem(Problem::shutting_down, "the daemon is stopping; come back", request.request_id));
  // Two apps of one uid do not take each other's.
  std::size_t& open_ones = by_owner_[{request.uid, request.app}];
  if (open_ones >= k_per_uid) {
    tally_.limit_hit("event_streams");
    return responder.respond(too_many(request.request_id));
  }
  ++open_ones;
  const Key key = next_key_++;
  auto made = std::make_unique<Stream>();
  made->request = std::move(request);
  made->responder.emplace(std::move(responder));
  Stream& stream = *streams_.emplace(key, std::move(made)).first->second;
  if (streams_.size() == 1) heartbeat_.start(k_heartbeat);
  stream.responder->on_gone([this, key] { forget(key); });
  if (find(key) == nullptr) return;  // gone already
  if (stream.request.after) {
    stream.after = *stream.request.after;
    return read(key);
  }
  const bool asked =
      reader_.read<std::int64_t>([](core::StoreReader& store) { return store.newest_event(); },
                                 [this, key](core::Result<std::int64_t> newest) { begin(key, newest); });
  if (!asked)
    refuse(key, problem(Problem::overloaded, "too many requests wait to be read", stream.request.request_id));
}

// From now on.
void EventStreams::begin(Key key, const core::Result<std::int64_t>& newest) {
  Stream* stream = find(key);
  if (stream == nullptr) return;
  if (!newest) return refuse(key, error_answer(newest.error(), stream->request.request_id));
  stream->after = *newest;
  open(key, *stream);
}

void EventStreams::open(Key key, Stream& stream) {
  const bool server_sent = stream.request.format == EventFormat::server_sent;
  StreamHead head;
  head.content_type = server_sent ? "text/event-stream" : "application/x-ndjson";
  head.headers.emplace_back("X-Accel-Buffering", "no");
  // Where it begins, for a consumer that is cut before it has seen an event.
  head.headers.emplace_back("X-Event-Cursor", event_cursor(stream.after));
  Responder responder = *std::exchange(stream.responder, std::nullopt);
  stream.stream.emplace(responder.stream(std::move(head)));
  stream.stream->on_writable([this, key] { look(key); });
  stream.stream->on_gone([this, key] { forget(key); });
  if (find(key) == nullptr) return;
  // A consumer that began without a cursor has one from the beginning. An event without data is none (HTML,
  // server-sent events, section 9.2.6), but its id is kept.
  if (server_sent &&
      stream.stream->write(fmt::format(": from here on\nid: {}\n\n", event_cursor(stream.after))))
    return;  // on_writable goes on
  look(key);
}

void EventStreams::on_events() {
  std::vector<Key> keys;
  for (auto& [key, stream] : streams_) {
    stream->stale = true;
    keys.push_back(key);
  }
  for (const Key key : keys)
    look(key);
}

// Reads on when there may be something and the client can take it.
void EventStreams::look(Key key) {
  Stream* stream = find(key);
  if (stream == nullptr || !stream->stream || stream->reading || !stream->stale) return;
  if (stream->stream->writable()) read(key);
}

void EventStreams::read(Key key) {
  Stream& stream = *find(key);
  stream.reading = true;
  stream.stale = false;
  core::EventFilter filter{stream.request.app, stream.after, k_page};
  const bool asked = reader_.read<core::EventPage>(
      [filter = std::move(filter)](core::StoreReader& store) { return store.events(filter); },
      [this, key](core::Result<core::EventPage> page) { take(key, page); });
  if (asked) return;
  stream.reading = false;
  stream.stale = true;  // the next event, or the heartbeat, tries again
  if (stream.responder)
    refuse(key, problem(Problem::overloaded, "too many requests wait to be read", stream.request.request_id));
}

void EventStreams::take(Key key, const core::Result<core::EventPage>& page) {
  Stream* stream = find(key);
  if (stream == nullptr) return;
  stream->reading = false;
  if (!page) {
    if (!stream->responder) return forget(key);  // the consumer comes back with its cursor
    return refuse(key, page.error().code == core::Errc::invalid
                           ? bad_cursor(stream->request.request_id)
                           : error_answer(page.error(), stream->request.request_id));
  }
  if (stream->responder) {
    // The cursor is good. The page is read again, when the head has left.
    stream->stale = true;
    return open(key, *stream);
  }
  const std::string text = stream->text_of(*page);
  if (text.empty()) {
    stream->after = page->after;
    if (page->more) stream->stale = true;
    return look(key);
  }
  // Taken or not: a heartbeat may have come first, and its end reads this page again.
  const bool taken = stream->stream->write(text);
  stream = find(key);
  if (stream == nullptr) return;  // what it wrote into was gone
  if (taken) stream->after = page->after;
  if (!taken || page->more) stream->stale = true;
}

void EventStreams::refuse(Key key, const HttpResponse& answer) {
  Responder responder = *std::exchange(find(key)->responder, std::nullopt);
  forget(key);
  responder.respond(answer);
}

void EventStreams::beat() {
  if (streams_.empty()) return;
  std::vector<Key> keys;
  for (const auto& [key, stream] : streams_)
    keys.push_back(key);
  for (const Key key : keys) {
    Stream* stream = find(key);
    if (stream == nullptr || !stream->stream) continue;
    if (stream->stale) {
      look(key);
    } else if (stream->request.format == EventFormat::server_sent && !stream->reading &&
               stream->stream->writable()) {
      (void)stream->stream->write(": still here\n\n");  // it is writable
    }
  }
  heartbeat_.start(k_heartbeat);
}

void EventStreams::end_those_of_apps() {
  std::vector<Key> keys;
  for (const auto& [key, stream] : streams_) {
    if (stream->request.uid_shown == UidShown::no) keys.push_back(key);
  }
  for (const Key key : keys) {
    Stream* stream = find(key);
    if (stream == nullptr) continue;
    if (!stream->stream) {
      refuse(key, problem(Problem::overloaded, "the apps have been configured anew; come back",
                          stream->request.request_id));
      continue;
    }
    HttpStream ended = *std::exchange(stream->stream, std::nullopt);
    forget(key);
    ended.end();
  }
}

void EventStreams::finish() {
  finishing_ = true;
  heartbeat_.stop();
  auto streams = std::exchange(streams_, {});
  by_owner_.clear();
  for (auto& [key, stream] : streams) {
    if (stream->stream)
      stream->stream->end();
    else
      stream->responder->respond(
          problem(Problem::shutting_down, "the daemon is stopping; come back", stream->request.request_id));
  }
}

void EventStreams::forget(Key key) {
  const auto at = streams_.find(key);
  if (at == streams_.end()) return;
  const auto count = by_owner_.find({at->second->request.uid, at->second->request.app});
  if (--count->second == 0) by_owner_.erase(count);
  const auto gone = std::exchange(at->second, nullptr);  // what it closes may come back here
  streams_.erase(at);
  if (streams_.empty()) heartbeat_.stop();
}

std::string event_cursor(std::int64_t seq) {
  return fmt::format("{:x}", seq);
}

std::optional<std::int64_t> parse_event_cursor(const std::string& cursor) {
  std::int64_t seq = 0;
  const char* end = cursor.data() + cursor.size();
  const auto [stop, error] = std::from_chars(cursor.data(), end, seq, 16);
  if (cursor.empty() || error != std::errc{} || stop != end || seq < 0) return std::nullopt;
  return seq;
}

}  // namespace mailotp::daemon
