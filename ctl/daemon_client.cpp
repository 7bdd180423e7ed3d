#include "ctl/daemon_client.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <curl/curl.h>
#include <fmt/format.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/check.h"
#include "ctl/answers.h"
#include "ctl/text.h"

namespace mailotp::ctl {
namespace {

constexpr std::size_t k_max_body = 16UL * 1024 * 1024;
constexpr long k_connect_timeout_s = 5;
constexpr long k_timeout_s = 30;
constexpr long k_post_timeout_s = 120;
constexpr long k_silence_s = 600;  // of a long body

extern "C" std::size_t append_body(char* bytes, std::size_t size, std::size_t count, void* body) noexcept {
  auto& out = *static_cast<std::string*>(body);
  const std::size_t length = size * count;
  if (out.size() + length > k_max_body) return 0;  // ends the transfer
  out.append(bytes, length);
  return length;
}

// Asked about once a second, and with every piece of an answer.
extern "C" int stop_when_ended(void* interrupts, curl_off_t, curl_off_t, curl_off_t, curl_off_t) noexcept {
  return static_cast<Interrupts*>(interrupts)->ended() ? 1 : 0;
}

// What receive() gives to libcurl.
struct Receiving {
  CURL* handle;
  DaemonClient::Receiver& receiver;
  std::string other;  // the body of an answer that is no 200
};

extern "C" std::size_t receive_body(char* bytes, std::size_t size, std::size_t count,
                                    void* receiving) noexcept {
  auto& to = *static_cast<Receiving*>(receiving);
  long status = 0;
  (void)curl_easy_getinfo(to.handle, CURLINFO_RESPONSE_CODE, &status);
  if (status != 200) return append_body(bytes, size, count, &to.other);
  const std::size_t length = size * count;
  return to.receiver.take({bytes, length}) ? length : CURL_WRITEFUNC_ERROR;
}

extern "C" int receive_progress(void* receiving, curl_off_t whole, curl_off_t /*have*/,
                                curl_off_t /*to_send*/, curl_off_t /*sent*/) noexcept {
  auto& to = *static_cast<Receiving*>(receiving);
  return to.receiver.go_on(static_cast<std::uint64_t>(whole)) ? 0 : 1;  // 1 ends it
}

std::string group_of(gid_t gid) {
  std::array<char, 4096> buffer{};
  group entry{};
  group* found = nullptr;
  if (::getgrgid_r(gid, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr)
    return std::to_string(gid);
  return found->gr_name;
}

// The first part of the path that this user cannot pass, and who may.
Failure no_permission(const std::string& socket) {
  for (std::size_t slash = socket.find('/', 1); slash != std::string::npos;
       slash = socket.find('/', slash + 1)) {
    const std::string folder = socket.substr(0, slash);
    struct stat at {};
    if (::stat(folder.c_str(), &at) != 0) break;
    if (::access(folder.c_str(), X_OK) == 0) continue;
    return {ExitCode::no_permission,
            fmt::format(
                "no permission for {}: its folder {} (mode {:04o}) admits group {}; join that group, or run "
                "as root",
                printable(socket), printable(folder), at.st_mode & 07777U, printable(group_of(at.st_gid)))};
  }
  struct stat at {};
  if (::stat(socket.c_str(), &at) != 0)
    return {ExitCode::no_permission, fmt::format("no permission for {}; run as root", printable(socket))};
  return {ExitCode::no_permission,
          fmt::format(
              "no permission for {}: the socket (mode {:04o}) belongs to group {}; join that group, or run "
              "as root",
              printable(socket), at.st_mode & 07777U, printable(group_of(at.st_gid)))};
}

// errno of a connection to the socket; 0 when it is made. libcurl does not tell.
int connect_error(const std::string& socket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket.empty() || socket.size() >= sizeof address.sun_path) return ENAMETOOLONG;
  std::memcpy(address.sun_path, socket.data(), socket.size());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return errno;
  const int error =
      ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
  (void)::close(fd);  // nothing was written
  return error;
}

Failure connect_failure(const std::string& socket) {
  const int error = connect_error(socket);
  if (error == EACCES || error == EPERM) return no_permission(socket);
  if (error == 0 || error == EAGAIN)
    return {ExitCode::try_again,
            fmt::format("the daemon at {} is too busy to answer; try again", printable(socket))};
  return {ExitCode::no_daemon,
          fmt::format(
              "no daemon at {} ({}); start it with \"systemctl start mailotpd\", or name its admin_socket "
              "with --socket",
              printable(socket), std::strerror(error))};
}

void prepare(CURL* handle, const std::string& socket) {
  // Options with valid arguments: the only error is memory, and then libcurl's own calls report it.
  (void)curl_easy_setopt(handle, CURLOPT_UNIX_SOCKET_PATH, socket.c_str());
  (void)curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  (void)curl_easy_setopt(handle, CURLOPT_NOPROXY, "*");
  (void)curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http");
  (void)curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, k_connect_timeout_s);
  (void)curl_easy_setopt(handle, CURLOPT_USERAGENT, "mailotpctl/" MAILOTP_VERSION);
  (void)curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, append_body);
}

void append_encoded(std::string& out, std::string_view value) {
  constexpr std::string_view k_unreserved =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  for (const char c : value) {
    if (k_unreserved.find(c) != std::string_view::npos) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
}

}  // namespace

void DaemonClient::Close::operator()(void* handle) const noexcept {
  curl_easy_cleanup(handle);
}

DaemonClient::DaemonClient(std::string socket, Interrupts* interrupts)
    : socket_(std::move(socket)), interrupts_(interrupts), handle_(curl_easy_init()) {
  CHECK(handle_ != nullptr);
  prepare(handle_.get(), socket_);
  if (interrupts_ == nullptr) return;
  (void)curl_easy_setopt(handle_.get(), CURLOPT_NOPROGRESS, 0L);
  (void)curl_easy_setopt(handle_.get(), CURLOPT_XFERINFOFUNCTION, stop_when_ended);
  (void)curl_easy_setopt(handle_.get(), CURLOPT_XFERINFODATA, interrupts_);
}

void DaemonClient::give_up_after(core::Millis patience) {
  deadline_ = Clock::now() + patience;
}

Attempt<HttpReply> DaemonClient::get(const std::string& target) {
  CURL* handle = handle_.get();
  (void)curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, nullptr);
  (void)curl_easy_setopt(handle, CURLOPT_HTTPGET, 1L);
  (void)curl_easy_setopt(handle, CURLOPT_TIMEOUT, k_timeout_s);
  return perform(target);
}

Attempt<HttpReply> DaemonClient::post(const std::string& target) {
  CURL* handle = handle_.get();
  (void)curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, nullptr);
  (void)curl_easy_setopt(handle, CURLOPT_POSTFIELDS, "");
  (void)curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE, 0L);
  (void)curl_easy_setopt(handle, CURLOPT_TIMEOUT, k_post_timeout_s);
  return perform(target);
}

Attempt<HttpReply> DaemonClient::post(const std::string& target, const std::string& body) {
  return send("POST", target, body);
}

Attempt<HttpReply> DaemonClient::put(const std::string& target, const std::string& body) {
  return send("PUT", target, body);
}

Attempt<HttpReply> DaemonClient::send(const char* method, const std::string& target,
                                      const std::string& body) {
  CURL* handle = handle_.get();
  (void)curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
  (void)curl_easy_setopt(handle, CURLOPT_COPYPOSTFIELDS, body.c_str());
  (void)curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, method);
  (void)curl_easy_setopt(handle, CURLOPT_TIMEOUT, k_post_timeout_s);
  return perform(target);
}

Attempt<HttpReply> DaemonClient::remove(const std::string& target) {
  CURL* handle = handle_.get();
  (void)curl_easy_setopt(handle, CURLOPT_HTTPGET, 1L);
  (void)curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, "DELETE");
  (void)curl_easy_setopt(handle, CURLOPT_TIMEOUT, k_post_timeout_s);
  return perform(target);
}

Attempt<HttpReply> DaemonClient::receive(const std::string& target, Receiver& receiver) {
  CURL* handle = handle_.get();
  Receiving receiving{handle, receiver, {}};
  (void)curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, nullptr);
  (void)curl_easy_setopt(handle, CURLOPT_HTTPGET, 1L);
  (void)curl_easy_setopt(handle, CURLOPT_TIMEOUT, 0L);
  (void)curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
  (void)curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, k_silence_s);
  (void)curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, receive_body);
  (void)curl_easy_setopt(handle, CURLOPT_WRITEDATA, &receiving);
  (void)curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, receive_progress);
  (void)curl_easy_setopt(handle, CURLOPT_XFERINFODATA, &receiving);
  (void)curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
  auto reply = answer_to(target);
  (void)curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 1L);
  (void)curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 0L);
  (void)curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, append_body);
  if (reply) reply->body = std::move(receiving.other);
  return reply;
}

Attempt<HttpReply> DaemonClient::perform(const std::string& target) {
  std::string body;
  (void)curl_easy_setopt(handle_.get(), CURLOPT_WRITEDATA, &body);
  auto reply = answer_to(target);
  if (reply) reply->body = std::move(body);
  return reply;
}

// As the options say.
Attempt<HttpReply> DaemonClient::answer_to(const std::string& target) {
  HttpReply reply;
  CURL* handle = handle_.get();
  const std::string url = "http://mailotpd" + target;
  (void)curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
  if (deadline_) {
    const auto left = std::chrono::ceil<core::Millis>(*deadline_ - Clock::now()).count();
    (void)curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(std::max<std::int64_t>(left, 1)));
  }
  const CURLcode code = curl_easy_perform(handle);
  if (code != CURLE_OK) return tl::unexpected(no_answer(code));
  long status = 0;
  (void)curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
  reply.status = static_cast<int>(status);
  return reply;
}

Failure DaemonClient::no_answer(int code) const {
  // libcurl calls a path that is too long a name that it cannot resolve.
  if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST) return connect_failure(socket_);
  return {ExitCode::try_again,
          fmt::format("the daemon at {} gave no answer: {}; try again", printable(socket_),
                      curl_easy_strerror(static_cast<CURLcode>(code)))};
}

std::string encoded(std::string_view value) {
  std::string out;
  append_encoded(out, value);
  return out;
}

std::string target_of(std::string_view path,
                      const std::vector<std::pair<std::string_view, std::string>>& query) {
  std::string out(path);
  char separator = '?';
  for (const auto& [name, value] : query) {
    if (value.empty()) continue;
    out += separator;
    out += name;
    out += '=';
    append_encoded(out, value);
    separator = '&';
  }
  return out;
}

Failure failure_of(const HttpReply& reply) {
  const ProblemInfo problem = read_problem(reply.body);
  std::string what = !problem.detail.empty() ? problem.detail : problem.title;
  if (what.empty()) what = fmt::format("the daemon answered with HTTP status {}", reply.status);
  // Most details begin with their field.
  if (!problem.field.empty() && !what.starts_with(problem.field))
    what = fmt::format("{}: {}", problem.field, what);
  if (!problem.code.empty()) what += fmt::format(" ({})", problem.code);
  if (problem.retry_after) what += fmt::format("; try again in {}", age(*problem.retry_after));
  what = printable(what);
  if (!problem.request_id.empty()) what += "\n  request " + printable(problem.request_id);
  ExitCode exit = ExitCode::refused;
  if (reply.status == 403) exit = ExitCode::no_permission;
  if (reply.status == 429 || reply.status == 503) exit = ExitCode::try_again;
  const bool unknown_call = reply.status == 404 || reply.status == 405;
  return {exit, std::move(what), unknown_call ? Doubt::version : Doubt::none};
}

}  // namespace mailotp::ctl
