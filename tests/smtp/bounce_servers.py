"""Servers that make real bounces and keep them: a Postfix that accepts everything and then fails in delivery, and a
Dovecot with the mailboxes, some of them full, and the bounce mailbox. As root, on 127.0.0.1, in a temporary folder.

What becomes of a mail, by its domain:
    example.test      by LMTP to Dovecot: into the mailbox, or 550 5.1.1 (no such user), or 552 5.2.2 (full)
    nowhere.invalid   Postfix' words for a domain that does not exist, without asking anyone
    far.test          by SMTP to `far`, a scripted relay
What comes for bounces@example.test, with any tag, goes to anna@example.test, a person's mailbox.
"""
import contextlib
import imaplib
import os
import re
import shutil
import smtplib
import socket
import threading

from scripted_relay import ScriptedRelay
from servers import BOUND, Authority, Dovecot, Postfix, Process, accepts, free_ports, make_folder, wait_for, write

IMAP_NAME = "imap.test"
DOMAIN = "example.test"
FAR = "far.test"
NOWHERE = "nowhere.invalid"


class BounceDovecot(Dovecot):
    """IMAP with and without STARTTLS on `imap_port`, over TLS on `imaps_port`; users have to be added."""

    def __init__(self, folder, certificate):
        super().__init__(folder)
        self.certificate = certificate
        (self.imaps_port,) = free_ports(1)
        self.users_file = os.path.join(self.folder, "users")
        self.users = {}  # name: (password, bytes that its mailbox may hold, or None)
        self._write_users()

    # -- the users

    def add_user(self, name, password=None, quota=None):
        """There is one when this returns; `quota` in bytes."""
        self.users[name] = (password or self.password, quota)
        self._write_users()
        if self.process:
            # A running server looks at the file once a second.
            wait_for(lambda: self._takes_mail_for(name), f"the server knows {name}")

    def _takes_mail_for(self, name):
        with smtplib.LMTP(self.lmtp_socket, timeout=BOUND) as lmtp:
            lmtp.ehlo()
            lmtp.mail("")
            return lmtp.rcpt(f"{name}@{DOMAIN}")[0] == 250

    def _write_users(self):
        text = "".join(f"{name}:{{PLAIN}}{password}:65534:65534::{self.mail}/{name}::"
                       + (f"userdb_quota_rule=*:bytes={quota}" if quota else "") + "\n"
                       for name, (password, quota) in self.users.items())
        os.replace(write(self.users_file + ".new", text), self.users_file)

    # -- the server

    def config(self):
        return f"""
protocols = imap lmtp
base_dir = {self.folder}/run
state_dir = {self.folder}/state
log_path = {self.log}
auth_verbose = yes
ssl = yes
ssl_cert = <{self.certificate}
ssl_key = <{self.certificate}
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
auth_cache_size = 0
first_valid_uid = 1
first_valid_gid = 1
recipient_delimiter = +
mail_location = maildir:{self.mail}/%n
mail_plugins = quota
mail_max_userip_connections = 50
plugin {{
  quota = count:User quota
  quota_vsizes = yes
}}
passdb {{
  driver = passwd-file
  args = username_format=%n {self.users_file}
}}
userdb {{
  driver = passwd-file
  args = username_format=%n {self.users_file}
}}
service auth {{
  unix_listener {self.auth_socket} {{
    mode = 0666
  }}
}}
service lmtp {{
  unix_listener {self.lmtp_socket} {{
    mode = 0666
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    address = 127.0.0.1
    port = {self.imap_port}
  }}
  inet_listener imaps {{
    address = 127.0.0.1
    port = {self.imaps_port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""

    @property
    def log(self):
        return os.path.join(self.folder, "log")

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def logins(self, user):
        """(accepted, refused) logins of the user so far, by the server's log."""
        text = self.log_text()
        return (len(re.findall(rf"imap-login: Info: Login: user=<{re.escape(user)}>", text)),
                len(re.findall(rf"passwd-file\({re.escape(user)},[^)]*\): Password mismatch", text)))

    def start(self):
        # What a predecessor left is no sign of life.
        for path in (self.auth_socket, self.lmtp_socket):
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)
        config = write(os.path.join(self.folder, "dovecot.conf"), self.config())
        self.process = Process(["dovecot", "-F", "-c", config], os.path.join(self.folder, "out"))
        self.process.wait_until(
            lambda: os.path.exists(self.auth_socket) and os.path.exists(self.lmtp_socket)
            and accepts(self.imap_port) and accepts(self.imaps_port), "dovecot listens")
        return self

    # -- its mailboxes

    @contextlib.contextmanager
    def imap(self, user):
        with imaplib.IMAP4("127.0.0.1", self.imap_port, timeout=BOUND) as imap:
            imap.login(user, self.users[user][0])
            yield imap

    def snapshot(self, user, folder="INBOX"):
        """{uid: (flags, date, bytes)} of a folder's mails; none for a folder that is not there. \\Recent belongs to
        sessions, not to the mail."""
        with self.imap(user) as imap:
            if imap.select(folder, readonly=True)[0] != "OK":
                return {}
            answer = imap.uid("FETCH", "1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])")[1]
        found = {}
        for head, raw in (part for part in answer if isinstance(part, tuple)):
            uid = int(re.search(rb"UID (\d+)", head).group(1))
            flags = frozenset(re.search(rb"FLAGS \(([^)]*)\)", head).group(1).split()) - {b"\\Recent"}
            found[uid] = (flags, re.search(rb'INTERNALDATE "([^"]*)"', head).group(1), raw)
        return found

    def count(self, user, folder="INBOX"):
        """The mails in a folder, from the disk."""
        place = os.path.join(self.mail, user, *([] if folder == "INBOX" else ["." + folder]))
        return sum(len(os.listdir(os.path.join(place, part))) for part in ("new", "cur")
                   if os.path.isdir(os.path.join(place, part)))

    def drop_in(self, user, raw, name):
        """Puts the bytes into the user's INBOX as they are, past every server; lines end in LF there."""
        self.make_maildir(user)
        place = os.path.join(self.mail, user)
        with open(os.path.join(place, "tmp", name), "wb") as file:
            file.write(raw)
        shutil.chown(file.name, 65534, 65534)
        os.rename(file.name, os.path.join(place, "new", name))

    def make_maildir(self, user):
        for part in ("", "cur", "new", "tmp"):
            path = os.path.join(self.mail, user, part)
            if not os.path.isdir(path):
                os.mkdir(path, 0o700)
                shutil.chown(path, 65534, 65534)

    def change_uidvalidity(self, user):
        """As after a mailbox was restored from a copy; only while the server is stopped."""
        assert self.process.child.poll() is not None, "the server runs"
        place = os.path.join(self.mail, user)
        path = os.path.join(place, "dovecot-uidlist")
        with open(path, encoding="ascii") as file:
            head, rest = file.read().split("\n", 1)
        before = int(re.search(r" V(\d+)", head).group(1))
        # UIDs anew as well: the same numbers name other mails.
        names = [line.partition(" :")[2] for line in rest.splitlines()]
        head = re.sub(r" N\d+", f" N{len(names) + 1}", re.sub(r" V\d+", f" V{before + 1}", head))
        write(path, head + "\n" + "".join(f"{uid} :{name}\n" for uid, name in enumerate(names, 1)))
        for name in os.listdir(place):
            if name.startswith("dovecot.index") or name.startswith("dovecot.list.index"):
                os.remove(os.path.join(place, name))
        return before, before + 1

    def deliver(self, recipient, raw, sender=""):
        """By LMTP, as a mail server does."""
        with smtplib.LMTP(self.lmtp_socket, timeout=BOUND) as lmtp:
            lmtp.sendmail(sender, [recipient], raw)


class BouncingPostfix(Postfix):
    """Delivery ends as the module's head says; a mail that waits is tried each two seconds, and a notice of the delay
    goes out after `warning_seconds`; 0: never."""

    def __init__(self, folder, certificate, dovecot, far_port, warning_seconds=0):
        transports = os.path.join(folder, "transports")
        aliases = write(os.path.join(folder, "aliases"),
                        f"/^bounces(\\+[^@]*)?@{re.escape(DOMAIN)}$/ anna$1@{DOMAIN}\n")
        super().__init__(folder, certificate, dovecot, {
            "recipient_delimiter": "+",
            "transport_maps": f"regexp:{transports}",
            "virtual_alias_maps": f"regexp:{aliases}",
            "delay_warning_time": f"{warning_seconds}s",
            "queue_run_delay": "1s",
            # With less the queue manager may look at a mail whose last delivery has not let go of it, and then
            # leaves it alone for minutes.
            "minimal_backoff_time": "2s",
            "maximal_backoff_time": "2s",
            "smtp_connection_cache_on_demand": "no",
            # Else it would refuse at RCPT what has the transport `error`.
            "smtpd_reject_unlisted_recipient": "no",
        })
        # What smtp(8) says of a name that the DNS does not have.
        write(transports, f"/@{re.escape(FAR)}$/ smtp:[127.0.0.1]:{far_port}\n"
                          f"/@{re.escape(NOWHERE)}$/ error:5.4.4 Host or domain name not found. Name service error "
                          f"for name={NOWHERE} type=AAAA: Host not found\n")


class BounceSystem:
    """CA, Dovecot, the far relay and Postfix together, as a context. The user `full` has a full mailbox; those of
    `users` are there from the start, which is quicker than add_user() later."""

    def __init__(self, users=(), **postfix):
        self.folder = make_folder("mailotp-bounces-")
        self.authority = Authority(self.folder)
        self.dovecot = BounceDovecot(self.folder, self.authority.server("imap", host=IMAP_NAME))
        self.dovecot.add_user("otp")  # submits
        self.dovecot.add_user("full", quota=1)
        for user in users:
            self.dovecot.add_user(user)
        self.far = ScriptedRelay([])
        self.postfix = None
        self.options = postfix

    def __enter__(self):
        try:
            self.dovecot.start()
            self.far.start()
            self.postfix = BouncingPostfix(self.folder, self.authority.server("relay"), self.dovecot, self.far.port,
                                           **self.options)
            self.postfix.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.postfix:
            self.postfix.stop()
        self.far.stop()
        self.dovecot.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class CuttingProxy:
    """A TCP proxy before a port of 127.0.0.1. `cut(when)`: `when(said, passed)` gets all that the server has said on a
    connection and how much of it has been passed on; the first time that it gives a number, only so many bytes of
    it are, and the connection ends."""

    def __init__(self, target):
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.when = None
        self.cuts = 0
        self.connections = 0
        self.sockets = set()
        self.pumps = []
        self.thread = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self.thread.start()

    def cut(self, when):
        with self.lock:
            self.when = when

    def drop(self):
        """Ends every connection."""
        with self.lock:
            for one in self.sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target), timeout=BOUND)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self.lock:
                self.connections += 1
                self.sockets |= {client, server}
            for work in ((client, server, False), (server, client, True)):
                pump = threading.Thread(target=self._pump, args=work, name="proxy", daemon=True)
                pump.start()
                self.pumps.append(pump)

    def _pump(self, source, sink, from_server):
        said = b""
        try:
            while data := source.recv(4096):
                if from_server:
                    said += data
                    keep = self._bytes_before_cut(said, len(said) - len(data))
                    if keep is not None:
                        sink.sendall(data[:keep])
                        break
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _bytes_before_cut(self, said, passed):
        """How many of the new bytes still go on, when this is the place; else None."""
        with self.lock:
            place = self.when(said, passed) if self.when else None
            if place is None:
                return None
            self.when = None
            self.cuts += 1
            return max(0, place - passed)

    def stop(self):
        # Closing it alone would not wake the thread that waits in it.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join(BOUND)
        self.listener.close()
        self.drop()
        for pump in self.pumps:
            pump.join(BOUND)
        for one in self.sockets:
            one.close()


def inside_literal(after):
    """For CuttingProxy.cut, without TLS: `after` bytes into the first mail that the server sends."""
    def when(said, _passed):
        found = re.search(rb"BODY\[\](?:<\d+>)? \{(\d+)\}\r\n", said)
        if not found or int(found.group(1)) <= after or len(said) < found.end() + after:
            return None
        return found.end() + after
    return when


def after_bytes(count):
    """For CuttingProxy.cut: where the server has said so much on a connection."""
    return lambda said, passed: count if passed <= count < len(said) else None
