#include "tests/http/malformed.h"

namespace mailotp::test {
namespace {

std::string with(const std::string& fields) {
  return "POST /x HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n\r\n";
}

std::string chunked(const std::string& body) {
  return with("Transfer-Encoding: chunked") + body;
}

std::string many_headers(int count) {
  std::string out;
  for (int i = 0; i < count; ++i) {
    out += "\r\nX-" + std::to_string(i) + ": v";
  }
  return "GET / HTTP/1.1\r\nHost: a" + out + "\r\n\r\n";
}

std::vector<Malformed> bad_lines() {
  return {
      {"TLS ClientHello", std::string("\x16\x03\x01\x02\x00\x01", 6), 400, "malformed_request"},
      {"binary zeros", std::string(8, '\0'), 400, "malformed_request"},
      {"HTTP/0.9", "GET /\r\n\r\n", 400, "malformed_request"},
      {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\n", 400, "malformed_request"},
      {"version 1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400, "malformed_request"},
      {"lower-case version", "GET / http/1.1\r\nHost: a\r\n\r\n", 400, "malformed_request"},
      {"no method", " / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed_request"},
      {"method is no token", "G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed_request"},
      {"two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed_request"},
      {"space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed_request"},
      {"space after the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, "malformed_request"},
      {"two empty lines first", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed_request"},
      {"bare LF", "GET / HTTP/1.1\nHost: a\n\n", 400, "malformed_request"},
      {"bare LF in a field", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400, "malformed_request"},
      {"bare CR in a field", "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400, "malformed_request"},
      {"absolute form", "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed_request"},
      {"no leading slash", "GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed_request"},
      {"fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed_request"},
      {"raw UTF-8 in the target", "GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed_request"},
      {"broken escape", "GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed_request"},
      {"escaped zero", "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed_request"},
      {"escaped line break in the query", "GET /?a=%0d%0a HTTP/1.1\r\nHost: a\r\n\r\n", 400,
       "malformed_request"},
      {"HEAD", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method_not_allowed"},
      {"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method_not_allowed"},
      {"CONNECT", "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method_not_allowed"},
      {"unknown method", "BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method_not_allowed"},
      {"lower-case method", "get / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method_not_allowed"},
  };
}

std::vector<Malformed> bad_fields() {
  return {
      {"no Host", "GET / HTTP/1.1\r\n\r\n", 400, "malformed_request"},
      {"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "malformed_request"},
      {"two Hosts in 1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400, "malformed_request"},
      {"Host is none", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "malformed_request"},
      {"Host is a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "malformed_request"},
      {"folded field", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400, "malformed_request"},
      {"first field begins with a space", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "malformed_request"},
      {"space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, "malformed_request"},
      {"no colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400, "malformed_request"},
      {"empty name", "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400, "malformed_request"},
      {"zero in a value", std::string("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 34), 400,
       "malformed_request"},
      {"65 headers", many_headers(64), 431, "headers_too_large"},
      {"long header", with("X: " + std::string(16 * 1024, 'x')), 431, "headers_too_large"},
      {"header without an end", "GET / HTTP/1.1\r\nX: " + std::string(20 * 1024, 'x'), 431,
       "headers_too_large"},
      {"long target", "GET /" + std::string(4 * 1024, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n", 431,
       "headers_too_large"},
  };
}

std::vector<Malformed> bad_framing() {
  return {
      {"length and chunked", with("Content-Length: 5\r\nTransfer-Encoding: chunked") + "0\r\n\r\n", 400,
       "malformed_request"},
      {"chunked and length", with("Transfer-Encoding: chunked\r\nContent-Length: 5") + "0\r\n\r\n", 400,
       "malformed_request"},
      {"two lengths", with("Content-Length: 1\r\nContent-Length: 2") + "ab", 400, "malformed_request"},
      {"the same length twice", with("Content-Length: 1\r\nContent-Length: 1") + "a", 400,
       "malformed_request"},
      {"list of lengths", with("Content-Length: 1, 1") + "a", 400, "malformed_request"},
      {"signed length", with("Content-Length: +1") + "a", 400, "malformed_request"},
      {"negative length", with("Content-Length: -1"), 400, "malformed_request"},
      {"hexadecimal length", with("Content-Length: 0x1") + "a", 400, "malformed_request"},
      {"empty length", with("Content-Length:"), 400, "malformed_request"},
      {"length over 64 bits", with("Content-Length: 99999999999999999999"), 400, "malformed_request"},
      {"large length", with("Content-Length: 65537"), 413, "too_large"},
      {"huge length", with("Content-Length: 18446744073709551615"), 413, "too_large"},
      {"encoding gzip", with("Transfer-Encoding: gzip"), 400, "malformed_request"},
      {"encoding gzip, chunked", with("Transfer-Encoding: gzip, chunked"), 400, "malformed_request"},
      {"encoding identity", with("Transfer-Encoding: identity"), 400, "malformed_request"},
      {"encoding with capital", with("Transfer-Encoding: Chunked"), 400, "malformed_request"},
      {"encoding xchunked", with("Transfer-Encoding: xchunked"), 400, "malformed_request"},
      {"encoding twice", with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), 400,
       "malformed_request"},
      {"chunked in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
       "malformed_request"},
      {"chunk size is no number", chunked("x\r\n"), 400, "malformed_request"},
      {"empty chunk size", chunked("\r\n"), 400, "malformed_request"},
      {"chunk size 0x5", chunked("0x5\r\nhello\r\n0\r\n\r\n"), 400, "malformed_request"},
      {"negative chunk size", chunked("-1\r\n"), 400, "malformed_request"},
      {"space after the chunk size", chunked("5 \r\nhello\r\n0\r\n\r\n"), 400, "malformed_request"},
      {"bare LF after the chunk size", chunked("5\nhello\r\n0\r\n\r\n"), 400, "malformed_request"},
      {"bare LF in a chunk extension", chunked("5;a\nb\r\nhello\r\n0\r\n\r\n"), 400, "malformed_request"},
      {"chunk longer than said", chunked("5\r\nhello!\r\n0\r\n\r\n"), 400, "malformed_request"},
      {"chunk size over 64 bits", chunked("11111111111111111\r\n"), 413, "too_large"},
      {"large chunk", chunked("10001\r\n"), 413, "too_large"},
      {"many chunks", chunked("ffff\r\n" + std::string(0xffff, 'x') + "\r\n2\r\n"), 413, "too_large"},
      {"long chunk extension", chunked("5;" + std::string(300, 'x')), 400, "malformed_request"},
      {"trailer without a colon", chunked("0\r\nabc\r\n\r\n"), 400, "malformed_request"},
      {"folded trailer", chunked("0\r\nA: b\r\n c: d\r\n\r\n"), 400, "malformed_request"},
      {"end in the header", "GET / HTTP/1.1\r\nHost:", 400, "malformed_request"},
      {"end in the body", with("Content-Length: 5") + "abc", 400, "malformed_request"},
      {"end in a chunk", chunked("5\r\nabc"), 400, "malformed_request"},
      {"end before the last chunk", chunked("5\r\nhello\r\n"), 400, "malformed_request"},
  };
}

}  // namespace

std::vector<Malformed> malformed_requests() {
  std::vector<Malformed> all = bad_lines();
  for (auto part : {bad_fields(), bad_framing()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

}  // namespace mailotp::test
