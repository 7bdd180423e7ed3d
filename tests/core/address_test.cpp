#include "core/address.h"

#include <algorithm>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <rapidcheck.h>

namespace mailotp::core {
namespace {

std::string repeat(std::string_view piece, std::size_t times) {
  std::string out;
  for (std::size_t i = 0; i < times; ++i)
    out += piece;
  return out;
}

const std::string k_label63(63, 'a');
const std::string k_local64(64, 'l');

// A domain of exactly `size` octets, all labels within bounds.
std::string domain_of(std::size_t size) {
  std::string domain = "e.org";
  while (domain.size() < size) {
    const std::size_t label = std::min<std::size_t>(size - domain.size() - 1, 63);
    // Never leave room for a dot without its label.
    domain = std::string(size - domain.size() - 1 - label == 1 ? label - 1 : label, 'd') + "." + domain;
  }
  return domain;
}

TEST_CASE("good addresses") {
  struct Row {
    std::string text, local, domain;
  };
  const std::vector<Row> rows{
      {"alice@example.org", "alice", "example.org"},
      {"a@b.cd", "a", "b.cd"},
      {"Alice@Example.ORG", "Alice", "example.org"},
      {"first.last@example.org", "first.last", "example.org"},
      {"a.b.c.d@example.org", "a.b.c.d", "example.org"},
      {"user+tag@example.org", "user+tag", "example.org"},
      {"!#$%&'*+-/=?^_`{|}~@example.org", "!#$%&'*+-/=?^_`{|}~", "example.org"},
      {"-@example.org", "-", "example.org"},
      {"123@example.org", "123", "example.org"},
      {"a@1.example.org", "a", "1.example.org"},
      {"a@123.com", "a", "123.com"},
      {"a@x-y.example.org", "a", "x-y.example.org"},
      {"a@x--y.example.org", "a", "x--y.example.org"},
      {"a@example.c0m", "a", "example.c0m"},
      {"a@example.museum", "a", "example.museum"},
      // Quoted: kept where it must be, dropped where it need not.
      {"\"alice\"@example.org", "alice", "example.org"},
      {"\"a.b\"@example.org", "a.b", "example.org"},
      {"\"\\a\\l\"@example.org", "al", "example.org"},
      {"\"a b\"@example.org", "\"a b\"", "example.org"},
      {"\"a@b\"@example.org", "\"a@b\"", "example.org"},
      {"\"<a>\"@example.org", "\"<a>\"", "example.org"},
      {"\"a\\\"b\"@example.org", "\"a\\\"b\"", "example.org"},
      {"\"a\\\\b\"@example.org", "\"a\\\\b\"", "example.org"},
      {"\"a\\ b\"@example.org", "\"a b\"", "example.org"},
      {"\".a\"@example.org", "\".a\"", "example.org"},
      {"\"a..b\"@example.org", "\"a..b\"", "example.org"},
      {"\"a.\"@example.org", "\"a.\"", "example.org"},
      {"\"\"@example.org", "\"\"", "example.org"},
      {"\" \"@example.org", "\" \"", "example.org"},
      // Literals.
      {"a@[192.0.2.1]", "a", "[192.0.2.1]"},
      {"a@[255.255.255.255]", "a", "[255.255.255.255]"},
      {"a@[IPv6:2001:db8::1]", "a", "[IPv6:2001:db8::1]"},
      {"a@[ipv6:2001:DB8::1]", "a", "[IPv6:2001:db8::1]"},
      {"a@[IPv6:::]", "a", "[IPv6:::]"},
      {"a@[IPv6:::1]", "a", "[IPv6:::1]"},
      {"a@[IPv6:1::]", "a", "[IPv6:1::]"},
      {"a@[IPv6:1:2:3:4:5:6:7:8]", "a", "[IPv6:1:2:3:4:5:6:7:8]"},
      {"a@[IPv6:1:2:3:4:5:6:192.0.2.1]", "a", "[IPv6:1:2:3:4:5:6:192.0.2.1]"},
      {"a@[IPv6:::ffff:192.0.2.1]", "a", "[IPv6:::ffff:192.0.2.1]"},
      {"a@[IPv6:1:2:3:4::5:6]", "a", "[IPv6:1:2:3:4::5:6]"},
      // IDN.
      {"a@bücher.example", "a", "xn--bcher-kva.example"},
      {"a@MÜNCHEN.de", "a", "xn--mnchen-3ya.de"},
      {"a@faß.de", "a", "xn--fa-hia.de"},  // ß is a letter of its own, not ss
      {"a@почта.рф", "a", "xn--80a1acny.xn--p1ai"},
      {"a@例え.jp", "a", "xn--r8jz45g.jp"},
      {"a@例え。jp", "a", "xn--r8jz45g.jp"},
      {"a@ＥＸample.com", "a", "example.com"},
      {"a@e\u0301.com", "a", "xn--9ca.com"},
      {"a@xn--bcher-kva.example", "a", "xn--bcher-kva.example"},
      // Lengths, at their bounds.
      {k_local64 + "@example.org", k_local64, "example.org"},
      {"a@" + k_label63 + ".org", "a", k_label63 + ".org"},
      {"a@" + domain_of(252), "a", domain_of(252)},
      {k_local64 + "@" + domain_of(189), k_local64, domain_of(189)},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const auto address = parse_address(row.text);
    if (!address) FAIL(address.error().what);
    CHECK(address->local == row.local);
    CHECK(address->domain == row.domain);
    CHECK(address->mailbox() == row.local + "@" + row.domain);
  }
}

TEST_CASE("the helper makes domains of the length it is asked for") {
  for (const std::size_t size : {189, 190, 252, 253, 254})
    CHECK(domain_of(size).size() == size);
}

TEST_CASE("bad addresses") {
  std::vector<std::string> rows{
      "", " ", "@", "a", "a@", "@example.org", "example.org",
      // Local part.
      ".a@example.org", "a.@example.org", "a..b@example.org", ".@example.org", "a b@example.org",
      " a@example.org", "a @example.org", "a,b@example.org", "a;b@example.org", "a:b@example.org",
      "a(b)@example.org", "(c)a@example.org", "a\\b@example.org", "a\"b@example.org", "a[b]@example.org",
      "a<b@example.org", "a>b@example.org", "<a@example.org>", "a@b@example.org", "a@@example.org",
      "Alice <a@example.org>", "mailto:a@example.org",
      // Quoted.
      "\"a@example.org", "\"a\"example.org", "\"a\"", "\"a\"b@example.org", "b\"a\"@example.org",
      "\"a\".b@example.org", "\"a\\\"@example.org", "\"a\"b\"@example.org", "\"", "\"\\",
      // Domain.
      "a@localhost", "a@example", "a@.org", "a@example.", "a@example.org.", "a@example..org",
      "a@.example.org", "a@.", "a@..", "a@-example.org", "a@example-.org", "a@example.-org", "a@example.org-",
      "a@exa_mple.org", "a@_dmarc.example.org", "a@exam ple.org", "a@example.org ",
      "a@example.org,b@example.org", "a@example.org>", "a@<example.org", "a@example.org\\", "a@example.org/",
      "a@example.org:25", "a@192.0.2.1", "a@example.123", "a@1.2", "a@\"example\".org", "a@exa%mple.org",
      "a@xn--.org", "a@(c)example.org", "a@#123",
      // Literals.
      "a@[]", "a@[", "a@]", "a@[192.0.2.1", "a@192.0.2.1]", "a@[192.0.2]", "a@[192.0.2.256]",
      "a@[192.0.2.1.5]", "a@[192.0.2.-1]", "a@[192.0.-0.1]", "a@[IPv6:::192.0.-0.1]", "a@[192.0.2.+1]",
      "a@[0192.0.2.1]", "a@[192..2.1]", "a@[.0.2.1]", "a@[ 192.0.2.1]", "a@[192.0.2.1]x", "a@x[192.0.2.1]",
      "a@[example.org]", "a@[192.0.2.1].org", "a@[2001:db8::1]", "a@[IPv6:]", "a@[IPv6:1]", "a@[IPv6::]",
      "a@[IPv6::1]", "a@[IPv6:1:]", "a@[IPv6::::]", "a@[IPv6:1::2::3]", "a@[IPv6:12345::]", "a@[IPv6:g::]",
      "a@[IPv6:1:2:3:4:5:6:7]", "a@[IPv6:1:2:3:4:5:6:7:8:9]", "a@[IPv6:1:2:3:4::5:6:7]",
      "a@[IPv6:1:2:3:4:5:6:7:192.0.2.1]", "a@[IPv6:192.0.2.1]", "a@[IPv6:192.0.2.1::]",
      "a@[IPv6:::192.0.2.256]", "a@[IPv6:fe80::1%eth0]", "a@[x:tag]",
      // IDN that is none.
      "a@💩.la", "a@i❤.ws", "a@☕.example", "a@bü cher.de", "a@-bü.de", "a@bü-.de", "a@ä..de", "a@ä.de.",
      "a@ä_b.de", "a@ä.123", "a@ä.１２３", "a@ä", "a@ß", "a@a＜b.de", "a@b＠ä.de", "a@b\xfcx.de",
      "a@b\xc3.de", "a@a\u200db.de", "a@٠.ä.com", "a@\u202eä.com", "a@ä\u00a0b.de", "a@\u0085.de",
      // Lengths, one over.
      k_local64 + "l@example.org", "a@" + k_label63 + "a.org", "a@" + domain_of(253),
      k_local64 + "@" + domain_of(190), "a@" + domain_of(254), "\"" + std::string(63, ' ') + "\"@example.org",
      "a@" + repeat("ü", 60) + ".example." + repeat("a.", 90) + "org", std::string(100000, 'a') + "@b.cd",
      "a@" + repeat("a.", 50000) + "org", "a@" + repeat("ü", 64) + ".de"};
  // Line breaks, NUL and other controls, anywhere.
  for (const char control : {'\r', '\n', '\0', '\t', '\x01', '\x1b', '\x7f'}) {
    const std::string one(1, control);
    for (const std::string& base : {std::string("alice@example.org"), std::string("\"a b\"@example.org"),
                                    std::string("a@[192.0.2.1]"), std::string("a@bücher.example")}) {
      for (std::size_t at = 0; at <= base.size(); ++at)
        rows.push_back(base.substr(0, at) + one + base.substr(at));
    }
    rows.push_back("\"a\\" + one + "b\"@example.org");
  }
  rows.emplace_back("alice@example.org\r\nRCPT TO:<bob@example.org>");
  for (const std::string& text : rows) {
    CAPTURE(text.substr(0, 300));
    const auto address = parse_address(text);
    REQUIRE_FALSE(address);
    CHECK(address.error().code == Errc::invalid);
    CHECK_FALSE(address.error().what.empty());
  }
}

TEST_CASE("a non-ASCII local part is refused with its reason") {
  for (const std::string text : {"jörg@example.org", "почта@почта.рф", "💩@example.org",
                                 "\"jö rg\"@example.org", "\"\\ö\"@example.org", "a\xff@example.org"}) {
    CAPTURE(text);
    const auto address = parse_address(text);
    REQUIRE_FALSE(address);
    CHECK(address.error().what.find("SMTPUTF8") != std::string::npos);
  }
  CHECK(parse_address("jö rg").error().what.find("@") != std::string::npos);
}

TEST_CASE("spellings of one mailbox share a key") {
  const auto key = [](std::string_view text) { return parse_address(text).value().key(); };
  CHECK(key("Alice@Example.org") == key("alice@EXAMPLE.ORG"));
  CHECK(key("\"alice\"@example.org") == key("alice@example.org"));
  CHECK(key("a@bücher.example") == key("A@XN--BCHER-KVA.example"));
  CHECK(key("\"A b\"@example.org") == "\"a b\"@example.org");
  CHECK(key("a.b@example.org") != key("ab@example.org"));
  CHECK(key("a+b@example.org") != key("a@example.org"));
  CHECK(key("a@faß.de") != key("a@fass.de"));
}

// A good address, with up to three pieces put in where they may spoil it.
std::string near_address() {
  std::string text = *rc::gen::element<std::string>(
      "alice@example.org", "a.b-c+d@x-y.example.org", "\"a b\"@example.org", "\"a\\\"b\"@EXAMPLE.org",
      "a@[192.0.2.1]", "a@[IPv6:2001:db8::1]", "a@bücher.example", "A@例え.jp", "\"\"@faß.de");
  const int pieces = *rc::gen::inRange(0, 4);
  for (int i = 0; i < pieces; ++i) {
    const auto at = *rc::gen::inRange<std::size_t>(0, text.size() + 1);
    text.insert(at, *rc::gen::element<std::string>(
                        "a", "B", "7", ".", "@", "\"", "\\", " ", "<", ">", "-", "_", "[", "]", ":", "ü", "ß",
                        "例", "\r\n", std::string(1, '\0'), "\x7f", "\t", "org.", "\"a", "b\"", "xn--",
                        "\xff", "＜", "。", "\\\"", "\\ ", "IPv6:", "(c)", ","));
  }
  return text;
}

// The header's promise: nothing here can end an SMTP command or leave its angle brackets.
bool is_safe(std::string_view mailbox) {
  bool quoted = false;
  for (std::size_t i = 0; i < mailbox.size(); ++i) {
    const auto c = static_cast<unsigned char>(mailbox[i]);
    if (c < 0x20 || c > 0x7e) return false;
    if (quoted && c == '\\') {
      ++i;
      continue;
    }
    if (c == '"') quoted = !quoted;
    if (!quoted && (c == ' ' || c == '<' || c == '>')) return false;
  }
  return !quoted && mailbox.size() <= 254;
}

TEST_CASE("what parses is safe in a command and parses again to the same") {
  int accepted = 0;
  CHECK(rc::check("addresses", [&accepted] {
    const std::string text = near_address();
    const auto address = parse_address(text);
    if (!address) return;
    ++accepted;
    RC_ASSERT(is_safe(address->mailbox()));
    const auto again = parse_address(address->mailbox());
    RC_ASSERT(again.has_value());
    RC_ASSERT(*again == *address);
    RC_ASSERT(again->key() == address->key());
  }));
  CHECK(accepted > 0);
}

TEST_CASE("every quoted local part of printable characters parses and comes back") {
  CHECK(rc::check("quoted", [] {
    const auto content = *rc::gen::container<std::string>(rc::gen::inRange<char>(0x20, 0x7f));
    RC_PRE(content.size() <= 31);
    std::string text = "\"";
    for (const char c : content)
      text += std::string("\\") + c;
    text += "\"@example.org";
    const auto address = parse_address(text);
    RC_ASSERT(address.has_value());
    RC_ASSERT(is_safe(address->mailbox()));
    RC_ASSERT(parse_address(address->mailbox()).value() == *address);
  }));
}

TEST_CASE("named addresses") {
  struct Row {
    std::string text, name, mailbox;
  };
  for (const Row& row : std::vector<Row>{
           {"a@b.cd", "", "a@b.cd"},
           {"<a@b.cd>", "", "a@b.cd"},
           {"  a@b.cd\t", "", "a@b.cd"},
           {"Example <no-reply@example.org>", "Example", "no-reply@example.org"},
           {"Example<no-reply@example.org>", "Example", "no-reply@example.org"},
           {" Two Words  < a@b.cd> ", "", ""},
           {"Jörg Müller <j@b.cd>", "Jörg Müller", "j@b.cd"},
           {"\"Na, me\" <a@b.cd>", "Na, me", "a@b.cd"},
           {"\"a \\\"b\\\" \\\\\" <a@b.cd>", "a \"b\" \\", "a@b.cd"},
           {"\"<x@y.zz>\" <a@b.cd>", "<x@y.zz>", "a@b.cd"},
           {"\"a b\"@b.cd", "", "\"a b\"@b.cd"},
           {"<\"<a>\"@b.cd>", "", "\"<a>\"@b.cd"},
           {"\"<x@y.zz>\" <\"a<\\\"b\"@b.cd>", "<x@y.zz>", "\"a<\\\"b\"@b.cd"},
           {"\"ab\\\" <a@b.cd>", "", ""},
           {"O\"Brien <a@b.cd>", "", ""},
           {"Shop <a@bücher.example>", "Shop", "a@xn--bcher-kva.example"},
           {"", "", ""},
           {"Example", "", ""},
           {"Example <>", "", ""},
           {"Example a@b.cd", "", ""},
           {"a@b.cd>", "", ""},
           {"Example <a@b.cd", "", ""},
           {"Example <a@b.cd> x", "", ""},
           {"Example <<a@b.cd>>", "", ""},
           {"Exam\r\nBcc: x@y.zz <a@b.cd>", "", ""},
           {"Example <a@b.cd>, Other <c@b.cd>, <", "", ""},
       }) {
    CAPTURE(row.text);
    const auto named = parse_named_address(row.text);
    REQUIRE(named.has_value() == !row.mailbox.empty());
    if (!named) {
      CHECK(named.error().code == Errc::invalid);
      continue;
    }
    CHECK(named->name == row.name);
    CHECK(named->address.mailbox() == row.mailbox);
  }
}

}  // namespace
}  // namespace mailotp::core
