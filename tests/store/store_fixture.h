// A store in a temporary folder, with a seeded random source, a composer that writes plainly what it was
// asked for, and a clock that the test moves.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store/sqlite_reader.h"
#include "store/sqlite_store.h"

namespace mailotp::store::test {

class SeededRandom final : public core::RandomSource {
 public:
  explicit SeededRandom(std::uint64_t seed) : state_(seed * 2 + 1) {}
  void fill(std::span<std::uint8_t> out) override;

 private:
  std::uint64_t state_;
};

inline constexpr const char* k_body_marker = "BODY-MARKER-OF-THE-TEST";

// The mail's text holds the code, the variables and a marker. Template "missing" does not exist, template
// "broken" does not render.
class PlainComposer final : public core::Composer {
 public:
  [[nodiscard]] tl::expected<core::ComposedMail, core::ComposeError> compose(
      const core::ComposeRequest& request) const override;
  [[nodiscard]] std::vector<core::TemplateOutline> outlines(std::string_view) const override { return {}; }
  [[nodiscard]] std::optional<core::TemplateOutline> outline(std::string_view, std::string_view,
                                                             std::string_view) const override {
    return std::nullopt;
  }
};
// What stands after "code=" in a mail.
[[nodiscard]] std::string code_in(const core::Secret& content);

// Tokens whose confirmation is a plain sum: enough to be right, wrong, old, or of somebody else.
class PlainTokens final : public core::BounceTokens {
 public:
  [[nodiscard]] std::string recipient(std::int64_t recipient, std::string_view key,
                                      core::WallTime at) const override;
  [[nodiscard]] std::string message(const core::Id& id) const override;
  [[nodiscard]] std::optional<core::Id> read_message(std::string_view token) const override;
  [[nodiscard]] std::optional<core::RecipientClaim> read_recipient(std::string_view token,
                                                                   core::WallTime at) const override;
  [[nodiscard]] bool confirms(const core::RecipientClaim& claim, std::string_view key) const override;
};

class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

[[nodiscard]] KeyRing key_ring(const std::vector<char>& keys, const std::string& source = "test.key");

// Nothing is limited.
[[nodiscard]] core::LimitRules no_limits();

// One relay, "primary", with so many places.
[[nodiscard]] core::ClaimBudget budget_of(int jobs);

struct StoreFixture {
  StoreFixture();

  void open(KeyRing keys = key_ring({'k'}));
  void close() { store.reset(); }
  [[nodiscard]] std::string database_path() const { return folder.path() + "/mailotpd.db"; }

  // A challenge with its first mail. Its code is in `last_code`.
  core::CreateChallenge create_command(const std::string& mailbox = "alice@example.org");
  core::CheckCode check_command(const core::Id& id, const std::string& typed) const;
  core::SendChallenge send_command(const core::Id& id);
  core::CancelChallenge cancel_command(const core::Id& id) const;
  core::SettleFact fact(core::Fact fact) const { return {now, std::move(fact)}; }

  core::Committed commit(std::vector<core::Command> batch, int jobs = 0);
  core::Outcome run(core::Command command);
  // The outcome must be this.
  core::ChallengeAnswer challenge_answer(core::Command command);
  core::CheckAnswer check_answer(core::Command command);
  core::Refusal refusal(core::Command command);
  void done(core::Command command);

  core::ChallengeView created(const std::string& mailbox = "alice@example.org");
  std::vector<core::Job> claim(int jobs = 10);
  // What commit() said last.
  core::Committed last;

  core::ChallengeView view(const core::Id& challenge);
  core::MessageView message_view(const core::Id& message);
  core::Stats stats();
  // "type,type,…" of the message's events.
  std::string events(const core::Id& message);

  TemporaryFolder folder;
  SeededRandom random{7};
  PlainComposer composer;
  PlainTokens tokens;
  core::Verp verp = core::Verp::recipient;
  core::VerdictTable verdicts = core::verdict_table();
  core::ForeignMail foreign = core::ForeignMail::leave;
  core::LimitRules limits = no_limits();
  core::BrakeConfig brake{20, 1'000'000'000, core::Seconds{600}};
  core::IdSource ids{random};
  core::WallTime now;
  core::DeliveryPolicy policy;
  core::RetentionConfig retention;
  std::int64_t max_open_messages = 1'000'000;
  std::int64_t min_free_disk = 0;
  std::int64_t reserve = 1 << 20;
  std::string last_code;
  std::unique_ptr<SqliteStore> store;
};

[[nodiscard]] std::unique_ptr<SqliteReader> reader_of(const StoreFixture& fixture);

}  // namespace mailotp::store::test
