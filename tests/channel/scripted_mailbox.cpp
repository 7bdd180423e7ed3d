// An IMAP agent as a hostile mail could make it. What it does is the word SCRIPT in its environment; it
// speaks by mail/channel like the real one, and blocks.
//
//   reader    opens the mailbox 7; when it is told to go on, it reads the mails after the one it is told, up
//             to 3, and reports as moved each that it is told to move
//   dies      as reader, but dies after it has announced mail 2
//   mixed     reads in every way that is not allowed, then mail 2 as it should
//   greedy    reads on without waiting for a decision
//   early     reads before it is told to go on
//   smtp      speaks of jobs
//   vanishes  announces mail 1, which is gone, says so, and dies
//   reopens   opens the mailbox again, with another uidvalidity, when it has read one mail
#include <cstdlib>
#include <string>
#include <string_view>
#include <variant>

#include <poll.h>
#include <unistd.h>

#include "mail/channel/frame_socket.h"
#include "mail/channel/mailbox_codec.h"

namespace mailotp {
namespace {

constexpr int k_channel = 3;
constexpr std::uint32_t k_mailbox = 7;

core::MailRead read_of(std::uint32_t uidvalidity, std::uint32_t uid) {
  core::MailRead read;
  read.mail = {uidvalidity, uid};
  read.size = 100 + uid;
  return read;
}

class Scripted {
 public:
  explicit Scripted(std::string_view script) : script_(script), channel_(k_channel, channel::k_max_frame) {}

  int run() {
    while (true) {
      auto frame = channel_.next();
      if (!frame) return 4;
      if (*frame) {
        if (const int status = on_frame(**frame); status >= 0) return status;
        continue;
      }
      pollfd wait{k_channel, POLLIN, 0};
      (void)::poll(&wait, 1, -1);
      if (channel_.receive() == channel::FrameSocket::Received::end) return 0;
    }
  }

 private:
  void say(const core::MailboxEvent& event) { say(channel::encode_mailbox_event(event)); }
  void say(std::string bytes) {
    channel_.send(core::Secret(std::move(bytes)));
    channel_.flush_all();
  }
  void read(std::uint32_t uid, std::uint32_t uidvalidity = k_mailbox) {
    say(core::MailNext{{uidvalidity, uid}});
    say(read_of(uidvalidity, uid));
  }

  // -1: go on; else the exit status.
  int on_frame(std::string_view frame) {
    if (frame.empty()) {
      say(channel::encode_beat());
      return -1;
    }
    auto order = channel::decode_mailbox_order(frame);
    if (!order) return 4;
    if (const auto* hello = std::get_if<core::MailboxHello>(&*order)) on_hello(*hello);
    if (const auto* resume = std::get_if<core::MailboxResume>(&*order)) return on_resume(*resume);
    if (const auto* decided = std::get_if<core::MailDecided>(&*order)) on_decided(*decided);
    if (const auto* set = std::get_if<core::SetMailboxPassword>(&*order))
      say(core::AgentLog{"event=password size=" + std::to_string(set->password.size())});
    if (std::holds_alternative<core::Drain>(*order)) return 0;
    return -1;
  }

  void on_hello(const core::MailboxHello& hello) {
    say(core::AgentReady{"scripted", ::getpid(), core::Confinement::full});
    say(core::AgentLog{"event=hello host=" + hello.mailbox.host});
    if (script_ == "smtp") say(channel::encode(core::Fact(core::JobRelayed{{{}, 1}, {250, "", ""}})));
    if (script_ == "early") read(1);
    say(core::MailboxFact{true, "", "", {}});
    say(core::MailboxOpened{k_mailbox, 4, 3});
    if (script_ == "early") read(2);
  }

  int on_resume(const core::MailboxResume& resume) {
    if (script_ == "mixed") on_resume_mixed();
    if (script_ == "greedy") {
      for (std::uint32_t uid = 1; uid < 10'000; ++uid)
        read(uid);
    }
    if (script_ == "vanishes") {
      say(core::MailNext{{k_mailbox, 1}});
      say(core::MailMoved{k_mailbox, {1}});
      return 9;
    }
    if (script_ == "reopens") {
      if (resume.uidvalidity != k_mailbox) return -1;
      read(1);
      say(core::MailboxOpened{k_mailbox + 1, 2, 1});
    }
    if (script_ != "reader" && script_ != "dies") return -1;
    for (const core::MailToMove& move : resume.moves)
      say(core::MailMoved{k_mailbox, {move.uid}});
    for (std::uint32_t uid = resume.after_uid + 1; uid <= 3; ++uid) {
      bool poison = false;
      for (const std::uint32_t bad : resume.poison)
        poison = poison || bad == uid;
      if (poison) continue;
      if (script_ == "dies" && uid == 2) {
        say(core::MailNext{{k_mailbox, uid}});
        return 9;
      }
      read(uid);
    }
    return -1;
  }

  void on_resume_mixed() {
    say(read_of(k_mailbox, 1));  // not announced
    say(core::MailNext{{k_mailbox, 1}});
    say(read_of(k_mailbox, 2));      // another than announced
    say(read_of(k_mailbox + 1, 1));  // of another mailbox
    say(core::MailMoved{k_mailbox + 1, {1}});
    say(core::MailboxFact{false, "fetch", "cut", {}});
    say(read_of(k_mailbox, 1));  // announced before the connection went
    read(2);
    read(2);  // it waits for its decision
    say(core::MailMoved{k_mailbox, {9}});
  }

  void on_decided(const core::MailDecided& decided) {
    say(core::AgentLog{"event=decided uid=" + std::to_string(decided.mail.uid) +
                       " fate=" + std::string(core::to_string(decided.fate))});
    if (decided.fate != core::MailFate::leave)
      say(core::MailMoved{decided.mail.uidvalidity, {decided.mail.uid}});
  }

  std::string_view script_;
  channel::FrameSocket channel_;
};

}  // namespace
}  // namespace mailotp

int main() {
  const char* script = std::getenv("SCRIPT");
  return mailotp::Scripted(script != nullptr ? script : "").run();
}
