"""mailotp-imap from Python, over its channel: a daemon that decides by a rule and keeps what was decided.

Environment: MAILOTP_BIN, the folder of the programs.
"""
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "smtp"))

BIN = os.path.abspath(os.environ.get("MAILOTP_BIN", "build/dev/bin"))
BOUND = float(os.environ.get("BOUND", "60"))
SANITIZED = os.environ.get("MAILOTP_SANITIZERS", "0") == "1"
LEAVE, PROCESSED, UNRECOGNISED = 0, 1, 2
ORDINARY, REFUSED, CERTIFICATE = 0, 1, 2
TLS = {"none": 0, "starttls": 1, "implicit": 2}
AUTH = {"login": 3, "xoauth2": 4}
KINDS = {38: "ready", 39: "log", 48: "mailbox", 49: "opened", 50: "next", 51: "read", 52: "moved"}
LIMITS = {"connect": 10_000, "tls": 10_000, "command": 60_000, "fetch": 120_000, "poll": 60_000,
          "idle": 1_500_000, "noop": 30_000, "backoff_first": 20, "backoff_most": 200,
          "refused_pause": 300_000, "fetch_bytes": 256 << 10}


# ---- CBOR, as mail/channel/cbor.h has it.

def _head(major, value):
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if value < 24:
            return bytes([major << 5 | value])
        if value < 1 << (8 * size):
            return bytes([major << 5 | info]) + value.to_bytes(size, "big")
    raise ValueError(value)


def encode(item):
    if isinstance(item, bool):
        return b"\xf5" if item else b"\xf4"
    if item is None:
        return b"\xf6"
    if isinstance(item, int):
        return _head(0, item)
    if isinstance(item, bytes):
        return _head(2, len(item)) + item
    if isinstance(item, str):
        raw = item.encode()
        return _head(3, len(raw)) + raw
    return _head(4, len(item)) + b"".join(map(encode, item))


def decode(raw, at=0):
    """The item at `at`, and where the next one begins."""
    first = raw[at]
    at += 1
    if first in (0xf4, 0xf5, 0xf6):
        return {0xf4: False, 0xf5: True, 0xf6: None}[first], at
    value = first & 0x1f
    if value >= 24:
        size = 1 << (value - 24)
        value = int.from_bytes(raw[at:at + size], "big")
        at += size
    major = first >> 5
    if major == 0:
        return value, at
    if major in (2, 3):
        text = raw[at:at + value]
        return (text if major == 2 else text.decode()), at + value
    assert major == 4, first
    items = []
    for _ in range(value):
        item, at = decode(raw, at)
        items.append(item)
    return items, at


class Event(dict):
    """One event of the agent: its fields by name, "event" is its kind."""
    FIELDS = {"ready": ("version", "pid", "confinement"), "log": ("line",),
              "mailbox": ("up", "step", "reason", "trouble"), "opened": ("uidvalidity", "uidnext", "exists"),
              "next": ("uidvalidity", "uid"), "moved": ("uidvalidity", "uids"),
              "read": ("uidvalidity", "uid", "size", "hash", "addressed", "tags", "kind", "rule", "recipients",
                       "envids", "message_ids", "headers")}

    def __init__(self, frame):
        items, end = decode(frame)
        assert end == len(frame), frame
        kind = KINDS[items[0]]
        names = self.FIELDS[kind]
        assert len(names) == len(items) - 1, items
        super().__init__(zip(names, items[1:]), event=kind, at=time.monotonic())


def by_report(read):
    """What the daemon would decide: notices are processed, what else came to us is unrecognised."""
    if not read["addressed"]:
        return LEAVE
    return PROCESSED if read["kind"] in (1, 2, 3) else UNRECOGNISED


class Memory:
    """What the daemon keeps when the agent dies."""

    def __init__(self, decide=by_report):
        self.decide = decide  # None: nothing is decided
        self.uidvalidity = 0
        self.reads = {}      # uid: event
        self.decided = {}    # uid: fate
        self.moved = []      # uids, in their order
        self.poison = []

    def resume(self, uidvalidity):
        if self.uidvalidity != uidvalidity:
            self.uidvalidity = uidvalidity
            self.reads, self.decided, self.moved = {}, {}, []
        waiting = [[uid, fate] for uid, fate in sorted(self.decided.items())
                   if fate != LEAVE and uid not in self.moved][:500]
        return [17, uidvalidity, max(self.decided, default=0), waiting, self.poison]


class Agent:
    """`settings`: of the mailbox; `port` is required. `limits`: what differs from LIMITS."""

    def __init__(self, settings, limits=None, memory=None, answer_opened=True):
        self.memory = memory or Memory()
        self.answer_opened = answer_opened
        self.events = []
        self.changed = threading.Condition()
        self.ended = False
        self.errors = tempfile.TemporaryFile()
        self.sending = threading.Lock()
        ours, theirs = socket.socketpair()
        self.channel = ours
        with theirs, tempfile.TemporaryFile() as lock:
            self.child = subprocess.Popen(
                [os.path.join(BIN, "mailotp-imap"), "--channel", str(theirs.fileno()), "--lock",
                 str(lock.fileno())], pass_fds=(theirs.fileno(), lock.fileno()), stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=self.errors)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        all_limits = {**LIMITS, **(limits or {})}
        given = {"host": "127.0.0.1", "tls": "implicit", "server_name": "relay.test", "ca_file": "",
                 "auth": "login", "username": "bounces", "password": "", "mailbox": "INBOX",
                 "processed": "Processed", "unrecognised": "Unrecognised", "bounce_local": "bounces",
                 "bounce_domain": "example.test", "keep": 30 * 86400, **settings}
        self.send([16, 1, [all_limits[name] for name in LIMITS],
                   [given["host"].encode(), given["port"], TLS[given["tls"]], given["server_name"].encode(),
                    given["ca_file"].encode(), AUTH[given["auth"]], given["username"].encode(),
                    given["password"].encode(), given["mailbox"].encode(), given["processed"].encode(),
                    given["unrecognised"].encode(), given["bounce_local"].encode(),
                    given["bounce_domain"].encode(), given["keep"]]])

    def send(self, order):
        frame = encode(order)
        with self.sending:
            try:
                self.channel.sendall(struct.pack(">I", len(frame)) + frame)
            except OSError:
                pass  # the agent has died; the reader finds out

    def set_password(self, password):
        self.send([19, password.encode()])

    def decide(self, uid, fate):
        self.memory.decided[uid] = fate
        self.send([18, self.memory.uidvalidity, uid, fate])

    def _frames(self):
        rest = b""
        while True:
            try:
                more = self.channel.recv(1 << 16)
            except OSError:
                return
            if not more:
                return
            rest += more
            while len(rest) >= 4:
                size = int.from_bytes(rest[:4], "big")
                if len(rest) < 4 + size:
                    break
                if size:
                    yield rest[4:4 + size]
                rest = rest[4 + size:]

    def _read(self):
        for frame in self._frames():
            event = Event(frame)
            self._answer(event)
            with self.changed:
                self.events.append(event)
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def _answer(self, event):
        memory = self.memory
        if event["event"] == "opened" and self.answer_opened:
            self.send(memory.resume(event["uidvalidity"]))
        elif event["event"] == "read":
            memory.reads[event["uid"]] = event
            if memory.decide:
                self.decide(event["uid"], memory.decide(event))
        elif event["event"] == "moved":
            memory.moved += event["uids"]

    def wait(self, condition, what):
        """The first true value of condition()."""
        end = time.monotonic() + BOUND
        with self.changed:
            while True:
                value = condition()
                if value:
                    return value
                if self.ended:
                    raise AssertionError(f"the agent ended before: {what}; {self.events[-10:]} {self.said()}")
                if time.monotonic() > end:
                    raise AssertionError(f"not within {BOUND:.0f} s: {what}; {self.events[-10:]}")
                self.changed.wait(0.02)  # the condition may be one of the server's

    def event(self, kind, after=0, **fields):
        """The first event of a kind with these fields, of those after number `after`."""
        def found():
            return next((event for event in self.events[after:] if event["event"] == kind
                         and all(event[name] == value for name, value in fields.items())), None)
        return self.wait(found, f"{kind} {fields}")

    def of(self, kind):
        return [event for event in self.events if event["event"] == kind]

    def down(self, step, after=0):
        return self.event("mailbox", after=after, up=False, step=step)

    def up(self, after=0):
        return self.event("mailbox", after=after, up=True)

    def wait_moved(self, count):
        self.wait(lambda: len(self.memory.moved) >= count, f"{count} mails moved")

    def said(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")[-3000:]

    def peak_memory(self):
        """Of the agent, KiB; 0 under a sanitizer, which keeps memory back on purpose."""
        if SANITIZED:
            return 0
        with open(f"/proc/{self.child.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

    def kill(self):
        self.child.kill()
        self._collect()

    def close(self):
        """Drains; checks that the program ends well and says nothing."""
        self.send([6, 5000])
        try:
            self.child.wait(BOUND)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        said = self.said()
        self._collect()
        assert self.child.returncode == 0 and not said, f"ended with {self.child.returncode}: {said}"

    def _collect(self):
        self.child.wait()
        self.reader.join(BOUND)
        self.channel.close()
        self.errors.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.child.returncode is not None:
            return
        if kind is None:
            self.close()
        else:
            sys.stderr.write(self.said())
            self.kill()
