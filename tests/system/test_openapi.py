"""docs/openapi.yaml against running daemons: every call of both sockets, every answer's status, content type, headers and
body, and every code of a problem and name of a limit that can be provoked from outside."""
import contextlib
import json
import os
import re
import sys
import unittest

from harness import Client, SystemTest, Unix, wait_for, wrong_digits

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tests", "smtp"))
sys.path.insert(0, os.path.join(TOP, "tests", "ctl"))
from contract import METHODS, Contract  # noqa: E402
from scripted_relay import Rule, ScriptedRelay, reply  # noqa: E402

CONTRACT = Contract()
NOTE = {"note/template.toml": "", "note/en/subject.mustache": "A note of {{app}}\n",
        "note/en/text.mustache": "Something has changed.\n", "note/en/html.mustache": "<p>Something has changed.</p>\n"}
SOCKETS = ("apps", "operators")
NO_ID = "0190b5a0-7c1e-7e3a-9f00-0123456789ab"
NDJSON = "application/x-ndjson"
# Our own bug, a failing disk, and a daemon that is about to end: test_store_stress.py and test_start_stop.py.
NOT_FROM_HERE = {"internal", "storage_unavailable", "shutting_down"}


def documented():
    """{(operationId, socket)} of all calls."""
    return {(item[method]["operationId"], socket) for item in CONTRACT.document["paths"].values()
            for method in METHODS if method in item for socket in item[method]["x-sockets"]}


def enum_of(name):
    return set(CONTRACT.document["components"]["schemas"][name]["enum"])


class OpenApi(SystemTest):
    def setUp(self):
        self.calls = []  # (operationId, socket, status) of what was held against the contract
        self.codes, self.limits = set(), set()

    # -- one answer

    def call(self, path, socket, method, target, body=None, headers=None, status=None, code=None):
        """The answer of one call by the socket at `path`, as the contract allows it."""
        with Client(path) as client:
            response = client.request(method, target, body, headers)
        return self.held(socket, method, target, body, response, status, code)

    def held(self, socket, method, target, body, response, status=None, code=None):
        plain = target.partition("?")[0]
        operation = CONTRACT.operation(method, plain)
        self.assertIsNotNone(operation, f"{method} {plain} is not in the contract\n{response!r}")
        content_type = response.headers.get("content-type")
        if content_type == "application/vnd.sqlite3":
            told = response.body.decode("latin-1")
        else:
            told = response.body.decode() if content_type.startswith("text/") else response.json
        faults = CONTRACT.check(method, plain, response.status, content_type, told)
        self.assertEqual(faults, [], f"\n{response!r}")
        if status:
            self.assertEqual((response.status, response.code), (status, code), f"\n{response!r}")
        answer = CONTRACT.resolve(operation["responses"].get(str(response.status), operation["responses"]["default"]))
        for name, header in answer["headers"].items():
            header = CONTRACT.resolve(header)
            value = response.headers.get(name.lower())
            if header.get("required"):
                self.assertIsNotNone(value, f"{name}\n{response!r}")
            if value is not None:
                value = int(value) if header["schema"]["type"] == "integer" else value
                self.assertEqual(CONTRACT.faults(value, header["schema"], name), [], f"\n{response!r}")
        if response.status < 300 and isinstance(body, dict):
            asked = CONTRACT.resolve(operation["requestBody"])["content"]["application/json"]["schema"]
            self.assertEqual(CONTRACT.faults(body, asked) + CONTRACT.unknown(body, [asked]), [],
                             f"the daemon takes what the contract forbids\n{response!r}")
        if response.code:
            self.codes.add(response.code)
            if "limit" in response.json:
                self.limits.add(response.json["limit"]["name"])
        self.calls.append((operation["operationId"], socket, response.status))
        return told

    def of(self, daemon):
        """call() on the two sockets of a daemon."""
        def api(*words, **more):
            return self.call(daemon.api_socket, "apps", *words, **more)

        def admin(*words, **more):
            return self.call(daemon.admin_socket, "operators", *words, **more)
        return api, admin

    def follow(self, path, socket, last, accept=NDJSON, after="0"):
        """The events after a cursor up to the first that fits `last`, each as the contract has it."""
        connection = Unix(path)
        self.addCleanup(connection.close)
        # The cursor goes as a query or as a header, in turn.
        by_query = accept == NDJSON
        connection.request("GET", "/v1/events" + (f"?after={after}" if by_query else ""),
                           headers={"Accept": accept} if by_query else {"Accept": accept, "Last-Event-ID": after})
        answer = connection.getresponse()
        operation = CONTRACT.operation("GET", "/v1/events")
        content = operation["responses"]["200"]["content"]
        self.assertEqual(answer.status, 200)
        self.assertIn(answer.getheader("Content-Type"), content)
        self.assertEqual(answer.getheader("Content-Type"), accept)
        for name in operation["responses"]["200"]["headers"]:
            self.assertTrue(answer.getheader(name), name)
        self.calls.append((operation["operationId"], socket, 200))
        schema = content[NDJSON]["schema"]
        found, fields = [], {}
        for line in iter(answer.readline, b""):
            line = line.decode().rstrip("\n")
            if accept != NDJSON:
                name, _, value = line.partition(":")
                if line:
                    self.assertIn(name, ("", "id", "event", "data"), line)
                    fields[name] = value.removeprefix(" ")
                    continue
                line, seen, fields = fields.get("data"), fields, {}
                if line is None:
                    continue
                self.assertEqual((json.loads(line)["cursor"], json.loads(line)["type"]), (seen["id"], seen["event"]))
            event = json.loads(line)
            self.assertEqual(CONTRACT.faults(event, schema) + CONTRACT.unknown(event, [schema]), [], event)
            if socket == "apps":
                self.assertNotIn("uid", event)
            found.append(event)
            if last(event):
                connection.close()
                return found
        self.fail(f"the stream ended: {found}")

    def follow_both(self, daemon):
        """Everything that happened, as both sockets tell it and in both forms; the types."""
        api, _ = self.of(daemon)
        mark = api("POST", "/v1/challenges", {"recipient": "last@example.org", "send": False}, status=201)["id"]

        def is_last(event):
            return event.get("challenge") == mark
        of_app = self.follow(daemon.api_socket, "apps", is_last)
        of_all = self.follow(daemon.admin_socket, "operators", is_last)
        for accept, path, socket, events in (("text/event-stream", daemon.api_socket, "apps", of_app),
                                             ("text/event-stream", daemon.admin_socket, "operators", of_all)):
            self.assertEqual(self.follow(path, socket, is_last, accept), events)
        middle = of_all[len(of_all) // 2]["cursor"]
        self.assertEqual(self.follow(daemon.admin_socket, "operators", is_last, after=middle),
                         of_all[len(of_all) // 2 + 1:])
        return {event["type"] for event in of_all}

    # -- every call

    def test_every_call_of_both_sockets(self):
        """Development mode, where every path exists. Fails for a call of the contract that is not made here."""
        daemon = self.new_daemon()
        folder = os.path.join(daemon.folder, "templates")
        for name, text in NOTE.items():
            os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        daemon.write_config(daemon={"templates": folder})
        daemon.start()
        api, admin = self.of(daemon)
        full = {"recipient": "alice@example.org", "purpose": "quick", "locale": "de-AT", "template": "otp",
                "data": {"name": "Alice"}, "ttl_seconds": 600, "max_attempts": 5,
                "code": {"length": 6, "alphabet": "digits"}, "binding": {"session": "s", "amount": "39.99 EUR"},
                "client": {"ip": "203.0.113.9", "id": "device-1"}, "metadata": {"any": ["json", 1, None]}, "send": True,
                "suppressed": "refuse"}
        challenge = api("POST", "/v1/challenges", full, {"Idempotency-Key": "1"}, status=201)
        path = f"/v1/challenges/{challenge['id']}"
        self.assertEqual(api("POST", "/v1/challenges", full, {"Idempotency-Key": "1"}, status=201), challenge)
        code = daemon.code_for("alice@example.org")
        api("POST", f"{path}/send", {}, status=202)
        daemon.code_for("alice@example.org", 2)
        wrong = {"code": wrong_digits(code), "binding": full["binding"], "client": full["client"]}
        self.assertEqual(api("POST", f"{path}/check", wrong, status=200)["result"], "invalid")
        self.assertEqual(api("POST", f"{path}/check", {"code": code}, status=200)["result"], "binding_mismatch")
        self.assertEqual(api("POST", f"{path}/check", {**wrong, "code": code}, status=200)["result"], "valid")
        self.assertEqual(api("POST", f"{path}/check", {**wrong, "code": code}, status=200)["result"], "already_used")
        for seen in (api, admin):
            seen("GET", path, status=200)
            seen("GET", f"{path}?wait=1&revision=0", status=200)
        short = {"email": "bob@example.org", "purpose": "quick", "client": {"ip": "2001:db8::1", "id": None}}
        api("POST", "/v1/otp/generate", short, status=201)
        api("POST", "/v1/otp/generate", short, status=202)
        api("POST", "/v1/otp/verify", {"email": "bob@example.org", "otp": "0", "purpose": "quick"}, status=200)
        api("POST", "/v1/otp/verify", {"email": "nobody@example.org", "otp": "0"}, status=200)
        other = api("POST", "/v1/challenges", {"recipient": "carol@example.org", "send": False}, status=201)
        self.assertIsNone(other["message"])
        api("POST", f"/v1/challenges/{other['id']}/cancel", {}, status=200)
        self.assertEqual(api("POST", f"/v1/challenges/{other['id']}/check", {"code": "0"}, status=200)["result"], "canceled")
        message = challenge["message"]["id"]
        for seen in (api, admin):
            wait_for(lambda seen=seen: seen("GET", f"/v1/messages/{message}", status=200)["state"] == "relayed", "it left")
            seen("GET", f"/v1/messages/{message}?wait=1&revision=0", status=200)
            seen("GET", "/v1/recipients/alice%40example.org", status=200)
            captured = seen("GET", "/v1/captured?limit=1&recipient=alice@example.org", status=200)
            seen("GET", f"/v1/captured?cursor={captured['next_cursor']}", status=200)
            for plain in ("/v1", "/healthz", "/readyz"):
                seen("GET", plain, status=200)
            self.assertTrue(seen("GET", "/v1/openapi.json", status=200) == CONTRACT.document,
                            "it serves another document than docs/openapi.yaml")
        page = admin("GET", "/v1/outbox?limit=1", status=200)
        admin("GET", f"/v1/outbox?limit=500&cursor={page['next_cursor']}&app=default&relay=capture", status=200)
        admin("GET", "/v1/outbox?state=relayed&recipient=alice@example.org", status=200)
        admin("GET", f"/v1/outbox/{message}", status=200)
        admin("GET", "/v1/relays", status=200)
        admin("POST", "/v1/relays/capture/suspend", {}, status=200)
        waiting = api("POST", "/v1/challenges", {"recipient": "emil@example.org"}, status=201)["message"]["id"]
        for order, state in (("hold", "held"), ("release", "queued"), ("retry", "queued"), ("cancel", "canceled")):
            self.assertEqual(admin("POST", f"/v1/outbox/{waiting}/{order}", {}, status=200)["state"], state)
        self.assertEqual(admin("POST", "/v1/outbox/flush", {}, status=200), {"flushed": 0})
        for order in ("resume", "test"):
            admin("POST", f"/v1/relays/capture/{order}", {}, status=200)
        note = {"recipient": "alice@example.org", "template": "note", "data": None, "locale": "de", "not_after": None,
                "metadata": 1}
        api("POST", "/v1/messages", note, status=201)
        admin("GET", "/v1/templates?app=default", status=200)
        use = {"locale": "de", "data": {"name": "Alice"}, "purpose": "quick", "app": None, "binding": None}
        admin("POST", "/v1/templates/otp/preview", use, status=200)
        admin("POST", "/v1/templates/note/preview", status=200)
        admin("POST", "/v1/templates/otp/test-send", {"recipient": "tester@example.org", **use}, status=201)
        message_id = api("GET", f"/v1/messages/{message}")["message_id"]
        for action, status in (("delayed", "4.4.1"), ("failed", "5.1.1"), ("failed", "5.1.1")):
            admin("POST", "/v1/bounces", {"message_id": message_id, "action": action, "status": status,
                                          "diagnostic": "smtp; 550 no such user"}, status=200)
        admin("GET", "/v1/bounces?recipient=alice@example.org&kind=bounce&class=user-unknown", status=200)
        admin("GET", f"/v1/bounces?message={message}", status=200)
        admin("PUT", "/v1/suppressions/dora%40example.org", {"class": "user-unknown", "until": None}, status=200)
        self.assertEqual(len(admin("GET", "/v1/suppressions", status=200)["items"]), 2)
        for seen in (api, admin):
            seen("GET", "/v1/recipients/dora%40example.org", status=200)
        admin("DELETE", "/v1/suppressions/dora%40example.org", status=200)
        admin("GET", "/v1/stats", status=200)
        self.assertIn("\nmailotpd_ready 1\n", admin("GET", "/metrics", status=200))
        timeline = admin("GET", "/v1/timeline?recipient=Alice@example.org&limit=500", status=200)
        self.assertGreater(len(timeline["items"]), 4)
        admin("GET", f"/v1/timeline?message={message}", status=200)
        admin("GET", f"/v1/timeline?challenge={NO_ID}", status=404, code="not_found")
        admin("GET", "/v1/keys", status=200)
        self.assertTrue(admin("GET", "/v1/backup", status=200).startswith("SQLite format 3\0"))
        admin("POST", "/v1/reload", {}, status=200)
        types = self.follow_both(daemon)
        self.assertGreater(admin("POST", "/v1/erase", {"recipient": "alice@example.org"}, status=200)["rows"], 0)
        self.assertEqual(admin("POST", "/v1/erase", {"recipient": "alice@example.org"}, status=200)["rows"], 0)
        types |= self.follow_both(daemon)
        self.assertLessEqual({"challenge.created", "challenge.sent", "challenge.checked", "challenge.canceled",
                              "message.queued", "message.relayed", "message.bounced", "message.held", "message.canceled",
                              "recipient.suppressed",
                              "recipient.healed", "recipient.reported", "recipient.erased"}, types)
        made = {(operation, socket) for operation, socket, status in self.calls if status < 300}
        self.assertEqual(documented() - made, set(), "calls of the contract that nobody has made")

    # -- what else the daemon answers

    def test_no_path_is_missing(self):
        """A path stands in the source as one literal: none that the contract lacks, and none that it invents."""
        folder = os.path.join(TOP, "daemon", "api")
        found = set()
        for name in os.listdir(folder):
            if name.endswith(".cpp"):
                with open(os.path.join(folder, name), encoding="utf-8") as source:
                    found |= set(re.findall(r'"(/[a-z][^" ?]*[^"/ ?])"', source.read()))
        self.assertEqual(found, set(CONTRACT.document["paths"]))

    def test_no_method_is_missing(self):
        """A path answers 405 to a method that it does not know, and names those that it does: the contract's, on that
        socket."""
        daemon = self.new_daemon()
        daemon.start()
        for path, item in CONTRACT.document["paths"].items():
            concrete = re.sub(r"\{id\}", NO_ID, re.sub(r"\{address\}", "a%40example.org", path.replace("{name}", "capture")))
            for socket, at in zip(SOCKETS, (daemon.api_socket, daemon.admin_socket)):
                methods = {method.upper() for method in METHODS
                           if method in item and socket in item[method]["x-sockets"]}
                for method in {"GET", "POST", "PUT", "DELETE"} - methods:
                    with self.subTest(path=path, socket=socket, method=method), Client(at) as client:
                        response = client.request(method, concrete)
                        if methods:
                            self.expect(response, 405, "method_not_allowed")
                            self.assertEqual(set(response.headers["allow"].split(", ")), methods)
                        else:
                            self.expect(response, 404, "not_found")

    # -- what is refused

    def test_refused_requests(self):
        """400, 403, 404, 409, 413, 422 and 431, on each call that can answer them."""
        daemon = self.new_daemon(app=[{"name": "shop", "uids": [os.getuid()], "purposes": ["login", "quick"]}])
        daemon.start()
        api, admin = self.of(daemon)
        made = api("POST", "/v1/challenges", {"recipient": "a@example.org", "purpose": "quick"}, {"Idempotency-Key": "k"},
                   status=201)
        path = f"/v1/challenges/{made['id']}"
        posts = {"/v1/challenges": {"recipient": "b@example.org"}, "/v1/otp/generate": {"email": "b@example.org"},
                 "/v1/otp/verify": {"email": "b@example.org", "otp": "1"},
                 "/v1/messages": {"recipient": "b@example.org", "template": "otp"}, f"{path}/check": {"code": "1"},
                 f"{path}/send": {}, f"{path}/cancel": {}}
        for target, body in posts.items():
            api("POST", target, b"{", status=400, code="malformed_request")
            api("POST", target, {**body, "no": 1}, status=400, code="invalid_field")
            api("POST", target, body, {"Idempotency-Key": "ä".encode("latin-1")}, status=400, code="invalid_field")
            api("POST", target, body, {"Idempotency-Key": "k"}, status=409, code="idempotency_mismatch")
            api("POST", target, b" " * 70000, status=413, code="too_large")
            api("POST", target, body, {"X": "x" * 20000}, status=431, code="headers_too_large")
            for foreign in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
                api("POST", target, body, foreign, status=403, code="cross_site")
        for target, name in (("/v1/challenges", "recipient"), ("/v1/otp/generate", "email"), ("/v1/otp/verify", "email"),
                             ("/v1/messages", "recipient")):
            api("POST", target, {**posts[target], name: "nobody"}, status=400, code="invalid_recipient")
        for target in ("/v1/challenges", "/v1/otp/generate", "/v1/otp/verify"):
            api("POST", target, {**posts[target], "purpose": "once"}, status=403, code="purpose_not_allowed")
        for call in ("send", "check", "cancel"):
            body = {"code": "1"} if call == "check" else {}
            api("POST", f"/v1/challenges/{NO_ID}/{call}", body, status=404, code="not_found")
        api("POST", "/v1/challenges", {"recipient": "b@example.org", "template": "none"}, status=422, code="template_unknown")
        api("POST", "/v1/challenges", {"recipient": "b@example.org", "data": {"x": "y"}}, status=422, code="template_failed")
        code = daemon.code_for("a@example.org")
        self.assertTrue(api("POST", f"{path}/check", {"code": code}, status=200)["valid"])
        for call in ("send", "cancel"):
            api("POST", f"{path}/{call}", {}, status=409, code="challenge_closed")
        for seen in (api, admin):
            for kind in ("challenges", "messages"):
                seen("GET", f"/v1/{kind}/{NO_ID}", status=404, code="not_found")
                seen("GET", f"/v1/{kind}/{NO_ID}?wait=61", status=400, code="invalid_field")
            seen("GET", "/v1/recipients/nobody", status=400, code="invalid_recipient")
            seen("GET", "/v1/events?after=7fffffffffffffff", status=400, code="invalid_field")
            seen("GET", "/v1/events?after=x", status=400, code="invalid_field")
            seen("GET", "/v1/captured?limit=501", status=400, code="invalid_field")
            for target in ("/v1", "/healthz", "/readyz", "/v1/openapi.json", "/v1/events", f"/v1/messages/{NO_ID}"):
                seen("GET", target, None, {"Origin": "https://evil.example"}, status=403, code="cross_site")
        for target in ("/v1/outbox?state=lost", "/v1/outbox?limit=0", "/v1/outbox?cursor=x", "/v1/bounces?kind=x",
                       "/v1/bounces?cursor=x", "/v1/bounces?message=x", "/v1/suppressions?recipient=x",
                       "/v1/suppressions?cursor=x"):
            admin("GET", target, status=400, code="invalid_field")
        admin("GET", f"/v1/outbox/{NO_ID}", status=404, code="not_found")
        for order in ("suspend", "resume", "test"):
            admin("POST", f"/v1/relays/none/{order}", {}, status=404, code="not_found")
        admin("POST", "/v1/relays/capture/suspend", {"x": 1}, status=400, code="invalid_field")
        message = made["message"]["id"]
        wait_for(lambda: admin("GET", f"/v1/outbox/{message}", status=200)["state"] == "relayed", "it left")
        for order in ("retry", "hold", "release", "cancel"):
            admin("POST", f"/v1/outbox/{message}/{order}", {}, status=409, code="message_closed")
            admin("POST", f"/v1/outbox/{message}/{order}", {"x": 1}, status=400, code="invalid_field")
            admin("POST", f"/v1/outbox/{NO_ID}/{order}", {}, status=404, code="not_found")
        admin("POST", "/v1/outbox/flush", {"x": 1}, status=400, code="invalid_field")
        admin("POST", "/v1/bounces", {"message_id": "x", "action": "lost"}, status=400, code="invalid_field")
        admin("POST", "/v1/bounces", {"message_id": "x", "action": "failed"}, status=404, code="not_found")
        admin("PUT", "/v1/suppressions/a%40example.org", {"class": "x"}, status=400, code="invalid_field")
        admin("PUT", "/v1/suppressions/nobody", {"class": "spam"}, status=400, code="invalid_recipient")
        admin("DELETE", "/v1/suppressions/a%40example.org", status=404, code="not_found")
        admin("POST", "/v1/erase", {}, status=400, code="invalid_field")
        admin("POST", "/v1/erase", {"recipient": "nobody"}, status=400, code="invalid_recipient")
        admin("GET", "/v1/templates?app=none", status=400, code="invalid_field")
        for call, body in (("preview", {}), ("test-send", {"recipient": "t@example.org"})):
            admin("POST", f"/v1/templates/none/{call}", body, status=404, code="not_found")
            admin("POST", f"/v1/templates/otp/{call}", {**body, "app": "none"}, status=400, code="invalid_field")
            admin("POST", f"/v1/templates/otp/{call}", {**body, "data": {"x": "y"}}, status=422, code="template_failed")
        admin("POST", "/v1/templates/otp/test-send", {}, status=400, code="invalid_field")
        admin("POST", "/v1/templates/otp/test-send", {"recipient": "nobody"}, status=400, code="invalid_recipient")
        admin("POST", "/v1/reload", {"x": 1}, status=400, code="invalid_field")
        with open(daemon.config, "a", encoding="utf-8") as config:
            config.write("[nonsense]\n")
        admin("POST", "/v1/reload", {}, status=422, code="configuration_invalid")
        admin("PUT", "/v1/suppressions/dead%40example.org", {"class": "user-unknown"}, status=200)
        for target in ("/v1/challenges", "/v1/otp/generate"):
            name = "email" if "otp" in target else "recipient"
            api("POST", target, {name: "dead@example.org"}, status=422, code="recipient_suppressed")
        self.assertEqual(self.codes, enum_of("ProblemCode") - NOT_FROM_HERE
                         - {"app_unknown", "method_not_allowed", "rate_limited", "resend_cooldown", "sends_exhausted",
                            "too_many_waits", "overloaded"})

    def test_who_is_no_app(self):
        """403 app_unknown on every call of the apps' socket but those that need no app."""
        daemon = self.new_daemon(app=[{"name": "shop", "uids": [54321]}])
        daemon.start()
        api, _ = self.of(daemon)
        free = {"/v1", "/v1/openapi.json", "/healthz", "/readyz"}
        count = 0
        for path, item in CONTRACT.document["paths"].items():
            for method in METHODS:
                if method in item and "apps" in item[method]["x-sockets"] and path not in free:
                    target = path.replace("{id}", NO_ID).replace("{address}", "a%40example.org")
                    api(method.upper(), target, {} if method == "post" else None, status=403, code="app_unknown")
                    count += 1
        self.assertGreater(count, 10)
        for path in free:
            api("GET", path, status=200)

    def test_every_limit_by_its_name(self):
        """429 with each name that the contract has."""
        limits = {"to": {"recipient_sends": ["1/1h"]}, "wrong": {"recipient_failures": ["1/1d"]},
                  "net": {"client_sends": ["1/1h"]}, "app": {"app_sends": ["1/1h"]}, "plain": {}, "much": {}}
        none = {"recipient_sends": [], "recipient_failures": [], "client_sends": [], "app_sends": []}
        daemon = self.new_daemon()
        sockets = {name: os.path.join(daemon.folder, name + ".sock") for name in limits}
        daemon.write_config(limits={**none, "global_sends": ["7/1h"]}, brake={"ratio": 2, "floor": 2, "period": "10m"},
                            app=[{"name": name, "socket": sockets[name]} for name in limits],
                            **{"purpose.slow": {"cooldown": "1m"}})
        with open(daemon.config, encoding="utf-8") as config:
            text = config.read()
        for name, own in limits.items():  # an inline table, which the harness does not write
            said = ", ".join(f"{key} = {json.dumps(value)}" for key, value in {**none, **own}.items())
            text = text.replace(f'name = "{name}"\nsocket', f'name = "{name}"\nlimits = {{ {said} }}\nsocket')
        with open(daemon.config, "w", encoding="utf-8") as config:
            config.write(text)
        daemon.start()

        def by(name, *words, **more):
            return self.call(sockets[name], "apps", *words, **more)

        def create(name, recipient, **more):
            return by(name, "POST", "/v1/challenges", {"recipient": recipient, "purpose": "quick", **more})
        create("to", "a@example.org")
        by("to", "POST", "/v1/challenges", {"recipient": "A+tag@example.org", "purpose": "quick"}, status=429, code="rate_limited")
        by("to", "POST", "/v1/otp/generate", {"email": "a@example.org", "purpose": "quick"}, status=429, code="rate_limited")
        made = create("wrong", "a@example.org")
        code = wait_for(lambda: [mail for mail in self.call(sockets["wrong"], "apps", "GET", "/v1/captured")["items"]],
                        "the mail comes")[0]["text"]
        code = re.search(r"^\s*(\d{6})\s*$", code, re.MULTILINE).group(1)
        path = f"/v1/challenges/{made['id']}/check"
        by("wrong", "POST", path, {"code": wrong_digits(code)}, status=200)
        by("wrong", "POST", path, {"code": code}, status=429, code="rate_limited")
        by("wrong", "POST", "/v1/otp/verify", {"email": "a@example.org", "otp": code, "purpose": "quick"}, status=429,
           code="rate_limited")
        create("net", "a@example.org", client={"ip": "192.0.2.1"})
        by("net", "POST", "/v1/challenges", {"recipient": "b@example.org", "client": {"ip": "::ffff:192.0.2.1"}}, status=429,
           code="rate_limited")
        create("app", "a@example.org")
        by("app", "POST", "/v1/challenges", {"recipient": "b@example.org"}, status=429, code="rate_limited")
        # The challenge's own.
        slow = by("plain", "POST", "/v1/challenges", {"recipient": "s@example.org", "purpose": "slow"})
        by("plain", "POST", f"/v1/challenges/{slow['id']}/send", {}, status=429, code="resend_cooldown")
        once = create("plain", "o@example.org", purpose="once")
        by("plain", "POST", f"/v1/challenges/{once['id']}/send", {}, status=429, code="sends_exhausted")
        by("plain", "POST", "/v1/challenges", {"recipient": "p@example.org"}, status=429, code="rate_limited")
        self.assertIn("brake", self.limits)
        ready = self.call(daemon.admin_socket, "operators", "GET", "/readyz", status=200)
        self.assertIn("plain", ready["braked"])
        # Six were sent. The seventh is the last one of all apps together.
        create("much", "a@example.org")
        by("much", "POST", "/v1/challenges", {"recipient": "b@example.org"}, status=429, code="rate_limited")
        self.waits_and_streams(sockets["plain"], made=slow["id"])
        self.assertEqual(self.limits, enum_of("LimitName"))

    def waits_and_streams(self, path, made):
        """As many as one uid may have, and one more."""
        seen = self.call(path, "apps", "GET", f"/v1/challenges/{made}")
        target = f"/v1/challenges/{made}?wait=60&revision={seen['revision'] + 1000}"
        open_now = []
        self.addCleanup(lambda: [one.close() for one in open_now])
        for kind, most in ((target, 64), ("/v1/events", 16)):
            for _ in range(most):
                connection = Unix(path)
                connection.request("GET", kind)
                open_now.append(connection)
            refused = []

            def one_more(kind=kind, refused=refused):
                # Those before it may not have been taken yet: then this one waits in their stead, and is left.
                connection = Unix(path, timeout=2)
                open_now.append(connection)
                connection.request("GET", kind)
                with contextlib.suppress(TimeoutError):
                    answer = connection.getresponse()
                    if answer.status == 429:
                        refused.append((answer.status, answer.getheaders(), answer.read()))
                return refused
            status, headers, body = wait_for(one_more, f"one more than {most} is refused")[0]
            faults = CONTRACT.check("GET", kind.partition("?")[0], status, dict(headers)["Content-Type"], json.loads(body))
            self.assertEqual(faults, [])
            self.limits.add(json.loads(body)["limit"]["name"])

    def test_answers_under_trouble(self):
        """A relay that refuses, one that is down, an outbox that is full, production mode."""
        relay = ScriptedRelay([Rule("rcpt", reply("550 5.1.1 no such user here"), nth=1),
                               Rule("rcpt", reply("451 4.3.0 not now"), nth=2)]).start()
        self.addCleanup(relay.stop)
        at = {"name": "only", "host": "127.0.0.1", "port": relay.port, "tls": "none", "auth": "none"}
        daemon = self.new_daemon(daemon={"mode": "production"}, relay=[at], delivery={"max_open_messages": 1})
        daemon.start()
        api, admin = self.of(daemon)
        made = api("POST", "/v1/challenges", {"recipient": "nobody@example.org"}, status=201)
        shown = wait_for(lambda: (lambda c: c if c["message"]["verdict"] else None)(
            api("GET", f"/v1/challenges/{made['id']}", status=200)), "the verdict comes")
        self.assertEqual(shown["message"]["verdict"]["class"], "user-unknown")
        api("POST", "/v1/challenges", {"recipient": "nobody@example.org"}, status=422, code="recipient_suppressed")
        deferred = api("POST", "/v1/challenges", {"recipient": "later@example.org"}, status=201)["message"]["id"]
        api("POST", "/v1/challenges", {"recipient": "more@example.org"}, status=503, code="overloaded")
        wait_for(lambda: admin("GET", f"/v1/outbox/{deferred}", status=200)["attempts"] > 0, "it was tried")
        for seen in (api, admin):
            seen("GET", "/v1/captured", status=404, code="not_found")
        relay.stop()
        wait_for(lambda: not admin("GET", "/readyz")["ready"], "the relay is seen to be down")
        for seen in (api, admin):
            seen("GET", "/readyz", status=503)
        admin("POST", "/v1/relays/only/test", {}, status=200)
        admin("GET", "/v1/relays", status=200)


if __name__ == "__main__":
    unittest.main(verbosity=2)
