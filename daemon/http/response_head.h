// The status line and the fields of an answer, as bytes.
#pragma once

#include <string>
#include <string_view>

#include "daemon/http/message.h"

namespace mailotp::daemon {

enum class ConnectionField : std::uint8_t { absent, close };

// False for a status that we never send, and for text that would break out of its line.
[[nodiscard]] bool can_be_sent(const StreamHead& head);
// `framing` is the field that tells where the body ends, with its CR LF; or empty.
[[nodiscard]] std::string serialize_head(const StreamHead& head, std::string_view framing,
                                         const std::string& request_id, ConnectionField connection);

}  // namespace mailotp::daemon
