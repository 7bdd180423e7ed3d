#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <unistd.h>

#include "ctl/checks.h"
#include "ctl/daemon_program.h"
#include "ctl/text.h"
#include "ctl/verb.h"

namespace mailotp::ctl {
namespace {

// Prints each check as it is found, and counts.
class Report {
 public:
  explicit Report(const Run& run) : run_(run) {}

  void add(const CheckInfo& check) {
    ++checks_;
    warnings_ += check.result == CheckResult::warning ? 1 : 0;
    failed_ += check.result == CheckResult::failed ? 1 : 0;
    if (check.result == CheckResult::unseen) {
      ++unseen_;
      daemon_unseen_ = daemon_unseen_ || check.check == "daemon";
    }
    if (check.check == "admin-socket") admin_socket_ = check.subject;
    run_.print(run_.for_programs() ? check_line(check) + "\n" : show_check(check, run_.screen));
    (void)std::fflush(stdout);  // a test of a relay may follow, which takes long
  }

  [[nodiscard]] const std::string& admin_socket() const { return admin_socket_; }

  Attempt<void> end() const {
    if (failed_ > 0)
      return tl::unexpected(
          Failure{ExitCode::refused, fmt::format("{} of {} checks failed", failed_, checks_)});
    if (daemon_unseen_)
      return tl::unexpected(Failure{ExitCode::no_permission, "nothing failed of what this user may see"});
    if (run_.for_programs()) return {};
    std::string text = "nothing is wrong";
    if (warnings_ > 0) text += fmt::format(", {} {}", warnings_, warnings_ == 1 ? "warning" : "warnings");
    if (unseen_ > 0) text += fmt::format(", {} not seen", unseen_);
    run_.print(text + "\n");
    return {};
  }

 private:
  const Run& run_;
  int checks_ = 0;
  int warnings_ = 0;
  int failed_ = 0;
  int unseen_ = 0;
  bool daemon_unseen_ = false;
  std::string admin_socket_;
};

void no_program(Report& report, const std::string& program, std::string saw) {
  report.add({"programs", program, CheckResult::failed, std::move(saw),
              "install mailotpd beside mailotpctl, of the same version"});
}

void check_files(const std::string& config, Report& report) {
  const std::string program = daemon_program();
  const auto ended = run_program(program, {"--config", config, "--diagnose"});
  if (!ended) return no_program(report, program, ended.error().what);
  bool read = false;
  for (std::string_view rest = ended->output; !rest.empty();) {
    const auto end = std::min(rest.find('\n'), rest.size());
    const auto check = read_check(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (!check) return no_program(report, program, "its answer cannot be read: " + check.error().what);
    report.add(*check);
    read = true;
  }
  if (!read) no_program(report, program, fmt::format("it ended with {} and said nothing", ended->status));
}

}  // namespace

Attempt<void> carry_out(const Doctor& doctor, const Run& run) {
  Report report(run);
  check_files(doctor.config, report);
  const bool named = doctor.socket == SocketFrom::command_line || report.admin_socket().empty();
  const bool shown = !run.for_programs() && isatty(STDERR_FILENO) == 1;
  const Progress progress = [shown](const std::string& what) {
    if (shown) (void)std::fprintf(stderr, "%s …\n", printable(what).c_str());
  };
  check_live(
      named ? run.command.socket : report.admin_socket(), run.screen.now,
      [&report](const CheckInfo& check) { report.add(check); }, progress);
  return report.end();
}

}  // namespace mailotp::ctl
