#include "daemon/api/captured.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace mailotp::daemon {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view k_break = "\r\n";

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// RFC 2045 section 6.7; with `underscores` the Q encoding of RFC 2047.
std::string decode_quoted(std::string_view text, bool underscores) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '=' && text.substr(i + 1, 2) == k_break) {
      i += 2;
    } else if (text[i] == '=' && i + 2 < text.size() && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0) {
      out += static_cast<char>(hex(text[i + 1]) * 16 + hex(text[i + 2]));
      i += 2;
    } else if (underscores && text[i] == '_') {
      out += ' ';
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string decode_base64(std::string_view text) {
  static constexpr std::string_view k_letters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const std::size_t value = k_letters.find(c);
    if (value == std::string_view::npos) continue;
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 0xff);
  }
  return out;
}

// Encoded words of RFC 2047 in UTF-8; white space between two of them is not text.
std::string decode_words(std::string_view text) {
  std::string out;
  bool after_word = false;
  while (!text.empty()) {
    const std::size_t start = text.find("=?");
    const std::string_view plain = text.substr(0, start);
    const bool only_space = plain.find_first_not_of(" \t") == std::string_view::npos;
    if (!(after_word && only_space && start != std::string_view::npos)) out += plain;
    if (start == std::string_view::npos) break;
    text.remove_prefix(start);
    const std::size_t charset = text.find('?', 2);
    const std::size_t end = charset == std::string_view::npos ? charset : text.find("?=", charset + 3);
    if (end == std::string_view::npos) return out += text;
    const std::string_view content = text.substr(charset + 3, end - charset - 3);
    out += lower(text.substr(charset + 1, 1)) == "b" ? decode_base64(content) : decode_quoted(content, true);
    after_word = true;
    text.remove_prefix(end + 2);
  }
  return out;
}

struct Entity {
  std::map<std::string, std::string> headers;  // names in lower case, values unfolded
  std::string_view body;
};

Entity read_entity(std::string_view text) {
  Entity entity;
  std::string name;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(k_break), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + k_break.size(), text.size()));
    if (line.empty()) break;
    if (line.front() == ' ' || line.front() == '\t') {
      entity.headers[name] += line;
      continue;
    }
    const std::size_t colon = std::min(line.find(':'), line.size());
    name = lower(line.substr(0, colon));
    const std::size_t value = line.find_first_not_of(" \t", colon + 1);
    entity.headers[name] = value == std::string_view::npos ? std::string{} : std::string(line.substr(value));
  }
  entity.body = text;
  return entity;
}

// The text as a program wants it: lines end in LF.
std::string content_of(Entity& entity) {
  const std::string encoding = lower(entity.headers["content-transfer-encoding"]);
  std::string text(entity.body);
  if (encoding == "quoted-printable") text = decode_quoted(entity.body, false);
  if (encoding == "base64") text = decode_base64(entity.body);
  std::erase(text, '\r');
  return text;
}

void take_part(Entity& entity, CapturedMail& mail) {
  const std::string type = lower(entity.headers["content-type"]);
  if (type.starts_with("text/html")) mail.html = content_of(entity);
  if (type.empty() || type.starts_with("text/plain")) mail.text = content_of(entity);
}

std::string boundary_of(const std::string& content_type) {
  const std::size_t at = lower(content_type).find("boundary=");
  if (at == std::string::npos) return {};
  std::string value = content_type.substr(at + 9);
  if (value.starts_with('"')) return value.substr(1, value.find('"', 1) - 1);
  return value.substr(0, value.find(';'));
}

std::optional<core::Id> message_of(const std::string& file_name) {
  // seconds.ID_attempt.host
  const std::size_t dot = file_name.find('.');
  if (dot == std::string::npos) return std::nullopt;
  const auto id = core::parse_id(std::string_view(file_name).substr(dot + 1, 36));
  if (!id) return std::nullopt;
  return *id;
}

struct File {
  core::Id message;
  fs::path path;
};

core::Result<std::vector<File>> list_files(const std::string& directory) {
  std::vector<File> files;
  std::error_code error;
  for (fs::directory_iterator at(fs::path(directory) / "new", error), end; !error && at != end;
       at.increment(error)) {
    if (const auto message = message_of(at->path().filename().string()))
      files.push_back({*message, at->path()});
  }
  if (error) return core::fail(core::Errc::io, "the capture folder cannot be read: " + error.message());
  std::ranges::sort(files, [](const File& a, const File& b) {
    return a.message != b.message ? a.message > b.message : a.path.native() > b.path.native();
  });
  return files;
}

}  // namespace

CapturedMail dissect(std::string raw) {
  CapturedMail mail;
  Entity top = read_entity(raw);
  mail.to = decode_words(top.headers["to"]);
  mail.subject = decode_words(top.headers["subject"]);
  const std::string boundary = boundary_of(top.headers["content-type"]);
  if (boundary.empty()) {
    take_part(top, mail);
  } else {
    const std::string delimiter = std::string(k_break) + "--" + boundary;
    const std::string whole = std::string(k_break) + std::string(top.body);
    for (std::size_t at = whole.find(delimiter); at != std::string::npos;) {
      const std::size_t start = at + delimiter.size();
      if (std::string_view(whole).substr(start, 2) == "--") break;
      const std::size_t next = whole.find(delimiter, start);
      if (next == std::string::npos) break;
      const std::size_t headers = std::min(whole.find(k_break, start) + k_break.size(), next);
      Entity part = read_entity(std::string_view(whole).substr(headers, next - headers));
      take_part(part, mail);
      at = next;
    }
  }
  mail.raw = std::move(raw);
  return mail;
}

core::Result<core::PageOf<CapturedMail>> read_captured(core::StoreReader& store, const CapturedQuery& query) {
  std::string wanted;
  if (!query.recipient.empty()) {
    const auto address = core::parse_address(query.recipient);
    if (!address) return core::fail(core::Errc::invalid, "recipient: " + address.error().what);
    wanted = address->key();
  }
  const auto files = list_files(query.directory);
  if (!files) return tl::unexpected(files.error());
  core::PageOf<CapturedMail> page;
  std::string last;
  for (const File& file : *files) {
    const std::string name = file.path.filename().string();
    const std::string position = core::to_string(file.message) + name;
    if (!query.cursor.empty() && position >= query.cursor) continue;
    const auto message = store.message(query.app, file.message);
    if (!message) continue;  // another app's, or purged
    if (!wanted.empty()) {
      const auto recipient = core::parse_address(message->recipient);
      if (!recipient || recipient->key() != wanted) continue;
    }
    if (page.items.size() == query.limit) {
      page.next_cursor = last;
      break;
    }
    std::ifstream in(file.path, std::ios::binary);
    page.items.push_back(dissect(std::string(std::istreambuf_iterator<char>(in), {})));
    last = position;
  }
  return page;
}

}  // namespace mailotp::daemon
