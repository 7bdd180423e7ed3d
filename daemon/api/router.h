// Method and path to handler. Paths are patterns such as "/v1/challenges/{id}/check"; one segment in braces
// is handed to the handler. A pattern without one comes before one that fits as well, for all methods, as in
// OpenAPI. Built once; loop thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/http/message.h"
#include "daemon/http/server.h"

namespace mailotp::daemon {

class Router {
 public:
  // `captured` is the segment in braces, or empty.
  using Handler = std::function<void(HttpRequest request, std::string captured, Responder responder)>;

  void on(std::string_view method, std::string_view pattern, Handler handler);
  // Answers not_found, method_not_allowed (with Allow) and cross_site itself.
  void route(HttpRequest request, Responder responder) const;

 private:
  struct Route {
    std::string method;
    std::vector<std::string> segments;
    Handler handler;
  };
  std::vector<Route> routes_;
};

// The value of a query parameter, "" when absent.
[[nodiscard]] std::string query_value(const HttpRequest& request, std::string_view name);

}  // namespace mailotp::daemon
