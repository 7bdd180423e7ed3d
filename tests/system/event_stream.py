"""A consumer of GET /v1/events: server-sent events or NDJSON, one event after the other."""
import http.client
import json

from harness import BOUND, Unix


class Refused(Exception):
    """The answer was no stream: its status, headers and body as `response`."""

    def __init__(self, response, body):
        super().__init__(f"{response.status} {body!r}")
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = body
        self.json = json.loads(body)


class EventStream:
    """From its opening on. `after`: the cursor in the query; `last_event_id`: in the header; neither: from now on."""

    def __init__(self, path, ndjson=False, after=None, last_event_id=None, app=None, timeout=BOUND):
        self.ndjson = ndjson
        self.cursor = None  # of the last event, or of the beginning
        self.clean_end = False
        query = [f"{name}={value}" for name, value in (("after", after), ("app", app)) if value is not None]
        headers = {"Accept": "application/x-ndjson" if ndjson else "text/event-stream"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        self.connection = Unix(path, timeout)
        try:
            self.connection.request("GET", "/v1/events" + ("?" + "&".join(query) if query else ""), None, headers)
            self.response = self.connection.getresponse()
            if self.response.status != 200:
                raise Refused(self.response, self.response.read())
            self.content_type = self.response.getheader("Content-Type")
            if not ndjson:
                # Its first block tells where it begins, and is no event.
                block = self._block()
                if block is None:
                    raise ConnectionResetError("it ended before it told where it begins")
                if "data" in block or not block.get("id"):
                    raise AssertionError(f"the first block is {block}")
        except BaseException:
            self.close()
            raise

    def close(self):
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _line(self):
        """Without its end; None at the end of the stream, which is `clean_end` when the daemon said so."""
        try:
            line = self.response.readline()
        except (http.client.HTTPException, ConnectionError):
            return None
        if line == b"":
            # http.client has read the last chunk, or the connection's end where a chunk had to be.
            self.clean_end = self.response.isclosed()
            return None
        if not line.endswith(b"\n"):
            return None  # cut
        return line[:-1].decode("utf-8")

    def _block(self):
        """The fields of the next block of server-sent events, comments left out."""
        block = {}
        while True:
            line = self._line()
            if line is None:
                return None
            if line == "":
                if not block:
                    continue
                if block.get("id"):
                    self.cursor = block["id"]
                return block
            name, _, value = line.partition(":")
            if name:
                if name in block:
                    raise AssertionError(f"{name} twice in {block}")
                block[name] = value.removeprefix(" ")

    def next(self):
        """The next event, or None when the stream has ended."""
        if self.ndjson:
            line = self._line()
            if line is None:
                return None
            event = json.loads(line)
        else:
            block = self._block()
            if block is None:
                return None
            event = json.loads(block["data"])
            if (block["id"], block["event"]) != (event["cursor"], event["type"]):
                raise AssertionError(f"the lines of {block} do not agree")
        self.cursor = event["cursor"]
        return event

    def until(self, condition, what="the event that is waited for"):
        """All events up to the first that fulfils the condition."""
        seen = []
        while True:
            event = self.next()
            if event is None:
                raise AssertionError(f"the stream ended before {what}; it brought {seen[-5:]}")
            seen.append(event)
            if condition(event):
                return seen


def number(cursor):
    """Cursors are opaque to apps; these tests know that they are numbers, to see their order and gaps."""
    return int(cursor, 16)
