// HTTP over the operators' socket, one request at a time. Blocking.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/time.h"
#include "ctl/exit_code.h"
#include "ctl/interrupts.h"

namespace mailotp::ctl {

struct HttpReply {
  int status = 0;
  std::string body;  // at most 16 MiB
};

class DaemonClient {
 public:
  // `interrupts`, borrowed, may end a request; it is then a failure of any kind.
  explicit DaemonClient(std::string socket, Interrupts* interrupts = nullptr);

  // `target` is an absolute path with its query. Any status is a reply; a failure is that there is none:
  // no_daemon, no_permission or try_again (the connection was lost, or 30 s passed).
  [[nodiscard]] Attempt<HttpReply> get(const std::string& target);
  // The same with a POST without a body; for work that the daemon does before it answers: 120 s.
  [[nodiscard]] Attempt<HttpReply> post(const std::string& target);
  // As post(), with a JSON body.
  [[nodiscard]] Attempt<HttpReply> post(const std::string& target, const std::string& body);
  [[nodiscard]] Attempt<HttpReply> put(const std::string& target, const std::string& body);
  [[nodiscard]] Attempt<HttpReply> remove(const std::string& target);

  // All requests together take no longer, from now on.
  void give_up_after(core::Millis patience);

  // GET of a stream of lines (application/x-ndjson), until it ends.
  struct Stream {
    std::function<void(const std::string& cursor)> on_open;  // the answer goes on from here
    std::function<bool(std::string_view line)> on_line;      // false: enough
    std::function<void()> on_pause;                          // no more lines are there for now
  };
  enum class StreamEnd { ended, enough, interrupted };
  [[nodiscard]] Attempt<StreamEnd> follow(const std::string& target, const Stream& stream,
                                          Interrupts& interrupts);
  // Takes a body of any length as it comes.
  class Receiver {
   public:
    virtual ~Receiver() = default;
    // False ends it.
    virtual bool take(std::string_view bytes) = 0;
    // Asked at least once a second. `whole`: bytes of the body; 0 as long as that is not known. False ends
    // it.
    virtual bool go_on(std::uint64_t whole) = 0;
  };
  // A GET that may last: without a bound, but 10 minutes without a byte. The body of a 200 goes to
  // `receiver`, that of another answer is in the reply. A failure, too, is a body that was cut, or that
  // `receiver` has ended.
  [[nodiscard]] Attempt<HttpReply> receive(const std::string& target, Receiver& receiver);

 private:
  [[nodiscard]] Attempt<HttpReply> send(const char* method, const std::string& target,
                                        const std::string& body);
  [[nodiscard]] Attempt<HttpReply> perform(const std::string& target);
  // What a code of libcurl means.
  [[nodiscard]] Failure no_answer(int code) const;
  [[nodiscard]] Attempt<HttpReply> answer_to(const std::string& target);

  struct Close {
    void operator()(void* handle) const noexcept;
  };
  using Clock = std::chrono::steady_clock;

  std::string socket_;
  Interrupts* interrupts_;
  std::optional<Clock::time_point> deadline_;
  std::unique_ptr<void, Close> handle_;  // kept, so that the connection is
};

// As one segment of a path: percent-encoded (RFC 3986 section 2.1).
[[nodiscard]] std::string encoded(std::string_view value);
// "/v1/outbox" and ("state", "held"), ("app", "") → "/v1/outbox?state=held": empty values are left out,
// others percent-encoded (RFC 3986 section 2.1).
[[nodiscard]] std::string target_of(std::string_view path,
                                    const std::vector<std::pair<std::string_view, std::string>>& query);

// What an answer that is no 2xx means: 403 no_permission, 429 and 503 try_again, all else refused.
[[nodiscard]] Failure failure_of(const HttpReply& reply);

}  // namespace mailotp::ctl
