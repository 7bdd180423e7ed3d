#include "daemon/http/parser.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/http/malformed.h"

namespace mailotp::daemon {
namespace {

using Status = RequestParser::Status;

std::string describe(const ParsedRequest& parsed) {
  const HttpRequest& request = parsed.request;
  std::string out = request.method + " " + request.path + " ?" + request.raw_query;
  for (const auto& [name, value] : request.query) {
    out += " [" + name + "=" + value + "]";
  }
  for (const auto& [name, value] : request.headers) {
    out += " {" + name + ":" + value + "}";
  }
  return out + " <" + request.body + ">" + (parsed.keep_alive ? " keep-alive" : " close");
}

// Everything that came out, the end included.
struct Outcome {
  std::vector<std::string> requests;
  std::string end;  // "idle", "partial" or the code of the failure
  bool operator==(const Outcome&) const = default;
};

void feed(RequestParser& parser, std::string_view bytes, Outcome& outcome) {
  parser.feed(bytes);
  while (parser.advance() == Status::complete) {
    outcome.requests.push_back(describe(parser.take()));
  }
  outcome.end = parser.advance() == Status::failed ? std::string(to_string(parser.failure().problem.problem))
                : parser.idle()                    ? "idle"
                                                   : "partial";
}

Outcome parse(const std::vector<std::string_view>& pieces) {
  const HttpLimits limits;
  RequestParser parser(limits);
  Outcome outcome;
  for (const std::string_view piece : pieces) {
    feed(parser, piece, outcome);
  }
  return outcome;
}

Outcome parse_bytewise(std::string_view bytes) {
  std::vector<std::string_view> pieces;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    pieces.push_back(bytes.substr(i, 1));
  }
  return parse(pieces);
}

const std::vector<std::string> k_good{
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\nGET /v1/recipients/a%2Bb@x.org?a=1&b=%C3%A4+c&&d HTTP/1.1\r\nHost: localhost:80\r\nX-Y:  z  "
    "\r\n\r\n",
    "POST /v1/challenges HTTP/1.1\r\nHost:\r\nContent-Length: 13\r\nConnection: "
    "close\r\n\r\n{\"code\":\"12\"}",
    "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n06;x=\"y\"\r\n "
    "world\r\n0\r\n\r\n",
    "POST /t HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\n",
    "POST /e HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "PUT /old HTTP/1.0\r\nContent-Length: 2\r\n\r\n\r\n",
    "DELETE /k HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "GET /u HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
};

TEST_CASE("a request reads the same wherever it is split") {
  for (const std::string& bytes : k_good) {
    INFO(bytes);
    const Outcome whole = parse({bytes});
    REQUIRE(whole.requests.size() == 1);
    REQUIRE(whole.end == "idle");
    for (std::size_t i = 1; i < bytes.size(); ++i) {
      const std::string_view view = bytes;
      REQUIRE(parse({view.substr(0, i), view.substr(i)}) == whole);
      for (std::size_t j = i + 1; j < bytes.size(); ++j) {
        REQUIRE(parse({view.substr(0, i), view.substr(i, j - i), view.substr(j)}) == whole);
      }
    }
    REQUIRE(parse_bytewise(bytes) == whole);
  }
}

TEST_CASE("what the requests say") {
  CHECK(parse({k_good[0]}).requests[0] == "GET / ? {host:a} <> keep-alive");
  CHECK(parse({k_good[1]}).requests[0] ==
        "GET /v1/recipients/a+b@x.org ?a=1&b=%C3%A4+c&&d [a=1] [b=\xc3\xa4+c] [d=] {host:localhost:80} "
        "{x-y:z} <> keep-alive");
  CHECK(parse({k_good[2]}).requests[0] ==
        "POST /v1/challenges ? {host:} {content-length:13} {connection:close} <{\"code\":\"12\"}> close");
  CHECK(parse({k_good[3]}).requests[0] ==
        "POST /c ? {host:a} {transfer-encoding:chunked} <hello world> keep-alive");
  CHECK(parse({k_good[4]}).requests[0] == "POST /t ? {host:a} {transfer-encoding:chunked} <x> keep-alive");
  CHECK(parse({k_good[6]}).requests[0] == "PUT /old ? {content-length:2} <\r\n> close");
  CHECK(parse({k_good[7]}).requests[0] == "DELETE /k ? {connection:keep-alive} <> close");
}

TEST_CASE("pipelined requests come out one by one, however they arrive") {
  std::string all;
  Outcome expected;
  for (int round = 0; round < 12; ++round) {
    for (const std::string& bytes : k_good) {
      all += bytes;
      expected.requests.push_back(parse({bytes}).requests[0]);
    }
  }
  expected.end = "idle";
  REQUIRE(parse({all}) == expected);
  REQUIRE(parse_bytewise(all) == expected);
}

TEST_CASE("every malformed request fails the same way in one piece and byte by byte") {
  for (const test::Malformed& request : test::malformed_requests()) {
    INFO(request.name);
    const Outcome whole = parse({request.bytes});
    REQUIRE(whole.requests.empty());
    // What only the end of the input makes wrong is still waiting here.
    REQUIRE(whole.end == (request.name.starts_with("end ") ? "partial" : request.code));
    REQUIRE(parse_bytewise(request.bytes) == whole);
  }
}

TEST_CASE("the limits allow what they name") {
  const HttpLimits limits;
  const std::string start = "POST /x HTTP/1.1\r\nHost: a\r\n";
  const std::size_t frame = start.size() + std::string_view("X: \r\n\r\n").size();
  CHECK(parse({start + "X: " + std::string(limits.header_bytes - frame, 'x') + "\r\n\r\n"}).end == "idle");
  CHECK(parse({start + "X: " + std::string(limits.header_bytes - frame + 1, 'x') + "\r\n\r\n"}).end ==
        "headers_too_large");
  const std::string body(limits.body_bytes, 'x');
  CHECK(parse({start + "Content-Length: 65536\r\n\r\n" + body}).requests.size() == 1);
  CHECK(parse({start + "Transfer-Encoding: chunked\r\n\r\n10000\r\n" + body + "\r\n0\r\n\r\n"})
            .requests.size() == 1);
  std::string fields;
  for (std::size_t i = 1; i < limits.header_count; ++i) {
    fields += "X: y\r\n";
  }
  CHECK(parse({start + fields + "\r\n"}).requests.size() == 1);
  CHECK(parse({"GET /" + std::string(limits.target_bytes - 1, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n"}).end ==
        "idle");
  std::string trailers;
  for (int i = 0; i < 17; ++i) {
    trailers += "A: " + std::string(1000, 'x') + "\r\n";
  }
  CHECK(parse({start + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + trailers + "\r\n"}).end ==
        "headers_too_large");
}

TEST_CASE("100 Continue is asked for once, only while the body is awaited") {
  const HttpLimits limits;
  const std::string head = "POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n";
  RequestParser parser(limits);
  parser.feed(head + "Content-Length: 2\r\n\r\n");
  CHECK(parser.advance() == Status::need_more);
  CHECK(parser.take_continue());
  CHECK_FALSE(parser.take_continue());
  parser.feed("ab");
  CHECK(parser.advance() == Status::complete);

  RequestParser eager(limits);
  eager.feed(head + "Content-Length: 2\r\n\r\na");
  CHECK(eager.advance() == Status::need_more);
  CHECK_FALSE(eager.take_continue());

  RequestParser old(limits);
  old.feed("POST /x HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  CHECK(old.advance() == Status::need_more);
  CHECK_FALSE(old.take_continue());
}

TEST_CASE("an answer to HEAD is known to have no body") {
  const HttpLimits limits;
  RequestParser parser(limits);
  parser.feed("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
  REQUIRE(parser.advance() == Status::failed);
  CHECK(parser.failure().head_method);
  CHECK(parser.failure().problem.extra_headers.at(0).second == "GET, POST, PUT, DELETE");
}

}  // namespace
}  // namespace mailotp::daemon
