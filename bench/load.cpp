// bench-load: a closed loop of HTTP requests on the daemon's socket, from one thread.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "bench/load_run.h"
#include "bench/load_work.h"

namespace mailotp::bench {
namespace {

constexpr const char* k_description =
    "Loads a running mailotpd over its apps' socket: N keep-alive connections, each with one request under "
    "way,\n"
    "all on one thread. The daemon's brake must be off or high, or most answers are 429.\n"
    "  send   POST /v1/challenges, a new recipient each time; a 201 is an acknowledged send\n"
    "  check  makes challenges first (not measured), then checks each four times with a wrong code\n"
    "  mixed  one create, one check, one read of each challenge\n"
    "Latency runs from the moment when a request was due: with --rate, waiting for a free connection "
    "counts.\n"
    "With --stamps each acknowledged create is a line `address<TAB>nanoseconds` of the file: CLOCK_MONOTONIC "
    "when it\n"
    "was due. bench-sink writes the same of its 250.\n"
    "Ends with 0 when every answer was the expected one, 1 when not, 2 for bad arguments, 69 without a "
    "daemon.";

struct Options {
  std::string mode = "send";
  std::string socket = "/run/mailotpd/api.sock";
  std::size_t connections = 16;
  double seconds = 0;
  std::uint64_t requests = 0;
  double rate = 0;
  std::uint64_t first = 0;
  std::size_t challenges = 0;
  std::uint64_t clients = 0;
  bool wait = false;
  std::string stamps;
  bool json = false;
};

void declare(CLI::App& app, Options& options) {
  app.add_option("mode", options.mode, "send, check or mixed")
      ->check(CLI::IsMember({"send", "check", "mixed"}));
  app.add_option("--socket", options.socket, "the apps' socket")->capture_default_str();
  app.add_option("--connections", options.connections)->check(CLI::Range(1, 10000))->capture_default_str();
  auto* seconds = app.add_option("--seconds", options.seconds, "how long (10 when --requests is absent)")
                      ->check(CLI::Range(0.1, 86400.0));
  app.add_option("--requests", options.requests, "how many")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1'000'000'000}))
      ->excludes(seconds);
  app.add_option("--rate", options.rate, "requests a second, evenly spaced; 0: as fast as answers come")
      ->check(CLI::Range(0.0, 1e6));
  app.add_option("--first", options.first, "number of the first recipient u<N>@example.test");
  app.add_option("--challenges", options.challenges,
                 "check: how many to make (default: for --requests, or 20000)")
      ->check(CLI::Range(std::size_t{1}, std::size_t{10'000'000}));
  app.add_option("--clients", options.clients,
                 "creates and checks name one of so many client addresses in turns")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 24));
  app.add_flag(
      "--wait", options.wait,
      "check: when the challenges are made, writes `ready` to standard error and begins at a line or the "
      "end of standard input");
  app.add_option("--stamps", options.stamps, "file for the times of the creates");
  app.add_flag("--json", options.json, "one JSON object in place of text");
}

double percentile_ms(const std::vector<std::uint32_t>& sorted, double share) {
  if (sorted.empty()) return 0;
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return static_cast<double>(sorted[std::clamp<std::size_t>(rank, 1, sorted.size()) - 1]) / 1000;
}

struct Report {
  double per_second = 0;
  double p50 = 0, p90 = 0, p99 = 0, max = 0;  // ms
};

Report summarise(Tally& tally) {
  std::sort(tally.latencies.begin(), tally.latencies.end());
  Report report;
  report.per_second = static_cast<double>(tally.acknowledged) / tally.elapsed.count();
  report.p50 = percentile_ms(tally.latencies, 0.50);
  report.p90 = percentile_ms(tally.latencies, 0.90);
  report.p99 = percentile_ms(tally.latencies, 0.99);
  report.max = percentile_ms(tally.latencies, 1.0);
  return report;
}

void print_text(const Options& options, const Tally& tally, const Report& report) {
  fmt::print("{} · {} connections · {:.2f} s\n", options.mode, options.connections, tally.elapsed.count());
  fmt::print("acknowledged  {} ({:.0f}/s)\n", tally.acknowledged, report.per_second);
  for (const auto& [key, count] : tally.by_status) {
    fmt::print("{:<6} {}    {}{}\n", to_string(key.first), key.second, count,
               is_acknowledged(key.first, key.second) ? "" : "  not as expected");
  }
  if (tally.lost > 0) fmt::print("connections lost  {}\n", tally.lost);
  fmt::print("latency ms    p50 {:.3f}   p90 {:.3f}   p99 {:.3f}   max {:.3f}\n", report.p50, report.p90,
             report.p99, report.max);
}

std::int64_t nanoseconds(std::chrono::steady_clock::time_point time) {
  return std::chrono::nanoseconds(time.time_since_epoch()).count();
}

void print_json(const Options& options, const Tally& tally, const Report& report) {
  std::string answers;
  for (const auto& [key, count] : tally.by_status) {
    fmt::format_to(std::back_inserter(answers), R"({}"{} {}":{})", answers.empty() ? "" : ",",
                   to_string(key.first), key.second, count);
  }
  fmt::print(
      R"({{"mode":"{}","connections":{},"began_ns":{},"seconds":{:.3f},"acknowledged":{},"acknowledged_per_second":{:.1f},)"
      R"("answers":{{{}}},"lost":{},"latency_ms":{{"p50":{:.3f},"p90":{:.3f},"p99":{:.3f},"max":{:.3f}}}}})"
      "\n",
      options.mode, options.connections, nanoseconds(tally.began), tally.elapsed.count(), tally.acknowledged,
      report.per_second, answers, tally.lost, report.p50, report.p90, report.p99, report.max);
}

core::Result<Tally> make_challenges(const Options& options, Work& work) {
  RunPlan plan;
  plan.socket = options.socket;
  plan.connections = 64;
  const std::uint64_t for_requests = (options.requests + Work::k_checks_each - 1) / Work::k_checks_each;
  plan.requests = options.challenges > 0 ? options.challenges : options.requests > 0 ? for_requests : 20000;
  return run_load(
      plan, [&] { return std::optional(work.create()); },
      [&](Kind kind, const Answer& answer) { work.answered(kind, answer); });
}

core::Result<Tally> measure(const Options& options) {
  const Mode mode = options.mode == "send" ? Mode::send : options.mode == "check" ? Mode::check : Mode::mixed;
  Work work(mode, options.first, options.clients);
  if (mode == Mode::check) {
    auto made = make_challenges(options, work);
    if (!made) return made;
    if (work.checks_left() == 0) return core::fail(core::Errc::unavailable, "no challenge could be made");
    if (options.wait) {
      fmt::print(stderr, "ready\n");
      for (int c = std::getchar(); c != EOF && c != '\n';)
        c = std::getchar();
    }
  }
  RunPlan plan;
  plan.socket = options.socket;
  plan.connections = options.connections;
  plan.rate = options.rate;
  plan.stamps = !options.stamps.empty();
  if (options.requests > 0) {
    plan.requests = options.requests;
  } else {
    plan.duration = std::chrono::duration<double>(options.seconds > 0 ? options.seconds : 10);
  }
  return run_load(
      plan, [&] { return work.next(); },
      [&](Kind kind, const Answer& answer) { work.answered(kind, answer); });
}

bool write_stamps(const std::string& path, const std::vector<SendStamp>& stamps) {
  std::FILE* const file = std::fopen(path.c_str(), "w");
  if (file == nullptr) return false;
  for (const SendStamp& stamp : stamps)
    fmt::print(file, "u{}@example.test\t{}\n", stamp.recipient, nanoseconds(stamp.due));
  return std::fclose(file) == 0;
}

int load(const Options& options) {
  auto tally = measure(options);
  if (!tally) {
    fmt::print(stderr, "bench-load: {}\n", tally.error().what);
    return 69;
  }
  if (!options.stamps.empty() && !write_stamps(options.stamps, tally->stamps)) {
    fmt::print(stderr, "bench-load: {}: cannot be written\n", options.stamps);
    return 69;
  }
  const Report report = summarise(*tally);
  if (options.json) {
    print_json(options, *tally, report);
  } else {
    print_text(options, *tally, report);
  }
  return tally->lost == 0 && tally->acknowledged == tally->latencies.size() ? 0 : 1;
}

}  // namespace
}  // namespace mailotp::bench

int main(int argc, char** argv) {
  mailotp::bench::Options options;
  CLI::App app(mailotp::bench::k_description, "bench-load");
  mailotp::bench::declare(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return mailotp::bench::load(options);
}
