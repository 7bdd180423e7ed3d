// Which ids of the machine this process can tell apart: its user namespace maps some of them, and shows every
// other one as one and the same (user_namespaces(7)). systemd's PrivateUsers= and containers make such ones.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mailotp::daemon {

class IdMap {
 public:
  // Every id: the machine's own namespace.
  IdMap() : ranges_{{0, k_every}} {}
  // The text of /proc/self/uid_map: lines of "inside outside count". A line that is none maps nothing.
  explicit IdMap(std::string_view text);

  [[nodiscard]] bool maps(std::uint32_t id) const;
  // It hides no id.
  [[nodiscard]] bool is_whole() const;

 private:
  static constexpr std::uint64_t k_every = 0xffff'ffff;  // the last id means "none" to the kernel
  struct Range {
    std::uint64_t first = 0;
    std::uint64_t count = 0;
  };
  std::vector<Range> ranges_;  // disjoint: the kernel takes no others
};

struct IdMaps {
  IdMap uids;
  IdMap gids;
  // As what an id appears that is not mapped.
  std::uint32_t overflow_uid = 65534;
  std::uint32_t overflow_gid = 65534;
};

// Of this process. `proc` is where the kernel shows its files; without one of them (a kernel without user
// namespaces, a /proc that shows less) what it would say is as above.
[[nodiscard]] IdMaps read_id_maps(const std::string& proc = "/proc");

}  // namespace mailotp::daemon
