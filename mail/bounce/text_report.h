// What a notice says in words: the recipients that a text format of formats.h lists, with what is said of
// each.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "mail/bounce/formats.h"

namespace mailotp::mail {

struct TextRecipient {
  std::string address;
  std::string original;    // "(expanded from: …)", or empty
  std::string diagnostic;  // at most 2,000 bytes
};

struct TextReport {
  std::string_view rule;
  bool delay = false;
  Trust trust = Trust::daemon;
  std::vector<TextRecipient> recipients;
};

// Lines of a text, up to where the returned original begins in it.
class TextLines {
 public:
  explicit TextLines(std::string_view text);

  [[nodiscard]] const std::vector<std::string_view>& lines() const { return lines_; }  // without the original
  [[nodiscard]] std::string_view before_original() const { return text_.substr(0, original_); }
  [[nodiscard]] std::string_view original() const { return text_.substr(original_); }
  [[nodiscard]] bool says_delay() const { return says_delay_; }  // within the first 40 lines
  [[nodiscard]] bool has_fields() const { return has_fields_; }  // those of a delivery status notification

  struct Hit {
    std::size_t line;
    std::size_t offset;  // behind the marker
    const TextFormat* format;
  };
  [[nodiscard]] const std::vector<Hit>& hits() const { return hits_; }
  // Lines that lead back to the original where it is not returned whole; at most 4.
  [[nodiscard]] const std::vector<std::string_view>& tokens() const { return tokens_; }

 private:
  void look_at(std::string_view line, std::size_t begin);
  [[nodiscard]] bool take_marker(std::string_view line, std::size_t at);

  std::string_view text_;
  std::size_t original_;
  std::vector<std::string_view> lines_;
  std::vector<Hit> hits_;
  std::vector<std::string_view> tokens_;
  bool says_delay_ = false;
  bool has_fields_ = false;
};

struct TextContext {
  std::string_view reporting_domain;  // for Shape::local
  std::vector<std::string_view> own;  // addresses that are no recipients: the reporter's
  std::size_t limit = 8;              // recipients
};

// By the first format whose markers stand in the text and that yields an address; no recipients when there is
// none.
[[nodiscard]] TextReport read_formats(const TextLines& lines, const TextContext& context);
// By no format: addresses at the start of lines, else the first one anywhere.
[[nodiscard]] TextReport read_unknown(const TextLines& lines, const TextContext& context);

}  // namespace mailotp::mail
