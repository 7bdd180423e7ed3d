#include "store/limits.h"

#include <array>

#include "store/challenge_secrets.h"

namespace mailotp::store {

using core::Refusal;
using core::Result;
using core::WallTime;

namespace {

constexpr std::size_t k_key_size = 16;

// One limit that a send must pass.
struct Budget {
  std::string_view name;
  std::string key;
  const std::vector<core::Rate>& rates;
};

Result<std::string> hashed(Transaction& tx, std::initializer_list<std::string_view> parts) {
  const auto mac = tx.writer().budget_mac.of(parts);
  if (!mac) return tl::unexpected(mac.error());
  return std::string(bytes_of(*mac).substr(0, k_key_size));
}

// The names of apps are no secret, and a reader without keys counts under them.
std::array<Budget, 4> budgets_of(const core::LimitRules& rules, const SendOf& send) {
  const core::LimitsConfig& own = rules.of(send.app);
  return {Budget{core::k_limit_recipient_sends, send.keys.recipient, own.recipient_sends},
          Budget{core::k_limit_client_sends, send.keys.network, own.client_sends},
          Budget{core::k_limit_app_sends, "app " + send.app, own.app_sends},
          Budget{core::k_limit_global_sends, "global", rules.common.global_sends}};
}

struct Full {
  core::Limit limit;
  WallTime until;  // even
};

// Of several that are full the one that stays so the longest.
Result<> keep_longest(Window window, const Budget& budget, std::optional<Full>& longest) {
  for (const core::Rate& rate : budget.rates) {
    const auto until = window.full_until(rate);
    if (!until) return tl::unexpected(until.error());
    if (!*until || (longest && longest->until >= **until)) continue;
    longest = Full{{std::string(budget.name), rate.max, rate.period, {}}, **until};
  }
  return {};
}

std::optional<Refusal> refusal_of(const Transaction& tx, std::optional<Full> full, WallTime at) {
  if (!full) return std::nullopt;
  full->limit.reset_at = full->until + tx.shifted();
  Refusal out;
  out.kind = core::RefusalKind::rate_limited;
  out.retry_after = full->limit.reset_at - at;
  out.limit = std::move(full->limit);
  return out;
}

UsageMemory memory_of(const std::vector<core::Rate>& rates) {
  UsageMemory memory;
  for (const core::Rate& rate : rates)
    memory.hold(rate);
  return memory;
}

Budget failures_of(Transaction& tx, const std::string& app, const FailureBudget& budget) {
  return {core::k_limit_recipient_failures, budget.key, tx.writer().rules->limits.of(app).recipient_failures};
}

}  // namespace

Result<BudgetKeys> budget_keys(Transaction& tx, const std::string& app, const std::string& purpose,
                               const core::Address& recipient, const core::Client& client) {
  const std::string to = core::folded(recipient, tx.writer().rules->limits.of(app));
  BudgetKeys keys;
  auto of_recipient = hashed(tx, {"sends", app, purpose, to});
  if (!of_recipient) return tl::unexpected(of_recipient.error());
  keys.recipient = *std::move(of_recipient);
  if (!client.network.empty()) {
    auto of_network = hashed(tx, {"network", app, client.network});
    if (!of_network) return tl::unexpected(of_network.error());
    keys.network = *std::move(of_network);
  }
  if (!client.id.empty()) {
    auto of_device = hashed(tx, {"device", app, to, client.id});
    if (!of_device) return tl::unexpected(of_device.error());
    keys.device = *std::move(of_device);
  }
  return keys;
}

Result<std::optional<Refusal>> refuse_send(Transaction& tx, const SendOf& send, WallTime at) {
  std::optional<Full> longest;
  for (const Budget& budget : budgets_of(tx.writer().rules->limits, send)) {
    if (budget.key.empty()) continue;
    if (auto done = keep_longest(Window(tx.usage(), budget.key, tx.even(at)), budget, longest); !done)
      return tl::unexpected(done.error());
  }
  return refusal_of(tx, std::move(longest), at);
}

Result<> count_send(Transaction& tx, const SendOf& send, WallTime at) {
  for (const Budget& budget : budgets_of(tx.writer().rules->limits, send)) {
    if (budget.key.empty() || budget.rates.empty()) continue;
    if (auto added = tx.usage().add(budget.key, tx.even(at), memory_of(budget.rates)); !added) return added;
  }
  return {};
}

Result<SendRoom> room_of(UsageSource& source, const core::LimitRules& rules, const SendOf& send, WallTime now,
                         int most) {
  SendRoom out{most, {}};
  std::optional<Full> longest;
  for (const Budget& budget : budgets_of(rules, send)) {
    if (budget.key.empty()) continue;
    Window window(source, budget.key, now);
    for (const core::Rate& rate : budget.rates) {
      const auto room = window.room(rate, out.sends);
      if (!room) return tl::unexpected(room.error());
      out.sends = *room;
    }
    if (auto done = keep_longest(std::move(window), budget, longest); !done)
      return tl::unexpected(done.error());
  }
  if (longest) out.again_at = longest->until;
  return out;
}

Result<core::ChallengeView> view_within_limits(UsageSource& source, const core::LimitRules& rules,
                                               const ChallengeRecord& challenge,
                                               const std::optional<MessageRecord>& message, WallTime now,
                                               core::Millis shifted) {
  core::ChallengeView view = view_of(challenge, message);
  if (!is_open(view.state) || view.sends_left == 0) return view;
  const auto room = room_of(source, rules, {challenge.app, challenge.budget}, now - shifted, view.sends_left);
  if (!room) return tl::unexpected(room.error());
  view.sends_left = room->sends;
  if (!room->again_at || !view.resend_at) return view;
  view.resend_at = std::max(*view.resend_at, *room->again_at + shifted);
  if (view.expires_at - *view.resend_at < challenge.row.usable_minimum) view.resend_at.reset();
  return view;
}

Result<FailureBudget> failure_budget(Transaction& tx, const std::string& app, const std::string& purpose,
                                     const core::Address& recipient, const std::string& device, WallTime at) {
  const auto known = is_known_device(tx, device, at);
  if (!known) return tl::unexpected(known.error());
  const std::string to = core::folded(recipient, tx.writer().rules->limits.of(app));
  auto key = *known ? hashed(tx, {"failures of a device", app, purpose, device})
                    : hashed(tx, {"failures", app, purpose, to});
  if (!key) return tl::unexpected(key.error());
  return FailureBudget{*std::move(key), device};
}

Result<std::optional<Refusal>> refuse_check(Transaction& tx, const std::string& app,
                                            const FailureBudget& budget, WallTime at) {
  std::optional<Full> longest;
  if (auto done =
          keep_longest(Window(tx.usage(), budget.key, tx.even(at)), failures_of(tx, app, budget), longest);
      !done)
    return tl::unexpected(done.error());
  return refusal_of(tx, std::move(longest), at);
}

Result<> count_failure(Transaction& tx, const std::string& app, const FailureBudget& budget, WallTime at) {
  const Budget failures = failures_of(tx, app, budget);
  if (failures.rates.empty()) return {};
  return tx.usage().add(budget.key, tx.even(at), memory_of(failures.rates));
}

Result<bool> is_known_device(Transaction& tx, const std::string& device, WallTime at) {
  if (device.empty()) return false;
  const auto last = Window(tx.usage(), device, tx.even(at)).nth_newest(1);
  if (!last) return tl::unexpected(last.error());
  return *last && **last + core::k_device_memory > tx.even(at);
}

Result<> remember_device(Transaction& tx, const std::string& device, WallTime at) {
  if (device.empty()) return {};
  return tx.usage().add(device, tx.even(at), UsageMemory{1, core::k_device_memory});
}

}  // namespace mailotp::store
