#include "daemon/agents/agent_process.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/check.h"
#include "core/crash_point.h"
#include "mail/channel/codec.h"

namespace mailotp::daemon {
namespace {

// Between the end of the channel and the end of the process, whichever comes first. An agent without a
// channel is of no use; and what one that is dead left running may keep the channel open, but has nothing to
// say.
constexpr core::Millis k_between_ends{1000};

}  // namespace

struct AgentProcess::Handles {
  uv_process_t process{};
  uv_poll_t poll{};
  int open = 0;
  AgentProcess* owner = nullptr;

  static void close(uv_handle_t* handle) noexcept {
    uv_close(handle, [](uv_handle_t* closed) {
      auto* handles = static_cast<Handles*>(closed->data);
      if (--handles->open == 0) delete handles;
    });
  }
};

AgentProcess::AgentProcess(uv_loop_t* loop, int channel, Owner& owner)
    : owner_(owner),
      channel_(channel, channel::k_max_fact),
      handles_(new Handles),
      flush_(loop, [this] { flush(); }),
      between_ends_(loop, [this] {
        kill();
        reading_ = false;
        end_if_gone();
      }) {
  handles_->owner = this;
  handles_->process.data = handles_;
  handles_->poll.data = handles_;
  CHECK(uv_poll_init(loop, &handles_->poll, channel) == 0);
  handles_->open = 1;
}

AgentProcess::~AgentProcess() {
  handles_->owner = nullptr;
  // uv_spawn() makes the handle even when it fails.
  if (handles_->open == 2) Handles::close(reinterpret_cast<uv_handle_t*>(&handles_->process));
  Handles::close(reinterpret_cast<uv_handle_t*>(&handles_->poll));
  if (pidfd_ >= 0) (void)::close(pidfd_);
}

core::Result<std::unique_ptr<AgentProcess>> AgentProcess::spawn(uv_loop_t* loop, const std::string& program,
                                                                const std::vector<std::string>& environment,
                                                                int lock, Owner& owner) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
    return core::fail(core::Errc::unavailable, std::string("socketpair: ") + std::strerror(errno));
  std::unique_ptr<AgentProcess> agent(new AgentProcess(loop, ends[0], owner));

  std::array<std::string, 5> words{program, "--channel", "3", "--lock", "4"};
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  std::vector<std::string> settings = environment;
  std::vector<char*> variables;
  variables.reserve(settings.size() + 1);
  for (std::string& setting : settings)
    variables.push_back(setting.data());
  variables.push_back(nullptr);
  std::array<uv_stdio_container_t, 5> descriptors{};
  descriptors[0].flags = UV_IGNORE;
  constexpr std::array k_inherited{STDERR_FILENO, STDERR_FILENO};
  for (std::size_t i = 1; i < descriptors.size(); ++i) {
    descriptors[i].flags = UV_INHERIT_FD;
    descriptors[i].data.fd = i <= k_inherited.size() ? k_inherited[i - 1] : i == 3 ? ends[1] : lock;
  }
  uv_process_options_t options{};
  options.file = program.c_str();
  options.args = arguments.data();
  options.env = variables.data();
  options.stdio = descriptors.data();
  options.stdio_count = static_cast<int>(descriptors.size());
  options.exit_cb = [](uv_process_t* process, std::int64_t status, int signal) noexcept {
    AgentProcess* self = static_cast<Handles*>(process->data)->owner;
    if (self != nullptr) self->on_exit({status, signal});
  };
  const int spawned = uv_spawn(loop, &agent->handles_->process, &options);
  agent->handles_->open = 2;
  (void)::close(ends[1]);  // the child has its own
  if (spawned != 0) return core::fail(core::Errc::unavailable, program + ": " + uv_strerror(spawned));
  // Nobody has waited for the child yet, so its pid is its own.
  agent->pidfd_ = static_cast<int>(::syscall(SYS_pidfd_open, agent->pid(), 0));
  agent->watch();
  return agent;
}

int AgentProcess::pid() const {
  return uv_process_get_pid(&handles_->process);
}

void AgentProcess::send(core::Secret frame) {
  channel_.send(std::move(frame));
  flush_.start(core::Millis{0});
}

void AgentProcess::flush() {
  flush_.stop();
  channel_.flush();
  MAILOTP_CRASH_POINT("handed_over");
  watch();
}

void AgentProcess::kill() {
  if (exited_) return;
  if (pidfd_ >= 0)
    (void)::syscall(SYS_pidfd_send_signal, pidfd_, SIGKILL, nullptr, 0);  // it may be dying already
  else
    (void)uv_process_kill(&handles_->process, SIGKILL);  // no descriptor was left for a pidfd
}

void AgentProcess::watch() {
  int events = 0;
  if (reading_) events |= UV_READABLE;
  if (reading_ && channel_.waiting() > 0) events |= UV_WRITABLE;
  // libuv takes the descriptor out of epoll and puts it in again, whatever it was watched for.
  if (events == watched_) return;
  watched_ = events;
  const int watching =
      uv_poll_start(&handles_->poll, events, [](uv_poll_t* poll, int status, int seen) noexcept {
        AgentProcess* self = static_cast<Handles*>(poll->data)->owner;
        if (self != nullptr) self->on_channel(status, seen);
      });
  CHECK(watching == 0);
}

void AgentProcess::on_channel(int status, int events) {
  using Received = channel::FrameSocket::Received;
  if (status < 0) {
    // It died and left orders unread, which libuv reports as an error; what it said before is still here.
    while (reading_ && channel_.receive() == Received::some)
      take_frames();
    reading_ = false;
  } else if ((events & UV_READABLE) != 0) {
    const Received received = channel_.receive();
    if (received == Received::some) take_frames();
    if (received == Received::end) reading_ = false;
  }
  channel_.flush();
  watch();
  if (!reading_ && !exited_) between_ends_.start(k_between_ends);
  end_if_gone();
}

void AgentProcess::take_frames() {
  while (reading_) {
    auto frame = channel_.next();
    if (!frame) {
      reading_ = false;
      kill();
      owner_.on_nonsense(frame.error());
    } else if (*frame) {
      owner_.on_frame(**frame);
    } else {
      return;
    }
  }
}

void AgentProcess::on_exit(const AgentExit& exit) {
  exited_ = true;
  exit_ = exit;
  between_ends_.start(k_between_ends);
  end_if_gone();
}

void AgentProcess::end_if_gone() {
  if (exited_ && !reading_) owner_.on_gone(exit_);
}

}  // namespace mailotp::daemon
