"""Codes and bodies: nowhere on the disk in clear, in no log, in no process's arguments or environment."""
import contextlib
import glob
import os
import re
import resource
import signal
import unittest

from harness import Client, SystemTest, open_files, wait_for

COUNT = 100
SANITIZED = any(os.path.basename(os.path.dirname(os.environ.get("MAILOTP_BIN", ""))) == name for name in ("asan", "tsan"))


def process_bytes(pid):
    """{name: bytes} of what other processes could see of one."""
    found = {}
    for name in ("cmdline", "environ"):
        # Without privileges the environment of a process that is not dumpable cannot be read: just as well.
        with contextlib.suppress(PermissionError), open(f"/proc/{pid}/{name}", "rb") as file:
            found[f"{name} of process {pid}"] = file.read()
    return found


class Secrets(SystemTest):
    def snapshot(self):
        """{name: bytes} of the state folder, the log and the processes."""
        found = {}
        for path in glob.glob(os.path.join(self.daemon.state, "**"), recursive=True):
            # The WAL may go between the look and the read.
            with contextlib.suppress(FileNotFoundError):
                if os.path.isfile(path):
                    with open(path, "rb") as file:
                        found[os.path.relpath(path, self.daemon.folder)] = file.read()
        found["log"] = self.daemon.log().encode()
        if self.daemon.process.poll() is None:
            for pid in (self.daemon.pid, *self.daemon.agent_pids()):
                found.update(process_bytes(pid))
        return found

    def assert_absent(self, when, files, secrets):
        for name, content in files.items():
            folded = content.lower()
            for kind, secret in secrets:
                self.assertNotIn(secret.lower(), folded, f"{when}: {kind} {secret!r} stands in {name}")

    def test_100_codes_are_nowhere(self):
        self.daemon = self.new_daemon()
        self.daemon.start()
        # While the agent stands still the bodies are in the database.
        agent = self.daemon.agent()
        os.kill(agent, signal.SIGSTOP)
        challenges, markers = [], []
        with Client(self.daemon.api_socket) as client:
            for number in range(COUNT):
                marker = f"Zq{os.urandom(5).hex()}"
                challenges.append(self.expect(client.request("POST", "/v1/challenges", {
                    "recipient": f"user{number}@example.org", "purpose": "long", "data": {"name": marker},
                    "binding": {"session": f"Session{marker}"}}), 201))
                markers.append(("name", marker.encode()))
        queued = self.snapshot()
        with contextlib.suppress(ProcessLookupError):
            os.kill(agent, signal.SIGCONT)
        wait_for(lambda: len(self.daemon.mail_bytes()) >= COUNT, lambda: f"all mails; {self.daemon.log_tail()}")

        codes = self.captured_codes()
        self.assertEqual(len(set(codes.values())), COUNT)
        for code in codes.values():
            self.assertRegex(code, r"^[2-9A-HJ-KM-NP-Z]{10}$")
        secrets = [("code", code.encode()) for code in codes.values()] + markers + [
            ("body", b"multipart/alternative"), ("body", b"Content-Transfer-Encoding")]
        opened = self.snapshot()
        self.assertTrue(any(name.endswith(".db") for name in opened), f"no database among {sorted(opened)}")
        self.assertTrue(any(name.endswith("-wal") for name in opened), f"no WAL among {sorted(opened)}")
        self.assert_absent("while mails are queued", queued, secrets)
        self.assert_absent("while challenges are open", opened, secrets)

        with Client(self.daemon.api_socket) as client:
            for challenge in challenges[:COUNT // 2]:
                code = codes[challenge["recipient"]]
                target = f"/v1/challenges/{challenge['id']}/check"
                binding = {"session": f"Session{markers[challenges.index(challenge)][1].decode()}"}
                wrong = code[::-1]
                self.expect(client.request("POST", target, {"code": wrong, "binding": binding}), 200)
                checked = client.request("POST", target, {"code": code, "binding": binding})
                if wrong != code:
                    self.assertEqual(self.expect(checked, 200)["result"], "valid")
                secrets.append(("typed code", wrong.encode()))
            # A request that is refused is logged, if at all, without what it held.
            some = next(iter(codes.values()))
            client.request("POST", "/v1/otp/verify", {"email": "user1@example.org", "otp": some, "colour": some})
            client.request("POST", "/v1/otp/verify", b'{"email":"user1@example.org","otp":"' + some.encode())
        self.assert_absent("after checks", self.snapshot(), secrets)
        self.assertEqual(self.daemon.stop(), 0, self.daemon.log_tail())
        self.assert_absent("after the stop", self.snapshot(), secrets)

    def captured_codes(self):
        """{recipient: code}, as an app's own tests read them."""
        codes, cursor = {}, ""
        with Client(self.daemon.api_socket) as client:
            while cursor is not None:
                page = self.expect(client.request("GET", f"/v1/captured?limit=500{cursor}"), 200)
                for item in page["items"]:
                    found = re.findall(r"^\s*([2-9A-HJ-KM-NP-Z]{10})\s*$", item["text"], re.M)
                    self.assertEqual(len(found), 1, item["text"])
                    address = re.search(r"user\d+@example\.org", str(item["to"])).group()
                    codes[address] = found[0]
                cursor = f"&cursor={page['next_cursor']}" if page["next_cursor"] else None
        return codes

    def test_files_are_the_daemons_alone(self):
        self.daemon = self.new_daemon()
        self.daemon.start()
        self.expect(self.daemon.api("POST", "/v1/challenges", {"recipient": "a@example.org"}), 201)
        for path in [self.daemon.key, *glob.glob(os.path.join(self.daemon.state, "*"))]:
            self.assertEqual(os.stat(path).st_mode & 0o077, 0, f"{path} can be read by others")


class Memory(SystemTest):
    """What could carry keys and codes to a disk: the swap, and the files of a crash."""

    def status(self, limit):
        """/proc/PID/status and limits of a daemon that starts with this limit of locked memory."""
        before = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_MEMLOCK, before)
        hard = resource.RLIM_INFINITY if limit == resource.RLIM_INFINITY else before[1]
        try:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, hard))
        except ValueError:  # of the machine: a container may forbid it to everybody
            self.skipTest(f"this machine allows nobody to lock more than {before[1]} bytes")
        daemon = self.new_daemon()
        daemon.start()
        with open(f"/proc/{daemon.pid}/status", encoding="ascii") as status:
            rows = dict(line.rstrip("\n").split(":", 1) for line in status)
        with open(f"/proc/{daemon.pid}/limits", encoding="ascii") as limits:
            core = re.search(r"^Max core file size +(\S+) +(\S+)", limits.read(), re.MULTILINE)
        self.assertEqual(core.groups(), ("0", "0"))
        return int(rows["VmLck"].split()[0])

    @unittest.skipIf(SANITIZED, "a sanitizer's shadow is larger than any memory")
    def test_it_is_locked_where_there_is_no_limit(self):
        self.assertGreater(self.status(resource.RLIM_INFINITY), 1000)

    def test_it_is_not_under_a_limit(self):
        """Which would make a later allocation fail."""
        self.assertEqual(self.status(1 << 20), 0)


class Agent(SystemTest):
    """An agent can open neither key nor database, and holds neither."""

    def setUp(self):
        self.daemon = self.new_daemon()
        self.daemon.start()
        self.expect(self.daemon.api("POST", "/v1/challenges", {"recipient": "a@example.org"}), 201)
        self.daemon.code_for("a@example.org")
        self.pid = self.daemon.agent()

    def test_holds_no_file_of_ours(self):
        files = open_files(self.pid)
        for number, target in files.items():
            self.assertNotIn(self.daemon.key, target, f"descriptor {number}")
            if target.startswith(self.daemon.state):
                self.assertRegex(os.path.basename(target), r"lock", f"descriptor {number} is {target}")
                self.assertNotRegex(os.path.basename(target), r"\.db", f"descriptor {number} is {target}")

    def test_has_no_internet_socket_in_the_daemon(self):
        inodes = {target[8:-1] for target in open_files(self.daemon.pid).values() if target.startswith("socket:[")}
        for family in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
            with contextlib.suppress(FileNotFoundError), open(f"/proc/net/{family}", encoding="ascii") as lines:
                for line in list(lines)[1:]:
                    self.assertNotIn(line.split()[9], inodes, f"the daemon holds a socket of {family}")

    def test_has_no_new_privileges(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii", errors="replace") as lines:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)
        self.assertEqual(status["NoNewPrivs"].strip(), "1")

    def test_is_told_nothing_by_its_command_line(self):
        with open(f"/proc/{self.pid}/cmdline", "rb") as file:
            cmdline = file.read()
        for secret in (self.daemon.key, self.daemon.state, self.daemon.config):
            self.assertNotIn(secret.encode(), cmdline)


if __name__ == "__main__":
    unittest.main(verbosity=2)
