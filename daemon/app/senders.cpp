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

// An app, and where it stands.
struct AppAt {
  const core::AppConfig& app;
  std::string path;  // as Findings has it
};

// Laid over the common ones. Their folder must be there: a name with a slip would send the common mails.
core::Result<TemplateSet> load_own(const LoadedConfig& loaded, const AppAt& at) {
  const core::AppConfig& app = at.app;
  std::error_code error;
  if (!std::filesystem::is_directory(app.templates, error)) {
    return core::fail(Errc::invalid,
                      fmt::format("{}app \"{}\": templates: there is no folder {}",
                                  loaded.where(at.path + ".templates"), app.name, app.templates));
  }
  std::vector<std::string> directories = template_directories(loaded.config);
  directories.push_back(app.templates);
  return TemplateSet::load(directories, loaded.config.mail.locale)
      .map_error([&app](const core::Error& failed) {
        return core::Error{failed.code, fmt::format("app \"{}\": {}", app.name, failed.what)};
      });
}

// Every purpose that is used has its template in the set that it is used with. `app` null: every purpose is.
core::Result<> check_templates(const LoadedConfig& loaded, const core::AppConfig* app,
                               const TemplateSet& templates) {
  for (const auto& [name, purpose] : loaded.config.purposes) {
    if (app != nullptr && !core::may_use(*app, name)) continue;
    if (templates.find(purpose.template_name, loaded.config.mail.locale)) continue;
    return core::fail(
        Errc::invalid,
        fmt::format("{}{}purpose {} uses the template {}, of which there is none",
                    loaded.where("purpose." + name + ".template"),
                    app != nullptr ? "app \"" + app->name + "\": " : "", name, purpose.template_name));
  }
  return {};
}

core::Result<mail::AppSender> make_sender(const LoadedConfig& loaded, const AppAt& at,
                                          const TemplateSet& common) {
  mail::AppSender sender;
  sender.from = at.app.from;
  sender.domain = at.app.domain;
  if (!at.app.templates.empty()) {
    auto own = load_own(loaded, at);
    if (!own) return tl::unexpected(own.error());
    sender.templates = std::move(*own);
  }
  if (auto checked = check_templates(loaded, &at.app, sender.templates ? *sender.templates : common);
      !checked)
    return tl::unexpected(checked.error());
  return sender;
}

// What it is made of, in every locale.
std::string versions_of(const mail::MailTemplate& one) {
  std::string out;
  for (const auto& [locale, variant] : one.variants)
    out += locale + "=" + variant.version + " ";
  return out;
}

std::map<std::string, std::string> template_versions(const core::Config& config,
                                                     const mail::MailComposer& composer) {
  std::map<std::string, std::string> out;
  for (const auto& [name, one] : composer.templates("").all())
    out.emplace(name, versions_of(one));
  for (const core::AppConfig& app : config.apps) {
    if (app.templates.empty()) continue;
    for (const auto& [name, one] : composer.templates(app.name).all())
      out.emplace(app.name + "/" + name, versions_of(one));
  }
  return out;
}

}  // namespace

core::Result<mail::MailComposer> make_composer(const LoadedConfig& loaded, const core::BounceTokens& tokens) {
  const core::Config& config = loaded.config;
  auto common = TemplateSet::load(template_directories(config), config.mail.locale);
  if (!common) return tl::unexpected(common.error());
  mail::ComposerSettings settings;
  settings.from = config.mail.from;
  settings.hostname = config.mail.hostname;
  settings.mode_header = config.daemon.mode == core::Mode::development ? mail::ModeHeader::development
                                                                       : mail::ModeHeader::absent;
  settings.tokens = &tokens;
  if (config.apps.empty()) {
    if (auto checked = check_templates(loaded, nullptr, *common); !checked)
      return tl::unexpected(checked.error());
  }
  for (std::size_t i = 0; i < config.apps.size(); ++i) {
    auto sender = make_sender(loaded, {config.apps[i], fmt::format("app[{}]", i)}, *common);
    if (!sender) return tl::unexpected(sender.error());
    settings.apps.emplace(config.apps[i].name, std::move(*sender));
  }
  return mail::MailComposer(std::move(*common), std::move(settings));
}

core::Result<std::shared_ptr<const Configured>> make_configured(const LoadedConfig& loaded,
                                                                const core::BounceTokens& tokens) {
  auto composer = make_composer(loaded, tokens);
  if (!composer) return tl::unexpected(composer.error());
  Configured made{loaded.config, loaded.rules, nullptr, template_versions(loaded.config, *composer)};
  made.composer = std::make_shared<const mail::MailComposer>(std::move(*composer));
  return std::make_shared<const Configured>(std::move(made));
}

core::Result<> check_senders(const LoadedConfig& loaded) {
  std::vector<core::Secret> no_secret;
  no_secret.emplace_back(std::string(store::k_master_key_size, '\0'));
  const auto tokens = mail::KeyedTokens::create(no_secret);
  if (!tokens) return tl::unexpected(tokens.error());
  const auto composer = make_composer(loaded, *tokens);
  if (!composer) return tl::unexpected(composer.error());
  return {};
}

}  // namespace mailotp::daemon
