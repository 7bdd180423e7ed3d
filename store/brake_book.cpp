#include "store/brake_book.h"

#include <utility>

namespace mailotp::store {

using core::Result;

core::BrakeCounts& Brakes::counts(const std::string& app) {
  const auto known = changed_.find(app);
  if (known != changed_.end()) return known->second;
  const auto committed = committed_.counts.find(app);
  return changed_.emplace(app, committed == committed_.counts.end() ? core::BrakeCounts{} : committed->second)
      .first->second;
}

void Brakes::note(const std::string& app, const core::BrakeSlot& slot) {
  core::BrakeCount& sum = unwritten_[{app, slot.start}];
  sum.sends += slot.count.sends;
  sum.right_codes += slot.count.right_codes;
}

bool Brakes::is_on(const std::string& app) const {
  for (auto news = news_.rbegin(); news != news_.rend(); ++news) {
    if (news->app == app) return news->on;
  }
  return committed_.on.contains(app);
}

Result<> Brakes::flush(Statement& add, Statement& forget, const core::BrakeConfig& brake,
                       core::WallTime now) {
  for (const auto& [at, sum] : unwritten_) {
    const auto& [app, slot] = at;
    if (auto added = add.run(app, slot, sum.sends, sum.right_codes); !added) return added;
    // With the first of a slot those that are past go.
    if (std::exchange(committed_.last_slot, slot) == slot) continue;
    if (auto gone = forget.run(core::first_brake_slot(brake, now)); !gone) return gone;
  }
  unwritten_.clear();
  return {};
}

void Brakes::commit() {
  for (auto& [app, counts] : changed_)
    committed_.counts[app] = std::move(counts);
  for (const core::BrakeNews& news : news_) {
    if (news.on)
      committed_.on.insert(news.app);
    else
      committed_.on.erase(news.app);
  }
}

std::vector<std::string> Brakes::all_on() const {
  std::vector<std::string> out;
  for (const std::string& app : committed_.on) {
    if (is_on(app)) out.push_back(app);
  }
  return out;
}

}  // namespace mailotp::store
