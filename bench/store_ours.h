// Sends through the store that the daemon has.
#pragma once

#include <memory>
#include <string>

#include "bench/store_sends.h"
#include "core/limits.h"

namespace mailotp::bench {

struct OurRules {
  core::LimitRules limits;
  core::Seconds life = k_life;  // of each challenge
};

// On the database in `folder`, which is made where there is none.
[[nodiscard]] core::Result<std::unique_ptr<SendWriter>> open_ours(const std::string& folder, OurRules rules);
// Sends that stay in the queue, behind all those that turn() makes.
[[nodiscard]] core::Result<> fill_ours(const std::string& folder, Sends& sends, std::int64_t count);

}  // namespace mailotp::bench
