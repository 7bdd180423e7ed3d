"""Mails that were made to kill their reader, and the bounce behind them."""
import os
import re
import unittest

from bounces import DOMAIN, FAR, BouncesTest, dsn
from harness import BIN, wait_for

SANITIZED = os.path.basename(os.path.dirname(BIN)) in ("asan", "tsan")
MIB = 1 << 20
REPORT = b"MIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary="
STATUS = b"--b\nContent-Type: message/delivery-status\n"
TEXT = b"--b\nContent-Type: text/plain\n"


def report(parts):
    return REPORT + b"b\n\n" + parts


def nested(depth, boundary="n%d"):
    """Multiparts in multiparts, each with a boundary of its own, or all with the same."""
    out = []
    for level in range(depth):
        name = (boundary % level if "%" in boundary else boundary).encode()
        out.append(b'Content-Type: multipart/mixed; boundary="' + name + b'"\n\n--' + name + b"\n")
    return b"MIME-Version: 1.0\n" + b"".join(out) + b"Content-Type: text/plain\n\nthe end\n"


def status_part(fields):
    return STATUS + b"\nReporting-MTA: dns; x\n\n" + fields + b"\n--b--\n"


def hostile():
    """{name: the mail from its MIME header on}."""
    noise = bytes((7 * i * i + 3 * i) % 256 for i in range(MIB))
    return {
        "boundary of one quote": REPORT + b'"\\""\n\n--"\n\nx\n--"--\n',
        "boundary of a lone quote": REPORT + b'"\n\n--\n\nx\n----\n',
        "empty boundary": REPORT + b'""\n\n--\n\nx\n----\n',
        "boundary of the parent": nested(50, "same"),
        "boundary of the parent, unclosed": report(b"--b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n" * 2000),
        "depth of 10,000": nested(10_000),
        "100,000 parts": report((TEXT + b"\nx\n") * 100_000 + b"--b--\n"),
        "header line of 10 MB": b"X-Long: " + b"x" * (10 * MIB) + b"\n\nbody\n",
        "header of 10 MB": b"X-Many: some words\n" * (10 * MIB // 19) + b"\nbody\n",
        "header that never ends": b"Received: by a\n folded\n" * 50_000,
        "folded without end": b"Subject: x\n" + b" more\n" * 200_000 + b"\nbody\n",
        "zero bytes": report(status_part(b"Final-Recipient: rfc822; a\0@x\0\nAction: fai\0led\nStatus: 5.1.\0001\n"))
                      + b"\0" * 4096,
        "noise": report(STATUS + b"\n" + noise + b"\n--b--\n"),
        "noise in the header": b"Content-Type: " + noise.replace(b"\n", b"")[:60_000] + b"\n\n" + noise,
        "broken base64": report(STATUS + b"Content-Transfer-Encoding: base64\n\n" + b"====!!!!" * 10_000 + b"\n--b--\n"),
        "broken quoted-printable": report(TEXT + b"Content-Transfer-Encoding: quoted-printable\n\n"
                                          + b"=\n=Z=3=" * 50_000 + b"\n--b--\n"),
        "broken words": b"Subject: " + b"=?utf-8?q?=?= =?x?b?" * 5000 + b"\nFrom: " + b"<<(((\"\\" * 5000 + b"\n\nx\n",
        "unknown encodings": report(b'--b\nContent-Type: text/plain; charset="\xff"\n'
                                    b"Content-Transfer-Encoding: x-uuencode\n\nx\n--b--\n"),
        "200,000 recipients": report(status_part(b"".join(
            b"Final-Recipient: rfc822; u%d@far.test\nAction: failed\nStatus: 5.1.1\n\n" % i for i in range(200_000)))),
        "diagnostic of 1 MB": report(status_part(b"Final-Recipient: rfc822; a@x\nAction: failed\nStatus: 5.1.1\n"
                                                 b"Diagnostic-Code: smtp; " + b"\xe9\x1b[2J" * (MIB // 5) + b"\n")),
        "a line of 5 MB": b"\n" + b"y" * (5 * MIB),
        "100,000 addresses": b"Cc: " + b"a@b, " * 100_000 + b"\n\nx\n",
        "comments in comments": b"Content-Type: " + b"(" * 100_000 + b"text/plain\n\nx\n",
        "only carriage returns": b"Subject: x\rContent-Type: multipart/report\r\r--b\rbody\r" * 5000,
        "mails in mails": report(b"--b\nContent-Type: message/rfc822\n\n" * 5000 + b"x\n"),
    }


class Hostile(BouncesTest):
    def memory(self, pid):
        """The most that the process ever held, in MiB."""
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            return int(re.search(r"VmHWM:\s*(\d+) kB", file.read()).group(1)) / 1024

    def test_the_next_mail_is_read(self):
        daemon = self.up()
        challenge = self.create(daemon, f"tom@{FAR}")
        self.wait_relayed(daemon, challenge)
        return_path = self.sent_to(f"tom@{FAR}").return_path
        agent = self.imap_agent(daemon)
        first = self.create(daemon, "ursula@example.test")
        self.assertEqual(self.wait_bounced(daemon, first)["class"], "user-unknown")
        self.wait_filed(processed=1, daemon=daemon)
        before = self.memory(agent)
        mails = hostile()
        for number, (name, content) in enumerate(mails.items()):
            head = f"Return-Path: <>\nDelivered-To: {return_path}\nTo: {return_path}\nFrom: MAILER-DAEMON@x.example\n"
            self.dovecot.drop_in(self.mailbox, head.encode() + content, f"{number}.hostile")
            wait_for(lambda done=number + 2: sum(self.counts().values()) - self.counts()["INBOX"] == done,
                     lambda name=name: f"{name}: it is put away: {self.counts()}; {daemon.log_tail()}")
            self.assertEqual(self.imap_agent(daemon), agent, f"{name}: the agent has died; {daemon.log_tail()}")
        second = self.create(daemon, "vera@example.test")
        self.assertEqual(self.wait_bounced(daemon, second)["class"], "user-unknown")
        self.assertEqual(self.imap_agent(daemon), agent)
        if not SANITIZED:
            self.assertLess(self.memory(agent) - before, 16, "it keeps one mail of 256 KiB at a time")
        self.assertEqual(len(self.ledger(daemon)), len(mails) + 2)
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())

    def test_all_at_once(self):
        """A mailbox full of them, at the start, with the real one last."""
        daemon = self.up()
        challenge = self.create(daemon, f"walter@{FAR}")
        self.wait_relayed(daemon, challenge)
        sent = self.sent_to(f"walter@{FAR}")
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())
        mails = hostile()
        head = f"To: {self.mailbox}@{DOMAIN}\nFrom: MAILER-DAEMON@x.example\n".encode()
        for number, content in enumerate(mails.values()):
            self.dovecot.drop_in(self.mailbox, head + content, f"{number:03}.hostile")
        self.dovecot.deliver(
            sent.return_path, dsn(sent.return_path, sent.recipient, envid=sent.envid, original=sent.headers))
        self.start(daemon)
        agent = self.imap_agent(daemon)
        self.assertEqual(self.wait_bounced(daemon, challenge)["class"], "user-unknown")
        wait_for(lambda: self.counts()["INBOX"] == 0, lambda: f"all are put away: {self.counts()}; {daemon.log_tail()}")
        self.assertEqual(self.imap_agent(daemon), agent)
        self.assertEqual(len(self.ledger(daemon)), len(mails) + 1)

if __name__ == "__main__":
    unittest.main(verbosity=2)
