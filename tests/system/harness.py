"""A daemon of its own for each test: configuration, start, stop, kill -9, and HTTP over its sockets.

Environment: MAILOTP_BIN, the folder of the programs; MAILOTP_TEMPLATES, the templates that are shipped.
Every wait has a bound; every process that is started here is ended here.
"""
import array
import contextlib
import email
import email.policy
import fcntl
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import termios
import time
import unittest

BIN = os.path.abspath(os.environ.get("MAILOTP_BIN", "build/dev/bin"))
TEMPLATES = os.path.abspath(os.environ.get("MAILOTP_TEMPLATES", "templates"))
# Generous: sanitizers on a busy machine are ten times slower than the real thing.
BOUND = 60.0

MAIN_PURPOSES = {
    "purpose.login": {},
    "purpose.quick": {"cooldown": "0s", "max_sends": 5},
    "purpose.crockford": {"alphabet": "crockford32", "length": 8, "max_attempts": 20},
    "purpose.long": {"alphabet": "alphanumeric", "length": 10},
    "purpose.once": {"max_attempts": 1, "max_sends": 1, "cooldown": "0s"},
}


def wait_for(condition, what, bound=BOUND):
    """The first true value of condition(); fails with `what` (text or a call that makes it) after `bound` s."""
    end = time.monotonic() + bound
    pause = 0.001
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            text = what() if callable(what) else what
            raise AssertionError(f"not within {bound:.0f} s: {text}")
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


def toml(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def table(name, keys):
    return f"[{name}]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in keys.items()) + "\n"


# ---- Processes, through /proc


def is_alive(pid):
    """False for a process that is gone, and for one that only waits to be reaped."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def children(pid):
    """{pid: program} of its living children."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError):
            with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as stat:
                head, _, tail = stat.read().rpartition(")")
            state, parent = tail.split()[:2]
            if int(parent) == pid and state not in ("Z", "X"):
                found[int(name)] = head.partition("(")[2]
    return found


def open_files(pid):
    """{descriptor: what it is} of a process."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
    return found


# ---- HTTP


class Response:
    def __init__(self, status, headers, body, request=""):
        self.status = status
        self.headers = headers  # names in lower case
        self.body = body
        self.request = request

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        """The problem's `code`, or None."""
        return self.json.get("code") if "problem" in self.headers.get("content-type", "") else None

    def __repr__(self):
        return f"{self.request}\n  -> {self.status} {self.headers}\n     {self.body[:2000]!r}"


class Unix(http.client.HTTPConnection):
    def __init__(self, path, timeout=BOUND):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(self.path)
        except OSError:
            self.sock.close()
            self.sock = None
            raise


class Client:
    """Kept-alive requests over one connection."""

    def __init__(self, path, timeout=BOUND):
        self.connection = Unix(path, timeout)

    def close(self):
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def request(self, method, target, body=None, headers=None):
        """`body`: a value that becomes JSON, or bytes as they are."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = dict(headers or {})
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        self.connection.request(method, target, data, sent)
        answer = self.connection.getresponse()
        content = answer.read()
        shown = (data or b"")[:500].decode("utf-8", "replace")
        return Response(answer.status, {k.lower(): v for k, v in answer.getheaders()}, content,
                        f"{method} {target} {sent} {shown}")


class Raw:
    """Bytes as they are, over one connection; reads answers one by one."""

    def __init__(self, path, timeout=BOUND):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise
        self.buffer = b""

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def fileno(self):
        return self.socket.fileno()

    def send(self, data):
        self.socket.sendall(data)

    def wait_taken(self):
        """Until the daemon has read all that was sent, so that the next bytes are another read of its."""
        left = array.array("i", [0])

        def taken():
            fcntl.ioctl(self.socket.fileno(), termios.TIOCOUTQ, left)
            return left[0] == 0
        wait_for(taken, "the daemon reads what was sent")

    def _more(self):
        try:
            got = self.socket.recv(65536)
        except ConnectionResetError:
            got = b""
        self.buffer += got
        return bool(got)

    def response(self):
        """The next answer, or None when the daemon has closed without one."""
        while b"\r\n\r\n" not in self.buffer:
            if not self._more():
                if self.buffer:
                    raise AssertionError(f"closed inside an answer's header: {self.buffer!r}")
                return None
        head, _, rest = self.buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        status = re.fullmatch(r"HTTP/1\.1 (\d{3}) ?.*", lines[0])
        if not status:
            raise AssertionError(f"not a status line: {lines[0]!r}")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        number = int(status.group(1))
        length = 0 if number in (204, 304) or number < 200 else int(headers["content-length"])
        self.buffer = rest
        while len(self.buffer) < length:
            if not self._more():
                raise AssertionError(f"closed inside an answer's body: {head!r} {self.buffer!r}")
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return Response(number, headers, body)

    def is_closed(self):
        """Waits for the daemon to close; False when it sends something instead."""
        try:
            return self.buffer == b"" and not self._more()
        except TimeoutError:
            return False


def http_bytes(method, target, body=None, headers=()):
    """A whole request as bytes."""
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *headers]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + data


# ---- The daemon


class Daemon:
    """One folder: configuration, key, state, mails. It may be started in it many times."""

    def __init__(self, **tables):
        # Not $TMPDIR: a socket's path must stay under 108 bytes.
        self.folder = tempfile.mkdtemp(prefix="mailotp-", dir="/tmp")
        self.state = os.path.join(self.folder, "state")
        self.key = os.path.join(self.folder, "otp.key")
        self.config = os.path.join(self.folder, "mailotpd.toml")
        self.api_socket = os.path.join(self.folder, "api.sock")
        self.admin_socket = os.path.join(self.folder, "admin.sock")
        self.mails = os.path.join(self.folder, "mails")
        self.log_path = os.path.join(self.folder, "log")
        self.process = None
        self.agents = set()
        self._mails = {}
        os.mkdir(self.state, 0o700)
        self.write_config(**tables)

    # -- the folder

    def write_config(self, **tables):
        """Tables by name, laid over those of the tests; a list makes an array of tables ([[app]]). `relay` is the
        capture relay, another one, or a list."""
        every = {
            "daemon": {"mode": "development", "state_dir": self.state, "api_socket": self.api_socket,
                       "admin_socket": self.admin_socket, "key_file": self.key, "templates": TEMPLATES,
                       "log": "text"},
            "mail": {"from": "Example <no-reply@example.org>", "bounce_address": "bounces@example.org",
                     "hostname": "otp.example.org", "locale": "en"},
            "limits": {"recipient_sends": [], "recipient_failures": [], "client_sends": []},
            "brake": {"floor": 1_000_000_000},
            **MAIN_PURPOSES,
        }
        for name, keys in tables.items():
            every[name] = keys if isinstance(keys, list) else {**every.get(name, {}), **keys}
        relays = every.pop("relay", {})
        if not isinstance(relays, list):
            if "host" not in relays:
                relays = {"name": "capture", "kind": "capture", "directory": self.mails, **relays}
            relays = [relays]
        every["relay"] = relays
        text = "".join(table(f"[{name}]", one) for name, keys in every.items() if isinstance(keys, list) for one in keys)
        text = "".join(table(name, keys) for name, keys in every.items() if not isinstance(keys, list)) + text
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(text)
        return text

    def keygen(self):
        done = subprocess.run([os.path.join(BIN, "mailotpctl"), "keygen", self.key], capture_output=True,
                              text=True, timeout=BOUND, check=False)
        if done.returncode != 0:
            raise AssertionError(f"mailotpctl keygen: exit {done.returncode}\n{done.stdout}{done.stderr}")

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def log_tail(self):
        return "the daemon's log ends:\n  " + "\n  ".join(self.log().splitlines()[-15:])

    # -- the process

    def command(self, *more):
        return [os.path.join(BIN, "mailotpd"), "--config", self.config, *more]

    def run(self, *more, bound=BOUND):
        """Runs it to its end: for starts that must be refused. CompletedProcess with text."""
        return subprocess.run(self.command(*more), capture_output=True, text=True, timeout=bound, check=False,
                              cwd=self.folder, stdin=subprocess.DEVNULL)

    def launch(self, environment=None):
        """Starts it, and waits for nothing. `environment`: variables over our own."""
        if not os.path.exists(self.key):
            self.keygen()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            cwd=self.folder, env={**os.environ, **(environment or {})})

    def start(self):
        """Starts it and waits until it is ready."""
        self.launch()
        self.wait_ready()
        return self

    def is_listening(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon ended with {self.process.returncode}; {self.log_tail()}")
        try:
            with Client(self.api_socket) as client:
                return client.request("GET", "/healthz").status == 200
        except (OSError, http.client.HTTPException):
            return False

    def wait_listening(self):
        """For a daemon that may never be ready: its relay is down."""
        wait_for(self.is_listening, lambda: f"/healthz answers 200; {self.log_tail()}")

    def is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon ended with {self.process.returncode}; {self.log_tail()}")
        try:
            with Client(self.api_socket) as client:
                return client.request("GET", "/readyz").status == 200
        except (OSError, http.client.HTTPException):
            return False

    def wait_ready(self):
        wait_for(self.is_ready, lambda: f"/readyz answers 200; {self.log_tail()}")
        self.agents |= set(self.agent_pids())

    @property
    def pid(self):
        return self.process.pid

    def agent_pids(self):
        """The living agents of the daemon."""
        return sorted(children(self.pid)) if self.process and self.process.poll() is None else []

    def agent(self):
        """The pid of the one agent, once it is there."""
        pids = wait_for(self.agent_pids, lambda: f"an agent runs; {self.log_tail()}")
        self.agents |= set(pids)
        return pids[0]

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, bound=BOUND):
        """Its exit code."""
        try:
            return self.process.wait(bound)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the daemon did not end within {bound:.0f} s; {self.log_tail()}") from None

    def stop(self):
        """SIGTERM; the exit code."""
        self.agents |= set(self.agent_pids())
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self):
        """kill -9 of the daemon alone."""
        self.agents |= set(self.agent_pids())
        self.process.kill()
        self.process.wait(BOUND)

    def destroy(self):
        """Ends what still runs and removes the folder; fails when an agent outlives its daemon."""
        left = []
        if self.process and self.process.poll() is None:
            self.kill()
        if self.process:
            try:
                wait_for(lambda: not any(is_alive(pid) for pid in self.agents), "the agents end", bound=20)
            except AssertionError:
                left = [pid for pid in self.agents if is_alive(pid)]
                for pid in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)
        if left:
            raise AssertionError(f"agents outlived their daemon by 20 s: {left}")

    # -- talking to it

    def api(self, method, target, body=None, headers=None):
        with Client(self.api_socket) as client:
            return client.request(method, target, body, headers)

    def admin(self, method, target, body=None, headers=None):
        with Client(self.admin_socket) as client:
            return client.request(method, target, body, headers)

    def ctl(self, *words):
        return subprocess.run([os.path.join(BIN, "mailotpctl"), "--socket", self.admin_socket, *words],
                              capture_output=True, text=True, timeout=BOUND, check=False)

    # -- its mails

    def mail_bytes(self):
        """The mails of the maildir, oldest first. A maildir never changes a mail: each is read once."""
        folder = os.path.join(self.mails, "new")
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            if name not in self._mails:
                path = os.path.join(folder, name)
                with open(path, "rb") as file:
                    self._mails[name] = (os.stat(path).st_mtime_ns, file.read())
        return [raw for _, raw in sorted(self._mails.values())]

    def mails_to(self, recipient):
        found = [raw for raw in self.mail_bytes() if recipient.encode() in raw.partition(b"\r\n\r\n")[0]]
        return [mail for mail in map(parse_mail, found) if recipient in str(mail["To"])]

    def code_for(self, recipient, count=1):
        """The code in the newest mail to `recipient`, once `count` mails to it have come."""
        found = wait_for(lambda: len(self.mails_to(recipient)) >= count and self.mails_to(recipient),
                         lambda: f"{count} mail(s) to {recipient} in the maildir; {self.log_tail()}")
        return code_in(found[-1])


def parse_mail(raw):
    return email.message_from_bytes(raw, policy=email.policy.default)


def code_in(mail):
    """The code of a mail: alone on its line of the text."""
    text = mail.get_body(("plain",)).get_content()
    found = [line.strip() for line in text.splitlines() if re.fullmatch(r"\s*[0-9A-Z]{4,12}\s*", line)]
    if len(found) != 1:
        raise AssertionError(f"expected one line with a code, found {found} in:\n{text}")
    return found[0]


def wrong_digits(code):
    """Another code of the same length."""
    return str((int(code) + 1) % 10 ** len(code)).zfill(len(code))


# ---- Test cases


class SystemTest(unittest.TestCase):
    maxDiff = None

    def new_daemon(self, **tables):
        daemon = Daemon(**tables)
        self.addCleanup(daemon.destroy)
        return daemon

    def expect(self, response, status, code=None):
        """The answer's JSON, after its status (one, or several), its `code` and what all answers share."""
        allowed = (status,) if isinstance(status, int) else tuple(status)
        if response is None:
            self.fail(f"no answer, the daemon closed the connection; expected {allowed} {code or ''}")
        self.assertIn(response.status, allowed, f"\n{response!r}")
        self.assertTrue(response.headers.get("x-request-id"), f"no X-Request-Id\n{response!r}")
        self.assertEqual(response.headers.get("cache-control"), "no-store", f"\n{response!r}")
        if response.status >= 400:
            self.assert_problem(response, code)
        elif code:
            self.fail(f"expected the problem {code}\n{response!r}")
        return response.json if response.body else None

    def assert_problem(self, response, code):
        self.assertEqual(response.headers.get("content-type"), "application/problem+json", f"\n{response!r}")
        problem = response.json
        for key in ("type", "title", "status", "detail", "code", "request_id"):
            self.assertIn(key, problem, f"\n{response!r}")
        self.assertEqual(problem["status"], response.status, f"\n{response!r}")
        self.assertEqual(problem["type"], "urn:mailotpd:error:" + problem["code"], f"\n{response!r}")
        self.assertEqual(problem["request_id"], response.headers["x-request-id"], f"\n{response!r}")
        self.assertTrue(problem["detail"], f"no word for people\n{response!r}")
        if code:
            self.assertEqual(problem["code"], code, f"\n{response!r}")
        if response.status in (429, 503):
            self.assertGreaterEqual(problem.get("retry_after", -1), 0, f"\n{response!r}")
            self.assertEqual(response.headers.get("retry-after"), str(problem["retry_after"]), f"\n{response!r}")
        if response.status == 429:
            self.assertLessEqual({"name", "max", "period_seconds", "reset_at"}, set(problem.get("limit", {})),
                                 f"\n{response!r}")


class SharedDaemonTest(SystemTest):
    """One daemon for the whole class: each test takes addresses of its own."""

    TABLES = {}

    @classmethod
    def setUpClass(cls):
        cls.shared = Daemon(**cls.TABLES)
        cls.addClassCleanup(cls.shared.destroy)
        cls.shared.start()

    def setUp(self):
        self.client = Client(self.shared.api_socket)
        self.addCleanup(self.client.close)

    def address(self, name="user"):
        test = self.id().rpartition(".")[2].replace("test_", "").replace("_", "-")[:40]
        return f"{name}.{test}@example.org"

    def post(self, target, body=None, headers=None):
        return self.client.request("POST", target, {} if body is None else body, headers)

    def get(self, target, headers=None):
        return self.client.request("GET", target, None, headers)

    def create(self, recipient, **fields):
        """The challenge, created."""
        return self.expect(self.post("/v1/challenges", {"recipient": recipient, **fields}), 201)

    def check(self, challenge, code, **fields):
        return self.expect(self.post(f"/v1/challenges/{challenge['id']}/check", {"code": code, **fields}), 200)

    def code_for(self, recipient, count=1):
        return self.shared.code_for(recipient, count)


if __name__ == "__main__":
    raise SystemExit("harness.py is no test")
