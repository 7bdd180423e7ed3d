// A child confines itself as an agent does, then tries what it must not be able to do, and reports each
// attempt by one line "what=errno" through a pipe.
#include "mail/agent/confine.h"

#include <array>
#include <cerrno>
#include <map>
#include <sstream>
#include <string>

#include <catch2/catch.hpp>
#include <dirent.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/channel/temporary_folder.h"

using namespace mailotp;

namespace {

using Attempts = std::map<std::string, int>;

bool kernel_has_landlock() {
  return ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 2;
}

class Reporter {
 public:
  explicit Reporter(int pipe) : pipe_(pipe) {}
  void say(const char* what, long value) const {
    const std::string line = std::string(what) + "=" + std::to_string(value) + "\n";
    if (::write(pipe_, line.data(), line.size()) < 0) ::_exit(99);
  }
  // 0, or what the system answered.
  void tried(const char* what, long result) const { say(what, result < 0 ? errno : 0); }

 private:
  int pipe_;
};

// Runs `body` in a child and gathers its report.
template <class Body>
Attempts in_child(Body body) {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    (void)::close(ends[0]);
    body(Reporter(ends[1]), ends[1]);
    ::_exit(0);
  }
  (void)::close(ends[1]);
  std::string report;
  std::array<char, 4096> part{};
  for (ssize_t size = 0; (size = ::read(ends[0], part.data(), part.size())) > 0;)
    report.append(part.data(), static_cast<std::size_t>(size));
  (void)::close(ends[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  Attempts attempts;
  std::istringstream lines(report);
  for (std::string line; std::getline(lines, line);)
    attempts[line.substr(0, line.find('='))] = std::stoi(line.substr(line.find('=') + 1));
  return attempts;
}

struct Host {
  testing::TemporaryFolder folder;
  std::string key = folder / "otp.key";
  std::string database = folder / "mailotpd.db";
  std::string ca = folder / "ca.pem";
  std::string elsewhere = folder / "new-file";
  std::string maildir = folder.maildir("captured");
  Host() {
    for (const std::string& file : {key, database, ca})
      testing::write_file(file, "content");
  }
};

void try_everything(const Host& host, const Reporter& report) {
  report.tried("key", ::open(host.key.c_str(), O_RDONLY));
  report.tried("database", ::open(host.database.c_str(), O_RDWR));
  report.tried("database_read", ::open(host.database.c_str(), O_RDONLY));
  report.tried("ca", ::open(host.ca.c_str(), O_RDONLY));
  report.tried("ca_write", ::open(host.ca.c_str(), O_WRONLY));
  report.tried("elsewhere", ::open(host.elsewhere.c_str(), O_WRONLY | O_CREAT, 0600));
  report.tried("remove", ::unlink(host.database.c_str()));
  report.tried("rename", ::rename(host.key.c_str(), (host.maildir + "/new/key").c_str()));
  report.tried("link", ::link(host.key.c_str(), (host.maildir + "/new/key").c_str()));
  report.tried("passwd", ::open("/etc/passwd", O_RDONLY));
  report.tried("own_descriptors", ::open("/proc/self/fd", O_RDONLY | O_DIRECTORY));
  report.tried("parent_memory", ::open(("/proc/" + std::to_string(::getppid()) + "/mem").c_str(), O_RDONLY));
  report.tried("run", ::execl("/bin/true", "true", nullptr));
  const std::string draft = host.maildir + "/tmp/mail";
  const std::string mail = host.maildir + "/new/mail";
  report.tried("maildir_write", ::open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0600));
  report.tried("maildir_rename", ::rename(draft.c_str(), mail.c_str()));
  report.tried("maildir_read", ::open(mail.c_str(), O_RDONLY));
  report.tried("maildir_sync", ::open((host.maildir + "/new").c_str(), O_RDONLY | O_DIRECTORY));
  report.tried("maildir_remove", ::unlink(mail.c_str()));
}

}  // namespace

TEST_CASE("an agent can open neither key nor database, and writes to its maildir alone") {
  const Host host;
  const Attempts attempts = in_child([&host](const Reporter& report, int) {
    report.say("privileges", mail::give_up_privileges() ? 0 : 1);
    const auto confined = mail::confine_files({{host.ca, host.folder / "not-there"}, {host.maildir}});
    report.say("full", confined && *confined == core::Confinement::full);
    report.say("no_landlock", confined && *confined == core::Confinement::no_landlock);
    try_everything(host, report);
  });
  REQUIRE(attempts.at("privileges") == 0);
  if (!kernel_has_landlock()) {
    CHECK(attempts.at("no_landlock") == 1);
    FAIL("this kernel has no Landlock: the test must run on one that has (Debian 12's does)");
  }
  REQUIRE(attempts.at("full") == 1);
  for (const char* denied : {"key", "database", "database_read", "ca_write", "elsewhere", "remove", "passwd",
                             "own_descriptors", "parent_memory", "run", "maildir_read"}) {
    INFO(denied);
    CHECK(attempts.at(denied) == EACCES);
  }
  CHECK(attempts.at("rename") != 0);
  CHECK(attempts.at("link") != 0);
  for (const char* allowed : {"ca", "maildir_write", "maildir_rename", "maildir_sync", "maildir_remove"}) {
    INFO(allowed);
    CHECK(attempts.at(allowed) == 0);
  }
  CHECK(testing::read_file(host.key) == "content");
  CHECK(testing::read_file(host.database) == "content");
}

TEST_CASE("the resolver's files and the system's CAs can be read, and nothing beside them") {
  const Host host;
  const Attempts attempts = in_child([&host](const Reporter& report, int) {
    report.say("privileges", mail::give_up_privileges() ? 0 : 1);
    report.say("confined", mail::confine_files({mail::resolver_and_ca_files(), {}}).has_value());
    report.tried("resolv.conf", ::open("/etc/resolv.conf", O_RDONLY));
    report.tried("services", ::open("/etc/ssl/certs", O_RDONLY | O_DIRECTORY));
    report.tried("key", ::open(host.key.c_str(), O_RDONLY));
    report.tried("maildir_write", ::open((host.maildir + "/tmp/x").c_str(), O_WRONLY | O_CREAT, 0600));
    report.tried("passwd", ::open("/etc/passwd", O_RDONLY));
  });
  REQUIRE(attempts.at("confined") == 1);
  CHECK(attempts.at("resolv.conf") == 0);
  CHECK(attempts.at("services") == 0);
  CHECK(attempts.at("key") == EACCES);
  CHECK(attempts.at("maildir_write") == EACCES);
  CHECK(attempts.at("passwd") == EACCES);
}

TEST_CASE("inherited descriptors are closed, privileges and core files are given up") {
  const Host host;
  const Attempts attempts = in_child([&host](const Reporter& report, int pipe) {
    const int key = ::open(host.key.c_str(), O_RDONLY);
    const int low = ::dup2(key, 30);
    const int high = ::dup2(key, 200);
    const int kept = ::dup2(key, 31);
    const std::array keep{kept, pipe};
    report.say("closed", mail::close_all_but(keep).has_value());
    report.say("privileges", mail::give_up_privileges().has_value());
    int open = 0;
    for (int descriptor = 3; descriptor < 1024; ++descriptor)
      if (::fcntl(descriptor, F_GETFD) >= 0) ++open;
    report.say("open", open);
    report.tried("kept", ::fcntl(kept, F_GETFD));
    for (const int other : {key, low, high})
      if (other != pipe) report.tried("other", ::fcntl(other, F_GETFD));
    for (const int standard : {0, 1, 2})
      report.tried("standard", ::fcntl(standard, F_GETFD));
    report.say("no_new_privs", ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    report.say("dumpable", ::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
    rlimit core{};
    report.tried("limits", ::getrlimit(RLIMIT_CORE, &core));
    report.say("core", static_cast<long>(core.rlim_cur + core.rlim_max));
  });
  CHECK(attempts.at("closed") == 1);
  CHECK(attempts.at("privileges") == 1);
  CHECK(attempts.at("open") == 2);  // the pipe and the one that is kept
  CHECK(attempts.at("kept") == 0);
  CHECK(attempts.at("other") == EBADF);
  CHECK(attempts.at("standard") == 0);
  CHECK(attempts.at("no_new_privs") == 1);
  CHECK(attempts.at("dumpable") == 0);
  CHECK(attempts.at("core") == 0);
}
