#include "mail/bounce/parser.h"

#include <algorithm>
#include <array>
#include <deque>
#include <optional>

#include "core/bounce_class.h"
#include "mail/bounce/addressed.h"
#include "mail/bounce/ascii.h"
#include "mail/bounce/decode.h"
#include "mail/bounce/dsn.h"
#include "mail/bounce/find_address.h"
#include "mail/bounce/notification.h"
#include "mail/bounce/recipient.h"
#include "mail/bounce/reply_words.h"
#include "mail/bounce/returned.h"
#include "mail/bounce/text_report.h"
#include "mail/bounce/top.h"

namespace mailotp::mail {
namespace {

using core::BounceKind;

constexpr std::size_t k_text_parts = 6;  // read for words
constexpr std::size_t k_words_max = 2000;
constexpr std::size_t k_around_max = 4000;

class MailReader {
 public:
  MailReader(std::string_view bytes, const BounceMailbox& mailbox, const ParserBounds& bounds)
      : bounds_(bounds),
        mailbox_(mailbox),
        scanned_(scan_mail(bytes, bounds.mail)),
        top_(read_top_header(scanned_.headers)) {
    parsed_.cut = scanned_.cut;
    parsed_.work = scanned_.work;
    parsed_.addressed_to = addressed_to(top_.deliveries, mailbox);
  }

  ParsedMail run() {
    read_parts();
    decide();
    if (!mailbox_.local.empty() && (returns_a_notice() || is_about_the_mailbox())) {
      parsed_.report.recipients.clear();
      settle(BounceKind::none, "notice-of-a-notice");
    }
    parsed_.report.message_ids = std::move(returned_.message_ids);
    add_message_ids(top_.in_reply_to, parsed_.report.message_ids);
    add_message_ids(top_.references, parsed_.report.message_ids);
    parsed_.report.headers = std::move(returned_.headers);
    if (!dsn_.envid.empty() && dsn_.envid.size() <= core::k_returned_token)
      parsed_.report.envids.push_back(dsn_.envid);
    return std::move(parsed_);
  }

 private:
  // ---- What the parts hold.

  void read_parts() {
    for (const MailPart& part : scanned_.parts) {
      switch (part.type) {
        case PartType::status:
          has_status_ = true;
          read_dsn(text_of(part), bounds_.recipients, dsn_);
          break;
        case PartType::mail:
        case PartType::headers:
          if (!original_part_) read_returned(text_of(part), returned_);
          original_part_ = true;
          break;
        case PartType::receipt:
          has_receipt_ = true;
          read_receipt(text_of(part));
          break;
        case PartType::feedback:
          has_feedback_ = true;
          break;
        case PartType::text:
          if (texts_.size() < k_text_parts && (!original_part_ || texts_.empty()))
            texts_.emplace_back(text_of(part));
          break;
        case PartType::html:
        case PartType::preamble:
        case PartType::other:
          break;
      }
    }
    read_instead(PartType::html);
    read_instead(PartType::preamble);
    for (const TextLines& text : texts_) {
      if (!returned_.seen) read_returned(text.original(), returned_);
      for (const std::string_view line : text.tokens())
        read_returned_line(line, returned_);
    }
  }

  // A receipt that a mail filter or a full mailbox gave instead of taking the mail (RFC 5429 section 2.2.1)
  // is a refusal; a person's or a reader's is not.
  void read_receipt(std::string_view text) {
    const std::size_t at = ifind(text, "disposition:");
    if (at == std::string_view::npos) return;
    const std::string_view value = text.substr(at, 200);
    const bool gone = icontains(value, "deleted") || icontains(value, "failed") || icontains(value, "denied");
    if (!icontains(value, "automatic-action") || !gone) return;
    for (const TextLines& words : texts_) {
      const std::string_view said = words.before_original().substr(0, k_words_max);
      if (!icontains(said, "automatically rejected") && !icontains(said, "was rejected") &&
          !icontains(said, "refused by the recipient") && !icontains(said, "quota exceeded"))
        continue;
      refused_ = true;
      read_dsn(text, bounds_.recipients, dsn_);
      return;
    }
  }

  // Where no part of text says anything.
  void read_instead(PartType type) {
    for (const TextLines& text : texts_) {
      if (!trim(text.before_original()).empty()) return;
    }
    add_texts(type);
  }

  void add_texts(PartType type) {
    for (const MailPart& part : scanned_.parts) {
      if (part.type == type && texts_.size() < k_text_parts) texts_.emplace_back(text_of(part));
    }
  }

  std::string_view text_of(const MailPart& part) {
    if (part.encoding == TransferEncoding::none && part.type != PartType::html) return part.body;
    return decoded_text(part, buffers_.emplace_back());
  }

  // ---- What kind of mail it is.

  void decide() {
    daemon_ = from_daemon(top_);
    trusted_ = daemon_ || null_return_path(top_) || !top_.x_failed_recipients.empty();
    if (decide_by_challenge() || decide_by_dsn() || decide_by_type() || decide_by_notification()) return;
    if (auto_reply_subject(top_.subject) && top_.x_failed_recipients.empty())
      return settle(BounceKind::auto_reply, "auto-reply-subject");
    if (scanned_.type == MailType::digest) return settle(BounceKind::none, "digest");
    if (decide_by_text()) return;
    if (says_auto_reply(top_)) return settle(BounceKind::auto_reply, "auto-reply-header");
    settle(BounceKind::none, "no-rule");
  }

  // The returned original is itself a mailer-daemon's: the daemon whose mailbox this is never sent it.
  [[nodiscard]] bool returns_a_notice() const {
    if (!returned_.seen || parsed_.report.kind == BounceKind::none) return false;
    const bool report = istarts_with(returned_.content_type, "multipart/report") &&
                        icontains(returned_.content_type, "delivery-status");
    TopHeader original;
    original.from = returned_.from;
    original.return_path = returned_.return_path;
    original.has_return_path = !returned_.return_path.empty();
    return report || (!returned_.from.empty() && from_daemon_address(original) && null_return_path(original));
  }

  // What failed is a mail to us: nobody that we wrote to.
  [[nodiscard]] bool is_about_the_mailbox() const {
    const std::vector<core::BouncedRecipient>& all = parsed_.report.recipients;
    return !all.empty() && std::all_of(all.begin(), all.end(), [this](const core::BouncedRecipient& one) {
      return is_of_mailbox(one.address, mailbox_);
    });
  }

  void settle(BounceKind kind, std::string_view rule) {
    parsed_.report.kind = kind;
    parsed_.report.rule = rule;
  }

  bool decide_by_type() {
    if (refused_) return report_dsn("receipt-of-refusal");
    if (has_feedback_ || iequals(scanned_.report_type, "feedback-report")) {
      settle(BounceKind::feedback, "feedback-report");
    } else if (has_receipt_ || iequals(scanned_.report_type, "disposition-notification")) {
      settle(BounceKind::auto_reply, "disposition-notification");
    } else if (iequals(scanned_.report_type, "tlsrpt")) {
      settle(BounceKind::none, "tls-report");
    } else {
      return false;
    }
    return true;
  }

  bool decide_by_challenge() {
    if (!from_challenge_service(top_)) return false;
    // Held until the sender proves himself: the fields say so, and the address is alive.
    const bool held = icontains(top_.subject, "action required") ||
                      std::any_of(texts_.begin(), texts_.end(), [](const TextLines& text) {
                        return icontains(text.before_original(), "waitlisted");
                      });
    if (held && decide_by_dsn()) {
      for (core::BouncedRecipient& one : parsed_.report.recipients)
        one.bounce_class = core::BounceClass::policy;
      parsed_.report.rule = "challenge-fields";
      return true;
    }
    settle(BounceKind::auto_reply, "challenge");
    return true;
  }

  bool decide_by_dsn() {
    if (!has_status_ || has_feedback_) return false;
    const bool notice = trusted_ || (failure_subject(top_.subject) && !forwarded_subject(top_.subject));
    if (scanned_.type == MailType::mixed && !notice) return false;
    return report_dsn("dsn-fields");
  }

  bool decide_by_notification() {
    if (scanned_.type != MailType::single || texts_.empty() || !icontains(top_.from, "amazonaws.com"))
      return false;
    notification_ = read_notification(texts_.front().lines().empty() ? std::string_view{} : scanned_text(),
                                      bounds_.recipients);
    if (notification_.kind == BounceKind::none) return false;
    settle(notification_.kind, "ses-notification");
    for (std::size_t i = 0; i < notification_.recipients.size(); ++i) {
      const TextRecipient& recipient = notification_.recipients[i];
      add({.address = recipient.address,
           .kind = notification_.kind,
           .status = notification_.statuses[i],
           .diagnostic = recipient.diagnostic});
      std::optional<bool>& permanent = parsed_.report.recipients.back().permanent;
      if (!permanent) permanent = notification_.permanent;
    }
    return true;
  }

  [[nodiscard]] std::string_view scanned_text() const { return texts_.front().before_original(); }

  // ---- By fields.

  bool report_dsn(std::string_view rule) {
    std::erase_if(dsn_.recipients, [](const DsnRecipient& one) {
      return one.address().empty() && one.action == DsnAction::none && one.status.empty();
    });
    if (dsn_.recipients.empty()) return false;
    read_words();
    name_the_nameless();
    const bool late = says_delay();
    BounceKind whole = BounceKind::success;
    for (const DsnRecipient& one : dsn_.recipients) {
      const BounceKind kind = kind_of(one, late);
      if (kind == BounceKind::bounce || whole == BounceKind::success) whole = kind;
      add({.address = one.address(),
           .kind = kind,
           .status = one.status,
           .diagnostic = words_for(one),
           .remote_host = one.remote_host,
           .said = said_of(one)});
    }
    settle(whole, rule);
    return true;
  }

  static BounceKind kind_of(const DsnRecipient& one, bool late) {
    switch (one.action) {
      case DsnAction::failed:
        return BounceKind::bounce;
      case DsnAction::delayed:
        return BounceKind::delay;
      case DsnAction::success:
        return BounceKind::success;
      case DsnAction::none:
        break;
    }
    if (one.status.starts_with('2')) return BounceKind::success;
    return late ? BounceKind::delay : BounceKind::bounce;
  }

  // A recipient field that holds a pipe, a file or nothing: the name stands elsewhere.
  void name_the_nameless() {
    std::vector<std::string> names = failed_recipients();
    if (names.empty()) {
      for (const TextRecipient& one : words_.recipients)
        names.push_back(one.address);
    }
    if (names.empty() && !returned_to().empty()) names.emplace_back(returned_to());
    for (DsnRecipient& one : dsn_.recipients) {
      if (!one.address().empty()) continue;
      for (const std::string& name : names) {
        const bool taken =
            std::any_of(dsn_.recipients.begin(), dsn_.recipients.end(), [&](const DsnRecipient& other) {
              return same_ignoring_case(other.final_address, name) ||
                     same_ignoring_case(other.original_address, name);
            });
        if (taken) continue;
        one.final_address = name;
        break;
      }
    }
  }

  // What the text says of one recipient; empty when it names others.
  std::string_view said_of(const DsnRecipient& one) {
    for (const TextRecipient& said : words_.recipients) {
      if (words_.recipients.size() == 1 || same_ignoring_case(said.address, one.final_address) ||
          same_ignoring_case(said.address, one.original_address)) {
        return said.diagnostic;
      }
    }
    return {};
  }

  // The diagnostic, or the words of the text where the fields have none.
  std::string_view words_for(const DsnRecipient& one) {
    if (trim(one.diagnostic).size() > 4) return one.diagnostic;
    const std::string_view said = said_of(one);
    if (!said.empty()) return reason_of(said);
    return texts_.empty() ? std::string_view(one.diagnostic)
                          : texts_.front().before_original().substr(0, k_words_max);
  }

  // Of "(reason: 550 …) … transcript": what the server itself gives as the reason.
  static std::string_view reason_of(std::string_view words) {
    constexpr std::string_view k_mark = "(reason: ";
    if (!words.starts_with(k_mark)) return words;
    const std::string_view reason =
        words.substr(k_mark.size(), words.find(") ", k_mark.size()) - k_mark.size());
    return reason.size() > 4 ? reason : words;
  }

  // ---- By words.

  bool says_delay() {
    if (delay_subject(top_.subject)) return true;
    return std::any_of(texts_.begin(), texts_.end(), [](const TextLines& text) { return text.says_delay(); });
  }

  [[nodiscard]] TextContext context() {
    TextContext out;
    out.limit = bounds_.recipients;
    const std::string_view from = find_address(top_.from).address;
    const std::string_view to = find_address(top_.to).address;
    if (!from.empty()) {
      out.own.push_back(from);
      out.reporting_domain = from.substr(from.rfind('@') + 1);
    }
    if (!to.empty()) out.own.push_back(to);
    return out;
  }

  // By the formats, in the first text that yields an address.
  void read_words() {
    TextContext told = context();
    told.own.clear();
    for (const TextLines& text : texts_) {
      words_ = read_formats(text, told);
      if (!words_.recipients.empty()) return;
    }
  }

  bool decide_by_text() {
    if (periodic_subject(top_.subject)) return false;
    const bool named = !top_.x_failed_recipients.empty();
    const bool notice = failure_subject(top_.subject) || delay_subject(top_.subject);
    // An automatic reply has the null return path too (RFC 3834 section 3.3).
    const bool answered = says_auto_reply(top_) && !daemon_ && !named && !notice;
    if (trusted_ && !answered && report_text_fields()) return true;
    read_words();
    if (words_.recipients.empty() &&
        trusted_) {  // the plain text may be there only to say that HTML is needed
      add_texts(PartType::html);
      read_words();
    }
    const bool subject_tells =
        notice && top_.in_reply_to.empty() && !top_.from_list && !forwarded_subject(top_.subject);
    const bool told = (trusted_ && !answered) || words_.trust == Trust::alone || subject_tells;
    if (!words_.recipients.empty() && told) return report_words();
    // Without a format only a daemon's own address, the null return path or X-Failed-Recipients count.
    if (!named && !from_daemon_address(top_) && !null_return_path(top_)) return false;
    if (!named && !daemon_ && (top_.from_list || says_auto_reply(top_) || !notice)) return false;
    return report_unknown(notice);
  }

  bool report_text_fields() {
    for (const TextLines& text : texts_) {
      if (!text.has_fields()) continue;
      read_dsn(text.before_original(), bounds_.recipients, dsn_);
      std::erase_if(dsn_.recipients,
                    [](const DsnRecipient& one) { return !one.final_seen && !one.original_seen; });
      return report_dsn("dsn-in-text");
    }
    return false;
  }

  bool report_words() {
    const BounceKind kind = words_.delay || says_delay() ? BounceKind::delay : BounceKind::bounce;
    settle(kind, words_.rule);
    for (const TextRecipient& one : words_.recipients) {
      add({.address = one.original.empty() ? one.address : one.original,
           .kind = kind,
           .diagnostic = one.diagnostic});
    }
    return true;
  }

  bool report_unknown(bool notice) {
    const std::vector<std::string> names = failed_recipients();
    std::string_view diagnostic =
        texts_.empty() ? std::string_view{} : texts_.front().before_original().substr(0, k_words_max);
    const BounceKind kind = says_delay() ? BounceKind::delay : BounceKind::bounce;
    if (!names.empty()) {
      settle(kind, "failed-recipients-field");
      for (const std::string& name : names)
        add({.address = name, .kind = kind, .diagnostic = diagnostic});
      return true;
    }
    for (const TextLines& text : texts_) {
      words_ = read_unknown(text, context());
      if (words_.recipients.empty()) continue;
      const bool telling = words_.rule == "daemon-list" || says_why(words_.recipients.front());
      if (notice || (telling && null_return_path(top_))) return report_words();
    }
    if (!notice) return false;
    settle(kind, "daemon-no-address");
    if (returned_to().empty()) return true;
    settle(kind, "returned-to");
    add({.address = returned_to(), .kind = kind, .diagnostic = diagnostic});
    return true;
  }

  static core::RefusalClass class_by_words(std::string_view words) {
    core::RefusalWords refusal;
    refusal.diagnostic = words;
    return core::classify(refusal);
  }

  static bool says_why(const TextRecipient& one) {
    return find_reply_code(one.diagnostic) != 0 ||
           class_by_words(one.diagnostic).bounce_class != core::BounceClass::unknown;
  }

  std::vector<std::string> failed_recipients() {
    std::vector<std::string> out;
    const std::string_view value = top_.x_failed_recipients;
    for (FoundAddress found = find_address(value); found && out.size() < bounds_.recipients;
         found = find_address(value, found.end)) {
      out.emplace_back(found.address);
    }
    return out;
  }

  // Whom the returned original was for.
  std::string_view returned_to() {
    const std::string_view envelope = find_address(returned_.envelope_to).address;
    return envelope.empty() ? find_address(returned_.to).address : envelope;
  }

  // ---- One recipient.

  void add(const Finding& finding) {
    if (parsed_.report.recipients.size() >= bounds_.recipients) return;
    Finding complete = finding;
    if (!texts_.empty()) complete.around = texts_.front().before_original().substr(0, k_around_max);
    parsed_.report.recipients.push_back(recipient_of(complete));
  }

  ParserBounds bounds_;
  const BounceMailbox& mailbox_;
  ScannedMail scanned_;
  TopHeader top_;
  ParsedMail parsed_;
  std::deque<std::string> buffers_;  // decoded parts; views into them are all about
  std::vector<TextLines> texts_;
  ReturnedMail returned_;
  Dsn dsn_;
  TextReport words_;
  JsonNotification notification_;
  bool has_status_ = false;
  bool has_receipt_ = false;
  bool refused_ = false;  // a receipt says so
  bool has_feedback_ = false;
  bool original_part_ = false;
  bool daemon_ = false;
  bool trusted_ = false;
};

}  // namespace

ParsedMail parse_mail(std::string_view bytes, const BounceMailbox& mailbox, const ParserBounds& bounds) {
  return MailReader(bytes, mailbox, bounds).run();
}

}  // namespace mailotp::mail
