#include "daemon/http/listener.h"

#include <fstream>
#include <string>

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/http/fixture.h"

namespace mailotp::daemon {
namespace {

using core::Errc;
using test::Fixture;

const std::string k_get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

bool exists(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0;
}

TEST_CASE("the socket file has exactly the mode that was asked for, whatever the umask") {
  const test::TempFolder folder;
  for (const mode_t mask : {0777U, 0022U, 0U}) {
    for (const std::uint32_t mode : {0600U, 0660U, 0666U}) {
      const std::string path = folder.path("s");
      const mode_t before = ::umask(mask);
      const auto made = make_listening_socket(path, mode, "");
      ::umask(before);
      REQUIRE(made.has_value());
      struct stat status {};
      REQUIRE(::lstat(path.c_str(), &status) == 0);
      CHECK((status.st_mode & 07777) == mode);
      CHECK((::fcntl(made->fd, F_GETFD) & FD_CLOEXEC) != 0);
      (void)::close(made->fd);
      remove_socket_file(made->file);
      CHECK_FALSE(exists(path));
    }
  }
}

TEST_CASE("the group is set by name; an unknown one leaves nothing behind") {
  const test::TempFolder folder;
  const group* own = ::getgrgid(::getegid());
  REQUIRE(own != nullptr);
  const auto made = make_listening_socket(folder.path("s"), 0660, own->gr_name);
  REQUIRE(made.has_value());
  struct stat status {};
  REQUIRE(::lstat(folder.path("s").c_str(), &status) == 0);
  CHECK(status.st_gid == ::getegid());
  (void)::close(made->fd);

  const auto unknown = make_listening_socket(folder.path("t"), 0660, "no-such-group");
  REQUIRE_FALSE(unknown.has_value());
  CHECK(unknown.error().code == Errc::invalid);
  CHECK_FALSE(exists(folder.path("t")));
}

TEST_CASE("a socket file on which nobody answers is replaced, one that is alive is not") {
  const test::TempFolder folder;
  const std::string path = folder.path("s");
  const auto dead = make_listening_socket(path, 0600, "");
  REQUIRE(dead.has_value());
  (void)::close(dead->fd);
  REQUIRE(exists(path));

  const auto live = make_listening_socket(path, 0600, "");
  REQUIRE(live.has_value());
  const auto second = make_listening_socket(path, 0600, "");
  REQUIRE_FALSE(second.has_value());
  CHECK(second.error().code == Errc::busy);
  CHECK(second.error().what.find(path) != std::string::npos);
  (void)::close(live->fd);
}

TEST_CASE("a socket file that another process has put in place of ours is left alone") {
  const test::TempFolder folder;
  const std::string path = folder.path("s");
  const auto ours = make_listening_socket(path, 0600, "");
  REQUIRE(ours.has_value());
  REQUIRE(::unlink(path.c_str()) == 0);
  const auto other = make_listening_socket(path, 0600, "");
  REQUIRE(other.has_value());
  remove_socket_file(ours->file);
  CHECK(exists(path));
  remove_socket_file(other->file);
  CHECK_FALSE(exists(path));
  (void)::close(ours->fd);
  (void)::close(other->fd);
}

TEST_CASE("a live socket whose queue is full is alive") {
  const test::TempFolder folder;
  const std::string path = folder.path("s");
  const auto live = make_listening_socket(path, 0600, "");
  REQUIRE(live.has_value());
  REQUIRE(::listen(live->fd, 0) == 0);
  const test::Client waits(path);
  const auto second = make_listening_socket(path, 0600, "");
  REQUIRE_FALSE(second.has_value());
  CHECK(second.error().code == Errc::busy);
  (void)::close(live->fd);
}

TEST_CASE("what is no socket is never removed; a path that is too long is refused") {
  const test::TempFolder folder;
  const std::string path = folder.path("file");
  std::ofstream(path) << "precious";
  const auto made = make_listening_socket(path, 0600, "");
  REQUIRE_FALSE(made.has_value());
  CHECK(made.error().code == Errc::invalid);
  CHECK(exists(path));

  for (const std::string& bad : {folder.path(std::string(108, 'x')), std::string()}) {
    const auto refused = make_listening_socket(bad, 0600, "");
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == Errc::invalid);
  }
  const auto missing = make_listening_socket(folder.path("no/folder"), 0600, "");
  REQUIRE_FALSE(missing.has_value());
  CHECK(missing.error().code == Errc::io);
}

TEST_CASE("a server adopts a listening socket and leaves its file alone") {
  Fixture fixture;
  const std::string path = fixture.folder.path("passed.sock");
  const auto made = make_listening_socket(path, 0600, "");
  REQUIRE(made.has_value());
  fixture.start();
  REQUIRE(fixture.server->adopt(made->fd).has_value());
  fixture.clients.push_back(std::make_unique<test::Client>(path));
  CHECK(fixture.ask(*fixture.clients.back(), k_get)->status == 200);
  CHECK(fixture.ask(fixture.connect(), k_get)->status == 200);
  bool closed = false;
  fixture.server->close([&] { closed = true; });
  CHECK(fixture.pump([&] { return closed; }));
  fixture.server.reset();
  CHECK(exists(path));
  CHECK_FALSE(exists(fixture.socket));
}

TEST_CASE("a server does not adopt what is no listening Unix socket") {
  Fixture fixture;
  fixture.start();
  const int idle = ::socket(AF_UNIX, SOCK_STREAM, 0);
  const int datagram = ::socket(AF_UNIX, SOCK_DGRAM, 0);
  const int internet = ::socket(AF_INET, SOCK_STREAM, 0);
  REQUIRE(::listen(internet, 1) == 0);
  for (const int fd : {idle, datagram, internet, -1}) {
    const auto adopted = fixture.server->adopt(fd);
    REQUIRE_FALSE(adopted.has_value());
    CHECK(adopted.error().code == Errc::invalid);
  }
  for (const int fd : {idle, datagram, internet}) {
    CHECK(::close(fd) == 0);
  }
}

TEST_CASE("two servers on one path: the second is told, the first goes on") {
  Fixture fixture;
  fixture.start();
  HttpServer other(&fixture.loop, {}, {}, {}, fixture.log);
  const auto listening = other.listen(fixture.socket, 0600, "");
  REQUIRE_FALSE(listening.has_value());
  CHECK(listening.error().code == Errc::busy);
  CHECK(fixture.ask(fixture.connect(), k_get)->status == 200);
}

}  // namespace
}  // namespace mailotp::daemon
