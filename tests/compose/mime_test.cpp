// The bytes of a mail, read back here by a small strict reader and in mails_test.py by Python's.
#include "mail/compose/mime.h"

#include <algorithm>

#include <catch2/catch.hpp>
#include <rapidcheck.h>

#include "mail/compose/utf8.h"

namespace mailotp::mail::test {

namespace {

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = text.find("\r\n");
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 2);
  }
  return lines;
}

std::size_t longest_line(std::string_view text) {
  std::size_t longest = 0;
  for (const std::string& line : lines_of(text))
    longest = std::max(longest, line.size());
  return longest;
}

bool has_bare_line_end(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' && (i + 1 == text.size() || text[i + 1] != '\n')) return true;
    if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r')) return true;
  }
  return false;
}

// By RFC 2045 section 6.7, and no more lenient than it.
std::string decode_quoted_printable(const std::string& encoded) {
  std::string decoded;
  for (std::size_t i = 0; i < encoded.size(); ++i) {
    if (encoded[i] != '=') {
      if (encoded[i] != '\r') decoded += encoded[i];
    } else if (encoded.compare(i, 3, "=\r\n") == 0) {
      i += 2;
    } else {
      decoded += static_cast<char>(std::stoi(encoded.substr(i + 1, 2), nullptr, 16));
      i += 2;
    }
  }
  return decoded;
}

// The same rules, byte by byte.
std::string simple_quoted_printable(std::string_view text) {
  std::string out;
  std::size_t column = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') {
      out += "\r\n";
      column = 0;
      continue;
    }
    const bool line_ends = i + 1 == text.size() || text[i + 1] == '\n';
    const bool literal = c == ' ' || c == '\t' ? !line_ends : c >= '!' && c <= '~' && c != '=';
    if (column + (literal ? 1 : 3) > (line_ends ? 76U : 75U)) {
      out += "=\r\n";
      column = 0;
    }
    if (literal && !(column == 0 && (c == '.' || text.substr(i).starts_with("From ")))) {
      out += c;
      column += 1;
    } else {
      static constexpr std::string_view k_hex = "0123456789ABCDEF";
      out += '=';
      out += k_hex[static_cast<unsigned char>(c) >> 4];
      out += k_hex[static_cast<unsigned char>(c) & 15];
      column += 3;
    }
  }
  return out;
}

std::string header(std::string_view name, std::string_view value) {
  std::string out;
  if (auto done = append_header(out, name, value); !done) return "refused: " + done.error().what;
  return out;
}

std::string mailbox(const std::string& name, const std::string& address = "a@example.org") {
  const std::size_t at = address.rfind('@');
  std::string out;
  const auto done =
      append_mailbox_header(out, "From", {name, {address.substr(0, at), address.substr(at + 1)}});
  if (!done) return "refused: " + done.error().what;
  return out;
}

std::string unfold(std::string value) {
  for (std::size_t at = value.find("\r\n"); at != std::string::npos; at = value.find("\r\n"))
    value.erase(at, 2);
  return value;
}

// Q encoded words only.
std::string decode_words(std::string value) {
  value = unfold(std::move(value));
  std::string decoded;
  while (!value.empty()) {
    REQUIRE(value.starts_with("=?UTF-8?Q?"));
    const std::size_t end = value.find("?=", 10);
    REQUIRE(end + 2 <= 75);
    std::string payload = value.substr(10, end - 10);
    std::replace(payload.begin(), payload.end(), '_', ' ');
    const std::string piece = decode_quoted_printable(payload);
    CHECK(valid_utf8(piece));
    decoded += piece;
    value.erase(0, end + 2);
    if (value.starts_with(' ')) value.erase(0, 1);
  }
  return decoded;
}

}  // namespace

TEST_CASE("quoted-printable, known answers") {
  const auto [text, encoded] = GENERATE(table<std::string, std::string>({
      {"", ""},
      {"plain\n", "plain\r\n"},
      {"\n\n", "\r\n\r\n"},
      {"a=b", "a=3Db"},
      {"ä€", "=C3=A4=E2=82=AC"},
      {"end \nend\t\nend ", "end=20\r\nend=09\r\nend=20"},
      {".\n..x\na.b", "=2E\r\n=2E.x\r\na.b"},
      {"From me\nFor\n From", "=46rom me\r\nFor\r\n From"},
      {std::string(76, 'x'), std::string(76, 'x')},
      {std::string(77, 'x'), std::string(75, 'x') + "=\r\nxx"},
      {std::string(75, 'x') + ".", std::string(75, 'x') + "."},
      {std::string(75, 'x') + "..", std::string(75, 'x') + "=\r\n=2E."},
      {std::string(74, 'x') + "=", std::string(74, 'x') + "=\r\n=3D"},
      {std::string(73, 'x') + "=", std::string(73, 'x') + "=3D"},
      {std::string(75, 'x') + " \n", std::string(75, 'x') + "=\r\n=20\r\n"},
  }));
  std::string out;
  append_quoted_printable(out, text);
  CHECK(out == encoded);
}

TEST_CASE("quoted-printable breaks long lines where it must, whatever stands there") {
  for (const char* const odd : {".", " ", "\t", "=", "From ", "\xC3\xA4", " \n", "=\n", ".\n", "\n"}) {
    for (std::size_t before = 60; before < 160; ++before)
      for (std::size_t after = 0; after < 5; ++after) {
        const std::string text = std::string(before, 'x') + odd + odd + std::string(after, 'y');
        std::string encoded;
        append_quoted_printable(encoded, text);
        CHECK(encoded == simple_quoted_printable(text));
      }
  }
}

TEST_CASE("UTF-8 is checked to the last byte, wherever it stands") {
  for (const char* const odd : {"\x80", "\xC3", "\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xFF"})
    for (std::size_t before = 0; before < 20; ++before)
      for (std::size_t after = 0; after < 20; ++after) {
        CHECK_FALSE(valid_utf8(std::string(before, 'x') + odd + std::string(after, 'y')));
        CHECK(valid_utf8(std::string(before, 'x') + "\xC3\xA4\xE2\x82\xAC" + std::string(after, 'y')));
      }
}

TEST_CASE("quoted-printable gives back what went in, on short lines that no relay changes") {
  CHECK(rc::check([] {
    // Few kinds of bytes, so that line ends, blanks and dots meet often; and any byte at all.
    const auto common = rc::gen::elementOf(std::string("\n \t.=FromA\xC3\xA4"));
    const auto any =
        rc::gen::map(rc::gen::suchThat(rc::gen::arbitrary<char>(), [](char c) { return c != '\r'; }),
                     [](char c) { return c; });
    const auto text = *rc::gen::scale(
        8.0, rc::gen::container<std::string>(rc::gen::weightedOneOf<char>({{5, common}, {1, any}})));
    std::string encoded;
    append_quoted_printable(encoded, text);
    RC_ASSERT(decode_quoted_printable(encoded) == text);
    RC_ASSERT(encoded == simple_quoted_printable(text));
    RC_ASSERT(!has_bare_line_end(encoded));
    for (const std::string& line : lines_of(encoded)) {
      RC_ASSERT(line.size() <= 76U);
      RC_ASSERT(!line.ends_with(' ') && !line.ends_with('\t'));
      RC_ASSERT(!line.starts_with('.') && !line.starts_with("From "));
      RC_ASSERT(
          std::all_of(line.begin(), line.end(), [](char c) { return c == '\t' || (c >= ' ' && c <= '~'); }));
    }
  }));
}

TEST_CASE("plain headers stay readable and fold between words") {
  CHECK(header("Subject", "Your code") == "Subject: Your code\r\n");
  CHECK(header("Subject", "") == "Subject: \r\n");
  const std::string words = "one two  three " + std::string(70, 'x') + " four " + std::string(76, 'y') + " z";
  const std::string folded = header("Subject", words);
  CHECK(longest_line(folded) <= 78);
  CHECK(unfold(folded) == "Subject: " + words);
  CHECK(folded.find("=?") == std::string::npos);
}

TEST_CASE("other headers become encoded words, whole in their characters") {
  const std::string value =
      GENERATE(as<std::string>(), "Ihr Code für Zoë", "🎉", "looks =?UTF-8?Q?encoded?=", " blanks ",
               std::string(200, 'x'), std::string(66, 'x') + "ä",
               "🎉 party 🎉 party 🎉 party 🎉 party 🎉 party 🎉 party 🎉 a long a plain tail of it");
  const std::string folded = header("Subject", value);
  INFO(folded);
  CHECK(longest_line(folded) <= 78);
  CHECK(
      std::all_of(folded.begin(), folded.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; }));
  if (folded.find("?Q?") != std::string::npos)
    CHECK(decode_words(folded.substr(9, folded.size() - 11)) == value);
}

TEST_CASE("Q encoded words give back any text") {
  CHECK(rc::check([] {
    const auto word = rc::gen::element<std::string>("plain text ", "x", " ", "?", "=", "_", "ä", "=?");
    std::string value = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";  // mostly ASCII, so that Q is the shorter one
    for (const std::string& piece : *rc::gen::container<std::vector<std::string>>(word))
      value += piece + "bbbbbbbb";
    const std::string folded = header("X", value + "ä");
    RC_ASSERT(longest_line(folded) <= 78U);
    RC_ASSERT(decode_words(folded.substr(3, folded.size() - 5)) == value + "ä");
  }));
}

TEST_CASE("display names") {
  CHECK(mailbox("") == "From: a@example.org\r\n");
  CHECK(mailbox("Shop") == "From: Shop <a@example.org>\r\n");
  CHECK(mailbox("My Shop") == "From: My Shop <a@example.org>\r\n");
  CHECK(mailbox("Shop, Inc.") == "From: \"Shop, Inc.\" <a@example.org>\r\n");
  CHECK(mailbox("a\"b\\c") == "From: \"a\\\"b\\\\c\" <a@example.org>\r\n");
  CHECK(mailbox("<evil@example.net>") == "From: \"<evil@example.net>\" <a@example.org>\r\n");
  CHECK(mailbox("two  blanks") == "From: \"two  blanks\" <a@example.org>\r\n");
  CHECK(mailbox("Zoë, Inc.") == "From: =?UTF-8?B?Wm/DqywgSW5jLg==?= <a@example.org>\r\n");
  CHECK(mailbox("=?x?=") == "From: =?UTF-8?B?PT94Pz0=?= <a@example.org>\r\n");
  CHECK(mailbox("Example Zoë") == "From: =?UTF-8?Q?Example_Zo=C3=AB?= <a@example.org>\r\n");
  CHECK(mailbox("店") == "From: =?UTF-8?B?5bqX?= <a@example.org>\r\n");
  const std::string address = std::string(60, 'l') + "@example.org";
  CHECK(mailbox("My Shop", address) == "From: My Shop\r\n <" + address + ">\r\n");
  CHECK(longest_line(mailbox(std::string(300, 'n'))) <= 78);
}

TEST_CASE("line breaks, controls and broken UTF-8 are refused in every header, and not repeated") {
  const std::string bad = GENERATE(as<std::string>(), "a\r\nBcc: x@example.org", "a\nb", "a\rb",
                                   std::string("a\0b", 3), "a\tb", "a\x7f");
  CHECK(header("Subject", bad) == "refused: header Subject holds a line break or a control");
  CHECK(mailbox(bad) == "refused: header From holds a line break or a control");
  CHECK(mailbox("x", bad + "@example.org") == "refused: header From holds a line break or a control");
  CHECK(header("Subject", "\xC3") == "refused: header Subject is not UTF-8");
  CHECK(mailbox("", "ä@example.org") == "refused: header From holds an address that is not one");
}

TEST_CASE("a part with NUL, CR or broken UTF-8 is refused") {
  const core::NamedAddress from{"", {"a", "example.org"}};
  const core::Address to{"b", "example.org"};
  const auto [text, html, why] = GENERATE(table<std::string, std::string, std::string>({
      {std::string("a\0b", 3), "x", "the text part holds a NUL"},
      {"x", std::string("\0", 1), "the html part holds a NUL"},
      {"a\r\nb", "x", "the text part holds a CR"},
      {"x", "\r", "the html part holds a CR"},
      {"\xff", "x", "the text part is not UTF-8"},
  }));
  const auto mail = write_mime({{}, from, to, "s", "<i@x>", "=_b", {}, text, html});
  REQUIRE_FALSE(mail);
  CHECK(mail.error().code == core::Errc::invalid);
  CHECK(mail.error().what == why);
  const auto bad_id = write_mime({{}, from, to, "s", "<i@x>\r\nX: y", "=_b", {}, "x", "x"});
  REQUIRE_FALSE(bad_id);
  CHECK(bad_id.error().what == "header Message-ID holds a line break or a control");
}

TEST_CASE("a whole mail, byte for byte") {
  const core::NamedAddress from{"Shop", {"a", "example.org"}};
  const core::Address to{"b", "example.net"};
  const std::vector<Header> more{{"Auto-Submitted", "auto-generated"}};
  const auto mail = write_mime({core::from_unix_ms(1'795'176'000'000), from, to, "Your code",
                                "<1@example.org>", "=_1", more, "one\n.two\n", "<p>ä</p>"});
  REQUIRE(mail);
  CHECK(mail->reveal() ==
        "Date: Fri, 20 Nov 2026 12:00:00 +0000\r\n"
        "From: Shop <a@example.org>\r\n"
        "To: b@example.net\r\n"
        "Subject: Your code\r\n"
        "Message-ID: <1@example.org>\r\n"
        "Auto-Submitted: auto-generated\r\n"
        "MIME-Version: 1.0\r\n"
        "Content-Type: multipart/alternative;\r\n"
        " boundary=\"=_1\"\r\n"
        "\r\n"
        "--=_1\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n"
        "\r\n"
        "one\r\n=2Etwo\r\n"
        "\r\n"
        "--=_1\r\n"
        "Content-Type: text/html; charset=utf-8\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n"
        "\r\n"
        "<p>=C3=A4</p>"
        "\r\n"
        "--=_1--\r\n");
}

}  // namespace mailotp::mail::test
