#include "mail/imap/imap_client.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <libetpan/mailimap.h>
#include <libetpan/mailimap_oauth2.h>
#include <libetpan/mailstream.h>
#include <libetpan/uidplus.h>

#include "core/check.h"
#include "mail/channel/codec.h"

namespace mailotp::mail {
namespace {

constexpr std::size_t k_command_bytes = 4 << 20;   // that the server may say to one command
constexpr std::size_t k_around_a_mail = 64 << 10;  // … beside the mail that was asked for
constexpr std::size_t k_small_literal = 4096;
constexpr std::size_t k_stream_buffer = 16 << 10;

struct SetFree {
  void operator()(mailimap_set* set) const noexcept { mailimap_set_free(set); }
};
using SetPtr = std::unique_ptr<mailimap_set, SetFree>;
struct TypeFree {
  void operator()(mailimap_fetch_type* type) const noexcept { mailimap_fetch_type_free(type); }
};
using TypePtr = std::unique_ptr<mailimap_fetch_type, TypeFree>;
struct ListFree {
  void operator()(clist* list) const noexcept { mailimap_fetch_list_free(list); }
};
using ListPtr = std::unique_ptr<clist, ListFree>;

SetPtr set_of(const std::vector<std::uint32_t>& numbers) {
  SetPtr set(mailimap_set_new_empty());
  CHECK(set != nullptr);
  for (std::size_t i = 0; i < numbers.size();) {
    std::size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1)
      ++last;
    CHECK(mailimap_set_add_interval(set.get(), numbers[i], numbers[last]) == MAILIMAP_NO_ERROR);
    i = last + 1;
  }
  return set;
}

bool has_line_break(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos;
}

// Calls `take` with every static attribute of every answer in the list.
template <class Take>
void each_attribute(clist* list, Take take) {
  for (clistiter* at = clist_begin(list); at != nullptr; at = clist_next(at)) {
    const auto* mail = static_cast<mailimap_msg_att*>(clist_content(at));
    for (clistiter* it = clist_begin(mail->att_list); it != nullptr; it = clist_next(it)) {
      const auto* item = static_cast<mailimap_msg_att_item*>(clist_content(it));
      if (item->att_type == MAILIMAP_MSG_ATT_ITEM_STATIC) take(mail, *item->att_data.att_static);
    }
  }
}

}  // namespace

std::string number_set(const std::vector<std::uint32_t>& numbers) {
  std::string out;
  for (std::size_t i = 0; i < numbers.size();) {
    std::size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1)
      ++last;
    if (!out.empty()) out += ',';
    out += std::to_string(numbers[i]);
    if (last > i) out += ":" + std::to_string(numbers[last]);
    i = last + 1;
  }
  return out;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

// What libetpan calls, and what it owns.
struct ImapClient::Engine {
  explicit Engine(ImapClient& owner) : client(owner) {}
  ~Engine() {
    // The stream belongs to the session once that is connected.
    if (session != nullptr) mailimap_free(session);
    if (session == nullptr && stream != nullptr) (void)mailstream_close(stream);
  }
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  static Engine& of(mailstream_low* low) { return *static_cast<Engine*>(low->data); }
  // Never 0: libetpan would ask again for ever.
  static ssize_t read(mailstream_low* low, void* into, std::size_t size) noexcept {
    Engine& self = of(low);
    while (self.given == self.ready.size()) {
      self.ready.clear();
      self.given = 0;
      if (!self.client.read_some()) return -1;
    }
    const std::size_t count = std::min(size, self.ready.size() - self.given);
    std::memcpy(into, self.ready.data() + self.given, count);
    self.given += count;
    return static_cast<ssize_t>(count);
  }
  static ssize_t write(mailstream_low* low, const void* bytes, std::size_t size) noexcept {
    const auto sent = of(low).client.wire_->write({static_cast<const char*>(bytes), size});
    return sent ? static_cast<ssize_t>(size) : -1;
  }
  static int close(mailstream_low*) noexcept { return 0; }
  static int descriptor(mailstream_low*) noexcept { return -1; }
  static void free(mailstream_low* low) noexcept { std::free(low); }
  static void nothing(mailstream_low*) noexcept {}
  static struct mailstream_cancel* no_cancel(mailstream_low*) noexcept { return nullptr; }
  static carray* no_chain(mailstream_low*) noexcept { return nullptr; }
  static int no_idle(mailstream_low*) noexcept { return -1; }

  ImapClient& client;
  mailstream_low_driver driver{read,      write,    close,   descriptor, free,   nothing,
                               no_cancel, no_chain, no_idle, no_idle,    no_idle};
  mailstream* stream = nullptr;
  mailimap* session = nullptr;
  std::string ready{"* OK ready\r\n"};  // for libetpan; the greeting was read by ourselves
  std::size_t given = 0;                // … of which it has so much
};

ImapClient::ImapClient(std::unique_ptr<Wire> wire, const core::MailboxLimits& limits)
    : limits_(limits), wire_(std::move(wire)) {}

ImapClient::~ImapClient() {
  // mailimap_free() says LOGOUT: let it not wait for an answer.
  wire_->shut({core::Errc::unavailable, "the session has ended"});
  engine_.reset();
}

core::Result<std::unique_ptr<ImapClient>> ImapClient::make(std::unique_ptr<Wire> wire,
                                                           const core::MailboxLimits& limits) {
  std::unique_ptr<ImapClient> client(new ImapClient(std::move(wire), limits));
  client->engine_ = std::make_unique<Engine>(*client);
  Engine& engine = *client->engine_;
  mailstream_low* low = mailstream_low_new(&engine, &engine.driver);
  if (low != nullptr) engine.stream = mailstream_new(low, k_stream_buffer);
  engine.session = mailimap_new(0, nullptr);
  if (engine.stream == nullptr || engine.session == nullptr)
    return core::fail(core::Errc::internal, "no memory for libetpan");
  client->begin(limits.command, k_command_bytes);
  const int result = mailimap_connect(engine.session, engine.stream);
  if (result != MAILIMAP_NO_ERROR_NON_AUTHENTICATED)
    return core::fail(core::Errc::internal, "libetpan did not take its greeting");
  return client;
}

void ImapClient::begin(core::Millis time, std::size_t bytes) {
  wire_->begin(time, bytes);
  filter_.allow_literal(k_small_literal);
  heard_.status.clear();
  heard_.code.clear();
  heard_.text.clear();
  heard_.continuation = false;
}

// Puts what the server says next into engine_->ready, as far as libetpan is to see it.
core::Result<> ImapClient::read_some() {
  std::array<char, 16 << 10> bytes;
  auto size = wire_->read(bytes);
  if (!size) return tl::unexpected(size.error());
  auto fed = filter_.feed({bytes.data(), *size}, engine_->ready);
  if (!fed) wire_->shut(fed.error());
  return fed;
}

core::Result<> ImapClient::judge(int result, std::string_view what) {
  if (const core::Error* fault = wire_->fault()) {
    if (heard_.bye) return core::fail(core::Errc::unavailable, "the server said BYE: " + heard_.text);
    return tl::unexpected(*fault);
  }
  if (result == MAILIMAP_NO_ERROR || result == MAILIMAP_NO_ERROR_AUTHENTICATED) return {};
  if (heard_.status == "NO" || heard_.status == "BAD") {
    const std::string code = heard_.code.empty() ? "" : "[" + heard_.code + "] ";
    return core::fail(core::Errc::invalid,
                      std::string(what) + ": " + heard_.status + " " + code + heard_.text);
  }
  core::Error error{core::Errc::malformed, std::string(what) + ": the server's answer cannot be read"};
  if (heard_.bye) error = {core::Errc::unavailable, "the server said BYE: " + heard_.text};
  wire_->shut(error);
  return tl::unexpected(error);
}

core::Result<> ImapClient::ask(const std::string& command) {
  drop_unread();
  begin(limits_.command, k_command_bytes);
  const std::string tag = "Q" + std::to_string(++own_tags_);
  const std::string_view verb = std::string_view(command).substr(0, command.find(' '));
  if (auto sent = wire_->write(tag + " " + command + "\r\n"); !sent)
    return judge(MAILIMAP_ERROR_STREAM, verb);
  if (auto heard = hear_until_tagged(tag, Until::tagged, verb); !heard) return heard;
  return judge(heard_.status == "OK" ? MAILIMAP_NO_ERROR : MAILIMAP_ERROR_PROTOCOL, verb);
}

core::Result<> ImapClient::capability() {
  if (heard_.capabilities_said) return {};
  return ask("CAPABILITY");
}

core::Result<> ImapClient::login(const std::string& user, const core::Secret& password) {
  if (has_line_break(user) || has_line_break(password.reveal()))
    return core::fail(core::Errc::invalid, "LOGIN: a line break in the user's name or the password");
  begin(limits_.command, k_command_bytes);
  heard_.capabilities_said = false;
  std::string word(password.reveal());
  const int result = mailimap_login(engine_->session, user.c_str(), word.c_str());
  ::explicit_bzero(word.data(), word.size());
  return judge(result, "LOGIN");
}

core::Result<> ImapClient::xoauth2(const std::string& user, const core::Secret& token) {
  if (has_line_break(user) || has_line_break(token.reveal()))
    return core::fail(core::Errc::invalid, "XOAUTH2: a line break in the user's name or the token");
  begin(limits_.command, k_command_bytes);
  heard_.capabilities_said = false;
  std::string word(token.reveal());
  const int result = mailimap_oauth2_authenticate(engine_->session, user.c_str(), word.c_str());
  ::explicit_bzero(word.data(), word.size());
  return judge(result, "AUTHENTICATE");
}

core::Result<> ImapClient::select(const std::string& folder) {
  begin(limits_.command, k_command_bytes);
  heard_.exists = heard_.uidvalidity = heard_.uidnext = 0;
  return judge(mailimap_select(engine_->session, folder.c_str()), "SELECT");
}

core::Result<> ImapClient::create(const std::string& folder) {
  begin(limits_.command, k_command_bytes);
  return judge(mailimap_create(engine_->session, folder.c_str()), "CREATE");
}

core::Result<> ImapClient::subscribe(const std::string& folder) {
  begin(limits_.command, k_command_bytes);
  return judge(mailimap_subscribe(engine_->session, folder.c_str()), "SUBSCRIBE");
}

core::Result<> ImapClient::noop() {
  begin(limits_.command, k_command_bytes);
  return judge(mailimap_noop(engine_->session), "NOOP");
}

core::Result<> ImapClient::expunge() {
  begin(limits_.command, k_command_bytes);
  return judge(mailimap_expunge(engine_->session), "EXPUNGE");
}

core::Result<> ImapClient::uid_expunge(const std::vector<std::uint32_t>& uids) {
  begin(limits_.command, k_command_bytes);
  return judge(mailimap_uid_expunge(engine_->session, set_of(uids).get()), "UID EXPUNGE");
}

core::Result<> ImapClient::uid_move(const std::vector<std::uint32_t>& uids, const std::string& folder) {
  begin(limits_.command, k_command_bytes);
  return judge(mailimap_uid_move(engine_->session, set_of(uids).get(), folder.c_str()), "UID MOVE");
}

core::Result<> ImapClient::uid_copy(const std::vector<std::uint32_t>& uids, const std::string& folder) {
  begin(limits_.command, k_command_bytes);
  return judge(mailimap_uid_copy(engine_->session, set_of(uids).get(), folder.c_str()), "UID COPY");
}

core::Result<> ImapClient::uid_flag_deleted(const std::vector<std::uint32_t>& uids) {
  return ask("UID STORE " + number_set(uids) + " +FLAGS.SILENT (\\Deleted)");
}

core::Result<std::vector<FetchedMail>> ImapClient::sizes(std::uint32_t first, std::uint32_t last) {
  begin(limits_.command, k_command_bytes);
  const SetPtr set(mailimap_set_new_interval(first, last));
  const TypePtr type(mailimap_fetch_type_new_fetch_att_list_empty());
  CHECK(set != nullptr && type != nullptr);
  (void)mailimap_fetch_type_new_fetch_att_list_add(type.get(), mailimap_fetch_att_new_uid());
  (void)mailimap_fetch_type_new_fetch_att_list_add(type.get(), mailimap_fetch_att_new_rfc822_size());
  clist* list = nullptr;
  const int result = mailimap_fetch(engine_->session, set.get(), type.get(), &list);
  const ListPtr owned(result == MAILIMAP_NO_ERROR ? list : nullptr);
  if (auto judged = judge(result, "FETCH"); !judged) return tl::unexpected(judged.error());
  std::vector<FetchedMail> mails;
  const mailimap_msg_att* last_seen = nullptr;
  each_attribute(list, [&](const mailimap_msg_att* mail, const mailimap_msg_att_static& item) {
    if (std::exchange(last_seen, mail) != mail) mails.emplace_back();
    if (item.att_type == MAILIMAP_MSG_ATT_UID) mails.back().uid = item.att_data.att_uid;
    if (item.att_type == MAILIMAP_MSG_ATT_RFC822_SIZE) mails.back().size = item.att_data.att_rfc822_size;
  });
  std::erase_if(mails, [](const FetchedMail& mail) { return mail.uid == 0; });
  return mails;
}

core::Result<std::optional<std::string>> ImapClient::peek(std::uint32_t uid) {
  begin(limits_.fetch, limits_.fetch_bytes + k_around_a_mail);
  filter_.allow_literal(limits_.fetch_bytes);
  const SetPtr set(mailimap_set_new_single(uid));
  mailimap_section* section = mailimap_section_new(nullptr);
  CHECK(set != nullptr && section != nullptr);
  const TypePtr type(mailimap_fetch_type_new_fetch_att(
      mailimap_fetch_att_new_body_peek_section_partial(section, 0, limits_.fetch_bytes)));
  CHECK(type != nullptr);
  clist* list = nullptr;
  const int result = mailimap_uid_fetch(engine_->session, set.get(), type.get(), &list);
  const ListPtr owned(result == MAILIMAP_NO_ERROR ? list : nullptr);
  if (auto judged = judge(result, "UID FETCH"); !judged) return tl::unexpected(judged.error());
  // Some answers may be about other mails (another client's changes of flags): the body is of the one with
  // the UID that was asked for.
  const mailimap_msg_att* wanted = nullptr;
  each_attribute(list, [&](const mailimap_msg_att* mail, const mailimap_msg_att_static& item) {
    if (item.att_type == MAILIMAP_MSG_ATT_UID && item.att_data.att_uid == uid) wanted = mail;
  });
  std::optional<std::string> body;
  each_attribute(list, [&](const mailimap_msg_att* mail, const mailimap_msg_att_static& item) {
    if (mail != wanted || item.att_type != MAILIMAP_MSG_ATT_BODY_SECTION) return;
    const mailimap_msg_att_body_section* part = item.att_data.att_body_section;
    body.emplace();
    if (part != nullptr && part->sec_body_part != nullptr)
      body->assign(part->sec_body_part, part->sec_length);
  });
  return body;
}

// What libetpan has not read of earlier answers has been heard, and would only wait there.
void ImapClient::drop_unread() {
  engine_->stream->read_buffer_len = 0;
  engine_->ready.clear();
  engine_->given = 0;
}

core::Result<> ImapClient::hear_until_tagged(std::string_view tag, Until until, std::string_view what) {
  while (heard_.tag != tag) {
    if (until == Until::continued && heard_.continuation) return {};
    if (auto read = read_some(); !read) return judge(MAILIMAP_ERROR_STREAM, what);
    drop_unread();
  }
  return {};
}

core::Result<ImapClient::Idled> ImapClient::idle(core::Millis until, int wake) {
  drop_unread();
  begin(limits_.command, k_command_bytes);
  const std::string tag = "I" + std::to_string(++own_tags_);
  if (auto sent = wire_->write(tag + " IDLE\r\n"); !sent)
    return tl::unexpected(judge(MAILIMAP_ERROR_STREAM, "IDLE").error());
  if (auto heard = hear_until_tagged(tag, Until::continued, "IDLE"); !heard)
    return tl::unexpected(heard.error());
  if (!heard_.continuation) return tl::unexpected(judge(MAILIMAP_ERROR_PROTOCOL, "IDLE").error());
  wire_->begin(until, k_command_bytes);
  while (!heard_.news && !heard_.bye && heard_.tag != tag) {
    if (wire_->wait(wake) != Wire::Woken::readable) break;
    if (auto read = read_some(); !read) return tl::unexpected(judge(MAILIMAP_ERROR_STREAM, "IDLE").error());
    drop_unread();
  }
  if (heard_.bye) return tl::unexpected(judge(MAILIMAP_ERROR_PROTOCOL, "IDLE").error());
  if (heard_.tag == tag) return Idled::refused;
  wire_->begin(limits_.command, k_command_bytes);
  if (auto sent = wire_->write("DONE\r\n"); !sent)
    return tl::unexpected(judge(MAILIMAP_ERROR_STREAM, "IDLE").error());
  if (auto heard = hear_until_tagged(tag, Until::tagged, "IDLE"); !heard)
    return tl::unexpected(heard.error());
  return Idled::waited;
}

void ImapClient::logout(core::Millis time) {
  begin(time, k_command_bytes);
  (void)mailimap_logout(engine_->session);  // it ends either way
}

}  // namespace mailotp::mail
