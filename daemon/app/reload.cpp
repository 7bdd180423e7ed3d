#include "daemon/app/reload.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "daemon/app/places.h"
#include "daemon/config/accounts.h"
#include "daemon/config/config_file.h"
#include "daemon/state/clock.h"
#include "store/key_file.h"
#include "store/keys.h"

namespace mailotp::daemon {

using core::Errc;
using core::Result;

// What one reading brought; handed from thread to thread.
struct Reload::Files {
  Reloaded told;
  core::ReplaceKeys order;
  std::optional<mail::KeyedTokens> tokens;
};

namespace {

constexpr std::string_view k_credential = "otp-key";

}  // namespace

KeyPlace key_place(const std::string& configured) {
  KeyPlace place;
  place.path = credential_or(std::string(k_credential), configured);
  place.is_credential = place.path != configured;
  return place;
}

Reload::Reload(std::string config_path, std::string config_text, ReaderThread& reader, StoreThread& store,
               CurrentTokens& tokens, core::Log& log)
    : config_path_(std::move(config_path)),
      config_text_(std::move(config_text)),
      reader_(reader),
      store_(store),
      tokens_(tokens),
      log_(log) {}

void Reload::run(ReloadDone done) {
  if (done_) return done(core::fail(Errc::busy, "a reload is under way"));
  done_ = std::move(done);
  const auto read = [path = config_path_,
                     before = config_text_](core::StoreReader&) -> Result<std::shared_ptr<Files>> {
    const auto loaded = load_config(path, SystemAccounts());
    if (!loaded) return tl::unexpected(loaded.error());
    auto files = std::make_shared<Files>();
    files->told.restart_needed = loaded->text != before;
    const KeyPlace place = key_place(loaded->config.daemon.key_file);
    files->told.from_credential = place.is_credential;
    auto keys = store::load_key_file(place.path);
    if (!keys) return tl::unexpected(keys.error());
    const auto ring = store::KeyRing::create(*keys, place.path);
    if (!ring) return tl::unexpected(ring.error());
    auto tokens = mail::KeyedTokens::create(ring->token_keys());
    if (!tokens) return tl::unexpected(tokens.error());
    files->tokens = *std::move(tokens);
    files->told.keys = keys->size();
    files->order.keys = *std::move(keys);
    files->order.source = place.path;
    return files;
  };
  const bool asked = reader_.read<std::shared_ptr<Files>>(
      read, [this](Result<std::shared_ptr<Files>> files) { take(files); });
  if (!asked) finish(core::fail(Errc::busy, "too many requests wait to be read"));
}

void Reload::take(const Result<std::shared_ptr<Files>>& read) {
  if (!read) return finish(tl::unexpected(read.error()));
  const std::shared_ptr<Files>& files = *read;
  files->order.at = wall_now();
  const bool asked = store_.submit(std::move(files->order), [this, files](const core::Outcome& outcome) {
    if (!outcome) return finish(tl::unexpected(outcome.error()));
    tokens_.replace(*std::move(files->tokens));
    finish(files->told);
  });
  if (!asked) finish(core::fail(Errc::busy, "more requests wait than can be taken"));
}

void Reload::finish(Result<Reloaded> result) {
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
