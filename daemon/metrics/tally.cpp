#include "daemon/metrics/tally.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "core/limits.h"

namespace mailotp::daemon {

namespace {

// Seconds. A code is typed within minutes; what takes longer is a failure to its user.
constexpr std::array k_delivery_bounds{0.005, 0.01, 0.025, 0.05, 0.1,  0.25,  0.5,   1.0,
                                       2.5,   5.0,  10.0,  30.0, 60.0, 120.0, 300.0, 600.0};
constexpr std::array k_commit_bounds{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                     0.1,    0.25,  0.5,    1.0,   2.5,  5.0,   10.0};
constexpr std::array k_size_bounds{1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0};

constexpr std::array k_limit_names{core::k_limit_recipient_sends,       core::k_limit_recipient_failures,
                                   core::k_limit_client_sends,          core::k_limit_app_sends,
                                   core::k_limit_global_sends,          core::k_limit_brake,
                                   std::string_view("resend_cooldown"), std::string_view("max_sends"),
                                   std::string_view("waits"),           std::string_view("event_streams")};

constexpr std::array<std::string_view, 4> k_disposition_names{"created", "resent", "sent", "canceled"};
constexpr std::array<std::string_view, k_attempt_ends> k_attempt_end_names{"relayed", "refused", "not_sent",
                                                                           "uncertain", "lost"};
constexpr std::array<std::string_view, 3> k_reply_class_names{"2xx", "4xx", "5xx"};
constexpr std::array<std::string_view, 2> k_kind_names{"otp", "templated"};

double seconds(auto duration) {
  return std::chrono::duration<double>(duration).count();
}

template <std::size_t N>
Family counters(std::string name, std::string help, const std::string& label,
                const std::array<std::string_view, N>& names, const std::array<std::uint64_t, N>& values) {
  Family out{std::move(name), MetricType::counter, std::move(help)};
  for (std::size_t i = 0; i < N; ++i)
    out.add_count({{label, std::string(names[i])}}, values[i]);
  return out;
}

}  // namespace

// Everything is there from the start, with 0: a rate over what appears later would miss the first one.
Tally::Tally(const std::vector<core::RelayConfig>& relays)
    : delivery_(k_message_kinds, Histogram(k_delivery_bounds)),
      commit_time_(k_commit_bounds),
      commit_size_(k_size_bounds) {
  for (const std::string_view name : k_limit_names)
    limits_.emplace(name, 0);
  add_relays(relays);
}

void Tally::add_relays(const std::vector<core::RelayConfig>& relays) {
  for (const core::RelayConfig& relay : relays)
    relays_.try_emplace(relay.name);
}

void Tally::commit(const core::Committed& committed, std::size_t commands, std::chrono::nanoseconds took) {
  commit_time_.observe(seconds(took));
  commit_size_.observe(static_cast<double>(commands));
  for (const core::RelayedNews& news : committed.relayed)
    delivery_[static_cast<std::size_t>(news.kind)].observe(seconds(news.waited));
  const bool failed = std::ranges::any_of(committed.outcomes, [](const auto& one) { return !one; });
  if (failed || committed.error) ++commit_errors_;
  for (const core::Outcome& one : committed.outcomes)
    outcome(one);
}

void Tally::outcome(const core::Outcome& outcome) {
  if (!outcome) return;
  if (const auto* check = std::get_if<core::CheckAnswer>(&*outcome))
    ++checks_[static_cast<std::size_t>(check->result)];
  else if (const auto* challenge = std::get_if<core::ChallengeAnswer>(&*outcome))
    ++challenges_[static_cast<std::size_t>(challenge->disposition)];
  else if (std::holds_alternative<core::KeptAnswer>(*outcome))
    ++repeats_;
  else if (const auto* refusal = std::get_if<core::Refusal>(&*outcome); refusal && refusal->limit)
    limit_hit(refusal->limit->name);
}

void Tally::attempt(std::string_view relay, AttemptEnd end, int reply_code) {
  const auto at = relays_.find(relay);
  if (at == relays_.end()) return;
  ++at->second.attempts[static_cast<std::size_t>(end)];
  switch (reply_code / 100) {
    case 2:
      ++at->second.replies[0];
      break;
    case 4:
      ++at->second.replies[1];
      break;
    case 5:
      ++at->second.replies[2];
      break;
    default:  // none, or one that judges nothing
      break;
  }
}

void Tally::limit_hit(std::string_view name) {
  if (const auto at = limits_.find(name); at != limits_.end()) ++at->second;
}

std::vector<Family> Tally::families() const {
  std::array<std::string_view, k_check_results> results;
  for (std::size_t i = 0; i < results.size(); ++i)
    results[i] = core::to_string(static_cast<core::CheckResult>(i));
  std::vector<Family> out;
  out.push_back(counters("mailotpd_checks_total", "Checks of a code that were answered, by result.", "result",
                         results, checks_));
  out.push_back(counters("mailotpd_challenge_requests_total",
                         "Requests that changed a challenge, by what was done.", "done", k_disposition_names,
                         challenges_));
  Family repeats{"mailotpd_repeated_requests_total", MetricType::counter,
                 "Requests that were answered with what the first one under their Idempotency-Key was told."};
  repeats.add_count({}, repeats_);
  out.push_back(std::move(repeats));
  Family limits{"mailotpd_limit_hits_total", MetricType::counter, "Requests answered 429, by limit."};
  for (const auto& [name, count] : limits_)
    limits.add_count({{"limit", name}}, count);
  out.push_back(std::move(limits));
  add_store(out);
  add_relays(out);
  return out;
}

void Tally::add_store(std::vector<Family>& out) const {
  Family time{"mailotpd_store_commit_seconds", MetricType::histogram,
              "Time of one transaction of the store, with its sync to the disk."};
  time.samples.push_back({{}, commit_time_});
  Family size{"mailotpd_store_commit_commands", MetricType::histogram,
              "Commands that shared one transaction."};
  size.samples.push_back({{}, commit_size_});
  Family errors{"mailotpd_store_commit_errors_total", MetricType::counter,
                "Transactions in which a command failed for the store."};
  errors.add_count({}, commit_errors_);
  Family delivery{"mailotpd_delivery_seconds", MetricType::histogram,
                  "Time from the request for a mail to the relay's 250, by kind of message."};
  for (std::size_t i = 0; i < delivery_.size(); ++i)
    delivery.samples.push_back({{{"kind", std::string(k_kind_names[i])}}, delivery_[i]});
  for (Family* family : {&time, &size, &errors, &delivery})
    out.push_back(std::move(*family));
}

void Tally::add_relays(std::vector<Family>& out) const {
  Family attempts{"mailotpd_relay_attempts_total", MetricType::counter,
                  "Hand-overs of a message to a relay, by how they ended."};
  Family replies{"mailotpd_relay_replies_total", MetricType::counter,
                 "Replies of a relay that ended an attempt, by class."};
  for (const auto& [name, relay] : relays_) {
    for (std::size_t i = 0; i < k_attempt_ends; ++i)
      attempts.add_count({{"relay", name}, {"outcome", std::string(k_attempt_end_names[i])}},
                         relay.attempts[i]);
    for (std::size_t i = 0; i < k_reply_classes; ++i)
      replies.add_count({{"relay", name}, {"class", std::string(k_reply_class_names[i])}}, relay.replies[i]);
  }
  out.push_back(std::move(attempts));
  out.push_back(std::move(replies));
}

}  // namespace mailotp::daemon
