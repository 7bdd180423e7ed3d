// Long-polls: a GET that waits until the thing it asked for is newer than the revision it knows. Loop thread.
//
// The order matters: a wait is registered first and then reads, so a change between the two cannot be missed.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <uv.h>

#include "core/id.h"
#include "core/store.h"
#include "daemon/http/message.h"
#include "daemon/http/server.h"
#include "daemon/loop/handles.h"
#include "daemon/metrics/tally.h"
#include "daemon/state/reader_thread.h"

namespace mailotp::daemon {

enum class Subject : std::uint8_t { challenge, message };

// "Give me `id` once its revision is over `revision`, else as it is at the end of `patience`."
struct WaitRequest {
  Subject subject = Subject::challenge;
  core::Id id;
  std::string app;  // empty: any (operators)
  std::uint64_t revision = 0;
  core::Millis patience{0};  // 0: answer at once
  uid_t uid = 0;
  std::string request_id;
};

class Waits {
 public:
  // Of one app's: two apps of one uid do not take each other's.
  static constexpr std::size_t k_per_uid = 64;

  Waits(uv_loop_t* loop, ReaderThread& reader, Tally& tally);
  ~Waits();
  Waits(const Waits&) = delete;
  Waits& operator=(const Waits&) = delete;

  // Answers the request now or later; refuses it with too_many_waits.
  void add(WaitRequest request, Responder responder);
  void on_changes(const std::vector<core::Change>& changes);
  // Every wait is answered with what is.
  void answer_all();
  // The daemon stops: the same, and later ones do not wait.
  void finish();
  [[nodiscard]] std::size_t size() const { return waits_.size(); }

 private:
  struct Wait;
  using Key = std::uint64_t;

  void read(Key key);
  template <class View>
  void answer_with(Key key, const core::Result<View>& view);
  void answer(Key key, HttpResponse response);
  void wake(const core::Id& id);
  void expire();
  void arm();
  void forget(Key key);

  uv_loop_t* loop_;
  ReaderThread& reader_;
  Tally& tally_;
  Timer timer_;
  Key next_key_ = 1;
  bool finishing_ = false;
  std::unordered_map<Key, std::unique_ptr<Wait>> waits_;
  std::unordered_multimap<core::Id, Key> by_id_;
  std::multimap<std::uint64_t, Key> by_deadline_;                 // loop time, ms
  std::map<std::pair<uid_t, std::string>, std::size_t> by_peer_;  // uid and app; only those that wait
};

}  // namespace mailotp::daemon
