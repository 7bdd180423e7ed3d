#include "mail/bounce/scan.h"

#include <string>

#include <catch2/catch.hpp>

#include "mail/bounce/decode.h"
#include "mail/bounce/find_address.h"
#include "mail/bounce/reply_words.h"

using namespace mailotp::mail;

namespace {

ScannedMail scan(std::string_view bytes) {
  return scan_mail(bytes, {});
}

std::string words(std::string_view text) {
  return decode_words(text);
}

}  // namespace

TEST_CASE("a mail without a multipart is one part", "[bounce][scan]") {
  const ScannedMail mail = scan("Subject: x\n\nbody\n");
  REQUIRE(mail.parts.size() == 1);
  CHECK(mail.type == MailType::single);
  CHECK(mail.parts[0].type == PartType::text);
  CHECK(mail.parts[0].body == "body\n");
  CHECK(mail.headers == "Subject: x\n\n");
}

TEST_CASE("lines end in LF, CRLF or CR", "[bounce][scan]") {
  const std::string lf =
      "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\none\n--b\n\ntwo\n--b--\n";
  for (const std::string_view end : {"\n", "\r\n", "\r"}) {
    std::string bytes;
    for (const char c : lf)
      bytes += c == '\n' ? std::string(end) : std::string(1, c);
    const ScannedMail mail = scan(bytes);
    REQUIRE(mail.parts.size() == 2);
    CHECK(mail.parts[0].type == PartType::html);
    CHECK(trim(mail.parts[0].body) == "one");
    CHECK(mail.parts[1].type == PartType::text);
    CHECK(trim(mail.parts[1].body) == "two");
  }
}

TEST_CASE("a mail inside the mail is never opened", "[bounce][scan]") {
  const std::string bytes =
      "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\n"
      "Content-Type: multipart/mixed; boundary=c\n\n--c\n\ninner\n--c--\n--b--\n";
  const ScannedMail mail = scan(bytes);
  REQUIRE(mail.parts.size() == 1);
  CHECK(mail.parts[0].type == PartType::mail);
  CHECK(mail.parts[0].body.find("inner") != std::string_view::npos);
}

TEST_CASE("the types of parts that a report has", "[bounce][scan]") {
  const auto type_of = [](std::string_view content_type) {
    const std::string bytes = "Content-Type: " + std::string(content_type) + "\n\nx\n";
    return scan(bytes).parts.at(0).type;
  };
  CHECK(type_of("message/delivery-status") == PartType::status);
  CHECK(type_of("Message/Global-Delivery-Status; x=y") == PartType::status);
  CHECK(type_of("message/global") == PartType::mail);
  CHECK(type_of("message/global-headers") == PartType::headers);
  CHECK(type_of("text/rfc822-headers; charset=us-ascii") == PartType::headers);
  CHECK(type_of("message/feedback-report") == PartType::feedback);
  CHECK(type_of("message/disposition-notification") == PartType::receipt);
  CHECK(type_of("image/png") == PartType::other);
  CHECK(type_of("broken") == PartType::text);
}

TEST_CASE("an unclosed multipart ends with the mail", "[bounce][scan]") {
  const ScannedMail mail = scan("Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo");
  REQUIRE(mail.parts.size() == 2);
  CHECK(mail.parts[1].body == "two");
}

TEST_CASE("a nested multipart with its parent's boundary ends", "[bounce][scan]") {
  std::string bytes = "Content-Type: multipart/mixed; boundary=b\n\n";
  for (int i = 0; i < 1000; ++i)
    bytes += "--b\nContent-Type: multipart/mixed; boundary=b\n\n";
  const ScannedMail mail = scan(bytes);
  CHECK(mail.parts.size() <= 256);
  CHECK(mail.work <= 10 * bytes.size());
}

TEST_CASE("a boundary of one quote is none", "[bounce][scan]") {
  const ScannedMail mail = scan("Content-Type: multipart/mixed; boundary=\"\n\n--\n\"\n--\"\n");
  CHECK(mail.parts.size() == 1);
}

TEST_CASE("bounds: depth, parts, bytes", "[bounce][scan]") {
  SECTION("10,000 multiparts inside each other") {
    std::string bytes;
    for (int i = 0; i < 10000; ++i) {
      const std::string name = "b" + std::to_string(i);
      bytes += "Content-Type: multipart/mixed; boundary=" + name + "\n\n--" + name + "\n";
    }
    const ScannedMail mail = scan_mail(bytes, {.bytes = k_mail_bytes_max});
    CHECK(mail.cut);
    REQUIRE_FALSE(mail.parts.empty());
    CHECK(mail.parts.back().depth == 8);
    CHECK(mail.work <= 10 * bytes.size());
  }
  SECTION("100,000 parts") {
    std::string bytes = "Content-Type: multipart/mixed; boundary=b\n\n";
    for (int i = 0; i < 100000; ++i)
      bytes += "--b\n\nx\n";
    const ScannedMail mail = scan_mail(bytes, {.bytes = k_mail_bytes_max});
    CHECK(mail.parts.size() == 256);
    CHECK(mail.cut);
    CHECK(mail.work < 5000);
  }
  SECTION("a header of 10 MB") {
    std::string bytes = "Subject: ";
    bytes.append(10'000'000, 'x');
    bytes += "\n\nbody\n";
    const ScannedMail mail = scan(bytes);
    CHECK(mail.cut);
    CHECK(mail.headers.size() + mail.body.size() <= 256U * 1024U);
  }
  SECTION("never more than 1 MB") {
    const std::string bytes(3'000'000, '\n');
    const ScannedMail mail = scan_mail(bytes, {.bytes = bytes.size()});
    CHECK(mail.cut);
    CHECK(mail.work <= k_mail_bytes_max + 10);
  }
  SECTION("lines that might be delimiters") {
    std::string bytes;
    for (int i = 0; i < 8; ++i) {
      const std::string name(199, static_cast<char>('a' + i));
      bytes += "Content-Type: multipart/mixed; boundary=" + name + "\n\n--" + name + "\n";
    }
    while (bytes.size() < 200'000)
      bytes += "--\n";
    CHECK(scan(bytes).work <= 10 * bytes.size());
  }
}

TEST_CASE("fields are unfolded, with or without blanks before the colon", "[bounce][scan]") {
  HeaderFields fields("Subject : one\n two\r\n\tthree\nTo:\n a@b.example\n \nnot here: x\n");
  HeaderField field;
  std::string buffer;
  REQUIRE(fields.next(field));
  CHECK(field.name == "Subject");
  CHECK(unfold(field.value, buffer) == "one two three");
  REQUIRE(fields.next(field));
  CHECK(field.name == "To");
  CHECK(unfold(field.value, buffer) == "a@b.example");
  CHECK_FALSE(fields.next(field));
}

TEST_CASE("parameters of a field", "[bounce][scan]") {
  CHECK(parameter("multipart/mixed; charset=x; Boundary = \"a;b=c\" ; z=1", "boundary") == "a;b=c");
  CHECK(parameter("multipart/mixed; boundary=simple", "boundary") == "simple");
  CHECK(parameter("multipart/mixed; xboundary=no", "boundary").empty());
  CHECK(parameter("multipart/mixed; boundary=\"", "boundary").empty());
  CHECK(parameter("multipart/mixed; \"x\"; boundary=b", "boundary") == "b");
  CHECK(parameter("x", "boundary").empty());
}

TEST_CASE("transfer encodings, whole and broken", "[bounce][decode]") {
  std::string out;
  decode_base64("aGVs\r\nbG8=\n", out);
  CHECK(out == "hello");
  out.clear();
  decode_base64("a!G*V s=bG8=", out);
  CHECK(out == "hel");
  out.clear();
  decode_quoted_printable("a=3Db=\r\nc=\nd =20e=ZZ=", out);
  CHECK(out == "a=bcd  e=ZZ");
}

TEST_CASE("encoded words in any charset", "[bounce][decode]") {
  CHECK(words("=?utf-8?B?w6k=?= =?utf-8?Q?_x?= y") == "é x y");
  CHECK(words("=?ISO-8859-1?q?R=E9ponse?=") == "Réponse");
  CHECK(words("=?ISO-2022-JP?B?GyRCQSIbKEI=?=").size() == 8);
  CHECK(words("=?broken?Q?x") == "=?broken?Q?x");
  CHECK(words("=?a?X?b?=") == "=?a?X?b?=");
  std::string many;
  for (int i = 0; i < 50000; ++i)
    many += "=?a?q?a";
  CHECK(words(many).size() == many.size());
}

TEST_CASE("HTML becomes lines of text", "[bounce][decode]") {
  std::string out;
  decode_html("<style>p{a:b@c.example}</style><p>to &lt;a@b.example&gt;<br>550</p><a@c.example>", out);
  CHECK(out.find("c.example}") == std::string::npos);
  CHECK(out.find("<a@b.example>\n550") != std::string::npos);
  CHECK(out.find("<a@c.example>") != std::string::npos);
  out.clear();
  decode_html(std::string(100'000, '<'), out);
  CHECK(out.size() == 100'000);
  out.clear();
  decode_html("<style>never closed", out);
  CHECK(out.empty());
}

TEST_CASE("what is shown has no controls and no broken UTF-8", "[bounce][decode]") {
  CHECK(printable(" a\r\n b\tc ", 100) == "a b c");
  CHECK(printable("a\x01z\xFFy\xC3\xA9", 100) == "a?z?yé");
  CHECK(printable("abcdé", 5) == "abcd");
  CHECK(printable(std::string_view("a\0b", 3), 5) == "a b");
}

TEST_CASE("addresses in text", "[bounce][address]") {
  const auto found = [](std::string_view text) { return std::string(find_address(text).address); };
  CHECK(found("Name <a.b+c@example.net> said") == "a.b+c@example.net");
  CHECK(found("to 'a@example.net', sorry") == "a@example.net");
  CHECK(found("(a@example.net).") == "a@example.net");
  CHECK(found("<\"a b\"@example.net>:") == "\"a b\"@example.net");
  CHECK(found("dda:SMTP=a@example.net; on") == "a@example.net");
  CHECK(found("<@relay.example,@b.example:a@example.net>") == "a@example.net");
  CHECK(found("a@[192.0.2.1] x") == "a@[192.0.2.1]");
  CHECK(found("<a@localhost>") == "a@localhost");
  CHECK(found("a@localhost").empty());
  CHECK(found("@ @@ a@ @b <@> <a@> <@b>").empty());
  CHECK(found("宛先:a@example.net様") == "a@example.net");
  CHECK(find_address("a@b.example c@d.example", 11).address == "c@d.example");
  std::string ats(100'000, '@');
  CHECK(found(ats).empty());
}

TEST_CASE("addresses of report fields", "[bounce][address]") {
  CHECK(field_address("rfc822; a@example.net") == "a@example.net");
  CHECK(field_address("RFC822;<a@example.net> (comment)") == "a@example.net");
  CHECK(field_address("utf-8; леся@example.net") == "леся@example.net");
  CHECK(field_address("rfc822;\"..x..\"@docomo.example") == "\"..x..\"@docomo.example");
  CHECK(field_address("rfc822;|/usr/bin/filter a@example.net").empty());
  CHECK(field_address("x400; /S=a/@x.example").empty());
  CHECK(field_address("system;<>").empty());
  CHECK(field_address("RFC822; @host").empty());
  CHECK(field_address("").empty());
}

TEST_CASE("codes in words", "[bounce][words]") {
  CHECK(find_status("550-5.1.1 no") == "5.1.1");
  CHECK(find_status("(#5.7.1)") == "5.7.1");
  CHECK(find_status("host 5.1.1.9 said 4.2.2 full") == "4.2.2");
  CHECK(find_status("15.1.1 5.1 5..1 v5.1.1").empty());
  CHECK(find_reply_code("host x[192.0.2.550] said: 452 later") == 452);
  CHECK(find_reply_code("after 500 seconds") == 0);
  CHECK(find_reply_code("<<< 550-no") == 550);
  CHECK(find_reply_code("id 1550 x") == 0);
  CHECK(find_remote_host("host mx.example.net[192.0.2.1] said: 550") == "mx.example.net");
  using mailotp::core::RefusedAt;
  CHECK(find_refused_at("550 no (in reply to RCPT TO command)") == RefusedAt::rcpt);
  CHECK(find_refused_at("error from remote mail server after end of data: x") == RefusedAt::data);
  CHECK(find_refused_at("hereafter data") == RefusedAt::unknown);
  CHECK(find_refused_at("host a.example refused to talk to me: 554 no") == RefusedAt::session);
  CHECK(find_refused_at("Connected to 192.0.2.1 but sender was rejected.") == RefusedAt::mail);
  CHECK(find_refused_at("550 550 Unknown user (state 18).") == RefusedAt::data);
  CHECK(find_refused_at("from remote mail server after EHLO a.example: 550 no") == RefusedAt::session);
  const std::string_view transcript =
      ">>> RCPT To:<a@b.example>\n<<< 550 5.1.1 no\n>>> DATA\n<<< 550 5.2.1 filtered\n";
  CHECK(find_refused_at(transcript, "550 5.2.1 filtered") == RefusedAt::data);
  CHECK(find_refused_at(transcript, "550 5.1.1 no") == RefusedAt::rcpt);
  CHECK(find_refused_at(transcript, "452 full") == RefusedAt::unknown);
  CHECK(find_remote_host("the host is down").empty());
}
