// The StoreReader on a read-only connection of its own: it sees what is committed and stalls no commit. One
// thread, which need not be the store's.
#pragma once

#include <memory>
#include <string>

#include "core/store.h"

namespace mailotp::store {

class SqliteReader final : public core::StoreReader {
 public:
  // The database must be there: open the store first. Errc::unsupported when its schema is not this
  // program's.
  [[nodiscard]] static core::Result<std::unique_ptr<SqliteReader>> open(const std::string& state_dir,
                                                                        core::LimitRules limits = {});
  ~SqliteReader() override;
  SqliteReader(const SqliteReader&) = delete;
  SqliteReader& operator=(const SqliteReader&) = delete;

  [[nodiscard]] core::Result<core::ChallengeView> challenge(const std::string& app, const core::Id& id,
                                                            core::WallTime now) override;
  [[nodiscard]] core::Result<core::MessageView> message(const std::string& app, const core::Id& id) override;
  // Errc::malformed for a cursor that is not one of ours, Errc::invalid for a limit out of range or a
  // recipient that is no address. A page may have fewer items than its limit and yet a next_cursor: with a
  // filter on app or relay one call looks at a bounded number of messages.
  [[nodiscard]] core::Result<core::PageOf<core::MessageView>> outbox(const core::OutboxFilter& filter,
                                                                     const core::Page& page) override;
  [[nodiscard]] core::Result<core::OutboxDetail> outbox_item(const core::Id& id) override;
  [[nodiscard]] core::Result<core::Stats> stats(core::WallTime now) override;
  [[nodiscard]] core::Result<core::RecipientView> recipient(const std::string& app,
                                                            const core::Address& address,
                                                            core::WallTime now) override;
  [[nodiscard]] core::Result<core::PageOf<core::BounceView>> bounces(const core::BounceFilter& filter,
                                                                     const core::Page& page) override;
  [[nodiscard]] core::Result<core::PageOf<core::SuppressionView>> suppressions(const std::string& recipient,
                                                                               const core::Page& page,
                                                                               core::WallTime now) override;

  [[nodiscard]] core::Result<core::PageOf<core::TimelineItem>> timeline(const core::TimelineFilter& filter,
                                                                        const core::Page& page) override;
  [[nodiscard]] core::Result<core::EventPage> events(const core::EventFilter& filter) override;
  [[nodiscard]] core::Result<std::int64_t> newest_event() override;
  [[nodiscard]] core::Result<std::vector<core::KeyUse>> keys() override;
  void take_over(core::LimitRules limits) override;

 private:
  struct State;
  explicit SqliteReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace mailotp::store
