// Request line and fields of one request: Boost.Beast's parser, and the rules that it leaves out. Beast is
// seen in request_head.cpp only, and never gets more than one whole header: its handling of chunked bodies
// aborts the process when the last chunk comes byte by byte, and keep_alive() aborts on an unfinished header.
#pragma once

#include <cstdint>
#include <string_view>

#include <tl/expected.hpp>

#include "daemon/http/limits.h"
#include "daemon/http/message.h"
#include "daemon/http/problem.h"

namespace mailotp::daemon {

struct RequestHead {
  HttpRequest request;               // without body, peer, listener and request id
  bool keep_alive = false;           // never with HTTP/1.0
  bool chunks_understood = false;    // by the client: HTTP/1.1
  bool chunked = false;              // the body of the request
  std::uint64_t content_length = 0;  // bytes; 0 when chunked or absent
  bool expects_continue = false;
};

struct HeadFailure {
  ProblemDetail problem;
  bool head_method = false;  // the answer must go without its body (RFC 9110 section 9.3.2)
};

// `block` ends with its first CRLF CRLF and has no bare CR, bare LF or folded line. Refused besides what
// Beast refuses: any Transfer-Encoding but exactly "chunked", a second Content-Length, both together, not
// exactly one Host in HTTP/1.1 (RFC 9112 sections 3.2 and 6), other methods than GET, POST, PUT, DELETE, and
// what is over the limits.
[[nodiscard]] tl::expected<RequestHead, HeadFailure> parse_request_head(std::string_view block,
                                                                        const HttpLimits& limits);

}  // namespace mailotp::daemon
