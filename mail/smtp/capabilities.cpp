#include "mail/smtp/capabilities.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "mail/channel/codec.h"

namespace mailotp::mail {

namespace {

std::string upper(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
  return out;
}

std::vector<std::string> words(std::string_view line) {
  std::vector<std::string> out;
  std::size_t at = 0;
  while (at < line.size()) {
    const std::size_t end = std::min(line.find_first_of(" \t", at), line.size());
    if (end > at) out.push_back(upper(line.substr(at, end - at)));
    at = end + 1;
  }
  return out;
}

void add_mechanisms(Capabilities& capabilities, const std::vector<std::string>& parts, std::size_t from) {
  for (std::size_t i = from; i < parts.size(); ++i)
    if (std::find(capabilities.auth.begin(), capabilities.auth.end(), parts[i]) == capabilities.auth.end())
      capabilities.auth.push_back(parts[i]);
}

void take(Capabilities& capabilities, const std::vector<std::string>& parts) {
  const std::string& keyword = parts.front();
  if (keyword == "STARTTLS") capabilities.starttls = true;
  if (keyword == "PIPELINING") capabilities.pipelining = true;
  if (keyword == "8BITMIME") capabilities.eight_bit_mime = true;
  if (keyword == "DSN") capabilities.dsn = true;
  if (keyword == "SIZE") capabilities.size_parameter = true;
  if (keyword == "SIZE" && parts.size() > 1) {
    std::uint64_t limit = 0;
    const auto [end, error] = std::from_chars(parts[1].data(), parts[1].data() + parts[1].size(), limit);
    if (error == std::errc{} && end == parts[1].data() + parts[1].size() && limit > 0)
      capabilities.size = limit;
  }
  if (keyword == "AUTH") add_mechanisms(capabilities, parts, 1);
  if (keyword.starts_with("AUTH=")) {
    std::vector<std::string> old_form = parts;
    old_form.front() = keyword.substr(5);
    if (old_form.front().empty()) old_form.erase(old_form.begin());
    add_mechanisms(capabilities, old_form, 0);
  }
}

}  // namespace

Capabilities parse_capabilities(const ReplyLines& ehlo) {
  Capabilities capabilities;
  for (std::size_t i = 1; i < ehlo.lines.size(); ++i) {
    const std::vector<std::string> parts = words(ehlo.lines[i]);
    if (parts.empty()) continue;
    capabilities.keywords.push_back(channel::printable(parts.front(), 40));
    take(capabilities, parts);
  }
  return capabilities;
}

std::string engine_ehlo(const Capabilities& capabilities) {
  std::string out = "250-relay\r\n";
  if (capabilities.pipelining) out += "250-PIPELINING\r\n";
  if (capabilities.eight_bit_mime) out += "250-8BITMIME\r\n";
  if (capabilities.dsn) out += "250-DSN\r\n";
  if (capabilities.size_parameter) out += "250-SIZE\r\n";
  return out + "250 HELP\r\n";
}

}  // namespace mailotp::mail
