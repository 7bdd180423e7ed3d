#include "daemon/app/line_sink.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <string>

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace mailotp::daemon {
namespace {

// A pipe of one page; what is in it, and when.
class Pipe {
 public:
  Pipe() {
    REQUIRE(::pipe2(ends_.data(), O_CLOEXEC) == 0);
    REQUIRE(::fcntl(ends_[1], F_SETPIPE_SZ, 4096) >= 0);
  }
  ~Pipe() {
    for (const int end : ends_)
      if (end >= 0) (void)::close(end);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  [[nodiscard]] int in() const { return ends_[1]; }
  // Reads until the text holds `last`, for ten seconds at most.
  [[nodiscard]] std::string read_to(const std::string& last) {
    std::string text;
    while (text.find(last) == std::string::npos) {
      pollfd ready{ends_[0], POLLIN, 0};
      if (::poll(&ready, 1, 10'000) != 1) return text;
      std::array<char, 65536> some{};
      const ssize_t size = ::read(ends_[0], some.data(), some.size());
      if (size <= 0) return text;
      text.append(some.data(), static_cast<std::size_t>(size));
    }
    return text;
  }

 private:
  std::array<int, 2> ends_{-1, -1};
};

std::string told(std::uint64_t lines) {
  return fmt::format("dropped {}\n", lines);
}

std::string line_of(int number) {
  return fmt::format("line {} {}\n", number, std::string(500, 'x'));
}

TEST_CASE("a line that has room is there at once") {
  Pipe pipe;
  StreamTarget target(pipe.in());
  LineSink sink(target, told);
  sink.write("one\n");
  CHECK(pipe.read_to("one\n") == "one\n");
}

TEST_CASE("a full pipe holds nobody up, and its lines come in order") {
  Pipe pipe;
  StreamTarget target(pipe.in());
  LineSink sink(target, told);
  std::string expected;
  for (int i = 0; i < 1000; ++i) {
    sink.write(line_of(i));  // would hang here for ever
    expected += line_of(i);
  }
  CHECK(pipe.read_to("line 999 " + std::string(500, 'x') + "\n") == expected);
  sink.write("after\n");
  CHECK(pipe.read_to("after\n") == "after\n");
}

TEST_CASE("beyond the bound lines are dropped, counted, and told") {
  Pipe pipe;
  StreamTarget target(pipe.in());
  LineSink sink(target, told);
  constexpr int k_lines = 4000;  // 2 MB
  for (int i = 0; i < k_lines; ++i)
    sink.write(line_of(i));
  const std::string text = pipe.read_to("dropped ");
  const auto kept = std::count(text.begin(), text.end(), 'l');
  CHECK(kept > 1500);
  CHECK(kept < 2500);
  CHECK(text.find("line 0 ") == 0);
  sink.write("after\n");
  const std::string rest = text.substr(text.find("dropped ")) + pipe.read_to("after\n");
  CHECK(rest == fmt::format("dropped {}\nafter\n", k_lines - kept));
  CHECK(sink.dropped() == static_cast<std::uint64_t>(k_lines - kept));
}

TEST_CASE("a line that no pipe takes whole arrives whole") {
  Pipe pipe;
  StreamTarget target(pipe.in());
  LineSink sink(target, told);
  const std::string line(50'000, 'y');
  sink.write(line + "\n");
  sink.write("after\n");
  CHECK(pipe.read_to("after\n") == line + "\nafter\n");
}

TEST_CASE("the end does not wait for a reader who is not there") {
  Pipe pipe;
  const auto start = std::chrono::steady_clock::now();
  {
    StreamTarget target(pipe.in());
    LineSink sink(target, told);
    for (int i = 0; i < 100; ++i)
      sink.write(line_of(i));
  }
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds{10});
}

// journald, as a socket in a folder.
class Journal {
 public:
  Journal() {
    REQUIRE(::mkdtemp(folder_.data()) != nullptr);
    listen();
  }
  ~Journal() {
    go();
    (void)::rmdir(folder_.c_str());
  }
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  void listen() {
    socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path().copy(address.sun_path, sizeof address.sun_path - 1);
    REQUIRE(::bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  }
  void go() {
    (void)::close(socket_);
    (void)::unlink(path().c_str());
  }
  [[nodiscard]] std::string path() const { return folder_ + "/socket"; }
  // The next datagram, for ten seconds at most.
  [[nodiscard]] std::string next() const {
    pollfd ready{socket_, POLLIN, 0};
    if (::poll(&ready, 1, 10'000) != 1) return "none";
    std::string entry(100'000, '\0');
    entry.resize(static_cast<std::size_t>(::recv(socket_, entry.data(), entry.size(), 0)));
    return entry;
  }

 private:
  std::string folder_ = "/tmp/mailotp-journal-XXXXXX";
  int socket_ = -1;
};

TEST_CASE("each line is one datagram of the journal's, however long") {
  Journal journal;
  const auto target = JournalTarget::open(journal.path());
  REQUIRE(target);
  LineSink sink(*target, told);
  const std::string line(50'000, 'y');
  sink.write("one\n");
  sink.write(line);
  CHECK(journal.next() == "one\n");
  CHECK(journal.next() == line);
}

TEST_CASE(
    "a journal that nobody reads holds nobody up; its lines come in order, and what is dropped is told") {
  Journal journal;
  const auto target = JournalTarget::open(journal.path());
  REQUIRE(target);
  LineSink sink(*target, told);
  constexpr int k_lines = 4000;  // 2 MB, and no socket takes so many datagrams
  for (int i = 0; i < k_lines; ++i)
    sink.write(line_of(i));  // would hang here for ever
  int kept = 0;
  std::string entry = journal.next();
  for (; entry.starts_with("line "); entry = journal.next())
    CHECK(entry == line_of(kept++));
  CHECK(kept > 1500);
  CHECK(kept < k_lines);
  CHECK(entry == fmt::format("dropped {}\n", k_lines - kept));
  sink.write("after\n");
  CHECK(journal.next() == "after\n");
}

TEST_CASE("a journal that goes away and comes back is found again") {
  Journal journal;
  const auto target = JournalTarget::open(journal.path());
  REQUIRE(target);
  LineSink sink(*target, told);
  sink.write("one\n");
  CHECK(journal.next() == "one\n");
  journal.go();
  sink.write("lost\n");
  journal.listen();
  sink.write("two\n");
  CHECK(journal.next() == "two\n");
}

TEST_CASE("where there is no journal there is no target") {
  CHECK(JournalTarget::open("/nowhere/socket") == nullptr);
  CHECK(JournalTarget::open("/" + std::string(200, 'x')) == nullptr);
}

}  // namespace
}  // namespace mailotp::daemon
