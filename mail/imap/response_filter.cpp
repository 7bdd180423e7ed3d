#include "mail/imap/response_filter.h"

#include <algorithm>
#include <charconv>

#include "mail/channel/codec.h"

namespace mailotp::mail {
namespace {

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return out;
}

// The text up to the next space, which is taken off with it.
std::string_view word_of(std::string_view& text) {
  const std::size_t space = std::min(text.find(' '), text.size());
  const std::string_view word = text.substr(0, space);
  text.remove_prefix(std::min(space + 1, text.size()));
  return word;
}

std::optional<std::uint32_t> number_of(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// The length of the literal that a line announces at its end: "{123}".
core::Result<std::optional<std::size_t>> literal_of(std::string_view line, std::size_t most) {
  if (!line.ends_with('}')) return std::nullopt;
  const std::size_t open = line.rfind('{');
  if (open == std::string_view::npos) return std::nullopt;
  const std::string_view digits = line.substr(open + 1, line.size() - open - 2);
  if (digits.empty() || digits.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  const auto size = number_of(digits);
  if (!size || *size > most)
    return core::fail(core::Errc::malformed,
                      "the server announces a literal of " + channel::printable(digits, 24) + " bytes");
  return *size;
}

// A string of the server at the start of `text`, taken off it: quoted or an atom. NIL gives an empty one.
std::optional<std::string> string_of(std::string_view& text) {
  std::string out;
  if (!text.starts_with('"')) {
    const std::string_view word = word_of(text);
    return word == "NIL" ? out : std::string(word);
  }
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '"') {
      text.remove_prefix(i + 1);
      if (text.starts_with(' ')) text.remove_prefix(1);
      return out;
    }
    if (text[i] == '\\' && i + 1 < text.size()) ++i;
    out.push_back(text[i]);
  }
  return std::nullopt;
}

// `(\HasNoChildren) "." INBOX.Done`
std::optional<ListedFolder> folder_of(std::string_view rest) {
  if (!rest.starts_with('(')) return std::nullopt;
  const std::size_t close = rest.find(')');
  if (close == std::string_view::npos) return std::nullopt;
  const std::string flags = upper(rest.substr(0, close));
  rest.remove_prefix(close + 1);
  if (rest.starts_with(' ')) rest.remove_prefix(1);
  ListedFolder folder;
  const auto delimiter = string_of(rest);
  const auto name = delimiter ? string_of(rest) : std::nullopt;
  if (!name || delimiter->size() > 1) return std::nullopt;
  folder.delimiter = *delimiter;
  folder.name = *name;
  folder.selectable =
      flags.find("\\NOSELECT") == std::string::npos && flags.find("\\NONEXISTENT") == std::string::npos;
  return folder;
}

// `(("INBOX." ".")) NIL NIL`
std::string prefix_of(std::string_view rest) {
  if (!rest.starts_with("((")) return {};
  rest.remove_prefix(2);
  return string_of(rest).value_or("");
}

}  // namespace

core::Result<> ResponseFilter::feed(std::string_view bytes, std::string& out) {
  while (!bytes.empty()) {
    if (literal_ > 0) {
      const std::size_t size = std::min(literal_, bytes.size());
      if (in_ == In::fetch) out.append(bytes.substr(0, size));
      bytes.remove_prefix(size);
      literal_ -= size;
      continue;
    }
    const std::size_t end = bytes.find('\n');
    const std::size_t size = end == std::string_view::npos ? bytes.size() : end + 1;
    if (line_.size() + size > k_line)
      return core::fail(core::Errc::malformed, "a line of the server has no end");
    line_.append(bytes.substr(0, size));
    bytes.remove_prefix(size);
    if (end == std::string_view::npos) break;
    std::string_view whole = line_;
    whole.remove_suffix(whole.ends_with("\r\n") ? 2 : 1);
    auto taken = line(whole, out);
    line_.clear();
    if (!taken) return taken;
  }
  return {};
}

core::Result<> ResponseFilter::line(std::string_view line, std::string& out) {
  if (in_ == In::start) {
    literals_ = 0;
    depth_ = 0;
    return first_line(line, out);
  }
  if (in_ == In::fetch) return fetch_line(line, out);
  auto literal = literal_of(line, literal_max_);
  if (!literal) return tl::unexpected(literal.error());
  if (!*literal)
    in_ = In::start;
  else if (++literals_ > k_literals)
    return core::fail(core::Errc::malformed, "a response of the server has no end");
  else
    literal_ = **literal;
  return {};
}

core::Result<> ResponseFilter::first_line(std::string_view line, std::string& out) {
  if (line.find('\0') != std::string_view::npos)
    return core::fail(core::Errc::malformed, "the server sends a NUL in a line");
  if (line == "+" || line.starts_with("+ ")) {
    heard_.continuation = true;
    out += "+ go on\r\n";
    return {};
  }
  std::string_view rest = line;
  const std::string_view tag = word_of(rest);
  const std::string_view second = word_of(rest);
  const std::string word = upper(second);
  const bool is_status =
      word == "OK" || word == "NO" || word == "BAD" || (tag == "*" && (word == "BYE" || word == "PREAUTH"));
  if (is_status) {
    status(tag, word, rest, out);
    return {};
  }
  if (tag != "*") return core::fail(core::Errc::malformed, "the server does not speak IMAP");
  if (word == "CAPABILITY") {
    note_capabilities(rest);
  } else if (word == "SEARCH") {
    while (!rest.empty())
      if (const auto number = number_of(word_of(rest)); number && *number != 0)
        heard_.found.push_back(*number);
  } else if (word == "NAMESPACE") {
    heard_.personal_prefix = prefix_of(rest);
  } else if (const auto number = number_of(word)) {
    const std::string what = upper(word_of(rest));
    if (what == "FETCH") {
      in_ = In::fetch;
      return fetch_line(line, out);
    }
    numbered(word, what);
    if (*number != 0 && (what == "EXISTS" || what == "EXPUNGE")) out += "* " + word + " " + what + "\r\n";
    if (what == "EXISTS" || what == "EXPUNGE" || what == "RECENT") return {};
  } else if (word == "LIST") {
    auto folder = folder_of(rest);
    auto literal = literal_of(line, literal_max_);
    if (literal && !*literal) {
      if (folder && heard_.folders.size() < k_capabilities) heard_.folders.push_back(std::move(*folder));
      return {};
    }
  }
  // What is dropped may go on behind a literal.
  in_ = In::dropped;
  return this->line(line, out);
}

core::Result<> ResponseFilter::fetch_line(std::string_view line, std::string& out) {
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quoted) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '(') {
      if (++depth_ > k_depth) return core::fail(core::Errc::malformed, "brackets of the server are too deep");
    } else if (c == ')' && depth_ > 0) {
      --depth_;
    }
  }
  auto literal = literal_of(line, literal_max_);
  if (!literal) return tl::unexpected(literal.error());
  if (quoted || line.find('\0') != std::string_view::npos)
    return core::fail(core::Errc::malformed, "the server's answer to FETCH cannot be read");
  out.append(line);
  out += "\r\n";
  if (!*literal) {
    if (depth_ != 0) return core::fail(core::Errc::malformed, "the server's answer to FETCH cannot be read");
    in_ = In::start;
  } else if (++literals_ > k_literals) {
    return core::fail(core::Errc::malformed, "a response of the server has no end");
  } else {
    literal_ = **literal;
  }
  return {};
}

void ResponseFilter::numbered(std::string_view number, std::string_view word) {
  const std::uint32_t value = number_of(number).value_or(0);
  if (word == "EXISTS") {
    heard_.exists = value;
    heard_.news = true;
  } else if (word == "EXPUNGE" && heard_.exists > 0) {
    --heard_.exists;
  }
}

void ResponseFilter::status(std::string_view tag, std::string_view word, std::string_view rest,
                            std::string& out) {
  std::string code;
  if (rest.starts_with('[')) {
    const std::size_t close = rest.find(']');
    const std::string_view inside = rest.substr(1, close == std::string_view::npos ? close : close - 1);
    code = upper(inside.substr(0, std::min(inside.find(' '), inside.size())));
    note_code(inside);
    rest.remove_prefix(close == std::string_view::npos ? rest.size() : close + 1);
    if (rest.starts_with(' ')) rest.remove_prefix(1);
  }
  if (tag == "*") {
    heard_.greeting = word;
    if (word == "BYE") {
      heard_.bye = true;
      heard_.text = channel::printable(rest, 300);
    }
  } else {
    heard_.tag = tag;
    heard_.status = word;
    heard_.code = channel::printable(code, 40);
    heard_.text = channel::printable(rest, 300);
  }
  out.append(tag);
  out += ' ';
  out.append(word);
  out += " said\r\n";
}

void ResponseFilter::note_code(std::string_view code) {
  std::string_view rest = code;
  const std::string name = upper(word_of(rest));
  if (name == "UIDVALIDITY") heard_.uidvalidity = number_of(rest).value_or(0);
  if (name == "UIDNEXT") heard_.uidnext = number_of(rest).value_or(0);
  if (name == "CAPABILITY") note_capabilities(rest);
}

void ResponseFilter::note_capabilities(std::string_view words) {
  heard_.capabilities.clear();
  heard_.capabilities_said = true;
  while (!words.empty() && heard_.capabilities.size() < k_capabilities) {
    const std::string_view word = word_of(words);
    if (!word.empty() && word.size() <= 100) heard_.capabilities.insert(upper(word));
  }
}

}  // namespace mailotp::mail
