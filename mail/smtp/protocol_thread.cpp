#include "mail/smtp/protocol_thread.h"

#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>

#include <libesmtp.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/check.h"
#include "mail/smtp/connect_override.h"

namespace mailotp::mail {

namespace {

struct SessionDestroy {
  void operator()(smtp_session* session) const noexcept { smtp_destroy_session(session); }
};
using SessionPtr = std::unique_ptr<smtp_session, SessionDestroy>;

// Never dialled: numeric, so that libesmtp resolves nothing.
constexpr const char* k_server = "127.0.0.1:25";

}  // namespace

// One libesmtp session. Messages are added while it runs, from its event callback, and only where it has not
// yet chosen the next one: after a refused MAIL, and after the dot.
class ProtocolThread::Session {
 public:
  using Source = std::function<bool(OutgoingMessage&)>;

  Session(const std::string& hostname, Source source) : source_(std::move(source)) {
    session_.reset(smtp_create_session());
    CHECK(session_ != nullptr);
    CHECK(smtp_set_server(session_.get(), k_server) != 0);
    CHECK(smtp_set_hostname(session_.get(), hostname.c_str()) != 0);
    CHECK(smtp_set_eventcb(session_.get(), &Session::on_event, this) != 0);
  }

  void run(int descriptor, OutgoingMessage first) {
    add(std::move(first));
    give_to_next_connect(descriptor);
    // The result says nothing: what happened is in the replies, which the Conversation reads.
    (void)smtp_start_session(session_.get());
    forget_next_connect();
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
      CHECK(!connect_still_waits());
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

  Source source_;
  SessionPtr session_;
  Content content_;
};

ProtocolThread::ProtocolThread(const std::string& name, std::string hostname)
    : hostname_(std::move(hostname)), thread_([this, name] { run(name); }) {}

ProtocolThread::~ProtocolThread() {
  give(Quit{});
  thread_.join();
  for (const Order& order : orders_)
    if (const auto* begin = std::get_if<Begin>(&order)) ::close(begin->descriptor);
}

void ProtocolThread::begin(int descriptor, OutgoingMessage first) {
  give(Begin{descriptor, std::move(first)});
}

void ProtocolThread::next(OutgoingMessage message) {
  give(std::move(message));
}

void ProtocolThread::end() {
  give(End{});
}

void ProtocolThread::give(Order order) {
  {
    const std::lock_guard lock(mutex_);
    orders_.push_back(std::move(order));
  }
  arrived_.notify_one();
}

ProtocolThread::Order ProtocolThread::take() {
  std::unique_lock lock(mutex_);
  arrived_.wait(lock, [this] { return !orders_.empty(); });
  Order order = std::move(orders_.front());
  orders_.pop_front();
  return order;
}

bool ProtocolThread::take_message(OutgoingMessage& message) {
  std::unique_lock lock(mutex_);
  arrived_.wait(lock, [this] { return !orders_.empty(); });
  Order& order = orders_.front();
  if (auto* next = std::get_if<OutgoingMessage>(&order)) {
    message = std::move(*next);
    orders_.pop_front();
    return true;
  }
  // A Begin or Quit is for run(): the loop has given this session up.
  if (std::holds_alternative<End>(order)) orders_.pop_front();
  return false;
}

void ProtocolThread::run(const std::string& name) {
  (void)pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());  // for people only
  while (true) {
    Order order = take();
    if (std::holds_alternative<Quit>(order)) return;
    // What is neither was meant for a session that ended first.
    auto* begin = std::get_if<Begin>(&order);
    if (begin == nullptr) continue;
    Session session(hostname_, [this](OutgoingMessage& message) { return take_message(message); });
    session.run(begin->descriptor, std::move(begin->first));
  }
}

void ProtocolThread::prove() {
  static constexpr std::string_view k_replies =
      "220 a\r\n250 b\r\n"
      "250 c\r\n250 d\r\n354 e\r\n250 f\r\n"
      "250 g\r\n250 h\r\n354 i\r\n250 j\r\n"
      "221 k\r\n";
  static constexpr std::string_view k_mail =
      "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\nFrom: a@example.org\r\nTo: b@example.org\r\n"
      "Message-ID: <1@example.org>\r\n\r\n.\r\n";
  static constexpr std::string_view k_transaction =
      "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n";

  int pair[2];
  CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
  CHECK(::write(pair[0], k_replies.data(), k_replies.size()) == static_cast<ssize_t>(k_replies.size()));
  int messages = 0;
  const auto source = [&messages](OutgoingMessage& message) {
    message.return_path = "a@example.org";
    message.recipient = "b@example.org";
    message.content = core::Secret(std::string(k_mail));
    return ++messages <= 2;
  };
  OutgoingMessage first;
  CHECK(source(first));
  Session("self.test", source).run(pair[1], std::move(first));

  std::string said(4096, '\0');
  const ssize_t length = ::recv(pair[0], said.data(), said.size(), MSG_DONTWAIT);
  ::close(pair[0]);
  std::string expected = "EHLO self.test\r\n";
  for (int i = 0; i < 2; ++i)
    expected.append(k_transaction).append(k_mail.substr(0, k_mail.size() - 3)).append("..\r\n.\r\n");
  expected += "QUIT\r\n";
  CHECK(length > 0 && said.substr(0, static_cast<std::size_t>(length)) == expected);
}

}  // namespace mailotp::mail
