// GET /v1/backup: a snapshot of the database, taken and then sent as fast as the client takes it, a piece of
// memory at a time. One at a time; whoever takes one is in the log. Loop thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "core/log.h"
#include "daemon/http/message.h"
#include "daemon/http/responder.h"
#include "daemon/state/snapshot_thread.h"

namespace mailotp::daemon {

class Backups {
 public:
  // Both outlive it.
  Backups(SnapshotThread& snapshots, core::Log& log) : snapshots_(snapshots), log_(log) {}
  Backups(const Backups&) = delete;
  Backups& operator=(const Backups&) = delete;

  // `keep_free`: bytes of the disk that must be left. Refuses with overloaded while another one is under way,
  // with storage_unavailable where there is no room for one. A client that goes away frees all that was held
  // for it.
  void start(uid_t uid, std::int64_t keep_free, std::string request_id, Responder responder);
  // The daemon stops: what has been begun is cut, which its client can tell from its length.
  void finish();

 private:
  struct Running {
    std::uint64_t key = 0;
    uid_t uid = 0;
    std::string request_id = {};
    std::optional<Responder> responder = {};  // until the head has been sent
    std::optional<HttpStream> stream = {};    // from then on
    std::uint64_t size = 0;
    std::uint64_t sent = 0;
    std::chrono::steady_clock::time_point since = {};
  };

  void taken(std::uint64_t key, const core::Result<std::uint64_t>& size);
  void go_on(std::uint64_t key);
  void finished();
  void send(std::uint64_t key, core::Result<std::string> piece);
  void cut(std::uint64_t key, std::string_view why);
  [[nodiscard]] bool runs(std::uint64_t key) const { return running_ && running_->key == key; }

  SnapshotThread& snapshots_;
  core::Log& log_;
  std::optional<Running> running_;
  std::uint64_t next_key_ = 1;
  bool finishing_ = false;
};

}  // namespace mailotp::daemon
