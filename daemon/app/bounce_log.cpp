#include "daemon/app/bounce_log.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "core/bounce_rules.h"

namespace mailotp::daemon {

namespace {

std::string_view status_of(std::string_view status) {
  const auto plain = [](char c) { return (c >= '0' && c <= '9') || c == '.'; };
  return !status.empty() && status.size() <= 11 && std::ranges::all_of(status, plain) ? status : "-";
}

std::string_view permanence_of(const std::optional<bool>& permanent) {
  return !permanent ? "unknown" : *permanent ? "yes" : "no";
}

}  // namespace

BounceLog::BounceLog(uv_loop_t* loop, LogRecipients& recipients, core::Log& log, core::Millis period)
    : recipients_(recipients), log_(log), period_(period), timer_(loop, [this] { next_period(); }) {}

void BounceLog::write(const std::vector<core::BounceNews>& bounces) {
  for (const core::BounceNews& news : bounces) {
    const core::BounceView& bounce = news.bounce;
    log_.write(
        core::LogLevel::info,
        fmt::format("event=bounce source={} kind={} class={} permanent={} status={} weight={} message={} {}",
                    core::to_string(bounce.source), core::to_string(bounce.kind),
                    core::to_string(bounce.bounce_class), permanence_of(bounce.permanent),
                    status_of(bounce.status), core::to_string(bounce.weight),
                    bounce.message ? core::to_string(*bounce.message) : "-",
                    recipients_.fields(bounce.recipient)));
    if (bounce.weight == core::VerdictWeight::alarm) alarm(news);
  }
}

void BounceLog::alarm(const core::BounceNews& news) {
  const auto bounce_class = static_cast<std::size_t>(news.bounce.bounce_class);
  Alarm& alarm = alarms_[bounce_class];
  ++alarm.count;
  alarm.relay = news.relay.empty() ? "-" : news.relay;
  alarm.status = status_of(news.bounce.status);
  if (!alarm.told) tell(bounce_class);
}

void BounceLog::tell(std::size_t bounce_class) {
  Alarm& alarm = alarms_[bounce_class];
  log_.write(core::LogLevel::warning,
             fmt::format("event=bounce_alarm class={} relay={} status={} count={}",
                         core::to_string(static_cast<core::BounceClass>(bounce_class)), alarm.relay,
                         alarm.status, alarm.count));
  alarm.count = 0;
  alarm.told = true;
  if (!counting_) timer_.start(period_);
  counting_ = true;
}

// All classes share the period, so one that was told late in it may be told again sooner than after a whole
// one: never more than once in each.
void BounceLog::next_period() {
  counting_ = false;
  for (std::size_t i = 0; i < alarms_.size(); ++i) {
    alarms_[i].told = false;
    if (alarms_[i].count > 0) tell(i);
  }
}

}  // namespace mailotp::daemon
