// SMTP replies from a stream of bytes (RFC 5321 section 4.2), bounded whatever the relay sends.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/delivery.h"
#include "core/result.h"

namespace mailotp::mail {

inline constexpr std::size_t k_reply_line_bytes = 4096;
inline constexpr std::size_t k_reply_lines = 128;
inline constexpr std::size_t k_reply_bytes = 64 * 1024;

struct ReplyLines {
  int code = 0;                    // 200 to 599
  std::vector<std::string> lines;  // what follows the code and its separator, raw
};

class ReplyReader {
 public:
  void feed(std::string_view bytes) { buffer_.append(bytes); }
  // The next whole reply, or nothing yet. Errc::malformed: not SMTP, or past a bound; the session is to be
  // dropped. A line may end with LF alone.
  [[nodiscard]] core::Result<std::optional<ReplyLines>> next();
  // Nothing has arrived that was not returned.
  [[nodiscard]] bool empty() const { return taken_ == buffer_.size() && reply_.lines.empty(); }

 private:
  [[nodiscard]] core::Result<bool> take_line(std::string_view line);

  std::string buffer_;
  std::size_t taken_ = 0;  // of buffer_
  std::size_t bytes_ = 0;  // of the reply under way
  ReplyLines reply_;
};

// For the daemon: enhanced status code taken out, lines joined by a space, printable, at most 500 bytes.
[[nodiscard]] core::Reply to_reply(const ReplyLines& lines);

}  // namespace mailotp::mail
