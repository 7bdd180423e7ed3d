"""What must be true after any scenario, whatever died in it: the judge of the crash tests and of bench/chaos.

    seen = oracle.gather(daemon, relays, ledger)      # the daemon is up, what can move has moved
    oracle.check(seen)                                # AssertionError with every violation and the log's end

Three witnesses that know nothing of each other are compared: the client's own list of what was acknowledged, the
relays' journals and mails, and the daemon's rows, events and counters. violations() is pure: test_oracle.py shows
that each violation is found.
"""
import collections
import dataclasses
import hashlib
import os
import re

from harness import Client, code_in, parse_mail

# Ends that an app is told of, and that need no mail at the relay.
ENDED_UNSENT = {"failed", "expired", "superseded", "canceled", "suppressed"}
# What may stay as it is for good: an operator decides on it.
RESTING = {"held", "uncertain"}
OPEN = {"queued", "sending", "deferred", "uncertain", "held"}
AT_THE_RELAY = {"relayed", "delivered", "bounced", "uncertain", "held"}
HEALTH_MS = 100
# Between two quiet moments of one process.
GROWTH_KIB = 24 * 1024


@dataclasses.dataclass
class Arrival:
    """A mail that a relay has accepted."""
    message_id: str
    recipient: str
    digest: str  # of its bytes
    code: str


@dataclasses.dataclass
class Uncertainty:
    """One event message.uncertain (or held after one) of a row."""
    reason: str  # "daemon" died, "agent" died, or "relay" was silent


@dataclasses.dataclass
class Growth:
    process: str
    descriptors: tuple  # before, after
    kib: tuple


@dataclasses.dataclass
class Health:
    samples: int = 0
    largest_ms: float = 0.0      # as a client sees it
    largest_own_ms: float = 0.0  # less what the processor gave to others


@dataclasses.dataclass
class Seen:
    acknowledged: dict              # message: recipient, of every 201 and 202
    unanswered: int                 # requests that got no answer at all
    rows: dict                      # message: outbox row
    uncertainties: dict             # message: [Uncertainty]
    stats: dict
    arrivals: list
    # By Message-ID: whole bodies that a relay has read, accepted or not, and those in which it closed: what was in the
    # kernel's hands by then, the dot too, it has not read (row 32).
    dots: collections.Counter
    daemon_deaths: int = 0
    agent_deaths: int = 0
    connections: int = 8            # of all relays: so many dots can be announced at once
    log: str = ""
    growth: list = dataclasses.field(default_factory=list)
    health: Health = None           # None: not watched, or a build in which time means nothing


# ---- Judging


def violations(seen):
    """Every sentence is one broken promise; an empty list is the proof."""
    arrived = collections.defaultdict(list)
    for arrival in seen.arrivals:
        arrived[arrival.message_id].append(arrival)
    return [*_lost(seen, arrived), *_mails_without_a_row(seen, arrived), *_repeats(seen, arrived),
            *_uncertainties(seen), *_conservation(seen), *_unfinished(seen), *_secrets(seen),
            *_growth(seen), *_health(seen)]


def _lost(seen, arrived):
    for message, recipient in seen.acknowledged.items():
        row = seen.rows.get(message)
        if row is None:
            yield f"lost: {message} to {recipient} was acknowledged, and has no row"
            continue
        if row["recipient"] != recipient:
            yield f"mixed up: {message} was acknowledged for {recipient}, its row says {row['recipient']}"
        if row["message_id"] in arrived:
            continue
        state = row["state"]
        if state in ENDED_UNSENT:
            if state in ("failed", "expired") and not row["verdict"]:
                yield f"untold: {message} to {recipient} is {state}, without a verdict"
        elif not (state == "held" or (state == "uncertain" and row["uncertain"] > 1)):
            yield f"lost: {message} to {recipient} is {state}, and no relay has it"


def _mails_without_a_row(seen, arrived):
    by_message_id = {row["message_id"]: row for row in seen.rows.values()}
    for message_id, copies in arrived.items():
        row = by_message_id.get(message_id)
        if row is None:
            # Or a repeat under another Message-ID.
            yield f"from nowhere: a relay has {message_id} to {copies[0].recipient}, and there is no row of it"
            continue
        if row["state"] not in AT_THE_RELAY:
            yield f"a lie: {row['id']} is {row['state']}, and a relay has it"
        for copy in copies:
            if copy.recipient != row["recipient"]:
                yield f"mixed up: the mail of {row['id']} to {row['recipient']} went to {copy.recipient}"


def _repeats(seen, arrived):
    by_message_id = {row["message_id"]: row for row in seen.rows.values()}
    repeats = 0
    for message_id, copies in arrived.items():
        repeats += len(copies) - 1
        row = by_message_id.get(message_id)
        if row and len(copies) - 1 > row["uncertain"]:
            yield f"repeated: {row['id']} came {len(copies)} times and was uncertain {row['uncertain']} times"
        if len({copy.digest for copy in copies}) > 1:
            yield f"changed: the copies of {message_id} differ"
    uncertain = sum(row["uncertain"] for row in seen.rows.values())
    if repeats > uncertain:
        yield f"repeated: {repeats} repeats, {uncertain} uncertain events"


def _uncertainties(seen):
    by_agent = 0
    for message, events in seen.uncertainties.items():
        row = seen.rows[message]
        if len(events) != row["uncertain"]:
            yield f"miscounted: {message} was uncertain {row['uncertain']} times, its events say {len(events)}"
        reasons = collections.Counter(event.reason for event in events)
        dots = seen.dots[row["message_id"]]
        if reasons["relay"] > dots:
            yield (f"no dot: {message} is uncertain of {reasons['relay']} silences of a relay, and the journals show "
                   f"{dots} dots")
        if reasons["daemon"] > seen.daemon_deaths:
            yield f"{message} was found {reasons['daemon']} times after {seen.daemon_deaths} deaths of the daemon"
        # An agent announces the dot before it leaves: one that dies in between leaves an uncertainty without one.
        by_agent += max(0, reasons["agent"] - max(0, dots - reasons["relay"]))
    if by_agent > seen.agent_deaths * seen.connections:
        yield (f"no dot: {by_agent} uncertain messages without a dot after {seen.agent_deaths} deaths of an agent "
               f"with {seen.connections} connections")


def _conservation(seen):
    messages, ended = seen.stats["messages"], seen.stats["ended_total"]
    accepted = seen.stats["accepted_total"]
    held = sum(messages.get(state, 0) for state in OPEN)
    if accepted != held + sum(ended.values()):
        yield f"not conserved: {accepted} accepted, {held} open and {sum(ended.values())} ended: {seen.stats}"
    if not len(seen.acknowledged) <= accepted <= len(seen.acknowledged) + seen.unanswered:
        yield (f"miscounted: {accepted} accepted, the client has {len(seen.acknowledged)} acknowledged and "
               f"{seen.unanswered} unanswered")
    states = collections.Counter(row["state"] for row in seen.rows.values())
    told = {state: count for state, count in messages.items() if count}
    if told != dict(states):
        yield f"miscounted: the statistics say {told}, the rows {dict(states)}"


def _unfinished(seen):
    left = {state: count for state, count in seen.stats["messages"].items()
            if count and state in OPEN - RESTING}
    if left:
        yield f"unfinished: {left}"


def _secrets(seen):
    codes = {arrival.code: arrival.recipient for arrival in seen.arrivals}
    lengths = {len(code) for code in codes}
    for run in set(re.findall(r"[0-9A-Z]{4,}", seen.log)):
        for length in lengths:
            for start in range(len(run) - length + 1):
                if run[start:start + length] in codes:
                    yield f"a secret in the log: the code of the mail to {codes[run[start:start + length]]}"


def _growth(seen):
    for growth in seen.growth:
        before, after = growth.descriptors
        if after > before:
            yield f"{growth.process}: {before} descriptors became {after}"
        before, after = growth.kib
        if after - before > GROWTH_KIB:
            yield f"{growth.process}: {before} KiB became {after} KiB"


def _health(seen):
    if seen.health is None:
        return
    if seen.health.samples == 0:
        yield "the health was never asked for"
    if seen.health.largest_own_ms > HEALTH_MS:
        yield (f"/healthz took {seen.health.largest_own_ms:.0f} ms of the daemon's own, "
               f"{seen.health.largest_ms:.0f} ms in all")


def check(seen):
    found = violations(seen)
    if found:
        shown = "\n  ".join(found[:40]) + (f"\n  … and {len(found) - 40} more" if len(found) > 40 else "")
        tail = "\n  ".join(seen.log.splitlines()[-15:])
        raise AssertionError(f"{len(found)} violations:\n  {shown}\nthe daemon's log ends:\n  {tail}")


# ---- Gathering


def gather(daemon, relays, ledger, **more):
    """`ledger`: .acknowledged and .unanswered of the client. `more`: what else Seen has."""
    rows = outbox(daemon)
    seen = Seen(acknowledged=dict(ledger.acknowledged), unanswered=ledger.unanswered, rows=rows,
                uncertainties=_uncertain_events(daemon, rows), stats=stats(daemon), arrivals=[],
                dots=collections.Counter(), log=daemon.log(), **more)
    message_id_of = {row["recipient"]: row["message_id"] for row in rows.values()}
    for relay in relays:
        with relay.lock:
            mails = list(zip(relay.mails, relay.envelopes))
            seen.dots.update(entry.message_id or message_id_of.get(entry.recipient) for entry in relay.journal
                             if entry.message_id or entry.phase == "body")
        seen.arrivals += [_arrival(raw, envelope) for raw, envelope in mails]
    return seen


def _arrival(raw, envelope):
    mail = parse_mail(raw)
    return Arrival(message_id=mail["Message-ID"], recipient=envelope[1].partition("<")[2].partition(">")[0],
                   digest=hashlib.sha256(raw).hexdigest(), code=code_in(mail))


def stats(daemon):
    return daemon.admin("GET", "/v1/stats").json


def outbox(daemon, query=""):
    rows, cursor = {}, ""
    with Client(daemon.admin_socket) as client:
        while True:
            page = client.request("GET", f"/v1/outbox?limit=500{query}{cursor}").json
            rows.update((item["id"], item) for item in page["items"])
            if page["next_cursor"] is None:
                return rows
            cursor = f"&cursor={page['next_cursor']}"


REASONS = {"the daemon ended while it was being sent": "daemon", "the sending process ended": "agent"}


def _uncertain_events(daemon, rows):
    """Of each row that was ever uncertain."""
    found = {}
    with Client(daemon.admin_socket) as client:
        for message in (id for id, row in rows.items() if row["uncertain"]):
            events = client.request("GET", f"/v1/outbox/{message}").json["events"]
            found[message] = uncertainties_of(events, rows[message]["uncertain"])
    return found


def uncertainties_of(events, counted):
    """What its events tell of a row that was uncertain `counted` times."""
    told, perhaps = [], []
    for event in events:
        detail = event["detail"] or {}
        if "attempt" not in detail:
            continue  # what the policy or an operator did to it later
        uncertainty = Uncertainty(REASONS.get(detail.get("reason"), "relay"))
        if event["type"] == "message.uncertain":
            told.append(uncertainty)
        elif event["type"] == "message.held":
            # In hand at three deaths of an agent: held, with a dot announced at the last of them or without.
            (perhaps if uncertainty.reason == "agent" else told).append(uncertainty)
    return told + perhaps[:max(0, counted - len(told))]


# ---- A process at a quiet moment


def footprint(pid):
    """(descriptors, resident KiB); None for one that we may not look into."""
    try:
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    except PermissionError:  # an agent, when the tests do not run as root
        return None
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
    return descriptors, resident


def growth(process, before, after):
    return [Growth(process, (before[0], after[0]), (before[1], after[1]))] if before and after else []
