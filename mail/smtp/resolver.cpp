#include "mail/smtp/resolver.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <arpa/inet.h>

namespace mailotp::mail {

namespace {

std::optional<Endpoint> literal(const std::string& host, std::uint16_t port) {
  Endpoint endpoint;
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    std::memcpy(&endpoint.address, &v4, sizeof v4);
    endpoint.length = sizeof v4;
    return endpoint;
  }
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  if (inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) {
    std::memcpy(&endpoint.address, &v6, sizeof v6);
    endpoint.length = sizeof v6;
    return endpoint;
  }
  return std::nullopt;
}

std::vector<Endpoint> endpoints_of(const addrinfo* list) {
  std::vector<Endpoint> first;  // of the family that the system prefers
  std::vector<Endpoint> second;
  for (const addrinfo* at = list; at != nullptr; at = at->ai_next) {
    if (at->ai_addrlen > sizeof(sockaddr_storage)) continue;
    Endpoint endpoint;
    std::memcpy(&endpoint.address, at->ai_addr, at->ai_addrlen);
    endpoint.length = at->ai_addrlen;
    (at->ai_family == list->ai_family ? first : second).push_back(endpoint);
  }
  std::vector<Endpoint> out;
  for (std::size_t i = 0; i < std::max(first.size(), second.size()); ++i) {
    if (i < first.size()) out.push_back(first[i]);
    if (i < second.size()) out.push_back(second[i]);
  }
  return out;
}

}  // namespace

struct Resolver::Query {
  uv_getaddrinfo_t request;
  Resolver* resolver;  // null when nobody waits any more
};

std::string to_string(const Endpoint& endpoint) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (endpoint.address.ss_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, &endpoint.address, sizeof v6);
    (void)inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());  // the buffer is large enough
    return "[" + std::string(text.data()) + "]:" + std::to_string(ntohs(v6.sin6_port));
  }
  sockaddr_in v4;
  std::memcpy(&v4, &endpoint.address, sizeof v4);
  (void)inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());  // the buffer is large enough
  return std::string(text.data()) + ":" + std::to_string(ntohs(v4.sin_port));
}

bool is_loopback(const Endpoint& endpoint) {
  if (endpoint.address.ss_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, &endpoint.address, sizeof v6);
    return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
  }
  sockaddr_in v4;
  std::memcpy(&v4, &endpoint.address, sizeof v4);
  return (ntohl(v4.sin_addr.s_addr) >> 24) == 127;
}

Resolver::Resolver(uv_loop_t* loop, std::string host, std::uint16_t port, const Deadlines& deadlines)
    : loop_(loop), host_(std::move(host)), port_(port), deadlines_(deadlines), deadline_(loop, [this] {
        settle(core::fail(core::Errc::timed_out, "no answer in time"));
      }) {}

Resolver::~Resolver() {
  if (query_ == nullptr) return;
  query_->resolver = nullptr;
  (void)uv_cancel(reinterpret_cast<uv_req_t*>(&query_->request));  // one that runs cannot be canceled
}

void Resolver::resolve(const void* owner, Done done) {
  if (const auto endpoint = literal(host_, port_)) return done(std::vector<Endpoint>{*endpoint});
  waiting_.emplace_back(owner, std::move(done));
  if (query_ == nullptr) ask();
}

void Resolver::forget(const void* owner) {
  std::erase_if(waiting_, [owner](const auto& waiting) { return waiting.first == owner; });
}

void Resolver::ask() {
  query_ = new Query{{}, this};
  query_->request.data = query_;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  const int asked = uv_getaddrinfo(
      loop_, &query_->request,
      [](uv_getaddrinfo_t* request, int status, addrinfo* list) noexcept {
        const std::unique_ptr<Query> query(static_cast<Query*>(request->data));
        Resolver* resolver = query->resolver;
        if (resolver != nullptr) {
          resolver->query_ = nullptr;
          if (status < 0)
            resolver->settle(core::fail(core::Errc::unavailable, uv_strerror(status)));
          else
            resolver->settle(endpoints_of(list));
        }
        uv_freeaddrinfo(list);
      },
      host_.c_str(), std::to_string(port_).c_str(), &hints);
  deadline_.start(deadlines_.dns);
  if (asked < 0) {
    delete std::exchange(query_, nullptr);
    settle(core::fail(core::Errc::unavailable, uv_strerror(asked)));
  }
}

void Resolver::settle(core::Result<std::vector<Endpoint>> found) {
  deadline_.stop();
  if (query_ != nullptr) std::exchange(query_, nullptr)->resolver = nullptr;
  const std::uint64_t now = uv_now(loop_);
  if (found && found->empty()) found = core::fail(core::Errc::unavailable, "no address");
  if (found) {
    last_good_ = *found;
    last_good_at_ = now;
  } else if (!last_good_.empty() &&
             now - last_good_at_ < static_cast<std::uint64_t>(deadlines_.address_memory.count())) {
    found = last_good_;
  } else {
    found.error().what = "cannot resolve " + host_ + ": " + found.error().what;
  }
  for (const auto& [owner, done] : std::exchange(waiting_, {}))
    done(found);
}

}  // namespace mailotp::mail
