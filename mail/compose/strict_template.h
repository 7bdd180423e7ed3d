// One checked template, parsed once by kainjow's Mustache and rendered strictly: what is absent is an error,
// never a blank. Neither texts nor values enter the library: it lays out sections and marks, we put both in
// their place and escape the values.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "mail/compose/template_tokens.h"
#include "mail/compose/variables.h"

namespace mailotp::mail {

enum class Escape : std::uint8_t { none, html };

// One name in a template.
struct NameUse {
  std::string name;
  std::size_t shown = 0;  // how often as {{name}}
  bool needed = false;    // shown outside a section of its own name: then it may not be absent
  std::string at;         // "path:line" of its first use, or of the one that needs it
};

// Immutable; render() may run in several threads at once.
class StrictTemplate {
 public:
  // Tokens as expand() gives them: no partials left. Errc::invalid when there are too many names.
  [[nodiscard]] static core::Result<StrictTemplate> compile(const std::vector<Token>& tokens, Escape escape);

  StrictTemplate(StrictTemplate&&) noexcept;
  StrictTemplate& operator=(StrictTemplate&&) noexcept;
  ~StrictTemplate();

  [[nodiscard]] const std::vector<NameUse>& uses() const;
  // The use of `name`, or null.
  [[nodiscard]] const NameUse* use(std::string_view name) const;

  // Appends the text to `out`, after taking room for all of it and for `spare` bytes more. Errc::not_found: a
  // needed value is absent; `what` is its name and nothing else, and `out` is untouched.
  [[nodiscard]] core::Result<> render(const Values& values, std::string& out, std::size_t spare = 0) const;

 private:
  struct Impl;
  explicit StrictTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mailotp::mail
