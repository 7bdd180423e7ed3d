"""An SMTP server that misbehaves on command: rules of (stage, nth, action), and a journal of what happened.

    relay = ScriptedRelay([Rule("rcpt", reply("450 4.2.0 later"), nth=1)]).start()
    …
    relay.journal      # [Entry(message_id, phase, reply, connection)], one a mail that reached MAIL
    relay.mails        # the bytes of every mail that got a 2xx, dot-unstuffed
    relay.stop()

Stages, in the order of a session: connect, tls, greeting, ehlo, starttls, auth, mail, rcpt, data, body, dot,
rset, quit; `idle` comes after every accepted mail. `nth` counts a stage's visits over all connections, from
1; 0 is every visit. It runs in a thread of its own with an asyncio loop; the journal is read by others.
"""
import asyncio
import base64
import dataclasses
import re
import socket
import ssl
import struct
import threading

BOUND = 60.0


@dataclasses.dataclass
class Entry:
    message_id: str
    phase: str  # the last stage that was reached
    reply: str  # the last reply that was sent
    connection: int


# ---- Actions: async callables of (session); they return True when the stage has been dealt with.

def reply(text):
    """Says this instead of the right reply; lines of `text` are separated by \\n."""
    async def act(session):
        await session.say_raw("".join(line + "\r\n" for line in text.split("\n")).encode("latin-1"))
        return True
    return act


def raw(data):
    """Sends exactly these bytes instead of the right reply."""
    async def act(session):
        await session.say_raw(data)
        return True
    return act


def also(data):
    """The right reply and these bytes after it, in one write."""
    async def act(session):
        session.extra = data
        return False
    return act


def drop():
    """Closes the connection in good order."""
    async def act(session):
        raise Gone()
    return act


def reset():
    """Closes it with a RST."""
    async def act(session):
        plain = session.writer.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        session.writer.transport.abort()
        raise Gone()
    return act


def silent():
    """Says nothing more and keeps the connection until the other side closes it."""
    async def act(session):
        while await session.reader.read(65536):
            pass
        raise Gone()
    return act


def deaf():
    """Neither says nor reads anything more, until the relay stops."""
    async def act(session):
        session.writer.transport.pause_reading()
        await session.relay.stopping.wait()
        raise Gone()
    return act


def slowly(text, pause):
    """The reply, one byte each `pause` seconds."""
    async def act(session):
        for byte in (text + "\r\n").encode():
            await session.say_raw(bytes([byte]))
            await asyncio.sleep(pause)
        return True
    return act


def after(pause, then=None):
    """Waits, then does `then` or goes on as usual."""
    async def act(session):
        await asyncio.sleep(pause)
        return await then(session) if then else False
    return act


def held(gate, then=None):
    """Waits until the test sets `gate` (a threading.Event), then does `then` or goes on as usual."""
    async def act(session):
        await asyncio.get_running_loop().run_in_executor(None, gate.wait, BOUND)
        return await then(session) if then else False
    return act


@dataclasses.dataclass
class Rule:
    stage: str
    action: object
    nth: int = 0


class Gone(Exception):
    """The session is over."""


class ScriptedRelay:
    def __init__(self, rules=(), *, certificate=None, implicit=False, users=None, keywords=None,
                 mechanisms="PLAIN LOGIN", pipelining=True, receive_buffer=None):
        """`certificate`: PEM with chain and key, offers STARTTLS unless `implicit`. `users`: name to
        password, offers AUTH (after TLS only, when there is TLS). `receive_buffer`: bytes that the kernel
        takes for a relay that does not read."""
        self.rules = list(rules)
        self.receive_buffer = receive_buffer
        self.implicit = implicit
        self.users = users
        self.mechanisms = mechanisms
        self.keywords = ["8BITMIME", "DSN", "SIZE 10000000"] if keywords is None else list(keywords)
        if pipelining:
            self.keywords.insert(0, "PIPELINING")
        self.tls = None
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(certificate)
        self.lock = threading.Lock()
        self.visits = {}
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
        server = await asyncio.start_server(self._accept, sock=listener, limit=1 << 16,
                                            ssl=self.tls if self.implicit else None)
        self.port = listener.getsockname()[1]
        ready.set()
        await self.stopping.wait()
        server.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _accept(self, reader, writer):
        task = asyncio.current_task()
        self.tasks.add(task)
        with self.lock:
            self.connections += 1
            self.open_now += 1
            self.most_open = max(self.most_open, self.open_now)
            number = self.connections
        try:
            await Session(self, reader, writer, number).run()
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

    def action_for(self, stage):
        with self.lock:
            self.visits[stage] = self.visits.get(stage, 0) + 1
            for rule in self.rules:
                if rule.stage == stage and rule.nth in (0, self.visits[stage]):
                    return rule.action
        return None


def message_id(mail):
    found = re.search(rb"^message-id:\s*(\S+)", mail, re.IGNORECASE | re.MULTILINE)
    return found.group(1).decode("latin-1") if found else ""


class Session:
    def __init__(self, relay, reader, writer, number):
        self.relay = relay
        self.reader = reader
        self.writer = writer
        self.number = number
        self.secure = relay.implicit
        self.authenticated = False
        self.extra = b""
        self.last_reply = ""
        self.mail_line = self.rcpt_line = None
        self.entry = None

    async def run(self):
        try:
            if not await self.stage("connect"):
                if not await self.stage("greeting"):
                    await self.say("220 scripted ESMTP")
            while True:
                line = await self.line()
                await self.command(line)
        except (Gone, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ssl.SSLError,
                OSError):
            pass
        finally:
            self.writer.close()
            try:
                await asyncio.wait_for(self.writer.wait_closed(), 2)
            except (OSError, ssl.SSLError, asyncio.TimeoutError):
                pass

    async def line(self):
        data = await self.reader.readuntil(b"\n")
        text = data.rstrip(b"\r\n").decode("latin-1")
        with self.relay.lock:
            self.relay.commands.append((self.number, text))
        return text

    async def say_raw(self, data):
        self.last_reply = data.decode("latin-1").strip()
        if self.entry:
            self.entry.reply = self.last_reply
        self.writer.write(data + self.extra)
        self.extra = b""
        await self.writer.drain()

    async def say(self, text):
        await self.say_raw(text.encode("latin-1") + b"\r\n")

    async def stage(self, name):
        """Runs the rule for this visit; True: the usual reply is not to be sent."""
        if self.entry:
            self.entry.phase = name
        action = self.relay.action_for(name)
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
        lines = ["scripted greets you", *words]
        await self.say_raw("".join(f"250{'-' if i + 1 < len(lines) else ' '}{text}\r\n"
                                   for i, text in enumerate(lines)).encode("latin-1"))

    async def do_helo(self, line):
        await self.say("250 scripted")

    async def do_starttls(self, line):
        if await self.stage("starttls"):
            return
        await self.say("220 2.0.0 go ahead")
        if await self.stage("tls"):
            return
        await self.writer.start_tls(self.relay.tls)
        self.secure = True

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
        self.mail_line, self.rcpt_line = line, None
        self.entry = Entry("", "mail", "", self.number)
        self.relay.note(self.entry)
        if not await self.stage("mail"):
            await self.say("250 2.1.0 ok")

    async def do_rcpt(self, line):
        if await self.stage("rcpt"):
            return
        self.rcpt_line = line
        await self.say("250 2.1.5 ok")

    async def do_data(self, line):
        if await self.stage("data"):
            return
        if self.rcpt_line is None:
            await self.say("554 5.5.1 no valid recipients")
            return
        await self.say("354 go on")
        mail = await self.body()
        self.entry.message_id = message_id(mail)
        if await self.stage("dot"):
            if self.last_reply.startswith("2"):
                self.accepted(mail)
            return
        self.accepted(mail)
        await self.say("250 2.0.0 queued as " + str(len(self.relay.mails)))
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

    def accepted(self, mail):
        with self.relay.lock:
            self.relay.mails.append(mail)
            self.relay.envelopes.append((self.mail_line, self.rcpt_line))

    async def do_rset(self, line):
        self.entry = None
        if not await self.stage("rset"):
            await self.say("250 2.0.0 ok")

    async def do_noop(self, line):
        await self.say("250 2.0.0 ok")

    async def do_quit(self, line):
        if not await self.stage("quit"):
            await self.say("221 2.0.0 bye")
        raise Gone()
