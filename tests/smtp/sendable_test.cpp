#include "mail/smtp/sendable.h"

#include <catch2/catch.hpp>

using namespace mailotp;

namespace {

const std::string k_header = "Date: d\r\nFrom: f\r\nTo: t\r\nMessage-ID: <1@x>\r\n";

core::Job job(std::string content) {
  core::Job out;
  out.return_path = "bounces+x@example.test";
  out.recipient = "u@example.test";
  out.content = core::Secret(std::move(content));
  return out;
}

bool sendable(std::string content) {
  return !mail::why_unsendable(job(std::move(content)));
}

}  // namespace

TEST_CASE("a mail with one of each field passes") {
  CHECK(sendable(k_header + "\r\nbody\r\n"));
  CHECK(sendable(k_header + "\r\n"));
  CHECK(sendable(k_header + "X-A: 1\r\nX-A: 2\r\nReceived: a\r\nReceived: b\r\n\r\n"));
  CHECK(sendable(k_header + "Subject: folded\r\n date: not a field\r\n\r\nDate: in the body\r\n"));
}

TEST_CASE("bytes that SMTP or libesmtp would change") {
  CHECK_FALSE(sendable(k_header + "\r\na\nb\r\n"));
  CHECK_FALSE(sendable(k_header + "\r\na\rb\r\n"));
  CHECK_FALSE(sendable(k_header + "\r\nlast\r"));
  CHECK_FALSE(sendable("\n" + k_header + "\r\n"));
  CHECK_FALSE(sendable(k_header + "\r\n" + std::string(1, '\0')));
  CHECK_FALSE(sendable(k_header));
  CHECK_FALSE(sendable(" folded\r\n" + k_header + "\r\n"));
}

TEST_CASE("fields that libesmtp adds or drops") {
  CHECK_FALSE(sendable("From: f\r\nMessage-ID: <1@x>\r\n\r\n"));
  for (const char* extra : {"date: e\r\n", "FROM: g\r\n", "To: g\r\n", "Message-Id: <2@x>\r\n",
                            "Return-Path: <a@b>\r\n", "Original-Recipient: x\r\n", "Resent-Reply-To: x\r\n"})
    CHECK_FALSE(sendable(k_header + extra + "\r\n"));
  for (const char* extra : {"Cc: a\r\nCC: b\r\n", "Reply-To: a\r\nReply-To: b\r\n"})
    CHECK_FALSE(sendable(k_header + extra + "\r\n"));
}

TEST_CASE("addresses that would end their command") {
  for (const char* bad : {"a@b\r\nDATA", "a\n@b", "a\x7f@b", "\xc3\xa4@b", ""}) {
    core::Job to = job(k_header + "\r\n");
    to.recipient = bad;
    CHECK(mail::why_unsendable(to));
  }
  core::Job from = job(k_header + "\r\n");
  from.return_path = "a@b\r\n";
  CHECK(mail::why_unsendable(from));
  from.return_path.clear();
  CHECK_FALSE(mail::why_unsendable(from));
  from.return_path = std::string(255, 'a');
  CHECK(mail::why_unsendable(from));
}

TEST_CASE("parameters that libesmtp can encode") {
  CHECK(mail::is_plain_parameter("a+b=c@example.test"));
  CHECK(mail::is_plain_parameter(std::string(80, '+')));
  CHECK_FALSE(mail::is_plain_parameter(std::string(81, 'a')));
  CHECK_FALSE(mail::is_plain_parameter(""));
  CHECK_FALSE(mail::is_plain_parameter("a b"));
  CHECK_FALSE(mail::is_plain_parameter("a\xc3"));
}
