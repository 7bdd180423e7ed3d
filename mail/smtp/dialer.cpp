#include "mail/smtp/dialer.h"

#include <cerrno>

#include <netinet/tcp.h>
#include <unistd.h>

namespace mailotp::mail {

namespace {

bool is_local(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM || error == EADDRNOTAVAIL;
}

void tune(int descriptor) {
  // Best effort: a socket without these options is slower to notice things, not wrong.
  const int on = 1;
  const int idle_s = 10;
  const int interval_s = 5;
  const int probes = 3;
  (void)setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  (void)setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  (void)setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
  (void)setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
  (void)setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

}  // namespace

Dialer::Dialer(uv_loop_t* loop, core::Millis stagger, Connected connected, Failed failed)
    : loop_(loop),
      stagger_(stagger),
      connected_(std::move(connected)),
      failed_(std::move(failed)),
      timer_(loop, [this] { next(); }) {}

Dialer::~Dialer() {
  while (!attempts_.empty())
    drop(attempts_.begin());
}

void Dialer::dial(std::vector<Endpoint> endpoints) {
  endpoints_ = std::move(endpoints);
  next();
}

std::string Dialer::progress() const {
  std::string out = fault_.reason;
  for (const Attempt& attempt : attempts_)
    out += (out.empty() ? "" : "; ") + to_string(attempt.peer) + ": no answer";
  return out;
}

void Dialer::next() {
  while (started_ < endpoints_.size()) {
    const Endpoint peer = endpoints_[started_++];
    const std::size_t before = attempts_.size();
    begin(peer);
    if (attempts_.size() > before) break;
  }
  if (started_ < endpoints_.size()) return timer_.start(stagger_);
  if (attempts_.empty()) failed_(fault_);
}

void Dialer::begin(const Endpoint& peer) {
  const int descriptor = ::socket(peer.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return note(peer, errno);
  tune(descriptor);
  if (::connect(descriptor, peer.get(), peer.length) != 0 && errno != EINPROGRESS) {
    note(peer, errno);
    ::close(descriptor);
    return;
  }
  const auto attempt = attempts_.emplace(attempts_.end());
  attempt->peer = peer;
  attempt->descriptor = descriptor;
  attempt->poll.emplace(loop_, descriptor, [this, attempt](int) { finished(attempt); });
  attempt->poll->watch(UV_WRITABLE);
}

void Dialer::note(const Endpoint& peer, int error) {
  fault_.local = is_local(error);
  fault_.reason += (fault_.reason.empty() ? "" : "; ") + to_string(peer) + ": " +
                   uv_strerror(uv_translate_sys_error(error));
}

void Dialer::drop(std::list<Attempt>::iterator attempt) {
  attempt->poll.reset();
  if (attempt->descriptor >= 0) ::close(attempt->descriptor);
  attempts_.erase(attempt);
}

void Dialer::finished(std::list<Attempt>::iterator attempt) {
  int error = 0;
  socklen_t length = sizeof error;
  if (getsockopt(attempt->descriptor, SOL_SOCKET, SO_ERROR, &error, &length) != 0) error = errno;
  const Endpoint peer = attempt->peer;
  if (error != 0) {
    note(peer, error);
    drop(attempt);
    timer_.stop();
    return next();
  }
  timer_.stop();
  attempt->poll.reset();
  const int descriptor = std::exchange(attempt->descriptor, -1);
  while (!attempts_.empty())
    drop(attempts_.begin());
  connected_(descriptor, peer);
}

}  // namespace mailotp::mail
