"""What the benchmarks share: the programs of a build, a daemon as it is shipped, its relay, load and costs.

prepare() comes first: the modules of tests/ are told by the environment where the programs are, and are
imported only then. Every wait has a bound.
"""

import json
import math
import os
import pathlib
import select
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BOUND = 60.0
DAEMON_PROGRAMS = ("mailotpd", "mailotp-smtp", "mailotpctl")


def prepare(build, *programs):
    """The folder of the build's programs; SystemExit with the names of those that are missing. A script that
    is ended by SIGTERM still ends what it has started."""
    folder = pathlib.Path(build).resolve() / "bin"
    missing = [name for name in programs if not os.access(folder / name, os.X_OK)]
    if missing:
        raise SystemExit(f"{pathlib.Path(sys.argv[0]).name}: not built in {folder}: {', '.join(missing)}")
    os.environ["MAILOTP_BIN"] = str(folder)
    os.environ.setdefault("MAILOTP_TEMPLATES", str(ROOT / "templates"))
    for part in ("system", "smtp"):
        sys.path.append(str(ROOT / "tests" / part))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return folder


def bench_program(name):
    return os.path.join(os.environ["MAILOTP_BIN"], name)


def end(child, bound=10.0):
    """SIGTERM, and SIGKILL when that is not enough."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(bound)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def percentile(values, share):
    """Of any order; nan of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


# ---- The daemon


def shipped_daemon(relay_port, **tables):
    """A daemon in a folder of its own, not started: production mode, every key at its default, one relay on
    127.0.0.1 without TLS. Only the brake is out of the way, as nobody types codes. `tables` are laid over
    that, key by key; the relay's is named "[relay]"."""
    from harness import Daemon, table
    daemon = Daemon()
    every = {
        "daemon": {"state_dir": daemon.state, "api_socket": daemon.api_socket,
                   "admin_socket": daemon.admin_socket, "key_file": daemon.key,
                   "templates": os.environ["MAILOTP_TEMPLATES"]},
        "mail": {"from": "Example <no-reply@example.org>", "bounce_address": "bounces@example.org",
                 "hostname": "otp.example.org"},
        "brake": {"floor": 1_000_000_000},
        "[relay]": {"name": "sink", "host": "127.0.0.1", "port": relay_port, "tls": "none", "auth": "none"},
    }
    for name, keys in tables.items():
        every[name] = {**every.get(name, {}), **keys}
    pathlib.Path(daemon.config).write_text("".join(table(name, keys) for name, keys in every.items()),
                                           encoding="utf-8")
    return daemon


def stats(daemon):
    return daemon.admin("GET", "/v1/stats").json


def relayed(daemon):
    """Mails that a relay has taken, as the daemon's database says."""
    return stats(daemon)["ended_total"].get("relayed", 0)


def wait_drained(daemon, bound=300.0):
    """Until no mail is open, so that one row does not pay for another's; the CLOCK_MONOTONIC seconds then."""
    end = time.monotonic() + bound
    while True:
        now = stats(daemon)
        if not any(now["messages"].get(state, 0) for state in ("queued", "sending", "deferred")):
            return time.monotonic()
        if time.monotonic() > end:
            raise AssertionError(f"mails are left after {bound:.0f} s: {now}; {daemon.log_tail()}")
        time.sleep(0.02)


def processes(daemon):
    """{pid: program} of the daemon and its agents."""
    from harness import children
    return {daemon.pid: "mailotpd", **children(daemon.pid)}


def cpu_seconds(daemon):
    """{program: seconds} since its start; of the daemon without the agents that it has waited for."""
    seconds = {}
    for pid, program in processes(daemon).items():
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        seconds[program] = seconds.get(program, 0.0) + ticks / os.sysconf("SC_CLK_TCK")
    return seconds


def memory_mib(daemon):
    """{"pss": of all its processes, program: {"rss": …, "peak": …}}."""
    found = {"pss": 0.0}
    for pid, program in processes(daemon).items():
        wanted = {"Pss": "pss", "VmRSS": "rss", "VmHWM": "peak"}
        values = {}
        for file in ("smaps_rollup", "status"):
            for line in pathlib.Path(f"/proc/{pid}/{file}").read_text(encoding="utf-8").splitlines():
                name, _, rest = line.partition(":")
                if name in wanted:
                    values[wanted[name]] = int(rest.split()[0]) / 1024
        found["pss"] += values.pop("pss")
        found[program] = values
    return found


class PssSampler:
    """The largest sum of PSS while it is open, looked at five times a second."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.largest = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="pss")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join(BOUND)

    def _sample(self):
        while not self._over.wait(0.2):
            self.largest = max(self.largest, memory_mib(self.daemon)["pss"])


# ---- Its relay


def read_line(stream, what, bound=BOUND):
    """A line of an unbuffered binary stream of a child."""
    line = b""
    end = time.monotonic() + bound
    while not line.endswith(b"\n"):
        if not select.select([stream], [], [], max(0.0, end - time.monotonic()))[0]:
            raise AssertionError(f"not within {bound:.0f} s: {what}")
        byte = os.read(stream.fileno(), 1)
        if not byte:
            raise AssertionError(f"{what}: it ended after {line!r}")
        line += byte
    return line.decode().strip()


def read_stamps(path):
    """{address: CLOCK_MONOTONIC nanoseconds} of a file of bench-sink or bench-load; the first of an address."""
    stamps = {}
    with open(path, encoding="ascii") as file:
        for line in file:
            address, _, when = line.partition("\t")
            stamps.setdefault(address, int(when))
    return stamps


class Sink:
    """bench-sink, from its start to its end."""

    def __init__(self, delay_ms=0, stamps=None):
        words = [bench_program("bench-sink"), "--delay-ms", str(delay_ms)]
        self.path = stamps
        if stamps:
            words += ["--stamps", stamps]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0,
                                        start_new_session=True)
        try:
            self.port = int(read_line(self.process.stdout, "bench-sink says its port"))
        except BaseException:
            self.stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def mails(self):
        """How many it has taken; after this the file has their stamps."""
        self.process.send_signal(signal.SIGUSR1)
        return json.loads(read_line(self.process.stdout, "bench-sink counts its mails"))["mails"]

    def stop(self):
        end(self.process)
        self.process.stdout.close()


# ---- Its load


class Load:
    """Runs bench-load on one daemon; every run has recipients of its own."""

    STEP = 100_000_000

    def __init__(self, daemon):
        self.daemon = daemon
        self.first = 0

    def run(self, mode, connections, *more, prepared=None, bound=BOUND):
        """bench-load's figures, and `as_expected`. `more`: its arguments. `prepared` is called when a run of
        checks has made its challenges, before it begins. `bound`: seconds, of the run and of that."""
        words = [bench_program("bench-load"), mode, "--socket", self.daemon.api_socket, "--connections",
                 str(connections), "--first", str(self.first), "--json", *(str(word) for word in more)]
        self.first += self.STEP
        if prepared:
            words.append("--wait")
        # Unbuffered, so that communicate() misses nothing that read_line() has not taken.
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              bufsize=0, start_new_session=True) as child:
            try:
                if prepared:
                    read_line(child.stderr, "bench-load makes its challenges", bound)
                    prepared()
                out, errors = child.communicate(b"\n", bound)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"bench-load did not end; {self.daemon.log_tail()}") from None
            finally:
                if child.poll() is None:
                    child.kill()
        if child.returncode not in (0, 1):
            raise AssertionError(f"bench-load ended with {child.returncode}: {errors.decode()}"
                                 f"{self.daemon.log_tail()}")
        return {**json.loads(out), "as_expected": child.returncode == 0}
