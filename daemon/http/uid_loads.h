// What each uid has of one server, counted, so that one uid cannot have all of it. Loop thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>

#include <sys/types.h>

namespace mailotp::daemon {

struct UidLoad {
  std::size_t connections = 0;
  std::size_t requests = 0;  // in hand, see HttpLimits
};

class UidLoads {
 public:
  enum class Kind : std::uint8_t { connection, request };

  // One more of a kind, for as long as this is there.
  class Place {
   public:
    Place(Place&& other) noexcept = default;
    Place& operator=(Place&& other) noexcept;  // swaps
    ~Place();

   private:
    friend class UidLoads;
    Place(std::shared_ptr<UidLoads> loads, uid_t uid, Kind kind);

    // Shared: a request may outlive its server. Null once moved from.
    std::shared_ptr<UidLoads> loads_;
    uid_t uid_;
    Kind kind_;
  };

  // None when `uid` has `most` of that kind already.
  [[nodiscard]] static std::optional<Place> take(const std::shared_ptr<UidLoads>& loads, uid_t uid, Kind kind,
                                                 std::size_t most);
  [[nodiscard]] UidLoad of(uid_t uid) const;
  [[nodiscard]] UidLoad of_all() const;

 private:
  static std::size_t& count(UidLoad& load, Kind kind);

  std::unordered_map<uid_t, UidLoad> by_uid_;  // only those that have something
};

}  // namespace mailotp::daemon
