// What the store decides by, as the configuration has it. One immutable value: a reload puts another one in
// its place, whole, in the commit that takes over the keys.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/bounce_rules.h"
#include "core/composer.h"
#include "core/config.h"
#include "core/limits.h"

namespace mailotp::core {

struct StoreRules {
  DeliveryPolicy policy;
  std::string return_path;  // envelope sender of every job, but for its tag
  RetentionConfig retention;
  std::int64_t max_open_messages = 1'000'000;
  std::int64_t min_free_disk = 64LL << 20;  // bytes; 0: not looked at
  Verp verp = Verp::recipient;
  VerdictTable verdicts = verdict_table();
  ForeignMail foreign = ForeignMail::leave;
  LimitRules limits;
  BrakeConfig brake;
  std::shared_ptr<const Composer> composer;  // of resends; shared: the loop composes first sends with it
};

[[nodiscard]] StoreRules store_rules(const Config& config, std::shared_ptr<const Composer> composer);

}  // namespace mailotp::core
