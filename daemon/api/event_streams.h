// GET /v1/events: the log of events as it grows, to consumers that keep a cursor. Each stream reads the log
// on the reader's thread, a page at a time, and only when its client has taken what came before: a slow
// client costs one page of memory and nobody's time. Loop thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include <uv.h>

#include "core/store.h"
#include "daemon/api/views.h"
#include "daemon/http/message.h"
#include "daemon/http/responder.h"
#include "daemon/loop/handles.h"
#include "daemon/metrics/tally.h"
#include "daemon/state/reader_thread.h"

namespace mailotp::daemon {

enum class EventFormat : std::uint8_t { server_sent, ndjson };

struct EventRequest {
  std::string app;                    // empty: all (operators)
  std::optional<std::int64_t> after;  // absent: from now on
  EventFormat format = EventFormat::server_sent;
  UidShown uid_shown = UidShown::no;
  uid_t uid = 0;
  std::string request_id;
};

class EventStreams {
 public:
  static constexpr std::size_t k_per_uid = 16;
  static constexpr core::Millis k_heartbeat{15'000};  // a comment, so that proxies see life; not in NDJSON

  EventStreams(uv_loop_t* loop, ReaderThread& reader, Tally& tally);
  ~EventStreams();
  EventStreams(const EventStreams&) = delete;
  EventStreams& operator=(const EventStreams&) = delete;

  // Refuses with too_many_waits, or invalid_field for a cursor that no event had; else the answer goes on
  // until the client leaves or the daemon stops.
  void add(EventRequest request, Responder responder);
  // There is more to read.
  void on_events();
  // Who is which app has changed: the streams of apps come to their end, and their consumers come back with
  // their cursors as who they are now.
  void end_those_of_apps();
  // The daemon stops: every stream comes to its end.
  void finish();
  [[nodiscard]] std::size_t size() const { return streams_.size(); }

 private:
  struct Stream;
  using Key = std::uint64_t;

  void begin(Key key, const core::Result<std::int64_t>& newest);
  void look(Key key);
  void read(Key key);
  void take(Key key, const core::Result<core::EventPage>& page);
  void open(Key key, Stream& stream);
  void refuse(Key key, const HttpResponse& answer);
  void beat();
  void forget(Key key);
  [[nodiscard]] Stream* find(Key key);

  ReaderThread& reader_;
  Tally& tally_;
  Timer heartbeat_;
  Key next_key_ = 1;
  bool finishing_ = false;
  std::unordered_map<Key, std::unique_ptr<Stream>> streams_;
  std::map<std::pair<uid_t, std::string>, std::size_t> by_owner_;  // uid and app
};

// The cursor of an event, opaque to clients; absent for a text that is none.
[[nodiscard]] std::string event_cursor(std::int64_t seq);
[[nodiscard]] std::optional<std::int64_t> parse_event_cursor(const std::string& cursor);

}  // namespace mailotp::daemon
