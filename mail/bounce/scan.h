// One pass over the bytes of a mail: where its header fields and its parts lie (RFC 5322, RFC 2045, RFC
// 2046). Pure; nothing is decoded and nothing copied, so every view points into the bytes that were given.
// The work is bounded by the number of bytes looked at, whatever they are; a mail inside the mail is never
// opened.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "mail/bounce/ascii.h"

namespace mailotp::mail {

inline constexpr std::size_t k_mail_bytes_max = 1U << 20;

struct MailBounds {
  std::size_t bytes = std::size_t{256} * 1024;  // looked at; never more than k_mail_bytes_max
  unsigned depth = 8;                           // multiparts inside each other; what is deeper is left closed
  unsigned parts = 256;                         // what comes after them is left out
};

enum class PartType : std::uint8_t {
  text,      // text/plain, and what has no type
  html,      // text/html
  status,    // message/delivery-status (RFC 3464), message/global-delivery-status (RFC 6533)
  mail,      // message/rfc822, message/global: the returned original
  headers,   // text/rfc822-headers, message/global-headers: its header section only
  receipt,   // message/disposition-notification (RFC 8098)
  feedback,  // message/feedback-report (RFC 5965)
  preamble,  // what stands before the first part of a multipart
  other,
};

enum class TransferEncoding : std::uint8_t { none, base64, quoted_printable };

struct MailPart {
  PartType type = PartType::text;
  TransferEncoding encoding = TransferEncoding::none;
  bool latin1 = false;  // a charset of one byte a character
  std::uint8_t depth = 0;
  std::string_view body;
};

enum class MailType : std::uint8_t { single, mixed, report, digest };

struct ScannedMail {
  std::string_view headers;  // of the outermost mail
  std::string_view body;
  MailType type = MailType::single;
  std::string_view report_type;  // the parameter of multipart/report, as written
  std::vector<MailPart> parts;   // in their order; the whole body where the mail is no multipart
  bool cut = false;              // a bound was reached: there was more
  std::size_t work = 0;          // lines read and boundaries compared: at most 10 times the bytes looked at
};

[[nodiscard]] ScannedMail scan_mail(std::string_view bytes, const MailBounds& bounds);

// ---- Header fields.

struct HeaderField {
  std::string_view name;   // as written, without the colon
  std::string_view value;  // as written, with its folds
};

// The fields of a header section: ends at an empty line, at one that can be no field, and at the end.
class HeaderFields {
 public:
  explicit HeaderFields(std::string_view text) : text_(text), lines_(text) {}
  [[nodiscard]] bool next(HeaderField& field);
  [[nodiscard]] std::size_t position() const { return lines_.position(); }  // where the body begins
  [[nodiscard]] std::size_t lines() const { return count_; }                // read so far

 private:
  void take_folds(HeaderField& field);
  // A line that is no field stands between fields.
  [[nodiscard]] bool goes_on(std::string_view stray);

  std::string_view text_;
  Lines lines_;
  std::size_t count_ = 0;
};

// The value with its folds taken out; `buffer` is used only where there are some.
[[nodiscard]] std::string_view unfold(std::string_view value, std::string& buffer);

// A parameter of a structured field ("boundary" of Content-Type), without its quotes; empty when there is
// none.
[[nodiscard]] std::string_view parameter(std::string_view value, std::string_view lower_name);

}  // namespace mailotp::mail
