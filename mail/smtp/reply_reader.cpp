#include "mail/smtp/reply_reader.h"

#include <algorithm>
#include <cctype>

#include "mail/channel/codec.h"

namespace mailotp::mail {

namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

core::Error not_smtp(std::string_view why, std::string_view line) {
  return {core::Errc::malformed, std::string(why) + ": \"" + channel::printable(line, 100) + "\""};
}

// "5.1.1 text": the length of the enhanced status code at the start (RFC 3463 section 2), or 0.
std::size_t status_length(std::string_view text) {
  if (text.size() < 5 || (text[0] != '2' && text[0] != '4' && text[0] != '5') || text[1] != '.') return 0;
  std::size_t at = 2;
  for (int part = 0; part < 2; ++part) {
    const std::size_t start = at;
    while (at < text.size() && at - start < 3 && is_digit(text[at]))
      ++at;
    if (at == start) return 0;
    if (part == 0) {
      if (at == text.size() || text[at] != '.') return 0;
      ++at;
    }
  }
  return at == text.size() || text[at] == ' ' ? at : 0;
}

}  // namespace

core::Result<bool> ReplyReader::take_line(std::string_view line) {
  if (line.size() < 3 || !is_digit(line[0]) || !is_digit(line[1]) || !is_digit(line[2]))
    return tl::unexpected(not_smtp("not an SMTP reply", line));
  const int code = (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
  const bool more = line.size() > 3 && line[3] == '-';
  if (line.size() > 3 && !more && line[3] != ' ') return tl::unexpected(not_smtp("not an SMTP reply", line));
  if (code < 200 || code > 599) return tl::unexpected(not_smtp("reply code outside 200-599", line));
  if (!reply_.lines.empty() && code != reply_.code)
    return tl::unexpected(not_smtp("reply code changes within a reply", line));
  if (reply_.lines.size() == k_reply_lines) return tl::unexpected(not_smtp("reply of too many lines", line));
  bytes_ += line.size();
  if (bytes_ > k_reply_bytes) return tl::unexpected(not_smtp("reply too long", line));
  reply_.code = code;
  reply_.lines.emplace_back(line.substr(std::min<std::size_t>(4, line.size())));
  return !more;
}

core::Result<std::optional<ReplyLines>> ReplyReader::next() {
  while (true) {
    const std::string_view rest = std::string_view(buffer_).substr(taken_);
    const std::size_t end = rest.find('\n');
    if (std::min(end, rest.size()) > k_reply_line_bytes)
      return tl::unexpected(not_smtp("reply line too long", rest));
    if (end == std::string_view::npos) {
      buffer_.erase(0, taken_);
      taken_ = 0;
      return std::nullopt;
    }
    std::string_view line = rest.substr(0, end);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    taken_ += end + 1;
    const auto whole = take_line(line);
    if (!whole) return tl::unexpected(whole.error());
    if (*whole) {
      bytes_ = 0;
      return std::exchange(reply_, {});
    }
  }
}

core::Reply to_reply(const ReplyLines& lines) {
  core::Reply reply;
  reply.code = lines.code;
  std::string text;
  for (const std::string& line : lines.lines) {
    std::string_view rest = line;
    const std::size_t length = status_length(rest);
    if (length > 0) {
      if (reply.status.empty()) reply.status = rest.substr(0, length);
      rest.remove_prefix(std::min(length + 1, rest.size()));
    }
    if (!text.empty()) text += ' ';
    text += rest;
    if (text.size() > channel::k_max_text) break;
  }
  reply.text = channel::printable(text);
  return reply;
}

}  // namespace mailotp::mail
