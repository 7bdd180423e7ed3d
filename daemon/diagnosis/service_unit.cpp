#include "daemon/diagnosis/service_unit.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace mailotp::daemon {
namespace {

constexpr std::array<const char*, 4> k_places{"/etc/systemd/system", "/run/systemd/system",
                                              "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"};

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

bool is_handing_over(std::string_view line, std::string_view credential) {
  const auto equals = line.find('=');
  if (equals == std::string_view::npos) return false;
  const std::string_view key = trimmed(line.substr(0, equals));
  if (!key.ends_with("Credential") && !key.ends_with("CredentialEncrypted")) return false;
  if (key.starts_with('#') || key.starts_with(';')) return false;
  const std::string_view value = trimmed(line.substr(equals + 1));
  return value.substr(0, value.find(':')) == credential;
}

bool file_hands_over(const std::filesystem::path& path, std::string_view credential) {
  std::ifstream file(path, std::ios::binary);  // one that cannot be read hands nothing over
  return hands_over(std::string(std::istreambuf_iterator<char>(file), {}), credential);
}

}  // namespace

bool hands_over(std::string_view unit, std::string_view credential) {
  while (!unit.empty()) {
    const auto end = std::min(unit.find('\n'), unit.size());
    if (is_handing_over(unit.substr(0, end), credential)) return true;
    unit.remove_prefix(std::min(end + 1, unit.size()));
  }
  return false;
}

bool service_hands_over(std::string_view credential) {
  for (const std::filesystem::path place : k_places) {
    if (file_hands_over(place / "mailotpd.service", credential)) return true;
    std::error_code error;
    for (std::filesystem::directory_iterator at(place / "mailotpd.service.d", error), end;
         !error && at != end; at.increment(error)) {
      if (at->path().extension() == ".conf" && file_hands_over(at->path(), credential)) return true;
    }
  }
  return false;
}

}  // namespace mailotp::daemon
