#include "daemon/config/findings.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/check.h"

namespace mailotp::daemon {

namespace {
constexpr std::size_t k_max_lines = 20;
constexpr std::size_t k_max_shown = 40;
}  // namespace

Place place_of(const std::map<std::string, Place>& seen, std::string path) {
  for (;;) {
    if (const auto it = seen.find(path); it != seen.end()) return it->second;
    const auto dot = path.rfind('.');
    if (dot == std::string::npos) return Place{};
    path.resize(dot);
  }
}

void Findings::refuse(const std::string& path, std::string what) {
  refuse(place_of(seen_, path), std::move(what));
}

core::Error Findings::error() const {
  CHECK(!refusals_.empty());
  std::vector<Refusal> sorted = refusals_;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Refusal& a, const Refusal& b) { return a.at < b.at; });
  std::string lines;
  for (std::size_t i = 0; i < std::min(sorted.size(), k_max_lines); ++i) {
    lines += fmt::format("{}{}:{}:{}: {}", i == 0 ? "" : "\n", file_name_, sorted[i].at.line,
                         sorted[i].at.column, sorted[i].what);
  }
  return {core::Errc::invalid, std::move(lines)};
}

std::string shown(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, k_max_shown)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  if (text.size() > k_max_shown) {
    // Not in the middle of a UTF-8 sequence.
    while (!out.empty() && (static_cast<unsigned char>(out.back()) & 0xc0U) == 0x80)
      out.pop_back();
    if (!out.empty() && static_cast<unsigned char>(out.back()) >= 0xc0) out.pop_back();
    out += "…";
  }
  return out;
}

}  // namespace mailotp::daemon
