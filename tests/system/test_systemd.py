"""As a service: sockets passed by name, READY and STOPPING, units that systemd's own tool finds no fault in, and the
daemon under the filter of its unit."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

from harness import BIN, BOUND, Client, SystemTest, code_in, parse_mail, wait_for

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "smtp"))
from scripted_relay import ScriptedRelay  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
UNITS = os.path.join(HERE, os.pardir, os.pardir, "systemd")
UNIT = os.path.join(UNITS, "mailotpd.service")
SANITIZED = os.environ.get("MAILOTP_SANITIZERS", "0") == "1"


class Service(SystemTest):
    def setUp(self):
        self.daemon = self.new_daemon()
        self.daemon.keygen()
        folder = tempfile.mkdtemp(prefix="mailotp-", dir="/tmp")
        self.addCleanup(shutil.rmtree, folder)
        self.notify_path = os.path.join(folder, "notify")
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.notify.close)
        self.notify.bind(self.notify_path)
        self.notify.settimeout(BOUND)
        self.passed = {name: os.path.join(folder, name + ".sock") for name in ("api", "admin", "metrics")}

    def activate(self, *names):
        """The daemon as systemd starts it: with these sockets, listening already."""
        with open(self.daemon.log_path, "ab") as log:
            self.daemon.process = subprocess.Popen(
                ["systemd-socket-activate", *(f"--listen={self.passed[name]}" for name in names),
                 "--fdname=" + ":".join(names), f"--setenv=NOTIFY_SOCKET={self.notify_path}", *self.daemon.command()],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.daemon.folder)
        wait_for(lambda: all(self.is_listening(self.passed[name]) for name in names), "the sockets listen")

    @staticmethod
    def is_listening(path):
        """By the kernel's list: a connection would start the daemon."""
        with open("/proc/net/unix", encoding="utf-8") as sockets:
            rows = [row.split() for row in sockets]
        accepting = 0x10000  # __SO_ACCEPTCON
        return any(row[-1] == path and int(row[3], 16) & accepting for row in rows[1:])

    def health(self, path):
        with Client(path) as client:
            return client.request("GET", "/healthz").status

    def test_sockets_by_name(self):
        self.activate("admin", "metrics", "api")
        # The first request waits in the backlog while the daemon starts.
        self.assertEqual(self.health(self.passed["api"]), 200)
        self.assertIn(b"READY=1", self.notify.recv(4096))
        with Client(self.passed["admin"]) as client:
            self.expect(client.request("GET", "/v1/stats"), 200)
        with Client(self.passed["metrics"]) as client:
            self.assertIn(b"\nmailotpd_ready ", client.request("GET", "/metrics").body)
            self.expect(client.request("GET", "/v1/stats"), 404, "not_found")
        with Client(self.passed["api"]) as client:
            self.expect(client.request("GET", "/v1/stats"), 404, "not_found")
        self.assertFalse(os.path.exists(self.daemon.api_socket), "a passed socket takes the place of the configured one")
        self.assertFalse(os.path.exists(self.daemon.admin_socket))
        self.daemon.signal(signal.SIGTERM)
        self.assertIn(b"STOPPING=1", self.notify.recv(4096))
        self.assertEqual(self.daemon.wait(), 0, self.daemon.log_tail())
        self.assertTrue(os.path.exists(self.passed["api"]), "systemd's sockets are not ours to remove")

    def test_one_passed_and_one_made(self):
        self.activate("api")
        self.assertEqual(self.health(self.passed["api"]), 200)
        self.assertEqual(self.health(self.daemon.admin_socket), 200)
        self.daemon.signal(signal.SIGTERM)
        self.assertEqual(self.daemon.wait(), 0, self.daemon.log_tail())

    def test_agent_inherits_neither_sockets_nor_environment(self):
        self.activate("api")
        self.assertEqual(self.health(self.passed["api"]), 200)
        with open(f"/proc/{self.daemon.agent()}/environ", "rb") as environ:
            self.assertNotIn(b"NOTIFY_SOCKET", environ.read())
        self.daemon.signal(signal.SIGTERM)
        self.assertEqual(self.daemon.wait(), 0, self.daemon.log_tail())


class Units(unittest.TestCase):
    def test_verify(self):
        with tempfile.TemporaryDirectory(prefix="mailotp-") as folder:
            for name in os.listdir(UNITS):
                if not name.endswith((".service", ".socket")):
                    continue
                with open(os.path.join(UNITS, name), encoding="utf-8") as unit:
                    text = unit.read()
                # Neither the programs nor the manual page are installed where it is tested.
                text = text.replace("/usr/sbin/mailotpd", os.path.join(BIN, "mailotpd"))
                text = text.replace("/usr/bin/mailotpctl", os.path.join(BIN, "mailotpctl"))
                text = re.sub(r"^Documentation=.*\n", "", text, flags=re.MULTILINE)
                with open(os.path.join(folder, name), "w", encoding="utf-8") as unit:
                    unit.write(text)
            units = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
            self.assertEqual(len(units), 4)
            done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, timeout=BOUND,
                                  check=False, env={**os.environ, "SYSTEMD_UNIT_PATH": folder + ":"})
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def test_exposure(self):
        """At most 1.3 of 10, and what is left is what the daemon cannot do without."""
        done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=13", "--no-pager",
                               "--json=pretty", UNIT], capture_output=True, text=True, timeout=BOUND, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        left = {item["json_field"] for item in json.loads(done.stdout) if item["exposure"] not in (None, "", "0")}
        self.assertEqual(left, {
            "PrivateNetwork", "RestrictAddressFamilies_AF_INET_INET6", "IPAddressDeny",  # the relays
            "RestrictAddressFamilies_AF_UNIX", "PrivateUsers",                           # the applications, by their uid
            "ProcSubset",                                                                # the boot id
            "RootDirectoryOrRootImage",                                                  # users, resolver, certificates
            "DeviceAllow",                                                               # ProtectClock= brings the clock
        })


@unittest.skipIf(SANITIZED, "a sanitizer asks the system for more")
class Sandbox(SystemTest):
    """What sandbox.py takes away is taken away, and nothing of it is missed."""

    def inside(self, *command):
        return [sys.executable, "-B", os.path.join(HERE, "sandbox.py"), UNIT, *command]

    def test_what_is_forbidden(self):
        tries = """
import ctypes, mmap, os, resource, socket
libc = ctypes.CDLL(None, use_errno=True)
def outcome(call):
    try:
        call()
    except OSError as error:
        return error.errno
def limit():
    if libc.syscall(ctypes.c_long(160 if os.uname().machine == "x86_64" else 164), 7, ctypes.create_string_buffer(16)):
        raise OSError(ctypes.get_errno(), "setrlimit")
print([outcome(call) for call in (
    lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0), lambda: os.chown("/tmp", 0, 0),
    lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC), lambda: os.nice(1), limit,
    lambda: socket.socket(socket.AF_INET).close(), lambda: resource.getrlimit(resource.RLIMIT_NOFILE))])
"""
        done = subprocess.run(self.inside("/usr/bin/python3", "-c", tries), capture_output=True, text=True, timeout=BOUND,
                              check=False)
        self.assertEqual((done.stdout, done.stderr), ("[97, 1, 1, 1, 1, None, None]\n", ""))

    def test_daemon_and_agents_work(self):
        relay = ScriptedRelay().start()
        self.addCleanup(relay.stop)
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            port = nobody.getsockname()[1]
        secret = {"username": "bounces", "password_file": "imap.password"}
        daemon = self.new_daemon(
            daemon={"mode": "production"},
            relay={"name": "first", "host": "localhost", "port": relay.port, "tls": "none", "auth": "none"},
            bounces={"host": "localhost", "port": port, "tls": "none", **secret})
        secret["password_file"] = os.path.join(daemon.folder, "imap.password")
        with open(secret["password_file"], "w", encoding="ascii") as file:
            os.chmod(file.name, 0o600)
            file.write("secret\n")
        daemon.write_config(
            daemon={"mode": "production"},
            relay={"name": "first", "host": "localhost", "port": relay.port, "tls": "none", "auth": "none"},
            bounces={"host": "localhost", "port": port, "tls": "none", **secret})
        command = daemon.command
        daemon.command = lambda *more: self.inside(*command(*more))
        daemon.start()
        challenge = self.expect(daemon.api("POST", "/v1/challenges", {"recipient": "a@example.org"}), 201)
        raw = wait_for(lambda: relay.mails, daemon.log_tail)[0]
        checked = daemon.api("POST", f"/v1/challenges/{challenge['id']}/check", {"code": code_in(parse_mail(raw))})
        self.assertEqual(self.expect(checked, 200)["result"], "valid")
        # It looked the name up, and nobody was there: no call of it was refused.
        wait_for(lambda: re.search(r"event=mailbox_down .*refused", daemon.log()), daemon.log_tail)
        done = subprocess.run(self.inside(os.path.join(BIN, "mailotpctl"), "--socket", daemon.admin_socket, "reload"),
                              capture_output=True, text=True, timeout=BOUND, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())
        self.assertNotRegex(daemon.log(), "not permitted|not supported|agent_killed|agent_unconfined|start_failed")


class Credentials(SystemTest):
    def test_every_secret_as_the_unit_names_it(self):
        """As LoadCredential= hands them over; of the files that the configuration names there is none."""
        with open(UNIT, encoding="utf-8") as unit:
            key, *passwords = re.findall(r"LoadCredential=([^:]+):", unit.read())
        folder = tempfile.mkdtemp(prefix="mailotp-", dir="/tmp")
        self.addCleanup(shutil.rmtree, folder)
        for name in passwords:
            with open(os.path.join(folder, name), "w", encoding="ascii") as file:
                os.chmod(file.name, 0o440)  # as systemd has it where the right is given by an access list
                file.write(f"the {name}")
        relay = ScriptedRelay(users={"apikey": "the relay-primary-password"}).start()
        self.addCleanup(relay.stop)
        missing = "/nowhere/password"
        daemon = self.new_daemon(
            daemon={"mode": "production"},
            relay={"name": "primary", "host": "127.0.0.1", "port": relay.port, "tls": "none", "auth": "plain",
                   "username": "apikey", "password_file": missing},
            bounces={"host": "127.0.0.1", "port": relay.port, "tls": "none", "username": "bounces",
                     "password_file": missing})
        self.assertFalse(os.path.exists(daemon.key))
        daemon.key = os.path.join(folder, key)
        daemon.launch({"CREDENTIALS_DIRECTORY": folder})
        daemon.wait_ready()
        self.expect(daemon.api("POST", "/v1/challenges", {"recipient": "a@example.org"}), 201)
        wait_for(lambda: relay.mails, daemon.log_tail)
        wait_for(lambda: "event=agent_ready agent=imap" in daemon.log(), daemon.log_tail)
        self.assertNotIn("password_unreadable", daemon.log())
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())


class Documents(unittest.TestCase):
    def test_every_unit_that_is_named_is_there(self):
        top = os.path.join(HERE, os.pardir, os.pardir)
        there = set(os.listdir(UNITS))
        texts = [os.path.join(top, "README.md")]
        for folder in ("docs", "docs/man", "packaging", "packaging/debian", "systemd"):
            path = os.path.join(top, folder)
            texts += [os.path.join(path, name) for name in os.listdir(path)]
        named = set()
        for text in filter(os.path.isfile, texts):
            with open(text, encoding="utf-8") as file:
                named |= set(re.findall(r"\bmailotpd(?:-[a-z]+)?\.(?:socket|service)\b", file.read()))
        self.assertGreater(len(named), 3)
        self.assertLessEqual(named, there)


if __name__ == "__main__":
    unittest.main(verbosity=2)
