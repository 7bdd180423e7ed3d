#include "mail/compose/template_tokens.h"

#include <algorithm>
#include <optional>

namespace mailotp::mail {

namespace {

using core::Errc;

constexpr int k_partial_depth = 8;
// Partials that include others twice grow fast, even those in which nothing stands.
constexpr std::size_t k_most_tokens = 10'000;
constexpr std::size_t k_most_bytes = 256UL * 1024;  // of all files, each as often as it is put in

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_name_character(char c) {
  return is_letter(c) || (c >= '0' && c <= '9') || c == '_';
}

// "name" or "group.name"; what follows the dot is another's word (a purpose, a field of the binding).
bool is_dotted_name(std::string_view name) {
  const std::size_t dot = name.find('.');
  if (dot == std::string_view::npos) return is_variable_name(name);
  const std::string_view field = name.substr(dot + 1);
  return is_variable_name(name.substr(0, dot)) && !field.empty() &&
         std::all_of(field.begin(), field.end(), [](char c) { return is_name_character(c) || c == '-'; });
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view k_blanks = " \t\n";
  const std::size_t first = text.find_first_not_of(k_blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(k_blanks) - first + 1);
}

bool only_blanks(std::string_view text) {
  return text.find_first_not_of(" \t") == std::string_view::npos;
}

class Scanner {
 public:
  explicit Scanner(const SourceFile& source) : source_(source), text_(source.text) {}

  core::Result<std::vector<Token>> run() {
    for (;;) {
      const std::size_t open = text_.find("{{", pos_);
      if (open == std::string_view::npos) break;
      if (auto taken = take_tag(open); !taken) return tl::unexpected(taken.error());
    }
    add_text(text_.size());
    if (!open_sections_.empty()) {
      const Token& section = tokens_[open_sections_.back()];
      return core::fail(Errc::invalid, section.at + ": section " + section.value + " is not closed");
    }
    return std::move(tokens_);
  }

 private:
  [[nodiscard]] std::string at(std::size_t pos) const {
    return source_.path + ":" +
           std::to_string(1 +
                          std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(pos), '\n'));
  }
  [[nodiscard]] tl::unexpected<core::Error> refuse(std::size_t pos, const std::string& why) const {
    return core::fail(Errc::invalid, at(pos) + ": " + why);
  }

  void add_text(std::size_t end) {
    if (end > pos_)
      tokens_.push_back({TokenKind::text, std::string(text_.substr(pos_, end - pos_)), at(pos_), false});
  }

  // The start of the next line if nothing but the tag stands on its line or lines.
  [[nodiscard]] std::optional<std::size_t> standalone(std::size_t open, std::size_t end) const {
    const std::size_t line = open == 0 ? 0 : text_.rfind('\n', open - 1) + 1;  // npos + 1 is 0
    if (!only_blanks(text_.substr(line, open - line))) return std::nullopt;
    const std::size_t line_end = std::min(text_.find('\n', end), text_.size());
    if (!only_blanks(text_.substr(end, line_end - end))) return std::nullopt;
    return std::min(line_end + 1, text_.size());
  }

  core::Result<> take_tag(std::size_t open) {
    const std::size_t close = text_.find("}}", open + 2);
    if (close == std::string_view::npos) return refuse(open, "a tag is not closed with }}");
    const std::string_view inside = trim(text_.substr(open + 2, close - open - 2));
    if (inside.empty()) return refuse(open, "a tag is empty");
    const char mark = inside.front();
    if (mark == '{' || mark == '&')
      return refuse(open, "an unescaped variable ({{{x}}} or {{&x}}) is not allowed: write {{x}}");
    if (mark == '=') return refuse(open, "other delimiters ({{=x x=}}) are not allowed");

    const std::size_t end = close + 2;
    const bool is_tag_line = std::string_view("#^/!>").find(mark) != std::string_view::npos;
    const std::optional<std::size_t> next_line = is_tag_line ? standalone(open, end) : std::nullopt;
    const std::size_t line = open == 0 ? 0 : text_.rfind('\n', open - 1) + 1;
    add_text(next_line ? std::max(line, pos_) : open);
    pos_ = next_line ? *next_line : end;
    if (mark == '!') return {};
    return add_tag(open, mark, inside, next_line.has_value());
  }

  core::Result<> add_tag(std::size_t open, char mark, std::string_view inside, bool own_line) {
    const bool marked = std::string_view("#^/>").find(mark) != std::string_view::npos;
    const std::string name(marked ? trim(inside.substr(1)) : inside);
    Token token{TokenKind::variable, name, at(open), own_line};
    if (mark == '>') {
      token.kind = TokenKind::partial;
      if (!is_variable_name(name)) return refuse(open, "a partial's name has letters, digits and _ only");
    } else if (!is_dotted_name(name)) {
      return refuse(open, "a variable's name has letters, digits and _ only");
    }
    if (mark == '#' || mark == '^') {
      token.kind = mark == '#' ? TokenKind::section : TokenKind::inverted;
      open_sections_.push_back(tokens_.size());
    } else if (mark == '/') {
      token.kind = TokenKind::close;
      if (open_sections_.empty()) return refuse(open, "section " + name + " is closed but not open");
      const Token& section = tokens_[open_sections_.back()];
      if (section.value != name)
        return refuse(open, "section " + section.value + " (" + section.at + ") is closed as " + name);
      open_sections_.pop_back();
    }
    tokens_.push_back(std::move(token));
    return {};
  }

  const SourceFile& source_;
  std::string_view text_;
  std::size_t pos_ = 0;  // what is before it has become tokens
  std::vector<Token> tokens_;
  std::vector<std::size_t> open_sections_;  // indexes into tokens_
};

// The library renders a section in a section by a function that calls itself.
constexpr std::size_t k_section_depth = 64;

// Puts partials in; what it has taken so far is bounded.
class Expansion {
 public:
  explicit Expansion(const Partials& partials, std::set<std::string>& used)
      : partials_(partials), used_(used) {}

  core::Result<> take(const SourceFile& source, int depth) {
    bytes_ += source.text.size();
    auto tokens = scan(source);
    if (!tokens) return tl::unexpected(tokens.error());
    for (Token& token : *tokens) {
      if (++taken_ > k_most_tokens || bytes_ > k_most_bytes)
        return core::fail(Errc::invalid, token.at + ": the template with its partials is too large");
      if (token.kind == TokenKind::section || token.kind == TokenKind::inverted) ++open_;
      if (token.kind == TokenKind::close) --open_;
      if (open_ > k_section_depth)
        return core::fail(Errc::invalid, token.at + ": sections nest too deep, at " + token.value);
      if (token.kind != TokenKind::partial) {
        tokens_.push_back(std::move(token));
      } else if (auto done = take_partial(token, depth); !done) {
        return done;
      }
    }
    return {};
  }

  [[nodiscard]] std::vector<Token> tokens() && { return std::move(tokens_); }

 private:
  core::Result<> take_partial(const Token& token, int depth) {
    const auto partial = partials_.find(token.value);
    if (partial == partials_.end())
      return core::fail(Errc::invalid, token.at + ": there is no partial " + token.value);
    if (depth == k_partial_depth)
      return core::fail(Errc::invalid, token.at + ": partials nest too deep, at " + token.value);
    used_.insert(token.value);
    const std::size_t before = tokens_.size();
    if (auto done = take(partial->second, depth + 1); !done) return done;
    if (!token.own_line && tokens_.size() > before && tokens_.back().kind == TokenKind::text &&
        tokens_.back().value.ends_with('\n'))
      tokens_.back().value.pop_back();
    return {};
  }

  const Partials& partials_;
  std::set<std::string>& used_;
  std::vector<Token> tokens_;
  std::size_t taken_ = 0;  // tokens, partials included
  std::size_t bytes_ = 0;
  std::size_t open_ = 0;  // sections
};

}  // namespace

bool is_variable_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && is_letter(name.front()) &&
         std::all_of(name.begin(), name.end(), is_name_character);
}

core::Result<std::vector<Token>> scan(const SourceFile& source) {
  return Scanner(source).run();
}

core::Result<std::vector<Token>> expand(const SourceFile& source, const Partials& partials,
                                        std::set<std::string>& used) {
  Expansion expansion(partials, used);
  if (auto done = expansion.take(source, 0); !done) return tl::unexpected(done.error());
  return std::move(expansion).tokens();
}

}  // namespace mailotp::mail
