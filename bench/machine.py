"""What the machine can do at the moment: absolute figures of a benchmark drift with it; these say how far."""

import hashlib
import os
import pathlib
import resource
import socket
import tempfile
import time

from stack import percentile

TICK = os.sysconf("SC_CLK_TCK")
SYNCS = 200
TURNS = 2000


def sync_milliseconds(folder):
    """Of fdatasync() after each 8 KiB that a file grows by."""
    block = b"\0" * 8192
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(SYNCS):
            os.write(file.fileno(), block)
            began = time.perf_counter_ns()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter_ns() - began) / 1e6)
    return times


def wakeup_microseconds():
    """From a process to another that sleeps on a socket, and back: half of that."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            while theirs.recv(1):
                theirs.send(b"x")
        finally:
            os._exit(0)
    theirs.close()
    times = []
    for _ in range(TURNS):
        began = time.perf_counter_ns()
        ours.send(b"x")
        ours.recv(1)
        times.append((time.perf_counter_ns() - began) / 2000)
    ours.close()
    os.waitpid(pid, 0)
    return times


def hash_mib_per_second():
    """SHA-256 on one processor."""
    data = b"\0" * (16 << 20)
    began = time.perf_counter()
    hashlib.sha256(data).digest()
    return 16 / (time.perf_counter() - began)


def reference(folder):
    syncs, wakeups = sync_milliseconds(folder), wakeup_microseconds()
    return {"machine.sync.p50": percentile(syncs, 0.5), "machine.sync.p99": percentile(syncs, 0.99),
            "machine.wakeup.p50": percentile(wakeups, 0.5), "machine.wakeup.p99": percentile(wakeups, 0.99),
            "machine.sha256": hash_mib_per_second()}


class Others:
    """What of the processors was used by neither us nor the children that we have waited for, since it was made.
    Above a few percent, which are the kernel's own, somebody else was at work, and the figures are not ours."""

    def __init__(self):
        self.busy, self.all = self._processors()
        self.ours = self._ours()

    def percent(self):
        busy, everything = self._processors()
        return 100 * (busy - self.busy - (self._ours() - self.ours)) / max(1 / TICK, everything - self.all)

    @staticmethod
    def _processors():
        """Seconds busy, and all of them."""
        line = pathlib.Path("/proc/stat").read_text(encoding="ascii").splitlines()[0]
        user, nice, system, idle, waiting, irq, softirq, steal = (int(word) / TICK for word in line.split()[1:9])
        busy = user + nice + system + irq + softirq + steal
        return busy, busy + idle + waiting

    @staticmethod
    def _ours():
        both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(usage.ru_utime + usage.ru_stime for usage in both)
