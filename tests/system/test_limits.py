"""Budgets from outside: sends and failures counted across codes, spellings, restarts and clocks; every 429 names its
limit; the brake. The exact windows are tests/store/limits_test.cpp's part."""
import datetime
import os
import re
import shutil
import tempfile
import threading
import unittest

from harness import (BIN, BOUND, Client, Raw, SharedDaemonTest, SystemTest, http_bytes, wait_for, wrong_digits)

FAULTY_HOST = os.environ.get("MAILOTP_FAULTY_HOST", os.path.join(BIN, os.pardir, "tests", "faulty_host.so"))
CONNECTIONS = 64
HOUR = 3600
QUARTER = 900


def now():
    return datetime.datetime.now(datetime.timezone.utc)


class LimitsTest(SystemTest):
    """What all of them ask; `self.daemon` is the one."""

    daemon = None

    def ask(self, recipient, socket_path=None, **fields):
        """The answer to a new challenge, and when it was asked for and had."""
        before = now()
        with Client(socket_path or self.daemon.api_socket) as client:
            response = client.request("POST", "/v1/challenges", {"recipient": recipient, "purpose": "quick", **fields})
        self.asked = (before, now())
        return response

    def made(self, recipient, socket_path=None, **fields):
        return self.expect(self.ask(recipient, socket_path, **fields), 201)

    def post(self, target, body=None):
        before = now()
        response = self.daemon.api("POST", target, {} if body is None else body)
        self.asked = (before, now())
        return response

    def check(self, challenge, code, **fields):
        return self.post(f"/v1/challenges/{challenge['id']}/check", {"code": code, **fields})

    def verify(self, address, code, **fields):
        return self.post("/v1/otp/verify", {"email": address, "otp": code, "purpose": "quick", **fields})

    def shown(self, challenge):
        return self.expect(self.daemon.api("GET", f"/v1/challenges/{challenge['id']}"), 200)

    def stats(self):
        return self.expect(self.daemon.admin("GET", "/v1/stats"), 200)

    def assert_limited(self, response, name, most, period, off=0, late=0):
        """A 429 that names this limit, with times that agree; `off`: seconds by which the daemon's clock differs, `late`:
        by which it may refill after its period."""
        problem = self.expect(response, 429, "rate_limited")
        limit = problem["limit"]
        self.assertEqual((limit["name"], limit["max"], limit["period_seconds"]), (name, most, period), problem)
        self.assertTrue(1 <= problem["retry_after"] <= period + late, problem)
        self.assertIn(name, problem["detail"])
        self.assertEqual(response.headers["retry-after"], str(problem["retry_after"]))
        # retry_after is the time to reset_at in whole seconds, rounded up.
        asked_at = datetime.datetime.fromisoformat(limit["reset_at"]) - datetime.timedelta(seconds=problem["retry_after"])
        before, after = (moment + datetime.timedelta(seconds=off) for moment in self.asked)
        millisecond = datetime.timedelta(milliseconds=2)
        self.assertLessEqual(asked_at, after + millisecond, problem)
        self.assertGreater(asked_at + datetime.timedelta(seconds=1) + millisecond, before, problem)
        return limit


class Shared(LimitsTest, SharedDaemonTest):
    def setUp(self):
        super().setUp()
        self.daemon = self.shared

    def post(self, target, body=None, headers=None):
        return LimitsTest.post(self, target, body)

    def check(self, challenge, code, **fields):
        return LimitsTest.check(self, challenge, code, **fields)


class Sends(Shared):
    TABLES = {"limits": {"recipient_sends": ["3/15m", "5/1h"]}, "purpose.other": {"cooldown": "0s"}}

    def assert_full(self, recipient):
        self.assert_limited(self.ask(recipient), "recipient_sends", 3, QUARTER)

    def test_new_challenges(self):
        left = [self.made(self.address())["sends_left"] for _ in range(3)]
        self.assertEqual(left, [2, 1, 0], "the smaller of what the challenge and the limits leave")
        self.assert_full(self.address())
        # Another purpose has a budget of its own.
        self.made(self.address(), purpose="other")

    def test_resends(self):
        challenge = self.made(self.address())
        for left in (1, 0):
            sent = self.expect(self.post(f"/v1/challenges/{challenge['id']}/send"), 202)
            self.assertEqual(sent["sends_left"], left)
            self.assertEqual(self.shown(challenge)["sends_left"], left)
        self.assert_limited(self.post(f"/v1/challenges/{challenge['id']}/send"), "recipient_sends", 3, QUARTER)
        self.assert_full(self.address())
        # None can be sent while this challenge lives.
        self.assertIsNone(self.shown(challenge)["resend_at"])

    def test_short_form(self):
        body = {"email": self.address(), "purpose": "quick"}
        self.expect(self.post("/v1/otp/generate", body), 201)
        self.expect(self.post("/v1/otp/generate", body), 202)
        self.made(self.address())
        self.assert_limited(self.post("/v1/otp/generate", body), "recipient_sends", 3, QUARTER)
        # A challenge that a right code has ended leaves its sends counted.
        code = self.shared.code_for(self.address(), 3)
        self.assertTrue(self.expect(self.verify(self.address(), code), 200)["valid"])
        self.assert_limited(self.post("/v1/otp/generate", body), "recipient_sends", 3, QUARTER)

    def test_a_challenge_that_is_not_sent_yet_counts_when_it_is(self):
        challenges = [self.made(self.address(), send=False) for _ in range(4)]
        self.assertEqual({one["sends_left"] for one in challenges}, {3})
        for challenge in challenges[:3]:
            self.expect(self.post(f"/v1/challenges/{challenge['id']}/send"), 202)
        self.assert_limited(self.post(f"/v1/challenges/{challenges[3]['id']}/send"), "recipient_sends", 3, QUARTER)

    def test_spellings(self):
        groups = (
            ["ann.bee@example.org", "Ann.BEE@EXAMPLE.org", "ann.bee+shop@example.org", "ANN.bee+x+y@Example.Org"],
            ["cat.dee@gmail.com", "catdee@gmail.com", "c.a.t.d.e.e+tag@GMAIL.com", "CatDee@gmail.com"],
            ["eve@b\u00fccher.example", "eve@xn--bcher-kva.example", "Eve@B\u00dcCHER.example", "eve+1@XN--BCHER-KVA.example"],
        )
        for group in groups:
            for spelling in group[:3]:
                with self.subTest(spelling):
                    self.made(spelling)
            for spelling in (group[3], group[0]):
                with self.subTest(spelling):
                    self.assert_full(spelling)
                    self.assert_limited(self.post("/v1/otp/generate", {"email": spelling, "purpose": "quick"}),
                                        "recipient_sends", 3, QUARTER)
        # Where dots tell mailboxes apart they are no spelling.
        self.made("annbee@example.org")

    def test_what_is_refused_leaves_nothing(self):
        for _ in range(3):
            self.made(self.address())
        self.shared.code_for(self.address(), 3)

        def open_ones():
            counts = self.stats()["messages"]
            return counts["queued"] + counts["sending"]
        wait_for(lambda: open_ones() == 0, "all has left")
        before = self.stats()
        rows = self.expect(self.shared.admin("GET", f"/v1/outbox?recipient={self.address()}"), 200)["items"]
        for number in range(20):
            self.assert_full(self.address())
            self.assert_full(f"+{number}@".join(self.address().split("@")))
        after = self.stats()
        for key in ("accepted_total", "ended_total", "challenges", "messages"):
            self.assertEqual(after[key], before[key], key)
        again = self.expect(self.shared.admin("GET", f"/v1/outbox?recipient={self.address()}"), 200)["items"]
        self.assertEqual([row["id"] for row in again], [row["id"] for row in rows])
        self.assertEqual(len(self.shared.mails_to(self.address())), 3)

    def test_at_once(self):
        """64 that ask at one instant are three."""
        request = http_bytes("POST", "/v1/challenges", {"recipient": self.address(), "purpose": "quick"})
        connections = [Raw(self.shared.api_socket) for _ in range(CONNECTIONS)]
        for connection in connections:
            self.addCleanup(connection.close)
        for connection in connections:
            connection.send(request)
        statuses = sorted(connection.response().status for connection in connections)
        self.assertEqual(statuses, [201] * 3 + [429] * (CONNECTIONS - 3))


class Kept(LimitsTest):
    """The windows outlive the daemon, its death and the clock."""

    LIMITS = {"limits": {"recipient_sends": ["3/1h"], "recipient_failures": ["4/1h"], "client_sends": ["5/1h"]},
              "purpose.quick": {"cooldown": "0s", "max_sends": 5, "ttl": "1h"}}

    def spend(self):
        self.challenges = [self.made("a@example.org", client={"ip": "192.0.2.7"}) for _ in range(3)]
        code = self.daemon.code_for("a@example.org", 3)
        self.codes = {code}
        for _ in range(4):
            self.assertEqual(self.expect(self.check(self.challenges[0], "no-digits"), 200)["result"], "invalid")
        for number in range(2):
            self.made(f"other{number}@example.org", client={"ip": "192.0.2.7"})

    def assert_spent(self, off=0):
        self.assert_limited(self.ask("A+x@example.org"), "recipient_sends", 3, HOUR, off)
        self.assert_limited(self.post(f"/v1/challenges/{self.challenges[2]['id']}/send"), "recipient_sends", 3, HOUR, off)
        self.assert_limited(self.check(self.challenges[2], "000000"), "recipient_failures", 4, HOUR, off)
        self.assert_limited(self.ask("other@example.org", client={"ip": "192.0.2.7"}), "client_sends", 5, HOUR, off)

    def test_restart_and_kill(self):
        self.daemon = self.new_daemon(**self.LIMITS)
        self.daemon.start()
        self.spend()
        self.assert_spent()
        self.assertEqual(self.daemon.stop(), 0, self.daemon.log_tail())
        self.daemon.start()
        self.assert_spent()
        for _ in range(2):
            self.daemon.kill()
            self.daemon.start()
            self.assert_spent()

    def test_each_send_counts_across_kills(self):
        """Killed right after each answer: none is forgotten."""
        self.daemon = self.new_daemon(**self.LIMITS)
        for _ in range(3):
            self.daemon.start()
            self.made("b@example.org")
            self.daemon.kill()
        self.daemon.start()
        self.assert_limited(self.ask("b@example.org"), "recipient_sends", 3, HOUR)

    def test_clock_that_is_set(self):
        """A step neither opens a window nor keeps one shut: what was an hour stays an hour."""
        for step in (2 * HOUR, -2 * HOUR):
            with self.subTest(step=step):
                faults = tempfile.mkdtemp(prefix="mailotp-faults-")
                self.addCleanup(shutil.rmtree, faults)
                self.daemon = self.new_daemon(**self.LIMITS)
                options = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0"]))
                preload = {"LD_PRELOAD": FAULTY_HOST, "MAILOTP_FAULTS": faults, "ASAN_OPTIONS": options}
                self.daemon.launch(preload)
                self.daemon.wait_ready()
                self.spend()
                with open(os.path.join(faults, "clock.new"), "w", encoding="ascii") as file:
                    file.write(str(step))
                os.rename(os.path.join(faults, "clock.new"), os.path.join(faults, "clock"))
                wait_for(lambda: "event=clock_stepped" in self.daemon.log(), self.daemon.log_tail)
                self.assert_spent(off=step)
                self.daemon.kill()
                self.daemon.launch(preload)
                self.daemon.wait_ready()
                self.assert_spent(off=step)


class Clients(Shared):
    TABLES = {"limits": {"client_sends": ["3/1h"]}}

    def spend(self, *addresses):
        for number, ip in enumerate(addresses):
            self.made(f"{number}.{self.address()}", client={"ip": ip})

    def assert_full(self, ip):
        self.assert_limited(self.ask(self.address("full"), client={"ip": ip}), "client_sends", 3, HOUR)

    def test_ipv4_and_mapped(self):
        self.spend("203.0.113.9", "::ffff:203.0.113.9", "::ffff:cb00:7109")
        for ip in ("203.0.113.9", "::ffff:203.0.113.9", "0:0:0:0:0:FFFF:203.0.113.9"):
            self.assert_full(ip)
        self.made(self.address(), client={"ip": "203.0.113.10"})
        self.made(self.address())  # nobody is not somebody

    def test_network_of_ipv6(self):
        self.spend("2001:db8:0:1::1", "2001:DB8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0000:0001::")
        self.assert_full("2001:db8:0:1::77")
        self.made(self.address(), client={"ip": "2001:db8:0:2::1"})
        self.made(self.address(), client={"ip": "2001:db8:1:1::1"})

    def test_resends_count_for_who_asked_first(self):
        challenge = self.made(self.address(), client={"ip": "198.51.100.3"})
        self.assertEqual(challenge["sends_left"], 2)
        for _ in range(2):
            self.expect(self.post(f"/v1/challenges/{challenge['id']}/send"), 202)
        self.assert_limited(self.post(f"/v1/challenges/{challenge['id']}/send"), "client_sends", 3, HOUR)
        self.assert_full("198.51.100.3")

    def test_short_form(self):
        for number in range(3):
            self.expect(self.post("/v1/otp/generate", {"email": f"{number}.{self.address()}", "purpose": "quick",
                                                       "client": {"ip": "198.51.100.4"}}), 201)
        self.assert_limited(self.post("/v1/otp/generate", {"email": self.address(), "purpose": "quick",
                                                           "client": {"ip": "198.51.100.4"}}), "client_sends", 3, HOUR)

    def test_what_is_refused_is_not_counted(self):
        self.spend("198.51.100.5", "198.51.100.5")
        for _ in range(10):
            self.expect(self.ask("no address", client={"ip": "198.51.100.5"}), 400, "invalid_recipient")
            self.expect(self.ask(self.address(), template="none", client={"ip": "198.51.100.5"}), 422)
        self.made(self.address("third"), client={"ip": "198.51.100.5"})
        self.assert_full("198.51.100.5")

    def test_what_is_no_address(self):
        for ip in ("203.0.113", "203.0.113.256", "::g", "example.org", "203.0.113.9 ", "2001:db8::/64", "fe80::1%eth0"):
            with self.subTest(ip):
                problem = self.expect(self.ask(self.address(), client={"ip": ip}), 400, "invalid_field")
                self.assertEqual(problem["field"], "client.ip")


class Totals(LimitsTest):
    """app_sends, global_sends, and limits that an app has of its own."""

    def up(self, apps, **limits):
        self.daemon = self.new_daemon()
        self.sockets = {app["name"]: os.path.join(self.daemon.folder, app["name"] + ".sock") for app in apps}
        self.daemon.write_config(app=[{**app, "socket": self.sockets[app["name"]]} for app in apps], limits=limits)
        self.daemon.start()

    def by(self, app, recipient, **fields):
        return self.ask(recipient, self.sockets[app], **fields)

    def write_app_limits(self, app, **limits):
        """An inline table, which the harness does not write."""
        with open(self.daemon.config, encoding="utf-8") as file:
            text = file.read()
        inline = ", ".join(f"{key} = {[*value]}".replace("'", '"') for key, value in limits.items())
        text = text.replace(f'name = "{app}"\n', f'name = "{app}"\nlimits = {{ {inline} }}\n')
        with open(self.daemon.config, "w", encoding="utf-8") as file:
            file.write(text)

    def test_app_and_global(self):
        self.up([{"name": "shop"}, {"name": "blog"}, {"name": "third"}], app_sends=["2/1h"], global_sends=["5/1h"])
        for app in ("shop", "blog"):
            left = [self.expect(self.by(app, f"{number}@example.org"), 201)["sends_left"] for number in range(2)]
            self.assertEqual(left, [1, 0])
            self.assert_limited(self.by(app, "2@example.org"), "app_sends", 2, HOUR)
        self.expect(self.by("third", "a@example.org"), 201)
        self.assert_limited(self.by("third", "b@example.org"), "global_sends", 5, HOUR)
        self.assertEqual(self.stats()["accepted_total"], 5)
        self.daemon.kill()
        self.daemon.start()
        self.assert_limited(self.by("third", "b@example.org"), "global_sends", 5, HOUR)
        self.assertEqual(self.stats()["accepted_total"], 5)

    def test_recipients_of_apps(self):
        """Each app has its own budget for an address: one cannot spend another's; and may have limits of its own."""
        self.up([{"name": "shop"}, {"name": "blog"}], recipient_sends=["2/1h"])
        self.daemon.stop()
        self.write_app_limits("blog", recipient_sends=["1/15m"])
        self.daemon.start()
        for _ in range(2):
            self.expect(self.by("shop", "a@example.org"), 201)
        self.assert_limited(self.by("shop", "a@example.org"), "recipient_sends", 2, HOUR)
        self.expect(self.by("blog", "a@example.org"), 201)
        self.assert_limited(self.by("blog", "A+b@example.org"), "recipient_sends", 1, QUARTER)

    def test_messages_count_as_well(self):
        self.up([{"name": "shop"}], app_sends=["2/1h"])
        folder = os.path.join(self.daemon.folder, "templates", "note", "en")
        self.daemon.stop()
        os.makedirs(folder)
        open(os.path.join(folder, os.pardir, "template.toml"), "w", encoding="utf-8").close()
        for name, text in (("subject", "A note\n"), ("text", "Something.\n"), ("html", "<p>Something.</p>\n")):
            with open(os.path.join(folder, name + ".mustache"), "w", encoding="utf-8") as file:
                file.write(text)
        self.daemon.write_config(daemon={"templates": os.path.dirname(os.path.dirname(folder))},
                                 app=[{"name": "shop", "socket": self.sockets["shop"]}], limits={"app_sends": ["2/1h"]})
        self.daemon.start()
        with Client(self.sockets["shop"]) as client:
            for status in (201, 201, 429):
                before = now()
                response = client.request("POST", "/v1/messages", {"recipient": "a@example.org", "template": "note"})
                self.asked = (before, now())
                self.expect(response, status)
        self.assert_limited(response, "app_sends", 2, HOUR)


class Failures(Shared):
    TABLES = {"limits": {"recipient_failures": ["6/1d"]}}
    DAY = 86400

    def locked(self, recipient, **client):
        """A challenge whose recipient has no failures left, and its code."""
        for _ in range(2):
            challenge = self.made(recipient, **client)
            for _ in range(3):
                self.assertEqual(self.expect(self.check(challenge, "x"), 200)["result"], "invalid")
        return self.made(recipient, **client), self.shared.code_for(recipient, 3)

    def assert_locked(self, response):
        self.assert_limited(response, "recipient_failures", 6, self.DAY)

    def test_right_code_by_id_and_short_form(self):
        challenge, code = self.locked(self.address())
        for _ in range(3):
            self.assert_locked(self.check(challenge, code))
            self.assert_locked(self.check(challenge, wrong_digits(code)))
            self.assert_locked(self.verify(self.address(), code))
            self.assert_locked(self.verify(self.address(), wrong_digits(code)))
        # An answer of "too many" was no guess.
        shown = self.shown(challenge)
        self.assertEqual((shown["attempts_left"], shown["state"]), (5, "otp_sent"))
        # Another spelling is the same budget, with a challenge of that spelling or without.
        other = "+tag@".join(self.address().split("@")).upper()
        self.assert_locked(self.verify(other, code))
        spelled = self.made(other)
        self.assert_locked(self.check(spelled, self.shared.code_for(spelled["recipient"])))
        # Another purpose and other addresses are not locked.
        self.expect(self.verify(self.address("somebody"), code), 200)
        self.expect(self.post("/v1/otp/verify", {"email": self.address(), "otp": code}), 200)

    def test_address_without_a_challenge(self):
        """Nothing tells whether there is a challenge: with the budget spent both are 429, before it both are invalid."""
        challenge, code = self.locked(self.address())
        self.expect(self.post(f"/v1/challenges/{challenge['id']}/cancel"), 200)
        # The newest is closed: a guess at it is not compared, and says so.
        self.assertEqual(self.expect(self.verify(self.address(), code), 200)["result"], "canceled")
        self.assert_locked(self.post("/v1/otp/verify", {"email": self.spent_elsewhere(), "otp": "123456",
                                                        "purpose": "quick"}))

    def spent_elsewhere(self):
        """A spelling without a challenge of an address whose budget is spent."""
        base = self.address("else")
        self.locked(base)
        return "+none@".join(base.split("@"))

    def test_known_device_is_not_locked_out(self):
        owner = {"client": {"id": "device of the owner"}}
        first = self.made(self.address(), **owner)
        self.assertTrue(self.expect(self.check(first, self.shared.code_for(self.address())), 200)["valid"])
        stranger = {"client": {"id": "stranger", "ip": "203.0.113.1"}}
        for _ in range(2):
            challenge = self.made(self.address(), **stranger)
            for _ in range(3):
                self.expect(self.check(challenge, "x"), 200)
        locked = self.made(self.address(), **stranger)
        code = self.shared.code_for(self.address(), 4)
        self.assert_locked(self.check(locked, code))
        self.assert_locked(self.check(locked, code, client={"id": "another stranger"}))
        self.assert_locked(self.verify(self.address(), code))
        # The owner, by its challenge, by the word of the app, and in the short form.
        mine = self.made(self.address(), **owner)
        code = self.shared.code_for(self.address(), 5)
        self.assertEqual(self.expect(self.check(mine, wrong_digits(code)), 200)["result"], "invalid")
        self.assertTrue(self.expect(self.check(mine, code), 200)["valid"])
        self.made(self.address())
        code = self.shared.code_for(self.address(), 6)
        self.assert_locked(self.verify(self.address(), code))
        self.assertTrue(self.expect(self.verify(self.address(), code, **owner), 200)["valid"])
        # Known here is a stranger there.
        other, code = self.locked(self.address("bob"), **owner)
        self.assert_locked(self.check(other, code))

    def test_survives_a_kill(self):
        challenge, code = self.locked(self.address())
        self.shared.kill()
        self.shared.start()
        self.assert_locked(self.check(challenge, code))


class AtOnce(LimitsTest):
    """Many at one instant: the attempt is counted before anything is compared."""

    def setUp(self):
        self.daemon = self.new_daemon(limits={"recipient_failures": ["20/1d"]})
        self.daemon.start()

    def all_at_once(self, requests, connections=CONNECTIONS):
        """The answers to them, sent over so many connections at once, pipelined in turn."""
        clients = [Raw(self.daemon.api_socket) for _ in range(min(connections, len(requests)))]
        for client in clients:
            self.addCleanup(client.close)
        shares = [requests[start::len(clients)] for start in range(len(clients))]
        for client, share in zip(clients, shares):
            client.send(b"".join(share))
        return [client.response() for client, share in zip(clients, shares) for _ in share]

    def guesses(self, challenge, codes):
        return [http_bytes("POST", f"/v1/challenges/{challenge['id']}/check", {"code": code}) for code in codes]

    def compared(self, challenge):
        """The results of the challenge's checks, by the event log."""
        detail = self.expect(self.daemon.admin("GET", f"/v1/outbox/{challenge['message']['id']}"), 200)
        return [event["detail"]["result"] for event in detail["events"] if event["type"] == "challenge.checked"]

    def test_two_right_answers_at_once(self):
        for number in range(5):
            challenge = self.made(f"{number}@example.org")
            code = self.daemon.code_for(f"{number}@example.org")
            answers = self.all_at_once(self.guesses(challenge, [code] * CONNECTIONS))
            results = sorted(self.expect(answer, 200)["result"] for answer in answers)
            self.assertEqual(results, ["already_used"] * (CONNECTIONS - 1) + ["valid"])
            self.assertEqual(self.compared(challenge).count("valid"), 1)

    def test_500_wrong_guesses_are_five(self):
        challenge = self.made("a@example.org")
        code = self.daemon.code_for("a@example.org")
        wrong = [f"{(int(code) + 1 + number) % 1_000_000:06}" for number in range(500)]
        answers = [self.expect(answer, 200) for answer in self.all_at_once(self.guesses(challenge, wrong))]
        compared = [answer for answer in answers if answer["result"] == "invalid"]
        self.assertEqual(sorted(answer["attempts_left"] for answer in compared), [0, 1, 2, 3, 4])
        self.assertEqual({answer["result"] for answer in answers}, {"invalid", "exhausted"})
        self.assertFalse(any(answer["valid"] for answer in answers))
        self.assertEqual(self.compared(challenge).count("invalid"), 5)
        self.assertEqual(self.shown(challenge)["attempts_left"], 0)
        self.assertEqual(self.expect(self.check(challenge, code), 200)["result"], "exhausted")

    def test_500_wrong_guesses_over_ten_codes_are_twenty(self):
        challenges = [self.made("b@example.org") for _ in range(10)]
        requests = [self.guesses(challenges[number % 10], [f"not a code {number}"])[0] for number in range(500)]
        answers = self.all_at_once(requests)
        invalid = [answer for answer in answers if answer.status == 200 and answer.json["result"] == "invalid"]
        self.assertEqual(len(invalid), 20)
        rest = [answer for answer in answers if answer not in invalid]
        for answer in rest:
            if answer.status == 200:
                self.assertEqual(answer.json["result"], "exhausted")
            else:
                self.expect(answer, 429, "rate_limited")
        events = sum(self.compared(challenge).count("invalid") for challenge in challenges)
        self.assertEqual(events, 20)

    def test_500_wrong_guesses_in_the_short_form(self):
        challenge = self.made("c@example.org")
        requests = [http_bytes("POST", "/v1/otp/verify", {"email": "c@example.org", "purpose": "quick", "otp": "none"})
                    for _ in range(500)]
        answers = [self.expect(answer, 200)["result"] for answer in self.all_at_once(requests)]
        self.assertEqual(answers.count("invalid"), 5)
        self.assertEqual(answers.count("exhausted"), 495)
        self.assertEqual(self.compared(challenge).count("invalid"), 5)

    def test_threads_of_clients_as_apps_have_them(self):
        """The same with real clients that wait for each answer."""
        challenge = self.made("d@example.org")
        results, failures = [], []
        barrier = threading.Barrier(16)

        def guess():
            try:
                with Client(self.daemon.api_socket) as client:
                    barrier.wait(BOUND)
                    for _ in range(10):
                        response = client.request("POST", f"/v1/challenges/{challenge['id']}/check", {"code": "x"})
                        results.append(response.json["result"])
            except Exception as error:  # pylint: disable=broad-except  # told below
                failures.append(error)
        threads = [threading.Thread(target=guess) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * BOUND)
        self.assertEqual(failures, [])
        self.assertEqual((results.count("invalid"), results.count("exhausted")), (5, 155))


class Brake(LimitsTest):
    BRAKE = {"floor": 5, "ratio": 2, "period": "10m"}

    def setUp(self):
        self.daemon = self.new_daemon()
        self.sockets = {name: os.path.join(self.daemon.folder, name + ".sock") for name in ("shop", "blog")}
        self.daemon.write_config(app=[{"name": name, "socket": path} for name, path in self.sockets.items()],
                                 brake=self.BRAKE)
        self.daemon.start()

    def by(self, app, recipient, **fields):
        return self.ask(recipient, self.sockets[app], **fields)

    def check_by(self, app, challenge, code):
        with Client(self.sockets[app]) as client:
            return self.expect(client.request("POST", f"/v1/challenges/{challenge['id']}/check", {"code": code}), 200)

    def flood(self, count, start=0):
        made = []
        for number in range(start, start + count):
            made.append(self.expect(self.by("shop", f"victim{number}@example.org"), 201))
        return made

    def braked(self):
        with Client(self.sockets["blog"]) as client:
            answer = client.request("GET", "/readyz")
        self.assertEqual(answer.status, 200, "others can still send")
        self.assertNotIn("braked", answer.json, "which apps there are is not an app's to know")
        return self.daemon.admin("GET", "/readyz").json.get("braked", [])

    def assert_braked(self, response, most=5):
        # Counted in slots of a fiftieth of the period.
        self.assert_limited(response, "brake", most, 600, late=12)

    def test_its_life(self):
        phone = {"client": {"id": "phone"}}
        known = self.expect(self.by("shop", "alice@example.org", **phone), 201)
        self.assertTrue(self.check_by("shop", known, self.daemon.code_for("alice@example.org"))["valid"])
        victims = self.flood(4)
        self.assertEqual(self.braked(), [])
        self.assertNotIn("event=brake_on", self.daemon.log())
        for number in range(10):
            self.assert_braked(self.by("shop", f"more{number}@example.org"))
        self.assertEqual(self.braked(), ["shop"])
        lines = [line for line in self.daemon.log().splitlines() if "event=brake_on" in line]
        self.assertEqual(len(lines), 1, "told once")
        self.assertRegex(lines[0], r"event=brake_on app=shop sends=5 right_codes=1 until=\d{4}-")
        # A resend is a send.
        with Client(self.sockets["shop"]) as client:
            before = now()
            response = client.request("POST", f"/v1/challenges/{victims[0]['id']}/send", {})
            self.asked = (before, now())
        self.assert_braked(response)
        self.expect(self.by("blog", "other.app@example.org"), 201)
        # Whoever floods does not have a device that gave a right code.
        self.expect(self.by("shop", "alice@example.org", **phone), 201)
        self.assert_braked(self.by("shop", "bob@example.org", **phone))
        self.assert_braked(self.by("shop", "alice@example.org", client={"id": "other"}))
        # Neither does a new start release it.
        self.daemon.kill()
        self.daemon.start()
        self.assert_braked(self.by("shop", "after.kill@example.org"))
        self.assertEqual(self.braked(), ["shop"])
        # Codes that are typed do. With six sends, one of them by the phone, four right ones are needed.
        for number, victim in enumerate(victims[:3]):
            self.assertTrue(self.check_by("shop", victim, self.daemon.code_for(f"victim{number}@example.org"))["valid"])
        self.expect(self.by("shop", "free@example.org"), 201)
        self.assertEqual(self.braked(), [])
        self.assertRegex(self.daemon.log(), r"event=brake_off app=shop sends=6 right_codes=4")

    def test_what_is_refused_leaves_no_mail(self):
        self.flood(5)
        accepted = self.stats()["accepted_total"]
        for number in range(20):
            self.assert_braked(self.by("shop", f"more{number}@example.org"))
        self.assertEqual(self.stats()["accepted_total"], accepted)
        self.assertEqual(self.stats()["challenges"]["otp_sent"], 5)
        self.assertFalse(re.search(r"more\d", str(self.expect(self.daemon.admin("GET", "/v1/outbox"), 200))))


class EveryRefusal(SystemTest):
    """All 429s have the same shape: SystemTest.assert_problem() holds each against it."""

    def test_shapes(self):
        daemon = self.new_daemon(limits={"recipient_sends": ["1/1h"]})
        daemon.start()
        seen = {}
        first = self.expect(daemon.api("POST", "/v1/challenges", {"recipient": "a@example.org"}), 201)
        seen["resend_cooldown"] = daemon.api("POST", f"/v1/challenges/{first['id']}/send", {})
        seen["rate_limited"] = daemon.api("POST", "/v1/challenges", {"recipient": "a@example.org"})
        once = self.expect(daemon.api("POST", "/v1/challenges", {"recipient": "b@example.org", "purpose": "once"}), 201)
        seen["sends_exhausted"] = daemon.api("POST", f"/v1/challenges/{once['id']}/send", {})
        for code, response in seen.items():
            with self.subTest(code):
                limit = self.expect(response, 429, code)["limit"]
                self.assertIsInstance(limit["name"], str)
                self.assertGreaterEqual(limit["max"], 0)
                self.assertGreaterEqual(limit["period_seconds"], 0)
                self.assertGreater(datetime.datetime.fromisoformat(limit["reset_at"]),
                                   now() - datetime.timedelta(seconds=BOUND))


if __name__ == "__main__":
    unittest.main(verbosity=2)
