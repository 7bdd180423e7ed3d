"""The main job, over the real sockets: ask for a code, get the mail, check the code; API.md in force."""
import datetime
import re
import select
import unittest

from harness import Client, Raw, SharedDaemonTest, http_bytes, wait_for, wrong_digits

ID = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def seconds_between(earlier, later):
    parse = datetime.datetime.fromisoformat
    return (parse(later) - parse(earlier)).total_seconds()


class Create(SharedDaemonTest):
    def test_answer_has_the_shape_of_the_contract(self):
        response = self.post("/v1/challenges", {"recipient": self.address(), "metadata": {"cart": [1, {"a": None}]}})
        body = self.expect(response, 201)
        self.assertRegex(body["id"], f"^{ID}$")
        self.assertEqual(response.headers["location"], f"/v1/challenges/{body['id']}")
        self.assertEqual(response.headers["content-type"], "application/json")
        expected = {"app": "default", "recipient": self.address(), "purpose": "login", "state": "otp_sent",
                    "attempts_left": 5, "sends_left": 4, "metadata": {"cart": [1, {"a": None}]}}
        self.assertEqual({key: body.get(key) for key in expected}, expected)
        self.assertRegex(body["created_at"], f"^{TIME}$")
        self.assertEqual(seconds_between(body["created_at"], body["expires_at"]), 600)
        self.assertEqual(seconds_between(body["created_at"], body["resend_at"]), 30)
        self.assertIsInstance(body["revision"], int)
        message = body["message"]
        self.assertRegex(message["id"], f"^{ID}$")
        self.assertIs(message["current"], True)
        self.assertIn(message["state"], ("queued", "sending", "relayed"))
        self.assertLessEqual({"attempts", "next_attempt_at", "reply", "verdict"}, set(message))

    def test_code_is_in_no_answer(self):
        recipient = self.address()
        created = self.post("/v1/challenges", {"recipient": recipient, "purpose": "long"})
        code = self.code_for(recipient)
        challenge = self.expect(created, 201)
        shown = self.get(f"/v1/challenges/{challenge['id']}")
        self.expect(shown, 200)
        checked = self.post(f"/v1/challenges/{challenge['id']}/check", {"code": code})
        self.assertEqual(self.expect(checked, 200)["result"], "valid")
        for response in (created, shown, checked):
            self.assertNotIn(code.encode(), response.body)

    def test_mail_reaches_the_maildir_and_captured(self):
        recipient = self.address()
        self.create(recipient)
        code = self.code_for(recipient)
        for socket_path in (self.shared.api_socket, self.shared.admin_socket):
            with Client(socket_path) as client:
                page = self.expect(client.request("GET", f"/v1/captured?recipient={recipient}"), 200)
            self.assertIsNone(page["next_cursor"])
            self.assertEqual(len(page["items"]), 1, page)
            item = page["items"][0]
            self.assertIn(recipient, item["to"])
            self.assertEqual(item["text"].count(code), 1, item["text"])
            self.assertEqual(item["html"].count(code), 1, item["html"])
            self.assertNotIn(code, item["subject"])
            self.assertIn("Auto-Submitted: auto-generated", item["raw"])
        self.assertEqual(self.expect(self.get("/v1/captured?recipient=nobody.at.all@example.org"), 200)["items"], [])

    def test_bad_addresses_are_refused_and_send_nothing(self):
        with Client(self.shared.admin_socket) as operator:
            before = self.expect(operator.request("GET", "/v1/stats"), 200)["accepted_total"]
        for recipient in ("a@b\r\nRCPT TO:<x@y>", "a@b", "@example.org", "a@", "a b@example.org", "a@example.org\n",
                          "<a@example.org>", "a@exam ple.org", "a@-example.org", "a@example..org", "a..b@example.org",
                          ".a@example.org", "a@example.org.", "a@@example.org", "a@example.org,b@example.org",
                          "A <a@example.org>", "", "a", "a@\0example.org", "a\u202e@example.org",
                          "x" * 65 + "@example.org", "a@" + "x" * 64 + ".org", "a@" + ".".join(["x" * 60] * 5) + ".org"):
            with self.subTest(recipient=recipient):
                self.expect(self.post("/v1/challenges", {"recipient": recipient}), 400, "invalid_recipient")
                self.expect(self.post("/v1/otp/generate", {"email": recipient}), 400, "invalid_recipient")
        with Client(self.shared.admin_socket) as operator:
            self.assertEqual(self.expect(operator.request("GET", "/v1/stats"), 200)["accepted_total"], before)

    def test_non_ascii_local_part_is_refused_with_the_reason(self):
        problem = self.expect(self.post("/v1/challenges", {"recipient": "jürgen@example.org"}), 400,
                              "invalid_recipient")
        self.assertRegex(problem["detail"], r"(?i)ascii|SMTPUTF8")

    def test_idn_domain_becomes_a_labels(self):
        challenge = self.create("user@bücher.example")
        self.assertEqual(challenge["recipient"], "user@xn--bcher-kva.example")
        self.assertRegex(self.code_for("user@xn--bcher-kva.example"), r"^\d{6}$")

    def test_wrong_fields_are_refused_by_name(self):
        good = self.address()
        cases = [
            ({"recipient": good, "colour": "red"}, "colour"),
            ({"recipient": good, "code": {"size": 6}}, "code.size"),
            ({"recipient": good, "client": {"name": "x"}}, "client.name"),
            ({"recipient": 7}, "recipient"),
            ({"recipient": None}, "recipient"),
            ({}, "recipient"),
            ({"recipient": good, "purpose": 1}, "purpose"),
            ({"recipient": good, "ttl_seconds": "600"}, "ttl_seconds"),
            ({"recipient": good, "ttl_seconds": 601}, "ttl_seconds"),
            ({"recipient": good, "ttl_seconds": 0}, "ttl_seconds"),
            ({"recipient": good, "ttl_seconds": -1}, "ttl_seconds"),
            ({"recipient": good, "ttl_seconds": 99.5}, "ttl_seconds"),
            ({"recipient": good, "ttl_seconds": 2 ** 64}, "ttl_seconds"),
            ({"recipient": good, "max_attempts": 6}, "max_attempts"),
            ({"recipient": good, "max_attempts": 0}, "max_attempts"),
            ({"recipient": good, "max_attempts": True}, "max_attempts"),
            ({"recipient": good, "code": {"length": 5}}, "code.length"),
            ({"recipient": good, "code": {"length": 13}}, "code.length"),
            ({"recipient": good, "code": {"length": "6"}}, "code.length"),
            ({"recipient": good, "code": {"alphabet": "emoji"}}, "code.alphabet"),
            ({"recipient": good, "code": 6}, "code"),
            ({"recipient": good, "send": "yes"}, "send"),
            ({"recipient": good, "data": []}, "data"),
            ({"recipient": good, "binding": "x"}, "binding"),
        ]
        for body, field in cases:
            with self.subTest(body=body):
                problem = self.expect(self.post("/v1/challenges", body), 400, "invalid_field")
                self.assertEqual(problem.get("field"), field)
        self.assertEqual(self.shared.mails_to(good), [])

    def test_json_that_is_not_strict_is_refused(self):
        good = self.address().encode()
        bodies = {
            "duplicate keys": b'{"recipient":"%s","recipient":"%s"}' % (good, good),
            "duplicate keys within": b'{"recipient":"%s","metadata":{"a":1,"a":2}}' % good,
            "nesting 17": b'{"recipient":"%s","metadata":%s1%s}' % (good, b'{"a":' * 16, b"}" * 16),
            "nesting 100000": b'{"metadata":' + b"[" * 60000,
            "no JSON": b"recipient=" + good,
            "cut off": b'{"recipient":"' + good,
            "trailing bytes": b'{"recipient":"%s"} x' % good,
            "two values": b'{"recipient":"%s"}{}' % good,
            "trailing comma": b'{"recipient":"%s",}' % good,
            "comment": b'{"recipient":"%s"/**/}' % good,
            "single quotes": b"{'recipient':'%s'}" % good,
            "NaN": b'{"recipient":"%s","ttl_seconds":NaN}' % good,
            "control in a string": b'{"recipient":"%s","purpose":"a\nb"}' % good,
            "bad UTF-8": b'{"recipient":"\xff\xfe@example.org"}',
            "overlong UTF-8": b'{"recipient":"\xc0\xaf@example.org"}',
            "lone surrogate": b'{"recipient":"%s","metadata":{"a":"\\ud800"}}' % good,
            "empty body": b"",
            "only spaces": b"   ",
            "an array": b'["recipient"]',
            "a string": b'"recipient"',
            "null": b"null",
        }
        for name, body in bodies.items():
            with self.subTest(name):
                response = self.post("/v1/challenges", body)
                self.expect(response, 400)
                self.assertIn(response.code, ("malformed_request", "invalid_field"), f"\n{response!r}")
        nested = b'{"recipient":"%s","metadata":%s1%s}' % (good, b'{"a":' * 15, b"}" * 15)
        self.expect(self.post("/v1/challenges", nested), 201)

    def test_a_request_may_tighten(self):
        challenge = self.create(self.address(), ttl_seconds=300, max_attempts=2,
                                code={"length": 8, "alphabet": "alphanumeric"})
        self.assertEqual(challenge["attempts_left"], 2)
        self.assertEqual(seconds_between(challenge["created_at"], challenge["expires_at"]), 300)
        self.assertRegex(self.code_for(self.address()), r"^[2-9A-HJ-KM-NP-Z]{8}$")

    def test_unknown_purpose_template_and_variable(self):
        good = self.address()
        response = self.post("/v1/challenges", {"recipient": good, "purpose": "nonesuch"})
        self.expect(response, (400, 403))
        self.assertIn(response.code, ("invalid_field", "purpose_not_allowed"), f"\n{response!r}")
        self.expect(self.post("/v1/challenges", {"recipient": good, "template": "nonesuch"}), 422, "template_unknown")
        problem = self.expect(self.post("/v1/challenges", {"recipient": good, "data": {"shoe": "42"}}), 422,
                              "template_failed")
        self.assertIn("shoe", problem["detail"])
        for name in ("a\nb", "a\r\nBcc: x@example.org", "see http://evil.example", "\x07", "x" * 65, 7, ["x"]):
            with self.subTest(name=name):
                response = self.post("/v1/challenges", {"recipient": good, "data": {"name": name}})
                self.expect(response, (400, 422))
                self.assertIn(response.code, ("template_failed", "invalid_field"), f"\n{response!r}")
        self.assertEqual(self.shared.mails_to(good), [])


class Check(SharedDaemonTest):
    def test_wrong_right_again(self):
        challenge = self.create(self.address())
        code = self.code_for(self.address())
        answer = self.check(challenge, wrong_digits(code))
        self.assertEqual((answer["valid"], answer["result"], answer["attempts_left"], answer["state"]),
                         (False, "invalid", 4, "otp_invalid"))
        answer = self.check(challenge, code)
        self.assertEqual((answer["valid"], answer["result"], answer["state"]), (True, "valid", "otp_valid"))
        answer = self.check(challenge, code)
        self.assertEqual((answer["valid"], answer["result"], answer["state"]), (False, "already_used", "otp_valid"))

    def test_exhausted(self):
        challenge = self.create(self.address())
        code = self.code_for(self.address())
        for left in (4, 3, 2, 1):
            answer = self.check(challenge, wrong_digits(code))
            self.assertEqual((answer["result"], answer["attempts_left"], answer["state"]),
                             ("invalid", left, "otp_invalid"))
        answer = self.check(challenge, wrong_digits(code))
        self.assertEqual((answer["valid"], answer["result"], answer["attempts_left"], answer["state"]),
                         (False, "invalid", 0, "otp_exhausted"))
        answer = self.check(challenge, code)
        self.assertEqual((answer["valid"], answer["result"], answer["state"]), (False, "exhausted", "otp_exhausted"))
        self.expect(self.post(f"/v1/challenges/{challenge['id']}/send"), 409, "challenge_closed")

    def test_one_attempt(self):
        challenge = self.create(self.address(), purpose="once")
        answer = self.check(challenge, wrong_digits(self.code_for(self.address())))
        self.assertEqual((answer["result"], answer["attempts_left"], answer["state"]), ("invalid", 0, "otp_exhausted"))

    def test_typed_with_spaces_and_hyphens(self):
        for spelling in ("{} {}", "{}-{}", " {}{} ", "{}  -  {}"):
            with self.subTest(spelling):
                recipient = f"{spelling.count('-')}{len(spelling)}.{self.address()}"
                challenge = self.create(recipient)
                code = self.code_for(recipient)
                self.assertEqual(self.check(challenge, spelling.format(code[:3], code[3:]))["result"], "valid")

    def test_leading_zeros_are_part_of_the_code(self):
        # One code in ten has one: with 150 codes, none has a chance of 1.4e-7.
        for number in range(150):
            recipient = f"{number}.{self.address()}"
            challenge = self.create(recipient)
            code = self.code_for(recipient)
            self.assertEqual(len(code), 6, code)
            if code[0] == "0":
                self.assertEqual(self.check(challenge, code.lstrip("0"))["result"], "invalid")
                self.assertEqual(self.check(challenge, code)["result"], "valid")
                return
        self.fail("150 codes, and none began with 0")

    def test_letters_in_lower_case_and_look_alikes(self):
        # Typed O for 0 and l or I for 1; codes with such a digit are frequent enough in 200 of eight symbols.
        seen = set()
        for number in range(200):
            recipient = f"{number}.{self.address()}"
            challenge = self.create(recipient, purpose="crockford")
            code = self.code_for(recipient)
            self.assertRegex(code, r"^[0-9A-HJKMNP-TV-Z]{8}$")
            typed = code.lower().replace("0", "o").replace("1", "l" if number % 2 else "I")
            self.assertEqual(self.check(challenge, typed)["result"], "valid", f"{code} typed as {typed}")
            seen |= set(code) & {"0", "1"}
            if seen == {"0", "1"} and number >= 10:
                return
        self.fail("200 codes without both 0 and 1")

    def test_wrong_kinds_of_code(self):
        challenge = self.create(self.address())
        self.code_for(self.address())
        for typed in (123456, None, ["123456"], {}):
            with self.subTest(typed=typed):
                response = self.post(f"/v1/challenges/{challenge['id']}/check", {"code": typed})
                self.assertEqual(self.expect(response, 400, "invalid_field")["field"], "code")
        self.assertEqual(self.expect(self.post(f"/v1/challenges/{challenge['id']}/check"), 400,
                                     "invalid_field")["field"], "code")
        shown = self.expect(self.get(f"/v1/challenges/{challenge['id']}"), 200)
        self.assertEqual(shown["attempts_left"], 5, "a request that is malformed is no guess")

    def test_metadata_comes_back(self):
        metadata = {"any": "json", "ü": [1, 2.5, None, True]}
        challenge = self.create(self.address(), metadata=metadata)
        code = self.code_for(self.address())
        self.assertEqual(self.check(challenge, wrong_digits(code))["metadata"], metadata)
        self.assertEqual(self.check(challenge, code)["metadata"], metadata)
        self.assertEqual(self.expect(self.get(f"/v1/challenges/{challenge['id']}"), 200)["metadata"], metadata)

    def test_binding(self):
        binding = {"session": "s1", "amount": "39.99 EUR", "payee": "Acme"}
        challenge = self.create(self.address(), binding=binding)
        code = self.code_for(self.address())
        for left, other in ((4, {**binding, "amount": "9999.00 EUR"}), (3, {"session": "s1"}), (2, None)):
            fields = {} if other is None else {"binding": other}
            answer = self.check(challenge, code, **fields)
            self.assertEqual((answer["valid"], answer["result"], answer["attempts_left"]),
                             (False, "binding_mismatch", left), f"binding {other}")
        # The order of its keys is no part of a binding.
        answer = self.check(challenge, code, binding=dict(reversed(binding.items())))
        self.assertEqual(answer["result"], "valid")

    def test_two_right_answers_at_one_instant(self):
        challenge = self.create(self.address())
        code = self.code_for(self.address())
        request = http_bytes("POST", f"/v1/challenges/{challenge['id']}/check", {"code": code})
        connections = [Raw(self.shared.api_socket) for _ in range(8)]
        for connection in connections:
            self.addCleanup(connection.close)
        for connection in connections:
            connection.send(request)
        results = sorted(self.expect(connection.response(), 200)["result"] for connection in connections)
        self.assertEqual(results, ["already_used"] * 7 + ["valid"])

    def test_started_counts_nothing(self):
        challenge = self.create(self.address(), send=False)
        answer = self.check(challenge, "123456")
        self.assertEqual((answer["result"], answer["attempts_left"], answer["state"]), ("invalid", 5, "started"))

    def test_expired(self):
        challenge = self.create(self.address(), ttl_seconds=2)
        code = self.code_for(self.address())
        now = challenge
        for _ in range(10):
            if now["state"] == "expired":
                break
            now = self.expect(self.get(f"/v1/challenges/{challenge['id']}?wait=10&revision={now['revision']}"), 200)
        self.assertEqual(now["state"], "expired", now)
        answer = self.check(challenge, code)
        self.assertEqual((answer["valid"], answer["result"], answer["state"]), (False, "expired", "expired"))
        self.expect(self.post(f"/v1/challenges/{challenge['id']}/send"), 409, "challenge_closed")

    def test_cancel(self):
        challenge = self.create(self.address())
        code = self.code_for(self.address())
        canceled = self.expect(self.post(f"/v1/challenges/{challenge['id']}/cancel"), 200)
        self.assertEqual((canceled["id"], canceled["state"]), (challenge["id"], "canceled"))
        answer = self.check(challenge, code)
        self.assertEqual((answer["valid"], answer["result"], answer["state"]), (False, "canceled", "canceled"))
        self.expect(self.post(f"/v1/challenges/{challenge['id']}/send"), 409, "challenge_closed")


class Send(SharedDaemonTest):
    def test_cooldown_names_the_limit(self):
        challenge = self.create(self.address())
        response = self.post(f"/v1/challenges/{challenge['id']}/send")
        problem = self.expect(response, 429, "resend_cooldown")
        self.assertTrue(1 <= problem["retry_after"] <= 30, problem)
        self.assertEqual(response.headers["retry-after"], str(problem["retry_after"]))
        limit = problem["limit"]
        self.assertIsInstance(limit["name"], str)
        self.assertEqual(limit["period_seconds"], 30)
        self.assertRegex(limit["reset_at"], f"^{TIME}$")

    def test_send_false_then_send(self):
        challenge = self.create(self.address(), send=False)
        self.assertEqual(challenge["state"], "started")
        self.assertIsNone(challenge["message"])
        self.assertEqual(challenge["sends_left"], 5)
        sent = self.expect(self.post(f"/v1/challenges/{challenge['id']}/send"), 202)
        self.assertEqual((sent["id"], sent["state"], sent["sends_left"]), (challenge["id"], "otp_sent", 4))
        self.assertEqual(self.check(challenge, self.code_for(self.address()))["result"], "valid")

    def test_resend_sends_the_same_code_until_the_sends_are_spent(self):
        challenge = self.create(self.address(), purpose="quick")
        first = self.code_for(self.address())
        self.check(challenge, wrong_digits(first))
        for count in range(2, 6):
            sent = self.expect(self.post(f"/v1/challenges/{challenge['id']}/send"), 202)
            self.assertEqual((sent["state"], sent["sends_left"], sent["attempts_left"]), ("otp_sent", 5 - count, 4),
                             "a resend refills no attempts")
            self.assertEqual(sent["expires_at"], challenge["expires_at"], "a resend extends no life")
            self.assertEqual(self.code_for(self.address(), count), first)
        self.expect(self.post(f"/v1/challenges/{challenge['id']}/send"), 429, "sends_exhausted")
        self.assertEqual(self.check(challenge, first)["result"], "valid")


class ShortForm(SharedDaemonTest):
    def test_generate_and_verify(self):
        recipient = self.address()
        created = self.expect(self.post("/v1/otp/generate", {"email": recipient}), 201)
        self.assertEqual((created["recipient"], created["purpose"], created["state"]), (recipient, "login", "otp_sent"))
        code = self.code_for(recipient)
        answer = self.expect(self.post("/v1/otp/verify", {"email": recipient, "otp": wrong_digits(code)}), 200)
        self.assertEqual((answer["valid"], answer["result"], answer["attempts_left"]), (False, "invalid", 4))
        answer = self.expect(self.post("/v1/otp/verify", {"email": recipient, "otp": code}), 200)
        self.assertEqual((answer["valid"], answer["result"]), (True, "valid"))
        answer = self.expect(self.post("/v1/otp/verify", {"email": recipient, "otp": code}), 200)
        self.assertEqual((answer["valid"], answer["result"]), (False, "already_used"))

    def test_second_generate_is_a_resend(self):
        recipient = self.address()
        first = self.expect(self.post("/v1/otp/generate", {"email": recipient, "purpose": "quick"}), 201)
        code = self.code_for(recipient)
        second = self.expect(self.post("/v1/otp/generate", {"email": recipient, "purpose": "quick"}), 202)
        self.assertEqual(second["id"], first["id"])
        self.assertEqual(second["sends_left"], first["sends_left"] - 1)
        self.assertNotEqual(second["message"]["id"], first["message"]["id"])
        self.assertEqual(self.code_for(recipient, 2), code)
        other = self.expect(self.post("/v1/otp/generate", {"email": recipient}), 201)
        self.assertNotEqual(other["id"], first["id"], "another purpose is another challenge")

    def test_second_generate_in_the_cooldown_is_refused(self):
        self.expect(self.post("/v1/otp/generate", {"email": self.address()}), 201)
        self.expect(self.post("/v1/otp/generate", {"email": self.address()}), 429, "resend_cooldown")

    def test_after_the_end_generate_makes_a_new_one(self):
        recipient = self.address()
        first = self.expect(self.post("/v1/otp/generate", {"email": recipient, "purpose": "quick"}), 201)
        answer = self.expect(self.post("/v1/otp/verify", {"email": recipient, "purpose": "quick",
                                                          "otp": self.code_for(recipient)}), 200)
        self.assertEqual(answer["result"], "valid")
        second = self.expect(self.post("/v1/otp/generate", {"email": recipient, "purpose": "quick"}), 201)
        self.assertNotEqual(second["id"], first["id"])

    def test_address_without_a_challenge_answers_as_a_wrong_code(self):
        self.expect(self.post("/v1/otp/generate", {"email": self.address()}), 201)
        code = self.code_for(self.address())
        wrong = self.expect(self.post("/v1/otp/verify", {"email": self.address(), "otp": wrong_digits(code)}), 200)
        unknown = self.expect(self.post("/v1/otp/verify", {"email": self.address("nobody"), "otp": "123456"}), 200)
        self.assertEqual((unknown["valid"], unknown["result"]), (False, "invalid"))
        self.assertEqual(set(unknown), set(wrong), "the answer must not tell who has a challenge")

    def test_fields(self):
        for body, field in (({"recipient": self.address()}, None), ({"email": self.address(), "x": 1}, "x"),
                            ({"email": 1}, "email"), ({}, "email")):
            with self.subTest(body=body):
                problem = self.expect(self.post("/v1/otp/generate", body), 400, "invalid_field")
                if field:
                    self.assertEqual(problem["field"], field)
        problem = self.expect(self.post("/v1/otp/verify", {"email": self.address(), "otp": 123456}), 400,
                              "invalid_field")
        self.assertEqual(problem["field"], "otp")


class Get(SharedDaemonTest):
    def relayed(self, recipient, **fields):
        """A challenge whose mail has left."""
        challenge = self.create(recipient, **fields)

        def shown():
            now = self.expect(self.get(f"/v1/challenges/{challenge['id']}"), 200)
            return now if now["message"]["state"] == "relayed" else None
        return wait_for(shown, f"{challenge['id']} is relayed")

    def test_message(self):
        challenge = self.relayed(self.address())
        message = self.expect(self.get(f"/v1/messages/{challenge['message']['id']}"), 200)
        self.assertEqual((message["id"], message["state"]), (challenge["message"]["id"], "relayed"))
        self.assertIsInstance(message["revision"], int)
        self.assertEqual(message["attempts"], 1)

    def test_unknown_ids(self):
        for target in ("/v1/challenges/01900000-0000-7000-8000-000000000000", "/v1/challenges/nonsense",
                       "/v1/challenges/", "/v1/messages/01900000-0000-7000-8000-000000000000",
                       "/v1/messages/..%2f..%2fetc%2fpasswd", "/v2", "/", "/v1/nonsense", "/V1"):
            with self.subTest(target):
                self.expect(self.get(target), 404, "not_found")
        for verb in ("send", "cancel"):
            self.expect(self.post(f"/v1/challenges/01900000-0000-7000-8000-000000000000/{verb}"), 404, "not_found")
        self.expect(self.post("/v1/challenges/01900000-0000-7000-8000-000000000000/check", {"code": "123456"}), 404,
                    "not_found")

    def test_wait_without_news_of_the_past_returns_at_once(self):
        challenge = self.relayed(self.address())
        now = self.expect(self.get(f"/v1/challenges/{challenge['id']}?wait=60"), 200)
        self.assertEqual(now["revision"], challenge["revision"])
        now = self.expect(self.get(f"/v1/challenges/{challenge['id']}?wait=60&revision={challenge['revision'] - 1}"),
                          200)
        self.assertEqual(now["revision"], challenge["revision"])

    def test_wait_returns_on_delivery(self):
        challenge = self.create(self.address())
        now, rounds = challenge, 0
        while now["message"]["state"] != "relayed" and rounds < 10:
            before, rounds = now, rounds + 1
            now = self.expect(self.get(f"/v1/challenges/{challenge['id']}?wait=60&revision={before['revision']}"), 200)
            self.assertGreater(now["revision"], before["revision"])
        self.assertEqual(now["message"]["state"], "relayed", now)

    def test_wait_returns_on_check(self):
        challenge = self.relayed(self.address())
        code = self.code_for(self.address())
        with Raw(self.shared.api_socket) as waiting:
            waiting.send(http_bytes("GET", f"/v1/challenges/{challenge['id']}?wait=60&revision={challenge['revision']}"))
            self.assertEqual(self.check(challenge, code)["result"], "valid")
            now = self.expect(waiting.response(), 200)
        self.assertEqual(now["state"], "otp_valid")
        self.assertGreater(now["revision"], challenge["revision"])

    def test_wait_of_a_message(self):
        challenge = self.create(self.address())
        target = f"/v1/messages/{challenge['message']['id']}"
        message = self.expect(self.get(target), 200)
        for _ in range(10):
            if message["state"] == "relayed":
                return
            message = self.expect(self.get(f"{target}?wait=60&revision={message['revision']}"), 200)
        self.fail(f"not relayed: {message}")

    def test_wait_ends_with_its_time(self):
        challenge = self.relayed(self.address())
        now = self.expect(self.get(f"/v1/challenges/{challenge['id']}?wait=1&revision={challenge['revision']}"), 200)
        self.assertEqual(now["revision"], challenge["revision"])

    def test_bad_waits(self):
        challenge = self.create(self.address())
        for query, field in (("wait=61&revision=1", "wait"), ("wait=-1", "wait"), ("wait=x", "wait"),
                             ("wait=1&revision=x", "revision"), ("wait=1&revision=-1", "revision")):
            with self.subTest(query):
                problem = self.expect(self.get(f"/v1/challenges/{challenge['id']}?{query}"), 400, "invalid_field")
                self.assertEqual(problem["field"], field)

    def test_pipelined_answers_keep_their_order_behind_a_wait(self):
        challenge = self.relayed(self.address())
        code = self.code_for(self.address())
        with Raw(self.shared.api_socket) as pipe:
            pipe.send(http_bytes("GET", f"/v1/challenges/{challenge['id']}?wait=60&revision={challenge['revision']}")
                      + http_bytes("GET", "/healthz") + http_bytes("GET", "/v1"))
            self.assertEqual(self.check(challenge, code)["result"], "valid")
            self.assertEqual(self.expect(pipe.response(), 200)["state"], "otp_valid")
            self.expect(pipe.response(), 200)
            self.assertIn("features", self.expect(pipe.response(), 200))


class Waits(SharedDaemonTest):
    def test_65th_wait_of_a_uid_is_refused(self):
        challenge = self.create(self.address(), send=False)
        request = http_bytes("GET", f"/v1/challenges/{challenge['id']}?wait=60&revision={challenge['revision']}")
        waiting = [Raw(self.shared.api_socket) for _ in range(65)]
        for connection in waiting:
            self.addCleanup(connection.close)
            connection.send(request)
        ready, _, _ = select.select(waiting, [], [], 30)
        self.assertEqual(len(ready), 1, f"of 65 waits one is refused, {len(ready)} were answered")
        self.expect(ready[0].response(), 429, "too_many_waits")
        self.expect(self.post(f"/v1/challenges/{challenge['id']}/cancel"), 200)
        for connection in waiting:
            if connection is not ready[0]:
                self.assertEqual(self.expect(connection.response(), 200)["state"], "canceled")


class Surface(SharedDaemonTest):
    def test_version_health_and_readiness(self):
        for socket_path in (self.shared.api_socket, self.shared.admin_socket):
            with Client(socket_path) as client:
                version = self.expect(client.request("GET", "/v1"), 200)
                self.assertIsInstance(version["version"], str)
                self.assertIsInstance(version["features"], list)
                self.assertEqual(version["mode"], "development")
                self.expect(client.request("GET", "/healthz"), 200)
                ready = self.expect(client.request("GET", "/readyz"), 200)
                self.assertEqual(ready, {"ready": True, "mode": "development", "store": "ok",
                                         "relays": {"capture": "up"}, "bounces": "off"})

    def test_wrong_methods(self):
        for method, target in (("GET", "/v1/challenges"), ("PUT", "/v1/challenges"), ("DELETE", "/v1"),
                               ("POST", "/healthz"), ("GET", "/v1/otp/generate"), ("PATCH", "/v1/otp/verify"),
                               ("GET", "/v1/challenges/01900000-0000-7000-8000-000000000000/check")):
            with self.subTest(f"{method} {target}"):
                response = self.client.request(method, target)
                self.expect(response, 405, "method_not_allowed")
                self.assertTrue(response.headers.get("allow"), f"no Allow\n{response!r}")

    def test_browsers_of_other_sites_are_refused(self):
        body = {"recipient": self.address()}
        for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
            with self.subTest(headers=headers):
                self.expect(self.post("/v1/challenges", body, headers), 403, "cross_site")
        self.assertEqual(self.shared.mails_to(self.address()), [])

    def test_request_ids_differ(self):
        ids = {self.get("/healthz").headers["x-request-id"] for _ in range(20)}
        self.assertEqual(len(ids), 20)

    def test_openapi_document_is_served(self):
        document = self.expect(self.get("/v1/openapi.json"), 200)
        self.assertRegex(document["openapi"], r"^3\.")
        for path in ("/v1/challenges", "/v1/challenges/{id}/check", "/v1/otp/generate", "/v1/otp/verify"):
            self.assertIn(path, document["paths"])


class Operators(SharedDaemonTest):
    def setUp(self):
        super().setUp()
        self.operator = Client(self.shared.admin_socket)
        self.addCleanup(self.operator.close)

    def admin(self, target):
        return self.operator.request("GET", target)

    def relayed_row(self, recipient):
        def row():
            items = self.expect(self.admin(f"/v1/outbox?recipient={recipient}"), 200)["items"]
            return items[0] if items and items[0]["state"] == "relayed" else None
        return wait_for(row, f"a relayed row for {recipient} in the outbox")

    def test_outbox_shows_the_row_and_its_events_but_no_secret(self):
        recipient, marker = self.address(), "Marker77d1"
        self.create(recipient, purpose="long", data={"name": marker})
        code = self.code_for(recipient)
        row = self.relayed_row(recipient)
        self.assertEqual(row["recipient"], recipient)
        self.assertEqual(row["relay"], "capture")
        self.assertEqual(row["attempts"], 1)
        shown = self.admin(f"/v1/outbox/{row['id']}")
        detail = self.expect(shown, 200)
        self.assertEqual(detail["id"], row["id"])
        types = [event["type"] for event in detail["events"]]
        self.assertIn("message.relayed", types)
        listed = self.admin(f"/v1/outbox?recipient={recipient}")
        for response in (shown, listed):
            for secret in (code, marker, "multipart/alternative"):
                self.assertNotIn(secret.encode(), response.body)

    def test_outbox_pages_are_complete_and_newest_first(self):
        sent = [self.create(f"{number}.{self.address()}")["message"]["id"] for number in range(7)]
        for number in range(7):
            self.relayed_row(f"{number}.{self.address()}")
        found, cursor = [], ""
        for _ in range(1000):
            page = self.expect(self.admin("/v1/outbox?limit=3" + (f"&cursor={cursor}" if cursor else "")), 200)
            self.assertLessEqual(len(page["items"]), 3)
            found += [item["id"] for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        self.assertEqual(len(found), len(set(found)), "a row came twice")
        self.assertEqual([i for i in found if i in sent], sent[::-1])

    def test_outbox_filters(self):
        self.create(self.address())
        self.relayed_row(self.address())
        for query in ("state=relayed", "app=default", "relay=capture"):
            items = self.expect(self.admin(f"/v1/outbox?recipient={self.address()}&{query}"), 200)["items"]
            self.assertEqual(len(items), 1, query)
        for query in ("state=bounced", "app=other", "relay=other"):
            items = self.expect(self.admin(f"/v1/outbox?recipient={self.address()}&{query}"), 200)["items"]
            self.assertEqual(items, [], query)
        for query, field in (("state=lost", "state"), ("limit=0", "limit"), ("limit=501", "limit"),
                             ("limit=x", "limit"), ("cursor=!!", "cursor")):
            problem = self.expect(self.admin(f"/v1/outbox?{query}"), 400, "invalid_field")
            self.assertEqual(problem.get("field"), field, f"{query}: {problem}")
        self.expect(self.admin("/v1/outbox/01900000-0000-7000-8000-000000000000"), 404, "not_found")

    def test_challenge_is_shown_but_not_made(self):
        challenge = self.create(self.address())
        shown = self.expect(self.admin(f"/v1/challenges/{challenge['id']}"), 200)
        self.assertEqual(shown["id"], challenge["id"])
        for target, body in (("/v1/challenges", {"recipient": self.address()}),
                             ("/v1/otp/generate", {"email": self.address()}),
                             ("/v1/otp/verify", {"email": self.address(), "otp": "123456"}),
                             (f"/v1/challenges/{challenge['id']}/check", {"code": "123456"}),
                             (f"/v1/challenges/{challenge['id']}/send", {}),
                             (f"/v1/challenges/{challenge['id']}/cancel", {})):
            with self.subTest(target):
                self.expect(self.operator.request("POST", target, body), (404, 405))

    def test_apps_do_not_see_the_operators_calls(self):
        for target in ("/v1/outbox", "/v1/stats"):
            self.expect(self.get(target), 404, "not_found")

    def test_stats_count(self):
        before = self.expect(self.admin("/v1/stats"), 200)
        self.assertLessEqual({"messages", "oldest_seconds", "accepted_total", "ended_total", "challenges"}, set(before))
        self.create(self.address())
        self.relayed_row(self.address())
        after = self.expect(self.admin("/v1/stats"), 200)
        self.assertEqual(after["accepted_total"], before["accepted_total"] + 1)
        self.assertEqual(after["messages"].get("relayed", 0), before["messages"].get("relayed", 0) + 1)
        self.assertEqual(after["challenges"].get("otp_sent", 0), before["challenges"].get("otp_sent", 0) + 1)

    def test_mailotpctl(self):
        challenge = self.create(self.address())
        row = self.relayed_row(self.address())
        for words, expected in ((("status",), "development"), (("outbox", "list"), self.address()),
                                (("outbox", "show", row["id"]), "message.relayed"),
                                (("challenge", "show", challenge["id"]), "otp_sent"),
                                (("--json", "outbox", "list"), row["id"])):
            with self.subTest(" ".join(words)):
                done = self.shared.ctl(*words)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertIn(expected, done.stdout)
                self.assertNotRegex(done.stdout, r"\x1b", "no terminal escapes into a pipe")
        done = self.shared.ctl("challenge", "show", "01900000-0000-7000-8000-000000000000")
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertTrue(re.search("not.?found", done.stdout + done.stderr, re.I), done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
