#include "daemon/http/message.h"

#include <cstring>
#include <utility>

namespace mailotp::daemon {

HttpRequest& HttpRequest::operator=(HttpRequest&& other) noexcept {
  if (this == &other) return *this;
  wipe();
  method = std::move(other.method);
  path = std::move(other.path);
  segments = std::move(other.segments);
  raw_query = std::move(other.raw_query);
  query = std::move(other.query);
  headers = std::move(other.headers);
  body = std::move(other.body);
  peer = std::move(other.peer);
  via = std::move(other.via);
  request_id = std::move(other.request_id);
  return *this;
}

HttpRequest::~HttpRequest() {
  wipe();
}

std::string_view HttpRequest::header(std::string_view lower_case_name) const {
  for (const auto& [name, value] : headers) {
    if (name == lower_case_name) return value;
  }
  return {};
}

// A short body lives inside the object and stays behind when it is moved: the whole capacity is wiped,
// whatever the size says.
void HttpRequest::wipe() noexcept {
  body.resize(body.capacity());
  ::explicit_bzero(body.data(), body.size());
  body.clear();
}

}  // namespace mailotp::daemon
