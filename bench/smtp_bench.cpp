// Sends mails through one relay as fast as it takes them, two handed out a connection as the daemon does, and
// prints one JSON object: messages, seconds, CPU microseconds a message. bench/smtp runs it.
//
//   smtp-bench PORT none|starttls|implicit CONNECTIONS MESSAGES BYTES [CA_FILE SERVER_NAME USER PASSWORD]
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include <sys/resource.h>
#include <uv.h>

#include "core/check.h"
#include "mail/agent/loop_handles.h"
#include "mail/smtp/network_relay.h"

namespace mailotp::mail {
namespace {

std::string mail_of(std::uint64_t number, std::size_t bytes) {
  std::string mail =
      "Date: Thu, 1 Jan 2026 00:00:00 +0000\r\nFrom: bench@example.test\r\nTo: u@example.test\r\n"
      "Message-ID: <" +
      std::to_string(number) + "@bench>\r\nSubject: bench\r\n\r\n";
  const std::string line = "Your code is 123456. It is valid for ten minutes, and for nobody else.\r\n";
  while (mail.size() + line.size() <= bytes)
    mail += line;
  return mail;
}

double cpu_us() {
  rusage usage{};
  CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
  const auto us = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_usec);
  };
  return us(usage.ru_utime) + us(usage.ru_stime);
}

class Bench final : private FactSink {
 public:
  Bench(uv_loop_t* loop, core::RelaySettings settings, std::uint64_t messages, std::size_t bytes)
      : messages_(messages),
        bytes_(bytes),
        window_(2 * static_cast<std::uint64_t>(settings.max_connections)),
        next_(loop, [this] { send(); }),
        over_(loop, [this] { relay_.reset(); }) {
    core::Hello hello;
    hello.hostname = "bench.test";
    hello.dsn_notify = {"failure"};
    relay_ = make_network_relay(std::move(settings), hello, loop, *this, {});
  }

  void start() {
    started_ns_ = uv_hrtime();
    started_cpu_ = cpu_us();
    next_.start(core::Millis{0});
  }

  int print() const {
    const double seconds = static_cast<double>(ended_ns_ - started_ns_) / 1e9;
    const auto count = static_cast<double>(messages_);
    std::printf("{\"messages\":%.0f,\"seconds\":%.3f,\"per_second\":%.0f,\"cpu_us\":%.1f,\"failed\":%llu}\n",
                count, seconds, count / seconds, (ended_cpu_ - started_cpu_) / count,
                static_cast<unsigned long long>(failed_));
    return failed_ == 0 ? 0 : 1;
  }

 private:
  void report(core::Fact fact) override {
    const bool ended = std::holds_alternative<core::JobRelayed>(fact);
    const bool failed = std::holds_alternative<core::JobRefused>(fact) ||
                        std::holds_alternative<core::JobNotSent>(fact) ||
                        std::holds_alternative<core::JobUncertain>(fact);
    if (failed && failed_++ == 0)
      if (const auto* why = std::get_if<core::JobNotSent>(&fact))
        std::fprintf(stderr, "not sent: %s\n", why->reason.c_str());
    if (!ended && !failed) return;
    if (++done_ < messages_) return next_.start(core::Millis{0});
    ended_ns_ = uv_hrtime();
    ended_cpu_ = cpu_us();
    relay_->drain(core::Millis{1000}, [this] { over_.start(core::Millis{0}); });
  }

  void send() {
    while (sent_ < messages_ && sent_ - done_ < window_) {
      ++sent_;
      core::Job job;
      for (std::size_t i = 0; i < 8; ++i)
        job.key.message.bytes[15 - i] = static_cast<std::uint8_t>(sent_ >> (8 * i));
      job.relay = "bench";
      job.return_path = "bounces@example.test";
      job.recipient = "u@example.test";
      job.envid = std::to_string(sent_);
      job.time_left = core::Millis{600'000};
      job.content = core::Secret(mail_of(sent_, bytes_));
      relay_->submit(std::move(job));
    }
  }

  std::uint64_t messages_;
  std::size_t bytes_;
  std::uint64_t window_;
  Timer next_;
  Timer over_;
  std::unique_ptr<Relay> relay_;
  std::uint64_t sent_ = 0;
  std::uint64_t done_ = 0;
  std::uint64_t failed_ = 0;
  std::uint64_t started_ns_ = 0;
  std::uint64_t ended_ns_ = 0;
  double started_cpu_ = 0;
  double ended_cpu_ = 0;
};

core::TlsMode tls_of(std::string_view name) {
  if (name == "starttls") return core::TlsMode::starttls;
  return name == "implicit" ? core::TlsMode::implicit : core::TlsMode::none;
}

int run(int count, char** words) {
  if (count != 6 && count != 10) {
    std::fprintf(stderr, "usage: smtp-bench PORT TLS CONNECTIONS MESSAGES BYTES [CA NAME USER PASSWORD]\n");
    return 2;
  }
  core::RelaySettings settings;
  settings.name = "bench";
  settings.host = "127.0.0.1";
  settings.port = static_cast<std::uint16_t>(std::strtoul(words[1], nullptr, 10));
  settings.tls = tls_of(words[2]);
  settings.max_connections = std::atoi(words[3]);
  if (count == 10) {
    settings.ca_file = words[6];
    settings.server_name = words[7];
    settings.username = words[8];
    settings.password = core::Secret(words[9]);
  }
  uv_loop_t loop;
  CHECK(uv_loop_init(&loop) == 0);
  int result = 0;
  {
    auto bench = std::make_unique<Bench>(&loop, std::move(settings), std::strtoull(words[4], nullptr, 10),
                                         std::strtoull(words[5], nullptr, 10));
    bench->start();
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    result = bench->print();
  }
  CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
  CHECK(uv_loop_close(&loop) == 0);
  return result;
}

}  // namespace
}  // namespace mailotp::mail

int main(int argc, char** argv) {
  (void)std::signal(SIGPIPE, SIG_IGN);
  return mailotp::mail::run(argc, argv);
}
