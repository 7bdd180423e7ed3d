#!/usr/bin/python3
"""Asks /healthz again and again until its input ends; prints one JSON object with the largest times.

usage: health_sampler.py SOCKET

A process of its own, so that a busy test cannot make the daemon look slow. For the same reason it subtracts from
each time how long the daemon's loop and it itself were ready to run and the processor was with others (schedstat of
proc(5)): what is left is the daemon's own. A daemon that is not there is not asked.
"""
import json
import select
import socket
import struct
import sys
import time

PAUSE = 0.02
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def waited_ns(pid):
    """How long the main thread of a process was ready and did not run."""
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[1])


def ask(path, pid):
    """(ms, ms of the daemon's own, pid), or None when there was no answer. `pid`: whom the last one came from."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(30)
        before = (waited_ns(pid) if pid else 0) + waited_ns("self")
        start = time.monotonic_ns()
        client.connect(path)
        client.sendall(REQUEST)
        answer = client.recv(4096)
        took = time.monotonic_ns() - start
        now, _, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if not answer.startswith(b"HTTP/1.1 200"):
            return None
        own = took - (waited_ns(pid) + waited_ns("self") - before) if now == pid else 0
        return took / 1e6, max(own, 0) / 1e6, now


def main():
    path = sys.argv[1]
    told = {"samples": 0, "largest_ms": 0.0, "largest_own_ms": 0.0}
    pid = 0
    # One answer at least, however short the scenario was: whoever ends it does so while the daemon is up.
    end = None
    while not end or (told["samples"] == 0 and time.monotonic() < end):
        if not end and select.select([sys.stdin], [], [], PAUSE)[0]:
            end = time.monotonic() + 10
        try:
            seen = ask(path, pid)
        except (OSError, ValueError):  # it is down, or has just died
            pid = 0
            time.sleep(PAUSE)
            continue
        if seen is None:
            continue
        took, own, pid = seen
        told["samples"] += 1
        told["largest_ms"] = max(told["largest_ms"], took)
        told["largest_own_ms"] = max(told["largest_own_ms"], own)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
