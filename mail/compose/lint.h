// What a template must keep to, looked at once, when it is loaded. Pure.
#pragma once

#include "core/result.h"
#include "mail/compose/manifest.h"
#include "mail/compose/template_set.h"
#include "mail/compose/template_tokens.h"

namespace mailotp::mail {

struct VariantSources {
  const SourceFile& subject;
  const SourceFile& text;
  const SourceFile& html;
};

// Errc::invalid, "path:line: why", for: a name that is neither declared nor built in; what may be absent,
// outside a section of its own name; a switch that is shown; the code in the subject (unless
// code_in_subject), in only one of text and html, more than once in either, not alone on its line of the
// text, or touching other letters or digits; another number of 4 to 12 digits beside it, for which autofill
// could take it; a subject that is empty, longer than a line or has a tab. Rendered with the samples in all
// combinations of the switches and with the optional values present and absent.
[[nodiscard]] core::Result<> lint(const TemplateVariant& variant, const Manifest& manifest,
                                  const VariantSources& sources);

}  // namespace mailotp::mail
