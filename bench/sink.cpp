// bench-sink: a relay that takes every mail at once, or after a given time, and notes when.
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/sink_session.h"
#include "core/result.h"

namespace mailotp::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* k_description =
    "An SMTP server on 127.0.0.1 that takes every mail and keeps none, on one thread. Writes its port to "
    "standard\n"
    "output, then {\"mails\":N}, with what it has taken so far, at SIGUSR1 and when it is ended by SIGTERM "
    "or SIGINT.\n"
    "With --stamps a line `address<TAB>nanoseconds` for each recipient since the last signal is in the file "
    "by then:\n"
    "CLOCK_MONOTONIC when the 250 after the final dot was written.";

struct Options {
  std::uint16_t port = 0;
  int delay_ms = 0;
  std::string stamps;
};

struct Stamp {
  std::string recipient;
  Clock::time_point written;
};

struct Connection {
  explicit Connection(int descriptor) : fd(descriptor) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { (void)::close(fd); }

  // Blocks when the kernel does not take it, which replies do not meet. False: the peer is gone.
  [[nodiscard]] bool write(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  int fd;
  SinkSession session;
  bool waits = false;  // its last mail's 250 is not due yet
};

tl::unexpected<core::Error> failed(const char* call) {
  return core::fail(core::Errc::io, fmt::format("{}: {}", call, std::strerror(errno)));
}

class Sink {
 public:
  explicit Sink(const Options& options) : options_(options), delay_(options.delay_ms) {}
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;
  ~Sink() {
    for (const int fd : {epoll_, listener_, signals_})
      if (fd >= 0) (void)::close(fd);
  }

  // The port, once it listens.
  core::Result<std::uint16_t> open() {
    epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ < 0) return failed("epoll_create1");
    sigset_t caught;
    sigemptyset(&caught);
    for (const int number : {SIGTERM, SIGINT, SIGUSR1})
      sigaddset(&caught, number);
    if (::sigprocmask(SIG_BLOCK, &caught, nullptr) != 0) return failed("sigprocmask");
    signals_ = ::signalfd(-1, &caught, SFD_CLOEXEC);
    if (signals_ < 0 || !watch(signals_, k_signals)) return failed("signalfd");
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int on = 1;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(options_.port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const plain = reinterpret_cast<sockaddr*>(&address);
    if (listener_ < 0 || ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        ::bind(listener_, plain, size) != 0 || ::listen(listener_, SOMAXCONN) != 0 ||
        ::getsockname(listener_, plain, &size) != 0 || !watch(listener_, k_listener)) {
      return failed("listen");
    }
    return ntohs(address.sin_port);
  }

  core::Result<> run() {
    std::array<epoll_event, 256> events{};
    while (!ended_) {
      const int count =
          ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), until_next_reply());
      if (count < 0 && errno != EINTR) return failed("epoll_wait");
      for (int i = 0; i < count; ++i) {
        const std::uint64_t id = events[static_cast<std::size_t>(i)].data.u64;
        if (id == k_listener) {
          accept_all();
        } else if (id == k_signals) {
          if (auto told = hear_signal(); !told) return told;
        } else if (const auto found = connections_.find(id); found != connections_.end()) {
          if (!hear(id, *found->second)) connections_.erase(found);
        }
      }
      write_due_replies();
    }
    return {};
  }

 private:
  static constexpr std::uint64_t k_listener = 0;
  static constexpr std::uint64_t k_signals = 1;

  [[nodiscard]] bool watch(int fd, std::uint64_t id) const {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = id;
    return ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0;
  }

  void accept_all() {
    for (;;) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      auto connection = std::make_unique<Connection>(fd);
      const int on = 1;
      (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      if (watch(fd, ++last_id_) && connection->write(SinkSession::k_greeting)) {
        connections_.emplace(last_id_, std::move(connection));
      }
    }
  }

  // False: the connection is over.
  [[nodiscard]] bool hear(std::uint64_t id, Connection& connection) {
    for (;;) {
      const ssize_t got = ::recv(connection.fd, space_.data(), space_.size(), MSG_DONTWAIT);
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) return true;
      if (got <= 0) return false;
      connection.session.add({space_.data(), static_cast<std::size_t>(got)});
      if (!connection.waits && !go_on(id, connection)) return false;
      if (static_cast<std::size_t>(got) < space_.size()) return true;
    }
  }

  [[nodiscard]] bool go_on(std::uint64_t id, Connection& connection) {
    for (;;) {
      replies_.clear();
      const SinkSession::Step step = connection.session.go_on(replies_);
      if (!connection.write(replies_)) return false;
      switch (step) {
        case SinkSession::Step::starved:
          return true;
        case SinkSession::Step::over:
          return false;
        case SinkSession::Step::mail:
          break;
      }
      if (delay_.count() > 0) {
        connection.waits = true;
        due_.push_back({Clock::now() + delay_, id});
        return true;
      }
      if (!take(connection)) return false;
    }
  }

  [[nodiscard]] bool take(const Connection& connection) {
    if (!connection.write(SinkSession::k_taken)) return false;
    ++mails_;
    if (options_.stamps.empty()) return true;
    const Clock::time_point now = Clock::now();
    for (const std::string& recipient : connection.session.recipients())
      stamps_.push_back({recipient, now});
    return true;
  }

  // Milliseconds, rounded up: no reply comes early.
  [[nodiscard]] int until_next_reply() const {
    if (due_.empty()) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(due_.front().first - Clock::now());
    return left.count() > 0 ? static_cast<int>(left.count()) : 0;
  }

  void write_due_replies() {
    while (!due_.empty() && due_.front().first <= Clock::now()) {
      const std::uint64_t id = due_.front().second;
      due_.pop_front();
      const auto found = connections_.find(id);
      if (found == connections_.end()) continue;
      found->second->waits = false;
      if (!take(*found->second) || !go_on(id, *found->second)) connections_.erase(found);
    }
  }

  core::Result<> hear_signal() {
    signalfd_siginfo heard{};
    if (::read(signals_, &heard, sizeof heard) != sizeof heard) return failed("signalfd");
    ended_ = heard.ssi_signo != SIGUSR1;
    if (auto written = write_stamps(); !written) return written;
    fmt::print("{{\"mails\":{}}}\n", mails_);
    (void)std::fflush(stdout);
    return {};
  }

  core::Result<> write_stamps() {
    if (options_.stamps.empty()) return {};
    std::FILE* const file = std::fopen(options_.stamps.c_str(), stamps_written_ ? "a" : "w");
    if (file == nullptr) return failed("--stamps");
    for (const Stamp& stamp : stamps_)
      fmt::print(file, "{}\t{}\n", stamp.recipient,
                 std::chrono::nanoseconds(stamp.written.time_since_epoch()).count());
    if (std::fclose(file) != 0) return failed("--stamps");
    stamps_.clear();
    stamps_written_ = true;
    return {};
  }

  const Options& options_;
  const std::chrono::milliseconds delay_;
  int epoll_ = -1;
  int listener_ = -1;
  int signals_ = -1;
  std::uint64_t last_id_ = k_signals;
  std::unordered_map<std::uint64_t, std::unique_ptr<Connection>> connections_;
  std::deque<std::pair<Clock::time_point, std::uint64_t>> due_;  // one delay for all: in order
  std::array<char, 64 * 1024> space_{};
  std::string replies_;
  std::uint64_t mails_ = 0;
  std::vector<Stamp> stamps_;
  bool stamps_written_ = false;
  bool ended_ = false;
};

int serve(const Options& options) {
  Sink sink(options);
  const auto port = sink.open();
  if (!port) {
    fmt::print(stderr, "bench-sink: {}\n", port.error().what);
    return 1;
  }
  fmt::print("{}\n", *port);
  (void)std::fflush(stdout);
  if (const auto done = sink.run(); !done) {
    fmt::print(stderr, "bench-sink: {}\n", done.error().what);
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace mailotp::bench

int main(int argc, char** argv) {
  mailotp::bench::Options options;
  CLI::App app(mailotp::bench::k_description, "bench-sink");
  app.add_option("--port", options.port, "0: one that is free")->capture_default_str();
  app.add_option("--delay-ms", options.delay_ms, "between the final dot and its 250; other connections go on")
      ->check(CLI::Range(0, 600'000))
      ->capture_default_str();
  app.add_option("--stamps", options.stamps, "file for the times");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return mailotp::bench::serve(options);
}
