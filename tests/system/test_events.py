"""GET /v1/events: every event once, in the order of the commits, to its own app, across deaths and slow readers."""
import http.client
import os
import random
import signal
import sys
import threading
import unittest

import oracle
from event_stream import EventStream, Refused, number
from harness import BIN, BOUND, Client, Raw, SystemTest, http_bytes, wait_for, wrong_digits

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "smtp"))
from scripted_relay import Rule, ScriptedRelay, reply  # noqa: E402

SANITIZED = os.path.basename(os.path.dirname(BIN)) in ("asan", "tsan")


class EventsTest(SystemTest):
    def up(self, *apps, **tables):
        self.daemon = self.new_daemon()
        self.sockets = {app: os.path.join(self.daemon.folder, app + ".sock") for app in apps}
        if apps:
            tables["app"] = [{"name": app, "socket": path} for app, path in self.sockets.items()]
        self.daemon.write_config(**tables)
        self.daemon.start()
        return self.daemon

    def stream(self, path=None, **how):
        stream = EventStream(path or self.daemon.api_socket, **how)
        self.addCleanup(stream.close)
        return stream

    def create(self, recipient, path=None, **fields):
        with Client(path or self.daemon.api_socket) as client:
            return self.expect(client.request("POST", "/v1/challenges",
                                              {"recipient": recipient, "purpose": "quick", **fields}), 201)

    def post(self, target, body=None, path=None):
        with Client(path or self.daemon.api_socket) as client:
            return client.request("POST", target, {} if body is None else body)

    def all_relayed(self):
        def open_ones():
            counts = self.expect(self.daemon.admin("GET", "/v1/stats"), 200)["messages"]
            return sum(counts[state] for state in ("queued", "sending", "deferred", "uncertain"))
        wait_for(lambda: open_ones() == 0, lambda: f"all is relayed; {self.daemon.log_tail()}")

    def read_all(self, path=None, **how):
        """Every event so far: up to that of a challenge made for its end, which is left out."""
        with EventStream(path or self.daemon.admin_socket, after="0", **how) as stream:
            maker = path if path and path != self.daemon.admin_socket else next(iter(self.sockets.values()), None)
            marker = self.create("marker@example.org", maker, send=False)["id"]
            return stream.until(lambda event: event.get("challenge") == marker)[:-1]


class Load:
    """16 clients that create, guess wrong, then right; who loses his connection comes again."""

    def __init__(self, daemon, paths, rounds, clients=16):
        self.daemon, self.paths, self.rounds = daemon, paths, rounds
        self.lock = threading.Lock()
        self.made = {}  # client: ids of the challenges that were acknowledged, in their order
        self.failure = None
        self.answered = 0
        self.threads = [threading.Thread(target=self._run, args=(one,)) for one in range(clients)]
        for thread in self.threads:
            thread.start()

    def _run(self, one):
        try:
            path = self.paths[one % len(self.paths)]
            self.made[one] = []
            done = 0
            while done < self.rounds:
                try:
                    with Client(path) as client:
                        while done < self.rounds:
                            made = client.request("POST", "/v1/challenges", {
                                "recipient": f"u{one}.{done}@example.org", "purpose": "quick"})
                            if made.status == 503:
                                continue
                            challenge = made.json["id"]
                            self.made[one].append(challenge)
                            client.request("POST", f"/v1/challenges/{challenge}/check", {"code": "x"})
                            done += 1
                            with self.lock:
                                self.answered += 1
                except (OSError, http.client.HTTPException):
                    wait_for(self._is_back, "the daemon is back")
        except BaseException as error:  # pylint: disable=broad-except  # told by join()
            self.failure = self.failure or error

    def _is_back(self):
        try:
            with Client(self.paths[0]) as client:
                return client.request("GET", "/healthz").status == 200
        except (OSError, http.client.HTTPException):
            return False

    def wait(self, count):
        wait_for(lambda: self.answered >= count or self.failure, f"{count} rounds are done")
        if self.failure:
            raise self.failure

    def join(self):
        for thread in self.threads:
            thread.join(3 * BOUND)
            if thread.is_alive():
                raise AssertionError(f"a client still runs; {self.daemon.log_tail()}")
        if self.failure:
            raise self.failure


class Follower:
    """A consumer that comes back with its cursor, whether the daemon died or it left by itself."""

    def __init__(self, path, ndjson, by_header, leaves, seed, after="0"):
        self.path, self.ndjson, self.by_header, self.leaves = path, ndjson, by_header, leaves
        self.dice = random.Random(seed)
        self.cursor = after
        self.seen = []
        self.visits = 0
        self.failure = None
        self.last = None  # the number of the last event to be read; there is one after it
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            while not self._visit():
                pass
        except BaseException as error:  # pylint: disable=broad-except  # told by join()
            self.failure = error

    def _visit(self):
        """Until the connection is lost, or it leaves, or all is read (True)."""
        where = {"last_event_id": self.cursor} if self.by_header else {"after": self.cursor}
        stay = self.dice.randrange(1, 400) if self.leaves else None
        try:
            with EventStream(self.path, ndjson=self.ndjson, **where) as stream:
                self.visits += 1
                while stay is None or stay > 0:
                    event = stream.next()
                    if event is None:
                        return False
                    self.cursor = event["cursor"]
                    if self.last and number(self.cursor) > self.last:
                        return True
                    self.seen.append(event)
                    stay = None if stay is None else stay - 1
        except (OSError, http.client.HTTPException):
            wait_for(lambda: os.path.exists(self.path), "the socket is back")
        return False

    def join(self):
        self.thread.join(3 * BOUND)
        if self.failure:
            raise self.failure
        if self.thread.is_alive():
            raise AssertionError(f"it did not see the end; {len(self.seen)} events, {self.visits} visits")
        return self.seen


class Order(EventsTest):
    def assert_in_order(self, events, what):
        cursors = [number(event["cursor"]) for event in events]
        self.assertEqual(cursors, sorted(set(cursors)), f"{what}: not in order, or one twice")

    def test_16_clients_of_two_apps(self):
        self.up("shop", "blog")
        shop = self.stream(self.sockets["shop"])
        blog = self.stream(self.sockets["blog"], ndjson=True)
        every = self.stream(self.daemon.admin_socket, ndjson=True)
        only_shop = self.stream(self.daemon.admin_socket, app="shop")
        load = Load(self.daemon, [self.sockets["shop"], self.sockets["blog"]], 4 if SANITIZED else 12)
        load.join()
        self.all_relayed()
        ends = {app: self.create("end@example.org", self.sockets[app], send=False)["id"] for app in ("shop", "blog")}

        def to_the_end(stream, app):
            return stream.until(lambda event: event.get("challenge") == ends[app])
        seen = to_the_end(every, "blog")
        self.assert_in_order(seen, "operators")
        cursors = [number(event["cursor"]) for event in seen]
        self.assertEqual(cursors, list(range(cursors[0], cursors[0] + len(cursors))), "a gap")
        for app, stream in (("shop", shop), ("blog", blog), ("shop", only_shop)):
            own = to_the_end(stream, app)
            self.assertEqual({event["app"] for event in own}, {app})
            expected = [event for event in seen if event["app"] == app]
            without_uid = [{key: value for key, value in event.items() if key != "uid"} for event in expected]
            self.assertEqual([{key: value for key, value in event.items() if key != "uid"} for event in own], without_uid)
        for one, made in load.made.items():
            app = ("shop", "blog")[one % 2]
            created = [event["challenge"] for event in seen
                       if event["type"] == "challenge.created" and event["challenge"] in set(made)]
            self.assertEqual(created, made, "the order that this client saw its answers in")
            for challenge in made:
                types = [event["type"] for event in seen if event.get("challenge") == challenge]
                self.assertEqual(sorted(types), ["challenge.checked", "challenge.created", "message.queued",
                                                 "message.relayed"], challenge)
                self.assertEqual(types[:2], ["challenge.created", "message.queued"])
                self.assertEqual({event["app"] for event in seen if event.get("challenge") == challenge}, {app})

    def test_nothing_is_missed_nor_twice_across_kills(self):
        self.up("shop", "blog")
        paths = [self.sockets["shop"], self.sockets["blog"]]
        followers = [Follower(path, ndjson, by_header, leaves, seed)
                     for seed, (path, ndjson, by_header, leaves) in enumerate((
                         (paths[0], False, True, False), (paths[0], True, False, True), (paths[0], False, False, True),
                         (paths[1], True, True, False), (self.daemon.admin_socket, False, True, True)))]
        rounds = 10 if SANITIZED else 40
        load = Load(self.daemon, paths, rounds)
        kills = 2 if SANITIZED else 4
        for kill in range(kills):
            load.wait(16 * rounds * (kill + 1) // (kills + 2))
            self.daemon.kill()
            self.daemon.start()
        load.join()
        self.all_relayed()
        every = self.read_all()
        for follower in followers:
            follower.last = number(every[-1]["cursor"])
        for path in paths:
            self.create("nudge@example.org", path)
        self.assert_in_order(every, "operators")
        acknowledged = {challenge for made in load.made.values() for challenge in made}
        self.assertLessEqual(acknowledged, {event["challenge"] for event in every
                                            if event["type"] == "challenge.created"})
        for follower in followers:
            seen = follower.join()
            app = {paths[0]: "shop", paths[1]: "blog"}.get(follower.path)
            expected = [event["cursor"] for event in every if app in (None, event["app"])]
            self.assertTrue([event["cursor"] for event in seen if number(event["cursor"]) <= follower.last] == expected,
                            f"follower {followers.index(follower)}: {len(seen)} of {len(expected)}, "
                            f"{follower.visits} visits")
            self.assertGreater(follower.visits, kills, "it was not cut")


class Cursors(EventsTest):
    def test_from_now_on(self):
        self.up()
        before = self.create("before@example.org")
        self.all_relayed()
        streams = [self.stream(), self.stream(ndjson=True)]
        after = self.create("after@example.org")
        for stream in streams:
            first = stream.next()
            self.assertEqual((first["type"], first["challenge"]), ("challenge.created", after["id"]))
        # A consumer that has seen no event yet has a cursor all the same.
        opened = self.stream()
        cursor = opened.cursor
        opened.close()
        missed = self.create("missed@example.org", send=False)
        seen = self.stream(last_event_id=cursor).until(lambda event: event.get("challenge") == missed["id"])
        self.assertNotIn(before["id"], {event.get("challenge") for event in seen})

    def test_shape(self):
        self.up()
        served = self.stream()
        self.assertEqual(served.content_type, "text/event-stream")
        self.assertEqual(served.response.getheader("Cache-Control"), "no-store")
        self.assertTrue(served.response.getheader("X-Request-Id"))
        lines = self.stream(ndjson=True)
        self.assertEqual(lines.content_type, "application/x-ndjson")
        operators = self.stream(self.daemon.admin_socket)
        made = self.create("a@example.org")
        event, same, told = served.next(), lines.next(), operators.next()
        self.assertEqual(event, same)
        self.assertEqual({**event, "cursor": "", "at": ""}, {
            "cursor": "", "type": "challenge.created", "app": "default", "at": "", "challenge": made["id"],
            "actor": "app", "detail": None})
        self.assertEqual(told, {**event, "uid": os.getuid()})
        self.assertRegex(event["at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        queued = served.next()
        self.assertEqual((queued["type"], queued["message"]), ("message.queued", made["message"]["id"]))

    def test_what_is_no_cursor(self):
        self.up("shop", "blog")
        self.create("a@example.org", self.sockets["shop"])
        self.all_relayed()
        newest = self.read_all()[-1]["cursor"]
        future = f"{number(newest) + 1000:x}"
        for path in (self.sockets["shop"], self.daemon.admin_socket):
            for cursor in ("zz", "-1", "0x1", "1.5", "1%20", future, "7fffffffffffffff", "ffffffffffffffff", "9" * 40,
                           "..%2f"):
                for ndjson in (False, True):
                    with self.subTest(cursor=cursor), self.assertRaises(Refused) as refused:
                        self.stream(path, ndjson=ndjson, after=cursor)
                    self.assertEqual(refused.exception.status, 400)
                    self.assertEqual(refused.exception.headers["content-type"], "application/problem+json")
                    problem = refused.exception.json
                    self.assertEqual((problem["code"], problem["field"]), ("invalid_field", "after"))
            for cursor in ("zz", "-1", future):
                with self.subTest(header=cursor), self.assertRaises(Refused) as refused:
                    self.stream(path, last_event_id=cursor)
                self.assertEqual(refused.exception.json["field"], "after")
        # Another app's cursor is a place in the log as good as any: it tells nothing of what stands there.
        blog = self.stream(self.sockets["blog"], after=newest)
        mine = self.create("b@example.org", self.sockets["blog"])
        self.assertEqual(blog.next()["challenge"], mine["id"])
        # A refused one leaves the connection in order, and no stream counted.
        with Client(self.sockets["shop"]) as client:
            for _ in range(40):
                self.expect(client.request("GET", f"/v1/events?after={future}"), 400, "invalid_field")
        self.stream(self.sockets["shop"])

    def test_who_may(self):
        self.up("shop", "blog")
        self.create("secret@example.org", self.sockets["shop"])
        self.all_relayed()
        # An app cannot name another one.
        stream = self.stream(self.sockets["blog"], after="0", app="shop")
        mine = self.create("mine@example.org", self.sockets["blog"])
        self.assertEqual(stream.next()["challenge"], mine["id"])
        self.expect(self.daemon.api("GET", "/v1/events"), 403, "app_unknown")
        with Client(self.sockets["blog"]) as client:
            self.expect(client.request("POST", "/v1/events", {}), 405, "method_not_allowed")
        none = self.stream(self.daemon.admin_socket, after="0", app="nobody")
        self.create("more@example.org", self.sockets["shop"])
        every = self.stream(self.daemon.admin_socket, after="0")
        self.assertEqual({every.next()["app"] for _ in range(2)}, {"shop"})
        none.connection.sock.settimeout(0.2)
        with self.assertRaises(TimeoutError):
            none.next()


class Slow(EventsTest):
    """Who reads nothing hinders nobody and costs a page."""

    COUNT = 2_000 if SANITIZED else 12_000
    STALLED = 15

    def events(self, count):
        """So many, fast: each guess at a challenge that is exhausted is one."""
        request = http_bytes("POST", f"/v1/challenges/{self.challenge['id']}/check", {"code": "x"})
        clients = [Raw(self.daemon.api_socket) for _ in range(8)]
        for client in clients:
            self.addCleanup(client.close)
        for _ in range(count // (8 * 25)):
            for client in clients:
                client.send(request * 25)
            for client in clients:
                for _ in range(25):
                    self.expect(client.response(), 200)
        for client in clients:
            client.close()
        return count // (8 * 25) * (8 * 25)

    def test_a_reader_that_does_not_read(self):
        self.up()
        self.challenge = self.create("a@example.org")
        self.all_relayed()
        warm = self.events(self.COUNT)
        _, before = oracle.footprint(self.daemon.pid)
        stalled = []
        for turn in range(self.STALLED):
            reader = Raw(self.daemon.api_socket)
            self.addCleanup(reader.close)
            accept = "application/x-ndjson" if turn % 2 else "text/event-stream"
            reader.send(http_bytes("GET", "/v1/events?after=0", headers=[f"Accept: {accept}"]))
            stalled.append(reader)
        live = self.stream(ndjson=True)
        more = self.events(self.COUNT)
        # The live one gets all, while others are answered.
        for _ in range(more):
            self.assertEqual(live.next()["type"], "challenge.checked")
        made = self.create("b@example.org")
        self.assertEqual(live.next()["challenge"], made["id"])
        _, after = oracle.footprint(self.daemon.pid)
        print(f"{warm + more} events, {self.STALLED} stalled streams: {before} -> {after} KiB", flush=True)
        if not SANITIZED:
            # All of it for all of them would be over 70 MiB.
            self.assertLess(after - before, 16 * 1024)
        # One that comes to itself goes on where it stopped.
        for reader in stalled[1:]:
            reader.close()
        seen = []
        with self.stream(ndjson=True, after="0") as whole:
            every = whole.until(lambda event: event.get("challenge") == made["id"])
        reader = stalled[0]
        while reader._more():  # pylint: disable=protected-access
            if f'"challenge":"{made["id"]}"'.encode() in reader.buffer:
                break
        for line in reader.buffer.split(b"\n"):
            if line.startswith(b"id: "):
                seen.append(number(line[4:].strip()))
        # The first one tells the beginning. A daemon may close who takes nothing for a minute: then it is a prefix.
        self.assertEqual(seen[0], 0)
        expected = [number(event["cursor"]) for event in every]
        both = min(len(seen) - 1, len(expected))
        self.assertTrue(seen[1:both + 1] == expected[:both], "a gap, or one twice")
        self.assertGreater(len(seen), 100)
        self.daemon.signal(signal.SIGTERM)
        self.assertEqual(self.daemon.wait(), 0, self.daemon.log_tail())


class Streams(EventsTest):
    def test_16_of_a_uid(self):
        self.up()
        streams = [self.stream(ndjson=turn % 2 == 0) for turn in range(16)]
        with Client(self.daemon.api_socket) as client:
            response = client.request("GET", "/v1/events")
        problem = self.expect(response, 429, "too_many_waits")
        self.assertEqual(problem["limit"]["max"], 16)
        # An operator of the same uid has his own, as another app of it would.
        streams.append(self.stream(self.daemon.admin_socket))
        # Others than streams are answered, and all streams live.
        made = self.create("a@example.org")
        for stream in streams:
            self.assertEqual(stream.next()["challenge"], made["id"])
        streams.pop(0).close()

        def again():
            try:
                return self.stream()
            except Refused:
                return None
        wait_for(again, "the place of one that left is free")

    def test_sigterm_ends_them_well(self):
        self.up()
        streams = [self.stream(), self.stream(ndjson=True), self.stream(self.daemon.admin_socket)]
        made = self.create("a@example.org")
        for stream in streams:
            stream.until(lambda event: event["type"] == "message.relayed" and event["challenge"] == made["id"])
        self.daemon.signal(signal.SIGTERM)
        for stream in streams:
            self.assertIsNone(stream.next())
            self.assertTrue(stream.clean_end, "the answer has its end")
        self.assertEqual(self.daemon.wait(), 0, self.daemon.log_tail())
        self.assertNotIn("event=bug", self.daemon.log())


class Transitions(EventsTest):
    """Each change of state is there, with who did it and why."""

    def assert_events(self, events, expected):
        """`expected`: (type, actor, detail), in this order; a detail of these fields at least."""
        shown = [(event["type"], event["actor"], event["detail"]) for event in events]
        self.assertEqual([(one[0], one[1]) for one in shown], [(one[0], one[1]) for one in expected], f"\n{shown}")
        for (kind, _, detail), (_, _, wanted) in zip(shown, expected):
            if wanted is None:
                continue
            self.assertLessEqual(wanted.items(), (detail or {}).items(), kind)

    def of(self, challenge, path=None):
        return [event for event in self.read_all(path) if event.get("challenge") == challenge["id"]]

    def test_challenge(self):
        self.up(**{"purpose.quick": {"cooldown": "0s", "max_attempts": 2}})
        right = self.create("a@example.org")
        code = self.daemon.code_for("a@example.org")
        self.all_relayed()
        self.expect(self.post(f"/v1/challenges/{right['id']}/check", {"code": wrong_digits(code)}), 200)
        self.expect(self.post(f"/v1/challenges/{right['id']}/send"), 202)
        self.all_relayed()
        self.expect(self.post(f"/v1/challenges/{right['id']}/check", {"code": code}), 200)
        self.expect(self.post(f"/v1/challenges/{right['id']}/check", {"code": code}), 200)
        relayed = ("message.relayed", "daemon", {"relay": "capture"})
        self.assert_events(self.of(right), [
            ("challenge.created", "app", None), ("message.queued", "app", None), relayed,
            ("challenge.checked", "app", {"result": "invalid", "attempts_left": 1}),
            ("challenge.sent", "app", None), ("message.queued", "app", None), relayed,
            ("challenge.checked", "app", {"result": "valid"}), ("challenge.checked", "app", {"result": "already_used"})])

        spent = self.create("b@example.org", send=False)
        self.expect(self.post(f"/v1/challenges/{spent['id']}/send"), 202)
        self.all_relayed()
        for _ in range(3):
            self.expect(self.post(f"/v1/challenges/{spent['id']}/check", {"code": "x"}), 200)
        self.assert_events(self.of(spent), [
            ("challenge.created", "app", None), ("challenge.sent", "app", None), ("message.queued", "app", None), relayed,
            ("challenge.checked", "app", {"result": "invalid", "attempts_left": 1}),
            ("challenge.checked", "app", {"result": "invalid", "attempts_left": 0}), ("challenge.exhausted", "app", None),
            ("challenge.checked", "app", {"result": "exhausted"})])

        canceled = self.create("c@example.org", send=False)
        self.expect(self.post(f"/v1/challenges/{canceled['id']}/cancel"), 200)
        self.assert_events(self.of(canceled), [("challenge.created", "app", None), ("challenge.canceled", "app", None)])

        expired = self.create("d@example.org", ttl_seconds=2)
        wait_for(lambda: self.daemon.api("GET", f"/v1/challenges/{expired['id']}").json["state"] == "expired", "expired")
        self.assertEqual(self.of(expired)[-1]["type"], "challenge.expired")
        self.assertEqual(self.of(expired)[-1]["actor"], "daemon")

    def test_messages(self):
        relay = ScriptedRelay([Rule("rcpt", reply("550 5.1.1 no such user"), to="dead"),
                               Rule("rcpt", reply("451 4.3.0 later"), nth=1, to="late")]).start()
        self.addCleanup(relay.stop)
        self.up(daemon={"mode": "production"}, delivery={"retry": ["1s"], "jitter": 0},
                relay={"name": "first", "host": "127.0.0.1", "port": relay.port, "tls": "none", "auth": "none"})
        dead, late = self.create("dead@example.org"), self.create("late@example.org")
        self.all_relayed()
        self.assert_events(self.of(dead)[1:], [
            ("message.queued", "app", None), ("message.failed", "daemon", None),
            ("recipient.reported", "daemon", {"kind": "bounce", "class": "user-unknown", "source": "smtp"}),
            ("recipient.suppressed", "daemon", {"class": "user-unknown", "times": 1})])
        failed = self.of(dead)[2]["detail"]
        self.assertEqual((failed["relay"], failed["reply"]["code"], failed["reply"]["status"]), ("first", 550, "5.1.1"))
        self.assert_events(self.of(late)[1:], [
            ("message.queued", "app", None), ("message.deferred", "daemon", {"relay": "first"}),
            ("message.relayed", "daemon", {"relay": "first"})])
        # What waits when its challenge ends says why it ended.
        self.expect(self.daemon.admin("POST", "/v1/relays/first/suspend"), 200)
        unsent = self.create("unsent@example.org")
        self.expect(self.post(f"/v1/challenges/{unsent['id']}/send"), 202)
        self.expect(self.post(f"/v1/challenges/{unsent['id']}/cancel"), 200)
        events = self.of(unsent)
        self.assertEqual(sorted(event["type"] for event in events[2:]),
                         ["challenge.canceled", "challenge.sent", "message.canceled", "message.queued",
                          "message.superseded"])
        ended = next(event for event in events if event["type"] == "message.canceled")
        self.assertEqual((ended["actor"], ended["detail"]), ("app", {"challenge": "canceled"}))

    def test_recipients_and_operators(self):
        self.up()
        made = self.create("a@example.org")
        code = self.daemon.code_for("a@example.org")
        self.all_relayed()
        message_id = self.expect(self.daemon.api("GET", f"/v1/messages/{made['message']['id']}"), 200)["message_id"]
        self.expect(self.daemon.admin("POST", "/v1/bounces", {
            "message_id": message_id, "action": "failed", "status": "5.1.1", "diagnostic": "smtp; 550 5.1.1 none"}), 200)
        self.expect(self.post(f"/v1/challenges/{made['id']}/check", {"code": code}), 200)
        # Its healing is the recipient's, whatever proved it.
        events = [event for event in self.read_all() if event.get("challenge") in (None, made["id"])]
        types = [event["type"] for event in events]
        for kind in ("message.bounced", "recipient.suppressed", "recipient.healed"):
            self.assertEqual(types.count(kind), 1, types)
        self.assertLess(types.index("recipient.suppressed"), types.index("recipient.healed"))
        suppressed = events[types.index("recipient.suppressed")]
        self.assertEqual(suppressed["detail"]["class"], "user-unknown")
        self.expect(self.daemon.admin("POST", "/v1/erase", {"recipient": "a@example.org"}), 200)
        erased = self.read_all()[-1]
        self.assertEqual((erased["type"], erased["actor"], erased["uid"]), ("recipient.erased", "operator", os.getuid()))
        self.assertGreater(erased["detail"]["rows"], 0)

    def test_no_secret_and_no_address(self):
        """Events go to logs and queues of apps: neither code nor body, and no address that an erasure would not reach."""
        self.up()
        self.create("very.private@example.org", data={"name": "Marker77"})
        code = self.daemon.code_for("very.private@example.org")
        self.all_relayed()
        text = str(self.read_all())
        for secret in (code, "Marker77", "very.private", "multipart"):
            self.assertNotIn(secret, text)


if __name__ == "__main__":
    unittest.main(verbosity=2)
