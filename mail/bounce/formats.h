// The text formats of mail servers, as data: which words open the list of recipients, how an address stands
// there, which words end it; and the words that open the returned original. All words are in lower case and
// stand at the start of a line or of a sentence, decoration ("-----", "***", "> ") aside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace mailotp::mail {

enum class Shape : std::uint8_t {
  listed,    // a line begins with the address, in whatever brackets; words about it may follow
  keyword,   // after a keyword, as "Recipient address: a@b"
  anywhere,  // anywhere in a line, up to the first empty line behind the first address
  angle,     // the same, in angle brackets only
  reply,     // behind a reply code, as in a transcript: "550 <a@b>... User unknown"
  local,     // a line has only a local part; the domain is the reporting host's
};

enum class Trust : std::uint8_t {
  daemon,  // decides only in a mail from a mailer-daemon or with a null return path
  alone,   // words that no person writes: decides by itself
};

struct TextFormat {
  std::string_view rule;
  Shape shape = Shape::listed;
  bool delay = false;
  Trust trust = Trust::daemon;
  std::string_view keyword = {};  // only of Shape::keyword, in lower case
  std::string_view end = {};      // a line that begins with it ends the list
};

enum class MarkerUse : std::uint8_t {
  begin,     // opens a list of recipients
  original,  // opens the returned original
  delay,     // says that delivery is late and still tried
  fields,    // a field of RFC 3464 in the text
  token,     // a field of the original that leads back to it
};

struct Marker {
  std::string_view words;
  MarkerUse use = MarkerUse::begin;
  const TextFormat* format = nullptr;  // of MarkerUse::begin
};

// The markers that `text` begins with, the longest first; empty when there is none. `text` begins at a word.
[[nodiscard]] const Marker* find_marker(std::string_view text);

// Where the words of a line begin behind its decoration.
[[nodiscard]] std::size_t decoration_length(std::string_view line);

[[nodiscard]] std::span<const Marker> all_markers();

}  // namespace mailotp::mail
