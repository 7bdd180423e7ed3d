// TCP to the first of several addresses that answers, each one started 250 ms after the last or as soon as
// that failed (RFC 8305 section 5).
#pragma once

#include <functional>
#include <list>
#include <string>
#include <vector>

#include "mail/smtp/resolver.h"

namespace mailotp::mail {

struct DialFault {
  bool local = false;  // descriptors, ports or memory of ours ran out
  std::string reason;  // every address with its error
};

class Dialer {
 public:
  // Non-blocking, TCP_NODELAY, keep-alive; the caller owns the descriptor.
  using Connected = std::function<void(int descriptor, const Endpoint& peer)>;
  using Failed = std::function<void(const DialFault& fault)>;

  Dialer(uv_loop_t* loop, core::Millis stagger, Connected connected, Failed failed);
  ~Dialer();
  Dialer(const Dialer&) = delete;
  Dialer& operator=(const Dialer&) = delete;

  // Once; the caller bounds it in time.
  void dial(std::vector<Endpoint> endpoints);
  // What is known so far, for the message of a time-out.
  [[nodiscard]] std::string progress() const;

 private:
  struct Attempt {
    Endpoint peer;
    int descriptor = -1;
    std::optional<Poll> poll;
  };
  void next();
  void begin(const Endpoint& peer);
  void finished(std::list<Attempt>::iterator attempt);
  void note(const Endpoint& peer, int error);
  void drop(std::list<Attempt>::iterator attempt);

  uv_loop_t* loop_;
  core::Millis stagger_;
  Connected connected_;
  Failed failed_;
  Timer timer_;
  std::vector<Endpoint> endpoints_;
  std::size_t started_ = 0;
  std::list<Attempt> attempts_;
  DialFault fault_;
};

}  // namespace mailotp::mail
