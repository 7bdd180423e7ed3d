#include "daemon/diagnosis/host.h"

#include <cerrno>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <unistd.h>

#include "daemon/app/places.h"
#include "daemon/state/clock.h"
#include "store/reserve.h"

namespace mailotp::daemon {
namespace {

// With so many times the least, a busy day does not reach it.
constexpr std::int64_t k_ample = 4;
// No clock of a machine that runs this program is right when it shows less.
constexpr std::chrono::sys_days k_first_day = std::chrono::year{2025} / 1 / 1;
constexpr long k_least_abi = 2;  // the agents want it (mail/agent/confine.cpp)

}  // namespace

Finding check_disk(const Site& site) {
  const std::string& folder = site.config.daemon.state_dir;
  const std::int64_t least = site.config.intake.min_free_disk;
  // Before the first start it is not there yet.
  const bool there = ::access(folder.c_str(), F_OK) == 0;
  const auto room =
      store::free_disk(there || errno != ENOENT ? folder : folder.substr(0, folder.rfind('/') + 1));
  if (!room && ::access(folder.c_str(), F_OK) != 0 && errno == EACCES) return unseen("disk", folder);
  if (!room)
    return {"disk", folder, Outcome::failed, room.error().what, "make the disk of state_dir writable again"};
  const std::string saw = fmt::format("{} are free, {} are wanted", shown_size(*room), shown_size(least));
  const std::string remedy = "make room on the disk of state_dir, or set min_free_disk in [delivery] lower";
  if (*room < least) return {"disk", folder, Outcome::failed, saw + ": no new work is taken", remedy};
  if (*room < k_ample * least) return {"disk", folder, Outcome::warning, saw, remedy};
  return {"disk", folder, Outcome::ok, saw, ""};
}

Finding check_clock() {
  const core::WallTime now = wall_now();
  const std::string shown = core::format_rfc3339(now);
  if (now < k_first_day)
    return {"clock", "", Outcome::failed, fmt::format("it shows {}, which cannot be", shown),
            "set it: timedatectl set-time, then timedatectl set-ntp true"};
  timex clock{};
  if (::adjtimex(&clock) < 0)
    return {"clock", "", Outcome::unseen, "the kernel does not tell whether it is synchronised", ""};
  if ((clock.status & STA_UNSYNC) != 0)
    return {"clock", "", Outcome::warning, fmt::format("nothing keeps it right; it shows {}", shown),
            "install systemd-timesyncd or chrony, and: timedatectl set-ntp true"};
  return {"clock", "", Outcome::ok, "synchronised", ""};
}

Finding check_confinement() {
  const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  const int error = errno;
  if (abi >= k_least_abi)
    return {"confinement", "kernel", Outcome::ok, fmt::format("Landlock, version {}", abi), ""};
  std::string saw = abi >= 0 ? fmt::format("Landlock is there in version {}, which is too old", abi)
                             : std::string(error == EOPNOTSUPP ? "Landlock is switched off at boot"
                                                               : "the kernel has no Landlock");
  saw += ": the agents can reach files that they do not need";
  return {"confinement", "kernel", Outcome::warning, std::move(saw),
          error == EOPNOTSUPP ? "add landlock to lsm= on the kernel's command line"
                              : "run a kernel of 5.19 or later with Landlock, as Debian 12 has it"};
}

Finding check_programs(const Site& site) {
  std::vector<std::string> programs{agent_program("mailotp-smtp")};
  if (site.config.bounces) programs.push_back(agent_program("mailotp-imap"));
  for (const std::string& program : programs) {
    if (::access(program.c_str(), X_OK) != 0)
      return {"programs", program, Outcome::failed, "it is not there, or cannot be executed",
              "install mailotpd again, with all of its programs"};
  }
  return {"programs", "", Outcome::ok, fmt::format("{}", fmt::join(programs, ", ")), ""};
}

}  // namespace mailotp::daemon
