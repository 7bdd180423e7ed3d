#!/usr/bin/python3
"""Clients that mean harm: a process of its own, so that its descriptors and its processor time are its own.

usage: hostile_clients.py KIND SOCKET COUNT UID

Keeps COUNT connections of the KIND at SOCKET, opens a new one for each that the daemon closes, as user UID, until
its input ends. Prints "open" once all of them were open at the same time, and one JSON object with counts at the end.
"""
import collections
import errno
import json
import os
import random
import resource
import select
import socket
import sys
import time

TICK = 0.01
HOST = b"Host: localhost\r\n"


def whole(method, target, body=b""):
    length = b"Content-Length: %d\r\n" % len(body) if method == b"POST" else b""
    return method + b" " + target + b" HTTP/1.1\r\n" + HOST + length + b"\r\n" + body


SLOW = b"POST /v1/challenges HTTP/1.1\r\n" + HOST + b"Content-Length: 60000\r\n" + b"X-Slow: " + b"s" * 4000
CREATE = whole(b"POST", b"/v1/challenges", b'{"recipient":"flood@example.org","send":false}')
FIELDS = b"".join(b"X-%d: %s\r\n" % (number, b"v" * 230) for number in range(62))
HEADERS = (
    b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-A: " + b"a" * 100_000,                  # one field without an end
    b"GET /healthz HTTP/1.1\r\n" + HOST + b"A: 1\r\n" * 5000,                         # fields without an end
    (b"GET /healthz HTTP/1.1\r\n" + HOST + FIELDS + b"\r\n") * 8,                     # just what is allowed
    b"GET /healthz HTTP/1.1\r\n" + HOST + b"A: 1\r\n" * 62 + b"Cookie\r\n\r\n" * 50,  # wrong in its last line
)


class Client:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise
        self.unsent = b""
        self.half_close = False
        self.reads = True
        self.answered = False

    def push(self):
        """Sends what the kernel takes of what is unsent."""
        try:
            if self.unsent:
                self.unsent = self.unsent[self.socket.send(self.unsent):]
            if self.half_close and not self.unsent:
                self.half_close = False
                self.socket.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass


class Crowd:
    """What each kind does: `opened` with a new client, `answered` when one has got something."""

    def __init__(self, kind, path, count):
        self.path = path
        self.count = count
        self.opened = getattr(self, kind + "_opened")
        self.answered = getattr(self, kind + "_answered", lambda client: None)
        self.tick = getattr(self, kind + "_tick", lambda: None)
        self.clients = {}
        self.epoll = select.epoll()
        self.seen = collections.Counter()
        self.told = False

    # A byte of a request now and then.
    def slow_opened(self, client):
        client.sent = random.randrange(len(SLOW) - 1000)
        client.unsent = SLOW[:client.sent]

    def slow_tick(self):
        for client in random.sample(list(self.clients.values()), min(200, len(self.clients))):
            if not client.unsent and client.sent < len(SLOW):
                client.unsent = SLOW[client.sent:client.sent + 1]
                client.sent += 1
                self.push(client)

    def idle_opened(self, client):
        pass

    def headers_opened(self, client):
        client.unsent = HEADERS[self.seen["opened"] % len(HEADERS)]

    headers_answered = headers_opened

    def halfclosed_opened(self, client):
        kind = self.seen["opened"] % 8
        client.half_close = True
        client.unsent = (b"", SLOW, whole(b"GET", b"/healthz"), whole(b"GET", b"/v1/openapi.json") * 4, CREATE * 3,
                         whole(b"GET", b"/healthz"), b"bad\n", SLOW)[kind]
        client.reads = kind not in (3, 5)  # those stay, with an answer that nobody takes

    def requests_opened(self, client):
        client.unsent = CREATE + whole(b"GET", b"/v1")

    requests_answered = requests_opened

    # -- all kinds

    def push(self, client):
        try:
            client.push()
        except OSError:
            self.drop(client)
            return
        mask = (select.EPOLLIN if client.reads else 0) | (select.EPOLLOUT if client.unsent else 0)
        self.epoll.modify(client.socket.fileno(), mask)

    def drop(self, client):
        if self.clients.pop(client.socket.fileno(), None):
            self.epoll.unregister(client.socket.fileno())
            client.socket.close()
            self.seen["closed"] += 1

    def fill(self):
        for _ in range(min(500, self.count - len(self.clients))):
            try:
                client = Client(self.path)
            except OSError as error:
                self.seen["full" if error.errno == errno.EAGAIN else "refused"] += 1
                return
            self.clients[client.socket.fileno()] = client
            self.epoll.register(client.socket.fileno(), select.EPOLLIN)
            self.opened(client)
            self.seen["opened"] += 1
            self.push(client)
        if len(self.clients) == self.count and not self.told:
            self.told = True
            print("open", flush=True)

    def read(self, client):
        try:
            got = client.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            got = b""
        if not got:
            self.drop(client)
            return
        self.seen["503" if b"HTTP/1.1 503" in got else "answers"] += 1
        if not client.unsent:
            self.answered(client)
            self.push(client)

    def run(self):
        self.epoll.register(sys.stdin.fileno(), select.EPOLLIN | select.EPOLLHUP)
        next_tick = 0
        while True:
            now = time.monotonic()
            if now >= next_tick:
                next_tick = now + TICK
                self.fill()
                self.tick()
            for descriptor, mask in self.epoll.poll(max(0.0, next_tick - time.monotonic()), 1000):
                if descriptor == sys.stdin.fileno():
                    return
                client = self.clients.get(descriptor)
                if client and mask & (select.EPOLLERR | select.EPOLLHUP | select.EPOLLIN):
                    self.read(client)
                elif client:
                    self.push(client)


def main():
    kind, path, count, uid = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    soft = min(20_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, soft))
    if uid != os.getuid():
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    random.seed(1)
    crowd = Crowd(kind, path, count)
    crowd.run()
    print(json.dumps({**crowd.seen, "open": len(crowd.clients)}), flush=True)


if __name__ == "__main__":
    main()
