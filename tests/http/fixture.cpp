#include "tests/http/fixture.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace mailotp::test {

TempFolder::TempFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "mailotp-http-XXXXXX").string();
  REQUIRE(::mkdtemp(pattern.data()) != nullptr);
  folder_ = pattern;
}

TempFolder::~TempFolder() {
  std::error_code ignored;  // a folder that stays is no failure of what was tested
  std::filesystem::remove_all(folder_, ignored);
}

Client::Client() : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
  REQUIRE(fd_ >= 0);
}

Client::Client(const std::string& path) : Client() {
  connect(path);
}

Client::Client(Client&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      unsent_(std::move(other.unsent_)),
      received_(std::move(other.received_)),
      half_close_wanted_(other.half_close_wanted_),
      reading_(other.reading_),
      ended_(other.ended_) {}

Client::~Client() {
  close();
}

void Client::connect(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  REQUIRE(path.size() < sizeof address.sun_path);
  std::memcpy(address.sun_path, path.data(), path.size());
  REQUIRE(::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
}

void Client::half_close() {
  half_close_wanted_ = true;
}

void Client::close() {
  if (fd_ >= 0) (void)::close(std::exchange(fd_, -1));
}

void Client::exchange() {
  if (fd_ < 0) return;
  if (!unsent_.empty()) {
    const ssize_t sent = ::send(fd_, unsent_.data(), unsent_.size(), MSG_NOSIGNAL);
    if (sent > 0) unsent_.erase(0, static_cast<std::size_t>(sent));
    if (sent < 0 && errno != EAGAIN) unsent_.clear();  // the server has closed; what it said is still read
  }
  if (unsent_.empty() && half_close_wanted_) {
    (void)::shutdown(fd_, SHUT_WR);  // fails only when the server has closed
    half_close_wanted_ = false;
  }
  std::array<char, 64 * 1024> space{};
  while (reading_ && !ended_) {
    const ssize_t got = ::recv(fd_, space.data(), space.size(), 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      ended_ = true;
    } else {
      received_.append(space.data(), static_cast<std::size_t>(got));
    }
  }
}

std::optional<Answer> Client::take_head() {
  const std::size_t end = received_.find("\r\n\r\n");
  if (end == std::string::npos) return std::nullopt;
  Answer answer;
  std::size_t line_begin = 0;
  while (line_begin < end + 2) {
    const std::size_t line_end = received_.find("\r\n", line_begin);
    const std::string line = received_.substr(line_begin, line_end - line_begin);
    if (line_begin == 0) {
      REQUIRE(line.starts_with("HTTP/1.1 "));
      answer.status = std::stoi(line.substr(9, 3));
    } else {
      const std::size_t colon = line.find(": ");
      REQUIRE(colon != std::string::npos);
      REQUIRE(answer.headers.emplace(line.substr(0, colon), line.substr(colon + 2)).second);
    }
    line_begin = line_end + 2;
  }
  received_.erase(0, end + 4);
  return answer;
}

std::optional<Answer> Client::take(bool head) {
  const std::string before = received_;
  auto answer = take_head();
  if (!answer) return std::nullopt;
  std::size_t length = 0;
  if (!head && answer->status != 100) length = std::stoul(answer->header("Content-Length"));
  if (received_.size() < length) {
    received_ = before;
    return std::nullopt;
  }
  answer->body = received_.substr(0, length);
  received_.erase(0, length);
  return answer;
}

std::optional<std::string> Client::take_chunk() {
  const std::size_t line = received_.find("\r\n");
  if (line == std::string::npos) return std::nullopt;
  const std::string size_text = received_.substr(0, line);
  REQUIRE(!size_text.empty());
  REQUIRE(size_text.find_first_not_of("0123456789abcdef") == std::string::npos);
  const std::size_t size = std::stoul(size_text, nullptr, 16);
  if (received_.size() < line + 2 + size + 2) return std::nullopt;
  std::string chunk = received_.substr(line + 2, size);
  REQUIRE(received_.substr(line + 2 + size, 2) == "\r\n");
  received_.erase(0, line + 2 + size + 2);
  return chunk;
}

Fixture::Fixture() {
  REQUIRE(std::signal(SIGPIPE, SIG_IGN) != SIG_ERR);
  REQUIRE(uv_loop_init(&loop) == 0);
}

Fixture::~Fixture() {
  if (server) {
    bool closed = false;
    server->close([&] { closed = true; });
    CHECK(pump([&] { return closed; }));
    held.clear();
    server.reset();
  }
  CHECK(uv_loop_close(&loop) == 0);
}

void Fixture::start(daemon::HttpHandler handler) {
  if (!handler) {
    handler = [](daemon::HttpRequest request, daemon::Responder responder) {
      const std::string query = request.raw_query.empty() ? "" : "?" + request.raw_query;
      responder.respond(text_answer(request.method + " " + request.path + query + " " + request.body));
    };
  }
  server = std::make_unique<daemon::HttpServer>(
      &loop, limits, std::move(handler), [next = 0]() mutable { return "request-" + std::to_string(++next); },
      log);
  const auto listening = server->listen(socket, 0600, "");
  REQUIRE(listening.has_value());
}

Client& Fixture::connect() {
  clients.push_back(std::make_unique<Client>(socket));
  return *clients.back();
}

bool Fixture::pump(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  for (;;) {
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    for (const auto& client : clients) {
      client->exchange();
    }
    if (condition()) return true;
    if (std::chrono::steady_clock::now() > end) return false;
    pollfd backend{uv_backend_fd(&loop), POLLIN, 0};
    const int patience = uv_backend_timeout(&loop) == 0 ? 0 : 1;
    (void)::poll(&backend, 1, patience);  // only saves processor time: every condition is looked at again
  }
}

std::optional<Answer> Fixture::answer(Client& client, bool head) {
  std::optional<Answer> found;
  (void)pump([&] { return (found = client.take(head)).has_value() || client.ended(); });
  return found;
}

std::optional<Answer> Fixture::ask(Client& client, std::string_view bytes) {
  client.send(bytes);
  return answer(client);
}

daemon::HttpHandler Fixture::hold() {
  return [this](daemon::HttpRequest, daemon::Responder responder) {
    responder.on_gone([this] { ++gone; });
    held.push_back(std::move(responder));
  };
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

daemon::HttpResponse text_answer(std::string body) {
  daemon::HttpResponse response;
  response.content_type = "text/plain";
  response.body = std::move(body);
  return response;
}

}  // namespace mailotp::test
