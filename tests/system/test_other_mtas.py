"""Bounces that OpenSMTPD and Exim make, read by our parser. What Postfix makes is in test_bounces.py."""
import json
import os
import shutil
import smtplib
import subprocess
import sys
import tempfile
import unittest

from harness import BIN, BOUND, wait_for

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "smtp"))
import other_mtas  # noqa: E402
from scripted_relay import Rule, ScriptedRelay, reply  # noqa: E402

RETURN_PATH = "bounces+rabcdefghijklmnopqrstuvwxyz234567@example.test"


class Mta(unittest.TestCase):
    """The far side takes nothing for `far.test`; the mail server hands its notices to `home`."""

    KIND = None

    @classmethod
    def setUpClass(cls):
        cls.far = ScriptedRelay([Rule("rcpt", reply("550 5.2.1 The account is disabled"), to="disabled-")])
        cls.home = ScriptedRelay()
        cls.addClassCleanup(cls.far.stop)
        cls.addClassCleanup(cls.home.stop)
        cls.far.start()
        cls.home.start()
        cls.mta = cls.KIND({"far.test": cls.far.port, "impatient.test": cls.far.port, "example.test": cls.home.port})
        cls.addClassCleanup(cls.mta.stop)
        cls.mta.start()

    def notice_for(self, recipient, words=b""):
        """What our parser says of the notice, with `words` in it, that comes of a mail to `recipient`."""
        mail = (f"From: Example <no-reply@example.test>\r\nTo: {recipient}\r\nSubject: Your code\r\n"
                f"Message-ID: <mabc.{recipient}>\r\nX-Mailotp-Message: mabc\r\n"
                "Date: Fri, 20 Nov 2026 10:00:00 +0000\r\n\r\nIt is secret.\r\n").encode()
        with smtplib.SMTP("127.0.0.1", self.mta.port, timeout=BOUND) as smtp:
            smtp.ehlo()
            self.assertTrue(smtp.has_extn("dsn"))
            smtp.sendmail(RETURN_PATH, [recipient], mail, ["RET=HDRS", "ENVID=mabc"], ["NOTIFY=FAILURE,DELAY"])

        def back():
            with self.home.lock:
                return [pair for pair in zip(self.home.mails, self.home.envelopes)
                        if recipient.encode() in pair[0] and words in pair[0]]
        notice, (_, to) = wait_for(back, lambda: f"a notice comes back; {self.mta.process.text()}")[0]
        self.assertIn(RETURN_PATH, to)
        return self.evaluate(notice)

    def evaluate(self, mail):
        folder = tempfile.mkdtemp(prefix="mailotp-eval-")
        self.addCleanup(shutil.rmtree, folder)
        with open(os.path.join(folder, "notice.eml"), "wb") as file:
            file.write(mail)
        done = subprocess.run([os.path.join(BIN, "bounce-eval"), folder], capture_output=True, text=True,
                              timeout=BOUND, check=True)
        (line,) = done.stdout.splitlines()
        return json.loads(line)

    def assert_says(self, seen, kind, recipient, permanent, bounce_class, statuses):
        self.assertEqual(seen["kind"], kind, seen)
        (only,) = seen["recipients"]
        self.assertEqual(only["address"], recipient, seen)
        self.assertEqual((only["permanent"], only["class"]), (permanent, bounce_class), seen)
        self.assertIn(only["status"], statuses, seen)

    # What each must say. The Status field of both is x.0.0 whatever came: the words tell more.

    def test_unknown_user(self):
        self.assert_says(self.notice_for("nouser-x@far.test"), "bounce", "nouser-x@far.test", True, "user-unknown",
                         ("5.1.1",))

    def test_full_mailbox(self):
        self.assert_says(self.notice_for("quota-x@far.test"), "bounce", "quota-x@far.test", True, "mailbox-full",
                         ("5.2.2",))

    def test_disabled_mailbox(self):
        self.assert_says(self.notice_for("disabled-x@far.test"), "bounce", "disabled-x@far.test", True,
                         "mailbox-disabled", ("5.2.1",))

    def test_spam(self):
        self.assert_says(self.notice_for("spam-x@far.test"), "bounce", "spam-x@far.test", True, "spam", ("5.7.1",))

    def test_delay(self):
        self.assert_says(self.notice_for("full-x@far.test"), "delay", "full-x@far.test", False, "mailbox-full",
                         ("4.2.2",))


class OpenSmtpd(Mta):
    KIND = other_mtas.OpenSmtpd


class Exim(Mta):
    KIND = other_mtas.Exim

    def test_retry_timeout(self):
        """It gives up after a second of 451s: final, though the last reply was not."""
        seen = self.notice_for("tempfail-x@impatient.test", b"retry timeout exceeded")
        self.assertEqual((seen["kind"], [one["address"] for one in seen["recipients"]]),
                         ("bounce", ["tempfail-x@impatient.test"]), seen)
        self.assertEqual(seen["recipients"][0]["class"], "expired", seen)


del Mta

if __name__ == "__main__":
    unittest.main(verbosity=2)
