// From a relay's settings to a connection that is ready for MAIL: DNS, TCP, TLS, greeting, EHLO, STARTTLS,
// AUTH, each within its deadline.
//
//   dns ─► connect ─┬─(implicit)─► tls ─┐
//                   └───────────────────┴─► greeting ─► ehlo ─┬─(starttls, still plain)─► starttls ─► tls ─►
//                   ehlo
//                                                             └─► auth (none to many mechanisms) ─► opened
//
// The password goes out under TLS, or in the clear to a loopback address when TlsMode is none; never else.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/delivery.h"
#include "mail/smtp/capabilities.h"
#include "mail/smtp/deadlines.h"
#include "mail/smtp/dialer.h"
#include "mail/smtp/resolver.h"
#include "mail/smtp/sasl.h"
#include "mail/smtp/stream.h"

namespace mailotp::mail {

struct Opened {
  std::unique_ptr<Stream> stream;  // still listening to the opener: listen() anew
  Capabilities capabilities;
  bool authenticated = false;
};

struct OpenFault {
  core::Stage stage = core::Stage::connect;
  std::string reason;  // printable, at most 500 bytes
  std::optional<core::Reply> reply;
  enum class Kind : std::uint8_t {
    ordinary,
    timed_out,
    late,          // the message's time has ended, waiting for a connection included
    auth_refused,  // the password is wrong, or no mechanism will do
    certificate,   // its certificate was refused
    closes,        // 421: too many connections, or it stops
    canceled,      // by us
  } kind = Kind::ordinary;
};
[[nodiscard]] core::RelayTrouble trouble_of(const OpenFault& fault);

// Called on the loop thread; may destroy neither the opener nor the stream.
class OpenerListener {
 public:
  virtual ~OpenerListener() = default;
  virtual void on_opened(Opened opened) = 0;
  virtual void on_open_failed(const OpenFault& fault) = 0;
  // A step that succeeded, for people.
  virtual void on_open_step(core::Stage, const std::string& /*saw*/) {}
};

class Opener final : private StreamListener {
 public:
  // `settings` is borrowed: its password is read at AUTH, so that a change counts at once. All outlive it.
  Opener(uv_loop_t* loop, const core::RelaySettings& settings, const std::string& hostname,
         Resolver& resolver, const Deadlines& deadlines, OpenerListener& listener);
  ~Opener() override;

  void open();

 private:
  void on_bytes(std::string_view bytes) override;
  void on_secured() override;
  void on_end(const std::string& reason) override;

  void enter(core::Stage stage);
  [[nodiscard]] core::Millis allowed(core::Stage stage) const;
  void timed_out();
  void fail(std::string reason, std::optional<core::Reply> reply = std::nullopt,
            OpenFault::Kind kind = OpenFault::Kind::ordinary);
  void fail_with(std::string_view what, const ReplyLines& lines,
                 OpenFault::Kind kind = OpenFault::Kind::ordinary);
  void resolved(const core::Result<std::vector<Endpoint>>& found);
  void connected(int descriptor, const Endpoint& peer);
  void start_tls();
  void greet();
  void take_reply(const ReplyLines& reply);
  void take_greeting(const ReplyLines& reply);
  void take_ehlo(const ReplyLines& reply);
  void take_starttls(const ReplyLines& reply);
  void take_auth(const ReplyLines& reply);
  void begin_auth();
  void next_mechanism(const ReplyLines* refused);
  void succeed();

  uv_loop_t* loop_;
  const core::RelaySettings& settings_;
  const std::string& hostname_;
  Resolver& resolver_;
  const Deadlines& deadlines_;
  OpenerListener& listener_;
  bool looked_again_ = false;  // after its time: the stage has had one more turn of the loop
  Timer timer_;
  Dialer dialer_;
  std::unique_ptr<Stream> stream_;
  core::Stage stage_ = core::Stage::dns;
  ReplyReader replies_;
  Capabilities capabilities_;
  bool secured_ = false;
  bool said_helo_ = false;
  std::vector<core::AuthMode> mechanisms_;
  std::optional<SaslExchange> exchange_;
  bool authenticated_ = false;
  bool over_ = false;
};

}  // namespace mailotp::mail
