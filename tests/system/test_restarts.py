"""Restarts under load, with sockets that outlive the daemon, as systemd holds them: nobody is refused, nothing is lost."""
import fcntl
import http.client
import os
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time
import unittest

from harness import BOUND, Client, SystemTest, wait_for

SANITIZED = os.environ.get("MAILOTP_SANITIZERS", "0") == "1"
RESTARTS = 5 if SANITIZED else 20
RATE = 100 if SANITIZED else 500  # requests a second, of all clients
CLIENTS = 20


class Callers:
    """Clients that ask for one challenge after the other, each at its pace, over a connection that is kept. One that
    ends without an answer is replaced, and the request repeated with its Idempotency-Key, as an application does."""

    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.acknowledged = {}      # recipient: message
        self.answered = []          # of each 201: when it was asked for, for the last time, and when it came
        self.repeats = 0            # a kept connection ended without an answer
        self.repeats_at_once = 0    # so did a new one
        self.refused = []
        self.threads = [threading.Thread(target=self._work, args=(number,), daemon=True) for number in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def end(self):
        self.ended.set()
        for thread in self.threads:
            thread.join(BOUND)

    def answers(self):
        with self.lock:
            return len(self.answered)

    def first_answer_after(self, moment):
        """To a request of after that moment."""
        with self.lock:
            return min((came for asked, came in self.answered[-1000:] if asked >= moment), default=None)

    def _work(self, number):
        client, kept, count = Client(self.path), False, 0
        due = time.monotonic() + number / RATE
        while not self.ended.wait(max(0.0, due - time.monotonic())):
            due += CLIENTS / RATE
            count += 1
            recipient = f"user{number}.{count}@example.org"
            while True:
                asked = time.monotonic()
                try:
                    response = client.request("POST", "/v1/challenges", {"recipient": recipient},
                                              {"Idempotency-Key": f"{number}-{count}"})
                except (http.client.HTTPException, OSError):
                    client.close()
                    client = Client(self.path)
                    with self.lock:
                        self.repeats += kept
                        self.repeats_at_once += not kept
                    kept = False
                    if self.ended.is_set():
                        return
                    continue
                kept = response.headers.get("connection") != "close"
                if not kept:
                    client.close()
                    client = Client(self.path)
                with self.lock:
                    if response.status == 201:
                        self.acknowledged[recipient] = response.json["message"]["id"]
                        self.answered.append((asked, time.monotonic()))
                    else:
                        self.refused.append(response)
                break
        client.close()


class Restarts(SystemTest):
    def setUp(self):
        self.daemon = self.new_daemon()
        self.daemon.keygen()
        folder = tempfile.mkdtemp(prefix="mailotp-", dir="/tmp")
        self.addCleanup(shutil.rmtree, folder)
        self.sockets = []
        for name in ("api", "admin"):
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.addCleanup(listener.close)
            listener.bind(os.path.join(folder, name + ".sock"))
            listener.listen(4096)
            # Out of the way of the descriptors 3 and 4.
            self.sockets.append(socket.socket(fileno=fcntl.fcntl(listener, fcntl.F_DUPFD_CLOEXEC, 50)))
            self.addCleanup(self.sockets[-1].close)
        self.daemon.api_socket, self.daemon.admin_socket = (one.getsockname() for one in self.sockets)

    def activate(self):
        """The daemon as systemd starts it: these sockets are its descriptors 3 and 4."""
        api, admin = (one.fileno() for one in self.sockets)
        start = f'LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=api:admin exec "$@" 3<&{api} 4<&{admin} {api}<&- {admin}<&-'
        with open(self.daemon.log_path, "ab") as log:
            self.daemon.process = subprocess.Popen(
                ["/bin/bash", "-c", start, "start", *self.daemon.command()], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, cwd=self.daemon.folder, pass_fds=(api, admin))

    def stop(self):
        self.daemon.agents |= set(self.daemon.agent_pids())
        start = time.monotonic()
        self.daemon.signal(signal.SIGTERM)
        self.assertEqual(self.daemon.wait(), 0, self.daemon.log_tail())
        return time.monotonic() - start

    def wait_for_answers(self, callers, more):
        goal = callers.answers() + more
        wait_for(lambda: callers.answers() >= goal or callers.refused,
                 lambda: f"{goal} answers, {callers.answers()} came; {self.daemon.log_tail()}")
        self.assertEqual(callers.refused, [])

    def test_under_load(self):
        self.activate()
        callers = Callers(self.daemon.api_socket)
        self.addCleanup(callers.end)
        self.wait_for_answers(callers, RATE)
        began, before = time.monotonic(), callers.answers()
        stops, waits = [], []
        for _ in range(RESTARTS):
            stops.append(self.stop())
            start = time.monotonic()
            self.activate()
            # The one before is gone, so the next answer is of this one.
            waits.append(wait_for(lambda: callers.first_answer_after(start), self.daemon.log_tail) - start)
            self.wait_for_answers(callers, RATE)
        rate = (callers.answers() - before) / (time.monotonic() - began)
        callers.end()
        self.assertEqual(callers.refused, [])
        count = len(callers.acknowledged)
        print(f"{RESTARTS} restarts, {count} requests, {rate:.0f} a second; from the start to the first answer "
              f"{1000 * min(waits):.0f} to {1000 * max(waits):.0f} ms, in the middle {1000 * statistics.median(waits):.0f}; "
              f"a stop took {1000 * min(stops):.0f} to {1000 * max(stops):.0f} ms, in the middle "
              f"{1000 * statistics.median(stops):.0f}; {callers.repeats} repeats over a kept connection, "
              f"{callers.repeats_at_once} over a new one", flush=True)
        if not SANITIZED:
            self.assertLess(statistics.median(waits), 1.0)
        wait_for(lambda: self.ended().get("relayed") == count or self.ended().get("uncertain"),
                 lambda: f"{count} relayed: {self.stats()}; {self.daemon.log_tail()}")
        stats = self.stats()
        self.assertEqual(stats["accepted_total"], count, "one message for each request, however often it was sent")
        self.assertEqual(stats["ended_total"], {**dict.fromkeys(stats["ended_total"], 0), "relayed": count})
        recipients = sorted(raw.partition(b"\r\nTo: ")[2].partition(b"\r\n")[0].decode()
                            for raw in self.daemon.mail_bytes())
        self.assertEqual(recipients, sorted(callers.acknowledged), "one mail for each")
        self.stop()

    def stats(self):
        return self.expect(self.daemon.admin("GET", "/v1/stats"), 200)

    def ended(self):
        return self.stats()["ended_total"]

    def test_requests_wait_while_there_is_no_daemon(self):
        waiting = []
        for number in range(200):
            client = Client(self.daemon.api_socket)
            self.addCleanup(client.close)
            client.connection.request("POST", "/v1/challenges",
                                      f'{{"recipient":"user{number}@example.org"}}', {"Host": "localhost"})
            waiting.append(client)
        self.activate()
        for client in waiting:
            answer = client.connection.getresponse()
            self.assertEqual(answer.status, 201, answer.read())
            answer.read()
        self.stop()


if __name__ == "__main__":
    unittest.main(verbosity=2)
