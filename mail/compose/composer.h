// The Composer port: a template, the app's data and the code become one mail.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/address.h"
#include "core/composer.h"
#include "core/tokens.h"
#include "mail/compose/template_set.h"

namespace mailotp::mail {

// What an [[app]] says for itself.
struct AppSender {
  std::optional<core::NamedAddress> from;  // absent: the common one
  std::string domain;                      // of the origin-bound last line; empty: none
  std::optional<TemplateSet> templates;    // absent: the common ones
};

enum class ModeHeader : std::uint8_t { absent, development };

struct ComposerSettings {
  core::NamedAddress from;
  std::string hostname;  // of the Message-ID
  std::string domain;    // for apps that are not in `apps`; may be empty
  ModeHeader mode_header = ModeHeader::absent;
  std::map<std::string, AppSender, std::less<>> apps;  // by name
  const core::BounceTokens* tokens = nullptr;          // outlives the composer; never null there
};

// Immutable after construction: the loop and the store compose at the same time, without a lock.
class MailComposer final : public core::Composer {
 public:
  MailComposer(TemplateSet templates, ComposerSettings settings);

  // Message-ID is <token of the message@hostname>, and core::k_token_header says the same token: some
  // providers replace the one, some leave out the other. Takes some tens of microseconds; no I/O, no clock.
  [[nodiscard]] tl::expected<core::ComposedMail, core::ComposeError> compose(
      const core::ComposeRequest& request) const override;
  [[nodiscard]] std::vector<core::TemplateOutline> outlines(std::string_view app) const override;
  [[nodiscard]] std::optional<core::TemplateOutline> outline(std::string_view app, std::string_view name,
                                                             std::string_view locale) const override;

  // The set that an app's mails are made from.
  [[nodiscard]] const TemplateSet& templates(std::string_view app) const;

 private:
  TemplateSet templates_;
  ComposerSettings settings_;
};

}  // namespace mailotp::mail
