// Our connect(2), read(2), write(2) and poll(2): libesmtp's socket is none, it is an object of ours.
#pragma once

#include <cstddef>
#include <string_view>

namespace mailotp::mail {

// What stands for a socket. Called only by the code that runs between set_stand_in() and its revocation.
class StandIn {
 public:
  virtual ~StandIn() = default;
  // Takes all of it, or false: the other side is gone.
  virtual bool write(std::string_view bytes) = 0;
  // Waits for at least a byte; 0: the other side is gone.
  virtual std::size_t read(char* bytes, std::size_t size) = 0;
  // Whether read() would not wait.
  virtual bool readable() = 0;
  // Until readable().
  virtual void wait() = 0;

  // The descriptor whose connect() was ours; -1 before.
  int descriptor = -1;
};

// From now on the calling thread's first connect() makes its descriptor stand for `one`, and what is done
// with that descriptor is done with it. Null: nothing of it is ours any more. Linking this function links the
// override of the whole program. The one before is returned.
StandIn* set_stand_in(StandIn* one);

}  // namespace mailotp::mail
