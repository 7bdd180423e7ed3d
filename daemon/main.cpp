// mailotpd --config FILE [--check] [--diagnose] [--version]: foreground, log on standard error.
#include <array>
#include <cstdio>
#include <string>

#include <getopt.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/app/app.h"
#include "daemon/app/log_output.h"
#include "daemon/app/named_files.h"
#include "daemon/config/accounts.h"
#include "daemon/config/config_file.h"
#include "daemon/diagnosis/diagnosis.h"

namespace {

using mailotp::daemon::ExitCode;

constexpr const char* k_usage =
    "usage: mailotpd [--config FILE] [--check] [--diagnose] [--version]\n"
    "\n"
    "Sends one-time passwords by mail for the applications of this machine, and checks them.\n"
    "Runs in the foreground, logs to standard error; SIGTERM drains and stops, SIGHUP\n"
    "takes over a changed configuration.\n"
    "\n"
    "  --config FILE   the configuration (default /etc/mailotpd/mailotpd.toml)\n"
    "  --check         validates the configuration, its keys, passwords and templates, and exits: 0 good,\n"
    "                  78 bad. Files that are not there are told: systemd may hand them over\n"
    "  --diagnose      says what is wrong with this installation, as far as files tell: on standard\n"
    "                  output, a JSON object a line with check, subject, result (ok, warning, failed,\n"
    "                  unseen), saw and remedy. Changes nothing, also beside a daemon that runs. Exits:\n"
    "                  0 nothing failed, 78 something did. `mailotpctl doctor` shows it to people, with\n"
    "                  what the daemon itself can tell\n"
    "  --version       prints the version and exits\n"
    "  --help          prints this\n";

struct Options {
  std::string config = "/etc/mailotpd/mailotpd.toml";
  bool check = false;
  bool diagnose = false;
};

int exit_with(ExitCode code) {
  return static_cast<int>(code);
}

// Nothing that could hold a code or a key goes to disk.
void forbid_core_dumps() {
  const rlimit none{0, 0};
  (void)::setrlimit(RLIMIT_CORE, &none);  // a lower limit is always granted
#ifndef __SANITIZE_ADDRESS__              // LeakSanitizer looks at the process through ptrace(2)
  (void)::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

// Nor to the swap, where the system lets us: not under a limit of locked memory, which would make a later
// allocation fail. Pages are locked as they come into use.
void lock_memory() {
#ifndef __SANITIZE_ADDRESS__  // its shadow is larger than any memory
  rlimit limit{};
  const bool unlimited = ::getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY;
  if (unlimited) (void)::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);  // else as without
#endif
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);  // what was there before will do
}

int run(const Options& options) {
  if (options.diagnose) {
    forbid_core_dumps();  // it reads the keys
    return exit_with(mailotp::daemon::print_diagnosis(options.config));
  }
  auto loaded = mailotp::daemon::load_config(options.config, mailotp::daemon::SystemAccounts());
  if (!loaded) {
    (void)std::fprintf(stderr, "%s\n", loaded.error().what.c_str());
    return exit_with(ExitCode::bad_configuration);
  }
  if (options.check) {
    const auto absent = mailotp::daemon::check_named_files(*loaded);
    if (!absent) {
      (void)std::fprintf(stderr, "%s\n", absent.error().what.c_str());
      return exit_with(ExitCode::bad_configuration);
    }
    for (const std::string& file : *absent)
      (void)std::fprintf(stderr, "%s: good only where systemd hands it over (LoadCredential=)\n",
                         file.c_str());
    (void)std::printf("%s: good\n", options.config.c_str());
    return exit_with(ExitCode::ok);
  }
  forbid_core_dumps();
  lock_memory();
  raise_descriptor_limit();
  (void)::signal(SIGPIPE, SIG_IGN);
  mailotp::daemon::LogOutput log(loaded->config.daemon.log, loaded->config.daemon.log_level);
  mailotp::daemon::App app(std::move(*loaded), log);
  if (const auto started = app.start(); !started) {
    log.write(mailotp::core::LogLevel::error, "event=start_refused what=\"" + started.error().what + "\"");
    return exit_with(started.error().code);
  }
  return exit_with(app.run());
}

}  // namespace

int main(int argc, char** argv) {
  static const std::array<option, 6> k_options{{{"config", required_argument, nullptr, 'c'},
                                                {"check", no_argument, nullptr, 'k'},
                                                {"diagnose", no_argument, nullptr, 'd'},
                                                {"version", no_argument, nullptr, 'v'},
                                                {"help", no_argument, nullptr, 'h'},
                                                {nullptr, 0, nullptr, 0}}};
  Options options;
  for (int choice = 0; (choice = ::getopt_long(argc, argv, "c:h", k_options.data(), nullptr)) != -1;) {
    switch (choice) {
      case 'c':
        options.config = optarg;
        break;
      case 'k':
        options.check = true;
        break;
      case 'd':
        options.diagnose = true;
        break;
      case 'v':
        (void)std::printf("mailotpd %s\n", MAILOTP_VERSION);
        return 0;
      case 'h':
        (void)std::fputs(k_usage, stdout);
        return 0;
      default:
        (void)std::fputs(k_usage, stderr);
        return exit_with(ExitCode::usage);
    }
  }
  if (optind != argc) {
    (void)std::fputs(k_usage, stderr);
    return exit_with(ExitCode::usage);
  }
  return run(options);
}
