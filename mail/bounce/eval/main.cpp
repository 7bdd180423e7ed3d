// bounce-eval: what the parser makes of a folder of mails, as JSON lines, or how fast it is.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <sys/resource.h>

#include "mail/bounce/parser.h"

namespace {

namespace core = mailotp::core;
using mailotp::mail::ParsedMail;

constexpr std::string_view k_usage =
    "usage: bounce-eval [--time] DIR\n"
    "\n"
    "Reads every file of the folder DIR as one mail and prints a JSON object a line: file, kind, rule, and "
    "the\n"
    "recipients with address, permanent, final, hard, status, class, diagnostic and host.\n"
    "\n"
    "  --time  prints mails a second of one core instead: the mails are read into memory first, then parsed\n"
    "          over and over for three seconds of processor time; and the peak memory after the first pass "
    "and\n"
    "          after the last\n";

// The mails of a large report all count here; the daemon's own have one recipient each.
constexpr std::size_t k_recipients = 64;

struct File {
  std::string name;
  std::string bytes;
};

ParsedMail parse(const File& file) {
  mailotp::mail::ParserBounds bounds;
  bounds.recipients = k_recipients;
  return mailotp::mail::parse_mail(file.bytes, {}, bounds);
}

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out.push_back('\\');
    if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out.push_back(c);
    }
  }
  return out + "\"";
}

// The default weights: the address itself is dead.
bool is_hard(const core::BouncedRecipient& one) {
  if (one.kind != core::BounceKind::bounce || one.permanent == false) return false;
  if (one.bounce_class == core::BounceClass::host_not_accepting) return one.null_mx;
  return one.bounce_class == core::BounceClass::user_unknown ||
         one.bounce_class == core::BounceClass::host_unknown;
}

std::string recipient_json(const core::BouncedRecipient& one) {
  const std::string_view permanent = !one.permanent ? "null" : *one.permanent ? "true" : "false";
  return fmt::format(
      R"({{"address":{},"permanent":{},"final":{},"hard":{},"status":{},"class":{},"diagnostic":{},"host":{}}})",
      json_string(one.address), permanent, one.kind == core::BounceKind::bounce, is_hard(one),
      json_string(one.status), json_string(core::to_string(one.bounce_class)), json_string(one.diagnostic),
      json_string(one.remote_host));
}

std::string line_of(const File& file) {
  const ParsedMail parsed = parse(file);
  std::string recipients;
  for (const core::BouncedRecipient& one : parsed.report.recipients) {
    if (one.kind == core::BounceKind::success) continue;
    if (!recipients.empty()) recipients.push_back(',');
    recipients += recipient_json(one);
  }
  const std::string_view kind =
      parsed.report.kind == core::BounceKind::feedback ? "arf" : core::to_string(parsed.report.kind);
  return fmt::format(R"({{"file":{},"kind":{},"rule":{},"recipients":[{}]}})", json_string(file.name),
                     json_string(kind), json_string(parsed.report.rule), recipients);
}

bool read_folder(const std::string& folder, std::vector<File>& files) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (!entry.is_regular_file(error)) continue;
    std::ifstream stream(entry.path(), std::ios::binary);
    File file{entry.path().filename().string(), std::string(std::istreambuf_iterator<char>(stream), {})};
    if (!stream) {
      fmt::print(stderr, "bounce-eval: {}: cannot be read\n", entry.path().string());
      return false;
    }
    files.push_back(std::move(file));
  }
  if (error) {
    fmt::print(stderr, "bounce-eval: {}: {}\n", folder, error.message());
    return false;
  }
  if (files.empty()) {
    fmt::print(stderr, "bounce-eval: {}: no files\n", folder);
    return false;
  }
  std::sort(files.begin(), files.end(), [](const File& a, const File& b) { return a.name < b.name; });
  return true;
}

long peak_kib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

// Of this process alone: other work of the machine does not count.
double processor_seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

void print_speed(const std::vector<File>& files) {
  constexpr double k_seconds = 3;
  std::size_t passes = 0;
  std::size_t bytes = 0;
  std::size_t recipients = 0;
  // Once before, so that the caches are warm and memory has its size.
  for (const File& file : files) {
    bytes += file.bytes.size();
    recipients += parse(file).report.recipients.size();
  }
  const long before = peak_kib();
  const double begin = processor_seconds();
  double seconds = 0;
  for (; seconds < k_seconds; seconds = processor_seconds() - begin) {
    for (const File& file : files)
      (void)parse(file);
    ++passes;
  }
  const double rate = static_cast<double>(passes) / seconds;
  fmt::print("{:.0f} mails a second of one core ({:.1f} MB a second); {} mails, {} recipients, {} passes; ",
             static_cast<double>(files.size()) * rate, static_cast<double>(bytes) * rate / 1e6, files.size(),
             recipients, passes);
  fmt::print("peak memory {} KiB after the first pass, {} KiB after the last\n", before, peak_kib());
}

}  // namespace

int main(int argc, char** argv) {
  bool timed = false;
  std::string folder;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--help" || word == "-h") {
      fmt::print("{}", k_usage);
      return 0;
    }
    if (word == "--time") {
      timed = true;
    } else if (folder.empty() && !word.starts_with("-")) {
      folder = word;
    } else {
      fmt::print(stderr, "bounce-eval: {}: not understood\n{}", word, k_usage);
      return 2;
    }
  }
  if (folder.empty()) {
    fmt::print(stderr, "{}", k_usage);
    return 2;
  }
  std::vector<File> files;
  if (!read_folder(folder, files)) return 1;
  if (timed) {
    print_speed(files);
    return 0;
  }
  for (const File& file : files)
    fmt::print("{}\n", line_of(file));
  return std::fflush(stdout) == 0 ? 0 : 1;
}
