#include "mail/imap/name_lookup.h"

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>

#include <netdb.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/check.h"
#include "mail/agent/boot_clock.h"
#include "mail/imap/wire.h"

namespace mailotp::mail {

struct NameLookup::Query {
  Query() : ended(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) { CHECK(ended >= 0); }
  ~Query() { (void)::close(ended); }
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  int ended;  // readable when `done`
  std::atomic<bool> done{false};
  int status = 0;  // of getaddrinfo
  std::vector<Endpoint> found;
};

core::Result<std::vector<Endpoint>> NameLookup::lookup(core::Millis time, const StopSignal& stop) {
  if (const auto literal = literal_endpoint(host_, port_)) return std::vector<Endpoint>{*literal};
  if (!query_) {
    query_ = std::make_shared<Query>();
    try {
      std::thread([query = query_, host = host_, port = std::to_string(port_)] {
        (void)::pthread_setname_np(::pthread_self(), "imap-dns");
        addrinfo hints{};
        hints.ai_socktype = SOCK_STREAM;
        addrinfo* list = nullptr;
        query->status = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &list);
        if (query->status == 0) {
          query->found = endpoints_of(list);
          ::freeaddrinfo(list);
        }
        query->done.store(true);
        CHECK(::eventfd_write(query->ended, 1) == 0);
      }).detach();
    } catch (const std::system_error& error) {
      query_.reset();
      return core::fail(core::Errc::unavailable, std::string("no thread for the resolver: ") + error.what());
    }
  }
  const core::Millis end = since_boot() + time;
  while (!query_->done.load()) {
    const core::Millis left = std::min(end, stop.until().value_or(end)) - since_boot();
    if (left.count() <= 0)
      return core::fail(core::Errc::timed_out, "cannot resolve " + host_ + ": no answer in time");
    wait_readable(query_->ended, stop.until() ? -1 : stop.descriptor(), left);
  }
  const std::shared_ptr<Query> query = std::exchange(query_, nullptr);
  if (query->status != 0)
    return core::fail(core::Errc::unavailable,
                      "cannot resolve " + host_ + ": " + ::gai_strerror(query->status));
  if (query->found.empty())
    return core::fail(core::Errc::unavailable, "cannot resolve " + host_ + ": no address");
  return std::move(query->found);
}

}  // namespace mailotp::mail
