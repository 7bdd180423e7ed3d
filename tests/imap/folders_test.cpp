#include "mail/imap/folders.h"

#include <catch2/catch.hpp>

#include "mail/imap/imap_client.h"

using namespace mailotp::mail;

TEST_CASE("names of folders in modified UTF-7") {
  // The examples of RFC 3501 section 5.1.3.
  CHECK(to_mailbox_name("~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e") ==
        "~peter/mail/&U,BTFw-/&ZeVnLIqe-");
  CHECK(to_mailbox_name("Processed") == "Processed");
  CHECK(to_mailbox_name("a&b") == "a&-b");
  CHECK(to_mailbox_name("\xc3\xbc") == "&APw-");
  CHECK(to_mailbox_name("\xf0\x9f\x98\x80!") == "&2D3eAA-!");
  CHECK(to_mailbox_name("") == "");
  CHECK(to_mailbox_name("a\xff\xc3") == "a&AP8Aww-");  // broken: byte by byte
  CHECK(to_mailbox_name("a\r\nb") == "a&AA0ACg-b");    // no line break gets out
}

TEST_CASE("sets of numbers and strings") {
  CHECK(number_set({}) == "");
  CHECK(number_set({7}) == "7");
  CHECK(number_set({1, 2, 3, 7, 9, 10}) == "1:3,7,9:10");
  CHECK(number_set({4294967294, 4294967295}) == "4294967294:4294967295");
  CHECK(quoted("a b") == "\"a b\"");
  CHECK(quoted("a\"b\\") == "\"a\\\"b\\\\\"");
}
