"""examples/login.py, as a user sees it: what it says, and its exit code."""
import os
import subprocess
import sys
import unittest

from harness import BOUND, SystemTest, wrong_digits

HERE = os.path.dirname(os.path.abspath(__file__))
EXAMPLE = os.path.join(HERE, os.pardir, os.pardir, "examples", "login.py")
sys.path.insert(0, os.path.join(HERE, os.pardir, "smtp"))
from scripted_relay import Rule, ScriptedRelay, reply  # noqa: E402

PROMPT = "another mail: "


class Example(SystemTest):
    def login(self, daemon):
        """The example, before its first question. Without the variables of this test: -I leaves the library alone."""
        user = subprocess.Popen([sys.executable, "-I", EXAMPLE, daemon.api_socket], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(self.end, user)
        self.said(user, "Your mail address: ")
        return user

    @staticmethod
    def end(user):
        user.kill()
        user.communicate()

    def said(self, user, end):
        """What it says up to `end`."""
        text = b""
        while not text.endswith(end.encode()):
            more = user.stdout.read(1)
            if not more:
                self.fail(f"it ended after {text!r}: {user.stderr.read()!r}")
            text += more
        return text.decode()

    def types(self, user, line, until=PROMPT):
        user.stdin.write(line.encode() + b"\n")
        user.stdin.flush()
        return self.said(user, until) if until else ""

    def ended(self, user):
        """(exit code, what it said since, the reason)."""
        out, reason = user.communicate(timeout=BOUND)
        return user.returncode, out.decode(), reason.decode().strip()

    def test_wrong_code_resend_and_right_code(self):
        daemon = self.new_daemon(**{"purpose.login": {"cooldown": "0s"}})
        daemon.start()
        user = self.login(daemon)
        self.types(user, "alice@example.org")
        code = daemon.code_for("alice@example.org")
        self.assertIn("That is not the code. You have 4 more attempts.", self.types(user, wrong_digits(code)))
        self.assertIn("Another mail is on its way.", self.types(user, "r"))
        self.assertEqual(daemon.code_for("alice@example.org", 2), code)
        self.types(user, f"{code[:3]} {code[3:]}", until=None)
        self.assertEqual(self.ended(user), (0, "Welcome, alice@example.org.\n", ""))

    def test_too_early_and_too_often(self):
        """The cooldown is told with its end, and the code still counts; then no attempt is left."""
        daemon = self.new_daemon(**{"purpose.login": {"max_attempts": 2}})
        daemon.start()
        user = self.login(daemon)
        self.types(user, "alice@example.org")
        code = daemon.code_for("alice@example.org")
        self.assertRegex(self.types(user, "r"), r"Too many \(resend_cooldown\): please wait until 20\d\d-\d\d-\d\dT.*Z\.")
        self.assertIn("You have 1 more attempts.", self.types(user, wrong_digits(code)))
        self.types(user, wrong_digits(code), until=None)
        self.assertEqual(self.ended(user), (1, "", "This code is of no more use. Please begin again."))

    def test_a_limit_of_sends_and_of_failures(self):
        daemon = self.new_daemon(limits={"recipient_sends": ["1/1h"], "recipient_failures": ["1/1d"]})
        daemon.start()
        user = self.login(daemon)
        self.types(user, "alice@example.org")
        code = daemon.code_for("alice@example.org")
        again = self.login(daemon)
        self.types(again, "alice@example.org", until=None)
        status, _, reason = self.ended(again)
        self.assertEqual(status, 1)
        self.assertIn("Too many (recipient_sends): please wait until 20", reason)
        self.types(user, wrong_digits(code))
        self.types(user, code, until=None)
        self.assertIn("Too many (recipient_failures)", self.ended(user)[2])

    def test_the_user_learns_that_the_mailbox_does_not_exist(self):
        relay = ScriptedRelay([Rule("rcpt", reply("550 5.1.1 no such user here"))]).start()
        self.addCleanup(relay.stop)
        daemon = self.new_daemon(daemon={"mode": "production"}, relay={
            "name": "only", "host": "127.0.0.1", "port": relay.port, "tls": "none", "auth": "none"})
        daemon.start()
        user = self.login(daemon)
        self.types(user, "nobody@example.org", until=None)
        self.assertEqual(self.ended(user), (1, "", "Your mail cannot be delivered: user-unknown (no such user here)."))
        user = self.login(daemon)
        self.types(user, "nobody@example.org", until=None)
        self.assertEqual(self.ended(user), (1, "", "Mail to this address came back (user-unknown). Is it spelled right?"))

    def test_no_address_and_no_daemon(self):
        daemon = self.new_daemon()
        daemon.start()
        user = self.login(daemon)
        self.types(user, "nobody", until=None)
        status, _, reason = self.ended(user)
        self.assertEqual((status, bool(reason)), (1, True))
        user = self.login(daemon)
        daemon.stop()
        self.types(user, "alice@example.org", until=None)
        status, _, reason = self.ended(user)
        self.assertEqual(status, 69)
        self.assertIn("mailotpd does not answer at", reason)


if __name__ == "__main__":
    unittest.main(verbosity=2)
