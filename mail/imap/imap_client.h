// The commands of IMAP that the session needs, by libetpan over our Wire: one connection, one thread. Every
// command has a deadline and a budget of bytes (limits); libetpan never sees a byte that ResponseFilter has
// not let through, and never closes or waits by itself.
//
// Errors: Errc::invalid: the server said NO or BAD, in words; all others: the connection is of no use any
// more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/mailbox.h"
#include "core/result.h"
#include "mail/imap/response_filter.h"
#include "mail/imap/wire.h"

namespace mailotp::mail {

struct FetchedMail {
  std::uint32_t uid = 0;
  std::uint32_t size = 0;  // bytes on the server
};

// "1:3,7" of numbers in ascending order.
[[nodiscard]] std::string number_set(const std::vector<std::uint32_t>& numbers);
// As a string of IMAP (RFC 9051 section 4.3). No CR, LF or NUL in it: the caller has checked.
[[nodiscard]] std::string quoted(std::string_view text);

class ImapClient {
 public:
  // The greeting was read. Errc::internal: libetpan has no memory.
  [[nodiscard]] static core::Result<std::unique_ptr<ImapClient>> make(std::unique_ptr<Wire> wire,
                                                                      const core::MailboxLimits& limits);
  ~ImapClient();
  ImapClient(const ImapClient&) = delete;
  ImapClient& operator=(const ImapClient&) = delete;

  [[nodiscard]] Heard& heard() { return heard_; }
  [[nodiscard]] bool offers(std::string_view capability) const {
    return heard_.capabilities.contains(capability);
  }

  // Asks for the capabilities if they were not said by themselves.
  [[nodiscard]] core::Result<> capability();
  // A user or a password with CR, LF or NUL in it is refused here.
  [[nodiscard]] core::Result<> login(const std::string& user, const core::Secret& password);
  [[nodiscard]] core::Result<> xoauth2(const std::string& user, const core::Secret& token);
  [[nodiscard]] core::Result<> select(const std::string& folder);
  [[nodiscard]] core::Result<> create(const std::string& folder);
  [[nodiscard]] core::Result<> subscribe(const std::string& folder);
  [[nodiscard]] core::Result<> noop();
  [[nodiscard]] core::Result<> expunge();
  [[nodiscard]] core::Result<> uid_expunge(const std::vector<std::uint32_t>& uids);
  [[nodiscard]] core::Result<> uid_move(const std::vector<std::uint32_t>& uids, const std::string& folder);
  [[nodiscard]] core::Result<> uid_copy(const std::vector<std::uint32_t>& uids, const std::string& folder);
  [[nodiscard]] core::Result<> uid_flag_deleted(const std::vector<std::uint32_t>& uids);
  // A command with its arguments whose answer is noted in heard(): LIST, NAMESPACE, UID SEARCH. By a line of
  // our own: libetpan puts a space behind a command that it does not know, which strict servers refuse.
  [[nodiscard]] core::Result<> ask(const std::string& command);

  // Number and size of the mails with these sequence numbers, in no order.
  [[nodiscard]] core::Result<std::vector<FetchedMail>> sizes(std::uint32_t first, std::uint32_t last);
  // The first limits.fetch_bytes of a mail, \Seen left alone; nullopt: it is gone.
  [[nodiscard]] core::Result<std::optional<std::string>> peek(std::uint32_t uid);

  // IDLE (RFC 2177) by lines of our own: libetpan's hangs when anything comes before the "+". Returns when
  // `until` is over, EXISTS was said, `wake` is readable, or (refused) the server has ended it by itself.
  enum class Idled { waited, refused };
  [[nodiscard]] core::Result<Idled> idle(core::Millis until, int wake);
  // A farewell that nobody waits long for.
  void logout(core::Millis time);

 private:
  struct Engine;  // libetpan's side
  ImapClient(std::unique_ptr<Wire> wire, const core::MailboxLimits& limits);

  void begin(core::Millis time, std::size_t bytes);
  [[nodiscard]] core::Result<> judge(int result, std::string_view what);
  enum class Until { tagged, continued };
  [[nodiscard]] core::Result<> hear_until_tagged(std::string_view tag, Until until, std::string_view what);
  void drop_unread();
  [[nodiscard]] core::Result<> read_some();

  core::MailboxLimits limits_;
  std::unique_ptr<Wire> wire_;
  Heard heard_;
  ResponseFilter filter_{heard_};
  std::unique_ptr<Engine> engine_;
  int own_tags_ = 0;
};

}  // namespace mailotp::mail
