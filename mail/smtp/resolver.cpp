#include "mail/smtp/resolver.h"

namespace mailotp::mail {

struct Resolver::Query {
  uv_getaddrinfo_t request;
  Resolver* resolver;  // null when nobody waits any more
};

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
  if (const auto endpoint = literal_endpoint(host_, port_)) return done(std::vector<Endpoint>{*endpoint});
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
