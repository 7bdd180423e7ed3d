// Whose turn it is: the connections with input to be looked at, one of each uid after the other, for a short
// time in each turn of the loop. So a uid with thousands of busy connections delays its own, and the others
// by a few milliseconds. Private to the server. Loop thread only.
#pragma once

#include <deque>
#include <functional>
#include <list>
#include <unordered_map>

#include <sys/types.h>
#include <uv.h>

namespace mailotp::daemon {

class Connection;

class Turns {
 public:
  using Queue = std::list<Connection*>;
  using Place = Queue::iterator;

  // `take` looks at one connection, which is in no queue then. It may add and remove any.
  Turns(uv_loop_t* loop, std::function<void(Connection&)> take);
  Turns(const Turns&) = delete;
  Turns& operator=(const Turns&) = delete;
  // close() must have ended, if ever anybody was added.
  ~Turns();

  // Behind all others of `uid`. The place is good until take() or remove().
  [[nodiscard]] Place add(uid_t uid, Connection& connection);
  void remove(uid_t uid, Place place);
  // Nobody has a place any more. `done` runs once the loop has let go, perhaps before close returns; this may
  // be destroyed in it.
  void close(std::function<void()> done);

 private:
  void run();

  uv_loop_t* loop_;
  std::function<void(Connection&)> take_;
  std::function<void()> closed_;
  uv_idle_t idle_{};
  bool open_ = false;  // idle_ is
  std::unordered_map<uid_t, Queue> queues_;
  std::deque<uid_t> order_;  // those in queues_, each once
};

}  // namespace mailotp::daemon
