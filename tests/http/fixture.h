// A real server on a real Unix socket and clients of it, all on one thread: pump() runs the loop and moves
// the clients' bytes until a condition holds.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <uv.h>

#include "daemon/http/server.h"

namespace mailotp::test {

class TempFolder {
 public:
  TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder();
  [[nodiscard]] std::string path(std::string_view name) const { return folder_ + "/" + std::string(name); }

 private:
  std::string folder_;
};

class RecordingLog final : public core::Log {
 public:
  void write(core::LogLevel, std::string_view line) override { lines.emplace_back(line); }
  std::vector<std::string> lines;
};

struct Answer {
  int status = 0;
  std::map<std::string, std::string> headers;  // names as sent
  std::string body;
  [[nodiscard]] std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
  }
};

// Non-blocking; bytes move in exchange().
class Client {
 public:
  explicit Client(const std::string& path);
  // For tests that run out of descriptors: the socket first, the connection later.
  Client();
  void connect(const std::string& path);
  Client(Client&& other) noexcept;
  Client& operator=(Client&&) = delete;
  ~Client();

  void send(std::string_view bytes) { unsent_.append(bytes); }
  void half_close();  // once everything is sent
  void close();
  void stop_reading() { reading_ = false; }
  void read_again() { reading_ = true; }
  void exchange();

  // The next answer, when it is complete. A HEAD's has no body.
  [[nodiscard]] std::optional<Answer> take(bool head = false);
  // Of an answer in pieces: its head, then one chunk after the other; "" is the last one.
  [[nodiscard]] std::optional<Answer> take_head();
  [[nodiscard]] std::optional<std::string> take_chunk();
  [[nodiscard]] bool ended() const { return ended_; }  // by the server
  [[nodiscard]] const std::string& received() const { return received_; }
  [[nodiscard]] std::size_t unsent() const { return unsent_.size(); }

 private:
  int fd_ = -1;
  std::string unsent_;
  std::string received_;
  bool half_close_wanted_ = false;
  bool reading_ = true;
  bool ended_ = false;
};

class Fixture {
 public:
  Fixture();
  ~Fixture();  // closes the server and the loop; both must come to their end
  Fixture(const Fixture&) = delete;
  Fixture& operator=(const Fixture&) = delete;

  // Without a handler each request is answered at once with "METHOD path?query body".
  void start(daemon::HttpHandler handler = {});
  Client& connect();
  // Runs everything until `condition` holds; false after a minute.
  [[nodiscard]] bool pump(const std::function<bool()>& condition);
  [[nodiscard]] std::optional<Answer> answer(Client& client, bool head = false);
  // Sends, waits for one answer.
  [[nodiscard]] std::optional<Answer> ask(Client& client, std::string_view bytes);

  TempFolder folder;
  RecordingLog log;
  daemon::HttpLimits limits;
  uv_loop_t loop{};
  std::string socket = folder.path("api.sock");
  std::unique_ptr<daemon::HttpServer> server;
  std::vector<std::unique_ptr<Client>> clients;

  // Requests that the handler of hold() keeps, and how many of their clients went away.
  [[nodiscard]] daemon::HttpHandler hold();
  std::vector<daemon::Responder> held;
  std::size_t gone = 0;
};

[[nodiscard]] std::size_t open_descriptors();
[[nodiscard]] daemon::HttpResponse text_answer(std::string body);

}  // namespace mailotp::test
