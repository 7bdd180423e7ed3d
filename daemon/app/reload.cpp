#include "daemon/app/reload.h"

#include <memory>
#include <optional>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "daemon/app/places.h"
#include "daemon/app/senders.h"
#include "daemon/config/config_file.h"
#include "daemon/state/clock.h"
#include "store/key_file.h"
#include "store/keys.h"

namespace mailotp::daemon {

using core::Result;

// What one reading brought; handed from thread to thread.
struct Reload::Files {
  Reloaded told;
  core::ReplaceKeys order;
  std::optional<mail::KeyedTokens> tokens;
};

namespace {

using Why = ReloadFailure::Why;

constexpr std::string_view k_credential = "otp-key";

tl::unexpected<ReloadFailure> failure(Why why, std::string what) {
  return tl::unexpected(ReloadFailure{why, std::move(what)});
}

}  // namespace

KeyPlace key_place(const std::string& configured) {
  KeyPlace place;
  place.path = credential_or(std::string(k_credential), configured);
  place.is_credential = place.path != configured;
  return place;
}

Reload::Reload(std::string config_path, std::string config_text, std::string key_file, ReaderThread& reader,
               StoreThread& store, CurrentTokens& tokens, core::Log& log)
    : config_path_(std::move(config_path)),
      config_text_(std::move(config_text)),
      key_file_(std::move(key_file)),
      reader_(reader),
      store_(store),
      tokens_(tokens),
      log_(log) {}

void Reload::run(ReloadDone done) {
  if (done_) return done(failure(Why::busy, "a reload is under way"));
  done_ = std::move(done);
  const auto read = [path = config_path_, before = config_text_, key_file = key_file_](core::StoreReader&) {
    return read_files(path, before, key_place(key_file));
  };
  const bool asked = reader_.read<std::shared_ptr<Files>>(
      read, [this](Result<std::shared_ptr<Files>> files) { take(files); });
  if (!asked) finish(failure(Why::busy, "too many requests wait to be read"));
}

Result<std::shared_ptr<Reload::Files>> Reload::read_files(const std::string& path, const std::string& before,
                                                          const KeyPlace& place) {
  const auto loaded = load_config(path);
  if (!loaded) return tl::unexpected(loaded.error());
  auto files = std::make_shared<Files>();
  auto keys = store::load_key_file(place.path);
  if (!keys) return tl::unexpected(keys.error());
  const auto ring = store::KeyRing::create(*keys, place.path);
  if (!ring) return tl::unexpected(ring.error());
  auto tokens = mail::KeyedTokens::create(ring->token_keys());
  if (!tokens) return tl::unexpected(tokens.error());
  // The start would refuse them.
  if (const auto composer = make_composer(loaded->config, *tokens); !composer)
    return tl::unexpected(composer.error());
  files->tokens = *std::move(tokens);
  files->told = {keys->size(), place.is_credential, loaded->text != before};
  files->order.keys = *std::move(keys);
  files->order.source = place.path;
  return files;
}

void Reload::take(const Result<std::shared_ptr<Files>>& read) {
  if (!done_) return;  // the daemon stops
  if (!read) return finish(failure(Why::files, read.error().what));
  const std::shared_ptr<Files>& files = *read;
  files->order.at = wall_now();
  const bool asked = store_.submit(std::move(files->order), [this, files](const core::Outcome& outcome) {
    if (!outcome) return finish(failure(Why::store, outcome.error().what));
    if (const auto* refusal = std::get_if<core::Refusal>(&*outcome))
      return finish(failure(Why::files, refusal->detail));
    tokens_.replace(*std::move(files->tokens));
    finish(files->told);
  });
  if (!asked) finish(failure(Why::busy, "more requests wait than can be taken"));
}

void Reload::stop() {
  if (done_) finish(failure(Why::stopping, "the daemon is stopping"));
}

void Reload::finish(tl::expected<Reloaded, ReloadFailure> result) {
  if (!done_) return;  // told already
  if (!result)
    log_.write(core::LogLevel::error, fmt::format("event=reload_refused what=\"{}\"", result.error().what));
  else
    log_.write(
        core::LogLevel::notice,
        fmt::format("event=reloaded keys={} keys_from={} restart_needed={}", result->keys,
                    result->from_credential ? "credential" : "file", result->restart_needed ? "yes" : "no"));
  std::exchange(done_, nullptr)(std::move(result));
}

}  // namespace mailotp::daemon
