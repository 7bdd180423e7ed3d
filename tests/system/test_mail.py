"""The mails, read by an independent parser: no defect, both languages, the code once and alone on its line."""
import email
import email.header
import email.utils
import re
import unittest

from harness import SharedDaemonTest, code_in, parse_mail, wait_for


class Mail(SharedDaemonTest):
    TABLES = {"purpose.long": {"alphabet": "alphanumeric", "length": 10}}

    def raw_mail(self, **fields):
        """The bytes of the mail for a new challenge, as they would leave."""
        recipient = self.address()
        self.create(recipient, **fields)
        needle = f"{recipient}".encode()
        found = wait_for(lambda: [raw for raw in self.shared.mail_bytes() if needle in raw],
                         f"a mail to {recipient} in the maildir")
        self.assertEqual(len(found), 1)
        return found[0]

    def assert_clean(self, raw):
        """What any reader and any relay takes; the parsed mail."""
        mail = parse_mail(raw)
        for part in mail.walk():
            self.assertEqual(part.defects, [], f"defects in {part.get_content_type()}")
            for name, value in part.items():
                self.assertEqual(value.defects, (), f"defects in {name}: {value!r}")
        # The capture relay writes what a relay would get, below headers of its own.
        self.assertNotRegex(raw, rb"(?<!\r)\n", "a bare LF")
        self.assertNotRegex(raw, rb"\r(?!\n)", "a bare CR")
        self.assertNotIn(b"\0", raw)
        self.assertTrue(raw.isascii(), "8-bit bytes")
        self.assertLessEqual(max(map(len, raw.split(b"\r\n"))), 78)
        for name in ("Date", "From", "To", "Message-ID", "Subject", "MIME-Version", "Content-Type"):
            self.assertEqual(len(mail.get_all(name, [])), 1, f"{name} must be there once")
        self.assertEqual(mail.get_content_type(), "multipart/alternative")
        self.assertEqual([part.get_content_type() for part in mail.iter_parts()], ["text/plain", "text/html"])
        for part in mail.iter_parts():
            self.assertEqual(part.get_content_charset(), "utf-8")
        return mail

    def assert_code_once(self, mail):
        code = code_in(mail)
        text = mail.get_body(("plain",)).get_content()
        html = mail.get_body(("html",)).get_content()
        self.assertEqual(text.count(code), 1, text)
        self.assertEqual(html.count(code), 1, html)
        self.assertNotIn(code, str(mail["Subject"]))
        self.assertEqual(re.findall(r"(?<![\d#;&])\d{4,12}(?!\d)", re.sub(r"<style.*?</style>", "", html, flags=re.S)
                                    .replace(code, "")), [], "a second number that looks like a code in the HTML part")
        return code

    def test_english(self):
        mail = self.assert_clean(self.raw_mail(locale="en", data={"name": "Alice"}))
        self.assert_code_once(mail)
        text = mail.get_body(("plain",)).get_content()
        self.assertIn("Alice", text)
        self.assertIn("Alice", mail.get_body(("html",)).get_content())
        self.assertRegex(text, r"(?i)\bcode\b.*|minutes")
        self.assertIn("10 minutes", text)

    def test_german(self):
        mail = self.assert_clean(self.raw_mail(locale="de", data={"name": "Jürgen Groß"}))
        self.assert_code_once(mail)
        text = mail.get_body(("plain",)).get_content()
        self.assertIn("Jürgen Groß", text)
        self.assertIn("Minuten", text)

    def test_locale_falls_back(self):
        for locale, word in (("de-AT", "Minuten"), ("fr", "minutes"), ("en-GB", "minutes"), ("de-Latn-DE", "Minuten")):
            with self.subTest(locale):
                recipient = f"{locale.lower()}.{self.address()}"
                self.create(recipient, locale=locale)
                self.shared.code_for(recipient)
                text = self.shared.mails_to(recipient)[0].get_body(("plain",)).get_content()
                self.assertIn(word, text)

    def test_no_name_leaves_no_hole(self):
        mail = self.assert_clean(self.raw_mail())
        self.assert_code_once(mail)
        text = mail.get_body(("plain",)).get_content()
        for trace in (" ,", "{{", "}}", "None", "null"):
            self.assertNotIn(trace, text)

    def test_letters(self):
        mail = self.assert_clean(self.raw_mail(purpose="long"))
        self.assertRegex(self.assert_code_once(mail), r"^[2-9A-HJ-KM-NP-Z]{10}$")

    def test_html_is_escaped(self):
        mail = self.assert_clean(self.raw_mail(data={"name": "<b>&\"Bobby'</b>"}))
        self.assertNotIn("<b>", mail.get_body(("html",)).get_content())
        self.assertIn("<b>&\"Bobby'</b>", mail.get_body(("plain",)).get_content())

    def test_html_needs_nothing_from_outside(self):
        html = self.assert_clean(self.raw_mail()).get_body(("html",)).get_content()
        self.assertNotRegex(html, r"(?i)<img|<script|<link|<iframe|url\(|https?://(?!www\.w3\.org)", html)
        self.assertRegex(html, r"(?i)color-scheme", "it must be readable in dark mode")
        self.assertRegex(html, r"(?i)<html[^>]* lang=")

    def test_headers(self):
        raw = self.raw_mail()
        mail = self.assert_clean(raw)
        self.assertEqual(mail["Auto-Submitted"], "auto-generated")
        suppressed = {word.strip() for word in mail["X-Auto-Response-Suppress"].split(",")}
        self.assertEqual(suppressed, {"OOF", "AutoReply", "RN", "NRN"})
        self.assertEqual(mail["From"].addresses[0].addr_spec, "no-reply@example.org")
        self.assertEqual(mail["From"].addresses[0].display_name, "Example")
        self.assertEqual([a.addr_spec for a in mail["To"].addresses], [self.address()])
        self.assertRegex(mail["Message-ID"], r"^<[^<>@\s]+@otp\.example\.org>$")
        self.assertIsNotNone(email.utils.parsedate_to_datetime(str(mail["Date"])))
        self.assertNotIn("Bcc", mail)

    def test_resend_has_the_same_code_in_another_message(self):
        recipient = self.address()
        challenge = self.create(recipient, purpose="quick", locale="de", data={"name": "Jürgen"})
        code = self.code_for(recipient)
        self.expect(self.post(f"/v1/challenges/{challenge['id']}/send"), 202)
        self.assertEqual(self.code_for(recipient, 2), code)
        mails = self.shared.mails_to(recipient)
        self.assertEqual(len({mail["Message-ID"] for mail in mails}), 2)
        for mail in mails:
            text = mail.get_body(("plain",)).get_content()
            self.assertIn("Jürgen", text)
            self.assertIn("Minuten", text)


class Names(SharedDaemonTest):
    TABLES = {"mail": {"from": "Jürgen & Söhne, Größenwahn und Partner mit langem Namen GmbH <no-reply@example.org>"}}

    def test_sender_outside_ascii(self):
        self.create(self.address())
        self.code_for(self.address())
        raw = next(raw for raw in self.shared.mail_bytes() if self.address().encode() in raw)
        self.assertTrue(raw.isascii())
        self.assertEqual(parse_mail(raw)["From"].defects, ())
        # The modern policy puts a space between two encoded words of a phrase (RFC 2047 section 6.2 says none);
        # the older decoder is right.
        sender = email.message_from_bytes(raw)["From"]
        self.assertEqual(str(email.header.make_header(email.header.decode_header(sender))),
                         "Jürgen & Söhne, Größenwahn und Partner mit langem Namen GmbH <no-reply@example.org>")


if __name__ == "__main__":
    unittest.main(verbosity=2)
