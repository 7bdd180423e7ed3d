// Errors as values. Code branches on Errc; `what` is for people and is built once, where the error happened.
// Never thrown. A secret (code, body, password, key) is never put into `what`.
#pragma once

#include <string>
#include <utility>

#include <tl/expected.hpp>

namespace mailotp::core {

enum class Errc {
  malformed,  // bytes that do not follow their grammar (HTTP, JSON, a frame, a key file)
  invalid,    // well-formed, but outside what is allowed
  not_found,
  unavailable,  // cannot be done now; may be tried again
  full,         // a bound of ours is reached
  no_space,     // the disk is full
  io,           // the operating system refused a read, write or sync
  corrupt,      // stored data contradicts itself
  busy,         // another process holds it
  timed_out,
  unsupported,  // this build or host cannot do it
  internal,     // a bug of ours, caught
};

struct Error {
  Errc code = Errc::internal;
  std::string what;
};

template <class T = void>
using Result = tl::expected<T, Error>;

[[nodiscard]] inline tl::unexpected<Error> fail(Errc code, std::string what) {
  return tl::unexpected<Error>(Error{code, std::move(what)});
}

}  // namespace mailotp::core
