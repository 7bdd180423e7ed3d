#include "daemon/http/response_head.h"

#include <algorithm>

#include <fmt/format.h>

#include "daemon/http/problem.h"

namespace mailotp::daemon {
namespace {

bool is_header_text(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; });
}

}  // namespace

bool can_be_sent(const StreamHead& head) {
  return !reason_phrase(head.status).empty() && is_header_text(head.content_type) &&
         std::all_of(head.headers.begin(), head.headers.end(), [](const auto& header) {
           return is_header_text(header.first) && is_header_text(header.second);
         });
}

std::string serialize_head(const StreamHead& head, std::string_view framing, const std::string& request_id,
                           ConnectionField connection) {
  std::string out;
  out.reserve(512);
  out.append("HTTP/1.1 ").append(fmt::format_int(head.status).str()).append(" ");
  out.append(reason_phrase(head.status)).append("\r\n");
  out.append("Content-Type: ").append(head.content_type).append("\r\n");
  out.append(framing).append("Cache-Control: no-store\r\n");
  out.append("X-Request-Id: ").append(request_id).append("\r\n");
  for (const auto& [name, value] : head.headers) {
    out.append(name).append(": ").append(value).append("\r\n");
  }
  if (connection == ConnectionField::close) out.append("Connection: close\r\n");
  out.append("\r\n");
  return out;
}

}  // namespace mailotp::daemon
