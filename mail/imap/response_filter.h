// Stands between the server's bytes and libetpan, which crashes on some of them: cuts them into lines and
// literals (RFC 9051 section 2.2.2), notes what the session wants to know, and hands on only what libetpan is
// needed for, in the one form that it reads without harm. Pure; memory stays under k_line and one read.
//
// Handed on: FETCH with its literals, EXISTS, EXPUNGE, "+", and the status lines (OK, NO, BAD, BYE, PREAUTH)
// without their response code and text. Everything else is noted or dropped here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace mailotp::mail {

struct ListedFolder {
  std::string name;       // as the server writes it: modified UTF-7
  std::string delimiter;  // one character, or empty
  bool selectable = true;
};

// What the server has said. The session clears what it waits for.
struct Heard {
  std::uint32_t exists = 0;       // mails in the selected folder
  std::uint32_t uidvalidity = 0;  // 0: not said since it was cleared
  std::uint32_t uidnext = 0;
  bool news = false;          // EXISTS has been said
  bool continuation = false;  // "+"
  std::string tag;            // of the last tagged status …
  std::string status;         // … its word: "OK", "NO", "BAD" …
  std::string code;           // … its response code, upper case, without its arguments …
  std::string text;           // … and what it says, printable
  std::string greeting;       // the word of the last untagged status
  bool bye = false;
  std::set<std::string, std::less<>> capabilities;  // upper case
  bool capabilities_said = false;
  std::vector<ListedFolder> folders;  // LIST
  std::string personal_prefix;        // NAMESPACE: the first personal one
  std::vector<std::uint32_t> found;   // SEARCH
};

class ResponseFilter {
 public:
  static constexpr std::size_t k_line = 1 << 20;      // bytes of a line, literals aside
  static constexpr std::size_t k_literals = 64;       // of one response
  static constexpr std::size_t k_depth = 8;           // brackets inside each other
  static constexpr std::size_t k_capabilities = 256;  // … and folders of one answer

  explicit ResponseFilter(Heard& heard) : heard_(heard) {}

  // The largest literal that may be announced from now on.
  void allow_literal(std::size_t bytes) { literal_max_ = bytes; }
  // Appends to `out` what libetpan may read. Errc::malformed: not IMAP, or beyond a bound; the connection is
  // of no use then.
  [[nodiscard]] core::Result<> feed(std::string_view bytes, std::string& out);

 private:
  [[nodiscard]] core::Result<> line(std::string_view line, std::string& out);
  [[nodiscard]] core::Result<> first_line(std::string_view line, std::string& out);
  [[nodiscard]] core::Result<> fetch_line(std::string_view line, std::string& out);
  void numbered(std::string_view number, std::string_view word);
  void status(std::string_view tag, std::string_view word, std::string_view rest, std::string& out);
  void note_code(std::string_view code);
  void note_capabilities(std::string_view words);

  Heard& heard_;
  std::string line_;
  std::size_t literal_ = 0;  // bytes of one that are still to come
  std::size_t literal_max_ = 4096;
  std::size_t literals_ = 0;  // of the response that goes on
  std::size_t depth_ = 0;     // … and the brackets that are open in it
  enum class In { start, fetch, dropped } in_ = In::start;
};

}  // namespace mailotp::mail
