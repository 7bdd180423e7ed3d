// The agent's side of its channel: takes orders, gives each to the relay that it names, and reports the
// relays' facts in their order, with one write for all of a turn of the loop. JobDotNext alone does not wait
// for the end of the turn: it is with the daemon's kernel buffers when report() returns, so that a relay may
// send the dot next.
//
// A loop and a thread of its own; the loop runs dry when the agent has ended: after a Drain, or after the
// daemon has gone or has sent nonsense; then each relay has ended its sessions, or k_leave has passed and the
// process ends as it is.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <uv.h>

#include "core/delivery.h"
#include "core/result.h"
#include "mail/agent/loop_handles.h"
#include "mail/channel/frame_socket.h"
#include "mail/smtp/relay.h"

namespace mailotp::mail {

using RelayFactory = std::function<std::unique_ptr<Relay>(
    core::RelaySettings settings, const core::Hello& hello, uv_loop_t* loop, FactSink& facts)>;

class Agent final : private FactSink {
 public:
  static constexpr core::Millis k_leave{250};  // for the relays to end, when nobody listens any more
  static constexpr int k_exit_left_open = 6;   // … and they did not

  // Answers the hello and makes the relays. `channel` may hold orders that came with the hello.
  Agent(uv_loop_t* loop, std::unique_ptr<channel::FrameSocket> channel, core::Hello hello,
        core::Confinement confinement, const RelayFactory& make_relay);
  // After the loop has run dry.
  ~Agent() override;
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  // Why it ended, after the loop has run dry: nullopt for a Drain or the end of the channel.
  [[nodiscard]] const std::optional<core::Error>& fault() const { return fault_; }

 private:
  void report(core::Fact fact) override;
  void on_channel(int events);
  void on_turn();
  void take_orders();
  void obey(std::string_view frame);
  void obey(core::Order order);
  void submit(core::Job job);
  void drain(core::Millis grace);
  void relay_drained();
  void daemon_gone(std::optional<core::Error> fault);
  void watch();
  void end();

  uv_loop_t* loop_;
  std::unique_ptr<channel::FrameSocket> channel_;
  std::map<std::string, std::unique_ptr<Relay>, std::less<>> relays_;
  std::optional<Poll> poll_;
  std::optional<Timer> turn_;   // fires in the next turn of the loop
  std::optional<Timer> leave_;  // armed when the daemon has gone
  std::optional<core::Error> fault_;
  bool draining_ = false;
  bool gone_ = false;  // the daemon
  std::size_t relays_to_drain_ = 0;
};

}  // namespace mailotp::mail
