"""The log as it leaves the daemon: fields for the journal, a line with a priority or JSON elsewhere; recipients by a
keyed hash; nobody waits for whoever reads it."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

from harness import BOUND, SystemTest, code_in, wait_for

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, os.pardir)


class Journal(SystemTest):
    """journald is a socket of ours: the daemon has a /run of its own, in a mount namespace."""

    def setUp(self):
        self.assertEqual(os.getuid(), 0, "only root may have a mount namespace without a user namespace")
        self.run = tempfile.mkdtemp(prefix="mailotp-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.run)
        os.makedirs(os.path.join(self.run, "systemd/journal"))
        self.journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.journal.close)
        self.journal.settimeout(BOUND)
        self.daemon = self.new_daemon(daemon={"log": "auto"})
        self.daemon.keygen()

    def listen(self):
        self.journal.bind(os.path.join(self.run, "systemd/journal/socket"))

    def launch(self):
        """With a standard error that is the journal's, as far as JOURNAL_STREAM tells."""
        with open(self.daemon.log_path, "ab") as log:
            status = os.fstat(log.fileno())
            self.daemon.process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /run && exec "$@"', self.run,
                 *self.daemon.command()], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.daemon.folder,
                env={**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})

    def entry(self):
        """The next one, as {field: value}."""
        text = self.journal.recv(65536).decode()
        self.assertTrue(text.endswith("\n"), text)
        pairs = [line.split("=", 1) for line in text.splitlines()]
        fields = dict(pairs)
        self.assertEqual(len(fields), len(pairs), text)
        self.assertEqual(fields["SYSLOG_IDENTIFIER"], "mailotpd")
        return fields

    def entry_of(self, event):
        while (fields := self.entry())["MAILOTPD_EVENT"] != event:
            pass
        return fields

    def test_fields(self):
        self.listen()
        self.launch()
        started = self.entry_of("started")
        self.assertEqual(started["PRIORITY"], "5")
        self.assertRegex(started["MESSAGE_ID"], r"^[0-9a-f]{32}$")
        self.assertEqual(started["MAILOTPD_API"], self.daemon.api_socket)
        self.assertRegex(started["MESSAGE"], r"^event=started version=\S+ api=")
        self.assertRegex(self.entry_of("agent_ready")["MAILOTPD_PID"], r"^\d+$")
        self.daemon.wait_ready()
        self.assertEqual(self.daemon.stop(), 0)
        self.assertEqual(self.entry_of("stopped")["PRIORITY"], "5")
        self.assertEqual(self.daemon.log(), "", "nothing on standard error besides")

    def test_a_journal_that_nobody_reads_delays_no_mail(self):
        self.listen()
        self.launch()
        self.daemon.wait_ready()
        for _ in range(50):  # more than any socket keeps unread
            self.expect(self.daemon.admin("POST", "/v1/reload", {}), 200)
        self.expect(self.daemon.api("POST", "/v1/challenges", {"recipient": "a@example.org"}), 201)
        self.daemon.code_for("a@example.org")
        self.assertEqual(self.entry_of("started")["PRIORITY"], "5")
        for _ in range(50):
            self.entry_of("reloaded")
        self.daemon.signal(signal.SIGTERM)
        self.entry_of("stopped")
        self.assertEqual(self.daemon.wait(), 0)

    def test_without_its_socket(self):
        """Lines with a priority, which journald reads from standard error."""
        self.launch()
        self.daemon.wait_ready()
        self.assertEqual(self.daemon.stop(), 0, self.daemon.log_tail())
        self.assertRegex(self.daemon.log(), r"(?m)^<5>event=started ")


class Forms(SystemTest):
    def log_of(self, **keys):
        daemon = self.new_daemon(daemon=keys)
        daemon.launch({"JOURNAL_STREAM": "1:1"})  # somebody else's
        daemon.wait_ready()
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())
        return daemon.log().splitlines()

    def test_each_form(self):
        for form, pattern in (("auto", r"\d{4}-\S+Z (info|notice|warning) event=\w+"),
                              ("text", r"\d{4}-\S+Z (info|notice|warning) event=\w+"),
                              ("journal", r"<[456]>event=\w+")):
            with self.subTest(form):
                for line in self.log_of(log=form):
                    self.assertRegex(line, "^" + pattern)
        for line in map(json.loads, self.log_of(log="json")):
            self.assertLessEqual({"at", "level", "event"}, set(line))

    def test_message_ids_are_documented(self):
        def found(pattern, path):
            with open(os.path.join(TOP, path), encoding="utf-8") as file:
                return re.findall(pattern, file.read())
        documented = found(r"(?m)^\| `(\w+)` \| `([0-9a-f]{32})` \|$", "docs/SERVICE.md")
        self.assertTrue(documented)
        self.assertEqual(documented, found(r'\{"(\w+)",\s*"([0-9a-f]{32})"\}', "daemon/app/log_line.cpp"))

    def test_level(self):
        events = [re.search(r"(\w+) event=(\w+)", line).groups() for line in self.log_of(log="text", log_level="warning")]
        self.assertEqual({level for level, _ in events}, {"warning"})
        self.assertIn("development_mode", {event for _, event in events})


class Recipients(SystemTest):
    def bounced(self, level):
        """The line of a bounce, and the whole log."""
        daemon = self.new_daemon(daemon={"log_level": level})
        daemon.start()
        challenge = self.expect(daemon.api("POST", "/v1/challenges",
                                           {"recipient": "alice.secret@example.org", "purpose": "long"}), 201)
        mail = wait_for(lambda: daemon.mails_to("alice.secret@example.org"), daemon.log_tail)[0]
        code = code_in(mail)
        wait_for(lambda: daemon.admin("GET", f"/v1/outbox/{challenge['message']['id']}").json["state"] == "relayed",
                 daemon.log_tail)
        self.expect(daemon.admin("POST", "/v1/bounces", {"message_id": mail["Message-ID"], "action": "failed",
                                                         "status": "5.1.1", "diagnostic": "550 alice.secret unknown"}),
                    (200, 201))
        line = wait_for(lambda: re.search(r".* event=bounce .*", daemon.log()), daemon.log_tail).group()
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())
        self.assertNotIn(code, daemon.log())
        return line, daemon.log()

    def test_by_a_keyed_hash_and_the_domain(self):
        line, log = self.bounced("info")
        self.assertRegex(line, r" recipient_hash=[0-9a-f]{16} domain=example\.org$")
        self.assertNotIn("alice", log)
        other, _ = self.bounced("info")
        self.assertNotEqual(*(re.search(r"recipient_hash=(\w+)", one).group(1) for one in (line, other)),
                            "another key, another hash")

    def test_in_full_in_debug(self):
        line, log = self.bounced("debug")
        self.assertRegex(line, r' recipient_hash=[0-9a-f]{16} domain=example\.org recipient="alice\.secret@example\.org"$')
        self.assertIn("event=log_in_full", log)


if __name__ == "__main__":
    unittest.main(verbosity=2)
