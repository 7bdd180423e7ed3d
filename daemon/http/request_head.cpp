#include "daemon/http/request_head.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>

#include <boost/beast/http/basic_parser.hpp>
#include <fmt/format.h>

#include "daemon/http/target.h"

namespace mailotp::daemon {
namespace {

namespace http = boost::beast::http;
using boost::beast::error_code;
using boost::beast::string_view;

constexpr std::string_view k_methods = "GET, POST, PUT, DELETE";

std::string_view to_std(string_view text) {
  return {text.data(), text.size()};
}

std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

// What Beast found, as it found it.
class HeadReader final : public http::basic_parser<true> {
 public:
  explicit HeadReader(const HttpLimits& limits) : limits_(limits) {}

  std::string method;
  std::string target;
  int version = 0;  // 10 or 11
  bool keep_alive_wanted = false;
  bool too_many_fields = false;
  std::vector<std::pair<std::string, std::string>> fields;

 private:
  void on_request_impl(http::verb, string_view method_text, string_view target_text, int version_number,
                       error_code&) override {
    method = std::string(to_std(method_text));
    target = std::string(to_std(target_text));
    version = version_number;
  }
  void on_field_impl(http::field, string_view name, string_view value, error_code& ec) override {
    if (fields.size() == limits_.header_count) {
      too_many_fields = true;
      ec = http::error::header_limit;
      return;
    }
    fields.emplace_back(lower_case(to_std(name)), std::string(to_std(value)));
  }
  void on_header_impl(error_code&) override { keep_alive_wanted = keep_alive(); }
  void on_finish_impl(error_code&) override {}

  // Never reached: Beast gets the header only, or it is a response.
  void on_response_impl(int, string_view, int, error_code&) override {}
  void on_body_init_impl(boost::optional<std::uint64_t> const&, error_code&) override {}
  std::size_t on_body_impl(string_view body, error_code&) override { return body.size(); }
  void on_chunk_header_impl(std::uint64_t, string_view, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, string_view body, error_code&) override {
    return body.size();
  }

  const HttpLimits& limits_;
};

ProblemDetail malformed(std::string detail) {
  ProblemDetail problem;
  problem.problem = Problem::malformed_request;
  problem.detail = std::move(detail);
  return problem;
}

ProblemDetail headers_too_large(std::string detail) {
  ProblemDetail problem;
  problem.problem = Problem::headers_too_large;
  problem.detail = std::move(detail);
  return problem;
}

bool is_host(std::string_view value) {
  constexpr std::string_view k_marks = "-._~!$&'()*+,;=:[]%";
  return std::all_of(value.begin(), value.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           k_marks.find(c) != std::string_view::npos;
  });
}

std::optional<ProblemDetail> read_host(const HeadReader& reader) {
  std::size_t hosts = 0;
  for (const auto& [name, value] : reader.fields) {
    if (name != "host") continue;
    ++hosts;
    if (!is_host(value)) return malformed("the Host header is not a host");
  }
  if (hosts > 1) return malformed("there is more than one Host header");
  if (hosts == 0 && reader.version == 11) return malformed("HTTP/1.1 needs a Host header");
  return std::nullopt;
}

// RFC 9112 section 6: every doubt about where the body ends is refused.
std::optional<ProblemDetail> read_framing(const HeadReader& reader, RequestHead& head) {
  std::size_t lengths = 0;
  std::size_t encodings = 0;
  for (const auto& [name, value] : reader.fields) {
    if (name == "content-length") {
      ++lengths;
      const char* const end = value.data() + value.size();
      const auto [stop, error] = std::from_chars(value.data(), end, head.content_length);
      if (error != std::errc() || stop != end) return malformed("Content-Length is not a number");
    } else if (name == "transfer-encoding") {
      ++encodings;
      if (value != "chunked") return malformed("the only transfer encoding is \"chunked\"");
      head.chunked = true;
    } else if (name == "expect") {
      head.expects_continue = lower_case(value) == "100-continue" && reader.version == 11;
    }
  }
  if (lengths > 1) return malformed("there is more than one Content-Length header");
  if (encodings > 1) return malformed("there is more than one Transfer-Encoding header");
  if (lengths + encodings > 1) return malformed("Content-Length and Transfer-Encoding exclude each other");
  if (encodings == 1 && reader.version != 11) return malformed("HTTP/1.0 has no transfer encodings");
  return std::nullopt;
}

std::optional<ProblemDetail> read_method_and_target(const HeadReader& reader, RequestHead& head) {
  if (reader.method != "GET" && reader.method != "POST" && reader.method != "PUT" &&
      reader.method != "DELETE") {
    ProblemDetail problem;
    problem.problem = Problem::method_not_allowed;
    problem.detail = fmt::format("the methods are {}", k_methods);
    problem.extra_headers.emplace_back("Allow", k_methods);
    return problem;
  }
  auto target = parse_target(reader.target);
  if (!target) return malformed(std::move(target.error().what));
  head.request.path = std::move(target->path);
  head.request.segments = std::move(target->segments);
  head.request.raw_query = std::move(target->raw_query);
  head.request.query = std::move(target->query);
  return std::nullopt;
}

std::optional<ProblemDetail> read_head(HeadReader& reader, const HttpLimits& limits, RequestHead& head) {
  if (reader.target.size() > limits.target_bytes) {
    return headers_too_large(fmt::format("the target is longer than {} bytes", limits.target_bytes));
  }
  if (auto problem = read_host(reader)) return problem;
  if (auto problem = read_framing(reader, head)) return problem;
  if (auto problem = read_method_and_target(reader, head)) return problem;
  if (head.content_length > limits.body_bytes) {
    ProblemDetail problem;
    problem.problem = Problem::too_large;
    problem.detail = fmt::format("a body may have {} bytes", limits.body_bytes);
    return problem;
  }
  head.keep_alive = reader.keep_alive_wanted && reader.version == 11;
  head.chunks_understood = reader.version == 11;
  head.request.method = std::move(reader.method);
  head.request.headers = std::move(reader.fields);
  return std::nullopt;
}

}  // namespace

tl::expected<RequestHead, HeadFailure> parse_request_head(std::string_view block, const HttpLimits& limits) {
  HeadReader reader(limits);
  reader.header_limit(static_cast<std::uint32_t>(block.size() + 1));
  reader.body_limit(boost::none);
  error_code error;
  const std::size_t consumed = reader.put(boost::asio::buffer(block.data(), block.size()), error);
  const bool head_method = reader.method == "HEAD";
  if (reader.too_many_fields) {
    return tl::unexpected(HeadFailure{
        headers_too_large(fmt::format("there are more than {} headers", limits.header_count)), head_method});
  }
  if (error || consumed != block.size()) {
    return tl::unexpected(HeadFailure{
        malformed(fmt::format("the header does not follow HTTP/1.1: {}", error.message())), head_method});
  }
  RequestHead head;
  if (auto problem = read_head(reader, limits, head)) {
    return tl::unexpected(HeadFailure{std::move(*problem), head_method});
  }
  return head;
}

}  // namespace mailotp::daemon
