// The lock that shows that an agent lives: a flock on a file.
//
// The daemon takes it on an open file description of its own, hands that very description to the child and
// closes its copy. So there is no moment without a lock between the daemon's look and the agent's life; the
// lock outlives the daemon for as long as the agent does, and ends with the agent's last descriptor, however
// it dies. An agent writes "PID START-TIME" into the file (mail/agent/agent_lock.h).
#pragma once

#include <string>
#include <utility>

#include <sys/types.h>

#include "core/result.h"

namespace mailotp::daemon {

// Loop thread. Its calls touch a small local file and /proc, and do not wait.
class AgentLock {
 public:
  explicit AgentLock(std::string path) : path_(std::move(path)) {}
  ~AgentLock() { release(); }
  AgentLock(const AgentLock&) = delete;
  AgentLock& operator=(const AgentLock&) = delete;

  // True: it is ours now, and the file is empty. False: an agent lives. The file is made where it is missing,
  // with mode 0600. Errc::io.
  [[nodiscard]] core::Result<bool> try_take();
  // For the child, after try_take().
  [[nodiscard]] int descriptor() const { return descriptor_; }
  // Closes our copy: from here on the lock is the child's, if it has one.
  void release();

  // Sends SIGKILL to the process that the file names, through a pidfd, if that still is the one that wrote
  // the file (its start time says so) and is called as `program` is. Its pid. Errc::not_found: the file names
  // no such process. Errc::io.
  [[nodiscard]] core::Result<pid_t> kill_holder(const std::string& program);

 private:
  [[nodiscard]] core::Result<> open();

  std::string path_;
  int descriptor_ = -1;
};

}  // namespace mailotp::daemon
