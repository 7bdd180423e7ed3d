"""An IMAP server made of a few lines that does what a test tells it to, at whatever command.

`Script` is the behaviour: subclass or give `hooks` = {"SELECT": function(session, tag, arguments)}; a hook
returns True when it has answered itself.
"""
import re
import select
import socket
import ssl
import threading

import driver  # also makes tests/smtp findable
from mailbox_server import dsn

assert driver.BIN
CAPABILITIES = "IMAP4rev1 IDLE MOVE UIDPLUS NAMESPACE AUTH=PLAIN AUTH=XOAUTH2"


class Mailbox:
    """What survives a connection: uid -> mail, folder -> mails that were moved there."""

    def __init__(self, mails=(), uidvalidity=7):
        self.uidvalidity = uidvalidity
        self.mails = dict(enumerate(mails, 1))
        self.deleted = set()
        self.folders = {}
        self.fetched = []


def uids_of(numbers, mailbox):
    found = []
    for part in numbers.split(","):
        first, _, last = part.partition(":")
        found += [uid for uid in mailbox.mails if int(first) <= uid <= int(last or first)]
    return found


class Session:
    """One connection. `send` and `line` raise when it is over."""

    def __init__(self, sock, server):
        self.sock = sock
        self.server = server
        self.box = server.mailbox
        self.buffer = b""
        self.selected = None

    def send(self, text):
        self.sock.sendall(text if isinstance(text, bytes) else text.encode("latin-1"))

    def line(self):
        while b"\n" not in self.buffer:
            more = self.sock.recv(65536)
            if not more:
                raise ConnectionError
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode("latin-1").rstrip("\r")

    def secure(self):
        self.sock = self.server.context.wrap_socket(self.sock, server_side=True)

    def stall(self):
        """Says nothing until the other side goes."""
        while self.sock.recv(65536):
            pass
        raise ConnectionError

    def cut(self):
        raise ConnectionError

    def run(self):
        if self.server.tls == "implicit":
            self.secure()
        hook = self.server.hooks.get("greeting")
        if not (hook and hook(self, "*", "")):
            self.send("* OK ready\r\n")
        while True:
            tag, _, rest = self.line().partition(" ")
            verb, _, arguments = rest.partition(" ")
            verb = verb.upper()
            if verb == "UID":
                verb, _, arguments = arguments.partition(" ")
                verb = "UID " + verb.upper()
            self.server.commands.append((verb, arguments))
            hook = self.server.hooks.get(verb)
            if hook and hook(self, tag, arguments):
                continue
            answer = getattr(self, "do_" + verb.lower().replace(" ", "_"), None)
            if answer is None:
                self.send(f"{tag} BAD what?\r\n")
            else:
                answer(tag, arguments)

    def do_capability(self, tag, _):
        self.send(f"* CAPABILITY {self.server.capabilities}\r\n{tag} OK\r\n")

    def do_starttls(self, tag, _):
        self.send(f"{tag} OK go\r\n")
        self.secure()

    def do_login(self, tag, arguments):
        if driver_password(arguments) == self.server.password:
            self.send(f"{tag} OK welcome\r\n")
        else:
            self.send(f"{tag} NO [AUTHENTICATIONFAILED] wrong\r\n")

    def do_list(self, tag, arguments):
        name = re.findall(r'"([^"]*)"|(\S+)', arguments)[-1]
        name = name[0] or name[1]
        if name in self.box.folders:
            self.send(f'* LIST () "." "{name}"\r\n')
        self.send(f"{tag} OK\r\n")

    def do_create(self, tag, arguments):
        self.box.folders[arguments.strip('"')] = []
        self.send(f"{tag} OK\r\n")

    def do_subscribe(self, tag, _):
        self.send(f"{tag} OK\r\n")

    do_noop = do_check = do_subscribe

    def do_namespace(self, tag, _):
        self.send(f'* NAMESPACE (("" ".")) NIL NIL\r\n{tag} OK\r\n')

    def do_select(self, tag, arguments):
        self.selected = arguments.strip('"')
        inbox = self.selected == "INBOX"
        count = len(self.box.mails) if inbox else 0
        self.send(f"* FLAGS (\\Seen \\Deleted)\r\n* {count} EXISTS\r\n* 0 RECENT\r\n"
                  f"* OK [UIDVALIDITY {self.box.uidvalidity if inbox else 99}] ok\r\n"
                  f"* OK [UIDNEXT {max(self.box.mails, default=0) + 1}] ok\r\n{tag} OK [READ-WRITE] done\r\n")

    def do_fetch(self, tag, arguments):
        first, _, last = arguments.split(" ")[0].partition(":")
        uids = sorted(self.box.mails)
        for number in range(int(first), int(last or first) + 1):
            if number <= len(uids):
                uid = uids[number - 1]
                self.send(f"* {number} FETCH (UID {uid} RFC822.SIZE {len(self.box.mails[uid])})\r\n")
        self.send(f"{tag} OK\r\n")

    def do_uid_fetch(self, tag, arguments):
        uid = int(arguments.split(" ")[0])
        self.box.fetched.append(uid)
        if uid in self.box.mails:
            mail = self.box.mails[uid]
            number = sorted(self.box.mails).index(uid) + 1
            self.send(f"* {number} FETCH (UID {uid} BODY[]<0> {{{len(mail)}}}\r\n".encode() + mail + b")\r\n")
        self.send(f"{tag} OK\r\n")

    def expunge(self, uids):
        for uid in sorted(uids):
            number = sorted(self.box.mails).index(uid) + 1
            del self.box.mails[uid]
            self.box.deleted.discard(uid)
            self.send(f"* {number} EXPUNGE\r\n")

    def copy(self, arguments):
        numbers, folder = arguments.split(" ", 1)
        uids = uids_of(numbers, self.box)
        self.box.folders.setdefault(folder.strip('"'), []).extend(uids)
        return uids

    def do_uid_move(self, tag, arguments):
        if " MOVE " not in f" {self.server.capabilities} ":
            self.send(f"{tag} BAD no MOVE here\r\n")
            return
        self.expunge(self.copy(arguments))
        self.send(f"{tag} OK\r\n")

    def do_uid_copy(self, tag, arguments):
        self.copy(arguments)
        self.send(f"{tag} OK\r\n")

    def do_uid_store(self, tag, arguments):
        self.box.deleted |= set(uids_of(arguments.split(" ")[0], self.box))
        self.send(f"{tag} OK\r\n")

    def do_uid_expunge(self, tag, arguments):
        self.expunge(set(uids_of(arguments, self.box)) & self.box.deleted)
        self.send(f"{tag} OK\r\n")

    def do_expunge(self, tag, _):
        self.expunge(set(self.box.deleted))
        self.send(f"{tag} OK\r\n")

    def do_uid_search(self, tag, arguments):
        found = sorted(self.box.deleted) if arguments == "DELETED" else []
        self.send(f"* SEARCH{''.join(f' {uid}' for uid in found)}\r\n{tag} OK\r\n")

    def do_idle(self, tag, _):
        self.send("+ idling\r\n")
        while not self.buffer:
            if select.select([self.sock], [], [], 0.01)[0]:
                assert self.line() == "DONE"
                break
            while self.server.untagged:
                self.send(self.server.untagged.pop(0))
        self.send(f"{tag} OK\r\n")

    def do_logout(self, tag, _):
        self.send(f"* BYE\r\n{tag} OK\r\n")
        raise ConnectionError


def driver_password(arguments):
    return re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', arguments)[-1][0] or arguments.split(" ")[-1]


class ScriptedImap:
    def __init__(self, mails=None, hooks=None, capabilities=CAPABILITIES, tls="none", certificate=None):
        self.mailbox = Mailbox([dsn(1), dsn(2), dsn(3)] if mails is None else mails)
        self.hooks = hooks or {}
        self.capabilities = capabilities
        self.tls = tls
        self.password = "right"
        self.commands = []
        self.untagged = []  # said in the next IDLE
        self.connections = []
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        session = Session(sock, self)
        try:
            session.run()
        except (OSError, ssl.SSLError, ValueError):
            pass
        finally:
            for one in (session.sock, sock):
                try:
                    one.close()
                except OSError:
                    pass

    def settings(self, **more):
        return {"port": self.port, "tls": self.tls, "username": "bounces", "password": "right", **more}

    def count(self, verb):
        return sum(1 for one, _ in self.commands if one == verb)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in self.connections:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.thread.join(10)
