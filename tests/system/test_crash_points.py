"""Named crash points: a process dies at the ordered hit and says nothing; what is shipped has none.

Environment, besides the harness's: MAILOTP_CRASH_POINTS, whether the build has them (ON or OFF).
"""
import os
import signal
import unittest

from harness import BIN, SystemTest, is_alive, wait_for

BUILT_IN = os.environ.get("MAILOTP_CRASH_POINTS", "ON") == "ON"


class CrashPoints(SystemTest):
    def test_only_a_build_with_the_option_knows_the_variable(self):
        """With the option on it shows that this look would see one."""
        for program in ("mailotpd", "mailotp-smtp"):
            with open(os.path.join(BIN, program), "rb") as file:
                self.assertEqual(b"MAILOTP_CRASH" in file.read(), BUILT_IN, program)

    @unittest.skipUnless(BUILT_IN, "this build has no crash points: the test above has shown it")
    def test_the_daemon_dies_at_the_ordered_hit(self):
        daemon = self.new_daemon()
        daemon.launch({"MAILOTP_CRASH": "accepted:2"})
        daemon.wait_ready()
        self.expect(daemon.api("POST", "/v1/challenges", {"recipient": "first@example.org"}), 201)
        with self.assertRaises(OSError):
            daemon.api("POST", "/v1/challenges", {"recipient": "second@example.org"})
        self.assertEqual(daemon.wait(), -signal.SIGKILL)
        daemon.start()
        stats = self.expect(daemon.admin("GET", "/v1/stats"), 200)
        self.assertEqual(stats["accepted_total"], 1)

    @unittest.skipUnless(BUILT_IN, "this build has no crash points: the test above has shown it")
    def test_only_the_first_agent_gets_the_order(self):
        daemon = self.new_daemon()
        daemon.launch({"MAILOTP_CRASH": "nowhere:1"})
        daemon.wait_ready()
        first = daemon.agent()

        def environment(pid):
            with open(f"/proc/{pid}/environ", "rb") as file:
                return file.read()
        self.assertIn(b"MAILOTP_CRASH=nowhere:1\0", environment(first))
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: not is_alive(first), "the agent is dead")
        second = wait_for(lambda: next(iter(set(daemon.agent_pids()) - {first}), None), "another agent runs")
        self.assertNotIn(b"MAILOTP_CRASH", environment(second))


if __name__ == "__main__":
    unittest.main(verbosity=2)
