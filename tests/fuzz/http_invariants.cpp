#include "tests/fuzz/http_invariants.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "daemon/http/parser.h"
#include "mail/compose/utf8.h"
#include "tests/fuzz/must.h"

namespace mailotp::fuzz {
namespace {

using daemon::HeadFailure;
using daemon::HttpLimits;
using daemon::HttpRequest;
using daemon::ParsedRequest;
using daemon::RequestParser;

// Lines of a chunked body have a limit of their own, which no HttpLimits lowers.
constexpr std::size_t k_longest_line = 1024;

// What came out of one connection.
struct Conversation {
  std::vector<ParsedRequest> requests;
  std::optional<HeadFailure> failure;
  std::size_t left = 0;  // bytes that wait for more
  bool idle = false;
};

bool is_plain_text(std::string_view text) {
  return mail::valid_utf8(text) && !has_control(text);
}

bool is_lower_token(std::string_view name) {
  constexpr std::string_view k_marks = "!#$%&'*+-.^_`|~";  // tchar of RFC 9110 section 5.6.2
  return !name.empty() && std::all_of(name.begin(), name.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || k_marks.find(c) != std::string_view::npos;
  });
}

std::size_t count_headers(const HttpRequest& request, std::string_view name) {
  return static_cast<std::size_t>(std::count_if(request.headers.begin(), request.headers.end(),
                                                [name](const auto& one) { return one.first == name; }));
}

void check_target(const HttpRequest& request) {
  must(request.path.starts_with('/') && is_plain_text(request.path), "a path is plain text and begins at /");
  std::string joined;
  for (const std::string& segment : request.segments) {
    must(is_plain_text(segment), "a segment is plain text");
    joined += "/" + segment;
  }
  must(joined == request.path, "the segments are the path");
  for (const auto& [name, value] : request.query)
    must(is_plain_text(name) && is_plain_text(value), "a query has plain text");
  must(std::all_of(request.raw_query.begin(), request.raw_query.end(),
                   [](char c) { return c > ' ' && c <= '~'; }),
       "a query as sent is printable ASCII");
}

void check_request(const ParsedRequest& parsed, const HttpLimits& limits) {
  const HttpRequest& request = parsed.request;
  must(request.method == "GET" || request.method == "POST" || request.method == "PUT" ||
           request.method == "DELETE",
       "the method is one of ours");
  check_target(request);
  must(request.headers.size() <= limits.header_count, "there are no more headers than allowed");
  for (const auto& [name, value] : request.headers) {
    must(is_lower_token(name), "a header's name is a token in lower case");
    must(std::none_of(value.begin(), value.end(),
                      [](char c) { return (static_cast<unsigned char>(c) < ' ' && c != '\t') || c == 0x7F; }),
         "a header's value has no control characters");
  }
  must(request.body.size() <= limits.body_bytes, "a body is no longer than allowed");
  const std::size_t lengths = count_headers(request, "content-length");
  const std::size_t encodings = count_headers(request, "transfer-encoding");
  must(count_headers(request, "host") <= 1 && lengths + encodings <= 1, "nothing is said twice");
  if (lengths == 1)
    must(std::stoull(std::string(request.header("content-length"))) == request.body.size(),
         "the body is as long as was said");
  if (encodings == 0 && lengths == 0) must(request.body.empty(), "no body comes unannounced");
  must(!parsed.keep_alive || count_headers(request, "host") == 1, "a connection that stays has a host");
}

void check_failure(const HeadFailure& failure) {
  const int status = daemon::status_of(failure.problem.problem);
  must(status == 400 || status == 405 || status == 413 || status == 431, "a refusal blames the request");
  must(!failure.problem.detail.empty() && is_plain_text(failure.problem.detail), "a refusal says why");
  const daemon::HttpResponse answer = daemon::make_problem(failure.problem, "id");
  must(nlohmann::json::accept(answer.body) && answer.status == status, "a refusal can be answered");
}

// Gives the bytes to a parser in pieces as long as `piece` says.
template <class F>
Conversation converse(std::string_view bytes, const HttpLimits& limits, F piece) {
  const std::size_t bound = std::max({limits.header_bytes, limits.body_bytes, k_longest_line});
  RequestParser parser(limits);
  Conversation out;
  bool continued = false;
  for (;;) {
    const RequestParser::Status status = parser.advance();
    must(status == parser.advance(), "the parser says the same until it gets more");
    if (status == RequestParser::Status::complete) {
      out.requests.push_back(parser.take());
      must(!continued || count_headers(out.requests.back().request, "expect") > 0, "100 was asked for");
      continued = false;
      continue;
    }
    if (status == RequestParser::Status::failed) {
      out.failure = parser.failure();
      return out;
    }
    must(parser.buffered() <= bound, "what waits for more bytes is bounded");
    if (parser.take_continue()) {
      must(!continued, "100 is sent once a request");
      continued = true;
    }
    if (bytes.empty()) break;
    const std::size_t count = std::clamp<std::size_t>(piece(), 1, bytes.size());
    parser.feed(bytes.substr(0, count));
    bytes.remove_prefix(count);
  }
  out.left = parser.buffered();
  out.idle = parser.idle();
  return out;
}

bool same_text(const HttpRequest& a, const HttpRequest& b) {
  return a.method == b.method && a.path == b.path && a.segments == b.segments && a.raw_query == b.raw_query &&
         a.query == b.query && a.body == b.body;
}

void must_be_same(const Conversation& whole, const Conversation& split) {
  must(whole.requests.size() == split.requests.size(), "splitting changes no number of requests");
  for (std::size_t i = 0; i < whole.requests.size(); ++i) {
    const ParsedRequest& a = whole.requests[i];
    const ParsedRequest& b = split.requests[i];
    must(same_text(a.request, b.request) && a.request.headers == b.request.headers &&
             a.keep_alive == b.keep_alive,
         "splitting changes no request");
  }
  must(whole.failure.has_value() == split.failure.has_value(), "splitting neither heals nor breaks");
  must(whole.left == split.left && whole.idle == split.idle, "splitting changes no rest");
  if (!whole.failure) return;
  must(whole.failure->problem.problem == split.failure->problem.problem &&
           whole.failure->problem.detail == split.failure->problem.detail &&
           whole.failure->head_method == split.failure->head_method,
       "splitting changes no refusal");
}

std::string percent_encoded(std::string_view text) {
  constexpr std::string_view k_hex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    out += {'%', k_hex[byte >> 4U], k_hex[byte & 15U]};
  }
  return out;
}

// The request as another client could have written it: every byte of the path escaped, the body by length.
std::string rewritten(const HttpRequest& request) {
  std::string out = request.method + " ";
  for (const std::string& segment : request.segments)
    out += "/" + percent_encoded(segment);
  if (!request.raw_query.empty()) out += "?" + request.raw_query;
  out += count_headers(request, "host") == 1 ? " HTTP/1.1\r\n" : " HTTP/1.0\r\n";
  for (const auto& [name, value] : request.headers) {
    if (name == "transfer-encoding" || name == "content-length") continue;
    out.append(name).append(": ").append(value).append("\r\n");
  }
  return out + "content-length: " + std::to_string(request.body.size()) + "\r\n\r\n" + request.body;
}

// What was understood is all that was said: written down anew it reads the same, and leaves nothing behind
// that a second reader could take for another request.
void check_rewritten(const HttpRequest& request) {
  HttpLimits wide;
  wide.header_bytes *= 8;
  wide.target_bytes *= 8;
  wide.header_count *= 2;
  const std::string bytes = rewritten(request);
  const Conversation again = converse(bytes, wide, [&] { return bytes.size(); });
  must(!again.failure && again.requests.size() == 1 && again.idle, "a request written anew is one request");
  must(same_text(again.requests.front().request, request), "a request written anew says the same");
}

HttpLimits limits_for(char chooser) {
  HttpLimits limits;
  if (chooser < 'A' || chooser > 'Z') return limits;
  limits.header_bytes = 256;
  limits.header_count = 4;
  limits.target_bytes = 32;
  limits.body_bytes = 64;
  return limits;
}

}  // namespace

void check_http(std::string_view input) {
  if (input.empty()) return;
  const char chooser = input.front();
  const std::string_view bytes = input.substr(1);
  const HttpLimits limits = limits_for(chooser);
  const Conversation whole = converse(bytes, limits, [&] { return bytes.size(); });
  for (const ParsedRequest& parsed : whole.requests) {
    check_request(parsed, limits);
    check_rewritten(parsed.request);
  }
  if (whole.failure) check_failure(*whole.failure);
  must_be_same(whole, converse(bytes, limits, [] { return std::size_t{1}; }));
  auto state = static_cast<std::uint32_t>(static_cast<unsigned char>(chooser));
  must_be_same(whole, converse(bytes, limits, [&state] {
                 state = state * 1'664'525U + 1'013'904'223U;  // Numerical Recipes' generator
                 return std::size_t{1} + (state >> 24U) % 61U;
               }));
}

}  // namespace mailotp::fuzz
