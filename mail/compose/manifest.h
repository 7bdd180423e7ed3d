// template.toml: what a template's variables are. Pure.
//
//   code_in_subject = false        # codes in a subject show on lock screens
//   uncertain = "resend"           # resend | hold: when nobody knows whether the relay took the mail
//   [variables.name]
//   required = false
//   default = ""                   # only where it is not required
//   max_length = 64                # characters, 1 to 1000
//   kind = "text"                  # text | url
//   sample = "Alice"               # for the lint and the preview; may be left out where there is a default
#pragma once

#include <string_view>
#include <vector>

#include "core/outbox.h"
#include "core/result.h"
#include "mail/compose/template_tokens.h"
#include "mail/compose/variables.h"

namespace mailotp::mail {

struct Manifest {
  bool code_in_subject = false;
  core::OnUncertain on_uncertain = core::OnUncertain::resend;
  std::vector<Variable> variables;

  [[nodiscard]] const Variable* find(std::string_view name) const;
};

// Errc::invalid with "path:line: " for a syntax error, an unknown key, a wrong type or range, a name that is
// none or built in, and a sample or default that the variable's own rules refuse.
[[nodiscard]] core::Result<Manifest> parse_manifest(const SourceFile& source);

}  // namespace mailotp::mail
