"""The store's disk, files and clock fail under a running daemon (rows 47 to 53 and 57 of docs/RELIABILITY.md): nothing is lost, nothing is
sent twice, nothing is promised that cannot be kept. The disk and the clock are those of faulty_host.c."""
import calendar
import contextlib
import errno
import os
import re
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
import unittest

from harness import BIN, Daemon, SystemTest, wait_for

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "smtp"))
from scripted_relay import Rule, ScriptedRelay, held, reply  # noqa: E402

FAULTY_HOST = os.environ.get("MAILOTP_FAULTY_HOST", os.path.join(BIN, os.pardir, "tests", "faulty_host.so"))
SANITIZED = os.path.basename(os.path.dirname(BIN)) in ("asan", "tsan")
HOUR = 3600


class StoreStress(SystemTest):
    def setUp(self):
        self.gate = threading.Event()
        self.faults = tempfile.mkdtemp(prefix="mailotp-faults-")
        self.addCleanup(shutil.rmtree, self.faults)

    def relay(self, *rules):
        relay = ScriptedRelay(list(rules)).start()
        self.addCleanup(relay.stop)
        self.addCleanup(self.gate.set)
        return relay

    def up(self, relay, **tables):
        tables.setdefault("delivery", {"retry": ["2s"], "jitter": 0})
        self.daemon = self.new_daemon(
            daemon={"mode": "production"}, **tables,
            relay={"name": "first", "host": "127.0.0.1", "port": relay.port, "tls": "none", "auth": "none"})
        self.start()

    def start(self):
        self.launch()
        self.daemon.wait_ready()

    def launch(self):
        options = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0"]))
        self.daemon.launch({"LD_PRELOAD": FAULTY_HOST, "MAILOTP_FAULTS": self.faults, "ASAN_OPTIONS": options,
                            "MAILOTP_FAULTS_BELOW": self.daemon.state})

    def set(self, name, text):
        """What the machine does from now on."""
        path = os.path.join(self.faults, name)
        with open(path + ".new", "w", encoding="ascii") as file:
            file.write(text)
        os.rename(path + ".new", path)

    def heal(self):
        os.remove(os.path.join(self.faults, "disk"))

    # -- what is asked for, and what must come out

    def ask(self, recipient, **fields):
        return self.daemon.api("POST", "/v1/challenges", {"recipient": recipient, **fields})

    def create(self, count, prefix="user"):
        return [self.expect(self.ask(f"{prefix}{number}@example.org"), 201) for number in range(count)]

    def state_of(self, challenge):
        return self.expect(self.daemon.api("GET", f"/v1/challenges/{challenge['id']}"), 200)["message"]["state"]

    def wait_for_states(self, challenges, state):
        wait_for(lambda: all(self.state_of(one) == state for one in challenges),
                 lambda: f"all are {state}: {[self.state_of(one) for one in challenges]}; {self.daemon.log_tail()}")

    def wait_not_ready(self):
        wait_for(lambda: self.daemon.api("GET", "/readyz").status == 503, lambda: f"not ready; {self.daemon.log_tail()}")
        self.expect(self.daemon.api("GET", "/healthz"), 200)

    def until_refused(self, code, bound=300):
        """Creates until one is refused; those that were acknowledged. What is left of the log's file takes some."""
        made = []
        for number in range(bound):
            response = self.ask(f"more{number}@example.org")
            if response.status != 201:
                self.expect(response, 503, code)
                return made
            made.append(response.json)
        self.fail(f"{bound} were taken; {self.daemon.log_tail()}")

    def assert_sent_once(self, relay, challenges):
        """Every one is relayed, by one mail each, and no other mail was sent."""
        self.wait_for_states(challenges, "relayed")
        ids = relay.message_ids()
        self.assertEqual(len(ids), len(set(ids)), "a mail was sent twice")
        self.assertEqual(len(ids), len(challenges), "lost, or never acknowledged")

    def under_way(self):
        """A relay that has mails past their dot and does not answer yet, and their challenges."""
        relay = self.relay(Rule("dot", held(self.gate)))
        self.up(relay)
        challenges = self.create(4)
        wait_for(lambda: len([1 for one in challenges if self.state_of(one) == "sending"]) == 4,
                 lambda: f"all are being sent; {self.daemon.log_tail()}")
        return relay, challenges

    # -- rows 48 to 50, 52: the disk

    def test_row_49_full_disk_takes_nothing_new_and_keeps_the_results(self):
        relay, challenges = self.under_way()
        self.set("disk", "full 0")
        challenges += self.until_refused("storage_unavailable")
        self.wait_not_ready()
        self.assertEqual(os.stat(os.path.join(self.daemon.state, "mailotpd.reserve")).st_size, 0)
        self.gate.set()
        # What was out is settled in the room of the reserve.
        self.wait_for_states(challenges[:4], "relayed")
        self.expect(self.ask("no@example.org"), 503, "storage_unavailable")
        self.heal()
        self.daemon.wait_ready()
        self.assert_sent_once(relay, challenges + self.create(1, "after"))
        self.assertEqual(self.daemon.stop(), 0, self.daemon.log_tail())

    def results_wait(self, error, code="storage_unavailable"):
        """No write at all works: the results are kept until one does."""
        relay, challenges = self.under_way()
        self.set("disk", f"write {error}")
        self.expect(self.ask("no@example.org"), 503, code)
        self.wait_not_ready()
        self.gate.set()
        wait_for(lambda: len(relay.message_ids()) == 4, "the relay has taken them")
        self.expect(self.ask("no@example.org"), 503, code)
        self.assertEqual({self.state_of(one) for one in challenges}, {"sending"})
        self.heal()
        self.daemon.wait_ready()
        self.assert_sent_once(relay, challenges + self.create(1, "after"))
        self.assertEqual(self.daemon.stop(), 0, self.daemon.log_tail())

    def test_row_49_full_disk_without_a_reserve(self):
        self.results_wait(errno.ENOSPC)

    def test_row_49_quota(self):
        self.results_wait(errno.EDQUOT)

    def test_row_52_read_only(self):
        self.results_wait(errno.EROFS)

    def test_row_49_low_disk(self):
        self.up(self.relay(), delivery={"min_free_disk": "1000TiB"})
        refused = self.ask("no@example.org")
        problem = self.expect(refused, 503, "overloaded")
        self.assertIn("of the disk are free", problem["detail"])
        self.expect(self.daemon.api("GET", "/readyz"), 200)

    def test_row_48_failed_sync_ends_the_process(self):
        relay = self.relay()
        self.up(relay)
        challenges = self.create(2)
        self.wait_for_states(challenges, "relayed")
        self.set("disk", f"sync {errno.EIO}")
        with contextlib.suppress(OSError):
            self.assertNotEqual(self.ask("no@example.org").status, 201)
        self.assertEqual(self.daemon.wait(), 74, self.daemon.log_tail())
        # A start on a disk that still fails answers nothing.
        self.launch()
        self.assertEqual(self.daemon.wait(), 74, self.daemon.log_tail())
        self.heal()
        self.start()
        for one in challenges:
            self.assertEqual(self.state_of(one), "relayed")
        self.wait_for_states(self.create(1, "after"), "relayed")

    def test_row_50_foreign_lock(self):
        relay, challenges = self.under_way()
        other = sqlite3.connect(os.path.join(self.daemon.state, "mailotpd.db"), isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN EXCLUSIVE")
        begun = time.monotonic()
        self.expect(self.ask("no@example.org"), 503, "storage_unavailable")
        self.assertGreater(time.monotonic() - begun, 4, "it waits for a lock that is held for moments")
        self.gate.set()
        wait_for(lambda: len(relay.message_ids()) == 4, "the relay has taken them")
        other.execute("ROLLBACK")
        self.daemon.wait_ready()
        self.assert_sent_once(relay, challenges + self.create(1, "after"))

    def test_row_52_database_removed(self):
        relay = self.relay()
        self.up(relay)
        self.wait_for_states(self.create(1), "relayed")
        path = os.path.join(self.daemon.state, "mailotpd.db")
        os.rename(path, path + ".away")
        self.wait_not_ready()
        self.expect(self.ask("no@example.org"), 503, "storage_unavailable")
        self.assertIn("the database file was removed or replaced", self.daemon.log())
        self.assertFalse(os.path.exists(path), "another one was made")
        os.rename(path + ".away", path)
        self.daemon.wait_ready()
        self.wait_for_states(self.create(1, "after"), "relayed")

    # -- rows 47, 51, 57: starts

    def crashed(self):
        """A daemon that was killed with two messages in its log only."""
        relay = self.relay(Rule("mail", reply("451 4.3.0 busy")))
        self.up(relay)
        challenges = self.create(2)
        self.daemon.kill()
        return challenges

    def assert_refused(self, *words):
        done = self.daemon.run()
        text = done.stdout + done.stderr
        self.assertEqual(done.returncode, 74, text)
        for word in words:
            self.assertIn(word, text)

    def assert_all_there(self, challenges):
        self.daemon.launch()
        self.daemon.wait_listening()
        for one in challenges:
            self.assertIn(self.state_of(one), ("deferred", "queued", "sending"))

    def test_row_47_missing_log(self):
        challenges = self.crashed()
        log = os.path.join(self.daemon.state, "mailotpd.db-wal")
        os.rename(log, log + ".away")
        for _ in range(2):
            self.assert_refused(log, "acknowledged", "mailotpd.lock")
        os.rename(log + ".away", log)
        self.assert_all_there(challenges)
        self.daemon.kill()
        os.remove(log)
        self.assert_refused(log)
        os.remove(os.path.join(self.daemon.state, "mailotpd.lock"))
        self.daemon.launch()
        self.daemon.wait_listening()

    def test_row_47_garbage_at_the_end_of_the_log(self):
        challenges = self.crashed()
        with open(os.path.join(self.daemon.state, "mailotpd.db-wal"), "ab") as log:
            log.write(os.urandom(10_000))
        os.remove(os.path.join(self.daemon.state, "mailotpd.db-shm"))
        self.assert_all_there(challenges)

    def test_row_51_newer_schema(self):
        self.up(self.relay())
        self.assertEqual(self.daemon.stop(), 0)
        with contextlib.closing(sqlite3.connect(os.path.join(self.daemon.state, "mailotpd.db"))) as db:
            db.execute("PRAGMA user_version = 99")
        self.assert_refused("99", "newer mailotpd", "restore a backup")

    def test_row_51_corrupt_page(self):
        self.crashed()
        with contextlib.closing(sqlite3.connect(os.path.join(self.daemon.state, "mailotpd.db"))) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'message'").fetchone()
            (size,) = db.execute("PRAGMA page_size").fetchone()
        with open(os.path.join(self.daemon.state, "mailotpd.db"), "r+b") as file:
            file.seek((page - 1) * size)
            file.write(b"\xa5" * size)
        # Which has moved the log into the database and removed it.
        with open(os.path.join(self.daemon.state, "mailotpd.db-wal"), "wb"):
            pass
        self.assert_refused("malformed", "backup")

    def test_row_57_second_instance(self):
        self.up(self.relay())
        second = Daemon(daemon={"state_dir": self.daemon.state, "key_file": self.daemon.key})
        self.addCleanup(second.destroy)
        begun = time.monotonic()
        done = second.run()
        took = time.monotonic() - begun
        self.assertEqual(done.returncode, 73, done.stderr)
        self.assertIn(f"process {self.daemon.pid} ", done.stderr)
        if not SANITIZED:
            self.assertLess(took, 1)
        self.expect(self.daemon.api("GET", "/healthz"), 200)

    # -- row 53: the clock

    def stepped(self, seconds):
        """A deferred mail and an open challenge when the clock is set."""
        relay = self.relay(Rule("mail", reply("451 4.3.0 busy"), nth=1))
        self.up(relay)
        (challenge,) = self.create(1)
        wait_for(lambda: self.state_of(challenge) == "deferred", lambda: f"deferred; {self.daemon.log_tail()}")
        self.set("clock", str(seconds))
        return relay, challenge

    def after_the_step(self, relay, challenge, seconds, count=1):
        found = wait_for(lambda: re.findall(r"event=clock_stepped by_seconds=(-?\d+)", self.daemon.log()),
                         lambda: f"the step is noticed; {self.daemon.log_tail()}", bound=20)
        self.assertEqual(len(found), count)
        self.assertAlmostEqual(int(found[-1]), seconds, delta=2)
        self.wait_for_states([challenge], "relayed")
        self.assertEqual(len(relay.message_ids()), 1)
        seen = self.expect(self.daemon.api("GET", f"/v1/challenges/{challenge['id']}"), 200)
        self.assertEqual(seen["created_at"], challenge["created_at"])
        self.assertEqual(seen["state"], "otp_sent")
        self.assertAlmostEqual(when(seen["expires_at"]) - when(challenge["expires_at"]), seconds, delta=2)
        # New work goes on by the new clock.
        (new,) = self.create(1, "after")
        self.assertAlmostEqual(when(new["created_at"]) - time.time(), seconds, delta=30)
        self.wait_for_states([new], "relayed")

    def step(self, seconds):
        relay, challenge = self.stepped(seconds)
        self.after_the_step(relay, challenge, seconds)

    def test_row_53_an_hour_forward(self):
        self.step(HOUR)

    def test_row_53_an_hour_back(self):
        self.step(-HOUR)

    def test_row_53_set_while_nobody_runs(self):
        relay = self.relay(Rule("mail", reply("451 4.3.0 busy"), nth=1))
        self.up(relay)
        (challenge,) = self.create(1)
        wait_for(lambda: self.state_of(challenge) == "deferred", lambda: f"deferred; {self.daemon.log_tail()}")
        self.daemon.kill()
        self.set("clock", str(HOUR))
        self.start()
        self.after_the_step(relay, challenge, HOUR)


def when(text):
    """Seconds since the epoch of a time of the API."""
    whole, _, rest = text.partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float("0." + rest.rstrip("Z"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
