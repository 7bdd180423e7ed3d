"""Load, faults and deaths over one daemon: what the crash loop, the kill tests and bench/chaos share.

    with Campaign(messages=3000, kills=200, seed=7) as campaign:
        figures = campaign.run()            # AssertionError: the oracle found a violation

Relays and clients are threads of this process; the daemon and its agents are real processes that die by SIGKILL.
"""
import contextlib
import dataclasses
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import oracle
from harness import BOUND, Client, Daemon, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, os.pardir, "smtp"))
from scripted_relay import Rule, ScriptedRelay, after, close, drop, reply, reset, take  # noqa: E402

# Under a sanitizer times mean nothing, and memory is kept back on purpose.
SANITIZED = os.environ.get("MAILOTP_SANITIZERS", "0") == "1"
# Codes of ten letters: six digits could stand in a log by chance.
PURPOSE = "long"
CONNECTIONS = 8


def relay_table(name, relay, **more):
    return {"name": name, "host": "127.0.0.1", "port": relay.port, "tls": "none", "auth": "none",
            "max_connections": CONNECTIONS, **more}


def faults(share):
    """Rules that meet about `share` of the attempts, each kind of fault as often as another."""
    kinds = [("greeting", close("421 4.3.2 not now")), ("mail", close("421 4.3.2 enough")),
             ("mail", reply("451 4.3.0 local trouble")), ("rcpt", reply("450 4.2.1 mailbox busy")),
             ("rcpt", reset()), ("data", reply("451 4.3.0 local trouble")), ("body", drop()),
             ("dot", drop()), ("dot", take(drop())), ("dot", take(reset())),
             ("dot", reply("451 4.3.2 not now")), ("dot", after(0.5)), ("dot", after(2.0, drop()))]
    return [Rule(stage, action, p=share / len(kinds)) for stage, action in kinds]


class Senders:
    """Clients that create challenges, each to an address of its own, as far as `goal` lets them; they outlive the
    daemon. `acknowledged` has every 201 as message: recipient; `unanswered` counts requests without an answer."""

    def __init__(self, daemon, workers):
        self.daemon = daemon
        self.changed = threading.Condition()
        self.goal = 0
        self.taken = 0
        self.ended = False
        self.acknowledged = {}
        self.unanswered = 0
        self.refused = 0        # 503: nothing has happened; asked again
        self.unexpected = []
        self.threads = [threading.Thread(target=self._work, daemon=True) for _ in range(workers)]
        for thread in self.threads:
            thread.start()

    def done(self):
        with self.changed:
            return len(self.acknowledged) + self.unanswered + len(self.unexpected)

    def send_up_to(self, goal):
        with self.changed:
            self.goal = goal
            self.changed.notify_all()

    def wait(self, count, what, bound=BOUND):
        wait_for(lambda: self.done() >= count, lambda: f"{what}: {self.done()} of {count}; {self.daemon.log_tail()}",
                 bound)

    def end(self):
        with self.changed:
            self.ended = True
            self.changed.notify_all()
        for thread in self.threads:
            thread.join(BOUND)
            if thread.is_alive():
                raise AssertionError(f"a request had no answer within {BOUND:.0f} s")

    def _take(self):
        with self.changed:
            self.changed.wait_for(lambda: self.ended or self.taken < self.goal)
            if self.ended:
                return None
            self.taken += 1
            return f"user{self.taken:06}@example.org"

    def _work(self):
        client = None
        while recipient := self._take():
            while not self.ended:
                try:
                    client = client or self._connect()
                except OSError:  # nobody is there: nothing was asked
                    time.sleep(0.002)
                    continue
                answer = self._ask(client, recipient)
                if answer is None:
                    client.close()
                    client = None
                if answer is None or answer.status != 503:
                    break
                time.sleep(0.01)
        if client:
            client.close()

    def _connect(self):
        client = Client(self.daemon.api_socket)
        client.connection.connect()
        return client

    def _ask(self, client, recipient):
        try:
            answer = client.request("POST", "/v1/challenges", {"recipient": recipient, "purpose": PURPOSE})
        except (OSError, http.client.HTTPException):
            answer = None
        with self.changed:
            if answer is None:
                self.unanswered += 1
            elif answer.status == 201:
                self.acknowledged[answer.json["message"]["id"]] = recipient
            elif answer.status == 503:
                self.refused += 1
            else:
                self.unexpected.append(repr(answer))
        return answer


class HealthWatch:
    def __init__(self, daemon):
        self.process = subprocess.Popen([sys.executable, "-B", os.path.join(HERE, "health_sampler.py"),
                                         daemon.api_socket], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def end(self):
        out, _ = self.process.communicate(timeout=BOUND)
        return oracle.Health(**json.loads(out))

    def kill(self):
        self.process.kill()
        self.process.communicate()


@dataclasses.dataclass
class Figures:
    seed: int
    sent: int = 0
    acknowledged: int = 0
    lost: int = 0
    repeats: int = 0
    uncertain: int = 0
    kills: int = 0
    restarts: int = 0
    held: int = 0
    rested: int = 0             # uncertain for good
    seconds: float = 0.0
    drain_seconds: float = 0.0  # from the last answer to the last end
    healthz_ms: float = 0.0
    healthz_own_ms: float = 0.0
    rss_growth_kib: int = 0


class Scenario:
    """One daemon, its relays, its clients and the watch over its health; each death is counted. Ends all of it."""

    def __init__(self, relays=1, workers=4, seed=0, **tables):
        self.stack = contextlib.ExitStack()
        self.relays = [self.stack.enter_context(ScriptedRelay(seed=f"{seed}.{i}")) for i in range(relays)]
        # A short schedule: what faults deferred must not take minutes at the end.
        tables = {"daemon": {"mode": "production"}, "delivery": {"retry": ["1s", "2s", "3s"]},
                  "relay": [relay_table(f"relay{i}", relay) for i, relay in enumerate(self.relays)], **tables}
        self.daemon = Daemon(**tables)
        self.stack.callback(self.daemon.destroy)
        self.workers = workers
        self.senders = None
        self.watch = None
        self.daemon_deaths = 0
        self.agent_deaths = 0
        self.restarts = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stack.close()

    def start(self, environment=None):
        self.daemon.launch(environment)
        self.senders = Senders(self.daemon, self.workers)
        self.stack.callback(self.senders.end)
        self.watch = HealthWatch(self.daemon)
        self.stack.callback(self.watch.kill)

    # -- deaths

    def kill_daemon(self):
        self.daemon.kill()
        self.note_death()

    def note_death(self):
        """The daemon is dead, whoever did it: another one is started, in the same folder."""
        self.daemon_deaths += 1
        self.restarts += 1
        self.daemon.launch()

    def kill_agents(self):
        """False: there is none now."""
        pids = self.daemon.agent_pids()
        self.daemon.agents |= set(pids)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.agent_deaths += len(pids)
        return bool(pids)

    # -- the end

    def _settled(self):
        messages = oracle.stats(self.daemon)["messages"]
        if any(messages.get(state) for state in ("queued", "sending", "deferred")):
            return False
        # One that is uncertain for the first time is still to be repeated.
        return not messages.get("uncertain") or all(
            row["uncertain"] > 1 for row in oracle.outbox(self.daemon, "&state=uncertain").values())

    def settle(self, bound=BOUND):
        """Until nothing moves any more; the seconds that it took."""
        start = time.monotonic()
        wait_for(lambda: self.daemon.is_listening() and self._settled(),
                 lambda: f"nothing is under way; {oracle.stats(self.daemon)['messages']}; {self.daemon.log_tail()}",
                 bound)
        self.daemon.agents |= set(self.daemon.agent_pids())
        return time.monotonic() - start

    def _quiet_footprints(self):
        pids = {"mailotpd": self.daemon.pid, "mailotp-smtp": self.daemon.agent()}
        return {name: (pid, oracle.footprint(pid)) for name, pid in pids.items()}

    def grow(self, messages):
        """Twice as many messages through the processes that live now: what they keep of the second half."""
        self._send_more(messages)
        before = self._quiet_footprints()
        self._send_more(messages)
        grown = []

        def as_before():
            # Connections of the clients' last words may still be closing.
            grown.clear()
            after = self._quiet_footprints()
            for name, (pid, footprint) in before.items():
                if after[name][0] != pid:
                    raise AssertionError(f"{name} died by itself; {self.daemon.log_tail()}")
                grown.extend(oracle.growth(name, footprint, after[name][1]))
            return not any(growth.descriptors[1] > growth.descriptors[0] for growth in grown)
        with contextlib.suppress(AssertionError):
            wait_for(as_before, "as many descriptors as before", bound=10)
        return list(grown)

    def _send_more(self, messages):
        self.senders.send_up_to(self.senders.goal + messages)
        self.senders.wait(self.senders.goal, "messages are answered")
        self.settle()

    def evidence(self, growth=()):
        if self.senders.unexpected:
            raise AssertionError(f"unexpected answers: {self.senders.unexpected[:5]}")
        health = self.watch.end()
        return oracle.gather(self.daemon, self.relays, self.senders, daemon_deaths=self.daemon_deaths,
                             agent_deaths=self.agent_deaths, connections=CONNECTIONS * len(self.relays),
                             growth=[] if SANITIZED else list(growth), health=None if SANITIZED else health)


class Campaign(Scenario):
    """Deaths at random moments under load. `progress` is called with a line of text about each second. `minutes`:
    the messages are spread over so long; 0: as fast as they go."""

    def __init__(self, *, messages, kills, seed, relays=1, fault_share=0.0, minutes=0.0, workers=4, progress=None):
        super().__init__(relays=relays, workers=workers, seed=seed)
        self.messages = messages
        self.kills = kills
        self.seed = seed
        self.random = random.Random(seed)
        self.fault_share = fault_share
        self.minutes = minutes
        self.progress = progress or (lambda line: None)
        self.killed = 0
        self.figures = None     # also when the oracle finds a violation
        self.given_up = threading.Event()
        self.phase = "starting"
        self.began = time.monotonic()

    def run(self):
        for relay in self.relays:
            relay.rules = faults(self.fault_share) if self.fault_share else []
        reporting = threading.Event()
        reporter = threading.Thread(target=self._report, args=(reporting,), daemon=True)
        reporter.start()
        try:
            return self._run()
        finally:
            self.given_up.set()
            reporting.set()
            reporter.join(BOUND)

    def _run(self):
        self.start()
        self.daemon.wait_ready()
        self.phase = "killing"
        pacer = threading.Thread(target=self._pace, daemon=True)
        pacer.start()
        for number in range(self.kills):
            self._wait_for_moment(number)
            self._kill()
        self.phase = "sending"
        pacer.join(self.minutes * 60 + BOUND)
        self.senders.send_up_to(self.messages)
        self.senders.wait(self.messages, "messages are answered", bound=300)
        self.phase = "draining"
        for relay in self.relays:
            relay.rules = []
        drained = self.settle(bound=300)
        self.phase = "judging"
        growth = self.grow(100)
        self.settle()
        seen = self.evidence(growth)
        self.figures = self._figures(seen, drained)
        oracle.check(seen)
        return self.figures

    def _pace(self):
        """With `minutes`: each message at its time."""
        for number in range(1, self.messages + 1) if self.minutes else ():
            due = self.began + self.minutes * 60 * number / self.messages
            if self.given_up.wait(max(0.0, due - time.monotonic())):
                return
            self.senders.send_up_to(number)

    def _wait_for_moment(self, number):
        """A random one of this kill's portion of the load, while most of it is still to be answered."""
        if self.minutes:
            due = self.began + self.minutes * 60 * (number + self.random.random()) / self.kills
            time.sleep(max(0.0, due - time.monotonic()))
            return
        before = self.senders.done()
        goal = self.messages * (number + 1) // (self.kills + 1)
        self.senders.send_up_to(goal)
        self.senders.wait(before + int((goal - before) * self.random.random()), "messages are answered")
        time.sleep(self.random.random() * 0.02)

    def _kill(self):
        kind = self.random.choices(["daemon", "agents", "both", "starting daemon"], [40, 40, 10, 10])[0]
        if kind in ("agents", "both"):
            wait_for(self.kill_agents, lambda: f"an agent runs; {self.daemon.log_tail()}")
        if kind != "agents":
            self.kill_daemon()
        if kind == "starting daemon":
            time.sleep(self.random.random() * 0.05)
            self.kill_daemon()
        self.killed += 1

    def _figures(self, seen, drained):
        found = oracle.violations(seen)
        return Figures(
            seed=self.seed, sent=self.senders.done(), acknowledged=len(seen.acknowledged),
            lost=sum(sentence.startswith("lost") for sentence in found),
            repeats=len(seen.arrivals) - len({arrival.message_id for arrival in seen.arrivals}),
            uncertain=sum(row["uncertain"] for row in seen.rows.values()), kills=self.killed, restarts=self.restarts,
            held=seen.stats["messages"].get("held", 0), rested=seen.stats["messages"].get("uncertain", 0),
            seconds=round(time.monotonic() - self.began, 1), drain_seconds=round(drained, 1),
            healthz_ms=round(seen.health.largest_ms, 1) if seen.health else 0.0,
            healthz_own_ms=round(seen.health.largest_own_ms, 1) if seen.health else 0.0,
            rss_growth_kib=max((growth.kib[1] - growth.kib[0] for growth in seen.growth), default=0))

    def _report(self, ended):
        while not ended.wait(1.0):
            senders = self.senders
            if senders is None:
                continue
            self.progress(f"{time.monotonic() - self.began:6.0f} s  {self.phase:<9} {senders.done()}/{self.messages} "
                          f"answered, {sum(len(relay.mails) for relay in self.relays)} at the relays, "
                          f"{self.killed}/{self.kills} kills")
