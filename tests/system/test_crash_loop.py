"""Rows 45 and 36 of docs/RELIABILITY.md: death at each named point, at its first hit, its second, … until a run hits none; then the oracle.

The load is 12 messages over two connections, so that each loop ends. Of a point that is hit more than 8 times a run
the later hits are taken by growing steps: 8, 10, 12, 15, …
"""
import os
import signal
import unittest

from campaign import Scenario
from harness import wait_for
import oracle

MESSAGES = 12
WORKERS = 2
# A shorter loop for a build in which each start takes a second: the first hits alone.
MOST_HITS = int(os.environ.get("MAILOTP_CRASH_HITS", "0")) or 10_000


def next_hit(hit):
    return hit + 1 if hit < 8 else hit + max(2, hit // 4)


class OneDeath(Scenario):
    def __init__(self, **tables):
        super().__init__(workers=WORKERS, **tables)

    def run(self, order):
        """Whether the ordered death came; the oracle has judged."""
        self.start({"MAILOTP_CRASH": order})
        self.senders.send_up_to(MESSAGES)
        self.alive_until(lambda: self.senders.done() >= MESSAGES, "messages are answered")
        self.alive_until(lambda: self.daemon.is_listening() and self._settled(), "nothing is under way")
        if self.stop() == -signal.SIGKILL:
            # It died while it ended, and left the next start something to do.
            self.note_death()
        else:
            self.daemon.launch()
        self.settle()
        self.agent_deaths = self.deaths_in(self.daemon.log())
        seen = self.evidence()
        oracle.check(seen)
        if self.senders.acknowledged and self.stop() != 0:
            raise AssertionError(f"it did not end well; {self.daemon.log_tail()}")
        return self.daemon_deaths + self.agent_deaths

    @staticmethod
    def deaths_in(log):
        """Agents that died by themselves: a daemon that is stopped before its agent is ready kills it."""
        deaths, stopping = 0, False
        for line in log.splitlines():
            if "event=started" in line or "event=stopping" in line:
                stopping = "event=stopping" in line
            deaths += not stopping and "event=agent_gone" in line and "signal=9" in line
        return deaths

    def alive_until(self, condition, what):
        def reached():
            if self.daemon.process.poll() is not None:
                self.is_the_ordered_death()
                self.note_death()
            try:
                return condition()
            except (OSError, AssertionError):  # it died meanwhile
                return False
        wait_for(reached, lambda: f"{what}; {self.daemon.log_tail()}")

    def is_the_ordered_death(self):
        if self.daemon.process.returncode != -signal.SIGKILL or self.daemon_deaths:
            raise AssertionError(f"the daemon ended by itself: {self.daemon.process.returncode}; "
                                 f"{self.daemon.log_tail()}")

    def stop(self):
        self.daemon.agents |= set(self.daemon.agent_pids())
        self.daemon.signal(signal.SIGTERM)
        return self.daemon.wait()


class CrashLoop(unittest.TestCase):
    def loop(self, point, least):
        """Deaths at the hits of a point; a run of this load comes to it at least `least` times."""
        hit, most = 1, 0
        while hit <= MOST_HITS:
            with self.subTest(point=point, hit=hit), OneDeath() as life:
                deaths = life.run(f"{point}:{hit}")
                self.assertLessEqual(deaths, 1)
            if not deaths:
                break
            most, hit = hit, next_hit(hit)
        print(f"{point}: died at hits 1 to {most}", flush=True)
        self.assertGreaterEqual(most, min(least, MOST_HITS))


class Requests(CrashLoop):
    """In the daemon, from a request to its answer."""

    def test_after_accept_before_commit(self):
        self.loop("accepted", MESSAGES)

    def test_after_commit_before_anything_else(self):
        self.loop("committed", 2)

    def test_after_commit_before_reply(self):
        self.loop("replying", MESSAGES)

    def test_after_hand_over(self):
        self.loop("handed_over", 2)


class Facts(CrashLoop):
    """In the daemon, from the agent's fact to its commit."""

    def test_36_250_heard_before_relayed_is_committed(self):
        self.loop("relayed_heard", MESSAGES)

    def test_after_relayed_is_committed(self):
        self.loop("relayed_committed", 1)


class Store(CrashLoop):
    def test_before_commit(self):
        self.loop("commit_next", 2)

    def test_after_commit(self):
        self.loop("commit_done", 2)

    def test_before_checkpoint(self):
        self.loop("checkpoint_next", 2)

    def test_after_checkpoint(self):
        self.loop("checkpoint_done", 2)

    def test_in_migration_with_nothing_written(self):
        self.loop("migration_begun", 1)

    def test_in_migration_before_its_commit(self):
        self.loop("migration_written", 1)

    def test_after_migration(self):
        self.loop("migration_done", 1)


class Purge(unittest.TestCase):
    def test_in_purge(self):
        """Rows go in a transaction of their own: a death in it takes none of them, and the totals stay."""
        for hit in range(1, MOST_HITS + 1):
            retention = {"challenges": "1s", "messages": "1s", "events": "1s"}
            with self.subTest(hit=hit), OneDeath(retention=retention) as life:
                life.start({"MAILOTP_CRASH": f"purging:{hit}"})
                life.senders.send_up_to(MESSAGES)
                life.alive_until(lambda: life.senders.done() >= MESSAGES, "messages are answered")
                # Of challenges that live for ten minutes only the mails go.
                life.alive_until(lambda: life.daemon.is_listening() and self.rows_left(life) == 0, "the rows are gone")
                stats = oracle.stats(life.daemon)
                self.assertEqual(len(life.senders.acknowledged) + life.senders.unanswered, MESSAGES)
                self.assertEqual(stats["accepted_total"], sum(stats["ended_total"].values()))
                self.assertGreaterEqual(stats["accepted_total"], len(life.senders.acknowledged))
                relay = life.relays[0]
                self.assertLessEqual(set(life.senders.acknowledged.values()),
                                     {entry.recipient for entry in relay.journal if entry.accepted})
                self.assertEqual(life.stop(), 0)
                if not life.daemon_deaths:
                    break
        print(f"purging: died at hits 1 to {hit - 1}", flush=True)
        self.assertGreater(hit, 1)

    def rows_left(self, life):
        return sum(oracle.stats(life.daemon)["messages"].values())


class BeforeDot(CrashLoop):
    """In the agent."""

    def test_after_body_before_dot(self):
        self.loop("dot_next", MESSAGES)

    def test_dot_announced_and_not_sent(self):
        self.loop("dot_announced", MESSAGES)


class AfterDot(CrashLoop):
    """In the agent. Each of these deaths leaves a message that is repeated after 2 s."""

    def test_after_dot(self):
        self.loop("dot_left", MESSAGES)

    def test_36_after_250(self):
        self.loop("relay_said_yes", MESSAGES)


if __name__ == "__main__":
    unittest.main(verbosity=2)
