#include "mail/smtp/engine.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstring>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>

#include <libesmtp.h>

#include "core/check.h"

namespace mailotp::mail {

namespace {

struct SessionDestroy {
  void operator()(smtp_session* session) const noexcept { smtp_destroy_session(session); }
};
using SessionPtr = std::unique_ptr<smtp_session, SessionDestroy>;

// Never dialled: numeric, so that libesmtp resolves nothing.
constexpr const char* k_server = "127.0.0.1:25";

// It pauses when it has said this much: its mail is not to be in memory twice.
constexpr std::size_t k_said_bytes = 16 * 1024;

}  // namespace

// One libesmtp session. Messages are added while it runs, from its event callback, and only where it has not
// yet chosen the next one: after a refused MAIL, and after the dot.
class Engine::Session {
 public:
  using Source = std::function<bool(OutgoingMessage&)>;

  Session(const std::string& hostname, const StandIn& socket, Source source)
      : socket_(socket), source_(std::move(source)) {
    session_.reset(smtp_create_session());
    CHECK(session_ != nullptr);
    CHECK(smtp_set_server(session_.get(), k_server) != 0);
    CHECK(smtp_set_hostname(session_.get(), hostname.c_str()) != 0);
    CHECK(smtp_set_eventcb(session_.get(), &Session::on_event, this) != 0);
  }

  // Why it had no socket, or nothing.
  std::string run(OutgoingMessage first) {
    add(std::move(first));
    // The result says nothing: what happened is in the replies, which the Conversation reads.
    (void)smtp_start_session(session_.get());
    if (socket_.descriptor >= 0) return "";
    std::array<char, 128> text{};
    return smtp_strerror(smtp_errno(), text.data(), text.size());
  }

 private:
  struct Content {
    core::Secret bytes;
    enum class Given { no, yes } given = Given::no;
  };

  void add(OutgoingMessage message) {
    const smtp_message_t added = smtp_add_message(session_.get());
    CHECK(added != nullptr);
    CHECK(smtp_set_reverse_path(added, message.return_path.c_str()) != 0);
    const smtp_recipient_t recipient = smtp_add_recipient(added, message.recipient.c_str());
    CHECK(recipient != nullptr);
    if (message.dsn == OutgoingMessage::Dsn::on) set_dsn(added, recipient, message);
    if (message.body == OutgoingMessage::Body::eight_bit)
      CHECK(smtp_8bitmime_set_body(added, E8bitmime_8BITMIME) != 0);
    if (message.size_parameter == OutgoingMessage::Size::declared)
      CHECK(smtp_size_set_estimate(added, message.content.size()) != 0);
    // Only the newest message is ever read; the one before has ended.
    content_ = {std::move(message.content), Content::Given::no};
    CHECK(smtp_set_messagecb(added, &Session::on_content, &content_) != 0);
  }

  static void set_dsn(smtp_message_t message, smtp_recipient_t recipient, const OutgoingMessage& wanted) {
    CHECK(smtp_dsn_set_ret(message, Ret_HDRS) != 0);
    if (!wanted.envid.empty()) CHECK(smtp_dsn_set_envid(message, wanted.envid.c_str()) != 0);
    if (wanted.notify != 0)
      CHECK(smtp_dsn_set_notify(recipient, static_cast<notify_flags>(wanted.notify)) != 0);
    if (!wanted.orcpt.empty()) CHECK(smtp_dsn_set_orcpt(recipient, "rfc822", wanted.orcpt.c_str()) != 0);
  }

  // Length null: rewind. libesmtp takes a stale errno for a fault of ours.
  static const char* on_content(void**, int* length, void* argument) noexcept {
    auto* content = static_cast<Content*>(argument);
    errno = 0;
    if (length == nullptr) {
      content->given = Content::Given::no;
      return nullptr;
    }
    const bool first = std::exchange(content->given, Content::Given::yes) == Content::Given::no;
    *length = first ? static_cast<int>(content->bytes.size()) : 0;
    return first ? content->bytes.reveal().data() : nullptr;
  }

  static void on_event(smtp_session_t, int event, void* argument, ...) noexcept {
    auto* self = static_cast<Session*>(argument);
    if (event == SMTP_EV_CONNECT) {
      // The greeting would come from a socket that is not ours.
      CHECK(self->socket_.descriptor >= 0);
      return;
    }
    smtp_message_t message = nullptr;
    if (event == SMTP_EV_MAILSTATUS || event == SMTP_EV_MESSAGESENT) {
      va_list arguments;
      va_start(arguments, argument);
      if (event == SMTP_EV_MAILSTATUS) (void)va_arg(arguments, const char*);  // the return path
      message = va_arg(arguments, smtp_message_t);
      va_end(arguments);
    }
    if (event == SMTP_EV_MAILSTATUS) {
      const smtp_status_t* status = smtp_reverse_path_status(message);
      if (status != nullptr && status->code / 100 != 2) self->add_next();
    } else if (event == SMTP_EV_MESSAGESENT) {
      self->add_next();
    }
  }

  void add_next() {
    OutgoingMessage message;
    if (source_(message)) add(std::move(message));
  }

  const StandIn& socket_;
  Source source_;
  SessionPtr session_;
  Content content_;
};

Engine::Engine(std::string hostname)
    : hostname_(std::move(hostname)), fiber_([this] {
        Session session(hostname_, *this, [this](OutgoingMessage& message) { return take_message(message); });
        OutgoingMessage first;
        if (take_message(first)) fault_ = session.run(std::move(first));
      }) {
  said_.reserve(2 * k_said_bytes);
}

Engine::~Engine() {
  end();
  forget_said();
}

void Engine::send(OutgoingMessage message) {
  CHECK(!next_);
  next_ = std::move(message);
}

bool Engine::can_run() const {
  return !over() && !ended_ && (next_ || read_ < heard_.size() || full_);
}

std::string_view Engine::run() {
  forget_said();
  if (can_run()) resume();
  return said_;
}

void Engine::forget_said() {
  ::explicit_bzero(said_.data(), said_.size());
  said_.clear();
}

void Engine::end() {
  if (std::exchange(ended_, true) || over()) return;
  // It meets the end of its socket and of its messages wherever it waits.
  resume();
  CHECK(over());
}

void Engine::resume() {
  StandIn* before = set_stand_in(this);
  full_ = false;
  fiber_.resume();
  set_stand_in(before);
}

// ---- On libesmtp's stack

bool Engine::take_message(OutgoingMessage& message) {
  while (!ended_ && !next_)
    fiber_.pause();
  if (ended_) return false;
  message = *std::exchange(next_, std::nullopt);
  return true;
}

bool Engine::write(std::string_view bytes) {
  if (ended_) return false;
  said_ += bytes;
  if (said_.size() < k_said_bytes) return true;
  full_ = true;
  fiber_.pause();
  return !ended_;
}

std::size_t Engine::read(char* bytes, std::size_t size) {
  wait();
  const std::size_t count = ended_ ? 0 : std::min(size, heard_.size() - read_);
  std::memcpy(bytes, heard_.data() + read_, count);
  read_ += count;
  if (read_ == heard_.size()) {
    heard_.clear();
    read_ = 0;
  }
  return count;
}

bool Engine::readable() {
  return ended_ || read_ < heard_.size();
}

void Engine::wait() {
  while (!readable())
    fiber_.pause();
}

void Engine::prove() {
  static constexpr std::string_view k_replies =
      "220 a\r\n250 b\r\n"
      "250 c\r\n250 d\r\n354 e\r\n250 f\r\n"
      "250 g\r\n250 h\r\n354 i\r\n250 j\r\n";
  static constexpr std::string_view k_mail =
      "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\nFrom: a@example.org\r\nTo: b@example.org\r\n"
      "Message-ID: <1@example.org>\r\n\r\n.\r\n";
  static constexpr std::string_view k_transaction =
      "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n";

  Engine engine("self.test");
  engine.hear(k_replies);
  std::string said;
  for (int messages = 0; messages < 2; ++messages) {
    OutgoingMessage message;
    message.return_path = "a@example.org";
    message.recipient = "b@example.org";
    message.content = core::Secret(std::string(k_mail));
    engine.send(std::move(message));
    while (engine.can_run())
      said += engine.run();
  }
  std::string expected = "EHLO self.test\r\n";
  for (int i = 0; i < 2; ++i)
    expected.append(k_transaction).append(k_mail.substr(0, k_mail.size() - 3)).append("..\r\n.\r\n");
  CHECK(said == expected);
}

}  // namespace mailotp::mail
