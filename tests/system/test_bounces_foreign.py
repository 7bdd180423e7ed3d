"""A person's mailbox with our bounces in it: what is not ours keeps its place, its flags and its bytes."""
import email.message
import email.utils
import random
import unittest

from bounces import BouncesTest, dsn

PERSON = "anna"
COUNT = 200
FLAGS = (r"\Seen", r"\Answered", r"\Flagged", r"\Draft", r"\Deleted", "$Forwarded", "Important")


def letter(number, dice):
    mail = email.message.EmailMessage()
    mail["From"] = f"Friend {number} <friend{number}@example.net>"
    mail["To"] = f"Anna <{PERSON}@example.test>"
    mail["Date"] = email.utils.formatdate(1_700_000_000 + number)
    mail["Message-ID"] = f"<letter.{number}@example.net>"
    mail["Subject"] = dice.choice((
        "Lunch?", "Re: minutes", "Mail delivery failed: what does it mean?", "=?utf-8?q?Gr=C3=BC=C3=9Fe?=",
        "Out of office tomorrow", "Undelivered Mail Returned to Sender (see below)"))
    mail.set_content("Dear Anna,\n\n" + "see you soon. " * dice.randrange(1, 200) + "\n")
    return mail


def newsletter(number, dice):
    mail = letter(number, dice)
    mail["List-Id"] = "News <news.example.net>"
    mail["List-Unsubscribe"] = "<https://example.net/u>"
    mail["Precedence"] = "bulk"
    return mail


class Foreign(BouncesTest):
    """`bounces@` is another address of Anna's mailbox: bounce_servers.py."""

    def fill(self, sent):
        """200 mails of hers; {uid: …} of them all."""
        dice = random.Random(7)
        # Her own bounce and holiday replies, and ours as people pass them on.
        others = [
            dsn(f"{PERSON}@example.test", "her-friend@example.net"),
            dsn(f"{PERSON}@example.test", "slow@example.net", status="4.4.1", action="delayed"),
            self.forward(sent, "Fwd: is this yours?"),
            self.forward(sent, "Re: Your code", inline=True),
            self.holiday(),
        ]
        with self.dovecot.imap(PERSON) as imap:
            for number in range(COUNT):
                if number < len(others):
                    raw = others[number]
                else:
                    made = newsletter(number, dice) if number % 5 == 0 else letter(number, dice)
                    raw = made.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
                flags = dice.sample(FLAGS, dice.randrange(0, 4))
                self.assertEqual(imap.append("INBOX", f"({' '.join(flags)})", None, raw)[0], "OK")
        return self.dovecot.snapshot(PERSON)

    def forward(self, sent, subject, inline=False):
        """Somebody sends Anna a bounce of ours, with all its tokens, attached or quoted."""
        report = dsn(sent.return_path, sent.recipient, envid=sent.envid, original=sent.headers)
        mail = email.message.EmailMessage()
        mail["From"] = "Bob <bob@example.net>"
        mail["To"] = f"{PERSON}@example.test"
        mail["Subject"] = subject
        mail["Message-ID"] = f"<{len(subject)}.forward@example.net>"
        if inline:
            mail.set_content("What is this?\n\n" + "".join("> " + line + "\n" for line in report.decode().splitlines()))
        else:
            mail.set_content("What is this?\n")
            mail.add_attachment(email.message_from_bytes(report, _class=email.message.Message), filename="bounce.eml")
        return mail.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")

    def holiday(self):
        return (f"From: Carl <carl@example.net>\r\nTo: {PERSON}@example.test\r\nSubject: Out of office: lunch\r\n"
                "Auto-Submitted: auto-replied\r\nMessage-ID: <holiday@example.net>\r\n\r\nI am away.\r\n").encode()

    def test_nothing_of_a_persons_mail_changes(self):
        self.dovecot.add_user(PERSON)
        daemon = self.bounce_daemon(mailbox=PERSON, bounce_address="bounces@example.test")
        # Something of ours for people to pass on.
        self.start(daemon)
        alive = self.create(daemon, "alive@far.test")
        self.wait_relayed(daemon, alive)
        before = self.fill(self.sent_to("alive@far.test"))
        self.assertEqual(len(before), COUNT)

        addresses = [f"rita{number}@example.test" for number in range(3)]
        for address in addresses:
            self.assertEqual(self.wait_bounced(daemon, self.create(daemon, address))["class"], "user-unknown")
        self.wait_filed(inbox=COUNT, processed=3, daemon=daemon)
        self.assert_each_once(daemon, addresses)
        self.assertEqual(self.dovecot.snapshot(PERSON), before)
        seen = self.wait_relayed(daemon, alive)["message"]
        self.assertEqual((seen["state"], seen["verdict"]), ("relayed", None), "what was passed on is no verdict")

        self.assert_reported(daemon)
        # All of it is looked at again by another agent.
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())
        self.start(daemon)
        self.wait_bounced(daemon, self.create(daemon, "rita9@example.test"))
        self.wait_filed(inbox=COUNT, processed=4, daemon=daemon)
        self.assertEqual(self.dovecot.snapshot(PERSON), before)
        self.assert_reported(daemon)

    def assert_reported(self, daemon):
        """More than 20 mails of others: operators are told."""
        ready = daemon.api("GET", "/readyz").json
        self.assertEqual(ready["bounces_foreign"], COUNT, ready)
        self.assertTrue(ready["ready"])
        self.assertIn(f"{COUNT} mails that are not ours", daemon.ctl("status").stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
