#include <algorithm>
#include <cctype>
#include <utility>

#include <curl/curl.h>

#include "core/check.h"
#include "ctl/daemon_client.h"

namespace mailotp::ctl {
namespace {

constexpr std::size_t k_max_line = 1024UL * 1024;
constexpr int k_poll_ms = 60'000;  // curl has nothing to do in it; what comes wakes it

struct Multi {
  Multi() : handle(curl_multi_init()) { CHECK(handle != nullptr); }
  ~Multi() { (void)curl_multi_cleanup(handle); }
  Multi(const Multi&) = delete;
  Multi& operator=(const Multi&) = delete;
  CURLM* handle;
};

// What has come of the answer and is no whole line yet; of one that is no 200, all of it.
struct Incoming {
  CURL* handle;
  const DaemonClient::Stream& stream;
  std::string rest;
  bool enough = false;

  [[nodiscard]] long status() const {
    long status = 0;
    (void)curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    return status;
  }

  bool take_lines() {
    std::size_t at = 0;
    for (std::size_t end = rest.find('\n', at); end != std::string::npos; end = rest.find('\n', at)) {
      const std::string_view line = std::string_view(rest).substr(at, end - at);
      at = end + 1;
      if (!line.empty() && !stream.on_line(line)) return false;
    }
    rest.erase(0, at);
    if (at > 0) stream.on_pause();
    return true;
  }
};

extern "C" std::size_t take_bytes(char* bytes, std::size_t size, std::size_t count, void* incoming) noexcept {
  auto& in = *static_cast<Incoming*>(incoming);
  const std::size_t length = size * count;
  if (in.rest.size() + length > k_max_line) return 0;  // ends the transfer
  in.rest.append(bytes, length);
  if (in.status() != 200) return length;
  in.enough = !in.take_lines();
  return in.enough ? 0 : length;
}

extern "C" std::size_t take_header(char* bytes, std::size_t size, std::size_t count,
                                   void* incoming) noexcept {
  constexpr std::string_view k_cursor = "x-event-cursor:";
  auto& in = *static_cast<Incoming*>(incoming);
  const std::string_view line(bytes, size * count);
  const auto same = [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; };
  if (line.size() > k_cursor.size() && in.status() == 200 &&
      std::equal(k_cursor.begin(), k_cursor.end(), line.begin(),
                 [&](char b, char a) { return same(a, b); })) {
    std::string_view value = line.substr(k_cursor.size());
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t'))
      value.remove_prefix(1);
    while (!value.empty() && (value.back() == '\r' || value.back() == '\n' || value.back() == ' '))
      value.remove_suffix(1);
    in.stream.on_open(std::string(value));
  }
  return line.size();
}

// The transfer's result; nothing while it goes on.
std::optional<CURLcode> result_of(CURLM* multi) {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi, &left)) {
    if (message->msg == CURLMSG_DONE) return message->data.result;
  }
  return std::nullopt;
}

// As curl_easy_perform(), but for as long as it takes; nothing where it is interrupted.
std::optional<CURLcode> transfer(CURLM* multi, Interrupts& interrupts) {
  for (;;) {
    int running = 0;
    if (curl_multi_perform(multi, &running) != CURLM_OK) return CURLE_OUT_OF_MEMORY;
    if (running == 0) return result_of(multi).value_or(CURLE_GOT_NOTHING);
    curl_waitfd signals{interrupts.fd(), CURL_WAIT_POLLIN, 0};
    if (curl_multi_poll(multi, &signals, 1, k_poll_ms, nullptr) != CURLM_OK) return CURLE_OUT_OF_MEMORY;
    if (interrupts.ended()) return std::nullopt;
  }
}

}  // namespace

Attempt<DaemonClient::StreamEnd> DaemonClient::follow(const std::string& target, const Stream& stream,
                                                      Interrupts& interrupts) {
  CURL* handle = handle_.get();
  Incoming incoming{handle, stream, {}};
  const std::string url = "http://mailotpd" + target;
  curl_slist* headers = curl_slist_append(nullptr, "Accept: application/x-ndjson");
  (void)curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
  (void)curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
  (void)curl_easy_setopt(handle, CURLOPT_HTTPGET, 1L);
  (void)curl_easy_setopt(handle, CURLOPT_TIMEOUT, 0L);
  (void)curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, take_bytes);
  (void)curl_easy_setopt(handle, CURLOPT_WRITEDATA, &incoming);
  (void)curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, take_header);
  (void)curl_easy_setopt(handle, CURLOPT_HEADERDATA, &incoming);
  const Multi multi;
  (void)curl_multi_add_handle(multi.handle, handle);
  const auto code = transfer(multi.handle, interrupts);
  const long status = incoming.status();
  (void)curl_multi_remove_handle(multi.handle, handle);
  (void)curl_easy_setopt(handle, CURLOPT_HTTPHEADER, nullptr);
  curl_slist_free_all(headers);
  if (!code) return StreamEnd::interrupted;
  if (incoming.enough) return StreamEnd::enough;
  if (*code != CURLE_OK && status != 200) return tl::unexpected(no_answer(*code));
  // A daemon that died cuts it; one that stops ends it. Both are the end.
  if (status == 200) return StreamEnd::ended;
  return tl::unexpected(failure_of({static_cast<int>(status), std::move(incoming.rest)}));
}

}  // namespace mailotp::ctl
