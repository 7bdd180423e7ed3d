// Listening Unix sockets as plain descriptors: made safely, or checked when they come from systemd.
#pragma once

#include <cstdint>
#include <string>

#include <sys/types.h>

#include "core/result.h"

namespace mailotp::daemon {

// As many as Linux allows by default (net.core.somaxconn): who finds the backlog full waits, or fails with
// EAGAIN when it does not block, and a crowd fills 1,024 places within two turns of a busy loop.
inline constexpr int k_listen_backlog = 4096;

// The file of a socket that we made: removed at the end, unless another process has put its own there since.
struct SocketFile {
  std::string path;  // empty: not ours to remove
  dev_t device = 0;
  ino_t inode = 0;
};
struct ListeningSocket {
  int fd = -1;  // owned by who gets it
  SocketFile file;
};

// See HttpServer::listen. Blocks for no longer than local system calls take.
[[nodiscard]] core::Result<ListeningSocket> make_listening_socket(const std::string& path, std::uint32_t mode,
                                                                  const std::string& group);
[[nodiscard]] core::Result<> check_listening_socket(int fd);
// To be called while the socket is still open: only so long is its inode number not given to another file.
void remove_socket_file(const SocketFile& file);

}  // namespace mailotp::daemon
