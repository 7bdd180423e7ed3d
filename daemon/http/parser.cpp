#include "daemon/http/parser.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "core/check.h"

namespace mailotp::daemon {
namespace {

constexpr std::size_t k_chunk_line = 256;  // bytes; a size and extensions that nobody needs
constexpr std::size_t k_trailer_line = 1024;

bool is_control(char c) {
  return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
}

}  // namespace

RequestParser::Status RequestParser::advance() {
  while (stage_ != Stage::complete && stage_ != Stage::failed) {
    if (!step()) return Status::need_more;
  }
  return stage_ == Stage::complete ? Status::complete : Status::failed;
}

ParsedRequest RequestParser::take() {
  CHECK(stage_ == Stage::complete);
  ParsedRequest parsed{std::move(head_.request), head_.keep_alive, head_.chunks_understood};
  head_ = RequestHead();
  stage_ = Stage::header;
  skipped_empty_line_ = false;
  body_begun_ = false;
  return parsed;
}

bool RequestParser::take_continue() {
  const bool in_body = stage_ == Stage::fixed_body || stage_ == Stage::chunk_size;
  const bool wanted = head_.expects_continue && in_body && !body_begun_ && input_.empty();
  if (wanted) head_.expects_continue = false;
  return wanted;
}

bool RequestParser::step() {
  switch (stage_) {
    case Stage::header:
      return read_header();
    case Stage::fixed_body:
      return read_fixed_body();
    case Stage::chunk_size:
      return read_chunk_size();
    case Stage::chunk_bytes:
      return read_chunk_bytes();
    case Stage::chunk_end:
      return read_chunk_end();
    case Stage::trailer:
      return read_trailer();
    case Stage::complete:
    case Stage::failed:
      break;
  }
  return false;
}

bool RequestParser::read_header() {
  // RFC 9112 section 2.2: one empty line before a request is forgiven.
  if (!skipped_empty_line_ && scanned_ <= 1 && input_.view().starts_with("\r\n")) {
    input_.consume(2);
    scanned_ = 0;
    skipped_empty_line_ = true;
  }
  if (!scan_header(input_.view())) return false;
  if (stage_ == Stage::failed) return true;
  auto head = parse_request_head(input_.view().substr(0, scanned_), limits_);
  input_.consume(std::exchange(scanned_, 0));
  if (!head) {
    failure_ = std::move(head.error());
    stage_ = Stage::failed;
    return true;
  }
  head_ = std::move(*head);
  start_body();
  return true;
}

// Looks for the end of the header, each byte once. What can never become a header is refused at once: a
// client that speaks something else should not wait for a time-out. True: scanned_ is the header's length, or
// the parser has failed.
bool RequestParser::scan_header(std::string_view input) {
  for (; scanned_ < input.size(); ++scanned_) {
    const char c = input[scanned_];
    const char before = scanned_ > 0 ? input[scanned_ - 1] : '\0';
    if (scanned_ == limits_.header_bytes) {
      return fail(Problem::headers_too_large,
                  fmt::format("the header is longer than {} bytes", limits_.header_bytes));
    }
    if ((c == '\n') != (before == '\r')) {
      return fail(Problem::malformed_request, "a line of the header does not end with CR LF");
    }
    if (before == '\n' && (c == ' ' || c == '\t')) {
      return fail(Problem::malformed_request, "a header is folded, or begins with a space");
    }
    if (is_control(c) && c != '\r' && c != '\n') {
      return fail(Problem::malformed_request, "the header holds a control character");
    }
    if (c == '\n' && scanned_ >= 3 && input.substr(scanned_ - 3, 4) == "\r\n\r\n") {
      ++scanned_;
      return true;
    }
  }
  return false;
}

void RequestParser::start_body() {
  if (head_.chunked) {
    stage_ = Stage::chunk_size;
  } else {
    stage_ = head_.content_length > 0 ? Stage::fixed_body : Stage::complete;
  }
}

bool RequestParser::read_fixed_body() {
  body_begun_ = body_begun_ || !input_.empty();
  const auto length = static_cast<std::size_t>(head_.content_length);
  if (input_.size() < length) return false;
  head_.request.body.assign(input_.view().substr(0, length));
  input_.consume(length);
  stage_ = Stage::complete;
  return true;
}

// A line without its CR LF; false when there is none yet, or the parser has failed.
bool RequestParser::take_line(std::string_view& line, std::size_t limit) {
  const std::string_view input = input_.view();
  for (std::size_t i = 0; i < std::min(input.size(), limit); ++i) {
    const bool after_cr = i > 0 && input[i - 1] == '\r';
    if ((input[i] == '\n') != after_cr || (is_control(input[i]) && input[i] != '\r' && input[i] != '\n')) {
      fail(Problem::malformed_request, "a line of the chunked body is broken");
      return false;
    }
    if (input[i] == '\n') {
      line = input.substr(0, i - 1);
      return true;
    }
  }
  if (input.size() >= limit) fail(Problem::malformed_request, "a line of the chunked body is too long");
  return false;
}

// RFC 9112 section 7.1; extensions are read and ignored.
bool RequestParser::read_chunk_size() {
  body_begun_ = body_begun_ || !input_.empty();
  std::string_view line;
  if (!take_line(line, k_chunk_line)) return stage_ == Stage::failed;
  const char* const end = line.data() + line.size();
  const auto [stop, error] = std::from_chars(line.data(), end, chunk_left_, 16);
  if (error == std::errc::result_out_of_range) {
    return fail(Problem::too_large, fmt::format("a body may have {} bytes", limits_.body_bytes));
  }
  if (error != std::errc() || (stop != end && *stop != ';')) {
    return fail(Problem::malformed_request, "a chunk size is no hexadecimal number");
  }
  if (chunk_left_ > limits_.body_bytes - chunks_.size()) {
    return fail(Problem::too_large, fmt::format("a body may have {} bytes", limits_.body_bytes));
  }
  input_.consume(line.size() + 2);
  trailer_bytes_ = 0;
  stage_ = chunk_left_ > 0 ? Stage::chunk_bytes : Stage::trailer;
  return true;
}

bool RequestParser::read_chunk_bytes() {
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(chunk_left_, input_.size()));
  chunks_.append(input_.view().substr(0, count));
  input_.consume(count);
  chunk_left_ -= count;
  if (chunk_left_ > 0) return false;
  stage_ = Stage::chunk_end;
  return true;
}

bool RequestParser::read_chunk_end() {
  const std::string_view input = input_.view();
  if (!input.empty() && !std::string_view("\r\n").starts_with(input.substr(0, 2))) {
    return fail(Problem::malformed_request, "a chunk is longer than its size says");
  }
  if (input.size() < 2) return false;
  input_.consume(2);
  stage_ = Stage::chunk_size;
  return true;
}

// Trailers are read and dropped: nobody here needs one, and merged into the header they would be a way around
// its checks (RFC 9110 section 6.5.1).
bool RequestParser::read_trailer() {
  std::string_view line;
  if (!take_line(line, k_trailer_line)) return stage_ == Stage::failed;
  trailer_bytes_ += line.size() + 2;
  if (trailer_bytes_ > limits_.header_bytes) {
    return fail(Problem::headers_too_large, "the trailers are too long");
  }
  const bool last = line.empty();
  const std::size_t colon = line.find(':');
  if (!last &&
      (colon == std::string_view::npos || colon == 0 || line.front() == ' ' || line.front() == '\t')) {
    return fail(Problem::malformed_request, "a trailer is no header");
  }
  input_.consume(line.size() + 2);
  if (!last) return true;
  head_.request.body.assign(chunks_.view());
  chunks_.consume(chunks_.size());
  stage_ = Stage::complete;
  return true;
}

bool RequestParser::fail(Problem problem, std::string_view detail) {
  failure_ = HeadFailure();
  failure_.problem.problem = problem;
  failure_.problem.detail = std::string(detail);
  stage_ = Stage::failed;
  return true;
}

}  // namespace mailotp::daemon
