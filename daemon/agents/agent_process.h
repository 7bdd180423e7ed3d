// One life of an agent: a child process and our end of its channel. Loop thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <uv.h>

#include "core/result.h"
#include "core/secret.h"
#include "daemon/loop/handles.h"
#include "mail/channel/frame_socket.h"

namespace mailotp::daemon {

struct AgentExit {
  std::int64_t status = 0;
  int signal = 0;  // 0: it ended by itself
};

class AgentProcess {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // Without its length; empty: a beat. Valid during the call.
    virtual void on_frame(std::string_view frame) = 0;
    // What came is no frame: nothing more is read, and it is being killed.
    virtual void on_nonsense(const core::Error& error) = 0;
    // The process is dead and all that it ever said has been handed over. The last call; the AgentProcess may
    // be destroyed in it.
    virtual void on_gone(const AgentExit& exit) = 0;
  };

  // Starts `program --channel 3 --lock 4` with the whole of its environment, /dev/null as input and our
  // stderr as output. `lock` is copied into the child. Errc::unavailable.
  [[nodiscard]] static core::Result<std::unique_ptr<AgentProcess>> spawn(
      uv_loop_t* loop, const std::string& program, const std::vector<std::string>& environment, int lock,
      Owner& owner);
  // After on_gone(); the loop must run once more.
  ~AgentProcess();
  AgentProcess(const AgentProcess&) = delete;
  AgentProcess& operator=(const AgentProcess&) = delete;

  [[nodiscard]] int pid() const;
  // Frames of one turn of the loop leave together: at its end, or with flush().
  void send(core::Secret frame);
  void flush();
  // SIGKILL. on_gone() follows.
  void kill();

 private:
  struct Handles;

  AgentProcess(uv_loop_t* loop, int channel, Owner& owner);
  void watch();
  void on_channel(int status, int events);
  void take_frames();
  void on_exit(const AgentExit& exit);
  void end_if_gone();

  Owner& owner_;
  channel::FrameSocket channel_;
  Handles* handles_;  // frees itself in the last close callback
  Timer flush_;       // fires in the next turn of the loop
  Timer between_ends_;
  int watched_ = 0;  // libuv's events
  int pidfd_ = -1;
  bool reading_ = true;
  bool exited_ = false;
  AgentExit exit_;
};

}  // namespace mailotp::daemon
