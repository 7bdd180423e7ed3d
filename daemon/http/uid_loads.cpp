#include "daemon/http/uid_loads.h"

#include <utility>

#include "core/check.h"

namespace mailotp::daemon {

UidLoads::Place::Place(std::shared_ptr<UidLoads> loads, uid_t uid, Kind kind)
    : loads_(std::move(loads)), uid_(uid), kind_(kind) {
  ++count(loads_->by_uid_[uid_], kind_);
}

UidLoads::Place::~Place() {
  if (!loads_) return;
  const auto at = loads_->by_uid_.find(uid_);
  CHECK(at != loads_->by_uid_.end() && count(at->second, kind_) > 0);
  --count(at->second, kind_);
  if (at->second.connections == 0 && at->second.requests == 0) loads_->by_uid_.erase(at);
}

UidLoads::Place& UidLoads::Place::operator=(Place&& other) noexcept {
  std::swap(loads_, other.loads_);
  std::swap(uid_, other.uid_);
  std::swap(kind_, other.kind_);
  return *this;
}

std::optional<UidLoads::Place> UidLoads::take(const std::shared_ptr<UidLoads>& loads, uid_t uid, Kind kind,
                                              std::size_t most) {
  UidLoad load = loads->of(uid);
  if (count(load, kind) >= most) return std::nullopt;
  return Place(loads, uid, kind);
}

UidLoad UidLoads::of(uid_t uid) const {
  const auto at = by_uid_.find(uid);
  return at == by_uid_.end() ? UidLoad{} : at->second;
}

UidLoad UidLoads::of_all() const {
  UidLoad all;
  for (const auto& [uid, load] : by_uid_) {
    all.connections += load.connections;
    all.requests += load.requests;
  }
  return all;
}

std::size_t& UidLoads::count(UidLoad& load, Kind kind) {
  return kind == Kind::connection ? load.connections : load.requests;
}

}  // namespace mailotp::daemon
