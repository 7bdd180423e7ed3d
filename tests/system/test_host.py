"""What the host does to the daemon: 54 and 56 (signals), 55 (memory), 57 (two instances), 58 (poison), 60 (a
long outage), 62 (a log that nobody reads)."""
import contextlib
import fcntl
import os
import signal
import subprocess
import threading
import time
import unittest

import oracle
from campaign import CONNECTIONS, SANITIZED, Rule, Scenario, Senders, relay_table, reply
from harness import BOUND, Daemon, SystemTest, is_alive, wait_for
from scripted_relay import ScriptedRelay


class Signals(SystemTest):
    def scenario(self, **more):
        life = Scenario(**more)
        self.addCleanup(life.__exit__)
        return life

    def test_54_sigterm_under_load(self):
        """Exit 0, and nothing is lost; a second SIGTERM ends it at once, and nothing is lost either."""
        for signals in (1, 2):
            with self.subTest(signals=signals):
                life = self.scenario()
                life.start()
                life.daemon.wait_ready()
                life.senders.send_up_to(600)
                for portion in (100, 300, 500):
                    life.senders.wait(portion, "messages are answered")
                    life.daemon.agents |= set(life.daemon.agent_pids())
                    for _ in range(signals):
                        with contextlib.suppress(ProcessLookupError):
                            life.daemon.signal(signal.SIGTERM)
                    self.assertEqual(life.daemon.wait(30), 0, life.daemon.log_tail())
                    life.daemon.launch()
                    # One that was told twice leaves what the agent had in its hands to the next start.
                    life.daemon_deaths += signals - 1
                life.senders.wait(600, "messages are answered")
                life.settle()
                seen = life.evidence()
                oracle.check(seen)
                if signals == 1:
                    self.assertEqual(sum(row["uncertain"] for row in seen.rows.values()), 0, life.daemon.log_tail())

    def test_54_56_sigstop_and_cont_under_load(self):
        """A process that gets no processor for longer than it may be silent: nothing expires, no relay is blamed."""
        life = self.scenario()
        life.start()
        life.daemon.wait_ready()
        life.senders.send_up_to(400)
        life.senders.wait(100, "messages are answered")
        life.daemon.signal(signal.SIGSTOP)
        stopped = time.monotonic()
        # Longer than the beats that an agent may miss would be 10 s; shorter than a client waits.
        wait_for(lambda: time.monotonic() - stopped > 12, "time passes")
        life.daemon.signal(signal.SIGCONT)
        life.senders.wait(400, "messages are answered")
        life.settle()
        life.watch.kill()
        life.watch.end = lambda: None  # nobody can answer while it is stopped
        seen = life.evidence()
        oracle.check(seen)
        self.assertEqual(set(row["state"] for row in seen.rows.values()), {"relayed"})
        self.assertNotIn("event=relay_down", life.daemon.log())

    def test_57_a_second_instance_is_refused_within_a_second_and_names_the_first(self):
        daemon = self.new_daemon()
        daemon.start()
        start = time.monotonic()
        second = daemon.run()
        took = time.monotonic() - start
        self.assertEqual(second.returncode, 73, second.stderr)
        self.assertIn(str(daemon.pid), second.stderr)
        if not SANITIZED:
            self.assertLess(took, 1.0)
        self.expect(daemon.api("POST", "/v1/challenges", {"recipient": "first@example.org"}), 201)


class Poison(SystemTest):
    """58: one message kills whoever sends it, each time. After three deaths it is held; the others get through."""

    def life(self, kill):
        life = Scenario()
        self.addCleanup(life.__exit__)
        self.deaths = 0

        async def die(session):
            if "poison" in session.entry.recipient:
                self.deaths += 1
                kill(life)
            return False
        life.relays[0].rules = [Rule("rcpt", die)]
        life.start()
        life.daemon.wait_ready()
        return life

    def send(self, life):
        poison = self.expect(life.daemon.api("POST", "/v1/challenges",
                                             {"recipient": "poison@example.org", "purpose": "long"}), 201)
        life.senders.acknowledged[poison["message"]["id"]] = "poison@example.org"
        life.senders.send_up_to(100)
        return poison["message"]["id"]

    def judge(self, life, poison):
        life.settle()
        seen = life.evidence()
        oracle.check(seen)
        states = {id: row["state"] for id, row in seen.rows.items()}
        self.assertEqual(states.pop(poison), "held")
        self.assertEqual(set(states.values()), {"relayed"})
        self.assertEqual(self.deaths, 3)

    def test_58_poison_kills_the_agent(self):
        life = self.life(lambda life: life.kill_agents())
        poison = self.send(life)
        life.senders.wait(101, "messages are answered")
        self.judge(life, poison)

    def test_58_poison_kills_the_daemon(self):
        life = self.life(lambda life: life.daemon.process.kill())
        poison = self.send(life)

        def calm():
            if life.daemon.process.poll() is not None:
                life.note_death()
            try:
                return life.senders.done() >= 101 and life.daemon.is_listening() and life._settled()
            except (OSError, AssertionError):
                return False
        wait_for(calm, lambda: f"the others are sent; {life.daemon.log_tail()}")
        self.judge(life, poison)


class Outage(SystemTest):
    def down(self, **tables):
        """A daemon whose relay nobody listens for; the relay, which can be started on the daemon's port."""
        relay = ScriptedRelay()
        relay.start()
        port = relay.port
        relay.stop()
        self.relay = ScriptedRelay()
        self.relay.port = port
        daemon = Daemon(daemon={"mode": "production"}, relay=relay_table("relay0", self.relay), **tables)
        self.addCleanup(daemon.destroy)
        daemon.launch()
        daemon.wait_listening()
        return daemon, port

    def fill(self, daemon, count):
        senders = Senders(daemon, 8)
        self.addCleanup(senders.end)
        senders.send_up_to(count)
        senders.wait(count, "messages are answered", bound=240)
        self.assertEqual(len(senders.acknowledged), count, senders.unexpected[:3])
        return senders

    def test_55_memory_is_bounded_by_the_claims_not_by_the_queue(self):
        """Row 55: with 50,000 queued the daemon holds what it held with 5,000, and SQLite's cache (32 MiB)."""
        daemon, _ = self.down()
        few, many = (500, 2_000) if SANITIZED else (5_000, 50_000)
        senders = self.fill(daemon, few)
        _, before = oracle.footprint(daemon.pid)
        senders.send_up_to(many)
        senders.wait(many, "messages are answered", bound=240)
        _, after = oracle.footprint(daemon.pid)
        agent = oracle.footprint(daemon.agent())
        print(f"{few} queued: {before} KiB; {many} queued: {after} KiB; the agent: {agent}", flush=True)
        stats = oracle.stats(daemon)
        self.assertEqual(stats["accepted_total"], many)
        self.assertEqual(len(senders.acknowledged), many)
        if not SANITIZED:
            # 45,000 bodies of 3 KB would be 130 MiB.
            self.assertLess(after - before, 40 * 1024)
            self.assertLess(agent[1], 32 * 1024)
        # An OOM kill is row 45: the next start, with all of them queued, holds no more.
        daemon.kill()
        daemon.launch()
        daemon.wait_listening()
        self.assertEqual(oracle.stats(daemon)["accepted_total"], many)
        _, again = oracle.footprint(daemon.pid)
        if not SANITIZED:
            self.assertLess(again, after + 16 * 1024)

    def test_60_outage_with_2000_queued_and_back(self):
        """No thundering herd, nothing that is dead is sent, the rest leaves within the bound; figures are printed."""
        count = 400 if SANITIZED else 2_000
        daemon, port = self.down(**{"purpose.brief": {"ttl": "66s", "usable_minimum": "60s"}})
        for i in range(20):
            answer = daemon.api("POST", "/v1/challenges", {"recipient": f"brief{i}@example.org", "purpose": "brief"})
            self.expect(answer, 201)
        senders = self.fill(daemon, count)
        # Those with 6 s of life end by themselves while the relay is away.
        wait_for(lambda: oracle.stats(daemon)["messages"].get("expired") == 20,
                 lambda: f"20 messages expire; {oracle.stats(daemon)}; {daemon.log_tail()}")
        ramp = []  # of each new connection: when, how many are open then, mails taken before it

        async def opened(session):
            ramp.append((time.monotonic() - start, session.relay.open_now, len(session.relay.mails)))
            return False
        self.relay.rules = [Rule("connect", opened)]
        start = time.monotonic()
        self.relay.start(port)
        self.addCleanup(self.relay.stop)
        wait_for(lambda: oracle.stats(daemon)["messages"].get("relayed") == count,
                 lambda: f"{count} leave; {oracle.stats(daemon)['messages']}; {daemon.log_tail()}", bound=120)
        took = time.monotonic() - start
        print(f"{count} after an outage: all after {took:.2f} s; (s, connections, mails before): "
              f"{[(round(when, 2), connections, mails) for when, connections, mails in ramp[:12]]}", flush=True)
        self.assertLessEqual(self.relay.most_open, CONNECTIONS + 1, "one more may be the probe")
        for _, connections, mails in ramp:
            # Two at first, one more for as many successes as there are; one of those that are open is the probe.
            self.assertGreaterEqual(mails, sum(range(2, connections - 1)), ramp)
        self.assertFalse([entry for entry in self.relay.journal if entry.recipient.startswith("brief")])
        self.assertIn("event=delivery_resumed outage_ms=", daemon.log())
        for row in oracle.outbox(daemon, "&state=expired").values():
            self.assertEqual((row["verdict"]["kind"], row["verdict"]["class"]), ("unsent", "expired"))
        seen = oracle.gather(daemon, [self.relay], senders_with(senders, daemon))
        oracle.check(seen)


def senders_with(senders, daemon):
    """The ledger, with the messages that a test has sent by hand."""
    for row in oracle.outbox(daemon).values():
        if row["recipient"].startswith("brief"):
            senders.acknowledged[row["id"]] = row["recipient"]
    return senders


class Log(SystemTest):
    def test_62_a_full_pipe_that_nobody_reads_delays_no_mail(self):
        life = Scenario()
        self.addCleanup(life.__exit__)
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * 512)
        os.set_blocking(writer, True)
        daemon = life.daemon
        daemon.keygen()
        daemon.process = subprocess.Popen(daemon.command(), stdin=subprocess.DEVNULL, stdout=writer, stderr=writer,
                                          cwd=daemon.folder)
        os.close(writer)
        daemon.wait_ready()
        life.senders = Senders(daemon, 4)
        life.stack.callback(life.senders.end)
        life.senders.send_up_to(200)
        life.senders.wait(200, "messages are answered")
        life.settle()
        self.assertEqual(len(life.relays[0].mails), 200)
        life.kill_agents()  # news for the log while it is full
        life.senders.send_up_to(300)
        life.senders.wait(300, "messages are answered")
        life.settle()
        self.assertEqual(len({entry.recipient for entry in life.relays[0].journal if entry.accepted}), 300)
        # Once somebody reads, the lines come, in order.
        text = []

        def read():
            while chunk := os.read(reader, 65536):
                text.append(chunk)
        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        self.assertEqual(daemon.stop(), 0)
        thread.join(BOUND)
        self.assertFalse(thread.is_alive())
        log = b"".join(text).lstrip(b"x").decode()
        order = [log.find(f"event={name}") for name in ("started", "agent_gone", "stopping", "stopped")]
        self.assertEqual(order, sorted(order), log)
        self.assertNotIn(-1, order, log)


if __name__ == "__main__":
    unittest.main(verbosity=2)
