#include "core/store_rules.h"

#include <utility>

namespace mailotp::core {

StoreRules store_rules(const Config& config, std::shared_ptr<const Composer> composer) {
  StoreRules rules;
  rules.policy = config.delivery;
  rules.return_path = config.mail.bounce_address.mailbox();
  rules.retention = config.retention;
  rules.max_open_messages = config.intake.max_open_messages;
  rules.min_free_disk = config.intake.min_free_disk;
  rules.verp = config.mail.verp;
  rules.verdicts = verdict_table(config.verdict);
  if (config.bounces) rules.foreign = config.bounces->foreign;
  rules.limits = limit_rules(config);
  rules.brake = config.brake;
  rules.composer = std::move(composer);
  return rules;
}

}  // namespace mailotp::core
