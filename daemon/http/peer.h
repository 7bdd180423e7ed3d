// Who is at the other end of a connected Unix socket.
#pragma once

#include "daemon/http/message.h"

namespace mailotp::daemon {

// Of the process that called connect(2). What the kernel does not tell stays as it is made: no uid, no group.
[[nodiscard]] PeerCredentials credentials_of(int fd);

}  // namespace mailotp::daemon
