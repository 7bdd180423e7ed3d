// What a diagnosis reads and how it is told; the checks themselves are driven by tests/system/test_doctor.py.
#include <catch2/catch.hpp>

#include "daemon/diagnosis/finding.h"
#include "daemon/diagnosis/service_unit.h"
#include "daemon/diagnosis/site.h"

namespace mailotp::daemon {

TEST_CASE("credentials that a unit hands over") {
  const std::string_view unit =
      "[Service]\n"
      "# LoadCredential=imap-password:/etc/mailotpd/imap.password\n"
      "#LoadCredential=imap-password:/etc/mailotpd/imap.password\n"
      "LoadCredential=otp-key:/etc/mailotpd/otp.key\n"
      " SetCredentialEncrypted = relay-one-password:abc\r\n"
      "LoadCredentialEncrypted=relay-two-password";
  CHECK(hands_over(unit, "otp-key"));
  CHECK(hands_over(unit, "relay-one-password"));
  CHECK(hands_over(unit, "relay-two-password"));
  CHECK_FALSE(hands_over(unit, "imap-password"));
  CHECK_FALSE(hands_over(unit, "otp"));
  CHECK_FALSE(hands_over("Description=otp-key:x\n", "otp-key"));
  CHECK_FALSE(hands_over("", "otp-key"));
}

TEST_CASE("a finding is one line of ASCII, whatever a file's name has in it") {
  const Finding finding{"key", "/a\n\xff\"", Outcome::unseen, "\xc3\xb6", ""};
  CHECK(json_line(finding) ==
        R"({"check":"key","subject":"/a\n\ufffd\"","result":"unseen","saw":"\u00f6","remedy":""})");
}

TEST_CASE("sizes and modes as people read them") {
  CHECK(shown_size(0) == "0 B");
  CHECK(shown_size(1023) == "1023 B");
  CHECK(shown_size(1536) == "1.5 KiB");
  CHECK(shown_size(64LL << 20) == "64 MiB");
  CHECK(shown_size(1LL << 50) == "1024 TiB");
  CHECK(shown_mode(0100640) == "0640");
}

}  // namespace mailotp::daemon
