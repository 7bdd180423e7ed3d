"""Postfix in the place of the daemon, before the same relay: what it accepts and delivers."""

import contextlib
import os
import shutil
import smtplib
import subprocess
import time

from stack import BOUND, Sink, percentile, read_stamps

MAIL_BYTES = 2500


def drained(sink, count, bound=180.0):
    """The CLOCK_MONOTONIC seconds at which the sink has so many mails; None when it does not get them."""
    end = time.monotonic() + bound
    while sink.mails() < count:
        if time.monotonic() > end:
            return None
        time.sleep(0.02)
    return time.monotonic()


def accept_and_deliver(postfix, sink, connections, messages):
    already = sink.mails()
    began = time.monotonic()
    subprocess.run(["smtp-source", "-d", "-N", "-s", str(connections), "-m", str(messages),
                    "-l", str(MAIL_BYTES), "-f", "bounces@example.test", "-t", "u@example.test",
                    f"127.0.0.1:{postfix.plain_port}"], check=True, timeout=180, stdout=subprocess.DEVNULL)
    accepted = time.monotonic() - began
    ended = drained(sink, already + messages)
    return {f"postfix.{connections}.per_second": messages / accepted,
            f"postfix.{connections}.delivered": messages / (ended - began) if ended else None}


def latency(postfix, sink, stamps, seconds):
    """Mails at 20/s over one connection, each from its MAIL to the 250 of the relay."""
    already = sink.mails()
    mail = "Subject: bench\r\n\r\n" + "Your code is 123456.\r\n" * (MAIL_BYTES // 22)
    due = {}
    with smtplib.SMTP("127.0.0.1", postfix.plain_port, timeout=BOUND) as client:
        client.ehlo("bench.test")
        start = time.monotonic_ns()
        for number in range(int(20 * seconds)):
            address = f"latency{number}@example.test"
            due[address] = start + number * 50_000_000
            time.sleep(max(0, due[address] - time.monotonic_ns()) / 1e9)
            client.sendmail("bounces@example.test", [address], mail)
    drained(sink, already + len(due))
    taken = read_stamps(stamps)
    times = [(taken[address] - when) / 1e6 for address, when in due.items() if address in taken]
    return {"postfix.latency.p50": percentile(times, 0.5), "postfix.latency.p99": percentile(times, 0.99)}


def measure(seconds, progress):
    import servers
    figures = {}
    with contextlib.ExitStack() as stack:
        folder = servers.make_folder("mailotp-bench-")
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stamps = os.path.join(folder, "stamps")
        sink = stack.enter_context(Sink(stamps=stamps))
        certificate = servers.Authority(folder).server("relay")
        postfix = servers.Postfix(folder, certificate,
                                  settings={"virtual_transport": f"smtp:[127.0.0.1]:{sink.port}"})
        stack.callback(postfix.stop)
        postfix.start()
        accept_and_deliver(postfix, sink, 16, 100)
        for connections in (1, 16, 64):
            progress(f"Postfix, {connections} connections")
            figures.update(accept_and_deliver(postfix, sink, connections, max(200, int(600 * seconds))))
        progress("Postfix, 20/s")
        figures.update(latency(postfix, sink, stamps, 3 * seconds))
    return figures
