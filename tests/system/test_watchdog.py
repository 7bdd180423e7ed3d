"""The service manager is played: it hears that the daemon lives only while the store and the agents answer, and the
daemon never waits for it."""
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import unittest

from harness import BIN, BOUND, SystemTest, wait_for

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "smtp"))
from scripted_relay import Rule, ScriptedRelay, held  # noqa: E402

FAULTY_HOST = os.environ.get("MAILOTP_FAULTY_HOST", os.path.join(BIN, os.pardir, "tests", "faulty_host.so"))
FEED = "WATCHDOG=1"


class Manager(SystemTest):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="mailotp-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.folder)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.notify.close)
        self.path = os.path.join(self.folder, "notify")
        self.notify.bind(self.path)
        self.notify.settimeout(BOUND)

    def launch(self, watchdog=None, environment=None, **tables):
        """As the manager starts it; `watchdog` in seconds."""
        self.daemon = self.new_daemon(**tables)
        variables = {"NOTIFY_SOCKET": self.path, **(environment or {})}
        if watchdog:
            variables["WATCHDOG_USEC"] = str(int(watchdog * 1_000_000))
        self.daemon.launch(variables)

    def notice(self):
        """The next one, as {name: value}."""
        text = self.notify.recv(4096).decode()
        return dict(line.split("=", 1) for line in text.splitlines())

    def fed(self, times):
        """Waits until it has been fed so often."""
        while times > 0:
            times -= "WATCHDOG" in self.notice()

    def feeds_until(self, condition, what):
        """How often it is fed before the condition holds."""
        self.notify.settimeout(0.02)
        end = time.monotonic() + BOUND
        feeds = 0
        while not condition():
            self.assertLess(time.monotonic(), end, lambda: f"{what}; {self.daemon.log_tail()}")
            try:
                feeds += "WATCHDOG" in self.notice()
            except TimeoutError:
                pass
        self.notify.settimeout(BOUND)
        return feeds

    def log_has(self, text):
        return lambda: text in self.daemon.log()


class Fed(Manager):
    def test_ready_fed_and_stopping(self):
        self.launch(watchdog=4)
        self.assertEqual(self.notice(), {"READY": "1"})
        self.fed(4)
        self.daemon.agents |= set(self.daemon.agent_pids())
        self.daemon.signal(signal.SIGTERM)
        while "STOPPING" not in (notice := self.notice()):
            self.assertEqual(notice, {"WATCHDOG": "1"})
        # Longer than the drain and the store's last commit may take.
        self.assertGreater(int(notice["EXTEND_TIMEOUT_USEC"]), 10_000_000)
        self.assertEqual(self.daemon.wait(), 0, self.daemon.log_tail())
        self.assertNotIn("watchdog_withheld", self.daemon.log())

    def test_not_asked_to_feed(self):
        self.launch()
        self.assertEqual(self.notice(), {"READY": "1"})
        self.daemon.wait_ready()
        self.assertEqual(self.daemon.stop(), 0, self.daemon.log_tail())
        self.assertEqual([list(self.notice())[0], self.daemon.process.returncode], ["STOPPING", 0])

    def test_agents_that_die_again_and_again_are_no_hang(self):
        self.launch(watchdog=8)
        self.daemon.wait_ready()
        dead = set()
        while len(dead) < 6:
            for pid in set(self.daemon.agent_pids()) - dead:
                self.daemon.agents.add(pid)
                os.kill(pid, signal.SIGKILL)
                dead.add(pid)
            self.fed(1)
        self.assertNotIn("watchdog_withheld", self.daemon.log())
        self.assertEqual(self.daemon.stop(), 0, self.daemon.log_tail())


class Hangs(Manager):
    def test_an_agent_that_hangs(self):
        """No feed until the daemon has killed it; then there is another one, and feeds."""
        self.launch(watchdog=5)
        self.daemon.wait_ready()
        self.fed(2)
        hung = self.daemon.agent()
        os.kill(hung, signal.SIGSTOP)
        feeds = self.feeds_until(self.log_has("event=agent_killed"), "the agent is killed")
        # What it had said before counts once.
        self.assertLessEqual(feeds, 1, self.daemon.log())
        self.assertIn("event=watchdog_withheld silent=mailotp-smtp", self.daemon.log())
        self.fed(3)
        self.assertIn("event=watchdog_fed_again", self.daemon.log())
        self.assertNotEqual(self.daemon.agent(), hung)
        self.assertEqual(self.daemon.stop(), 0, self.daemon.log_tail())

    def test_a_store_that_hangs(self):
        """Its disk does not come back from a sync."""
        faults = os.path.join(self.folder, "faults")
        os.mkdir(faults)
        options = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0"]))
        self.launch(watchdog=4, environment={"LD_PRELOAD": FAULTY_HOST, "MAILOTP_FAULTS": faults,
                                             "MAILOTP_FAULTS_BELOW": "/tmp/mailotp-", "ASAN_OPTIONS": options})
        self.daemon.wait_ready()
        self.fed(2)
        disk = os.path.join(faults, "disk")
        with open(disk, "w", encoding="ascii") as file:
            file.write("hang")
        self.addCleanup(lambda: os.path.exists(disk) and os.remove(disk))
        answers = []
        asking = threading.Thread(target=lambda: answers.append(
            self.daemon.api("POST", "/v1/challenges", {"recipient": "a@example.org"})))
        asking.start()
        self.addCleanup(asking.join)
        feeds = self.feeds_until(self.log_has("event=watchdog_withheld silent=store"), "the watchdog is not fed")
        self.assertLessEqual(feeds, 2, "what it had said before counts once")
        self.assertEqual(self.feeds_until(lambda again=time.monotonic() + 3: time.monotonic() > again, "3 s"), 0)
        self.assertEqual(answers, [], "no answer before the commit")
        self.expect(self.daemon.api("GET", "/healthz"), 200)
        os.remove(disk)
        self.fed(2)
        asking.join(BOUND)
        self.expect(answers[0], 201)
        self.assertEqual(self.daemon.stop(), 0, self.daemon.log_tail())

    def test_a_manager_that_hangs(self):
        """Nobody reads its socket: the daemon serves on, and what must be told is told later."""
        stuffing = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(stuffing.close)
        stuffing.setblocking(False)
        stuffed = 0
        try:
            while stuffed < 100_000:
                stuffing.sendto(b"STUFFED=1", self.path)
                stuffed += 1
        except BlockingIOError:
            pass
        self.assertLess(stuffed, 100_000)
        self.launch(watchdog=2)
        self.daemon.wait_ready()
        self.expect(self.daemon.api("POST", "/v1/challenges", {"recipient": "a@example.org"}), 201)
        self.daemon.code_for("a@example.org")
        for _ in range(stuffed):
            self.assertEqual(self.notice(), {"STUFFED": "1"})
        self.assertEqual(self.notice(), {"READY": "1"})
        self.fed(2)
        self.assertEqual(self.daemon.stop(), 0, self.daemon.log_tail())


class Draining(Manager):
    def relay(self, stage):
        gate = threading.Event()
        relay = ScriptedRelay([Rule(stage, held(gate))]).start()
        self.addCleanup(relay.stop)
        self.addCleanup(gate.set)
        return relay, gate

    def up(self, stage):
        self.relay_, self.gate = self.relay(stage)
        self.launch(daemon={"mode": "production"}, relay={
            "name": "first", "host": "127.0.0.1", "port": self.relay_.port, "tls": "none", "auth": "none"})
        self.daemon.wait_ready()
        self.challenge = self.expect(self.daemon.api("POST", "/v1/challenges", {"recipient": "a@example.org"}), 201)
        wait_for(lambda: self.relay_.visits.get(stage), lambda: f"the relay is at {stage}; {self.daemon.log_tail()}")

    def state_after_restart(self):
        self.daemon.launch({"NOTIFY_SOCKET": self.path})
        self.daemon.wait_listening()
        answer = self.daemon.admin("GET", f"/v1/outbox/{self.challenge['message']['id']}")
        return self.expect(answer, 200)

    def test_before_the_dot_it_is_cut_and_after_it_waited_for(self):
        self.up("data")
        start = time.monotonic()
        self.assertEqual(self.daemon.stop(), 0, self.daemon.log_tail())
        before = time.monotonic() - start
        self.gate.set()
        row = self.state_after_restart()
        self.assertNotEqual(row["state"], "uncertain", "it cannot have been sent")
        self.assertEqual(self.daemon.stop(), 0, self.daemon.log_tail())

        self.up("dot")
        self.daemon.agents |= set(self.daemon.agent_pids())
        self.daemon.signal(signal.SIGTERM)
        wait_for(lambda: "event=stopping" in self.daemon.log(), self.daemon.log_tail)
        self.assertIsNone(self.daemon.process.poll(), "it waits for the relay's answer")
        self.gate.set()
        self.assertEqual(self.daemon.wait(), 0, self.daemon.log_tail())
        self.assertEqual(self.state_after_restart()["state"], "relayed")
        print(f"stop with a mail before its dot: {before:.2f} s")


if __name__ == "__main__":
    unittest.main(verbosity=2)
