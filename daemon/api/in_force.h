// The configuration that is in force, and what is made of it: one immutable value. A reload puts another one
// in its place, here and at one moment; a request goes on with the one that it began with.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "core/app_rules.h"
#include "core/composer.h"
#include "core/config.h"

namespace mailotp::daemon {

struct Configured {
  core::Config config;
  core::AppRules rules;
  std::shared_ptr<const core::Composer> composer;  // shared: the store's thread composes with it, too
  std::map<std::string, std::string> templates;    // by name, as "otp" or "shop/otp": the versions
};

// Loop thread; what it hands out, any thread.
class InForce {
 public:
  explicit InForce(std::shared_ptr<const Configured> first) : current_(std::move(first)) {}
  InForce(const InForce&) = delete;
  InForce& operator=(const InForce&) = delete;

  const Configured* operator->() const { return current_.get(); }
  // To be held as long as something of it is used beyond this turn of the loop.
  [[nodiscard]] std::shared_ptr<const Configured> hold() const { return current_; }
  void replace(std::shared_ptr<const Configured> next) { current_ = std::move(next); }

 private:
  std::shared_ptr<const Configured> current_;
};

}  // namespace mailotp::daemon
