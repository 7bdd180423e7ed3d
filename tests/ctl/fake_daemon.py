"""A daemon that answers what a test tells it to, over a Unix socket in a folder of its own."""
import http.server
import json
import os
import shutil
import socketserver
import tempfile
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if body:
            self.server.bodies.append(json.loads(body))
        self.answer("POST " + self.path)

    def do_PUT(self):
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0")))))
        self.answer("PUT " + self.path)

    def do_DELETE(self):
        self.answer("DELETE " + self.path)

    def do_GET(self):
        self.answer(self.path)

    def answer(self, target):
        answer = self.server.answers.get(target)
        if target == "/v1" and answer is None:  # it is of the version of the program that asks
            self.server.answers["/v1"] = answer = 200, {"name": "mailotpd", "version": self.version(), "mode": "production"}
        if target != "/v1":
            self.server.seen.append(target)
        if answer == "hang up":
            self.close_connection = True
            return
        status, body = answer if answer else problem(404, "not_found", f"nothing is at {self.path}")
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = "application/problem+json" if status >= 400 else "application/json"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        try:
            self.wfile.write(data)
        except BrokenPipeError:  # the client has had enough, as a test may want
            self.close_connection = True

    def version(self):
        return self.headers.get("User-Agent", "").partition("/")[2]

    def address_string(self):  # a Unix peer has no address
        return "peer"

    def log_message(self, *args):
        pass


def problem(status, code, detail, **more):
    return status, {"type": f"urn:mailotpd:error:{code}", "title": code.replace("_", " "), "status": status,
                    "detail": detail, "code": code, "request_id": "0190b5a0-0000-7000-8000-00000000abcd", **more}


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False


class FakeDaemon:
    """`answers` maps a request target (a POST's with "POST " before it, a PUT's and a DELETE's likewise) to (status, JSON value or bytes), or to "hang up"; `seen` lists targets, `bodies` those of PUTs and POSTs."""

    def __init__(self, answers):
        self.folder = tempfile.mkdtemp(prefix="mailotpctl-")
        self.socket = os.path.join(self.folder, "admin.sock")
        self.server = Server(self.socket, Handler)
        self.server.answers = answers
        self.server.seen = self.seen = []
        self.server.bodies = self.bodies = []
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.thread.join(10)
        self.server.server_close()
        shutil.rmtree(self.folder)
