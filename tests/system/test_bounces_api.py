#!/usr/bin/env python3
"""A bounce that a provider reports: the page that waits is answered, the address is left alone and heals. Real
mailboxes and MTAs are test_real_bounces.py's part."""
import datetime
import json
import os
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import SystemTest, Client, wait_for  # noqa: E402

DEAD = {"action": "failed", "status": "5.1.1", "diagnostic": "smtp; 550 5.1.1 <alice.doe> no such user"}


class Bounces(SystemTest):
    def setUp(self):
        self.daemon = self.new_daemon(**{"purpose.login": {"cooldown": "0s"}})
        self.daemon.start()

    def create(self, recipient, status=201, **fields):
        return self.expect(self.daemon.api("POST", "/v1/challenges", {"recipient": recipient, **fields}), status)

    def challenge(self, made):
        return self.expect(self.daemon.api("GET", f"/v1/challenges/{made['id']}"), 200)

    def sent(self, recipient, **fields):
        """A challenge whose mail has left, and the Message-ID of that."""
        made = self.create(recipient, **fields)
        wait_for(lambda: self.challenge(made)["message"]["state"] == "relayed",
                 lambda: f"relayed: {self.challenge(made)}; {self.daemon.log_tail()}")
        message = self.expect(self.daemon.api("GET", f"/v1/messages/{made['message']['id']}"), 200)
        return self.challenge(made), message["message_id"]

    def report(self, message_id, **fields):
        return self.daemon.admin("POST", "/v1/bounces", {"message_id": message_id, **DEAD, **fields})

    def recipient(self, address):
        return self.expect(self.daemon.api("GET", f"/v1/recipients/{address}"), 200)

    def bounces(self, query=""):
        return self.expect(self.daemon.admin("GET", "/v1/bounces" + query), 200)["items"]

    def test_the_page_that_waits_is_answered_at_once(self):
        challenge, message_id = self.sent("alice.doe@example.org")
        answered = []

        def wait():
            with Client(self.daemon.api_socket) as client:
                started = time.monotonic()
                response = client.request(
                    "GET", f"/v1/challenges/{challenge['id']}?wait=60&revision={challenge['revision']}")
                answered.append((response, time.monotonic() - started))

        waiting = threading.Thread(target=wait)
        waiting.start()
        row = self.expect(self.report(message_id), 200)
        waiting.join(60)
        self.assertEqual(len(answered), 1, "the wait was not answered")
        news = self.expect(answered[0][0], 200)
        self.assertGreater(news["revision"], challenge["revision"])
        self.assertLess(answered[0][1], 55, "it was the end of its patience, and no bounce, that answered it")
        self.assertEqual(news["state"], "otp_sent", "the challenge stays open")
        self.assertEqual(news["message"]["state"], "bounced")
        verdict = news["message"]["verdict"]
        self.assertEqual({**verdict, "detail": None, "at": None},
                         {"kind": "undeliverable", "class": "user-unknown", "permanent": True, "status": "5.1.1",
                          "detail": None, "source": "dsn", "at": None})
        self.assertEqual((row["source"], row["kind"], row["class"], row["message"], row["weight"]),
                         ("provider", "bounce", "user-unknown", challenge["message"]["id"], "hard"))

    def test_an_address_that_is_dead_is_left_alone_and_heals_with_a_right_code(self):
        challenge, message_id = self.sent("alice.doe@example.org")
        self.assertEqual(self.recipient("alice.doe@example.org"),
                         {"address": "alice.doe@example.org", "deliverable": "unknown", "suppressed": None,
                          "last_verdict": None})
        self.expect(self.report(message_id), 200)
        known = self.recipient("Alice.Doe@EXAMPLE.org")
        self.assertEqual((known["deliverable"], known["suppressed"]["class"], known["last_verdict"]["class"]),
                         ("no", "user-unknown", "user-unknown"))
        for query, same in (("", True), ("?app=default", True), ("?app=other", False)):
            seen = self.expect(self.daemon.admin("GET", "/v1/recipients/Alice.Doe@EXAMPLE.org" + query), 200)
            self.assertEqual(seen == known, same, (query, seen))
        until = datetime.datetime.fromisoformat(known["suppressed"]["until"])
        left = until - datetime.datetime.now(datetime.timezone.utc)
        self.assertTrue(datetime.timedelta(0) < left <= datetime.timedelta(hours=1), left)

        refused = self.daemon.api("POST", "/v1/challenges", {"recipient": "alice.doe@example.org"})
        self.assert_problem(refused, "recipient_suppressed")
        self.assertEqual(refused.status, 422)
        self.assertEqual({name: refused.json[name] for name in ("class", "until", "probe_at")}, known["suppressed"])
        for target, body in (("/v1/otp/generate", {"email": "alice.doe@example.org", "purpose": "quick"}),):
            self.assert_problem(self.daemon.api("POST", target, body), "recipient_suppressed")
        self.create("bob@example.org")  # others are not held back

        code = self.daemon.code_for("alice.doe@example.org")
        checked = self.expect(self.daemon.api("POST", f"/v1/challenges/{challenge['id']}/check", {"code": code}), 200)
        self.assertTrue(checked["valid"])
        healed = self.recipient("alice.doe@example.org")
        self.assertEqual((healed["deliverable"], healed["suppressed"]), ("yes", None))
        self.create("alice.doe@example.org")

    def test_what_is_told_twice_counts_once(self):
        _, message_id = self.sent("alice.doe@example.org")
        first = self.expect(self.report(message_id), 200)
        again = self.expect(self.report(message_id.strip("<>")), 200)
        self.assertEqual(again, first)
        self.assertEqual(len(self.bounces()), 1)
        stats = self.expect(self.daemon.admin("GET", "/v1/stats"), 200)
        self.assertEqual({name: count for name, count in stats["bounces"].items() if count}, {"user-unknown": 1})

    def test_what_names_none_of_our_mails_is_not_found(self):
        _, message_id = self.sent("alice.doe@example.org")
        token = message_id.strip("<>").partition("@")[0]
        forged = token[:-1] + ("b" if token[-1] != "b" else "c")
        for name in (f"<{forged}@otp.example.org>", "<hello@otp.example.org>", "x"):
            self.assert_problem(self.report(name), "not_found")
        self.assertEqual(self.bounces(), [])
        self.assertIsNone(self.recipient("alice.doe@example.org")["suppressed"])

    def test_what_is_no_report_is_refused(self):
        for body, field in (({}, "message_id"), ({"envid": "x"}, "action"), ({"envid": "x", "action": "gone"}, "action"),
                            ({"envid": "x", "action": "failed", "status": "5.1"}, "status"),
                            ({"envid": "x", "action": "failed", "code": "1"}, "code")):
            response = self.daemon.admin("POST", "/v1/bounces", body)
            self.assert_problem(response, "invalid_field")
            self.assertEqual(response.json["field"], field)
        for query in ("class=nice", "kind=nice", "message=1", "recipient=x", "limit=0", "cursor=x"):
            response = self.daemon.admin("GET", "/v1/bounces?" + query)
            self.assert_problem(response, "invalid_field")
            self.assertEqual(response.json["field"], query.partition("=")[0])
        for socket in (self.daemon.api, self.daemon.admin):
            self.assert_problem(socket("GET", "/v1/recipients/nobody"), "invalid_recipient")
        for method, target in (("GET", "/v1/bounces"), ("POST", "/v1/bounces"), ("GET", "/v1/suppressions"),
                               ("PUT", "/v1/suppressions/a@b.example")):
            self.assert_problem(self.daemon.api(method, target, {} if method != "GET" else None), "not_found")

    def test_the_ledger_in_pages_and_by_what_is_asked(self):
        _, first = self.sent("alice.doe@example.org")
        challenge, second = self.sent("bob@example.org")
        self.expect(self.report(first), 200)
        self.expect(self.report(second, action="delayed", status="4.2.2", diagnostic="over quota"), 200)
        rows = self.bounces()
        self.assertEqual([row["recipient"] for row in rows], ["bob@example.org", "alice.doe@example.org"])
        self.assertEqual(self.bounces("?class=mailbox-full"), rows[:1])
        self.assertEqual(self.bounces("?kind=bounce"), rows[1:])
        self.assertEqual(self.bounces("?recipient=Bob@example.org"), rows[:1])
        self.assertEqual(self.bounces(f"?message={challenge['message']['id']}"), rows[:1])
        self.assertEqual(self.bounces("?app=default"), rows)
        self.assertEqual(self.bounces("?app=other"), [])
        page = self.expect(self.daemon.admin("GET", "/v1/bounces?limit=1"), 200)
        self.assertEqual(page["items"], rows[:1])
        self.assertEqual(self.bounces(f"?limit=1&cursor={page['next_cursor']}"), rows[1:])
        # Late is no end: the message is still on its way, and nobody is left alone for it.
        late = self.challenge(challenge)["message"]
        self.assertEqual((late["state"], late["verdict"]["kind"]), ("relayed", "delayed"))
        self.assertIsNone(self.recipient("bob@example.org")["suppressed"])
        shown = self.daemon.ctl("bounces", "--class", "user-unknown", "--json")
        self.assertEqual((shown.returncode, json.loads(shown.stdout)), (0, rows[1]))

    def test_an_operator_suppresses_and_lifts(self):
        put = self.daemon.admin("PUT", "/v1/suppressions/Carol@example.org", {"class": "policy"})
        row = self.expect(put, 200)
        self.assertEqual((row["class"], row["source"], row["until"], row["app"]), ("policy", "operator", None, None))
        listed = self.expect(self.daemon.admin("GET", "/v1/suppressions"), 200)
        self.assertEqual(listed, {"items": [row], "next_cursor": None})
        self.assertEqual(self.expect(self.daemon.admin("GET", "/v1/suppressions?recipient=x@example.org"), 200)["items"], [])
        self.assert_problem(self.daemon.api("POST", "/v1/challenges", {"recipient": "carol@example.org"}),
                            "recipient_suppressed")
        listed = self.daemon.ctl("suppress", "list", "--json")
        self.assertEqual(json.loads(listed.stdout), row)
        self.assertEqual(self.daemon.ctl("suppress", "remove", "carol@example.org").returncode, 0)
        self.assertEqual(self.daemon.ctl("suppress", "remove", "carol@example.org").returncode, 1)
        self.create("carol@example.org")
        for body, field in (({}, "class"), ({"class": "policy", "until": "2020-01-01T00:00:00Z"}, "until")):
            response = self.daemon.admin("PUT", "/v1/suppressions/carol@example.org", body)
            self.assert_problem(response, "invalid_field")
            self.assertEqual(response.json["field"], field)

    def test_the_log_tells_of_a_bounce_without_the_address(self):
        _, message_id = self.sent("alice.doe@example.org")
        self.expect(self.report(message_id, status="5.7.1", diagnostic="alice.doe looks like spam"), 200)
        self.expect(self.daemon.admin("PUT", "/v1/suppressions/alice.doe@example.org", {"class": "policy"}), 200)
        line = wait_for(lambda: [one for one in self.daemon.log().splitlines() if "event=bounce " in one],
                        self.daemon.log_tail)[0]
        for part in ("source=provider", "kind=bounce", "permanent=yes", "status=5.7.1", "domain=example.org"):
            self.assertIn(part, line)
        self.assertNotIn("alice.doe", self.daemon.log())

    def test_a_ready_daemon_says_that_no_mailbox_is_read(self):
        self.assertEqual(self.expect(self.daemon.api("GET", "/readyz"), 200)["bounces"], "off")


class Mailbox(SystemTest):
    """With [bounces], and nobody there who answers: mail is sent all the same."""

    def test_a_mailbox_that_is_down_stops_nothing(self):
        password = "correct horse battery staple"
        daemon = self.new_daemon()
        path = os.path.join(daemon.folder, "imap.password")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
            file.write(password)
        daemon.write_config(bounces={"host": "127.0.0.1", "port": 1, "tls": "none", "username": "bounces",
                                     "password_file": path})
        daemon.start()
        ready = self.expect(daemon.api("GET", "/readyz"), 200)
        self.assertEqual((ready["ready"], ready["bounces"]), (True, "down"))
        made = self.expect(daemon.api("POST", "/v1/challenges", {"recipient": "a@example.org"}), 201)
        daemon.code_for("a@example.org")
        wait_for(lambda: "event=mailbox_down" in daemon.log() or "agent=imap" in daemon.log(), daemon.log_tail)
        state = self.expect(daemon.api("GET", f"/v1/challenges/{made['id']}"), 200)["message"]["state"]
        self.assertIn(state, ("sending", "relayed"))
        self.assertEqual(daemon.stop(), 0)
        self.assertNotIn("step=\"agent\"", daemon.log())
        self.assertNotIn(password, daemon.log())


if __name__ == "__main__":
    unittest.main()
