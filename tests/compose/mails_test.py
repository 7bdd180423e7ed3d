"""Reads the composer's mails with Python's email package, as another implementation's eyes.

Usage: mails_test.py PATH-OF-compose_mails
"""
import email
import email.header
import email.policy
import json
import re
import subprocess
import sys
import unittest

PROGRAM = sys.argv.pop(1)

DEFAULT = {
    "from": "Example <no-reply@example.org>",
    "domain": "example.org",
    "to": "alice@example.net",
    "locale": "en",
    "life": "600",
    "code": "012345",
    "purpose": "login",
    "data": {},
    "binding": {},
}


def compose_all(requests):
    """The (verdict, bytes) of each request, from one run of the program."""
    lines = []
    for request in requests:
        fields = {**DEFAULT, **request}
        fields["data"] = json.dumps(fields["data"])
        fields["binding"] = json.dumps(fields["binding"], ensure_ascii=False)
        lines.append("\t".join(fields.values()))
    run = subprocess.run([PROGRAM], input="\n".join(lines).encode() + b"\n", stdout=subprocess.PIPE,
                         check=True, timeout=100)
    answers, rest = [], run.stdout
    while rest:
        head, rest = rest.split(b"\n", 1)
        verdict, size = head.split()
        answers.append((verdict.decode(), rest[:int(size)]))
        rest = rest[int(size):]
    assert len(answers) == len(requests)
    return answers


class Mails(unittest.TestCase):
    def parse(self, raw):
        """Checks what holds for every mail; returns (message, text, html)."""
        self.assertNotIn(b"\0", raw)
        self.assertEqual(raw.replace(b"\r\n", b"").count(b"\r"), 0, "a bare CR")
        self.assertEqual(raw.replace(b"\r\n", b"").count(b"\n"), 0, "a bare LF")
        self.assertTrue(raw.endswith(b"--\r\n"))
        self.assertTrue(raw.isascii())
        lines = raw.split(b"\r\n")
        for line in lines:
            limit = 998 if line.startswith((b"To: ", b" <", b"Message-ID: ")) else 78
            self.assertLessEqual(len(line), limit, line)
            self.assertFalse(line.startswith((b".", b"From ")), line)
        for line in lines[lines.index(b""):]:
            self.assertFalse(line.endswith((b" ", b"\t")), line)

        message = email.message_from_bytes(raw, policy=email.policy.default)
        names = [name.lower() for name in message.keys()]
        for name in ("date", "from", "to", "subject", "message-id", "mime-version", "auto-submitted"):
            self.assertEqual(names.count(name), 1, name)
        self.assertNotIn("return-path", names)
        self.assertNotIn("bcc", names)
        self.assertEqual(message["auto-submitted"], "auto-generated")
        self.assertEqual(message["x-auto-response-suppress"], "OOF, AutoReply, RN, NRN")
        self.assertEqual(message["date"].datetime.isoformat(), "2026-11-20T12:00:00+00:00")
        for name, value in message.items():
            self.assertEqual(value.defects, (), name)
        self.assertEqual(message.get_content_type(), "multipart/alternative")
        for part in message.walk():
            self.assertEqual(part.defects, [])
        self.assertEqual([part.get_content_type() for part in message.iter_parts()],
                         ["text/plain", "text/html"])
        text, html = (part.get_content().replace("\r\n", "\n") for part in message.iter_parts())
        return message, text, html

    def mail(self, **request):
        [(verdict, raw)] = compose_all([request])
        self.assertEqual(verdict, "ok", raw)
        return self.parse(raw)

    def test_english(self):
        message, text, html = self.mail(data={"name": "Alice"})
        self.assertEqual(message["subject"], "Your code for Example")
        self.assertEqual(message["to"], "alice@example.net")
        self.assertEqual(message["message-id"], "<magillid4dz7dvhyaaerukz4jvnp3h7ja4pqy5iuwjy@otp.example.org>")
        self.assertEqual(message["x-mailotp-message"], "magillid4dz7dvhyaaerukz4jvnp3h7ja4pqy5iuwjy")
        lines = text.split("\n")
        self.assertEqual(lines[0], "Hello Alice,")
        self.assertEqual(lines[2], "Your code to sign in at Example:")
        self.assertEqual(lines.count("012345"), 1)
        self.assertEqual(lines[-2:], ["@example.org #012345", ""])
        self.assertEqual(lines[-3], "")
        self.assertEqual(text.count("012345"), 2)
        self.assertEqual(html.count("012345"), 1)
        self.assertIn("valid for 10 minutes", text)
        self.assertIn("valid for 10 minutes", html)

    def test_german(self):
        message, text, html = self.mail(locale="de-AT", data={"name": "Jörg"}, purpose="address_validation")
        self.assertEqual(message["subject"], "Ihr Code für Example")
        self.assertIn("Guten Tag Jörg,\n\nIhr Code zur Bestätigung Ihrer Adresse bei Example:\n\n012345\n", text)
        self.assertIn('<html lang="de">', html)
        self.assertIn("für sich", html)

    def test_another_language_falls_back_to_the_default(self):
        message, _, html = self.mail(locale="fr-CH")
        self.assertEqual(message["subject"], "Your code for Example")
        self.assertIn('<html lang="en">', html)

    def test_no_domain_no_last_line(self):
        _, text, _ = self.mail(domain="")
        self.assertEqual(text.count("012345"), 1)
        self.assertNotIn("@", text)

    def test_binding_is_shown(self):
        _, text, html = self.mail(binding={"amount": "39.99 €", "payee": "Acme <& Sons>", "session": "unseen"})
        self.assertIn("\n012345\n\nAmount: 39.99 €\n\nPayee: Acme <& Sons>\n\nThe code", text)
        self.assertIn("Acme &lt;&amp; Sons&gt;", html)
        self.assertNotIn("unseen", text + html)

    def test_the_code_is_the_only_number_that_looks_like_one(self):
        for request in ({"locale": "en"}, {"locale": "de"}, {"life": "86400"}):
            message, text, html = self.mail(**request)
            visible = re.sub(r"<style>.*?</style>|<[^>]*>", "", html, flags=re.S)
            self.assertEqual(re.findall(r"[0-9]{4,}", message["subject"]), [])
            self.assertEqual(re.findall(r"[0-9]{4,}", text), ["012345", "012345"])
            self.assertEqual(re.findall(r"[0-9]{4,}", visible), ["012345"])

    def test_html_needs_nothing_from_elsewhere(self):
        for locale in ("en", "de"):
            _, _, html = self.mail(locale=locale)
            self.assertNotRegex(html, r"(?i)<(img|script|link|iframe|object|form|video|svg)\b")
            self.assertNotRegex(html, r"(?i)(\bsrc|\bhref|background)\s*=|url\(|@import|://")
            self.assertIn('<meta name="color-scheme" content="light dark">', html)
            self.assertIn("prefers-color-scheme: dark", html)
            self.assertIn('name="viewport"', html)

    def test_senders_and_subjects(self):
        names = ["Shop", "Shop, Inc.", 'The "Best" Shop', "Back\\slash", "Zoë & Söhne, GmbH", "店舗", "🎉 Party 🎉",
                 "=?UTF-8?Q?fake?=", "a@b.example", "<script>alert(1)</script>", "x" * 120, "ä" * 120, "店" * 90,
                 "🎉" * 40, "long words " * 12 + "end", "tail.", ".dot at the start", "From the start", "(comment)",
                 "{{code}}", "semi;colon:s"]
        quoted = ['"' + name.replace("\\", "\\\\").replace('"', '\\"') + '" <no-reply@example.org>' for name in names]
        for name, (verdict, raw) in zip(names, compose_all([{"from": sender} for sender in quoted])):
            with self.subTest(name=name):
                self.assertEqual(verdict, "ok", raw)
                message, text, html = self.parse(raw)
                self.assertEqual(message["subject"], "Your code for " + name)
                [sender] = message["from"].addresses
                self.assertEqual(sender.addr_spec, "no-reply@example.org")
                if raw.split(b"\r\nTo:")[0].count(b"=?UTF-8?") < 2:
                    self.assertEqual(sender.display_name, name)
                else:  # the new policy of Python 3.11 puts a blank between two words of a name; the old one is right
                    written = email.message_from_bytes(raw, policy=email.policy.compat32)["from"]
                    self.assertEqual(str(email.header.make_header(email.header.decode_header(written))),
                                     name + " <no-reply@example.org>")
                self.assertIn("at " + name + ":\n", text)
                self.assertNotIn("<script", html)

    def test_names_of_users(self):
        names = ["Zoë", "Ω" * 64, "🎉" * 64, "o'Neil & <b>Sons</b>", "ends in blanks   ", ".", "=41", "=", "x" * 64,
                 "你好世界", "{{code}}", "שלום"]
        for name, (verdict, raw) in zip(names, compose_all([{"data": {"name": name}} for name in names])):
            with self.subTest(name=name):
                self.assertEqual(verdict, "ok", raw)
                _, text, html = self.parse(raw)
                self.assertTrue(text.startswith("Hello " + name + ",\n"), text)
                self.assertNotIn("<b>Sons", html)

    def test_refused_names_of_users(self):
        names = ["a\0b", "a\nb", "a\r\nBcc: eve@example.org", "http://spam.example", "x" * 65, "\u202eevil"]
        for name, (verdict, raw) in zip(names, compose_all([{"data": {"name": name}} for name in names])):
            with self.subTest(name=name):
                self.assertEqual(verdict, "refused")
                self.assertTrue(raw.startswith(b"data.name "), raw)

    def test_recipients(self):
        recipients = ["a@b.example", '"two words"@example.org', "x" * 64 + "@" + ".".join(["y" * 60] * 3) + ".org",
                      "bob@[192.0.2.1]", "o'neil+tag@example.org", "user@bücher.example"]
        written = recipients[:-1] + ["user@xn--bcher-kva.example"]
        for address, (verdict, raw) in zip(written, compose_all([{"to": to} for to in recipients])):
            with self.subTest(address=address):
                self.assertEqual(verdict, "ok", raw)
                message, _, _ = self.parse(raw)
                self.assertEqual(message["to"].addresses[0].addr_spec, address)

    def test_every_kind_of_code(self):
        for code in ("0000", "000000", "123456789012", "7K3M9QXA"):
            _, text, html = self.mail(code=code)
            self.assertEqual(text.split("\n").count(code), 1)
            self.assertIn(">" + code + "<", html)


if __name__ == "__main__":
    unittest.main()
