// One recipient of a report: what was found of it in fields and words, classed.
#pragma once

#include <string_view>

#include "core/bounce.h"

namespace mailotp::mail {

// As found, of any length and any bytes.
struct Finding {
  std::string_view address = {};
  core::BounceKind kind = core::BounceKind::bounce;
  std::string_view status = {};  // of the Status field, not of the words
  std::string_view diagnostic = {};
  std::string_view remote_host = {};
  std::string_view said = {};    // of this recipient in the notice's text, and
  std::string_view around = {};  // all of it: may tell which command was refused
};

[[nodiscard]] core::BouncedRecipient recipient_of(const Finding& finding);

}  // namespace mailotp::mail
