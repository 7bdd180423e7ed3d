"""smtp-driver from Python: one relay of the agent's library, its jobs and its facts.

Environment: MAILOTP_BIN, the folder of the programs.
"""
import base64
import contextlib
import json
import os
import queue
import random
import subprocess
import threading
import time

BIN = os.path.abspath(os.environ.get("MAILOTP_BIN", "build/dev/bin"))
BOUND = 60.0
FINAL = {"relayed", "refused", "not_sent", "uncertain"}

HEADER = ("Date: Thu, 1 Jan 2026 00:00:00 +0000\r\nFrom: Sender <sender@example.test>\r\n"
          "To: u@example.test\r\nMessage-ID: <%s@test>\r\nSubject: a test\r\n"
          "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
          "Content-Transfer-Encoding: 8bit\r\n\r\n")


def mail(number, body=b"Your code is 123456.\r\n"):
    return (HEADER % number).encode() + body


def random_body(seed, eight_bit=True):
    """Lines that are hard to carry: dots, long, empty, 8-bit; CRLF only; with and without a last newline."""
    dice = random.Random(seed)
    letters = bytes(range(0x20, 0x7f)) + (bytes(range(0x80, 0x100)) if eight_bit else b"")
    lines = []
    for _ in range(dice.randrange(1, 60)):
        length = dice.choice([0, 0, 1, 2, 70, 998, 1500, dice.randrange(3000)])
        line = bytes(dice.choices(letters, k=length))
        lines.append(dice.choice([b"", b"", b".", b"..", b". "]) + line)
    return b"\r\n".join(lines) + dice.choice([b"\r\n", b"\r\n\r\n", b"\r\n.\r\n", b"\r\n\r\n.\r\n\r\n"])


class Driver:
    """`relay`: settings as smtp-driver takes them; `port` is required. `agent`: in mailotp-smtp, over its
    channel; else in the driver itself."""

    def __init__(self, relay, deadlines=None, dsn_notify=(), hostname="client.test", agent=False,
                 environment=None):
        words = [os.path.join(BIN, "smtp-driver")]
        if agent:
            words += ["--agent", os.path.join(BIN, "mailotp-smtp")]
        self.child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, env={**os.environ, **(environment or {})})
        self.facts = []
        self.errors = b""
        self.news = queue.Queue()
        self.readers = [threading.Thread(target=self._read_facts, daemon=True),
                        threading.Thread(target=self._read_errors, daemon=True)]
        for reader in self.readers:
            reader.start()
        self.order(op="hello", hostname=hostname, dsn_notify=list(dsn_notify), relay=relay,
                   deadlines=deadlines or {})

    def _read_facts(self):
        for line in self.child.stdout:
            self.news.put(json.loads(line))
        self.news.put(None)

    def _read_errors(self):
        self.errors = self.child.stderr.read()

    def order(self, **order):
        self.child.stdin.write(json.dumps(order).encode() + b"\n")
        self.child.stdin.flush()

    def sockets(self):
        """How many the process has: with no connection none."""
        count = 0
        for name in os.listdir(f"/proc/{self.child.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                count += os.readlink(f"/proc/{self.child.pid}/fd/{name}").startswith("socket:")
        return count

    def send(self, number, content=None, to="u@example.test", sender="bounces@example.test", **more):
        content = mail(number) if content is None else content
        self.order(op="job", id=number, to=to, **{"from": sender},
                   content=base64.b64encode(content).decode(), **more)

    def _next(self, what, end):
        try:
            fact = self.news.get(timeout=max(end - time.monotonic(), 0.001))
        except queue.Empty:
            raise AssertionError(f"not within {BOUND:.0f} s: {what}; facts: {self.facts[-10:]}") from None
        if fact is None:
            self.child.wait(BOUND)
            raise AssertionError(f"the driver ended ({self.child.returncode}) before {what}; "
                                 f"facts: {self.facts[-10:]}; {self.errors[-3000:].decode(errors='replace')}")
        self.facts.append(fact)

    def wait(self, condition, what):
        """The first fact, old or new, that fulfils the condition."""
        end = time.monotonic() + BOUND
        seen = 0
        while True:
            while seen < len(self.facts):
                if condition(self.facts[seen]):
                    return self.facts[seen]
                seen += 1
            self._next(what, end)

    def ended(self, number, attempt=1):
        """The final fact of a job."""
        return self.wait(lambda f: f["fact"] in FINAL and f["id"] == number and f["attempt"] == attempt,
                         f"the end of job {number}")

    def names(self, number):
        """The facts of a job, by name, so far."""
        return [f["fact"] for f in self.facts if f.get("id") == number]

    def fact(self, name):
        return self.wait(lambda f: f["fact"] == name, name)

    def close(self):
        """Drains; checks that the program ends well and says nothing on stderr."""
        try:
            self.child.stdin.close()
        except BrokenPipeError:
            pass
        if self.child.poll() is None:
            try:
                self.child.wait(BOUND)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
                raise
        for reader in self.readers:
            reader.join(BOUND)
        while not self.news.empty():
            fact = self.news.get()
            if fact:
                self.facts.append(fact)
        self.child.stdout.close()
        self.child.stderr.close()
        assert self.child.returncode == 0 and not self.errors, (
            f"driver ended with {self.child.returncode}: {self.errors[-3000:].decode(errors='replace')}")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.close()
            return
        self.child.kill()
        self.child.wait()
        for reader in self.readers:
            reader.join(BOUND)
        for pipe in (self.child.stdin, self.child.stdout, self.child.stderr):
            pipe.close()
