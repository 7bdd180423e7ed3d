// HTTP over the operators' socket, one request at a time. Blocking.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ctl/exit_code.h"

namespace mailotp::ctl {

struct HttpReply {
  int status = 0;
  std::string body;  // at most 16 MiB
};

class DaemonClient {
 public:
  explicit DaemonClient(std::string socket);

  // `target` is an absolute path with its query. Any status is a reply; a failure is that there is none:
  // no_daemon, no_permission or try_again (the connection was lost, or 30 s passed).
  [[nodiscard]] Attempt<HttpReply> get(const std::string& target);
  // The same with a POST without a body; for work that the daemon does before it answers: 120 s.
  [[nodiscard]] Attempt<HttpReply> post(const std::string& target);
  // As post(), with a JSON body.
  [[nodiscard]] Attempt<HttpReply> post(const std::string& target, const std::string& body);
  [[nodiscard]] Attempt<HttpReply> put(const std::string& target, const std::string& body);
  [[nodiscard]] Attempt<HttpReply> remove(const std::string& target);

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
  [[nodiscard]] Attempt<HttpReply> transfer(const std::string& target);

  struct Close {
    void operator()(void* handle) const noexcept;
  };
  std::string socket_;
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
