"""What we saw in others' code or their users' reports (docs/RELIABILITY.md tells what we promise instead), one test a
defect: none of it is here. Each test drives the daemon from outside and is named after the peer and its defect."""
import collections
import http.client
import os
import re
import sqlite3
import sys
import threading
import unittest

from harness import BOUND, Client, Raw, SystemTest, http_bytes, parse_mail, wait_for, wrong_digits

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "smtp"))
from scripted_relay import Rule, ScriptedRelay, held, reply  # noqa: E402


class PeersTest(SystemTest):
    def up(self, **tables):
        self.daemon = self.new_daemon(**tables)
        self.daemon.start()
        return self.daemon

    def relay(self, *rules):
        relay = ScriptedRelay(list(rules)).start()
        self.addCleanup(relay.stop)
        return relay

    def up_with(self, relay, **tables):
        tables.setdefault("delivery", {"retry": ["1s"], "jitter": 0})
        return self.up(daemon={"mode": "production"}, relay={
            "name": "first", "host": "127.0.0.1", "port": relay.port, "tls": "none", "auth": "none"}, **tables)

    def post(self, target, body=None, headers=None):
        return self.daemon.api("POST", target, {} if body is None else body, headers)

    def create(self, recipient, **fields):
        return self.expect(self.post("/v1/challenges", {"recipient": recipient, "purpose": "quick", **fields}), 201)

    def check(self, challenge, code, **fields):
        return self.expect(self.post(f"/v1/challenges/{challenge['id']}/check", {"code": code, **fields}), 200)

    def resend(self, challenge):
        return self.expect(self.post(f"/v1/challenges/{challenge['id']}/send"), 202)

    def shown(self, challenge):
        return self.expect(self.daemon.api("GET", f"/v1/challenges/{challenge['id']}"), 200)

    def stats(self):
        return self.expect(self.daemon.admin("GET", "/v1/stats"), 200)

    def settled(self):
        def open_ones():
            counts = self.stats()["messages"]
            return sum(counts[state] for state in ("queued", "sending", "deferred", "uncertain"))
        wait_for(lambda: open_ones() == 0, lambda: f"nothing is under way: {self.stats()}; {self.daemon.log_tail()}")

    def state_bytes(self):
        """All that stands in the state folder, and the log."""
        parts = [self.daemon.log().encode()]
        for name in os.listdir(self.daemon.state):
            with open(os.path.join(self.daemon.state, name), "rb") as file:
                parts.append(file.read())
        return b"\n".join(parts)

    def at_once(self, requests, connections=64):
        clients = [Raw(self.daemon.api_socket) for _ in range(min(connections, len(requests)))]
        for client in clients:
            self.addCleanup(client.close)
        shares = [requests[start::len(clients)] for start in range(len(clients))]
        for client, share in zip(clients, shares):
            client.send(b"".join(share))
        return [client.response() for client, share in zip(clients, shares) for _ in share]


class Otpgateway(PeersTest):
    """knadh/otpgateway"""

    def test_otpgateway_wrong_guess_returns_the_code(self):
        """A wrong guess is answered with the right code: none of our answers has it."""
        self.up()
        challenge = self.create("a@example.org", code={"length": 10, "alphabet": "alphanumeric"})
        code = self.daemon.code_for("a@example.org")
        path = f"/v1/challenges/{challenge['id']}"
        answers = [self.post(path + "/check", {"code": "wrong"}), self.post(path + "/check", {"code": "x" * 65}),
                   self.post(path + "/check", {"code": 7}), self.daemon.api("GET", path), self.post(path + "/send"),
                   self.post("/v1/otp/verify", {"email": "a@example.org", "otp": "no", "purpose": "quick"}),
                   self.post(path + "/check", {"code": code}), self.post(path + "/check", {"code": code}),
                   self.daemon.admin("GET", path), self.daemon.admin("GET", "/v1/outbox")]
        for answer in answers:
            self.assertNotIn(code.encode(), answer.body + repr(answer.headers).encode(), answer.request)

    def test_otpgateway_codes_in_plaintext(self):
        """Codes stand in Redis as they are: nothing of ours on the disk has them."""
        self.up()
        codes = []
        for number in range(5):
            self.create(f"a{number}@example.org", code={"length": 10, "alphabet": "alphanumeric"})
            codes.append(self.daemon.code_for(f"a{number}@example.org"))
        everything = self.state_bytes()
        self.assertIn(b"a0@example.org", everything, "the search finds what is there")
        for code in codes:
            self.assertNotIn(code.encode(), everything)

    def test_otpgateway_a_get_link_verifies(self):
        """A GET, as a link scanner makes it, verifies: no GET of ours changes anything, and our mails have no link."""
        self.up()
        challenge = self.create("a@example.org")
        code = self.daemon.code_for("a@example.org")
        path = f"/v1/challenges/{challenge['id']}"
        for target in (f"{path}/check", f"{path}/check?code={code}", f"{path}?code={code}", f"{path}?check={code}",
                       f"/v1/otp/verify?email=a@example.org&otp={code}"):
            for method in ("GET", "HEAD", "OPTIONS"):
                with Client(self.daemon.api_socket) as client:
                    client.request(method, target)
        shown = self.shown(challenge)
        self.assertEqual((shown["state"], shown["attempts_left"]), ("otp_sent", 5))
        raw = self.daemon.mail_bytes()[0]
        for part in parse_mail(raw).walk():
            if not part.is_multipart():
                self.assertNotRegex(part.get_content(), r"(?i)href|https?://(?!www\.w3\.org)")

    def test_otpgateway_single_use_is_racy(self):
        """Two right answers at once are both good: here exactly one is."""
        self.up()
        challenge = self.create("a@example.org")
        code = self.daemon.code_for("a@example.org")
        request = http_bytes("POST", f"/v1/challenges/{challenge['id']}/check", {"code": code})
        results = collections.Counter(answer.json["result"] for answer in self.at_once([request] * 64))
        self.assertEqual(results, {"valid": 1, "already_used": 63})

    def test_otpgateway_no_queue_no_retry(self):
        """A relay that is away loses the mail: here it waits and leaves."""
        relay = self.relay(Rule("connect", reply("421 4.3.2 away"), nth=1), Rule("rcpt", reply("451 4.3.0 later"), nth=1))
        self.up_with(relay)
        self.create("a@example.org")
        self.settled()
        self.assertEqual(self.stats()["messages"]["relayed"], 1)
        self.assertEqual(len(relay.mails), 1)

    def test_otpgateway_checks_resurrect_keys_without_ttl(self):
        """A successful check writes the key again, without its end: here a check extends no life, and an end is one."""
        self.up()
        challenge = self.create("a@example.org", ttl_seconds=12)
        code = self.daemon.code_for("a@example.org")
        self.check(challenge, wrong_digits(code))
        self.assertEqual(self.shown(challenge)["expires_at"], challenge["expires_at"])
        wait_for(lambda: self.shown(challenge)["state"] == "expired", "it expires at its time")
        self.assertEqual(self.check(challenge, code)["result"], "expired")
        used = self.create("b@example.org")
        code = self.daemon.code_for("b@example.org")
        self.assertTrue(self.check(used, code)["valid"])
        self.assertEqual(self.shown(used)["expires_at"], used["expires_at"])
        self.assertEqual(self.check(used, code)["result"], "already_used")


class Kratos(PeersTest):
    """Ory Kratos"""

    def test_kratos_five_retries_one_second_apart(self):
        """Five tries in five seconds, then never again: here a relay that is unwell for eight tries gets the mail."""
        relay = self.relay(Rule("rcpt", reply("451 4.3.0 later"), nth=range(1, 9)))
        self.up_with(relay, delivery={"retry": ["200ms"], "jitter": 0})
        message = self.create("a@example.org")["message"]["id"]
        self.settled()
        row = self.expect(self.daemon.admin("GET", f"/v1/outbox/{message}"), 200)
        self.assertEqual((row["state"], row["attempts"]), ("relayed", 9))

    def test_kratos_processing_after_crash_is_picked_up(self):
        """What was `processing` at a crash is never picked up: here it is settled by the next start."""
        gate = threading.Event()
        self.addCleanup(gate.set)
        relay = self.relay(Rule("rcpt", held(gate), nth=1))
        self.up_with(relay)
        self.create("a@example.org")
        wait_for(lambda: self.stats()["messages"]["sending"] == 1, "it is being sent")
        self.daemon.kill()
        gate.set()
        self.daemon.start()
        self.settled()
        self.assertEqual(self.stats()["messages"]["relayed"], 1)
        self.assertGreaterEqual(len(relay.mails), 1)

    def test_kratos_abandoned_is_reset_to_queued(self):
        """A mail that ended with a 5xx is queued again: here an end is one, across a restart too."""
        relay = self.relay(Rule("rcpt", reply("550 5.1.1 no such user"), to="dead"))
        self.up_with(relay)
        message = self.create("dead@example.org")["message"]["id"]
        self.settled()
        self.daemon.kill()
        self.daemon.start()
        self.create("other@example.org")
        self.settled()
        row = self.expect(self.daemon.admin("GET", f"/v1/outbox/{message}"), 200)
        self.assertEqual((row["state"], row["attempts"]), ("failed", 1))
        self.assertEqual(len([one for one in relay.journal if one.recipient.startswith("dead")]), 1)

    def test_kratos_outbox_keeps_codes_for_ever(self):
        """The outbox keeps the mail with its code: here the body goes in the transaction that ends the message."""
        self.up()
        self.create("a@example.org")
        self.settled()
        self.daemon.stop()
        database = sqlite3.connect(f"file:{self.daemon.state}/mailotpd.db?mode=ro", uri=True)
        self.addCleanup(database.close)
        self.assertEqual(database.execute("SELECT count(*) FROM message").fetchone(), (1,))
        self.assertEqual(database.execute("SELECT count(*) FROM message_body").fetchone(), (0,))

    def test_kratos_old_codes_go_out_after_an_outage(self):
        """After an outage the dead codes are mailed first: here what is dead is never handed to a relay."""
        relay = self.relay()
        self.up_with(relay)
        self.expect(self.daemon.admin("POST", "/v1/relays/first/suspend"), 200)
        dead = self.create("dead@example.org", ttl_seconds=5)
        wait_for(lambda: self.shown(dead)["message"]["state"] == "expired", "its mail expires unsent")
        self.expect(self.daemon.admin("POST", "/v1/relays/first/resume"), 200)
        self.create("alive@example.org")
        self.settled()
        self.assertEqual([one.recipient for one in relay.journal], ["alive@example.org"])
        self.assertEqual(self.shown(dead)["message"]["verdict"]["class"], "expired")


class Supabase(PeersTest):
    """Supabase auth"""

    def test_supabase_smtp_inside_the_request(self):
        """The request waits for SMTP and ends in a 504: here it is answered while the relay says nothing at all."""
        gate = threading.Event()
        self.addCleanup(gate.set)
        self.up_with(self.relay(Rule("connect", held(gate))))
        for number in range(20):
            made = self.create(f"a{number}@example.org")
            self.assertIn(made["message"]["state"], ("queued", "sending"))
        self.assertEqual(self.stats()["messages"]["relayed"], 0)
        gate.set()
        self.settled()
        self.assertEqual(self.stats()["messages"]["relayed"], 20)

    def test_supabase_no_cap_on_guesses_a_code(self):
        """A code may be guessed at without end: here five times."""
        self.up()
        challenge = self.create("a@example.org")
        code = self.daemon.code_for("a@example.org")
        results = [self.check(challenge, wrong_digits(code))["result"] for _ in range(20)]
        self.assertEqual(results, ["invalid"] * 5 + ["exhausted"] * 15)
        self.assertEqual(self.check(challenge, code)["result"], "exhausted")

    def test_supabase_unsalted_sha224(self):
        """Codes are kept as unsalted SHA-224, so that equal codes look alike: here no two rows do. test_keys.py has all
        usual hashes of all codes."""
        self.up()
        for number in range(30):
            self.create(f"a{number}@example.org")
        self.settled()
        self.daemon.stop()
        database = sqlite3.connect(f"file:{self.daemon.state}/mailotpd.db?mode=ro", uri=True)
        self.addCleanup(database.close)
        macs = [row[0] for row in database.execute("SELECT code_mac FROM challenge")]
        self.assertEqual((len(macs), len(set(macs)), {len(mac) for mac in macs}), (30, 30, {32}))

    def test_supabase_429_names_no_limit(self):
        """A 429 that says nothing of its limit: here each names it, its size and when it refills."""
        self.up(limits={"recipient_sends": ["1/1h"]})
        self.create("a@example.org")
        response = self.post("/v1/challenges", {"recipient": "a@example.org", "purpose": "quick"})
        problem = self.expect(response, 429, "rate_limited")
        self.assertEqual((problem["limit"]["name"], problem["limit"]["max"], problem["limit"]["period_seconds"]),
                         ("recipient_sends", 1, 3600))
        self.assertIn(problem["limit"]["reset_at"], problem["detail"])
        self.assertEqual(response.headers["retry-after"], str(problem["retry_after"]))


class BetterAuth(PeersTest):
    """better-auth emailOTP"""

    def test_better_auth_plaintext_by_default(self):
        """The code is stored as it is unless one asks for more: here there is nothing to ask for."""
        self.up()
        self.create("a@example.org", code={"length": 12, "alphabet": "alphanumeric"})
        code = self.daemon.code_for("a@example.org")
        self.assertNotIn(code.encode(), self.state_bytes())

    def test_better_auth_new_code_does_not_refill_guesses(self):
        """Each new code brings fresh guesses: here the budget of the address counts across codes, the resend refills
        nothing."""
        self.up(limits={"recipient_failures": ["7/1d"]}, **{"purpose.quick": {"cooldown": "0s", "max_sends": 9,
                                                                              "resend": "new"}})
        first = self.create("a@example.org")
        for _ in range(3):
            self.assertEqual(self.check(first, "x")["result"], "invalid")
        self.assertEqual(self.resend(first)["attempts_left"], 2)
        for _ in range(2):
            self.assertEqual(self.check(first, "x")["result"], "invalid")
        second = self.create("a@example.org")
        for _ in range(2):
            self.assertEqual(self.check(second, "x")["result"], "invalid")
        third = self.create("a@example.org")
        code = self.daemon.code_for("a@example.org", 4)
        self.expect(self.post(f"/v1/challenges/{third['id']}/check", {"code": code}), 429, "rate_limited")

    def test_better_auth_acknowledged_mails_lost_at_kill_9(self):
        """950 of 1000 acknowledged mails are lost at a kill -9: here none is, whenever it comes."""
        self.up()
        acknowledged, failures = [], []

        def send(start):
            try:
                with Client(self.daemon.api_socket) as client:
                    for number in range(start, 10_000, 8):
                        made = client.request("POST", "/v1/challenges", {"recipient": f"a{number}@example.org"})
                        if made.status == 201:
                            acknowledged.append(f"a{number}@example.org")
            except (OSError, http.client.HTTPException):
                pass
            except Exception as error:  # pylint: disable=broad-except  # told below
                failures.append(error)
        threads = [threading.Thread(target=send, args=(start,)) for start in range(8)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(acknowledged) >= 300, "300 are acknowledged")
        self.daemon.kill()
        for thread in threads:
            thread.join(BOUND)
        self.assertEqual(failures, [])
        self.daemon.start()
        self.settled()
        sent = {str(parse_mail(raw)["To"]) for raw in self.daemon.mail_bytes()}
        self.assertLessEqual(set(acknowledged), sent)


class OthersInTheCloud(PeersTest):
    """SuperTokens"""

    def test_supertokens_older_codes_stay_valid_with_fresh_attempts(self):
        """Older codes stay valid and each has attempts of its own: here a resend is the same code with one budget, and
        with resend = "new" the old code is dead."""
        self.up(**{"purpose.fresh": {"cooldown": "0s", "resend": "new"}})
        same = self.create("a@example.org")
        code = self.daemon.code_for("a@example.org")
        self.check(same, wrong_digits(code))
        self.resend(same)
        self.assertEqual(self.daemon.code_for("a@example.org", 2), code)
        self.assertEqual(self.check(same, wrong_digits(code))["attempts_left"], 3)
        fresh = self.create("b@example.org", purpose="fresh")
        old = self.daemon.code_for("b@example.org")
        self.check(fresh, wrong_digits(old))
        self.resend(fresh)
        new = self.daemon.code_for("b@example.org", 2)
        if new != old:  # one in a million is
            self.assertEqual(self.check(fresh, old)["attempts_left"], 3)
        self.assertTrue(self.check(fresh, new)["valid"])


class OthersOnPremise(PeersTest):
    """Keycloak's extension, Authentik, privacyIDEA"""

    def test_keycloak_500_guesses_in_four_seconds(self):
        """500 wrong guesses in four seconds are all compared: here five are."""
        self.up()
        challenge = self.create("a@example.org")
        code = self.daemon.code_for("a@example.org")
        guesses = [f"{(int(code) + 1 + number) % 1_000_000:06}" for number in range(500)]
        answers = self.at_once([http_bytes("POST", f"/v1/challenges/{challenge['id']}/check", {"code": guess})
                                for guess in guesses])
        results = collections.Counter(self.expect(answer, 200)["result"] for answer in answers)
        self.assertEqual(results, {"invalid": 5, "exhausted": 495})
        self.assertEqual(self.check(challenge, code)["result"], "exhausted")

    def test_authentik_body_in_audit(self):
        """The body with the code is copied into audit events: here events, lists, metrics and log have neither."""
        self.up()
        challenge = self.create("a@example.org", data={"name": "Marker5x"}, code={"length": 10, "alphabet": "alphanumeric"})
        code = self.daemon.code_for("a@example.org")
        self.settled()
        self.check(challenge, "wrong")
        self.check(challenge, code)
        shown = b"".join(self.daemon.admin("GET", target).body for target in (
            "/v1/outbox", f"/v1/outbox/{challenge['message']['id']}", "/v1/stats", "/v1/bounces",
            f"/v1/challenges/{challenge['id']}", f"/v1/messages/{challenge['message']['id']}"))
        with Raw(self.daemon.admin_socket) as events:
            events.send(http_bytes("GET", "/v1/events?after=0"))
            while b"valid" not in events.buffer:
                self.assertTrue(events._more(), "the events end")  # pylint: disable=protected-access
            shown += events.buffer
        for secret in (code, "Marker5x", "multipart/alternative"):
            self.assertNotIn(secret.encode(), shown + self.daemon.log().encode())

    def test_authentik_code_as_integer_loses_zeros(self):
        """A code that is kept as a number loses its leading zeros: here they are part of it, and a number is refused."""
        self.up()
        for number in range(150):  # none with a zero has a chance of 1.4e-7
            challenge = self.create(f"a{number}@example.org")
            code = self.daemon.code_for(f"a{number}@example.org")
            self.assertRegex(code, r"^\d{6}$")
            if code[0] != "0":
                continue
            refused = self.post(f"/v1/challenges/{challenge['id']}/check", {"code": int(code)})
            self.assertEqual(self.expect(refused, 400, "invalid_field")["field"], "code")
            self.assertEqual(self.check(challenge, str(int(code)))["result"], "invalid")
            self.assertTrue(self.check(challenge, code)["valid"])
            return
        self.fail("150 codes, and none began with 0")

    def test_privacyidea_send_errors_vanish(self):
        """What the relay said is lost: here the app, the operator and the log have it."""
        self.up_with(self.relay(Rule("rcpt", reply("550 5.7.1 we do not like you"))))
        challenge = self.create("a@example.org")
        self.settled()
        message = self.shown(challenge)["message"]
        self.assertEqual((message["state"], message["reply"]["code"], message["reply"]["status"]), ("failed", 550, "5.7.1"))
        self.assertIn("do not like", message["reply"]["text"])
        self.assertIsNotNone(message["verdict"])
        row = self.expect(self.daemon.admin("GET", f"/v1/outbox/{message['id']}"), 200)
        failed = [event for event in row["events"] if event["type"] == "message.failed"]
        self.assertEqual(failed[0]["detail"]["reply"]["code"], 550)


class SeedStacks(PeersTest):
    """The stacks that our first users run"""

    def test_seed_stacks_math_random(self):
        """Codes of Math.random: here all digits are alike at all places. A fair source fails once in 10^9 runs."""
        self.up()
        codes, count, clients = [], 1200, 8
        failures = []

        def ask(start):
            try:
                with Client(self.daemon.api_socket) as client:
                    for number in range(start, count, clients):
                        made = client.request("POST", "/v1/challenges", {"recipient": f"a{number}@example.org"})
                        if made.status != 201:
                            raise AssertionError(repr(made))
            except Exception as error:  # pylint: disable=broad-except  # told below
                failures.append(error)
        threads = [threading.Thread(target=ask, args=(start,)) for start in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(3 * BOUND)
        self.assertEqual(failures, [])
        wait_for(lambda: len(self.daemon.mail_bytes()) >= count, self.daemon.log_tail, bound=3 * BOUND)
        for raw in self.daemon.mail_bytes():
            codes += re.findall(rb"(?m)^\s*(\d{6})\s*$", raw)
        self.assertEqual(len(codes), count)
        for place in range(6):
            seen = collections.Counter(code[place] for code in codes)
            expected = count / 10
            chi_square = sum((seen[digit] - expected) ** 2 / expected for digit in b"0123456789")
            # P(chi² with 9 degrees > 60.2) is 1.2e-9; with six places and this bound under 1e-9 altogether.
            self.assertLess(chi_square, 65, (place, seen))
        # Neither do neighbours repeat: 1200 of a million have 0.72 pairs on average, 12 have a chance under 1e-11.
        self.assertLess(count - len(set(codes)), 12)

    def test_seed_stacks_bcrypt_of_six_digits(self):
        """A slow hash bounds the checks to 16 a second and is reversible all the same: here nothing slow is kept, and
        without the key nothing is to be tried."""
        self.up()
        self.create("a@example.org")
        self.settled()
        everything = self.state_bytes()
        for prefix in (rb"\$2[abxy]\$", rb"\$argon2", rb"\$scrypt", rb"\$pbkdf2"):
            self.assertIsNone(re.search(prefix, everything))
        with open(self.daemon.key, "rb") as file:
            key = re.search(rb"(?m)^[0-9a-f]{64}$", file.read()).group()
        self.assertNotIn(key, everything)
        self.assertNotIn(bytes.fromhex(key.decode()), everything)

    def test_seed_stacks_limits_in_memory(self):
        """A restart refills the limits: here it does not."""
        self.up(limits={"recipient_sends": ["2/1h"]})
        for _ in range(2):
            self.create("a@example.org")
            self.daemon.kill()
            self.daemon.start()
        self.expect(self.post("/v1/challenges", {"recipient": "a@example.org", "purpose": "quick"}), 429, "rate_limited")

    def test_seed_stacks_a_mock_mailer_wired_as_the_real_one(self):
        """The mailer of the tests is the one of production: here a capture relay is refused there, and says what it is
        in development."""
        daemon = self.new_daemon(daemon={"mode": "production"})
        daemon.keygen()
        refused = daemon.run()
        self.assertEqual(refused.returncode, 78, refused.stderr)
        self.assertIn("capture", refused.stderr)
        self.up()
        self.assertEqual(self.daemon.api("GET", "/readyz").json["mode"], "development")


class Mtas(PeersTest):
    """Postfix, OpenSMTPD, KumoMTA, nullmailer"""

    def test_postfix_first_retry_after_minutes(self):
        """The first retry comes after five to twenty minutes: with the defaults here within seconds."""
        relay = self.relay(Rule("rcpt", reply("451 4.3.0 later"), nth=1))
        self.up(daemon={"mode": "production"}, relay={"name": "first", "host": "127.0.0.1", "port": relay.port,
                                                      "tls": "none", "auth": "none"})
        challenge = self.create("a@example.org")
        self.settled()
        message = self.shown(challenge)["message"]
        self.assertEqual((message["state"], message["attempts"]), ("relayed", 2))

    def test_postfix_no_deadline(self):
        """A queue without a deadline sends for five days: here each mail ends with its code, and says so."""
        self.up_with(self.relay(Rule("rcpt", reply("451 4.3.0 later"))))
        challenge = self.create("a@example.org", ttl_seconds=5)
        wait_for(lambda: self.shown(challenge)["message"]["state"] == "expired", lambda: str(self.shown(challenge)))
        self.assertEqual(self.shown(challenge)["message"]["verdict"]["kind"], "unsent")


class Users(PeersTest):
    """What users of all of them ask for most."""

    def test_users_1_slow_mail_and_resend_give_several_codes(self):
        """authentik#23123, rallly#2439: only the last code works. Here all mails have the same one, in any order."""
        self.up()
        challenge = self.create("a@example.org")
        for _ in range(3):
            self.daemon.code_for("a@example.org")
            self.settled()
            self.resend(challenge)
        self.daemon.code_for("a@example.org", 4)
        codes = {re.search(rb"(?m)^\s*(\d{6})\s*$", raw).group(1) for raw in self.daemon.mail_bytes()}
        self.assertEqual(len(codes), 1)
        self.assertTrue(self.check(challenge, codes.pop().decode())["valid"])

    def test_users_2_guess_budgets_across_codes(self):
        """supabase/auth#2819: here per address, across challenges and spellings."""
        self.up(limits={"recipient_failures": ["4/1d"]})
        for spelling in ("a@example.org", "A+1@example.org", "a+2@EXAMPLE.org", "a+3@example.org"):
            self.assertEqual(self.check(self.create(spelling), "x")["result"], "invalid")
        last = self.create("a@example.org")
        code = self.daemon.code_for("a@example.org", 2)
        self.expect(self.post(f"/v1/challenges/{last['id']}/check", {"code": code}), 429, "rate_limited")

    def test_users_3_stuck_duplicate_or_silent_queues(self):
        """kratos#402, #652, …: across two kills each mail leaves, once but for those in the agent's hands, and is seen."""
        self.up()
        made = []
        for turn in range(3):
            made += [self.create(f"a{turn}.{number}@example.org") for number in range(20)]
            if turn < 2:
                self.daemon.kill()
                self.daemon.start()
        self.settled()
        rows = self.expect(self.daemon.admin("GET", "/v1/outbox?limit=500"), 200)["items"]
        self.assertEqual({row["id"] for row in rows}, {one["message"]["id"] for one in made})
        self.assertEqual({row["state"] for row in rows}, {"relayed"})
        sent = collections.Counter(str(parse_mail(raw)["To"]) for raw in self.daemon.mail_bytes())
        for row in rows:
            self.assertTrue(1 <= sent[row["recipient"]] <= 1 + row["uncertain"], row)

    def test_users_4_smtp_errors_are_visible_and_helo_is_ours(self):
        """supabase/auth#1878, kratos#781, #2425: HELO `localhost` is refused. Here it is mail.hostname."""
        relay = self.relay()
        self.up_with(relay)
        self.create("a@example.org")
        self.settled()
        self.assertTrue(relay.said(r"(?i)EHLO otp\.example\.org"))
        self.assertFalse(relay.said(r"(?i)(EHLO|HELO) localhost"))

    def test_users_6_mail_bombing(self):
        """zupass#2212, authelia#7353: one user eats the quota. Here a client's network has its own."""
        self.up(limits={"client_sends": ["5/1h"]})
        for number in range(5):
            self.create(f"victim{number}@example.org", client={"ip": "2001:db8::1"})
        self.expect(self.post("/v1/challenges", {"recipient": "victim@example.org", "client": {"ip": "2001:db8::2"}}), 429,
                    "rate_limited")
        self.create("user@example.org", client={"ip": "2001:db8:0:1::1"})

    def test_users_7_link_scanners(self):
        """supabase/auth#713: a scanner that opens all links burns them. Here no mail has one."""
        self.up()
        self.create("a@example.org", locale="de")
        self.daemon.code_for("a@example.org")
        for part in parse_mail(self.daemon.mail_bytes()[0]).walk():
            if not part.is_multipart():
                self.assertNotRegex(part.get_content(), r"(?i)<a\b|https?://(?!www\.w3\.org)")

    def test_users_8_the_eternal_200_for_a_bounced_address(self):
        """archimedes#1790: here the address is refused, with the class of its bounce."""
        self.up_with(self.relay(Rule("rcpt", reply("550 5.1.1 no such user"))))
        challenge = self.create("dead@example.org")
        self.settled()
        self.assertEqual(self.shown(challenge)["message"]["verdict"]["class"], "user-unknown")
        refused = self.expect(self.post("/v1/challenges", {"recipient": "dead@example.org", "purpose": "quick"}), 422,
                              "recipient_suppressed")
        self.assertEqual(refused["class"], "user-unknown")

    def test_users_9_autofill_takes_the_wrong_word(self):
        """open-jii#1007: here the code is alone on its line, once, and nothing else looks like it."""
        self.up()
        self.create("a@example.org")
        code = self.daemon.code_for("a@example.org")
        text = parse_mail(self.daemon.mail_bytes()[0]).get_body(("plain",)).get_content()
        self.assertEqual(re.findall(r"(?<!\d)\d{4,8}(?!\d)", text), [code])

    def test_users_10_translated_templates(self):
        """kratos#834: here the language is the request's, with fall-back. Bodies that are kept: see Kratos above."""
        self.up()
        for locale, word in (("de-AT", "Minuten"), ("en", "minutes"), ("xx", "minutes")):
            self.create(f"{locale}@example.org", locale=locale)
            self.daemon.code_for(f"{locale}@example.org")
            text = self.daemon.mails_to(f"{locale}@example.org")[0].get_body(("plain",)).get_content()
            self.assertIn(word, text)

    def test_users_11_give_up_by_a_date_and_tell(self):
        """postal#373: here each mail has `not_after`, and its end is pushed to who waits."""
        self.up_with(self.relay(Rule("rcpt", reply("451 4.3.0 later"))))
        now = self.create("a@example.org", ttl_seconds=5)
        for _ in range(20):
            if now["message"]["state"] == "expired":
                break
            now = self.expect(self.daemon.api(
                "GET", f"/v1/challenges/{now['id']}?wait=10&revision={now['revision']}"), 200)
        self.assertEqual((now["message"]["state"], now["message"]["verdict"]["kind"]), ("expired", "unsent"))

    def test_users_13_limits_keyed_on_the_raw_address(self):
        """MedInternia#1302: case and +tags give fresh quota. Here they do not; spaces are no address."""
        self.up(limits={"recipient_sends": ["1/1h"]})
        self.create("some.body@gmail.com")
        for spelling in ("Some.Body@GMAIL.com", "somebody+x@gmail.com", "s.omebody@gmail.com"):
            self.expect(self.post("/v1/challenges", {"recipient": spelling}), (429, 201))
            self.expect(self.post("/v1/challenges", {"recipient": spelling, "purpose": "quick"}), 429, "rate_limited")
        self.expect(self.post("/v1/challenges", {"recipient": " somebody@gmail.com"}), 400, "invalid_recipient")

    def test_users_14_a_resend_that_sends_nothing_and_answers_204(self):
        """activepieces#14751: here it is a 429 that says when, and the accepted ones send."""
        self.up()
        challenge = self.create("a@example.org", purpose="login")
        response = self.post(f"/v1/challenges/{challenge['id']}/send")
        problem = self.expect(response, 429, "resend_cooldown")
        self.assertTrue(0 < problem["retry_after"] <= 30)
        self.settled()
        self.assertEqual(len(self.daemon.mail_bytes()), 1)
        self.assertEqual(self.stats()["accepted_total"], 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
