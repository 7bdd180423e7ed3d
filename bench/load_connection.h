// One keep-alive connection of the load generator: sends a request, reads its answer. One request at a time.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include "core/result.h"

namespace mailotp::bench {

struct Answer {
  int status = 0;
  std::string location;  // of the header, or empty
};

class LoadConnection {
 public:
  LoadConnection() = default;
  LoadConnection(const LoadConnection&) = delete;
  LoadConnection& operator=(const LoadConnection&) = delete;
  ~LoadConnection() { close(); }

  // Connects; blocks while the server's queue is full. Errc::unavailable.
  [[nodiscard]] core::Result<> open(const std::string& socket_path);
  void close();
  [[nodiscard]] int descriptor() const { return fd_; }

  // Sends all of it; blocks when the kernel does not take it, which a request of this size does not meet.
  // False: the connection is lost.
  [[nodiscard]] bool send(std::string_view request);
  enum class Progress { pending, answered, lost };
  // Reads what there is. `answered`: `answer` is the whole answer. `lost`: closed, or no HTTP.
  [[nodiscard]] Progress receive(Answer& answer);

 private:
  [[nodiscard]] Progress parse(Answer& answer);

  int fd_ = -1;
  std::string input_;
};

}  // namespace mailotp::bench
