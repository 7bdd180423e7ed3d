"""Dovecot as a bounce mailbox: implicit TLS on one port, STARTTLS on another, maildirs in a folder."""
import imaplib
import os
import shutil
import ssl
import time

import driver  # also makes tests/smtp findable
import servers

assert driver.BIN


def dsn(number, tag="", to="nobody@example.net", status="5.1.1"):
    """A failure notice to our bounce address."""
    return f"""Return-Path: <>\r
Delivered-To: bounces{'+' + tag if tag else ''}@example.test\r
From: MAILER-DAEMON@mx.example.net (Mail Delivery System)\r
To: bounces{'+' + tag if tag else ''}@example.test\r
Subject: Undelivered Mail Returned to Sender\r
Message-ID: <{number}@mx.example.net>\r
MIME-Version: 1.0\r
Content-Type: multipart/report; report-type=delivery-status; boundary="b{number}"\r
\r
--b{number}\r
Content-Type: text/plain\r
\r
I'm sorry to have to inform you that your message could not be delivered.\r
\r
<{to}>: host mx.example.net said: 550 {status} no such user\r
\r
--b{number}\r
Content-Type: message/delivery-status\r
\r
Reporting-MTA: dns; mx.example.net\r
\r
Final-Recipient: rfc822; {to}\r
Action: failed\r
Status: {status}\r
Diagnostic-Code: smtp; 550 {status} no such user\r
\r
--b{number}\r
Content-Type: text/rfc822-headers\r
\r
Message-ID: <m{number}@example.test>\r
To: {to}\r
\r
--b{number}--\r
""".encode()


def letter(number, to="person@example.test"):
    """A person's mail."""
    return (f"From: Friend <friend@example.org>\r\nTo: {to}\r\nSubject: letter {number}\r\n"
            f"Message-ID: <letter{number}@example.org>\r\n\r\nHello {number}.\r\n").encode()


class MailboxServer:
    def __init__(self, prefix=""):
        self.folder = servers.make_folder("mailotp-imap-")
        self.authority = servers.Authority(self.folder)
        self.certificate = self.authority.server("imap")
        self.mail = os.path.join(self.folder, "mail")
        self.plain_port, self.port = servers.free_ports(2)
        self.prefix = prefix
        self.process = None
        for part in ("run", "state", "mail"):
            os.makedirs(os.path.join(self.folder, part), mode=0o755)
        os.chmod(self.mail, 0o777)

    def start(self):
        config = servers.write(os.path.join(self.folder, "dovecot.conf"), f"""
protocols = imap
base_dir = {self.folder}/run
state_dir = {self.folder}/state
log_path = {self.folder}/log
ssl = yes
ssl_cert = <{self.certificate}
ssl_key = <{self.certificate}
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:{self.mail}/%n
mailbox_list_index = no
maildir_stat_dirs = no
namespace inbox {{
  inbox = yes
  prefix = {self.prefix}
  separator = .
}}
passdb {{
  driver = static
  args = password={servers.PASSWORD}
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home={self.mail}/%n allow_all_users=yes
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    address = 127.0.0.1
    port = {self.plain_port}
  }}
  inet_listener imaps {{
    address = 127.0.0.1
    port = {self.port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
""")
        self.process = servers.Process(["dovecot", "-F", "-c", config], os.path.join(self.folder, "out"))
        self.process.wait_until(lambda: servers.accepts(self.port) and servers.accepts(self.plain_port),
                                "dovecot listens")
        return self

    def stop(self):
        if self.process:
            self.process.stop()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def settings(self, user, **more):
        tls = more.get("tls", "implicit")
        return {"port": self.port if tls == "implicit" else self.plain_port, "username": user,
                "password": servers.PASSWORD, "ca_file": self.authority.file,
                "server_name": servers.SERVER_NAME, **more}

    def client(self, user):
        """A person's mail program."""
        context = ssl.create_default_context(cafile=self.authority.file)
        context.check_hostname = False
        imap = imaplib.IMAP4_SSL("127.0.0.1", self.port, ssl_context=context, timeout=servers.BOUND)
        imap.login(user, servers.PASSWORD)
        return imap

    def put(self, user, mails, folder="INBOX", flags=None, date=None):
        """By APPEND: another session that waits in IDLE hears of it."""
        with self.client(user) as imap:
            for mail in mails:
                said = []

                def taken(mail=mail, said=said):
                    status, said[:] = imap.append(folder, flags, date and imaplib.Time2Internaldate(date), mail)
                    # Dovecot's word for a folder that has just been deleted and made anew: nothing was taken.
                    if b"deleted under us" not in said[0]:
                        assert status == "OK", said
                    return status == "OK"
                servers.wait_for(taken, lambda said=said: f"a mail is taken; {said}")

    def fill(self, user, mails):
        """Straight into the inbox's maildir, before anybody reads it: for thousands."""
        home = os.path.join(self.mail, user)
        with self.client(user) as imap:
            imap.select("INBOX")  # makes the maildir
        for number, mail in enumerate(mails):
            path = os.path.join(home, "new", f"{1_700_000_000 + number}.M{number}P1.host,S={len(mail)}")
            with open(path, "wb") as out:
                out.write(mail)
            os.chown(path, 65534, 65534)

    def state(self, user, folder="INBOX"):
        """Subject or Message-ID and flags of every mail, without changing anything: [(id, flags)]."""
        with self.client(user) as imap:
            status, said = imap.select(f'"{folder}"', readonly=True)
            if status != "OK":
                return None
            if int(said[0]) == 0:
                return []
            found = []
            for part in imap.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")[1]:
                if isinstance(part, tuple):
                    flags = imaplib.ParseFlags(part[0])
                    found.append((part[1].strip().decode().split(": ", 1)[-1],
                                  tuple(sorted(flag.decode() for flag in flags if flag != b"\\Recent"))))
            return found

    def folders(self, user, subscribed=False):
        with self.client(user) as imap:
            lines = (imap.lsub if subscribed else imap.list)()[1]
            return sorted(line.decode().rsplit('" ', 1)[1].strip('"') for line in lines if line)


def wait_for(condition, what):
    return servers.wait_for(condition, what)


def long_ago(days=400):
    return time.time() - days * 86400
