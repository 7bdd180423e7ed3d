#include "mail/imap/response_filter.h"

#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>
#include <rapidcheck.h>

using namespace mailotp;
using mail::Heard;
using mail::ResponseFilter;

namespace {

struct Filtered {
  std::string out;
  Heard heard;
  bool good = true;
};

// In pieces of `step` bytes.
Filtered filtered(std::string_view bytes, std::size_t step = 1 << 20, std::size_t literal = 4096) {
  Filtered result;
  ResponseFilter filter(result.heard);
  filter.allow_literal(literal);
  for (std::size_t at = 0; at < bytes.size() && result.good; at += step)
    result.good = filter.feed(bytes.substr(at, step), result.out).has_value();
  return result;
}

}  // namespace

TEST_CASE("what libetpan is needed for is handed on, at every split") {
  const std::string fetch = "* 3 FETCH (UID 9 BODY[]<0> {9}\r\n* 1 BAD\r\n FLAGS (\\Seen))\r\n";
  const std::string bytes =
      "* 12 EXISTS\r\n* 3 EXPUNGE\r\n" + fetch + "+ idling\r\n1 OK [COPYUID 1 2 3] done\r\n";
  for (std::size_t step = 1; step <= bytes.size(); ++step) {
    const Filtered result = filtered(bytes, step);
    REQUIRE(result.good);
    REQUIRE(result.out == "* 12 EXISTS\r\n* 3 EXPUNGE\r\n" + fetch + "+ go on\r\n1 OK said\r\n");
    REQUIRE(result.heard.exists == 11);
    REQUIRE((result.heard.tag == "1" && result.heard.status == "OK" && result.heard.code == "COPYUID"));
    REQUIRE((result.heard.news && result.heard.continuation && result.heard.text == "done"));
  }
}

TEST_CASE("no response code and no text of the server goes on") {
  for (const std::string_view line :
       {"* OK [BADCHARSET (\"x\")] x", "* OK [BADCHARSET (", "* OK [PERMANENTFLAGS (\"x\" hi",
        "* OK [UNSEEN] y", "* OK [", "* OK", "* OK {5}", "* ok [ALERT] \"(((("}) {
    const Filtered result = filtered(std::string(line) + "\r\n2 NO [TRYCREATE] make it\r\n");
    CHECK(result.good);
    CHECK(result.out == "* OK said\r\n2 NO said\r\n");
    CHECK((result.heard.code == "TRYCREATE" && result.heard.text == "make it"));
  }
}

TEST_CASE("what is noted is dropped") {
  const Filtered result = filtered(
      "* OK [UIDVALIDITY 77] x\r\n* OK [UIDNEXT 5] x\r\n* CAPABILITY IMAP4rev1 idle Move\r\n"
      "* SEARCH 4 7 0 x 9\r\n* NAMESPACE ((\"INBOX.\" \".\")) NIL NIL\r\n* FLAGS (((\r\n"
      "* LIST (\\HasNoChildren) \".\" \"a \\\"b\\\"\"\r\n* LIST (\\NoSelect) NIL INBOX\r\n* LIST ( bad\r\n"
      "* LIST () \"/\" {3}\r\nabc\r\n* STATUS {2}\r\nab (X {1}\r\n))\r\n* 4 RECENT\r\n");
  REQUIRE(result.good);
  CHECK(result.out == "* OK said\r\n* OK said\r\n");
  const Heard& heard = result.heard;
  CHECK((heard.uidvalidity == 77 && heard.uidnext == 5));
  CHECK((heard.capabilities_said && heard.capabilities.size() == 3 && heard.capabilities.contains("MOVE")));
  CHECK(heard.found == std::vector<std::uint32_t>{4, 7, 9});
  CHECK(heard.personal_prefix == "INBOX.");
  REQUIRE(heard.folders.size() == 2);
  CHECK((heard.folders[0].name == "a \"b\"" && heard.folders[0].delimiter == "." &&
         heard.folders[0].selectable));
  CHECK((heard.folders[1].name == "INBOX" && heard.folders[1].delimiter.empty() &&
         !heard.folders[1].selectable));
}

TEST_CASE("capabilities come in a response code too, and BYE is kept") {
  const Filtered result = filtered("1 OK [CAPABILITY IDLE UIDPLUS] in\r\n* BYE too\tbusy\r\n");
  CHECK(result.heard.capabilities.contains("UIDPLUS"));
  CHECK((result.heard.bye && result.heard.text == "too\\x09busy"));
}

TEST_CASE("what is not IMAP, or beyond a bound, ends it") {
  for (const std::string& bytes : std::vector<std::string>{
           "hello\r\n", "\r\n", std::string("* OK a\0b\r\n", 10), "* 1 FETCH (UID\r\n",
           "* 1 FETCH (X \"a\r\n", "* 1 FETCH (BODY[] {4097}\r\n", "* 1 FETCH (BODY[] {99999999999999}\r\n",
           "* X {5000}\r\n", "* 1 FETCH " + std::string(9, '(') + "\r\n",
           std::string(ResponseFilter::k_line + 1, 'a')}) {
    INFO(bytes.substr(0, 40));
    CHECK_FALSE(filtered(bytes).good);
    CHECK_FALSE(filtered(bytes, 1000).good);
  }
  std::string endless;
  for (std::size_t i = 0; i <= ResponseFilter::k_literals; ++i)
    endless += (endless.empty() ? "* X {0}\r\n" : " {0}\r\n");
  CHECK_FALSE(filtered(endless).good);
  CHECK(filtered("* 1 FETCH (BODY[] {4096}\r\n").good);
}

TEST_CASE("random bytes never harm the filter, however they are cut") {
  const std::vector<std::string> words{
      "* ",   "1 ",   "OK ",     "FETCH ", "(",   ")",      "{3}",   "{",           "}",
      "\r\n", "\n",   "\"",      "\\",     "[",   "]",      "LIST ", "NIL",         "+",
      "A",    "\xff", "SEARCH ", "NO ",    "12 ", "EXISTS", "BYE ",  "CAPABILITY ", "NAMESPACE "};
  CHECK(rc::check("whole or byte by byte: the same", [&] {
    std::string bytes;
    for (const std::size_t i :
         *rc::gen::container<std::vector<std::size_t>>(rc::gen::inRange<std::size_t>(0, words.size())))
      bytes += words[i];
    const Filtered whole = filtered(bytes);
    const Filtered cut = filtered(bytes, 1);
    RC_ASSERT(whole.good == cut.good);
    if (whole.good) RC_ASSERT(whole.out == cut.out);
    RC_ASSERT(whole.heard.found == cut.heard.found);
  }));
}
