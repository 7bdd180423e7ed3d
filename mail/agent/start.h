// How every agent begins: PROGRAM --channel 3 --lock 4, both inherited.
#pragma once

#include <optional>
#include <string_view>

#include "core/result.h"
#include "mail/channel/frame_socket.h"

namespace mailotp::mail {

struct Descriptors {
  int channel = -1;
  int lock = -1;
};
// nullopt: a fault of usage, or one of them is not open.
[[nodiscard]] std::optional<Descriptors> descriptors_of(int count, char** words);

// Ignores the signals that are for the daemon alone, closes every other descriptor and gives up privileges:
// before the hello, which brings passwords. Errc::io.
[[nodiscard]] core::Result<> stand_alone(const Descriptors& given);

// Waits for the first frame; valid until the channel is used again. nullopt: the channel ended before it.
// Errc::malformed.
[[nodiscard]] core::Result<std::optional<std::string_view>> first_frame(channel::FrameSocket& channel);

}  // namespace mailotp::mail
