#include "mail/compose/strict_template.h"

#include <algorithm>
#include <exception>

#include <kainjow/mustache.hpp>

#include "core/check.h"

namespace mailotp::mail {

namespace {

using core::Errc;
namespace km = kainjow::mustache;

// What the library lays out is marks: a letter, and the number of a value or of a piece of text.
//
// It would split text at every blank, drop and keep lines around sections by rules that differ with the
// section's truth, and take "{" before a tag for a part of it. scan() has settled lines already, so no text
// goes through it, which also makes rendering several times faster.
constexpr char k_value_mark = 'v';
constexpr char k_text_mark = 't';
constexpr std::size_t k_mark_size = 3;
constexpr unsigned k_digit_bits = 7;
constexpr unsigned k_digit_mask = (1U << k_digit_bits) - 1;
constexpr unsigned k_digit_flag = 0x80;  // neither a blank nor a brace
constexpr std::size_t k_most_texts = std::size_t{1} << 2 * k_digit_bits;
constexpr std::size_t k_most_names = 95;

std::string mark(char letter, std::size_t number) {
  return {letter, static_cast<char>(k_digit_flag | (number >> k_digit_bits & k_digit_mask)),
          static_cast<char>(k_digit_flag | (number & k_digit_mask))};
}

std::size_t number_in(std::string_view mark) {
  const auto digit = [mark](std::size_t at) { return static_cast<unsigned char>(mark[at]) & k_digit_mask; };
  return digit(1) << k_digit_bits | digit(2);
}

std::string tag(std::string_view mark, std::string_view name) {
  return "{{" + std::string(mark) + std::string(name) + "}}";
}

// Answers the library's questions: a mark for what is there, false for what is absent. Names are all known,
// by construction.
class MarkContext final : public km::basic_context<std::string> {
 public:
  MarkContext(const std::vector<NameUse>& uses, const std::vector<km::data>& marks,
              const std::vector<std::string_view>& values)
      : uses_(uses), marks_(marks), values_(values) {}

  void push(const km::data*) override {}  // a section tests a value; it does not open a scope
  void pop() override {}
  const km::data* get(const std::string& name) const override {
    const auto use =
        std::find_if(uses_.begin(), uses_.end(), [&name](const NameUse& u) { return u.name == name; });
    CHECK(use != uses_.end());
    const auto index = static_cast<std::size_t>(use - uses_.begin());
    return values_[index].empty() ? &absent_ : &marks_[index];
  }
  const km::data* get_partial(const std::string&) const override { return nullptr; }

 private:
  const std::vector<NameUse>& uses_;
  const std::vector<km::data>& marks_;
  const std::vector<std::string_view>& values_;
  km::data absent_{km::data::type::bool_false};
};

constexpr std::size_t k_longest_escape = 6;  // &quot;

void append_escaped(std::string& out, std::string_view value, Escape escape) {
  if (escape == Escape::none) {
    out += value;
    return;
  }
  for (const char c : value) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
}

// Where the library writes to: puts texts and values in the place of marks.
struct MarkSink {
  std::string& out;
  const std::vector<std::string>& texts;
  const std::vector<std::string_view>& values;
  Escape escape;

  MarkSink& operator<<(const std::string& laid_out) {
    CHECK(laid_out.size() % k_mark_size == 0);
    for (std::size_t i = 0; i < laid_out.size(); i += k_mark_size) {
      const std::size_t number = number_in(std::string_view(laid_out).substr(i, k_mark_size));
      if (laid_out[i] == k_text_mark)
        out += texts[number];
      else
        append_escaped(out, values[number], escape);
    }
    return *this;
  }
};

NameUse& use_of(std::vector<NameUse>& uses, const Token& token) {
  const auto known =
      std::find_if(uses.begin(), uses.end(), [&token](const NameUse& u) { return u.name == token.value; });
  if (known != uses.end()) return *known;
  return uses.emplace_back(NameUse{token.value, 0, false, token.at});
}

std::vector<NameUse> collect_uses(const std::vector<Token>& tokens) {
  std::vector<NameUse> uses;
  std::vector<const Token*> open;
  for (const Token& token : tokens) {
    if (token.kind == TokenKind::text) continue;
    if (token.kind == TokenKind::close) {
      open.pop_back();
      continue;
    }
    NameUse& use = use_of(uses, token);
    if (token.kind != TokenKind::variable) {
      open.push_back(&token);
      continue;
    }
    ++use.shown;
    const bool guarded = std::any_of(open.begin(), open.end(), [&token](const Token* section) {
      return section->kind == TokenKind::section && section->value == token.value;
    });
    if (!guarded && !use.needed) {
      use.needed = true;
      use.at = token.at;
    }
  }
  return uses;
}

// The template with marks for its texts, which are put into `texts`.
std::string marked_source(const std::vector<Token>& tokens, std::vector<std::string>& texts) {
  std::string source;
  for (const Token& token : tokens) {
    switch (token.kind) {
      case TokenKind::text:
        source += mark(k_text_mark, texts.size());
        texts.push_back(token.value);
        break;
      case TokenKind::variable:
        source += tag("", token.value);
        break;
      case TokenKind::section:
        source += tag("#", token.value);
        break;
      case TokenKind::inverted:
        source += tag("^", token.value);
        break;
      case TokenKind::close:
        source += tag("/", token.value);
        break;
      case TokenKind::partial:
        CHECK(token.kind != TokenKind::partial);
        break;
    }
  }
  return source;
}

std::string as_is(const std::string& text) {
  return text;
}

}  // namespace

struct StrictTemplate::Impl {
  // The library's render() is not const, but without partials and lambdas, and there are none here, it only
  // reads: several threads may render at once (the tests run it under ThreadSanitizer).
  mutable km::mustache parsed;
  std::vector<NameUse> uses;
  std::vector<km::data> marks;  // one a use
  std::vector<std::string> texts;
  std::size_t texts_size = 0;  // bytes of all of them
  Escape escape = Escape::none;
};

StrictTemplate::StrictTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
StrictTemplate::StrictTemplate(StrictTemplate&&) noexcept = default;
StrictTemplate& StrictTemplate::operator=(StrictTemplate&&) noexcept = default;
StrictTemplate::~StrictTemplate() = default;

core::Result<StrictTemplate> StrictTemplate::compile(const std::vector<Token>& tokens, Escape escape) {
  std::vector<NameUse> uses = collect_uses(tokens);
  if (uses.size() > k_most_names)
    return core::fail(Errc::invalid, uses[k_most_names].at + ": the template uses too many variables");
  CHECK(tokens.size() <= k_most_texts);  // expand() has seen to it
  try {
    std::vector<std::string> texts;
    km::mustache parsed(marked_source(tokens, texts));
    if (!parsed.is_valid()) return core::fail(Errc::internal, "mustache: " + parsed.error_message());
    parsed.set_custom_escape(as_is);
    std::vector<km::data> marks;
    for (std::size_t i = 0; i < uses.size(); ++i)
      marks.emplace_back(mark(k_value_mark, i));
    std::size_t size = 0;
    for (const std::string& text : texts)
      size += text.size();
    return StrictTemplate(std::make_unique<Impl>(
        Impl{std::move(parsed), std::move(uses), std::move(marks), std::move(texts), size, escape}));
  } catch (const std::exception& thrown) {
    return core::fail(Errc::internal, std::string("mustache: ") + thrown.what());
  }
}

const std::vector<NameUse>& StrictTemplate::uses() const {
  return impl_->uses;
}

const NameUse* StrictTemplate::use(std::string_view name) const {
  const auto found = std::find_if(impl_->uses.begin(), impl_->uses.end(),
                                  [name](const NameUse& u) { return u.name == name; });
  return found == impl_->uses.end() ? nullptr : &*found;
}

core::Result<> StrictTemplate::render(const Values& values, std::string& out, std::size_t spare) const {
  std::vector<std::string_view> found;
  found.reserve(impl_->uses.size());
  std::size_t room = impl_->texts_size + spare;
  for (const NameUse& use : impl_->uses) {
    found.push_back(values.find(use.name));
    if (use.needed && found.back().empty()) return core::fail(Errc::not_found, use.name);
    room += use.shown * found.back().size() * k_longest_escape;
  }
  out.reserve(out.size() + room);
  MarkContext context(impl_->uses, impl_->marks, found);
  MarkSink sink{out, impl_->texts, found, impl_->escape};
  impl_->parsed.render(context, sink);
  return {};
}

}  // namespace mailotp::mail
