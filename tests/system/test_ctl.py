"""mailotpctl against living daemons: every verb, what a terminal gets, what a shell may complete, how it ends."""
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import unicodedata
import unittest

from harness import BIN, BOUND, SystemTest, Unix, code_in, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tests", "smtp"))
sys.path.insert(0, os.path.join(TOP, "tests", "ctl"))
from fake_daemon import FakeDaemon, problem  # noqa: E402
from scripted_relay import ScriptedRelay  # noqa: E402

CTL = os.path.join(BIN, "mailotpctl")
COMPLETION = os.path.join(TOP, "ctl", "mailotpctl.bash-completion")
NO_ID = "0190b5a0-7c1e-7e3a-9f00-0123456789ab"
NOBODY = 65534
# Verbs whose tests are elsewhere: they have a file of their own.
ELSEWHERE = {("backup",), ("doctor",)}


def ctl(path, *words, **more):
    return subprocess.run([CTL, "--socket", path, *words], capture_output=True, text=True, timeout=BOUND, check=False,
                          stdin=subprocess.DEVNULL, **more)


def words_after(*typed):
    """What the program says may come after these words."""
    done = subprocess.run([CTL, "complete-words", "--", *typed, ""], capture_output=True, text=True, timeout=BOUND,
                          check=False, env={**os.environ, "MAILOTPD_ADMIN_SOCKET": "/nonexistent"})
    return done.stdout.split()


def all_verbs():
    """Every verb as its words, as the program itself knows them."""
    found = set()
    for verb in words_after():
        below = [(verb, word) for word in words_after(verb)]
        found |= set(below) if below else {(verb,)}
    return found


class Case(SystemTest):
    def end(self, result, code, says=None):
        self.assertEqual(result.returncode, code, f"{result.args}\n{result.stdout}{result.stderr}")
        if code == 0:
            self.assertEqual(result.stderr, "", result.args)
        if says:
            self.assertIn(says, result.stderr)
        return result.stdout


class EveryVerb(Case):
    """Each verb once for people and once for programs."""

    def setUp(self):
        self.called = set()
        self.daemon = self.new_daemon()
        self.daemon.start()

    def run_both(self, *words, also=(), code=0):
        """The text for people and the values for programs; `also`: words that are no verb's."""
        self.called.add(words[:2] if words[:2] in all_verbs_once() else words[:1])
        people = self.end(ctl(self.daemon.admin_socket, *words, *also), code)
        lines = self.end(ctl(self.daemon.admin_socket, "--json", *words, *also), code)
        return people, [json.loads(line) for line in lines.splitlines()]

    def create(self, recipient):
        return self.expect(self.daemon.api("POST", "/v1/challenges", {"recipient": recipient, "purpose": "quick"}), 201)

    def relayed(self, message):
        wait_for(lambda: self.daemon.admin("GET", f"/v1/outbox/{message}").json["state"] == "relayed", "it left")

    def test_every_verb(self):
        made = self.create("alice@example.org")
        message = made["message"]["id"]
        self.relayed(message)
        people, (status,) = self.run_both("status")
        self.assertRegex(people, r"\Amailotpd \d+\.\d+\.\d+, mode development: ready\n")
        self.assertEqual(status["stats"]["messages"]["relayed"], 1)
        people, rows = self.run_both("outbox", "list", also=("--recipient", "alice@example.org"))
        self.assertEqual([row["id"] for row in rows], [message])
        self.assertEqual(people.split()[:9], "ID STATE AGE TRIES NEXT RECIPIENT APP RELAY LAST".split())
        self.assertRegex(people.splitlines()[1], rf"\A{message}  relayed +\d+s +1 +-  alice@example\.org +default +capture +")
        people, (shown,) = self.run_both("outbox", "show", also=(message,))
        self.assertIn("message.relayed", [event["type"] for event in shown["events"]])
        self.assertIn("message.relayed", people)
        people, (shown,) = self.run_both("challenge", "show", also=(made["id"],))
        self.assertEqual(shown["id"], made["id"])
        self.assertIn("otp_sent", people)
        people, told = self.run_both("timeline", also=("alice@example.org",))
        self.assertIn("message.relayed", [event["type"] for event in told])
        self.assertIn(message, people)
        people, (relay,) = self.run_both("relay", "list")
        self.assertEqual((relay["name"], relay["state"]), ("capture", "up"))
        self.assertRegex(people, r"\ncapture +up +closed ")
        self.run_both("relay", "test", also=("capture",))
        people, _ = self.run_both("relay", "suspend", also=("capture",))
        self.assertRegex(people, r"\ncapture +suspended ")
        self.orders()
        people, _ = self.run_both("relay", "resume", also=("capture",))
        self.assertRegex(people, r"\ncapture +up ")
        self.templates()
        self.addresses()
        self.keys_and_configuration()
        self.called.add(("tail",))  # Tail, below
        self.assertEqual(all_verbs_once() - self.called - ELSEWHERE, set(), "verbs that nobody has called")

    def orders(self):
        """While the relay is suspended."""
        waiting = self.create("bob@example.org")["message"]["id"]
        for order, state in (("hold", "held"), ("release", "queued"), ("retry", "queued")):
            people, (row,) = self.run_both("outbox", order, also=(waiting,))
            self.assertEqual((row["id"], row["state"]), (waiting, state))
            self.assertIn(f"{waiting}  {state}", people)
        people, done = self.run_both("outbox", "flush")
        self.assertEqual((people, done), ("nothing was deferred\n", [{"flushed": 0}]))
        self.end(ctl(self.daemon.admin_socket, "outbox", "cancel", waiting), 2, "--yes")
        self.assertIn(f"{waiting}  canceled", self.end(ctl(self.daemon.admin_socket, "outbox", "cancel", waiting, "--yes"), 0))
        message = self.create("carl@example.org")["message"]["id"]
        row = json.loads(self.end(ctl(self.daemon.admin_socket, "--json", "outbox", "cancel", message, "--yes"), 0))
        self.assertEqual(row["state"], "canceled")
        self.called.add(("outbox", "cancel"))
        self.end(ctl(self.daemon.admin_socket, "outbox", "hold", message), 1, "(message_closed)")

    def templates(self):
        people, (one,) = self.run_both("template", "list")
        self.assertEqual(one["name"], "otp")
        self.assertRegex(people, r"\ATEMPLATE +LOCALE +VERSION +ORIGIN +CODE +VARIABLES\notp +de +[0-9a-f]{16} +overridden +yes +name\n")
        people, (mail,) = self.run_both("template", "preview", also=("otp", "--data", "name=Bärbel"))
        self.assertIn("Bärbel", people)
        self.assertEqual(people, f"{mail['subject']}\n\n{mail['text']}")
        people, rows = self.run_both("template", "test-send", also=("otp", "tester@example.org", "--wait"))
        self.assertEqual([row["recipient"] for row in rows], ["tester@example.org"] * 2)
        self.assertEqual(rows[-1]["state"], "relayed")
        self.assertEqual([line.split()[1] for line in people.splitlines()][::2], ["STATE", "relayed"])

    def addresses(self):
        people, (one,) = self.run_both("suppress", "add", also=("dora@example.org", "--class", "spam"))
        self.assertEqual((one["address"], one["class"]), ("dora@example.org", "spam"))
        people, (one,) = self.run_both("suppress", "list")
        self.assertRegex(people, r"\ndora@example\.org +spam +always ")
        self.end(ctl(self.daemon.admin_socket, "suppress", "remove", "dora@example.org"), 0)
        self.assertEqual(self.end(ctl(self.daemon.admin_socket, "suppress", "remove", "dora@example.org"), 1, "(not_found)"), "")
        self.end(ctl(self.daemon.admin_socket, "suppress", "add", "dora@example.org"), 0)
        self.end(ctl(self.daemon.admin_socket, "--json", "suppress", "remove", "dora@example.org"), 0)
        self.called.add(("suppress", "remove"))
        message_id = self.daemon.admin("GET", "/v1/outbox?recipient=alice@example.org").json["items"][0]["message_id"]
        self.expect(self.daemon.admin("POST", "/v1/bounces", {"message_id": message_id, "action": "failed", "status": "5.1.1"}), 200)
        people, rows = self.run_both("bounces", also=("--class", "user-unknown"))
        self.assertEqual(rows[0]["recipient"], "alice@example.org")
        self.assertIn("user-unknown", people)
        people, (none,) = self.run_both("erase", also=("alice@example.org", "--yes"))
        self.assertRegex(people, r"\Aalice@example\.org: erased, with \d+ rows\n\Z")
        self.assertEqual(none, {"rows": 0})
        self.end(ctl(self.daemon.admin_socket, "erase", "alice@example.org"), 2, "--yes")

    def keys_and_configuration(self):
        people, _ = self.run_both("reload")
        self.assertTrue(people)
        for n, json_too in enumerate(((), ("--json",))):
            path = os.path.join(self.daemon.folder, f"new{n}.key")
            self.end(ctl(self.daemon.admin_socket, *json_too, "keygen", path), 0)
            self.assertTrue(os.path.exists(path))
        self.end(ctl(self.daemon.admin_socket, "keygen", path), 1, "was not touched")
        self.assertEqual(ctl(self.daemon.admin_socket, "check-config", self.daemon.config).returncode, 0)
        with open(self.daemon.config, "a", encoding="utf-8") as config:
            config.write("[nonsense]\n")
        self.assertEqual(ctl(self.daemon.admin_socket, "check-config", self.daemon.config).returncode, 78)
        self.assertIn("nonsense", self.end(ctl(self.daemon.admin_socket, "reload"), 1) or
                      ctl(self.daemon.admin_socket, "reload").stderr)
        self.called |= {("keygen",), ("check-config",)}


_VERBS = []


def all_verbs_once():
    if not _VERBS:
        _VERBS.append(all_verbs())
    return _VERBS[0]


class Ends(Case):
    """How it ends, and whether the line that it says helps."""

    def test_no_daemon(self):
        daemon = self.new_daemon()
        for verb in (("status",), ("outbox", "list"), ("template", "list"), ("template", "preview", "otp"), ("tail",),
                     ("relay", "list", "--watch")):
            self.assertEqual(self.end(ctl(daemon.admin_socket, *verb), 69, "no daemon at"), "")

    def test_no_permission(self):
        """As a user who is neither root nor in the socket's group."""
        daemon = self.new_daemon(daemon={"admin_mode": "0600"})
        daemon.start()
        os.chmod(daemon.folder, 0o755)
        if os.geteuid() != 0:
            os.chmod(daemon.admin_socket, 0)
        program = os.path.join(daemon.folder, "mailotpctl")  # nobody may not reach the build folder
        shutil.copy(CTL, program)
        drop = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        for verb in (("status",), ("tail",), ("template", "list")):
            done = subprocess.run([program, "--socket", daemon.admin_socket, *verb], capture_output=True, text=True,
                                  timeout=BOUND, check=False, cwd="/", stdin=subprocess.DEVNULL, **drop)
            self.assertEqual(self.end(done, 77, "no permission for"), "")
            self.assertIn("join that group, or run as root", done.stderr)

    def test_another_version(self):
        """A daemon that does not know the call, one that knows nothing, one whose answer is of another shape."""
        old = {"/v1": (200, {"name": "mailotpd", "version": "0.0.7", "mode": "production"})}
        for verb in (("template", "list"), ("template", "preview", "otp"), ("template", "test-send", "otp", "a@example.org"),
                     ("outbox", "list"), ("outbox", "flush"), ("tail",)):
            with self.subTest(verb), FakeDaemon(dict(old)) as daemon:
                said = "the daemon is version 0.0.7 and this mailotpctl"
                self.assertEqual(self.end(ctl(daemon.socket, *verb), 1, said), "")
        none = {"/v1": problem(404, "not_found", "try /v2")}
        with FakeDaemon(none) as daemon:
            self.end(ctl(daemon.socket, "relay", "list"), 1, "does not know GET /v1 either")
        with FakeDaemon({**old, "/v1/relays": (200, {"relays": []})}) as daemon:
            done = ctl(daemon.socket, "relay", "list")
            self.end(done, 1, "cannot be read")
            self.assertIn("version 0.0.7", done.stderr)
        # The version is no matter where the id is only unknown.
        with FakeDaemon({}) as daemon:
            self.assertNotIn("version", ctl(daemon.socket, "outbox", "show", NO_ID).stderr)

    def test_try_again(self):
        """A relay that is down and an outbox that is full: 503 is 75."""
        relay = {"name": "only", "host": "127.0.0.1", "port": closed_port(), "tls": "none", "auth": "none"}
        daemon = self.new_daemon(daemon={"mode": "production"}, relay=[relay], delivery={"max_open_messages": 1})
        daemon.launch()
        daemon.wait_listening()
        test = ("template", "test-send", "otp")
        self.end(ctl(daemon.admin_socket, *test, "a@example.org"), 0)
        self.end(ctl(daemon.admin_socket, *test, "b@example.org"), 75, "(overloaded)")
        self.end(ctl(daemon.admin_socket, "status"), 0)

    def test_usage(self):
        for words in ((), ("frob",), ("outbox",), ("template",), ("template", "preview"), ("template", "test-send", "otp"),
                      ("template", "preview", "otp", "--text", "--html"), ("template", "preview", "otp", "--data", "x"),
                      ("template", "test-send", "otp", "a@example.org", "--wait=soon"), ("status", "--watch=0"),
                      ("status", "--watch=x"), ("tail", "now"), ("tail", "--watch"), ("outbox", "flush", "--watch")):
            with self.subTest(words):
                self.assertEqual(self.end(ctl("/nonexistent", *words), 2, "mailotpctl"), "")


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Templates(Case):
    def test_what_is_asked_for_is_shown(self):
        daemon = self.new_daemon()
        daemon.start()
        html = self.end(ctl(daemon.admin_socket, "template", "preview", "otp", "--html", "--locale", "de-AT"), 0)
        self.assertIn("<html", html)
        text = self.end(ctl(daemon.admin_socket, "template", "preview", "otp", "--text", "--locale", "de-AT"), 0)
        self.assertIn("Alice", text)  # the sample
        self.assertRegex(text, r"(?m)^123456$")
        without = self.end(ctl(daemon.admin_socket, "template", "preview", "otp", "--text", "--data", "name="), 0)
        self.assertNotIn("Alice", without)
        crockford = self.end(ctl(daemon.admin_socket, "template", "preview", "otp", "--text", "--purpose", "crockford"), 0)
        self.assertRegex(crockford, r"(?m)^12345678$")
        for words, says in ((("none",), "no template of this name"), (("otp", "--data", "x=y"), "data.x"),
                            (("otp", "--purpose", "none"), "purpose"), (("otp", "--app", "none"), "app"),
                            (("otp", "--data", "name=http://evil.example"), "data.name")):
            self.end(ctl(daemon.admin_socket, "template", "preview", *words), 1, says)
        # Nothing of it is a mail.
        self.assertEqual(daemon.admin("GET", "/v1/stats").json["accepted_total"], 0)

    def test_a_test_is_a_mail_but_no_code(self):
        """It takes the way of every mail; its code opens nothing; it spends nothing of the recipient."""
        daemon = self.new_daemon(limits={"recipient_sends": ["1/1h"], "recipient_failures": [], "client_sends": []})
        daemon.start()
        for _ in range(2):
            self.end(ctl(daemon.admin_socket, "template", "test-send", "otp", "alice@example.org", "--wait"), 0)
        code = code_in(daemon.mails_to("alice@example.org")[-1])
        made = self.expect(daemon.api("POST", "/v1/challenges", {"recipient": "alice@example.org"}), 201)
        real = daemon.code_for("alice@example.org", 3)
        if real != code:  # one in a million
            checked = self.expect(daemon.api("POST", f"/v1/challenges/{made['id']}/check", {"code": code}), 200)
            self.assertEqual(checked["result"], "invalid")
        row = daemon.admin("GET", "/v1/outbox?recipient=alice@example.org").json["items"][-1]
        self.assertEqual((row["metadata"], row["challenge"], row["template"]), ({"test_send": True}, None, "otp"))
        events = self.end(ctl(daemon.admin_socket, "--json", "outbox", "show", row["id"]), 0)
        first = json.loads(events)["events"][0]
        self.assertEqual((first["type"], first["actor"], first["uid"]), ("message.queued", "operator", os.getuid()))
        self.assertNotIn(code, daemon.log())
        self.end(ctl(daemon.admin_socket, "suppress", "add", "alice@example.org"), 0)
        self.end(ctl(daemon.admin_socket, "template", "test-send", "otp", "alice@example.org"), 1, "(recipient_suppressed)")

    def test_one_that_fails_and_one_that_waits(self):
        relay = ScriptedRelay([]).start()
        self.addCleanup(relay.stop)
        at = {"name": "only", "host": "127.0.0.1", "port": relay.port, "tls": "none", "auth": "none"}
        daemon = self.new_daemon(daemon={"mode": "production"}, relay=[at], delivery={"retry_templated": ["1h"], "greylist": ["1h"]})
        daemon.start()
        test = ("template", "test-send", "otp")
        failed = ctl(daemon.admin_socket, *test, "nouser-a@example.org", "--wait")
        self.end(failed, 1, "the mail is failed: 550 5.1.1 no such user")
        waits = ctl(daemon.admin_socket, *test, "busy-b@example.org", "--wait=2")
        self.end(waits, 75, "the mail is still")
        message = re.search(r'"outbox show (\S+)" follows it', waits.stderr).group(1)
        self.assertIn("busy-b@example.org", self.end(ctl(daemon.admin_socket, "outbox", "show", message), 0))

    def test_apps(self):
        daemon = self.new_daemon(app=[{"name": "shop", "uids": [os.getuid()], "from": "Shop <login@shop.example>"},
                                      {"name": "blog", "uids": [54321]}])
        daemon.start()
        test = ("template", "test-send", "otp", "alice@example.org")
        self.end(ctl(daemon.admin_socket, *test), 1, "app: is required where there are several; there are shop, blog")
        self.end(ctl(daemon.admin_socket, *test, "--app", "shop", "--wait"), 0)
        self.assertEqual(daemon.mails_to("alice@example.org")[-1]["From"], "Shop <login@shop.example>")
        self.assertEqual(json.loads(self.end(ctl(daemon.admin_socket, "--json", "outbox", "list"), 0))["app"], "shop")
        for words in (("list",), ("preview", "otp")):
            self.end(ctl(daemon.admin_socket, "template", *words, "--app", "blog"), 0)
            self.end(ctl(daemon.admin_socket, "template", *words, "--app", "none"), 1, "app: ")


class Running:
    """A verb that goes on: its lines as they come."""

    def __init__(self, case, *words, **more):
        self.process = subprocess.Popen([CTL, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, **more)
        self.out, self.err = [], []
        self.threads = [threading.Thread(target=self.read, args=pair) for pair in
                        ((self.process.stdout, self.out), (self.process.stderr, self.err))]
        for thread in self.threads:
            thread.start()
        case.addCleanup(self.kill)

    @staticmethod
    def read(pipe, lines):
        for line in pipe:
            lines.append(line)

    def has(self, condition, what):
        return wait_for(lambda: condition(list(self.out)), lambda: f"{what}: {self.out} {self.err}")

    def end(self):
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(BOUND)
        for thread in self.threads:
            thread.join(BOUND)
        return code

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(BOUND)
        for thread in self.threads:
            thread.join(BOUND)
        self.process.stdout.close()
        self.process.stderr.close()


class Tail(Case):
    def streams(self, daemon, count):
        """Until so many streams are open: from then on an event is told."""
        text = rf"(?m)^mailotpd_event_streams {count}$"
        wait_for(lambda: re.search(text, daemon.admin("GET", "/metrics").body.decode()), f"{count} streams are open")

    def test_events_of_a_daemon_that_is_started_again(self):
        daemon = self.new_daemon()
        daemon.start()
        programs = Running(self, "--socket", daemon.admin_socket, "--json", "tail")
        people = Running(self, "--socket", daemon.admin_socket, "tail")
        only = Running(self, "--socket", daemon.admin_socket, "--json", "tail", "--type", "message.relayed", "--type", "challenge")
        other = Running(self, "--socket", daemon.admin_socket, "--json", "tail", "--app", "nobody")
        self.streams(daemon, 4)

        def send(recipient):
            made = self.expect(daemon.api("POST", "/v1/challenges", {"recipient": recipient}), 201)
            return made["message"]["id"]

        def relayed(message):
            return lambda lines: [line for line in lines if message in line and "message.relayed" in line]
        before = send("a@example.org")
        programs.has(relayed(before), "the event comes")
        self.assertEqual(daemon.stop(), 0)
        wait_for(lambda: programs.err and people.err, "it says that the stream has ended")
        daemon.start()
        after = send("b@example.org")
        for one in (programs, people, only):
            one.has(relayed(before), "the event before")
            one.has(relayed(after), "the event after")
            self.assertEqual(one.end(), 0)
            self.assertEqual([line.split(";")[0] for line in one.err],
                             ["mailotpctl: the daemon has ended the stream", "mailotpctl: the daemon is back"])
        self.assertEqual(other.end(), 0)
        self.assertEqual(other.out, [])
        told = [json.loads(line) for line in programs.out]
        seen = [event["cursor"] for event in told]
        self.assertEqual(len(seen), len(set(seen)), "told twice")
        everything = self.events(daemon, seen[-1])
        self.assertEqual(told, everything[:len(told)], "missed, or in another order")
        self.assertEqual([event for event in everything
                          if event["type"] == "message.relayed" or event["type"].startswith("challenge.")][:len(only.out)],
                         [json.loads(line) for line in only.out])
        self.assertRegex(people.out[0], r"\AAT \(UTC\) +EVENT +MESSAGE +APP +ACTOR +DETAIL\n")
        line = next(line for line in people.out if "message.relayed" in line)
        self.assertRegex(line, rf"\A\d\d:\d\d:\d\d\.\d{{3}}  message\.relayed +{before} +default +daemon +attempt=1 relay=capture reply=250 ")

    def events(self, daemon, last):
        """All of the log up to the cursor."""
        connection = Unix(daemon.admin_socket)
        self.addCleanup(connection.close)
        connection.request("GET", "/v1/events?after=0", headers={"Accept": "application/x-ndjson"})
        found = []
        for line in iter(connection.getresponse().readline, b""):
            found.append(json.loads(line))
            if found[-1]["cursor"] == last:
                return found
        self.fail(f"the stream ended: {found}")

    def test_a_daemon_that_is_killed(self):
        daemon = self.new_daemon()
        daemon.start()
        tail = Running(self, "--socket", daemon.admin_socket, "--json", "tail")
        self.streams(daemon, 1)
        daemon.kill()
        wait_for(lambda: tail.err, "it says that the stream has ended")
        self.assertEqual(tail.end(), 0)

    def test_a_line_that_is_none(self):
        with ndjson_server([b'{"cursor":"1","type":"message.queued","app":"shop"}\n', b"nonsense\n"]) as path:
            done = ctl(path, "--json", "tail")
            self.assertEqual(done.returncode, 1)
            self.assertEqual([json.loads(line)["cursor"] for line in done.stdout.splitlines()], ["1"])
            self.assertIn("cannot be read", done.stderr)

    def test_text_that_would_steer_the_terminal(self):
        event = {"cursor": "1", "type": "message.failed", "app": "\x1b[2J", "at": "2026-11-20T12:00:00.123Z",
                 "message": NO_ID, "actor": "daemon", "detail": {"reply": {"code": 550, "status": "", "text": "\x1b]0;x\x07"}}}
        with ndjson_server([json.dumps(event).encode() + b"\n", b"nonsense\n"]) as path:
            done = ctl(path, "tail")
            self.assertIn("\\x1b[2J", done.stdout)
            self.assertNotIn("\x1b", done.stdout)


@contextlib.contextmanager
def ndjson_server(pieces):
    """Answers one GET of a stream with these pieces, and every other request with 404."""
    folder = tempfile.mkdtemp(prefix="mailotp-", dir="/tmp")
    path = os.path.join(folder, "admin.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    listener.settimeout(0.1)
    over = threading.Event()

    def serve():
        while not over.is_set():
            try:
                one, _ = listener.accept()
            except TimeoutError:
                continue
            with one:
                one.settimeout(BOUND)
                if b"/v1/events" not in one.recv(65536):
                    one.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    continue
                one.sendall(b"HTTP/1.1 200 OK\r\nX-Event-Cursor: 0\r\nConnection: close\r\n\r\n")
                with contextlib.suppress(OSError):
                    for piece in pieces:
                        one.sendall(piece)
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield path
    finally:
        over.set()
        thread.join(BOUND)
        listener.close()
        shutil.rmtree(folder)


# ---- A terminal


class Terminal:
    """A program on a terminal of its own, `columns` wide."""

    def __init__(self, columns, lines, *words, **variables):
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        environment = {"PATH": os.environ["PATH"], "TERM": "xterm", "LC_ALL": "C", **variables}
        self.process = subprocess.Popen([CTL, *words], env=environment, stdin=theirs, stdout=theirs, stderr=theirs,
                                        start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(theirs)
        self.data = b""

    def more(self, patience):
        if not select.select([self.ours], [], [], patience)[0]:
            return True
        try:
            piece = os.read(self.ours, 65536)
        except OSError:  # the other end is closed
            return False
        self.data += piece
        return bool(piece)

    def until(self, condition, what):
        end = time.monotonic() + BOUND
        while not condition(self.data):
            if not self.more(0.2) or time.monotonic() > end:
                raise AssertionError(f"{what}: {self.data!r}")

    def rest(self):
        end = time.monotonic() + BOUND
        while self.more(0.2) and time.monotonic() < end:
            pass
        return self.data.decode()

    def type(self, keys):
        os.write(self.ours, keys)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(BOUND)
        os.close(self.ours)


def cells(line):
    """One entry a column of the terminal; the second half of a wide character is ""."""
    out = []
    for c in line:
        if unicodedata.combining(c):
            continue
        out.append(c)
        if unicodedata.east_asian_width(c) in "WF":
            out.append("")
    return out


HOSTILE = ["日本語の返事がとても長いのでどこかで切らなければならないほどです" * 4, "\x1b[2J\x1b[31mred\x07", "e\u0301" * 60,
           "🙂" * 50, "line\r\nbreak\tand tab", "\u202egnirts", "x" * 300, ""]


def hostile_rows():
    rows = []
    for n, text in enumerate(HOSTILE):
        rows.append({"id": f"0190b5a0-7c1e-7e3a-9f00-{n:012x}", "state": "deferred", "attempts": n, "app": text,
                     "recipient": f"{text}@例え.テスト", "relay": text, "age_seconds": 10 ** n,
                     "next_attempt_at": "2030-01-01T00:00:00.000Z", "reply": {"code": 450, "status": "4.2.1", "text": text}})
    return rows


class Tables(Case):
    """Tables at 80 and 200 columns: no line is wider, the columns stand under their titles, and nothing that came from
    outside does anything but be shown."""

    ANSWERS = {
        "outbox list": ("/v1/outbox?limit=50", hostile_rows()),
        "relay list": ("/v1/relays", [{"name": text, "state": "up", "breaker": "open", "connections": 1, "last_error": text,
                                       "last_error_at": "2026-11-20T12:00:00.000Z"} for text in HOSTILE]),
        "bounces": ("/v1/bounces?limit=50", [{"at": "2026-11-20T12:00:00.000Z", "source": "dsn", "recipient": text, "kind": "bounce",
                                              "class": text, "status": text, "diagnostic": text, "message": NO_ID, "weight": "hard"}
                                             for text in HOSTILE]),
        "suppress list": ("/v1/suppressions?limit=50", [{"address": text, "app": text, "class": text, "source": text, "times": 3,
                                                         "since": "2026-11-20T12:00:00.000Z"} for text in HOSTILE]),
        "template list": ("/v1/templates", [{"name": text, "variables": [{"name": text}],
                                             "locales": [{"locale": text, "version": "0" * 16, "origin": "own", "code": True}]}
                                            for text in HOSTILE]),
    }

    def lines_of(self, columns, words, answers):
        with FakeDaemon(answers) as daemon:
            terminal = Terminal(columns, 50, "--socket", daemon.socket, *words, NO_COLOR="1")
            self.addCleanup(terminal.close)
            text = terminal.rest()
            self.assertEqual(terminal.process.wait(BOUND), 0, text)
        self.assertEqual(re.findall(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e]", text), [])
        return text.replace("\r\n", "\n").splitlines()

    def test_widths_and_columns(self):
        for columns in (80, 200):
            for words, (target, items) in self.ANSWERS.items():
                with self.subTest(columns=columns, words=words):
                    lines = self.lines_of(columns, words.split(), {target: (200, {"items": items, "next_cursor": None})})
                    self.assertEqual(len(lines), 1 + len(items))
                    titles = [match.start() for match in re.finditer(r"(?<=  )\S", lines[0])]
                    self.assertGreaterEqual(len(titles), 2)
                    for line in lines:
                        grid = cells(line)
                        self.assertLessEqual(len(grid), columns, line)
                        # Two blanks before each column that stands at its left.
                        for at in titles:
                            if is_left(lines[0], at) and len(grid) > at:
                                self.assertEqual(grid[at - 2:at], [" ", " "], f"{lines[0]}\n{line}")

    def test_columns_of_the_outbox(self):
        target, items = self.ANSWERS["outbox list"]
        wide = self.lines_of(200, ["outbox", "list"], {target: (200, {"items": items, "next_cursor": None})})
        self.assertEqual(wide[0].split(), "ID STATE AGE TRIES NEXT RECIPIENT APP RELAY LAST REPLY".split())
        narrow = self.lines_of(80, ["outbox", "list"], {target: (200, {"items": items, "next_cursor": None})})
        self.assertEqual(narrow[0].split(), "ID STATE AGE RECIPIENT".split())


def is_left(head, at):
    """Titles of columns of numbers stand at the right."""
    return head[at:].split()[0] not in ("AGE", "TRIES", "NEXT", "LEFT", "PROBE", "TIMES", "CONNECTIONS")


class Watch(Case):
    def test_on_a_terminal(self):
        """Drawn in place, in one piece; the terminal is as before when it ends."""
        daemon = self.new_daemon()
        daemon.start()
        terminal = Terminal(100, 20, "--socket", daemon.admin_socket, "relay", "list", "--watch=1")
        self.addCleanup(terminal.close)
        before = termios.tcgetattr(terminal.ours)
        terminal.until(lambda data: data.count(b"\x1b[H") >= 2, "it is drawn twice")
        self.expect(daemon.admin("POST", "/v1/relays/capture/suspend", {}), 200)
        terminal.until(lambda data: b"suspended" in data, "the change is seen")
        terminal.type(b"\x03")
        text = terminal.rest()
        self.assertEqual(terminal.process.wait(BOUND), 0, text)
        self.assertTrue(text.startswith("\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[H"), text)
        self.assertTrue(text.endswith("\x1b[?7h\x1b[?25h\x1b[?1049l"), text)
        self.assertNotIn("\x1b[2J", text)  # nothing is cleared before something is there to be shown
        self.assertEqual(termios.tcgetattr(terminal.ours), before)

    def test_no_more_lines_than_the_terminal_has(self):
        rows = hostile_rows() * 6
        with FakeDaemon({"/v1/outbox?limit=50": (200, {"items": rows, "next_cursor": None})}) as fake:
            terminal = Terminal(80, 10, "--socket", fake.socket, "outbox", "list", "--watch=1", NO_COLOR="1")
            self.addCleanup(terminal.close)
            terminal.until(lambda data: data.count(b"\x1b[J") >= 2, "it is drawn twice")
            terminal.type(b"\x03")
            for frame in terminal.rest().split("\x1b[H")[1:]:
                self.assertLess(frame.partition("\x1b[J")[0].count("\n"), 10, frame)

    def test_into_a_pipe(self):
        """Printed again, with an empty line between; a daemon that is away for a while is waited for."""
        daemon = self.new_daemon()
        daemon.start()
        people = Running(self, "--socket", daemon.admin_socket, "relay", "list", "--watch=1")
        programs = Running(self, "--socket", daemon.admin_socket, "--json", "status", "--watch=1")
        people.has(lambda lines: lines.count("\n") >= 1 and len(lines) >= 5, "it is printed twice")
        self.assertEqual([line.split()[:1] for line in people.out[:5]], [["RELAY"], ["capture"], [], ["RELAY"], ["capture"]])
        programs.has(lambda lines: len(lines) >= 2, "it is printed twice")
        self.assertEqual(daemon.stop(), 0)
        wait_for(lambda: people.err and programs.err, "it says that there is no daemon")
        seen = len(programs.out), len(people.out)
        daemon.start()
        programs.has(lambda lines: len(lines) > seen[0], "it goes on")
        people.has(lambda lines: len(lines) > seen[1], "it goes on")
        self.assertNotIn("\x1b", "".join(people.out))
        for line in programs.out:
            self.assertIn("ready", json.loads(line))
        self.assertEqual((people.end(), programs.end()), (0, 0))


# ---- What bash completes


class Completion(Case):
    def complete(self, *words, socket_path=None):
        """What bash would offer for the last word."""
        script = ('source "$1"; shift; complete -p mailotpctl >/dev/null || exit 9; program=$1; COMP_WORDS=("$@"); '
                  'COMP_CWORD=$(($# - 1)); _mailotpctl "$program" "${COMP_WORDS[COMP_CWORD]}" ""; '
                  'printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(["bash", "--norc", "-c", script, "bash", COMPLETION, CTL, *words], capture_output=True,
                              text=True, timeout=BOUND, check=False,
                              env={"PATH": os.environ["PATH"], "MAILOTPD_ADMIN_SOCKET": socket_path or "/nonexistent"})
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return [line for line in done.stdout.splitlines() if line]

    def test_verbs_and_options(self):
        self.assertLessEqual({"status", "outbox", "tail", "template"}, set(self.complete("")))
        self.assertEqual(self.complete("temp"), ["template"])
        self.assertEqual(sorted(self.complete("template", "")), ["list", "preview", "test-send"])
        self.assertNotIn("complete-words", self.complete(""))
        offered = self.complete("outbox", "list", "--")
        self.assertLessEqual({"--state", "--watch", "--all", "--json", "--socket"}, set(offered))
        self.assertEqual(self.complete("outbox", "list", "--st"), ["--state"])
        self.assertEqual(self.complete("outbox", "list", "--state", "de"), ["deferred", "delivered"])
        self.assertEqual(self.complete("outbox", "list", "--state", "=", "he"), ["held"])  # as bash cuts --state=he
        self.assertEqual(self.complete("outbox", "list", "--state", "="), self.complete("outbox", "list", "--state", ""))
        self.assertIn("user-unknown", self.complete("bounces", "--class", ""))
        self.assertIn("auto-reply", self.complete("bounces", "--kind", ""))

    def test_live_words(self):
        daemon = self.new_daemon()
        daemon.start()
        at = {"socket_path": daemon.admin_socket}
        self.assertEqual(self.complete("relay", "test", "", **at), ["capture"])
        self.assertEqual(self.complete("outbox", "list", "--relay", "", **at), ["capture"])
        self.assertEqual(self.complete("template", "preview", "", **at), ["otp"])
        self.assertEqual(self.complete("template", "test-send", "otp", "", **at), [])  # an address
        self.expect(daemon.admin("POST", "/v1/relays/capture/suspend", {}), 200)
        made = self.expect(daemon.api("POST", "/v1/challenges", {"recipient": "alice@example.org"}), 201)
        message = made["message"]["id"]
        self.assertEqual(self.complete("outbox", "show", "", **at), [message])
        self.assertEqual(self.complete("challenge", "show", made["id"][:9], **at), [made["id"]])
        self.assertEqual(self.complete("outbox", "hold", "", **at), [message])
        self.assertEqual(self.complete("outbox", "release", "", **at), [])
        self.assertEqual(self.complete("outbox", "hold", message, "", **at), [message])
        # The socket that was typed is stronger.
        self.assertEqual(self.complete("--socket", daemon.admin_socket, "relay", "test", ""), ["capture"])
        self.assertEqual(self.complete("--socket", "/nonexistent", "relay", "test", "", **at), [])

    def test_silent_and_bounded(self):
        self.assertEqual(self.complete("relay", "test", ""), [])
        folder = self.new_daemon().folder
        path = os.path.join(folder, "deaf.sock")
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.bind(path)
            deaf.listen()
            start = time.monotonic()
            self.assertEqual(self.complete("outbox", "retry", "", socket_path=path), [])
            # Under a second, on a machine that is not busy; an answer is waited for half a minute elsewhere.
            self.assertLess(time.monotonic() - start, 15)

    def test_words_of_a_daemon_are_words(self):
        """Nothing that comes from outside is run, or breaks the line."""
        names = ["$(touch owned)", "`touch owned`", "a b", "x;y", "'", "plain-1.x", "\x1b[2J", "*", "../*"]
        relays = [{"name": name, "state": "up"} for name in names]
        with FakeDaemon({"/v1/relays": (200, {"items": relays, "next_cursor": None})}) as daemon:
            self.assertEqual(self.complete("relay", "test", "", socket_path=daemon.socket), ["plain-1.x"])
        self.assertFalse(os.path.exists("owned"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
