// The tokens of bounces under the keys that are in force. A reload brings others; whoever works with the old
// ones at that moment ends with them. Any thread.
#pragma once

#include <memory>
#include <mutex>
#include <utility>

#include "core/tokens.h"
#include "mail/compose/keyed_tokens.h"

namespace mailotp::daemon {

class CurrentTokens final : public core::BounceTokens {
 public:
  explicit CurrentTokens(mail::KeyedTokens tokens)
      : current_(std::make_shared<const mail::KeyedTokens>(std::move(tokens))) {}

  void replace(mail::KeyedTokens tokens) {
    auto next = std::make_shared<const mail::KeyedTokens>(std::move(tokens));
    const std::lock_guard lock(mutex_);
    current_.swap(next);
  }

  [[nodiscard]] std::string recipient(std::int64_t recipient, std::string_view key,
                                      core::WallTime at) const override {
    return current()->recipient(recipient, key, at);
  }
  [[nodiscard]] std::string message(const core::Id& id) const override { return current()->message(id); }
  [[nodiscard]] std::optional<core::Id> read_message(std::string_view token) const override {
    return current()->read_message(token);
  }
  [[nodiscard]] std::optional<core::RecipientClaim> read_recipient(std::string_view token,
                                                                   core::WallTime at) const override {
    return current()->read_recipient(token, at);
  }
  [[nodiscard]] bool confirms(const core::RecipientClaim& claim, std::string_view key) const override {
    return current()->confirms(claim, key);
  }

 private:
  // Shared: a thread may be in the middle of the one that was replaced.
  [[nodiscard]] std::shared_ptr<const mail::KeyedTokens> current() const {
    const std::lock_guard lock(mutex_);
    return current_;
  }

  mutable std::mutex mutex_;  // for the pointer alone
  std::shared_ptr<const mail::KeyedTokens> current_;
};

}  // namespace mailotp::daemon
