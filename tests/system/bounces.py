"""What the tests of bounces share: daemons that send through a real Postfix and read their bounces from a real Dovecot,
and mails as others make them.
"""
import itertools
import os
import re
import sys

from harness import SystemTest, children, code_in, parse_mail, wait_for

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "smtp"))
import bounce_servers  # noqa: E402
import servers  # noqa: E402
from bounce_servers import DOMAIN, FAR, NOWHERE  # noqa: E402,F401  for the tests

FOLDERS = ("INBOX", "Processed", "Unrecognised")
_numbers = itertools.count(1)
_mailboxes = [f"bounces{number}" for number in range(1, 41)]


class Sent:
    """What leads back to a mail of ours, as a relay and the recipient can see it."""

    def __init__(self, raw, envelope):
        mail_from, rcpt_to = envelope
        self.raw = raw
        self.return_path = re.search(r"FROM:<([^>]*)>", mail_from, re.IGNORECASE).group(1)
        self.recipient = re.search(r"TO:<([^>]*)>", rcpt_to, re.IGNORECASE).group(1)
        found = re.search(r"ENVID=(\S+)", mail_from)
        self.envid = found.group(1) if found else ""
        self.message_id = self.header("Message-ID")
        self.token_header = self.header("X-Mailotp-Message")

    def header(self, name):
        found = re.search(rb"(?im)^" + name.encode() + rb":[ \t]*(\S+)", self.raw.partition(b"\r\n\r\n")[0])
        return found.group(1).decode() if found else ""

    @property
    def headers(self):
        """As a report returns them."""
        return self.raw.partition(b"\r\n\r\n")[0].decode("latin-1") + "\r\n"


def dsn(to, recipient, status="5.1.1", diagnostic="550 5.1.1 User doesn't exist", action="failed", envid="",
        original="", extra_headers=""):
    """A report as Postfix writes it, as bytes. `original`: the headers of the mail that is returned."""
    text = f"""Return-Path: <>
Date: Fri, 20 Nov 2026 10:00:00 +0000 (UTC)
From: Mail Delivery System <MAILER-DAEMON@mx.example.net>
Subject: Undelivered Mail Returned to Sender
To: {to}
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="A1B2C3.1795204047/mx.example.net"
Message-Id: <{next(_numbers)}.A1B2C3@mx.example.net>
{extra_headers}
This is a MIME-encapsulated message.

--A1B2C3.1795204047/mx.example.net
Content-Description: Notification
Content-Type: text/plain; charset=utf-8

This is the mail system at host mx.example.net.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

                   The mail system

<{recipient}>: host mx.example.net[192.0.2.1] said: {diagnostic} (in reply to
    RCPT TO command)

--A1B2C3.1795204047/mx.example.net
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net
{f"Original-Envelope-Id: {envid}" if envid else "X-Postfix-Queue-ID: A1B2C3"}
Arrival-Date: Fri, 20 Nov 2026 10:00:00 +0000 (UTC)

Final-Recipient: rfc822; {recipient}
Original-Recipient: rfc822;{recipient}
Action: {action}
Status: {status}
Remote-MTA: dns; mx.example.net
Diagnostic-Code: smtp; {diagnostic}

--A1B2C3.1795204047/mx.example.net
Content-Description: Undelivered Message Headers
Content-Type: text/rfc822-headers

{original or f"Subject: Your code{chr(10)}To: {recipient}{chr(10)}"}
--A1B2C3.1795204047/mx.example.net--
"""
    return re.sub(r"\r?\n", "\r\n", text).encode("latin-1")


class BouncesTest(SystemTest):
    """Servers for the class, a bounce mailbox and a daemon for each test."""

    POSTFIX = {}

    @classmethod
    def setUpClass(cls):
        cls.servers = bounce_servers.BounceSystem(_mailboxes, **cls.POSTFIX)
        cls.mailboxes = iter(_mailboxes)
        cls.addClassCleanup(cls.servers.stop)
        cls.servers.__enter__()
        cls.dovecot = cls.servers.dovecot
        cls.far = cls.servers.far

    # -- the daemon

    def bounce_daemon(self, mailbox=None, bounce_address=None, imap=None, password=servers.PASSWORD, **tables):
        """Not started yet. `imap`: keys over those of [bounces]; None as a value leaves the table out."""
        mailbox = mailbox or next(self.mailboxes)
        if mailbox not in self.dovecot.users:
            self.dovecot.add_user(mailbox)
        self.mailbox = mailbox
        self.relay_password = self.secret(f"{mailbox}.relay", servers.PASSWORD)
        self.imap_password = self.secret(f"{mailbox}.imap", password)
        self.bounces_table = {
            "host": "127.0.0.1", "port": self.dovecot.imaps_port, "tls": "implicit",
            "server_name": bounce_servers.IMAP_NAME, "ca_file": self.servers.authority.file,
            "username": mailbox, "password_file": self.imap_password, **(imap or {})}
        tables.setdefault("relay", {
            "name": "postfix", "host": "127.0.0.1", "port": self.servers.postfix.submission_port, "tls": "starttls",
            "server_name": servers.SERVER_NAME, "ca_file": self.servers.authority.file, "username": "otp",
            "password_file": self.relay_password})
        tables["mail"] = {"bounce_address": bounce_address or f"{mailbox}@{DOMAIN}", **tables.get("mail", {})}
        tables.setdefault("bounces", self.bounces_table)
        self.tables = {"daemon": {"mode": "production"}, **tables}
        return self.new_daemon(**self.tables)

    def secret(self, name, text):
        return servers.write(os.path.join(self.servers.folder, name + ".password"), text + "\n", 0o600)

    def start(self, daemon, environment=None):
        daemon.launch(environment)
        daemon.wait_ready()
        self.wait_mailbox(daemon, "up")
        return daemon

    def up(self, **options):
        return self.start(self.bounce_daemon(**options))

    def mailbox_state(self, daemon):
        return daemon.api("GET", "/readyz").json["bounces"]

    def wait_mailbox(self, daemon, state):
        wait_for(lambda: self.mailbox_state(daemon) == state,
                 lambda: f"the bounce mailbox is {state}: {daemon.api('GET', '/readyz').body}; {daemon.log_tail()}")

    def imap_agent(self, daemon):
        """The pid of the mailbox's agent, once there is one."""
        def one():
            daemon.agents |= set(daemon.agent_pids())
            return next((pid for pid, name in children(daemon.pid).items() if name == "mailotp-imap"), None)
        return wait_for(one, lambda: f"mailotp-imap runs; {daemon.log_tail()}")

    # -- what is asked of it

    def create(self, daemon, recipient, status=201, code=None, **fields):
        return self.expect(daemon.api("POST", "/v1/challenges", {"recipient": recipient, **fields}), status, code)

    def check(self, daemon, challenge, code):
        return self.expect(daemon.api("POST", f"/v1/challenges/{challenge['id']}/check", {"code": code}), 200)["result"]

    def wait_for_message(self, daemon, challenge, condition, what):
        """By long-polls as an app's: the first answer whose `message` fulfils the condition."""
        revision = challenge["revision"]
        seen = challenge
        for _ in range(12):
            if condition(seen["message"]):
                return seen
            seen = daemon.api("GET", f"/v1/challenges/{challenge['id']}?wait=10&revision={revision}").json
            revision = seen["revision"]
        self.fail(f"{what}: the message is {seen['message']}; {daemon.log_tail()}\n"
                  f"{self.servers.postfix.log_text()[-2000:]}")

    def wait_bounced(self, daemon, challenge):
        """The verdict that came with the bounce."""
        seen = self.wait_for_message(daemon, challenge, lambda message: message["state"] == "bounced", "bounced")
        return seen["message"]["verdict"]

    def wait_relayed(self, daemon, challenge):
        return self.wait_for_message(daemon, challenge, lambda message: message["state"] == "relayed", "relayed")

    def recipient(self, daemon, address):
        return self.expect(daemon.api("GET", f"/v1/recipients/{address}"), 200)

    def ledger(self, daemon):
        """Every row, newest first."""
        rows, cursor = [], ""
        while True:
            page = self.expect(daemon.admin("GET", "/v1/bounces?limit=500" + cursor), 200)
            rows += page["items"]
            if not page["next_cursor"]:
                return rows
            cursor = f"&cursor={page['next_cursor']}"

    def wait_ledger(self, daemon, count):
        return wait_for(lambda: len(rows := self.ledger(daemon)) >= count and rows,
                        lambda: f"{count} rows in the ledger: {self.ledger(daemon)}; {daemon.log_tail()}")

    def sent_to(self, recipient):
        """The mail of ours that the far relay has got for `recipient`."""
        def found():
            with self.far.lock:
                return [Sent(raw, envelope) for raw, envelope in zip(self.far.mails, self.far.envelopes)
                        if f"<{recipient}>" in envelope[1]]
        return wait_for(found, lambda: f"the mail to {recipient} is at the far relay; "
                                       f"{self.servers.postfix.log_text()[-2000:]}")[-1]

    def code_from_mailbox(self, user, count=1):
        return code_in(parse_mail(self.dovecot.wait_for_mails(user, count)[-1]))

    # -- the bounce mailbox

    def counts(self):
        return {folder: self.dovecot.count(self.mailbox, folder) for folder in FOLDERS}

    def wait_filed(self, inbox=0, processed=0, unrecognised=0, daemon=None):
        """Until the folders hold so many mails."""
        wanted = dict(zip(FOLDERS, (inbox, processed, unrecognised)))
        wait_for(lambda: self.counts() == wanted,
                 lambda: f"{wanted} in the folders: {self.counts()}; {daemon.log_tail() if daemon else ''}")

    def assert_each_once(self, daemon, recipients):
        """Each of them stands in the ledger once, as bounced, and nothing else does."""
        rows = self.wait_ledger(daemon, len(recipients))
        self.assertEqual(sorted(row["recipient"] for row in rows), sorted(recipients), f"\n{rows}")
        self.assertEqual({row["kind"] for row in rows}, {"bounce"}, f"\n{rows}")


if __name__ == "__main__":
    raise SystemExit("bounces.py is no test")
