#include "daemon/config/id_map.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>

namespace mailotp::daemon {
namespace {

std::optional<std::string> read_text(const std::string& path) {
  std::ifstream in(path);
  if (!in) return std::nullopt;
  return std::string(std::istreambuf_iterator<char>(in), {});
}

IdMap map_in(const std::string& path) {
  const auto text = read_text(path);
  return text ? IdMap(*text) : IdMap();
}

std::uint32_t number_in(const std::string& path, std::uint32_t otherwise) {
  const std::string text = read_text(path).value_or("");
  std::uint32_t number = otherwise;
  (void)std::from_chars(text.data(), text.data() + text.size(), number);  // leaves it when there is none
  return number;
}

}  // namespace

IdMap::IdMap(std::string_view text) {
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    Range range;
    std::uint64_t outside = 0;
    if (fields >> range.first >> outside >> range.count) ranges_.push_back(range);
  }
}

bool IdMap::maps(std::uint32_t id) const {
  return std::ranges::any_of(
      ranges_, [id](const Range& range) { return id >= range.first && id - range.first < range.count; });
}

bool IdMap::is_whole() const {
  std::uint64_t mapped = 0;
  for (const Range& range : ranges_)
    mapped += range.count;
  return mapped >= k_every;
}

IdMaps read_id_maps(const std::string& proc) {
  IdMaps maps;
  maps.uids = map_in(proc + "/self/uid_map");
  maps.gids = map_in(proc + "/self/gid_map");
  maps.overflow_uid = number_in(proc + "/sys/kernel/overflowuid", maps.overflow_uid);
  maps.overflow_gid = number_in(proc + "/sys/kernel/overflowgid", maps.overflow_gid);
  return maps;
}

}  // namespace mailotp::daemon
