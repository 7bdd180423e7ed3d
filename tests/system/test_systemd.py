"""As a service: sockets passed by name, READY and STOPPING, and units that systemd's own tool finds no fault in."""
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

from harness import BIN, BOUND, Client, SystemTest, wait_for

UNITS = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, os.pardir, "systemd")


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
                # Neither program nor manual page is installed where it is tested.
                text = text.replace("/usr/sbin/mailotpd", os.path.join(BIN, "mailotpd"))
                text = re.sub(r"^Documentation=.*\n", "", text, flags=re.MULTILINE)
                with open(os.path.join(folder, name), "w", encoding="utf-8") as unit:
                    unit.write(text)
            units = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
            self.assertEqual(len(units), 4)
            done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, timeout=BOUND,
                                  check=False, env={**os.environ, "SYSTEMD_UNIT_PATH": folder + ":"})
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main(verbosity=2)
