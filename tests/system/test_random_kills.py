"""Row 45 of docs/RELIABILITY.md: 200 SIGKILLs of the daemon, its agent or both at random moments under load; kill -9 in the middle of
2000 sends. The oracle judges.

Environment, besides the harness's: MAILOTP_KILLS, how many SIGKILLs (200), and MAILOTP_SEED (a new one each time).
"""
import os
import random
import time
import unittest

import oracle
from campaign import SANITIZED, Campaign, Rule, Scenario, after
from harness import wait_for

KILLS = int(os.environ.get("MAILOTP_KILLS", "0")) or 200
SEED = int(os.environ.get("MAILOTP_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)
SENDS = 2000


class RandomKills(unittest.TestCase):
    def test_200_at_random_moments(self):
        print(f"MAILOTP_SEED={SEED} MAILOTP_KILLS={KILLS}", flush=True)
        with Campaign(messages=12 * KILLS, kills=KILLS, seed=SEED) as campaign:
            print(campaign.run(), flush=True)

    def test_two_relays_with_faults(self):
        kills = KILLS // 10
        print(f"MAILOTP_SEED={SEED}", flush=True)
        with Campaign(messages=50 * kills, kills=kills, seed=SEED, relays=2, fault_share=0.1) as campaign:
            print(campaign.run(), flush=True)


class InTheMiddle(unittest.TestCase):
    """What a start owes to what was acknowledged before it: the first resend within 1 s, the last within 5 s."""

    def test_2000_sends(self):
        sends = SENDS // 10 if SANITIZED else SENDS
        with Scenario(workers=4) as life:
            relay = life.relays[0]
            # The relay takes its time, so that what is acknowledged and not sent piles up.
            relay.rules = [Rule("mail", after(0.2))]
            life.start()
            life.daemon.wait_ready()
            life.senders.send_up_to(sends)
            life.senders.wait(sends // 2, "half of them are answered", bound=120)
            life.daemon.kill()
            life.senders.send_up_to(life.senders.taken)  # the others after the measurement
            relay.rules = []
            old = relay.connections
            owed = set(life.senders.acknowledged.values()) - self.accepted(relay)
            self.assertGreater(len(owed), sends // 4)
            start = time.monotonic()
            life.note_death()
            wait_for(lambda: self.accepted(relay, after=old), lambda: f"a mail comes; {life.daemon.log_tail()}")
            first = time.monotonic() - start
            wait_for(lambda: owed <= self.accepted(relay), lambda: f"all come; {life.daemon.log_tail()}")
            last = time.monotonic() - start
            print(f"{sends} sends, killed with {len(owed)} acknowledged and not at the relay: first of them after "
                  f"{first:.2f} s, last after {last:.2f} s", flush=True)
            life.senders.send_up_to(sends)
            life.senders.wait(sends, "the others are answered", bound=120)
            life.settle(bound=120)
            oracle.check(life.evidence())
            if not SANITIZED:
                self.assertLess(first, 1.0)
                self.assertLess(last, 5.0)

    def accepted(self, relay, after=0):
        """Recipients of the mails that it took over connections after that one."""
        with relay.lock:
            return {entry.recipient for entry in relay.journal if entry.accepted and entry.connection > after}


if __name__ == "__main__":
    unittest.main(verbosity=2)
