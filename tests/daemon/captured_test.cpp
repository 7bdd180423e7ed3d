#include "daemon/api/captured.h"

#include <string>
#include <utility>

#include <catch2/catch.hpp>

#include "mail/compose/mime.h"

using namespace mailotp;

TEST_CASE("a captured mail is taken apart: parts, encodings, encoded words") {
  std::string raw =
      "To: a@b.example\r\n"
      "Subject: =?UTF-8?Q?Gr=C3=BC=C3=9Fe?=\r\n =?UTF-8?B?IGF1cyBXaWVu?=\r\n"
      "Content-Type: multipart/alternative;\r\n boundary=\"=_x\"\r\n"
      "\r\n"
      "--=_x\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: "
      "quoted-printable\r\n\r\n"
      "caf=C3=A9 =\r\nlong\r\n123456\r\n"
      "\r\n--=_x\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: "
      "base64\r\n\r\nPGI+eDwvYj4=\r\n"
      "\r\n--=_x--\r\n";
  const std::string before = raw;
  const daemon::CapturedMail mail = daemon::dissect(std::move(raw));
  CHECK(mail.to == "a@b.example");
  CHECK(mail.subject == "Grüße aus Wien");
  CHECK(mail.text == "café long\n123456\n");
  CHECK(mail.html == "<b>x</b>");
  CHECK(mail.raw == before);
}

TEST_CASE("a mail that is cut anywhere is shown as far as it goes") {
  const std::string whole =
      "Subject: =?UTF-8?Q?a?=\r\nContent-Type: multipart/alternative; "
      "boundary=\"b\"\r\n\r\n--b\r\n\r\ntext=3D\r\n--b--\r\n";
  for (std::size_t i = 0; i <= whole.size(); ++i)
    CHECK(daemon::dissect(whole.substr(0, i)).raw.size() == i);
}
