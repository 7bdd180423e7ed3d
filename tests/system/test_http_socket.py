"""The socket under clients that are slow, wrong, greedy or gone: right status, no crash, no leak."""
import socket
import unittest

from harness import Raw, SharedDaemonTest, http_bytes, is_alive, open_files, wait_for

HOST = b"Host: localhost\r\n"
LIMIT = 64 * 1024


class Fragments(SharedDaemonTest):
    def test_split_at_every_byte(self):
        recipient = self.address()
        request = http_bytes("POST", "/v1/challenges", {"recipient": recipient, "send": False})
        with Raw(self.shared.api_socket) as connection:
            for cut in range(1, len(request)):
                connection.send(request[:cut])
                connection.wait_taken()
                connection.send(request[cut:])
                body = self.expect(connection.response(), 201)
                self.assertEqual((body["recipient"], body["state"]), (recipient, "started"), f"cut at {cut}")

    def test_byte_by_byte(self):
        request = http_bytes("POST", "/v1/challenges", {"recipient": self.address(), "send": False})
        with Raw(self.shared.api_socket) as connection:
            for byte in request:
                connection.send(bytes([byte]))
                connection.wait_taken()
            self.expect(connection.response(), 201)

    def test_chunked(self):
        body = http_bytes("POST", "/", {"recipient": self.address(), "send": False}).partition(b"\r\n\r\n")[2]
        request = b"POST /v1/challenges HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
        request += b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
        with Raw(self.shared.api_socket) as connection:
            connection.send(request)
            self.expect(connection.response(), 201)
            connection.send(http_bytes("GET", "/healthz"))
            self.expect(connection.response(), 200)


class Pipelines(SharedDaemonTest):
    def test_answers_in_order(self):
        wanted = [f"{number}.{self.address()}" for number in range(100)]
        with Raw(self.shared.api_socket) as connection:
            connection.send(b"".join(http_bytes("POST", "/v1/challenges", {"recipient": recipient, "send": False})
                                     for recipient in wanted))
            got = [self.expect(connection.response(), 201)["recipient"] for _ in wanted]
        self.assertEqual(got, wanted)

    def test_kinds_mixed(self):
        with Raw(self.shared.api_socket) as connection:
            connection.send(http_bytes("GET", "/healthz")
                            + http_bytes("POST", "/v1/challenges", {"recipient": self.address(), "send": False})
                            + http_bytes("GET", "/nowhere")
                            + http_bytes("POST", "/v1/challenges", b"{")
                            + http_bytes("GET", "/v1"))
            for status in (200, 201, 404, 400, 200):
                self.expect(connection.response(), status)

    def test_connection_close(self):
        with Raw(self.shared.api_socket) as connection:
            connection.send(http_bytes("GET", "/healthz", headers=("Connection: close",)))
            self.expect(connection.response(), 200)
            self.assertTrue(connection.is_closed())

    def test_head_of_another_request_behind_the_last_answer(self):
        with Raw(self.shared.api_socket) as connection:
            connection.send(http_bytes("GET", "/healthz", headers=("Connection: close",)) + b"GET /v1 HTTP/1.1\r\n")
            self.expect(connection.response(), 200)
            self.assertTrue(connection.is_closed())


def post(*headers, body=b"{}", length=True):
    lines = [b"POST /v1/challenges HTTP/1.1", b"Host: localhost"]
    if length:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, *headers]) + b"\r\n\r\n" + body


def get(*headers, line=b"GET /healthz HTTP/1.1", host=HOST):
    return line + b"\r\n" + host + b"".join(header + b"\r\n" for header in headers) + b"\r\n"


MALFORMED = {
    "words": (b"hello there\r\n\r\n", 400),
    "no version": (b"GET /healthz\r\n\r\n", 400),
    "empty method": (b" /healthz HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "version 0.9": (get(line=b"GET /healthz HTTP/0.9"), 400),
    "version 1.2": (get(line=b"GET /healthz HTTP/1.2"), 400),
    "version 2.0": (get(line=b"GET /healthz HTTP/2.0"), 400),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "version in lower case": (get(line=b"GET /healthz http/1.1"), 400),
    "version cut": (get(line=b"GET /healthz HTTP/1."), 400),
    "TLS": (bytes.fromhex("16030100c8010000c40303") + b"\r\n\r\n" * 2, 400),
    "two spaces in the request line": (get(line=b"GET  /healthz HTTP/1.1"), 400),
    "space in the target": (get(line=b"GET /health z HTTP/1.1"), 400),
    "tab in the request line": (get(line=b"GET\t/healthz\tHTTP/1.1"), 400),
    "control in the target": (get(line=b"GET /health\x01z HTTP/1.1"), 400),
    "NUL in the target": (get(line=b"GET /health\0z HTTP/1.1"), 400),
    "target without a slash": (get(line=b"GET healthz HTTP/1.1"), 400),
    "bad method": (get(line=b"G@T /healthz HTTP/1.1"), 400),
    "no Host": (get(host=b""), 400),
    "two Hosts": (get(host=HOST + HOST), 400),
    "two other Hosts": (get(host=HOST + b"Host: example.org\r\n"), 400),
    "space before the colon": (get(b"X-A : 1"), 400),
    "header without a colon": (get(b"nonsense"), 400),
    "header without a name": (get(b": 1"), 400),
    "bad header name": (get(b"X(A): 1"), 400),
    "NUL in a header": (get(b"X-A: a\0b"), 400),
    "control in a header": (get(b"X-A: a\x01b"), 400),
    "bare CR in a header": (get(b"X-A: a\rb"), 400),
    "bare LF in a header": (get(b"X-A: a\nb"), 400),
    "obs-fold": (get(b"X-A: a", b" b"), 400),
    "obs-fold by tab": (get(b"X-A: a", b"\tb"), 400),
    "header before the first": (b"GET /healthz HTTP/1.1\r\n X-A: a\r\n" + HOST + b"\r\n", 400),
    "two lengths": (post(b"Content-Length: 2"), 400),
    "two other lengths": (post(b"Content-Length: 3"), 400),
    "list of lengths": (post(b"Content-Length: 2, 2", length=False), 400),
    "negative length": (post(b"Content-Length: -2", length=False), 400),
    "signed length": (post(b"Content-Length: +2", length=False), 400),
    "hexadecimal length": (post(b"Content-Length: 0x2", length=False), 400),
    "length of words": (post(b"Content-Length: two", length=False), 400),
    "length with a space": (post(b"Content-Length: 1 2", length=False), 400),
    "empty length": (post(b"Content-Length:", length=False), 400),
    "length over 64 bits": (post(b"Content-Length: 99999999999999999999", length=False), (400, 413)),
    "length and chunked": (post(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    "gzip": (post(b"Transfer-Encoding: gzip", length=False), 400),
    "gzip, chunked": (post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n", length=False), 400),
    "identity": (post(b"Transfer-Encoding: identity", length=False), 400),
    "chunked twice": (post(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n", length=False), 400),
    "two codings": (post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n",
                         length=False), 400),
    "xchunked": (post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n", length=False), 400),
    "chunk size of words": (post(b"Transfer-Encoding: chunked", body=b"zz\r\n{}\r\n0\r\n\r\n", length=False), 400),
    "negative chunk": (post(b"Transfer-Encoding: chunked", body=b"-2\r\n{}\r\n0\r\n\r\n", length=False), 400),
    "chunk over 64 bits": (post(b"Transfer-Encoding: chunked", body=b"f" * 17 + b"\r\n{}\r\n", length=False),
                           (400, 413)),
    "chunk without its end": (post(b"Transfer-Encoding: chunked", body=b"2\r\n{}xx0\r\n\r\n", length=False), 400),
    "line too long": (get(line=b"GET /" + b"a" * 100_000 + b" HTTP/1.1"), (400, 431)),
    "header too long": (get(b"X-A: " + b"a" * 100_000), 431),
    "too many headers": (get(*[b"X-%d: 1" % number for number in range(2000)]), 431),
}
# Well-formed HTTP that no call of ours takes: the status may differ, the connection may live on.
REFUSED = {
    "unknown method": (get(line=b"BREW /healthz HTTP/1.1"), (400, 405)),
    "method in lower case": (get(line=b"get /healthz HTTP/1.1"), (400, 405)),
    "CONNECT": (get(line=b"CONNECT localhost:25 HTTP/1.1"), (400, 404, 405)),
    "TRACE": (get(line=b"TRACE /healthz HTTP/1.1"), (400, 405)),
    "asterisk": (get(line=b"OPTIONS * HTTP/1.1"), (400, 404, 405)),
    "dots": (get(line=b"GET /v1/../healthz HTTP/1.1"), (400, 404)),
    "encoded slash": (get(line=b"GET /v1%2fchallenges HTTP/1.1"), (400, 404)),
    "bad percent": (get(line=b"GET /v1/messages/%zz HTTP/1.1"), (400, 404)),
    "encoded NUL": (get(line=b"GET /v1/messages/%00 HTTP/1.1"), (400, 404)),
}


class Malformed(SharedDaemonTest):
    def exchange(self, request):
        """The first answer (None: closed without one), and whether the daemon closed behind it."""
        with Raw(self.shared.api_socket) as connection:
            try:
                connection.send(request)
                connection.socket.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before it was sent in full: the answer is there
            response = connection.response()
            return response, response is not None and connection.is_closed()

    def test_each_is_refused_and_the_connection_closed(self):
        self.assertGreaterEqual(len(MALFORMED), 30)
        for name, (request, status) in MALFORMED.items():
            with self.subTest(name):
                response, closed = self.exchange(request)
                self.expect(response, status)
                if response.status == 400:
                    self.assertEqual(response.code, "malformed_request")
                elif response.status == 431:
                    self.assertEqual(response.code, "headers_too_large")
                self.assertTrue(closed, "a connection that lost its place must be closed")
        self.assertTrue(is_alive(self.shared.pid))

    def test_nothing_behind_a_malformed_request_is_done(self):
        smuggled = http_bytes("POST", "/v1/challenges", {"recipient": self.address()})
        for name, (request, _) in MALFORMED.items():
            with self.subTest(name):
                self.exchange(request + smuggled)
        with self.subTest("a right request still is"):
            self.create("last." + self.address())
            self.code_for("last." + self.address())
        self.assertEqual([mail["To"] for mail in self.shared.mails_to(self.address())
                          if "last." not in str(mail["To"])], [])

    def test_wrong_calls_are_refused(self):
        for name, (request, status) in REFUSED.items():
            with self.subTest(name):
                self.expect(self.exchange(request)[0], status)

    def test_cut_off_anywhere(self):
        request = http_bytes("POST", "/v1/challenges", {"recipient": self.address()})
        for cut in range(0, len(request)):
            with Raw(self.shared.api_socket) as connection:
                connection.send(request[:cut])
                connection.socket.shutdown(socket.SHUT_WR)
                response = connection.response()
                if response is not None:
                    self.expect(response, 400, "malformed_request")
        self.expect(self.get("/healthz"), 200)
        self.assertEqual(self.shared.mails_to(self.address()), [])


class Sizes(SharedDaemonTest):
    def padded(self, size):
        head = b'{"recipient":"%s","send":false' % self.address().encode()
        return head + b" " * (size - len(head) - 1) + b"}"

    def test_64_kib_is_taken(self):
        self.expect(self.post("/v1/challenges", self.padded(LIMIT)), 201)

    def test_one_byte_more_is_not(self):
        for name, request in (
                ("length", http_bytes("POST", "/v1/challenges", self.padded(LIMIT + 1))),
                ("length alone", http_bytes("POST", "/v1/challenges", b"", (f"X-A: {LIMIT}",)).replace(
                    b"Content-Length: 0", b"Content-Length: %d" % (LIMIT + 1))),
                ("chunks", b"POST /v1/challenges HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
                 + b"%x\r\n" % (LIMIT + 1) + self.padded(LIMIT + 1) + b"\r\n0\r\n\r\n")):
            with self.subTest(name), Raw(self.shared.api_socket) as connection:
                try:
                    connection.send(request)
                except (BrokenPipeError, ConnectionResetError):
                    pass
                self.expect(connection.response(), 413, "too_large")
                self.assertTrue(connection.is_closed())


class Gone(SharedDaemonTest):
    def descriptors(self):
        return len(open_files(self.shared.pid))

    def test_500_abandoned_waits_leave_nothing(self):
        challenge = self.create(self.address(), send=False)
        request = http_bytes("GET", f"/v1/challenges/{challenge['id']}?wait=60&revision={challenge['revision']}")
        self.client.close()
        before = wait_for(self.settled, "the daemon's descriptors settle")
        # In rounds of 60, so that they are waits and not refusals (64 a uid), then 500 at once.
        for count in (60,) * 9 + (500,):
            connections = [Raw(self.shared.api_socket) for _ in range(count)]
            for connection in connections:
                connection.send(request)
            for connection in connections:
                connection.wait_taken()
            for connection in connections:
                connection.close()
            wait_for(lambda: self.descriptors() <= before,
                     lambda: f"{self.descriptors()} descriptors, {before} before; {self.shared.log_tail()}")
        # Their places are free again.
        connections = [Raw(self.shared.api_socket) for _ in range(64)]
        for connection in connections:
            self.addCleanup(connection.close)
            connection.send(request)
        self.expect(self.post(f"/v1/challenges/{challenge['id']}/cancel"), 200)
        for connection in connections:
            self.assertEqual(self.expect(connection.response(), 200)["state"], "canceled")

    def settled(self):
        """The number of descriptors, when two looks agree and only the listeners and pipes are left."""
        with Raw(self.shared.api_socket) as connection:
            connection.send(http_bytes("GET", "/healthz"))
            self.expect(connection.response(), 200)
            during = self.descriptors()
        return wait_for(lambda: self.descriptors() < during and self.descriptors(), "a closed connection is closed")

    def test_client_goes_before_the_answer(self):
        for number in range(100):
            with Raw(self.shared.api_socket) as connection:
                connection.send(http_bytes("POST", "/v1/challenges", {"recipient": f"{number}.{self.address()}"}) * 3)
        self.expect(self.get("/healthz"), 200)
        self.assertTrue(is_alive(self.shared.pid))

    def test_client_that_never_reads(self):
        # More answers than two socket buffers hold: the daemon must neither grow nor block for the others.
        with Raw(self.shared.api_socket, timeout=1) as greedy:
            request = http_bytes("GET", "/v1/openapi.json") * 50
            try:
                for _ in range(200):
                    greedy.send(request)
            except TimeoutError:
                pass
            else:
                self.fail("the daemon reads 10,000 requests of a client that takes no answer")
            self.expect(self.get("/healthz"), 200)

    def test_half_closed_client_gets_its_answer(self):
        with Raw(self.shared.api_socket) as connection:
            connection.send(http_bytes("POST", "/v1/challenges", {"recipient": self.address(), "send": False}))
            connection.socket.shutdown(socket.SHUT_WR)
            self.expect(connection.response(), 201)
            self.assertTrue(connection.is_closed())


if __name__ == "__main__":
    unittest.main(verbosity=2)
