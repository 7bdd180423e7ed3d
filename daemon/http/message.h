// HTTP requests and answers as the handlers see them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace mailotp::daemon {

// Of the process that called connect(2), by SO_PEERCRED and SO_PEERGROUPS; taken once, at accept.
struct PeerCredentials {
  uid_t uid = static_cast<uid_t>(-1);
  gid_t gid = static_cast<gid_t>(-1);
  pid_t pid = 0;
  std::vector<gid_t> groups;  // supplementary; `gid` may be among them
};

// Movable only: the body may hold a code, and is wiped with the request. Path and query values are valid
// UTF-8 without control characters.
struct HttpRequest {
  HttpRequest() = default;
  HttpRequest(HttpRequest&&) noexcept = default;
  HttpRequest& operator=(HttpRequest&& other) noexcept;
  HttpRequest(const HttpRequest&) = delete;
  HttpRequest& operator=(const HttpRequest&) = delete;
  ~HttpRequest();

  std::string method;  // GET, POST, PUT or DELETE
  std::string path;    // percent-decoded; begins with "/"
  // The path's parts between slashes, each decoded by itself: in "/a%2Fb" there is one (RFC 3986
  // section 2.2).
  std::vector<std::string> segments;
  std::string raw_query;  // as sent, without the "?"
  // Percent-decoded, in order. A "+" stays a "+": addresses have one more often than a space.
  std::vector<std::pair<std::string, std::string>> query;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case, in order
  std::string body;
  PeerCredentials peer;
  std::string via;         // the listener's name, by which the connection came; "" is the common one
  std::string request_id;  // made by the server

  // The value of the first header of that name; "" if there is none.
  [[nodiscard]] std::string_view header(std::string_view lower_case_name) const;

 private:
  void wipe() noexcept;
};

// The server adds X-Request-Id, Cache-Control, Content-Length or Transfer-Encoding, and Connection.
struct StreamHead {
  int status = 200;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;
  std::optional<std::uint64_t> length = {};  // of the whole body; absent: it is not known before its end
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

}  // namespace mailotp::daemon
