// One connection's input as a sequence of requests: bytes go in by feed() in pieces of any size, requests
// come out of take() one by one. No I/O, no clock. After a failure nothing more comes: the connection is to
// be closed, because where the next request begins is unknown.
//
//   header ─► fixed_body ─────────────────────────────► complete ─take()─► header
//     │  └──► chunk_size ⇄ chunk_bytes, chunk_end ─► trailer ──┘
//     └──────────────────────► complete            any ─► failed
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "daemon/http/limits.h"
#include "daemon/http/message.h"
#include "daemon/http/request_head.h"
#include "daemon/http/secret_buffer.h"

namespace mailotp::daemon {

struct ParsedRequest {
  HttpRequest request;  // without peer, listener and request id
  bool keep_alive = false;
  bool chunks_understood = false;
};

class RequestParser {
 public:
  enum class Status : std::uint8_t { need_more, complete, failed };

  // `limits` outlives the parser.
  explicit RequestParser(const HttpLimits& limits) : limits_(limits) {}

  void feed(std::string_view bytes) { input_.append(bytes); }
  // Goes as far as the bytes allow. Gives the same answer again until take() or feed().
  [[nodiscard]] Status advance();
  // After `complete`: the request; the next one begins.
  [[nodiscard]] ParsedRequest take();
  // After `failed`.
  [[nodiscard]] const HeadFailure& failure() const { return failure_; }

  // Nothing of the next request has been read.
  [[nodiscard]] bool idle() const { return stage_ == Stage::header && input_.empty(); }
  // Bytes that wait to be parsed.
  [[nodiscard]] std::size_t buffered() const { return input_.size(); }
  // True once a request, when its header is complete, its body is not yet on its way and the client asked for
  // "100 Continue" (RFC 9110 section 10.1.1).
  [[nodiscard]] bool take_continue();

 private:
  enum class Stage : std::uint8_t {
    header,
    fixed_body,
    chunk_size,
    chunk_bytes,
    chunk_end,
    trailer,
    complete,
    failed
  };

  // Each returns false when it needs more bytes.
  bool step();
  bool read_header();
  bool read_fixed_body();
  bool read_chunk_size();
  bool read_chunk_bytes();
  bool read_chunk_end();
  bool read_trailer();

  bool scan_header(std::string_view input);
  bool take_line(std::string_view& line, std::size_t limit);
  void start_body();
  bool fail(Problem problem, std::string_view detail);

  const HttpLimits& limits_;
  SecretBuffer input_;
  Stage stage_ = Stage::header;
  std::size_t scanned_ = 0;        // header: bytes of input_ that have been looked at
  std::uint64_t chunk_left_ = 0;   // bytes
  std::size_t trailer_bytes_ = 0;  // read so far
  bool skipped_empty_line_ = false;
  bool body_begun_ = false;
  RequestHead head_;
  SecretBuffer chunks_;  // the decoded body so far
  HeadFailure failure_;
};

}  // namespace mailotp::daemon
