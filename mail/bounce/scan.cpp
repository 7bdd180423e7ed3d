#include "mail/bounce/scan.h"

#include <algorithm>
#include <array>
#include <span>

namespace mailotp::mail {
namespace {

constexpr CharSet k_line_ends("\r\n");
constexpr CharSet k_parameter_marks("=;\"");
constexpr CharSet k_parameter_ends("; \t\r\n");
constexpr std::size_t k_boundary_max = 200;  // RFC 2046 section 5.1.1 allows 70; some software exceeds it

constexpr bool may_be_in_name(char c) {
  return c > ' ' && c < 127 && c != ':';
}

bool split_field(std::string_view line, HeaderField& field) {
  std::size_t colon = 0;
  while (colon < line.size() && may_be_in_name(line[colon]))
    ++colon;
  const std::size_t name_end = colon;
  while (colon < line.size() && (line[colon] == ' ' || line[colon] == '\t'))
    ++colon;
  if (name_end == 0 || colon >= line.size() || line[colon] != ':' || line.starts_with("--")) return false;
  field.name = line.substr(0, name_end);
  field.value = line.substr(colon + 1);
  return true;
}

// What the header of one entity says of its body.
struct EntityHead {
  MailPart part;
  MailType type = MailType::single;
  std::string_view boundary;  // only of a multipart
  std::string_view report_type;
};

PartType part_type(std::string_view content_type) {
  struct Name {
    std::string_view text;
    PartType type;
  };
  static constexpr std::array k_names{
      Name{"text/plain", PartType::text},
      Name{"text/html", PartType::html},
      Name{"message/delivery-status", PartType::status},
      Name{"message/global-delivery-status", PartType::status},
      Name{"message/rfc822", PartType::mail},
      Name{"message/global-headers", PartType::headers},
      Name{"message/global", PartType::mail},
      Name{"message/partial", PartType::mail},
      Name{"text/rfc822-headers", PartType::headers},
      Name{"text/rfc822", PartType::headers},
      Name{"message/disposition-notification", PartType::receipt},
      Name{"message/global-disposition-notification", PartType::receipt},
      Name{"message/feedback-report", PartType::feedback},
  };
  const std::string_view type = trim(content_type.substr(0, content_type.find(';')));
  for (const Name& name : k_names) {
    if (iequals(type, name.text)) return name.type;
  }
  // A type without a slash is broken: RFC 2045 section 5.2 says to take it for text.
  return type.find('/') == std::string_view::npos ? PartType::text : PartType::other;
}

void read_content_type(std::string_view value, EntityHead& head) {
  value = trim(value);
  if (!istarts_with(value, "multipart/")) {
    head.part.type = part_type(value);
    const std::string_view charset = parameter(value, "charset");
    head.part.latin1 = istarts_with(charset, "iso-8859-") || istarts_with(charset, "windows-125");
    return;
  }
  head.type = MailType::mixed;
  if (istarts_with(value, "multipart/report")) head.type = MailType::report;
  if (istarts_with(value, "multipart/digest")) head.type = MailType::digest;
  head.report_type = parameter(value, "report-type");
  head.boundary = parameter(value, "boundary");
  if (head.boundary.size() > k_boundary_max) head.boundary = {};
}

void read_encoding(std::string_view value, EntityHead& head) {
  value = trim(value);
  if (istarts_with(value, "base64")) head.part.encoding = TransferEncoding::base64;
  if (istarts_with(value, "quoted-printable")) head.part.encoding = TransferEncoding::quoted_printable;
}

EntityHead read_head(HeaderFields& fields) {
  EntityHead head;
  HeaderField field;
  while (fields.next(field)) {
    if (lower(field.name.front()) != 'c') continue;
    if (iequals(field.name, "content-type")) read_content_type(field.value, head);
    if (iequals(field.name, "content-transfer-encoding")) read_encoding(field.value, head);
  }
  return head;
}

class Scanner {
 public:
  Scanner(std::string_view bytes, const MailBounds& bounds) : bounds_(bounds) {
    bounds_.bytes = std::min(bounds_.bytes, k_mail_bytes_max);
    bounds_.depth = std::min<unsigned>(bounds_.depth, static_cast<unsigned>(open_.size()));
    mail_.cut = bytes.size() > bounds_.bytes;
    bytes_ = bytes.substr(0, bounds_.bytes);
  }

  ScannedMail run() {
    skip_envelope_lines();
    HeaderFields fields(bytes_);
    const EntityHead head = read_head(fields);
    mail_.work += fields.lines();
    mail_.headers = bytes_.substr(0, fields.position());
    mail_.body = bytes_.substr(fields.position());
    mail_.type = head.type;
    mail_.report_type = head.report_type;
    mail_.parts.reserve(8);
    begin_entity(head, 0);
    scan_body();
    return std::move(mail_);
  }

 private:
  // Empty lines and the "From " line of a mailbox file before the header.
  void skip_envelope_lines() {
    Lines lines(bytes_);
    std::string_view line;
    std::size_t begin = 0;
    while (lines.next(line)) {
      ++mail_.work;
      if (!trim(line).empty() && !line.starts_with("From ") && !line.starts_with(">From ")) break;
      begin = lines.position();
    }
    bytes_.remove_prefix(begin);
  }

  void begin_entity(const EntityHead& head, std::size_t begin) {
    current_ = head.part;
    current_.depth = static_cast<std::uint8_t>(depth_);
    begin_ = begin;
    in_part_ = true;
    if (head.boundary.empty()) return;
    if (depth_ >= bounds_.depth) {
      current_.type = PartType::other;
      mail_.cut = true;
      return;
    }
    open_[depth_++] = head.boundary;
    current_.type = PartType::preamble;
  }

  void end_entity(std::size_t end) {
    if (!in_part_) return;
    in_part_ = false;
    current_.body = mail_.body.substr(begin_, end - begin_);
    if (current_.type == PartType::preamble && trim(current_.body).empty()) return;
    if (mail_.parts.size() >= bounds_.parts) {
      mail_.cut = true;
      return;
    }
    mail_.parts.push_back(current_);
  }

  void scan_body() {
    Lines lines(mail_.body);
    std::string_view line;
    std::size_t begin = 0;
    if (depth_ > 0) {
      while (lines.next(line)) {
        ++mail_.work;
        if (line.starts_with("--") && depth_ > 0) take_delimiter(line, begin, lines);
        begin = lines.position();
        if (mail_.parts.size() >= bounds_.parts) {
          mail_.cut = true;
          return;
        }
      }
    }
    end_entity(mail_.body.size());
  }

  // The innermost multipart whose delimiter this is; depth_ for none.
  unsigned owner_of(std::string_view line, bool& closing) {
    line = line.substr(2);
    for (unsigned level = depth_; level-- > 0;) {
      ++mail_.work;
      if (!line.starts_with(open_[level])) continue;
      const std::string_view rest = trim(line.substr(open_[level].size()));
      if (!rest.empty() && rest != "--") continue;
      closing = rest == "--";
      return level;
    }
    return depth_;
  }

  void take_delimiter(std::string_view line, std::size_t line_begin, Lines& lines) {
    bool closing = false;
    const unsigned level = owner_of(line, closing);
    if (level == depth_) return;
    end_entity(line_begin);
    depth_ = closing ? level : level + 1;
    if (closing) return;
    const std::size_t begin = lines.position();
    HeaderFields fields(mail_.body.substr(begin));
    const EntityHead head = read_head(fields);
    mail_.work += fields.lines();
    lines.move_to(begin + fields.position());
    // A report whose header has no empty line behind it: its fields are among the header's.
    const bool fields_only =
        head.part.type == PartType::status && head.part.encoding == TransferEncoding::none;
    begin_entity(head, fields_only ? begin : begin + fields.position());
  }

  MailBounds bounds_;
  std::string_view bytes_;
  ScannedMail mail_;
  std::array<std::string_view, 16> open_;  // boundaries of the multiparts around us
  unsigned depth_ = 0;
  MailPart current_;
  std::size_t begin_ = 0;
  bool in_part_ = false;
};

}  // namespace

ScannedMail scan_mail(std::string_view bytes, const MailBounds& bounds) {
  return Scanner(bytes, bounds).run();
}

bool HeaderFields::goes_on(std::string_view stray) {
  if (count_ < 3 || stray.starts_with("--")) return false;
  constexpr std::size_t k_looked_at = 10;
  const std::size_t begin = lines_.position();
  std::string_view line;
  HeaderField field;
  bool found = false;
  for (std::size_t i = 0; i < k_looked_at && !found && lines_.next(line); ++i) {
    if (trim(line).empty() || line.starts_with("--")) break;
    found = split_field(line, field);
  }
  lines_.move_to(begin);
  return found;
}

bool HeaderFields::next(HeaderField& field) {
  for (;;) {
    const std::size_t begin = lines_.position();
    std::string_view line;
    if (!lines_.next(line)) return false;
    ++count_;
    if (line.empty() || trim(line).empty()) return false;
    if (!split_field(line, field)) {
      // A fold of nothing, a stray line of a mailbox file, or one that somebody wrapped: as if it were not
      // there.
      if (line.front() == ' ' || line.front() == '\t' || line.starts_with(">From ") || goes_on(line))
        continue;
      lines_.move_to(begin);  // the body begins
      return false;
    }
    take_folds(field);
    return true;
  }
}

void HeaderFields::take_folds(HeaderField& field) {
  for (;;) {
    const std::size_t begin = lines_.position();
    if (begin >= text_.size() || (text_[begin] != ' ' && text_[begin] != '\t')) return;
    std::string_view line;
    if (!lines_.next(line)) return;
    ++count_;
    if (trim(line).empty()) {  // a line of blanks ends the header, as most software has it
      lines_.move_to(begin);
      return;
    }
    field.value = std::string_view(field.value.data(),
                                   static_cast<std::size_t>(line.data() + line.size() - field.value.data()));
  }
}

std::string_view unfold(std::string_view value, std::string& buffer) {
  value = trim(value);
  if (k_line_ends.find_in(value) == std::string_view::npos) return value;
  buffer.clear();
  bool blank = false;
  for (const char c : value) {
    if (is_blank(c)) {
      blank = true;
      continue;
    }
    if (blank && !buffer.empty()) buffer.push_back(' ');
    blank = false;
    buffer.push_back(c);
  }
  return buffer;
}

std::string_view parameter(std::string_view value, std::string_view lower_name) {
  std::size_t at = value.find(';');
  while (at != std::string_view::npos) {
    std::string_view rest = value.substr(at + 1);
    while (!rest.empty() && is_blank(rest.front()))
      rest.remove_prefix(1);
    const std::size_t skipped = value.size() - rest.size();
    const std::size_t equals = k_parameter_marks.find_in(rest);
    if (equals == std::string_view::npos) return {};
    const bool found = rest[equals] == '=' && iequals(trim(rest.substr(0, equals)), lower_name);
    std::size_t begin = rest[equals] == '=' ? equals + 1 : equals;
    while (begin < rest.size() && is_blank(rest[begin]))
      ++begin;
    std::size_t end;
    if (begin < rest.size() && rest[begin] == '"') {
      end = rest.find('"', ++begin);
      if (end == std::string_view::npos) return {};
      if (found) return rest.substr(begin, end - begin);
    } else {
      end = std::min(k_parameter_ends.find_in(rest, begin), rest.size());
      if (found) return rest.substr(begin, end - begin);
    }
    at = value.find(';', skipped + end);
  }
  return {};
}

}  // namespace mailotp::mail
