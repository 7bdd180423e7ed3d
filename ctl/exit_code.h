// How mailotpctl ends; scripts rely on the numbers (sysexits.h where it has one).
#pragma once

#include <string>

#include <tl/expected.hpp>

namespace mailotp::ctl {

enum class ExitCode : int {
  done = 0,
  refused = 1,         // the daemon or this program said no
  usage = 2,           // the command line is wrong
  no_daemon = 69,      // nobody listens at the socket
  try_again = 75,      // overloaded, stopping, or the answer was lost
  no_permission = 77,  // this user may not speak to the socket
};

// Whether the cause may be a daemon of another version, which does not know the call or answers in another
// way.
enum class Doubt : unsigned char { none, version };

// Why a verb was not done, with a line for people.
struct Failure {
  ExitCode exit = ExitCode::refused;
  std::string what;
  Doubt doubt = Doubt::none;
};

template <class T>
using Attempt = tl::expected<T, Failure>;

}  // namespace mailotp::ctl
