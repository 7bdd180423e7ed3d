// The daemon's end of a channel to a real agent process: starts mailotp-smtp as the supervisor does and talks
// to it, blocking, with a bound on every wait.
#pragma once

#include <array>
#include <cerrno>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mail/channel/codec.h"
#include "mail/channel/frame_socket.h"

namespace mailotp::testing {

inline constexpr int k_bound_ms = 20'000;

class AgentPeer {
 public:
  // `lock`: the lock file. `inherited`: further descriptors that the agent gets, by their own numbers.
  AgentPeer(const std::string& lock, const std::vector<int>& inherited = {}) {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    const int lock_file = ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(lock_file >= 0);
    std::array<std::string, 5> words{AGENT_PROGRAM, "--channel", "3", "--lock", "4"};
    std::array<char*, 6> arguments{};
    for (std::size_t i = 0; i < words.size(); ++i)
      arguments[i] = words[i].data();
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      // Out of the way first: the two may be 3 and 4 in the wrong order.
      const int channel_copy = ::fcntl(ends[1], F_DUPFD, 100);
      const int lock_copy = ::fcntl(lock_file, F_DUPFD, 100);
      (void)::dup2(channel_copy, 3);
      (void)::dup2(lock_copy, 4);
      (void)::close(channel_copy);
      (void)::close(lock_copy);
      for (const int descriptor : inherited)
        (void)::fcntl(descriptor, F_SETFD, 0);
      ::execv(AGENT_PROGRAM, arguments.data());
      ::_exit(127);
    }
    (void)::close(ends[1]);
    (void)::close(lock_file);
    pidfd_ = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
    REQUIRE(pidfd_ >= 0);
    channel_ = std::make_unique<channel::FrameSocket>(ends[0], channel::k_max_fact);
  }
  ~AgentPeer() {
    if (pid_ > 0) {
      (void)::kill(pid_, SIGKILL);
      (void)::waitpid(pid_, nullptr, 0);
    }
    (void)::close(pidfd_);
  }
  AgentPeer(const AgentPeer&) = delete;
  AgentPeer& operator=(const AgentPeer&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }

  void say(core::Order order) {
    auto frame = channel::encode(order);
    REQUIRE(frame);
    channel_->send(std::move(*frame));
    channel_->flush_all();
  }
  void say_bytes(std::string bytes) {
    channel_->send(core::Secret(std::move(bytes)));
    channel_->flush_all();
  }
  void hang_up() { channel_.reset(); }

  // The next frame; nullopt: the channel has ended.
  std::optional<std::string> next_frame() {
    while (true) {
      auto frame = channel_->next();
      REQUIRE(frame);
      if (*frame) return std::string(**frame);
      pollfd wait{channel_->descriptor(), POLLIN, 0};
      REQUIRE(::poll(&wait, 1, k_bound_ms) == 1);
      if (channel_->receive() == channel::FrameSocket::Received::end) return std::nullopt;
    }
  }
  core::Fact next_fact() {
    const auto frame = next_frame();
    REQUIRE(frame);
    auto fact = channel::decode_fact(*frame);
    REQUIRE(fact);
    return std::move(*fact);
  }
  template <class T>
  T next() {
    core::Fact fact = next_fact();
    INFO("fact " << fact.index());
    REQUIRE(std::holds_alternative<T>(fact));
    return std::get<T>(std::move(fact));
  }

  // Waits for the end; the status as waitpid gives it.
  int wait() {
    pollfd ended{pidfd_, POLLIN, 0};
    REQUIRE(::poll(&ended, 1, k_bound_ms) == 1);
    int status = 0;
    REQUIRE(::waitpid(std::exchange(pid_, 0), &status, 0) > 0);
    return status;
  }
  // … of one that ended by itself.
  int exit_status() {
    const int status = wait();
    INFO("status " << status);
    REQUIRE(WIFEXITED(status));
    return WEXITSTATUS(status);
  }

 private:
  pid_t pid_ = 0;
  int pidfd_ = -1;
  std::unique_ptr<channel::FrameSocket> channel_;
};

}  // namespace mailotp::testing
