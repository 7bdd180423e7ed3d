// bench-store: what a send costs in the database, as bare rows and through the store.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include "bench/store_files.h"
#include "bench/store_ours.h"
#include "bench/store_plain.h"
#include "bench/store_sends.h"
#include "bench/store_trace.h"

namespace mailotp::bench {
namespace {

using core::Result;

constexpr const char* k_description =
    "What a send costs in the database, from its create to the relay's word that it has taken the mail: 2.5 "
    "KB\n"
    "of body, synchronous=FULL. Each transaction creates and claims N sends and settles the N before them.\n"
    "  plain  the rows alone, by SQLite's C functions: the ceiling of any store with this schema\n"
    "  store  the daemon's store: sealing, limits, decisions, reads\n"
    "Time and CPU are those of the transactions, with the checkpoints in them; a log page has 4,120 bytes.\n"
    "Ends with 0, 1 when the two write different statements, 2 for bad arguments, 70 when one fails.";

constexpr std::int64_t k_most_window_sends = 100'000;
constexpr std::size_t k_sends_a_fill = 500;
constexpr int k_turns_first = 8;  // not measured: they load the caches

struct Options {
  double seconds = 2;
  std::vector<int> groups{1, 16, 64};
  std::int64_t prefill = 0;
  Sends::Windows windows{0, 10};
  bool json = false;
};

void declare(CLI::App& app, Options& options) {
  app.add_option("--seconds", options.seconds, "of each of the runs")
      ->check(CLI::Range(0.05, 3600.0))
      ->capture_default_str();
  app.add_option("--sends", options.groups, "sends a transaction, one run each")
      ->delimiter(',')
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  app.add_option("--prefill", options.prefill,
                 "queued messages that are in the database beforehand (6 KB each)")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{100'000'000}));
  auto* windows =
      app.add_option("--windows", options.windows.addresses,
                     "recipients take turns among so many addresses, the limit's window of each full")
          ->check(CLI::Range(std::int64_t{1}, std::int64_t{1'000'000}));
  app.add_option("--window-sends", options.windows.sends, "sends that fill a window")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1'000'000}))
      ->needs(windows)
      ->capture_default_str();
  app.add_flag("--json", options.json, "one JSON list in place of text");
}

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "mailotp-bench-XXXXXX").string();
    if (::mkdtemp(name.data()) != nullptr) path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  // A folder in it, made; empty: it cannot be made.
  [[nodiscard]] std::string make(const char* name) const {
    std::error_code failed;
    std::filesystem::create_directory(path_ + "/" + name, failed);
    return path_.empty() || failed ? "" : path_ + "/" + name;
  }

 private:
  std::string path_;
};

enum class Kind : std::uint8_t { plain, store };
constexpr std::array k_kinds{Kind::plain, Kind::store};
std::string_view to_string(Kind kind) {
  return kind == Kind::plain ? "plain" : "store";
}

struct Row {
  Kind kind = Kind::plain;
  int group = 0;
  std::int64_t sends = 0;
  SendWriter::Spent spent;
  FileCounts files;
  [[nodiscard]] double each(std::uint64_t count) const {
    return static_cast<double>(count) / static_cast<double>(sends);
  }
  [[nodiscard]] double per_second() const {
    return static_cast<double>(sends) / std::chrono::duration<double>(spent.time).count();
  }
  [[nodiscard]] double cpu_us() const {
    return std::chrono::duration<double, std::micro>(spent.cpu).count() / static_cast<double>(sends);
  }
};

struct Bench {
  const Options& options;
  const CountedFiles& files;
  std::string folder;
  Sends sends;

  [[nodiscard]] OurRules rules() const {
    OurRules out;
    if (options.windows.addresses == 0) return out;
    out.limits.common.recipient_sends = {{options.windows.sends, Sends::k_period}};
    // With few windows a transaction covers days of the clock.
    out.life = core::Seconds{365 * 86400};
    return out;
  }

  [[nodiscard]] Result<std::unique_ptr<SendWriter>> open(Kind kind) const {
    return kind == Kind::plain ? open_plain(folder) : open_ours(folder, rules());
  }

  Result<> turn(SendWriter& writer, std::size_t group) {
    std::vector<Send> some;
    some.reserve(group);
    while (some.size() < group)
      some.push_back(sends.next());
    return writer.turn(std::move(some), sends.now());
  }

  // Every window of the limits is full after it.
  Result<> fill_windows() {
    auto writer = open(Kind::store);
    if (!writer) return tl::unexpected(writer.error());
    for (auto left = options.windows.addresses * options.windows.sends; left > 0;
         left -= static_cast<std::int64_t>(k_sends_a_fill)) {
      if (auto done = turn(**writer, k_sends_a_fill); !done) return done;
    }
    return turn(**writer, 0);
  }

  Result<Row> measure(Kind kind, int group) {
    auto writer = open(kind);
    if (!writer) return tl::unexpected(writer.error());
    for (int i = 0; i < k_turns_first; ++i) {
      if (auto done = turn(**writer, static_cast<std::size_t>(group)); !done)
        return tl::unexpected(done.error());
    }
    Row row{kind, group, 0, (*writer)->spent(), files.counts()};
    const std::chrono::duration<double> wanted{options.seconds};
    while ((*writer)->spent().time - row.spent.time < wanted) {
      if (auto done = turn(**writer, static_cast<std::size_t>(group)); !done)
        return tl::unexpected(done.error());
      row.sends += group;
    }
    row.spent = {(*writer)->spent().time - row.spent.time, (*writer)->spent().cpu - row.spent.cpu};
    row.files = files.counts() - row.files;
    // The last ones are settled as well, for whoever comes after.
    if (auto done = turn(**writer, 0); !done) return tl::unexpected(done.error());
    return row;
  }
};

// What one transaction of three sends writes, once the first ones are done.
Result<std::map<std::string, int>> writes_of(Bench& bench, Kind kind) {
  const TracedStatements traced;
  auto writer = bench.open(kind);
  if (!writer) return tl::unexpected(writer.error());
  std::map<std::string, int> writes;
  for (int i = 0; i < 3; ++i) {
    (void)TracedStatements::take_writes();
    if (auto done = bench.turn(**writer, 3); !done) return tl::unexpected(done.error());
    writes = TracedStatements::take_writes();
  }
  if (auto done = bench.turn(**writer, 0); !done) return tl::unexpected(done.error());
  writes.erase("brake_forget");  // comes with time
  return writes;
}

// Whether the ceiling is one: bare rows, but the same ones.
Result<bool> same_writes(Bench& bench) {
  auto ours = writes_of(bench, Kind::store);
  if (!ours) return tl::unexpected(ours.error());
  auto plain = writes_of(bench, Kind::plain);
  if (!plain) return tl::unexpected(plain.error());
  std::set<std::string> names;
  for (const auto& writes : {*ours, *plain})
    for (const auto& [name, times] : writes)
      names.insert(name);
  for (const std::string& name : names) {
    if ((*ours)[name] == (*plain)[name]) continue;
    fmt::print(stderr,
               "bench-store: a transaction of 3 sends: {} is run {} times by the store, {} times plainly\n",
               name, (*ours)[name], (*plain)[name]);
  }
  return *ours == *plain;
}

void print_text(const Row& row) {
  fmt::print("{:<6}{:>6}{:>11.0f}{:>9.1f}{:>11.3f}{:>12.0f}{:>10.2f}{:>11.2f}{:>12.0f}\n",
             to_string(row.kind), row.group, row.per_second(), row.cpu_us(), row.each(row.files.syncs),
             row.each(row.files.log_bytes), row.each(row.files.log_bytes) / 4120,
             row.each(row.files.log_writes), row.each(row.files.database_bytes));
  (void)std::fflush(stdout);
}

std::string json_of(const Row& row) {
  return fmt::format(
      R"({{"kind":"{}","sends_a_transaction":{},"sends":{},"sends_per_second":{:.1f},"cpu_us":{:.2f},)"
      R"("syncs":{:.4f},"wal_bytes":{:.1f},"wal_writes":{:.3f},"database_bytes":{:.1f}}})",
      to_string(row.kind), row.group, row.sends, row.per_second(), row.cpu_us(), row.each(row.files.syncs),
      row.each(row.files.log_bytes), row.each(row.files.log_writes), row.each(row.files.database_bytes));
}

// Whether both wrote the same.
Result<bool> run(const Options& options) {
  const CountedFiles files;
  const Folder folder;
  QuickRandom random(1);
  Bench trial{options, files, folder.make("trial"), Sends(random, "trial.example", {})};
  Bench bench{options, files, folder.make("state"), Sends(random, "bench.example", options.windows)};
  if (trial.folder.empty() || bench.folder.empty()) return core::fail(core::Errc::io, "no temporary folder");
  const auto same = same_writes(trial);
  if (!same) return same;
  Sends queued(random, "queued.example", {});
  if (auto filled = fill_ours(bench.folder, queued, options.prefill); !filled)
    return tl::unexpected(filled.error());
  if (options.windows.addresses > 0) {
    if (auto filled = bench.fill_windows(); !filled) return tl::unexpected(filled.error());
  }
  ::sync();  // or the first run waits for what these have left to the disk
  if (!options.json)
    fmt::print(
        "each send   sends   sends/s   CPU µs      syncs   log bytes log pages log writes    db bytes\n");
  std::string json;
  for (const int group : options.groups) {
    for (const Kind kind : k_kinds) {
      const auto row = bench.measure(kind, group);
      if (!row) return tl::unexpected(row.error());
      if (options.json)
        json += (json.empty() ? "" : ",\n ") + json_of(*row);
      else
        print_text(*row);
    }
  }
  if (options.json) fmt::print("[{}]\n", json);
  return same;
}

}  // namespace
}  // namespace mailotp::bench

int main(int argc, char** argv) {
  mailotp::bench::Options options;
  CLI::App app(mailotp::bench::k_description, "bench-store");
  mailotp::bench::declare(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (options.windows.addresses * options.windows.sends > mailotp::bench::k_most_window_sends) {
    fmt::print(stderr, "bench-store: --windows times --window-sends is {} at most\n",
               mailotp::bench::k_most_window_sends);
    return 2;
  }
  const auto same = mailotp::bench::run(options);
  if (!same) {
    fmt::print(stderr, "bench-store: {}\n", same.error().what);
    return 70;
  }
  return *same ? 0 : 1;
}
