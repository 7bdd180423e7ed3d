// A connection to the IMAP server, plain or under TLS, for a thread that blocks: every call ends by the
// deadline of the step that it belongs to, and a step reads at most its budget. A StopSignal shortens the
// deadline.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "core/result.h"
#include "core/time.h"
#include "mail/agent/tls.h"
#include "mail/imap/stop_signal.h"

namespace mailotp::mail {

class Wire {
 public:
  // Owns `descriptor`, a connected non-blocking socket.
  Wire(int descriptor, const StopSignal& stop) : descriptor_(descriptor), stop_(stop) {}
  ~Wire();
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  // A step begins: from now on it has `time` and may read `bytes`.
  void begin(core::Millis time, std::size_t bytes);

  // From now on TLS; the handshake is made here. Errc::unavailable with tls_failure(); Errc::timed_out.
  [[nodiscard]] core::Result<> secure(TlsPtr tls);
  // At least one byte. Errc::unavailable: closed or broken; Errc::timed_out; Errc::full: over budget. After
  // an error every later call gives it again.
  [[nodiscard]] core::Result<std::size_t> read(std::span<char> into);
  [[nodiscard]] core::Result<> write(std::string_view bytes);
  // Waits until something can be read, `other` is readable or the stop signal was raised (`other` too), or
  // the deadline has come.
  enum class Woken { readable, other, time };
  [[nodiscard]] Woken wait(int other);
  // Nothing is read or written any more.
  void shut(core::Error why);
  [[nodiscard]] const core::Error* fault() const { return broken_ ? &fault_ : nullptr; }

 private:
  // False: time is up.
  [[nodiscard]] bool wait_for(short events);
  [[nodiscard]] core::Millis left() const;
  [[nodiscard]] tl::unexpected<core::Error> broken(core::Errc code, std::string what);
  [[nodiscard]] core::Result<> retry_tls(int result);

  int descriptor_;
  const StopSignal& stop_;
  TlsPtr tls_;
  core::Millis deadline_{0};  // of since_boot()
  std::size_t budget_ = 0;
  bool broken_ = false;
  core::Error fault_;
};

// Waits until `one` or `other` is readable, at most `time`; a negative descriptor is none.
void wait_readable(int one, int other, core::Millis time);

}  // namespace mailotp::mail
