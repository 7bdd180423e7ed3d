#include "tests/store/store_fixture.h"

#include <cstdlib>
#include <filesystem>

#include <catch2/catch.hpp>
#include <unistd.h>

namespace mailotp::store::test {

using core::Millis;

void SeededRandom::fill(std::span<std::uint8_t> out) {
  // xorshift64*
  for (std::uint8_t& byte : out) {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    byte = static_cast<std::uint8_t>(state_ * 2685821657736338717ULL >> 56);
  }
}

tl::expected<core::ComposedMail, core::ComposeError> PlainComposer::compose(
    const core::ComposeRequest& request) const {
  if (request.template_name == "missing")
    return tl::unexpected(
        core::ComposeError{core::ComposeFault::template_unknown, "no template missing", "template"});
  if (request.template_name == "broken")
    return tl::unexpected(
        core::ComposeError{core::ComposeFault::template_failed, "name is missing", "data.name"});
  std::string text = "To: " + request.recipient.mailbox() + "\r\n\r\n" + k_body_marker +
                     "\r\ncode=" + std::string(request.code.reveal()) +
                     "\r\nvariables=" + std::string(request.variables.reveal()) +
                     "\r\nbinding=" + std::string(request.binding.reveal()) +
                     "\r\nlife=" + std::to_string(request.life.count()) + "\r\n";
  return core::ComposedMail{core::Secret(std::move(text)), "<" + to_string(request.message) + "@test>",
                            "0123456789abcdef", request.locale};
}

std::string code_in(const core::Secret& content) {
  const std::string text(content.reveal());
  const std::size_t at = text.find("code=");
  REQUIRE(at != std::string::npos);
  return text.substr(at + 5, text.find('\r', at) - at - 5);
}

static std::uint32_t epoch_of(core::WallTime at) {
  return static_cast<std::uint32_t>(at.time_since_epoch() / core::Millis{core::k_token_epoch});
}

static std::string sum_of(std::int64_t recipient, std::uint32_t epoch, std::string_view key) {
  std::uint32_t sum = 2166136261U ^ static_cast<std::uint32_t>(recipient) ^ epoch;
  for (const char c : key)
    sum = (sum ^ static_cast<unsigned char>(c)) * 16777619U;
  return std::to_string(sum);
}

std::string PlainTokens::recipient(std::int64_t recipient, std::string_view key, core::WallTime at) const {
  const std::uint32_t epoch = epoch_of(at);
  return "r" + std::to_string(recipient) + "x" + std::to_string(epoch) + "x" + sum_of(recipient, epoch, key);
}

std::string PlainTokens::message(const core::Id& id) const {
  std::string out = "m";
  for (const std::uint8_t byte : id.bytes)
    for (const int digit : {byte >> 4, byte & 15})
      out += static_cast<char>(digit < 10 ? '0' + digit : 'a' + digit - 10);
  return out;
}

std::optional<core::Id> PlainTokens::read_message(std::string_view token) const {
  if (token.size() != 33 || token[0] != 'm') return std::nullopt;
  core::Id id;
  for (std::size_t i = 0; i < 32; ++i) {
    const char c = token[i + 1];
    const int digit = c <= '9' ? c - '0' : c - 'a' + 10;
    if (digit < 0 || digit > 15) return std::nullopt;
    id.bytes[i / 2] = static_cast<std::uint8_t>(id.bytes[i / 2] << 4 | digit);
  }
  return id;
}

std::optional<core::RecipientClaim> PlainTokens::read_recipient(std::string_view token,
                                                                core::WallTime at) const {
  if (!token.starts_with('r')) return std::nullopt;
  const std::size_t first = token.find('x');
  const std::size_t second = token.find('x', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  core::RecipientClaim claim;
  claim.recipient = std::stoll(std::string(token.substr(1, first - 1)));
  claim.epoch = static_cast<std::uint32_t>(std::stoul(std::string(token.substr(first + 1))));
  claim.mac = token.substr(second + 1);
  if (claim.epoch > epoch_of(at) || claim.epoch + 1 < epoch_of(at)) return std::nullopt;
  return claim;
}

bool PlainTokens::confirms(const core::RecipientClaim& claim, std::string_view key) const {
  return claim.mac == sum_of(claim.recipient, claim.epoch, key);
}

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "mailotp-store-XXXXXX").string();
  REQUIRE(::mkdtemp(name.data()) != nullptr);
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

KeyRing key_ring(const std::vector<char>& keys, const std::string& source) {
  std::vector<core::Secret> masters;
  for (const char c : keys)
    masters.emplace_back(std::string(32, c));
  auto ring = KeyRing::create(masters, source);
  REQUIRE(ring);
  return *std::move(ring);
}

StoreFixture::StoreFixture() : now(core::from_unix_ms(1'795'000'000'000)) {
  policy.jitter_percent = 0;
  open();
}

void StoreFixture::open(KeyRing keys) {
  auto opened = SqliteStore::open({folder.path(), std::move(keys), policy, "bounces@example.org",
                                   max_open_messages, composer, random, tokens, min_free_disk, reserve,
                                   retention, verp, verdicts, foreign, limits, brake});
  INFO((opened ? "" : opened.error().what));
  REQUIRE(opened);
  store = *std::move(opened);
}

core::CreateChallenge StoreFixture::create_command(const std::string& mailbox) {
  core::CreateChallenge command;
  command.at = now;
  command.id = ids.next(now);
  command.app = "shop";
  command.purpose = "login";
  command.recipient = *core::parse_address(mailbox);
  command.terms.code = {10, core::Alphabet::crockford32};
  command.code = core::make_code(command.terms.code, random);
  last_code = command.code.reveal();
  command.template_name = "otp";
  command.locale = "de";
  command.variables = core::Secret(R"({"name":"Alice"})");
  command.metadata = R"({"order":7})";
  command.actor = {core::ActorKind::app, 1000};
  core::ComposeRequest request;
  request.recipient = command.recipient;
  request.template_name = "otp";
  request.message = ids.next(now);
  request.code = command.code.clone();
  request.locale = command.locale;
  command.message = core::NewMessage{request.message, *composer.compose(request)};
  return command;
}

core::CheckCode StoreFixture::check_command(const core::Id& id, const std::string& typed) const {
  core::CheckCode command;
  command.at = now;
  command.app = "shop";
  command.id = id;
  command.typed = core::Secret(typed);
  return command;
}

core::SendChallenge StoreFixture::send_command(const core::Id& id) {
  return {now, "shop", id, ids.next(now), {core::ActorKind::app, 1000}};
}

core::CancelChallenge StoreFixture::cancel_command(const core::Id& id) const {
  return {now, "shop", id, {core::ActorKind::app, 1000}};
}

core::LimitRules no_limits() {
  core::LimitRules rules;
  rules.common.recipient_sends.clear();
  rules.common.recipient_failures.clear();
  rules.common.client_sends.clear();
  return rules;
}

core::ClaimBudget budget_of(int jobs) {
  core::RelayOffer relay;
  relay.name = "primary";
  relay.use = core::RelayUse::clean;
  relay.jobs = jobs;
  core::ClaimBudget budget;
  budget.relays.push_back(std::move(relay));
  return budget;
}

core::Committed StoreFixture::commit(std::vector<core::Command> batch, int jobs) {
  const std::size_t commands = batch.size();
  core::Committed out = store->commit(batch, budget_of(jobs), now);
  REQUIRE(out.outcomes.size() == commands);
  return out;
}

core::Outcome StoreFixture::run(core::Command command) {
  std::vector<core::Command> batch;
  batch.push_back(std::move(command));
  last = commit(std::move(batch));
  return std::move(last.outcomes[0]);
}

template <class Answer>
static Answer expect(core::Outcome outcome) {
  INFO((outcome ? "" : outcome.error().what));
  REQUIRE(outcome);
  REQUIRE(std::holds_alternative<Answer>(*outcome));
  return std::get<Answer>(*std::move(outcome));
}

core::ChallengeAnswer StoreFixture::challenge_answer(core::Command command) {
  return expect<core::ChallengeAnswer>(run(std::move(command)));
}
core::CheckAnswer StoreFixture::check_answer(core::Command command) {
  return expect<core::CheckAnswer>(run(std::move(command)));
}
core::Refusal StoreFixture::refusal(core::Command command) {
  return expect<core::Refusal>(run(std::move(command)));
}
void StoreFixture::done(core::Command command) {
  (void)expect<core::Done>(run(std::move(command)));
}

core::ChallengeView StoreFixture::created(const std::string& mailbox) {
  return challenge_answer(create_command(mailbox)).challenge;
}

std::vector<core::Job> StoreFixture::claim(int jobs) {
  last = commit({}, jobs);
  INFO((last.error ? last.error->what : ""));
  REQUIRE_FALSE(last.error);
  return std::move(last.jobs);
}

std::unique_ptr<SqliteReader> reader_of(const StoreFixture& fixture) {
  auto reader = SqliteReader::open(fixture.folder.path(), fixture.limits);
  INFO((reader ? "" : reader.error().what));
  REQUIRE(reader);
  return *std::move(reader);
}

core::ChallengeView StoreFixture::view(const core::Id& challenge) {
  auto found = reader_of(*this)->challenge("shop", challenge, now);
  REQUIRE(found);
  return *std::move(found);
}

core::MessageView StoreFixture::message_view(const core::Id& message) {
  auto found = reader_of(*this)->message("shop", message);
  REQUIRE(found);
  return *std::move(found);
}

core::Stats StoreFixture::stats() {
  auto found = reader_of(*this)->stats(now);
  REQUIRE(found);
  return *std::move(found);
}

std::string StoreFixture::events(const core::Id& message) {
  auto found = reader_of(*this)->outbox_item(message);
  REQUIRE(found);
  std::string out;
  for (const core::EventView& event : found->events)
    out += (out.empty() ? "" : ",") + event.type;
  return out;
}

}  // namespace mailotp::store::test
