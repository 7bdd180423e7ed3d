#include "daemon/app/senders.h"

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "daemon/app/places.h"
#include "mail/compose/keyed_tokens.h"
#include "store/key_file.h"

namespace mailotp::daemon {

namespace {

using core::Errc;
using mail::TemplateSet;

// Laid over the common ones. Their folder must be there: a name with a slip would send the common mails.
core::Result<TemplateSet> load_own(const core::Config& config, const core::AppConfig& app) {
  std::error_code error;
  if (!std::filesystem::is_directory(app.templates, error)) {
    return core::fail(Errc::invalid,
                      fmt::format("app \"{}\": templates: there is no folder {}", app.name, app.templates));
  }
  std::vector<std::string> directories = template_directories(config);
  directories.push_back(app.templates);
  return TemplateSet::load(directories, config.mail.locale).map_error([&app](const core::Error& failed) {
    return core::Error{failed.code, fmt::format("app \"{}\": {}", app.name, failed.what)};
  });
}

// Every purpose that is used has its template in the set that it is used with. `app` null: every purpose is.
core::Result<> check_templates(const core::Config& config, const core::AppConfig* app,
                               const TemplateSet& templates) {
  for (const auto& [name, purpose] : config.purposes) {
    if (app != nullptr && !core::may_use(*app, name)) continue;
    if (templates.find(purpose.template_name, config.mail.locale)) continue;
    return core::fail(Errc::invalid, fmt::format("{}purpose {} uses the template {}, of which there is none",
                                                 app != nullptr ? "app \"" + app->name + "\": " : "", name,
                                                 purpose.template_name));
  }
  return {};
}

core::Result<mail::AppSender> make_sender(const core::Config& config, const core::AppConfig& app,
                                          const TemplateSet& common) {
  mail::AppSender sender;
  sender.from = app.from;
  sender.domain = app.domain;
  if (!app.templates.empty()) {
    auto own = load_own(config, app);
    if (!own) return tl::unexpected(own.error());
    sender.templates = std::move(*own);
  }
  if (auto checked = check_templates(config, &app, sender.templates ? *sender.templates : common); !checked)
    return tl::unexpected(checked.error());
  return sender;
}

}  // namespace

core::Result<mail::MailComposer> make_composer(const core::Config& config, const core::BounceTokens& tokens) {
  auto common = TemplateSet::load(template_directories(config), config.mail.locale);
  if (!common) return tl::unexpected(common.error());
  mail::ComposerSettings settings;
  settings.from = config.mail.from;
  settings.hostname = config.mail.hostname;
  settings.mode_header = config.daemon.mode == core::Mode::development ? mail::ModeHeader::development
                                                                       : mail::ModeHeader::absent;
  settings.tokens = &tokens;
  if (config.apps.empty()) {
    if (auto checked = check_templates(config, nullptr, *common); !checked)
      return tl::unexpected(checked.error());
  }
  for (const core::AppConfig& app : config.apps) {
    auto sender = make_sender(config, app, *common);
    if (!sender) return tl::unexpected(sender.error());
    settings.apps.emplace(app.name, std::move(*sender));
  }
  return mail::MailComposer(std::move(*common), std::move(settings));
}

core::Result<> check_senders(const core::Config& config) {
  std::vector<core::Secret> no_secret;
  no_secret.emplace_back(std::string(store::k_master_key_size, '\0'));
  const auto tokens = mail::KeyedTokens::create(no_secret);
  if (!tokens) return tl::unexpected(tokens.error());
  const auto composer = make_composer(config, *tokens);
  if (!composer) return tl::unexpected(composer.error());
  return {};
}

}  // namespace mailotp::daemon
