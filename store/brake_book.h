// What the brakes have counted: as committed, and as one transaction sees it.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/brake.h"
#include "core/store.h"
#include "store/sqlite.h"

namespace mailotp::store {

struct BrakeBook {
  std::map<std::string, core::BrakeCounts> counts;  // by app
  std::set<std::string> on;                         // apps that were told to be braked
  core::WallTime last_slot{};                       // that was written
};

class Brakes {
 public:
  explicit Brakes(BrakeBook& committed) : committed_(committed) {}

  [[nodiscard]] core::BrakeCounts& counts(const std::string& app);
  // To be written.
  void note(const std::string& app, const core::BrakeSlot& slot);
  [[nodiscard]] bool is_on(const std::string& app) const;
  [[nodiscard]] std::vector<std::string> all_on() const;
  void tell(core::BrakeNews news) { news_.push_back(std::move(news)); }

  // Before the COMMIT. `add`: app, slot, sends, right codes; `forget`: the first slot that counts.
  [[nodiscard]] core::Result<> flush(Statement& add, Statement& forget, const core::BrakeConfig& brake,
                                     core::WallTime now);
  // After it.
  void commit();
  [[nodiscard]] std::vector<core::BrakeNews> take_news() { return std::move(news_); }

 private:
  BrakeBook& committed_;
  std::map<std::string, core::BrakeCounts> changed_;
  std::map<std::pair<std::string, core::WallTime>, core::BrakeCount> unwritten_;
  std::vector<core::BrakeNews> news_;
};

}  // namespace mailotp::store
