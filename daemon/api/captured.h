// Development mode: the mails as they would have left, read back from the capture relay's maildir. Reader's
// thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/store.h"
#include "daemon/api/views.h"

namespace mailotp::daemon {

struct CapturedQuery {
  std::string directory;  // the maildir
  std::string app;        // empty: any
  std::string recipient;  // any spelling; empty: all
  std::string cursor;
  std::size_t limit = 50;
};

// Newest first. Errc::invalid: the recipient is no address; Errc::io: the maildir cannot be read.
[[nodiscard]] core::Result<core::PageOf<CapturedMail>> read_captured(core::StoreReader& store,
                                                                     const CapturedQuery& query);

// Takes apart a mail of our own composer: multipart/alternative of quoted-printable or base64, RFC 2047
// subjects. Anything else is shown as far as it is understood; `raw` is always whole.
[[nodiscard]] CapturedMail dissect(std::string raw);

}  // namespace mailotp::daemon
