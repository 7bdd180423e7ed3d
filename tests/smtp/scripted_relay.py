#!/usr/bin/python3
"""An SMTP server that misbehaves on command: rules of (stage, nth, action), and a journal of what happened.

    relay = ScriptedRelay([Rule("rcpt", reply("450 4.2.0 later"), nth=1)]).start()
    …
    relay.journal      # [Entry(message_id, recipient, phase, reply, connection, accepted)], one a mail that
                       # reached MAIL
    relay.mails        # the bytes of every mail that got a 2xx, dot-unstuffed
    relay.stop()

Stages, in the order of a session: connect, tls, greeting, ehlo, starttls, auth, mail, rcpt, data, body, dot,
rset, quit; `idle` comes after every accepted mail. It runs in a thread of its own with an asyncio loop; the
journal is read by others. By hand: `scripted_relay.py --help`.
"""
import asyncio
import base64
import dataclasses
import json
import random
import re
import socket
import ssl
import sys
import threading

from relay_actions import (BOUND, Gone, after, also, bad_certificate, binary, close, deaf, drop, early, eat,
                           held, hide, huge, partial, raw, reply, reset, silent, slowly, take, twice, unclosed)

__all__ = ["BY_ADDRESS", "Entry", "Rule", "ScriptedRelay", "after", "also", "bad_certificate", "binary", "close",
           "deaf", "drop", "early", "eat", "held", "hide", "huge", "message_id", "partial", "raw", "reply",
           "reset", "silent", "slowly", "take", "twice", "unclosed"]


@dataclasses.dataclass
class Entry:
    message_id: str  # empty while its body was not seen
    phase: str       # the last stage that was reached
    reply: str       # the last reply that was sent
    connection: int
    recipient: str = ""     # of its RCPT, accepted or not
    accepted: bool = False  # the relay has taken the mail


@dataclasses.dataclass
class Rule:
    """`nth` counts the stage's visits over all connections, from 1; 0 is every visit, a range those in it. With
    `to` it is for recipients whose local part begins so (stages rcpt, data, body, dot, idle), and `nth` counts
    the visits of each. `p`: its probability; the same seed gives the same dice for the same visit."""
    stage: str
    action: object
    nth: object = 0
    to: str = ""
    p: float = 1.0

    def is_for(self, visit):
        return visit in self.nth if isinstance(self.nth, range) else self.nth in (0, visit)


# What a recipient asks for by its local part, when no rule of the script is for it: NAME-… always, NAMEonce-…
# at its first visit only.
_BY_NAME = [
    ("tempfail", "rcpt", reply("451 4.3.0 local trouble")),
    ("busy", "rcpt", reply("450 4.2.1 mailbox busy")),
    ("full", "rcpt", reply("452 4.2.2 mailbox full")),
    ("quota", "rcpt", reply("552 5.2.2 mailbox full for good")),
    ("nouser", "rcpt", reply("550 5.1.1 no such user")),
    ("reject", "rcpt", reply("554 5.7.1 not wanted")),
    ("close", "rcpt", close()),
    ("droprcpt", "rcpt", drop()),
    ("dropdata", "data", drop()),
    ("dropbody", "body", drop()),
    ("spam", "dot", reply("554 5.7.1 looks like spam")),
    ("later", "dot", reply("451 4.3.2 not now")),
    ("closedot", "dot", close()),
    ("drop", "dot", drop()),           # not taken; the client cannot know
    ("reset", "dot", reset()),
    ("lost", "dot", take(drop())),     # taken; the client cannot know
    ("stall", "dot", silent()),
    ("slow", "dot", after(1.0)),
]
BY_ADDRESS = [
    Rule("rcpt", reply("451 4.7.1 Greylisted, please try again in 1 seconds"), nth=1, to="greylist-"),
    *(Rule(stage, action, to=name + "-") for name, stage, action in _BY_NAME),
    *(Rule(stage, action, nth=1, to=name + "once-") for name, stage, action in _BY_NAME),
]


class ScriptedRelay:
    def __init__(self, rules=(), *, certificate=None, implicit=False, users=None, keywords=None,
                 mechanisms="PLAIN LOGIN", pipelining=True, receive_buffer=None, bad_certificate=None, seed=0,
                 journal_file=None):
        """`certificate`: PEM with chain and key, offers STARTTLS unless `implicit`; `bad_certificate` is for
        the action of that name. `users`: name to password, offers AUTH (after TLS only, when there is TLS).
        `receive_buffer`: bytes that the kernel takes for a relay that does not read. `journal_file`: gets each
        entry as a line of JSON when its transaction is over, that of an accepted mail before the client's 250."""
        self.rules = list(rules)
        self.seed = seed
        self.journal_file = open(journal_file, "a", encoding="utf-8") if journal_file else None
        self.receive_buffer = receive_buffer
        self.implicit = implicit
        self.users = users
        self.mechanisms = mechanisms
        self.keywords = ["8BITMIME", "DSN", "SIZE 10000000"] if keywords is None else list(keywords)
        if pipelining:
            self.keywords.insert(0, "PIPELINING")
        self.tls = server_context(certificate)
        self.bad_tls = server_context(bad_certificate)
        self.lock = threading.Lock()
        self.visits = {}        # by stage
        self.visits_of = {}     # by stage and recipient
        self.journal = []
        self.mails = []
        self.commands = []      # every line of every client, as (connection, text)
        self.envelopes = []     # (MAIL line, RCPT line) of every accepted mail
        self.connections = 0
        self.open_now = 0
        self.most_open = 0
        self.port = None
        self.loop = None
        self.stopping = None
        self.thread = None

    # ---- Life

    def start(self, port=0):
        ready = threading.Event()
        failure = []

        def run():
            try:
                asyncio.run(self._serve(port, ready))
            except BaseException as error:  # reported by start()
                failure.append(error)
                ready.set()
        self.thread = threading.Thread(target=run, name="scripted-relay", daemon=True)
        self.thread.start()
        assert ready.wait(BOUND), "the scripted relay did not start"
        if failure:
            raise failure[0]
        return self

    async def _serve(self, port, ready):
        self.loop = asyncio.get_running_loop()
        self.stopping = asyncio.Event()
        self.tasks = set()
        listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        if self.receive_buffer:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
        server = await asyncio.start_server(self._accept, sock=listener, limit=1 << 16)
        self.port = listener.getsockname()[1]
        ready.set()
        await self.stopping.wait()
        server.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if self.journal_file:
            self.journal_file.close()

    async def _accept(self, reader, writer):
        task = asyncio.current_task()
        self.tasks.add(task)
        with self.lock:
            self.connections += 1
            self.open_now += 1
            self.most_open = max(self.most_open, self.open_now)
            number = self.connections
        # asyncio does this only for sockets that were made with IPPROTO_TCP: without it, a second reply in a row
        # waits 40 ms for the first one's ACK.
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await Session(self, reader, writer, number).run()
        except asyncio.CancelledError:
            pass  # stop(); to asyncio's streams this would be an error
        finally:
            with self.lock:
                self.open_now -= 1
            self.tasks.discard(task)

    def stop(self):
        if self.thread and self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.stopping.set)
            self.thread.join(BOUND)
            assert not self.thread.is_alive(), "the scripted relay did not stop"

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    # ---- What happened

    def note(self, entry):
        with self.lock:
            self.journal.append(entry)

    def message_ids(self):
        """Message-IDs of the accepted mails, in order."""
        with self.lock:
            return [message_id(mail) for mail in self.mails]

    def said(self, pattern):
        """Lines of clients that match the regular expression."""
        with self.lock:
            return [text for _, text in self.commands if re.search(pattern, text)]

    def action_for(self, stage, recipient=""):
        local_part = recipient.rpartition("@")[0]
        with self.lock:
            visit = self.visits[stage] = self.visits.get(stage, 0) + 1
            key = (stage, recipient)
            its_visit = self.visits_of[key] = self.visits_of.get(key, 0) + 1
            for number, rule in enumerate([*self.rules, *BY_ADDRESS]):
                if rule.stage != stage or not local_part.startswith(rule.to):
                    continue
                if not rule.is_for(its_visit if rule.to else visit):
                    continue
                # By recipient where there is one: how connections interleave then changes nothing.
                dice = random.Random(f"{self.seed}/{number}/{recipient}/{its_visit if recipient else visit}")
                if rule.p >= 1.0 or dice.random() < rule.p:
                    return rule.action
        return None

    def write_down(self, entry):
        if self.journal_file and not self.journal_file.closed:
            self.journal_file.write(json.dumps(dataclasses.asdict(entry)) + "\n")
            self.journal_file.flush()


def server_context(certificate):
    if not certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def message_id(mail):
    found = re.search(rb"^message-id:\s*(\S+)", mail, re.IGNORECASE | re.MULTILINE)
    return found.group(1).decode("latin-1") if found else ""


class Session:
    def __init__(self, relay, reader, writer, number):
        self.relay = relay
        self.reader = reader
        self.writer = writer
        self.number = number
        self.secure = False
        self.tls = relay.tls
        self.authenticated = False
        self.extra = b""        # follows the next reply in the same write
        self.repeat = False     # the next reply is sent twice
        self.unanswered = 0     # replies that were given early
        self.hidden = set()     # keywords
        self.last_reply = ""
        self.mail_line = self.rcpt_line = None
        self.mail_taken = False  # a transaction is open
        self.mail = None        # the body that came
        self.entry = None

    async def run(self):
        try:
            if await self.open():
                while True:
                    line = await self.line()
                    await self.command(line)
        except (Gone, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ssl.SSLError,
                OSError):
            pass
        finally:
            self.end_entry()
            self.writer.close()
            try:
                await asyncio.wait_for(self.writer.wait_closed(), 2)
            except (OSError, ssl.SSLError, asyncio.TimeoutError):
                pass

    async def open(self):
        """Whether commands are to be read."""
        if await self.stage("connect"):
            return True
        if self.relay.implicit and not await self.start_tls():
            return False
        if not await self.stage("greeting"):
            await self.say("220 scripted ESMTP")
        return True

    async def start_tls(self):
        if await self.stage("tls"):
            return False
        await self.writer.start_tls(self.tls)
        self.secure = True
        return True

    async def line(self):
        data = await self.reader.readuntil(b"\n")
        text = data.rstrip(b"\r\n").decode("latin-1")
        with self.relay.lock:
            self.relay.commands.append((self.number, text))
        return text

    async def say_raw(self, data):
        self.last_reply = data[:1000].decode("latin-1").strip()
        if self.entry:
            self.entry.reply = self.last_reply
        self.writer.write(data * (2 if self.repeat else 1) + self.extra)
        self.extra, self.repeat = b"", False
        await self.writer.drain()

    async def say(self, text):
        if self.unanswered > 0 and not self.extra:
            self.unanswered -= 1
            return
        await self.say_raw(text.encode("latin-1") + b"\r\n")

    async def stage(self, name):
        """Runs the rule for this visit; True: the usual reply is not to be sent."""
        if self.entry:
            self.entry.phase = name
        action = self.relay.action_for(name, self.entry.recipient if self.entry else "")
        return bool(action and await action(self))

    async def command(self, line):
        verb = line.split(" ")[0].split(":")[0].upper()
        handler = getattr(self, "do_" + verb.lower(), None)
        if handler is None:
            await self.say("500 5.5.1 what?")
        else:
            await handler(line)

    async def do_ehlo(self, line):
        if await self.stage("ehlo"):
            return
        words = list(self.relay.keywords)
        if self.relay.tls and not self.secure:
            words.append("STARTTLS")
        if self.relay.users and (self.secure or not self.relay.tls):
            words.append("AUTH " + self.relay.mechanisms)
        words = [word for word in words if word.split(" ")[0].upper() not in self.hidden]
        lines = ["scripted greets you", *words]
        await self.say_raw("".join(f"250{'-' if i + 1 < len(lines) else ' '}{text}\r\n"
                                   for i, text in enumerate(lines)).encode("latin-1"))

    async def do_helo(self, line):
        await self.say("250 scripted")

    async def do_starttls(self, line):
        if await self.stage("starttls"):
            return
        await self.say("220 2.0.0 go ahead")
        await self.start_tls()

    async def do_auth(self, line):
        if await self.stage("auth"):
            return
        words = line.split(" ")
        mechanism = words[1].upper()
        given = None
        if mechanism == "PLAIN":
            text = words[2] if len(words) > 2 else await self.ask("")
            given = tuple(base64.b64decode(text).decode().split("\0")[1:])
        elif mechanism == "LOGIN":
            given = (base64.b64decode(await self.ask("Username:")).decode(),
                     base64.b64decode(await self.ask("Password:")).decode())
        elif mechanism == "XOAUTH2":
            text = words[2] if len(words) > 2 else await self.ask("")
            parts = base64.b64decode(text).decode().split("\x01")
            given = (parts[0].removeprefix("user="), parts[1].removeprefix("auth=Bearer "))
        if given and (self.relay.users or {}).get(given[0]) == given[1]:
            self.authenticated = True
            await self.say("235 2.7.0 welcome")
            return
        if mechanism == "XOAUTH2":
            await self.ask('{"status":"401"}')
        await self.say("535 5.7.8 wrong user or password")

    async def ask(self, prompt):
        await self.say("334 " + base64.b64encode(prompt.encode()).decode())
        return await self.line()

    async def do_mail(self, line):
        self.end_entry()
        self.mail_line, self.rcpt_line, self.mail = line, None, None
        self.entry = Entry("", "mail", "", self.number)
        self.relay.note(self.entry)
        self.last_reply, self.mail_taken = "", False
        if await self.stage("mail"):
            self.mail_taken = self.last_reply.startswith("2")
        else:
            self.mail_taken = True
            await self.say("250 2.1.0 ok")

    async def do_rcpt(self, line):
        if not self.mail_taken:
            await self.say("503 5.5.1 MAIL first")
            return
        if self.entry:
            self.entry.recipient = line.partition("<")[2].partition(">")[0]
        if await self.stage("rcpt"):
            return
        self.rcpt_line = line
        await self.say("250 2.1.5 ok")

    async def do_data(self, line):
        if not self.mail_taken:
            await self.say("503 5.5.1 MAIL first")
            return
        if await self.stage("data"):
            return
        if self.rcpt_line is None:
            await self.say("554 5.5.1 no valid recipients")
            return
        await self.say("354 go on")
        self.mail = await self.body()
        self.entry.message_id = message_id(self.mail)
        if await self.stage("dot"):
            if self.last_reply.startswith("2"):
                self.accept()
            self.end_entry()
            return
        text = f"250 2.0.0 queued as {self.number}.{self.relay.visits['dot']}"
        self.entry.reply = text
        self.accept()
        await self.say(text)
        await self.stage("idle")
        self.entry = None

    async def body(self):
        first = await self.reader.readuntil(b"\n")
        await self.stage("body")
        lines = []
        line = first
        while line != b".\r\n":
            lines.append(line[1:] if line.startswith(b".") else line)
            line = await self.reader.readuntil(b"\n")
        return b"".join(lines)

    def accept(self):
        if self.entry.accepted:
            return
        self.entry.accepted = True
        with self.relay.lock:
            self.relay.mails.append(self.mail)
            self.relay.envelopes.append((self.mail_line, self.rcpt_line))
        self.relay.write_down(self.entry)

    def end_entry(self):
        """The transaction is over."""
        if self.entry and not self.entry.accepted:
            self.relay.write_down(self.entry)
        self.entry = None

    async def do_rset(self, line):
        self.end_entry()
        if not await self.stage("rset"):
            await self.say("250 2.0.0 ok")

    async def do_noop(self, line):
        await self.say("250 2.0.0 ok")

    async def do_quit(self, line):
        if not await self.stage("quit"):
            await self.say("221 2.0.0 bye")
        raise Gone()


if __name__ == "__main__":
    import relay_command
    sys.exit(relay_command.main())
