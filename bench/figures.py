"""The figures of bench/run: what each is called, what its goal is, and how it is shown."""

import dataclasses
import math
import statistics


@dataclasses.dataclass(frozen=True)
class Figure:
    key: str
    name: str
    digits: int
    goal: float | None = None
    stretch: float | None = None
    more_is_better: bool = True

    def verdict(self, value):
        if self.goal is None:
            return ""
        if self.stretch is not None and self._reaches(value, self.stretch):
            return "stretch"
        return "met" if self._reaches(value, self.goal) else "MISSED"

    def _reaches(self, value, bound):
        return value >= bound if self.more_is_better else value <= bound

    def shown(self, value):
        return "-" if value is None else f"{value:,.{self.digits}f}"

    def goal_shown(self):
        if self.goal is None:
            return ""
        text = ("≥ " if self.more_is_better else "≤ ") + self.shown(self.goal)
        return text if self.stretch is None else f"{text}; {self.shown(self.stretch)}"


def less(key, name, digits, goal=None, stretch=None):
    return Figure(key, name, digits, goal, stretch, more_is_better=False)


def loads(key, name, goals):
    """`goals`: {connections: (goal, stretch)} of acknowledgements a second; their latencies have none."""
    for connections, (goal, stretch) in goals.items():
        yield Figure(f"{key}.{connections}.per_second", f"{name}, {connections}", 0, goal, stretch)
    for connections in goals:
        yield less(f"{key}.{connections}.p50", f"… {connections}: p50 ms", 2)
        yield less(f"{key}.{connections}.p99", f"… {connections}: p99 ms", 2)


def cpu(key, name, goal=None, stretch=None):
    yield less(f"{key}.cpu", f"{name}: CPU ms", 3, goal, stretch)
    yield less(f"{key}.cpu.mailotpd", "… of it mailotpd", 3)
    yield less(f"{key}.cpu.mailotp-smtp", "… of it mailotp-smtp", 3)


FIGURES = [
    less("machine.sync.p50", "machine: fdatasync of 8 KiB more, p50 ms", 3),
    less("machine.sync.p99", "machine: … p99 ms", 3),
    less("machine.wakeup.p50", "machine: wake-up of another process, p50 µs", 1),
    less("machine.wakeup.p99", "machine: … p99 µs", 1),
    Figure("machine.sha256", "machine: SHA-256 of one processor, MiB/s", 0),
    less("machine.others", "machine: % of its processors used by others meanwhile", 1),
    *loads("send", "acknowledged sends/s", {1: (2000, 2500), 16: (5000, 10000), 64: (8000, 15000)}),
    Figure("sustained.delivered", "delivered mails/s, first request to last relayed", 0, 4000, 6000),
    Figure("sustained.under_load", "… while sends come from 64", 0),
    Figure("sustained.acknowledged", "… which are acknowledged, a second", 0),
    *(Figure(f"send.{connections}.delivered", f"… of the sends from {connections}", 0)
      for connections in (1, 16, 64)),
    *loads("check", "checks/s", {1: (3000, None), 16: (15000, None), 64: (25000, None)}),
    less("latency.p50", "request → relay's 250, at 20/s: p50 ms", 2, 1.5),
    less("latency.p99", "… p99 ms", 2, 5),
    less("latency.acknowledged.p50", "… its 201: p50 ms", 2),
    less("slow.p50", "relay that takes 100 ms, 64 clients: 201 p50 ms", 2, 5),
    less("slow.p99", "… p99 ms", 2),
    Figure("slow.per_second", "… acknowledged sends/s", 0),
    less("memory.idle", "memory idle, PSS MiB", 1, 25),
    less("memory.idle.rss.mailotpd", "… RSS of mailotpd", 1),
    less("memory.idle.rss.mailotp-smtp", "… RSS of mailotp-smtp", 1),
    less("memory.load", "memory under load, PSS MiB", 1, 60),
    less("memory.load.peak.mailotpd", "… largest RSS of mailotpd", 1),
    less("memory.load.peak.mailotp-smtp", "… largest RSS of mailotp-smtp", 1),
    less("backlog.memory", "memory with bench/backlog's mails queued, PSS MiB", 1, 100),
    less("backlog.start_seconds", "… start with them until /readyz answers 200, s", 2, 2),
    less("backlog.start_after_kill_seconds", "… after kill -9, s", 2, 2),
    Figure("backlog.drain_per_second", "… delivered mails/s when the relay is back", 0),
    less("kill.left", "kill -9 at the 1000th: not relayed by then", 0),
    less("kill.lost", "… lost", 0, 0),
    less("kill.last", "… last mail, s after the kill", 2, 1),
    *cpu("sustained", "a mail, sends from 64", 0.30, 0.15),
    *(figure for connections in (1, 16, 64)
      for figure in cpu(f"send.{connections}", f"a mail, {connections}")),
    *(less(f"check.{connections}.cpu", f"a check, {connections}: CPU ms", 3) for connections in (1, 16, 64)),
    *(less(f"syncs.{connections}", f"fsyncs a mail, {connections}", 3) for connections in (1, 16, 64)),
    *(Figure(f"postfix.{connections}.per_second", f"Postfix: accepted mails/s, {connections}", 0)
      for connections in (1, 16, 64)),
    *(Figure(f"postfix.{connections}.delivered", f"Postfix: delivered mails/s, {connections}", 0)
      for connections in (1, 16, 64)),
    less("postfix.latency.p50", "Postfix: MAIL → relay's 250, at 20/s: p50 ms", 2),
    less("postfix.latency.p99", "… p99 ms", 2),
]


def summary(rounds):
    """{key: {name, values, min, median, max, goal, stretch, verdict}} of what was measured, in this order."""
    found = {}
    for figure in FIGURES:
        values = [one[figure.key] for one in rounds if one.get(figure.key) is not None]
        values = [value for value in values if not math.isnan(value)]
        if values:
            median = statistics.median(values)
            found[figure.key] = {"name": figure.name, "values": values, "min": min(values), "median": median,
                                 "max": max(values), "goal": figure.goal, "stretch": figure.stretch,
                                 "verdict": figure.verdict(median)}
    return found


def table(found):
    """Lines of Markdown that are straight as text, too."""
    rows = [("", "min", "median", "max", "goal; stretch", "")]
    for figure in FIGURES:
        if figure.key in found:
            one = found[figure.key]
            rows.append((figure.name, *(figure.shown(one[key]) for key in ("min", "median", "max")),
                         figure.goal_shown(), one["verdict"]))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) if column in (0, 5) else cell.rjust(width)
                 for column, (cell, width) in enumerate(zip(row, widths))]
        lines.append("| " + " | ".join(cells) + " |")
    lines.insert(1, "|" + "|".join("-" * (width + 1) + ("-" if column in (0, 5) else ":")
                                   for column, width in enumerate(widths)) + "|")
    return lines
