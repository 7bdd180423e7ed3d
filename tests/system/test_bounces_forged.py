"""What may not become a verdict: forged reports, and mails to the return path that are no bounce of ours."""
import email.message
import os
import re
import shutil
import tempfile
import unittest

from bounces import DOMAIN, FAR, BouncesTest, dsn
from harness import BIN

FAULTY_HOST = os.environ.get("MAILOTP_FAULTY_HOST", os.path.join(BIN, os.pardir, "tests", "faulty_host.so"))
DAY = 86400


def lines(mail):
    return re.sub(rb"\r?\n", b"\r\n", mail)


def other_token(token):
    """Well-formed, and not ours: another character in its last third."""
    place = len(token) - 6
    return token[:place] + ("a" if token[place] != "a" else "b") + token[place + 1:]


class ForgedTest(BouncesTest):
    def setUp(self):
        self.daemon = self.up()
        test = self.id().rpartition(".")[2].replace("_", "-")[5:40]
        self.victim, self.other = (f"{name}-{test}@{FAR}" for name in ("victim", "other"))
        self.challenges = {address: self.create(self.daemon, address) for address in (self.victim, self.other)}
        for challenge in self.challenges.values():
            self.wait_relayed(self.daemon, challenge)

    def return_path(self, tag):
        return f"{self.mailbox}+{tag}@{DOMAIN}" if tag else f"{self.mailbox}@{DOMAIN}"

    def token_of(self, address):
        return self.sent_to(address).return_path.partition("+")[2].partition("@")[0]

    def assert_untouched(self, *addresses):
        for address in addresses or self.challenges:
            seen = self.expect(self.daemon.api("GET", f"/v1/challenges/{self.challenges[address]['id']}"), 200)
            self.assertEqual((seen["message"]["state"], seen["message"]["verdict"]), ("relayed", None), address)
            known = self.recipient(self.daemon, address)
            self.assertEqual((known["deliverable"], known["suppressed"], known["last_verdict"]),
                             ("unknown", None, None), address)

    def deliver(self, to, raw, sender=""):
        self.dovecot.deliver(to, lines(raw), sender)

    def assert_filed(self, kinds, processed=0, unrecognised=0):
        """The mails are in the folders, and each is in the ledger, newest first."""
        self.wait_filed(processed=processed, unrecognised=unrecognised, daemon=self.daemon)
        self.assertEqual([row["kind"] for row in self.ledger(self.daemon)], kinds)


class Forged(ForgedTest):
    """The report is as Postfix writes it; understood, counted, and without effect."""

    def assert_no_effect(self, to, **fields):
        self.deliver(to, dsn(to, self.victim, **fields))
        self.assert_filed(["bounce"], processed=1)
        self.assert_untouched()

    def test_no_token(self):
        self.assert_no_effect(self.return_path(""))

    def test_wrong_token(self):
        self.assert_no_effect(self.return_path(other_token(self.token_of(self.victim))))

    def test_wrong_tokens_everywhere(self):
        sent = self.sent_to(self.victim)
        original = sent.headers.replace(sent.token_header, other_token(sent.token_header))
        name, at, domain = sent.message_id.strip("<>").partition("@")
        original = original.replace(name + at, other_token(name) + at)
        self.assertNotIn(sent.message_id, original)
        self.assertTrue(domain)
        self.assert_no_effect(self.return_path(other_token(self.token_of(self.victim))),
                              envid=other_token(sent.envid), original=original)

    def test_another_recipients_token(self):
        """Who has a mail of ours has a token of his own address: he harms nobody but himself."""
        to = self.sent_to(self.other).return_path
        self.deliver(to, dsn(to, self.victim))
        self.wait_filed(processed=1, daemon=self.daemon)
        self.assertEqual(len(self.ledger(self.daemon)), 1)
        self.assert_untouched(self.victim)
        self.assertIsNone(self.recipient(self.daemon, self.other)["suppressed"], "that alone suppresses nothing")

    def test_tokens_that_contradict(self):
        """The return path names one of our mails and the returned headers name another."""
        sent = self.sent_to(self.victim)
        self.assert_no_effect(self.sent_to(self.other).return_path, envid=sent.envid, original=sent.headers)

    def test_the_return_path_alone_needs_a_second_word(self):
        """It is a verdict for the user who waits, and no suppression before another bounce agrees."""
        to = self.sent_to(self.victim).return_path
        self.deliver(to, dsn(to, self.victim))
        self.assertEqual(self.wait_bounced(self.daemon, self.challenges[self.victim])["class"], "user-unknown")
        self.assertIsNone(self.recipient(self.daemon, self.victim)["suppressed"])
        again = self.create(self.daemon, self.victim)
        self.wait_relayed(self.daemon, again)
        self.deliver(to, dsn(to, self.victim))
        self.wait_bounced(self.daemon, again)
        self.assertEqual(self.recipient(self.daemon, self.victim)["suppressed"]["class"], "user-unknown")
        self.assert_untouched(self.other)


class Old(ForgedTest):
    """Tokens that were ours two epochs ago."""

    def setUp(self):
        self.faults = tempfile.mkdtemp(prefix="mailotp-faults-")
        self.addCleanup(shutil.rmtree, self.faults)
        # No certificate of today is valid then.
        self.daemon = self.bounce_daemon(
            imap={"tls": "none", "port": self.dovecot.imap_port},
            relay={"name": "far", "host": "127.0.0.1", "port": self.far.port, "tls": "none", "auth": "none"})

    def start_with_clock(self, seconds):
        with open(os.path.join(self.faults, "clock"), "w", encoding="ascii") as file:
            file.write(str(seconds))
        options = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0"]))
        self.start(self.daemon, {"LD_PRELOAD": FAULTY_HOST, "MAILOTP_FAULTS": self.faults, "ASAN_OPTIONS": options})

    def sent_then(self, address, days):
        self.start_with_clock(-days * DAY)
        self.wait_relayed(self.daemon, self.create(self.daemon, address))
        self.assertEqual(self.daemon.stop(), 0, self.daemon.log_tail())
        self.start_with_clock(0)
        return self.sent_to(address)

    def test_an_old_return_path(self):
        address = f"victim-old@{FAR}"
        old = self.sent_then(address, 21)
        self.challenges = {address: self.create(self.daemon, address)}
        self.wait_relayed(self.daemon, self.challenges[address])
        self.deliver(old.return_path, dsn(old.return_path, address))
        self.assert_filed(["bounce"], processed=1)
        self.assert_untouched()

    def test_an_old_message(self):
        """Its tokens are right, and the mail left eleven days ago and more."""
        address = f"victim-message@{FAR}"
        old = self.sent_then(address, 12)
        self.deliver(old.return_path, dsn(old.return_path, address, envid=old.envid, original=old.headers))
        self.wait_filed(processed=1, daemon=self.daemon)
        self.assertEqual(len(self.ledger(self.daemon)), 1)
        self.assertIsNone(self.recipient(self.daemon, address)["suppressed"])


class NoBounce(ForgedTest):
    """With right tokens, to the right address; and yet nothing has bounced."""

    def setUp(self):
        super().setUp()
        self.sent = self.sent_to(self.victim)
        self.report = dsn(self.sent.return_path, self.victim, envid=self.sent.envid, original=self.sent.headers)

    def from_person(self, subject, **headers):
        mail = email.message.EmailMessage()
        mail["From"] = f"Victim <{self.victim}>"
        mail["To"] = self.sent.return_path
        mail["Subject"] = subject
        mail["Message-ID"] = f"<{abs(hash(subject))}@far.test>"
        for name, value in headers.items():
            mail[name.replace("_", "-")] = value
        mail.set_content("I am out of the office until Monday; the mailbox of my colleague is full.\n")
        return mail

    def attached(self):
        return email.message_from_bytes(self.report, _class=email.message.Message)

    def test_out_of_office(self):
        self.deliver(self.sent.return_path, self.from_person(
            "Automatic reply: Your code", Auto_Submitted="auto-replied", In_Reply_To=self.sent.message_id,
            References=self.sent.message_id).as_bytes())
        self.deliver(self.sent.return_path, self.from_person(
            "Abwesenheitsnotiz: Your code", X_Autoreply="yes", Precedence="auto_reply").as_bytes())
        self.assert_filed(["auto-reply", "auto-reply"], unrecognised=2)
        self.assert_untouched()

    def test_forward(self):
        mail = self.from_person("Fwd: Undelivered Mail Returned to Sender")
        mail.add_attachment(self.attached(), filename="bounce.eml")
        self.deliver(self.sent.return_path, mail.as_bytes(), sender=self.victim)
        self.assert_filed(["none"], unrecognised=1)
        self.assert_untouched()

    def test_digest(self):
        mail = self.from_person("far-list Digest, Vol 3, Issue 7", List_Id="<far-list.far.test>", Precedence="bulk")
        inner = [b"From: a@far.test\nSubject: one\nTo: list@far.test\n\nHello.\n", self.report]
        parts = b"".join(b"--digest\nContent-Type: message/rfc822\n\n" + part.replace(b"\r\n", b"\n") + b"\n"
                         for part in inner)
        mail.set_content("x")
        head = mail.as_bytes().partition(b"\n\n")[0].replace(b'Content-Type: text/plain; charset="utf-8"',
                                                             b'Content-Type: multipart/digest; boundary="digest"')
        self.deliver(self.sent.return_path, head + b"\n\n" + parts + b"--digest--\n", sender="far-list-bounces@far.test")
        self.assert_filed(["none"], unrecognised=1)
        self.assert_untouched()

    def test_a_bounce_of_a_bounce(self):
        """Our address took a notice, and somebody returns that to us."""
        raw = dsn(self.sent.return_path, self.sent.return_path, original=self.report.partition(b"\r\n\r\n")[0].decode())
        self.deliver(self.sent.return_path, raw)
        self.assert_filed(["none"], unrecognised=1)
        # The same, and the notice is not in it.
        self.deliver(self.sent.return_path, dsn(self.sent.return_path, self.sent.return_path))
        self.assert_filed(["none", "none"], unrecognised=2)
        self.assert_untouched()

    def test_abuse_report(self):
        """A complaint is no failure."""
        self.deliver(self.sent.return_path, f"""From: <abuse@far.test>
To: {self.sent.return_path}
Subject: FW: Your code
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="arf"

--arf
Content-Type: text/plain

This is an email abuse report.

--arf
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: SomeGenerator/1.0
Version: 1
Original-Mail-From: <{self.sent.return_path}>
Original-Rcpt-To: <{self.victim}>

--arf
Content-Type: message/rfc822

{self.sent.headers}

--arf--
""".encode())
        self.assert_filed(["feedback"], processed=1)
        self.assert_untouched()


if __name__ == "__main__":
    unittest.main(verbosity=2)
