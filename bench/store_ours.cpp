#include "bench/store_ours.h"

#include <utility>

#include <fmt/format.h>

#include "mail/compose/keyed_tokens.h"
#include "store/sqlite_store.h"

namespace mailotp::bench {

using core::Result;

namespace {

constexpr std::size_t k_sends_a_fill = 1000;  // a transaction
constexpr core::Seconds k_life_of_fill{100LL * 365 * 86400};

// Nothing is sent twice here, so it is never asked.
class NoComposer final : public core::Composer {
 public:
  [[nodiscard]] tl::expected<core::ComposedMail, core::ComposeError> compose(
      const core::ComposeRequest&) const override {
    return tl::unexpected(core::ComposeError{});
  }
  [[nodiscard]] std::vector<core::TemplateOutline> outlines(std::string_view) const override { return {}; }
  [[nodiscard]] std::optional<core::TemplateOutline> outline(std::string_view, std::string_view,
                                                             std::string_view) const override {
    return std::nullopt;
  }
};

core::CreateChallenge command_of(const Send& send, core::Seconds life) {
  core::CreateChallenge command;
  command.at = send.at;
  command.id = send.challenge;
  command.app = k_app;
  command.purpose = k_purpose;
  command.recipient = send.recipient;
  command.terms.ttl = life;
  command.code = core::Secret(std::string("123456"));
  command.template_name = "otp";
  command.locale = "en";
  command.actor = {core::ActorKind::app, 1000};
  command.message = core::NewMessage{
      send.message, core::ComposedMail{core::Secret(std::string(k_body_size, 'm')),
                                       fmt::format("<{}@otp.example.org>", to_string(send.message)),
                                       "0123456789abcdef", "en"}};
  return command;
}

class Ours final : public SendWriter {
 public:
  explicit Ours(OurRules rules, mail::KeyedTokens tokens)
      : rules_(std::move(rules)), tokens_(std::move(tokens)) {}

  Result<> open(const std::string& folder, store::KeyRing keys) {
    store::StoreOptions options{.state_dir = folder,
                                .keys = std::move(keys),
                                .policy = {},
                                .return_path = "bounces@otp.example.org",
                                .max_open_messages = INT64_MAX / 2,
                                .composer = composer_,
                                .random = random_,
                                .tokens = tokens_,
                                .min_free_disk = 0,
                                .reserve = 0,
                                .limits = rules_.limits,
                                .brake = {.floor = 1'000'000'000}};
    auto opened = store::SqliteStore::open(std::move(options));
    if (!opened) return tl::unexpected(opened.error());
    store_ = *std::move(opened);
    auto recovered = store_->recover(std::chrono::floor<core::Millis>(std::chrono::system_clock::now()));
    if (!recovered) return tl::unexpected(recovered.error());
    return {};
  }

  Result<> turn(std::vector<Send> sends, core::WallTime now) override {
    std::vector<core::Command> batch = commands_of(sends);
    for (const core::AttemptKey& key : std::exchange(claimed_, {}))
      batch.emplace_back(
          core::SettleFact{now, core::JobRelayed{key, {250, "2.0.0", "Ok: queued as 4F1A2B3C4D"}}});
    core::RelayOffer relay;
    relay.name = "primary";
    relay.use = core::RelayUse::clean;
    relay.jobs = static_cast<int>(sends.size());
    const core::ClaimBudget budget{{relay}};
    core::Committed done = commit(batch, budget, now);
    if (auto good = check(done); !good) return good;
    for (const core::Job& job : done.jobs)
      claimed_.push_back(job.key);
    if (claimed_.size() == sends.size()) return {};
    return core::fail(core::Errc::internal, fmt::format("{} of {} claimed", claimed_.size(), sends.size()));
  }

  Result<> queue(const std::vector<Send>& sends, core::WallTime now) {
    std::vector<core::Command> batch = commands_of(sends);
    return check(store_->commit(batch, {}, now));
  }

 private:
  [[nodiscard]] std::vector<core::Command> commands_of(const std::vector<Send>& sends) const {
    std::vector<core::Command> batch;
    batch.reserve(2 * sends.size());
    for (const Send& send : sends)
      batch.emplace_back(command_of(send, rules_.life));
    return batch;
  }

  core::Committed commit(std::vector<core::Command>& batch, const core::ClaimBudget& budget,
                         core::WallTime now) {
    const Stopwatch watch(spent_);
    return store_->commit(batch, budget, now);
  }

  static Result<> check(const core::Committed& done) {
    if (done.error) return tl::unexpected(*done.error);
    for (const core::Outcome& outcome : done.outcomes) {
      if (!outcome) return tl::unexpected(outcome.error());
      if (const auto* refusal = std::get_if<core::Refusal>(&*outcome))
        return core::fail(
            core::Errc::internal,
            fmt::format("a send was refused: {} {}", static_cast<int>(refusal->kind), refusal->detail));
    }
    return {};
  }

  OurRules rules_;
  NoComposer composer_;
  QuickRandom random_{2};
  mail::KeyedTokens tokens_;
  std::unique_ptr<store::SqliteStore> store_;
  std::vector<core::AttemptKey> claimed_;
};

Result<std::unique_ptr<Ours>> opened(const std::string& folder, OurRules rules) {
  std::vector<core::Secret> masters;
  masters.emplace_back(std::string(32, 'k'));
  auto keys = store::KeyRing::create(masters, "bench.key");
  if (!keys) return tl::unexpected(keys.error());
  auto tokens = mail::KeyedTokens::create(keys->token_keys());
  if (!tokens) return tl::unexpected(tokens.error());
  auto ours = std::make_unique<Ours>(std::move(rules), *std::move(tokens));
  if (auto open = ours->open(folder, *std::move(keys)); !open) return tl::unexpected(open.error());
  return ours;
}

}  // namespace

Result<std::unique_ptr<SendWriter>> open_ours(const std::string& folder, OurRules rules) {
  return opened(folder, std::move(rules));
}

Result<> fill_ours(const std::string& folder, Sends& sends, std::int64_t count) {
  auto ours = opened(folder, {.limits = {}, .life = k_life_of_fill});
  if (!ours) return tl::unexpected(ours.error());
  while (count > 0) {
    std::vector<Send> some;
    for (; count > 0 && some.size() < k_sends_a_fill; --count)
      some.push_back(sends.next());
    if (auto queued = (*ours)->queue(some, sends.now()); !queued) return queued;
  }
  return {};
}

}  // namespace mailotp::bench
