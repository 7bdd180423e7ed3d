// The corpus of the fuzz targets, whole and in pieces: nothing of it may break what holds for every mail.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/bounce/mails.h"
#include "tests/fuzz/bounce_invariants.h"

using namespace mailotp;
using namespace mailotp::testing;
using core::BounceKind;

namespace {

std::vector<std::string> corpus() {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(CORPUS)) {
    std::ifstream stream(entry.path(), std::ios::binary);
    out.emplace_back(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
  }
  return out;
}

// Whether what the beginning of a mail says may stand beside what the whole says.
bool sane(const core::BounceReport& beginning, const core::BounceReport& whole) {
  for (const core::BouncedRecipient& one : beginning.recipients) {
    if (one.kind == BounceKind::success) return false;
  }
  return beginning.kind == BounceKind::none || beginning.kind == whole.kind;
}

}  // namespace

TEST_CASE("the fuzzers' corpus holds", "[bounce][corpus]") {
  const std::vector<std::string> mails = corpus();
  REQUIRE(mails.size() >= 25);
  for (const std::string& mail : mails) {
    fuzz::check_scan(mail);
    fuzz::check_parse(mail);
  }
}

TEST_CASE("every beginning and every end of the corpus holds", "[bounce][corpus]") {
  for (const std::string& mail : corpus()) {
    const std::string_view whole = std::string_view(mail).substr(0, 1500);
    for (std::size_t at = 0; at <= whole.size(); ++at) {
      fuzz::check_scan(whole.substr(0, at));
      fuzz::check_parse(whole.substr(0, at));
      fuzz::check_parse(whole.substr(at));
    }
  }
}

TEST_CASE("a mail cut anywhere never turns into another verdict", "[bounce][corpus]") {
  const std::string failure =
      dsn({.fields = fields("reader@example.net", "failed", "5.1.1", "550 5.1.1 gone")});
  const std::string delay = dsn({.fields = fields("reader@example.net", "delayed", "4.4.1", "timed out"),
                                 .subject = "Delayed Mail (still being retried)"});
  for (const std::string& mail : {failure, delay}) {
    const core::BounceReport whole = report_of(mail);
    for (std::size_t at = 0; at <= mail.size(); ++at) {
      INFO(at);
      CHECK(sane(report_of(std::string_view(mail).substr(0, at)), whole));
    }
  }
}

TEST_CASE("every byte of a report may be wrong", "[bounce][corpus]") {
  std::string mail = dsn({.fields = fields("reader@example.net", "failed", "5.1.1", "550 5.1.1 gone")});
  for (std::size_t at = 0; at < mail.size(); ++at) {
    const char was = mail[at];
    for (const char wrong : {'\0', '\n', '\xFF', '-', '"'}) {
      mail[at] = wrong;
      fuzz::check_parse(mail);
    }
    mail[at] = was;
  }
}

TEST_CASE("the status of a notification is a status or nothing", "[bounce][corpus]") {
  const core::BounceReport report = report_of(
      "From: "
      "no-reply@sns.amazonaws.com\n\n{\"notificationType\":\"Bounce\",\"bouncedRecipients\":[{"
      "\"emailAddress\":"
      "\"reader@example.net\",\"status\":\"5.1. and many other words\"}]}\n");
  REQUIRE(report.recipients.size() == 1);
  CHECK(report.recipients[0].status.empty());
}
