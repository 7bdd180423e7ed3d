#include "mail/imap/mailbox_session.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include <openssl/sha.h>

#include "mail/agent/boot_clock.h"
#include "mail/bounce/parser.h"
#include "mail/imap/folders.h"

namespace mailotp::mail {
namespace {

// How long a decision may take before the connection is used for something else meanwhile.
constexpr core::Millis k_decision{500};
constexpr core::Millis k_day{86'400'000};
constexpr core::Seconds k_zones{14 * 3600};  // a server's date may be so far from UTC
constexpr std::uint32_t k_sweep = 1000;      // mails of `processed` looked at by one command

// What LOGIN's refusal means (RFC 5530): only some of them say that the password is wrong.
bool refuses_password(const Heard& heard) {
  for (const std::string_view temporary : {"UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG", "OVERQUOTA"})
    if (heard.code == temporary) return false;
  return heard.status == "NO";
}

// "20-Nov-2026" (RFC 9051: date), UTC.
std::string imap_date(std::time_t at) {
  constexpr std::array<const char*, 12> k_months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  std::tm parts{};
  (void)::gmtime_r(&at, &parts);  // any time_t of ours has a year
  return std::to_string(parts.tm_mday) + "-" + k_months.at(static_cast<std::size_t>(parts.tm_mon)) + "-" +
         std::to_string(1900 + parts.tm_year);
}

// The search key of mails that are addressed to the bounce address, with or without a tag.
std::string to_bounces(const core::MailboxSettings& settings) {
  std::string key;
  for (const std::string& address :
       {settings.bounce_local + "@" + settings.bounce_domain, settings.bounce_local + "+"}) {
    for (const std::string_view field : {"To", "Delivered-To", "X-Original-To", "Envelope-To"}) {
      std::string one = "HEADER " + std::string(field) + " " + quoted(address);
      key = key.empty() ? std::move(one) : "OR " + one + " " + key;
    }
  }
  return key;
}

core::MailRead read_mail(std::string_view bytes, const core::MailboxSettings& settings) {
  core::MailRead read;
  (void)::SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), read.hash.data());
  ParsedMail parsed = parse_mail(bytes, BounceMailbox{settings.bounce_local, settings.bounce_domain});
  read.addressed = !parsed.addressed_to.empty();
  for (AddressedTo& to : parsed.addressed_to)
    if (!to.tag.empty() && read.tags.size() < core::k_returned_tokens) read.tags.push_back(std::move(to.tag));
  read.report = std::move(parsed.report);
  return read;
}

}  // namespace

MailboxSession::MailboxSession(ImapClient& client, const core::MailboxSettings& settings,
                               const core::MailboxLimits& limits, SessionPort& port, VisitMemory& memory)
    : client_(client), settings_(settings), limits_(limits), port_(port), memory_(memory) {}

Tried<> MailboxSession::run() {
  if (auto done = log_in(); !done) return done;
  if (auto done = make_folders(); !done) return done;
  if (auto done = sweep(); !done) return done;
  while (!stopping()) {
    if (auto done = open(); !done) return done;
    while (!stopping() && !replaced())
      if (auto done = work(); !done) return done;
  }
  return {};
}

Tried<> MailboxSession::log_in() {
  // The daemon could not read it. The server would count a failed login.
  if (settings_.password.empty())
    return tl::unexpected(Trouble{"login", "there is no password", core::RelayTrouble::auth_refused});
  if (auto asked = client_.capability(); !asked) return trouble("login", asked.error());
  const bool token = settings_.auth == core::AuthMode::xoauth2;
  if (client_.offers(token ? "AUTH=XOAUTH2" : "LOGINDISABLED") != token)
    return tl::unexpected(Trouble{"login",
                                  token ? "the server does not offer XOAUTH2" : "the server forbids LOGIN",
                                  core::RelayTrouble::auth_refused});
  const auto logged_in = token ? client_.xoauth2(settings_.username, settings_.password)
                               : client_.login(settings_.username, settings_.password);
  if (!logged_in) {
    const bool refused = logged_in.error().code == core::Errc::invalid && refuses_password(client_.heard());
    return tl::unexpected(Trouble{"login", logged_in.error().what,
                                  refused ? core::RelayTrouble::auth_refused : core::RelayTrouble::ordinary});
  }
  // Often other ones than before the login.
  if (auto asked = client_.capability(); !asked) return trouble("login", asked.error());
  return {};
}

Tried<> MailboxSession::make_folders() {
  mailbox_ = to_mailbox_name(settings_.mailbox);
  for (const auto& [name, folder] :
       {std::pair(&settings_.processed, &processed_), std::pair(&settings_.unrecognised, &unrecognised_)}) {
    auto found = find_or_make_folder(client_, *name);
    if (!found) return trouble("folders", found.error());
    *folder = std::move(*found);
  }
  // The server's prefix can make one folder of two names. What is old in `processed` is removed: it must be
  // nothing else.
  if (processed_ == mailbox_ || unrecognised_ == mailbox_ || processed_ == unrecognised_)
    return tl::unexpected(
        Trouble{"folders", "mailbox, processed and unrecognised are not three folders of the server", {}});
  return {};
}

Tried<> MailboxSession::select() {
  if (auto selected = client_.select(mailbox_); !selected) return trouble("select", selected.error());
  if (client_.heard().uidvalidity == 0)
    return tl::unexpected(Trouble{"select", "the server gives no UIDVALIDITY", {}});
  return {};
}

Tried<> MailboxSession::open() {
  if (auto selected = select(); !selected) return selected;
  Heard& heard = client_.heard();
  uidvalidity_ = heard.uidvalidity;
  listed_.clear();
  aside_.reset();
  server_gives_ = false;
  undecided_.clear();
  to_move_.clear();
  poison_.clear();
  flagged_.clear();
  resume_.reset();
  port_.events.report(core::MailboxOpened{uidvalidity_, heard.uidnext, heard.exists});
  if (auto resumed = wait_for_resume(); !resumed || !resume_) return resumed;
  take_resume(*std::exchange(resume_, std::nullopt));
  port_.events.report(core::MailboxFact{true, "", "", core::RelayTrouble::ordinary});
  up_ = true;
  return {};
}

// The mailbox was replaced by another of the same name: the UIDs that we know mean nothing any more.
bool MailboxSession::replaced() const {
  const std::uint32_t now = client_.heard().uidvalidity;
  return now != 0 && now != uidvalidity_;
}

Tried<> MailboxSession::wait_for_resume() {
  core::Millis next_noop = since_boot() + limits_.noop;
  while (!resume_ && !stopping() && !replaced()) {
    take_orders();
    if (resume_) break;
    const core::Millis now = since_boot();
    if (now >= next_noop) {
      if (auto still = client_.noop(); !still) return trouble("select", still.error());
      next_noop = since_boot() + limits_.noop;
      continue;
    }
    wait_readable(port_.orders.descriptor(), port_.stop.descriptor(), next_noop - now);
  }
  return {};
}

void MailboxSession::take_resume(core::MailboxResume resume) {
  last_uid_ = resume.after_uid;
  for (const core::MailToMove& mail : resume.moves)
    if (mail.fate != core::MailFate::leave) to_move_[mail.uid] = mail.fate;
  for (const std::uint32_t uid : resume.poison) {
    poison_.insert(uid);
    to_move_[uid] = core::MailFate::unrecognised;
  }
  look_again_ = true;
}

void MailboxSession::take_orders() {
  for (SessionOrder& order : port_.orders.take()) {
    if (auto* resume = std::get_if<core::MailboxResume>(&order)) {
      if (resume->uidvalidity == uidvalidity_) resume_ = std::move(*resume);
    } else if (const auto* decided = std::get_if<core::MailDecided>(&order)) {
      take_decision(*decided);
    } else if (auto* password = std::get_if<core::SetMailboxPassword>(&order)) {
      new_password_ = std::move(password->password);
    }
  }
}

void MailboxSession::take_decision(const core::MailDecided& decided) {
  if (decided.mail.uidvalidity != uidvalidity_) return;
  undecided_.erase(decided.mail.uid);
  if (decided.fate != core::MailFate::leave) to_move_[decided.mail.uid] = decided.fate;
}

// One step: the most urgent thing that there is to do.
Tried<> MailboxSession::work() {
  take_orders();
  const bool full = undecided_.size() >= k_undecided;
  if (to_move_.size() >= k_batch || (!to_move_.empty() && (full || listed_.empty() || poison_waits())))
    return move_batch();
  if (!listed_.empty() && !full) return read_next();
  if (!full && (look_again_ || client_.heard().news)) return look();
  if (undecided_.empty() && sweep_due()) {
    if (auto swept = sweep(); !swept) return swept;
    return select();
  }
  return rest();
}

// The first sequence number whose mail has a UID above `uid`; one behind the last when there is none. While
// only FETCH is used the numbers stand still (RFC 9051 section 7.5.1).
core::Result<std::uint32_t> MailboxSession::first_after(std::uint32_t uid) {
  std::uint32_t low = 1;
  std::uint32_t high = client_.heard().exists + 1;
  if (high == 1) return high;
  bool newest = true;  // usually the mails are all old, or a few are new
  while (low < high) {
    const std::uint32_t middle = newest ? high - 1 : low + (high - low) / 2;
    newest = false;
    auto mails = client_.sizes(middle, middle);
    if (!mails) return tl::unexpected(mails.error());
    // A number without a mail: expunged, and not told yet. Look at its neighbours from below.
    const bool above = mails->empty() || mails->front().uid > uid;
    if (above)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

Tried<> MailboxSession::look() {
  client_.heard().news = false;
  looked_ = since_boot();
  const auto first = first_after(last_uid_);
  if (!first) return trouble("fetch", first.error());
  const std::uint32_t exists = client_.heard().exists;
  look_again_ = false;
  if (*first > exists) return {};
  const std::uint32_t last = std::min(exists, *first + k_window - 1);
  look_again_ = last < exists;
  auto mails = client_.sizes(*first, last);
  if (!mails) return trouble("fetch", mails.error());
  std::sort(mails->begin(), mails->end(),
            [](const FetchedMail& a, const FetchedMail& b) { return a.uid < b.uid; });
  for (const FetchedMail& mail : *mails)
    if (mail.uid > last_uid_ && (listed_.empty() || listed_.back().uid != mail.uid)) listed_.push_back(mail);
  if (!listed_.empty() || !look_again_) return {};
  // Numbers whose mails another client has expunged, which no answer to FETCH may tell (RFC 9051 section
  // 7.5.1). When the server has nothing to tell, asking again at once would ask for ever.
  if (auto asked = client_.noop(); !asked) return trouble("fetch", asked.error());
  look_again_ = client_.heard().exists < exists;
  return {};
}

Tried<> MailboxSession::read_next() {
  const FetchedMail mail = listed_.front();
  listed_.pop_front();
  last_uid_ = std::max(last_uid_, mail.uid);
  if (poison_.contains(mail.uid)) return {};
  if (is_suspect(mail) && !server_gives_) {
    aside_ = mail;
    return {};
  }
  const core::MailUid name{uidvalidity_, mail.uid};
  port_.events.report(core::MailNext{name});
  const auto bytes = client_.peek(mail.uid);
  if (!bytes) {
    note_failure(mail);
    return trouble("fetch", bytes.error());
  }
  if (memory_.failed == name) memory_.forget_failure();
  if (aside_) {
    // In their order: what the daemon decides stands for all mails before it.
    server_gives_ = true;
    listed_.push_front(mail);
    listed_.push_front(*std::exchange(aside_, std::nullopt));
    return {};
  }
  if (!*bytes) {
    port_.events.report(core::MailMoved{uidvalidity_, {mail.uid}});
    return {};
  }
  core::MailRead read = read_mail(**bytes, settings_);
  read.mail = name;
  read.size = mail.size;
  undecided_.insert(mail.uid);
  port_.events.report(std::move(read));
  return {};
}

// ---- A mail whose fetch fails again and again must not keep us from those behind it. Whether it is the
// mail, or the server has a bad time, the next mails tell: it is set aside for them, then tried once more.

bool MailboxSession::is_suspect(const FetchedMail& mail) const {
  return memory_.failures >= k_failures && memory_.failed == core::MailUid{uidvalidity_, mail.uid};
}

void MailboxSession::note_failure(const FetchedMail& mail) {
  if (stopping()) return;
  if (is_suspect(mail) && server_gives_) return give_up(mail);
  const core::MailUid name{uidvalidity_, mail.uid};
  if (std::exchange(memory_.failed, name) != name) memory_.failures = 0;
  ++memory_.failures;
}

// It is reported as one that says nothing, so that it is left.
void MailboxSession::give_up(const FetchedMail& mail) {
  memory_.forget_failure();
  core::MailRead read;
  read.mail = {uidvalidity_, mail.uid};
  read.size = mail.size;
  port_.events.report(core::AgentLog{"event=mail_unreadable uid=" + std::to_string(mail.uid) +
                                     " reason=\"the server cannot give it; it is left\""});
  port_.events.report(core::MailNext{read.mail});
  undecided_.insert(mail.uid);
  port_.events.report(std::move(read));
}

// Nothing to do: waits for mail, orders, and the next look.
Tried<> MailboxSession::rest() {
  const bool full = undecided_.size() >= k_undecided;
  const core::Millis pause = client_.offers("IDLE") ? limits_.poll : limits_.noop;
  if (!undecided_.empty()) {
    wait_readable(port_.orders.descriptor(), port_.stop.descriptor(), std::min(pause, k_decision));
    take_orders();
    if (stopping() || !to_move_.empty() || (full && undecided_.size() < k_undecided)) return {};
    if (undecided_.empty()) return {};
  }
  const core::Millis waited = since_boot() - looked_;
  if (waited < pause) {
    if (client_.offers("IDLE")) {
      const auto idled = client_.idle(std::min(pause - waited, limits_.idle), port_.orders.descriptor());
      if (!idled) return trouble("idle", idled.error());
      // Asking again at once would ask for ever.
      if (*idled == ImapClient::Idled::refused && !client_.heard().news)
        wait_readable(port_.orders.descriptor(), port_.stop.descriptor(), std::min(pause, limits_.noop));
      return {};
    }
    wait_readable(port_.orders.descriptor(), port_.stop.descriptor(), pause - waited);
    return {};
  }
  looked_ = since_boot();
  if (auto asked = client_.noop(); !asked) return trouble("idle", asked.error());
  look_again_ = !full;
  // Nothing else has come: the server may be well again.
  if (aside_) {
    memory_.failures = 0;
    listed_.push_front(*std::exchange(aside_, std::nullopt));
  }
  return {};
}

bool MailboxSession::poison_waits() const {
  return std::any_of(poison_.begin(), poison_.end(),
                     [this](std::uint32_t uid) { return to_move_.contains(uid); });
}

Tried<> MailboxSession::move_batch() {
  // One folder a command; poison first, it is the most urgent.
  const core::MailFate fate = poison_waits() ? core::MailFate::unrecognised : to_move_.begin()->second;
  std::vector<std::uint32_t> uids;
  for (const auto& [uid, one] : to_move_)
    if (one == fate && uids.size() < k_batch) uids.push_back(uid);
  const std::string& folder = fate == core::MailFate::processed ? processed_ : unrecognised_;
  auto moved = move(uids, folder);
  if (!moved && moved.error().code == core::Errc::invalid) {
    // Somebody has removed the folder: make it again, once.
    if (auto made = make_folders(); !made) return made;
    moved = move(uids, folder);
  }
  if (!moved) return trouble("move", moved.error());
  for (const std::uint32_t uid : uids)
    to_move_.erase(uid);
  port_.events.report(core::MailMoved{uidvalidity_, std::move(uids)});
  return {};
}

core::Result<> MailboxSession::move(const std::vector<std::uint32_t>& uids, const std::string& folder) {
  if (client_.offers("MOVE")) return client_.uid_move(uids, folder);
  if (auto copied = client_.uid_copy(uids, folder); !copied) return copied;
  return remove(uids);
}

core::Result<> MailboxSession::remove(const std::vector<std::uint32_t>& uids) {
  if (auto flagged = client_.uid_flag_deleted(uids); !flagged) return flagged;
  if (client_.offers("UIDPLUS")) return client_.uid_expunge(uids);
  // EXPUNGE takes all that is flagged: a person's mail may be among it. Then ours stay flagged, for the
  // person's next EXPUNGE.
  flagged_.insert(uids.begin(), uids.end());
  client_.heard().found.clear();
  if (auto asked = client_.ask("UID SEARCH DELETED"); !asked) return asked;
  const auto& found = client_.heard().found;
  if (!std::all_of(found.begin(), found.end(), [this](std::uint32_t uid) { return flagged_.contains(uid); }))
    return {};
  return client_.expunge();
}

bool MailboxSession::sweep_due() const {
  return !memory_.swept || since_boot() - *memory_.swept >= k_day;
}

// Leaves another folder selected.
Tried<> MailboxSession::sweep() {
  if (!sweep_due()) return {};
  const std::set<std::uint32_t> flagged = std::exchange(flagged_, {});
  const auto swept = sweep_processed();
  flagged_ = flagged;
  // A server that refuses it is asked again tomorrow: the mailbox is read all the same.
  if (!swept && swept.error().code != core::Errc::invalid) return trouble("sweep", swept.error());
  if (!swept)
    port_.events.report(core::AgentLog{"event=mailbox_sweep_refused error=\"" + swept.error().what + "\""});
  memory_.swept = since_boot();
  return {};
}

// A person may have had a folder of that name, with mails of her own: only what came to the bounce address
// goes.
core::Result<> MailboxSession::sweep_processed() {
  if (auto selected = client_.select(processed_); !selected) return selected;
  const std::string before =
      imap_date(std::time(nullptr) - static_cast<std::time_t>((settings_.keep + k_zones).count()));
  Heard& heard = client_.heard();
  for (std::uint32_t first = 1; first <= heard.exists && !stopping();) {
    const std::uint32_t last = std::min(heard.exists, first + k_sweep - 1);
    heard.found.clear();
    if (auto asked = client_.ask("UID SEARCH " + std::to_string(first) + ":" + std::to_string(last) +
                                 " UNDELETED BEFORE " + before + " " + to_bounces(settings_));
        !asked)
      return asked;
    std::vector<std::uint32_t> old = std::exchange(heard.found, {});
    std::sort(old.begin(), old.end());
    if (old.size() > k_sweep) return core::fail(core::Errc::invalid, "SEARCH found more than there is");
    const std::uint32_t there = heard.exists;
    if (!old.empty())
      if (auto removed = remove(old); !removed) return removed;
    // What was expunged has moved the rest down.
    first = last + 1 - std::min(last, there - std::min(there, heard.exists));
  }
  return {};
}

}  // namespace mailotp::mail
