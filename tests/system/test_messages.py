"""POST /v1/messages: templated mails that are no code."""
import datetime
import os
import signal
import unittest

from harness import SystemTest, wait_for

FILES = {
    "welcome/template.toml": '[variables.name]\nrequired = true\nsample = "Alice"\n',
    "welcome/en/subject.mustache": "Welcome to {{app}}\n",
    "welcome/en/text.mustache": "Hello {{name}},\nsince 2026.\n",
    "welcome/en/html.mustache": "<p>Hello {{name}}, since 2026.</p>\n",
    "welcome/de/subject.mustache": "Willkommen bei {{app}}\n",
    "welcome/de/text.mustache": "Hallo {{name}}\n",
    "welcome/de/html.mustache": "<p>Hallo {{name}}</p>\n",
}


def in_seconds(seconds):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)).isoformat()


class Messages(SystemTest):
    def setUp(self):
        self.daemon = self.new_daemon()
        folder = os.path.join(self.daemon.folder, "templates")
        for name, text in FILES.items():
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        self.daemon.write_config(daemon={"templates": folder})
        self.daemon.start()

    def post(self, body, headers=None):
        return self.daemon.api("POST", "/v1/messages", body, headers)

    def message(self, recipient, **fields):
        return {"recipient": recipient, "template": "welcome", "data": {"name": "Alice"}, **fields}

    def get(self, message):
        return self.expect(self.daemon.api("GET", f"/v1/messages/{message}"), 200)

    def wait_state(self, message, state):
        wait_for(lambda: self.get(message)["state"] == state,
                 lambda: f"{state}: {self.get(message)}; {self.daemon.log_tail()}")

    def test_its_whole_life(self):
        response = self.post(self.message("Alice@Example.org", locale="de-AT", metadata={"order": [7]}))
        made = self.expect(response, 201)
        self.assertEqual(response.headers["location"], f"/v1/messages/{made['id']}")
        self.assertEqual(made["state"], "queued")
        self.assertEqual(made["recipient"], "Alice@example.org")
        self.assertEqual((made["template"], made["locale"], made["metadata"]), ("welcome", "de", {"order": [7]}))
        self.assertIsNone(made["challenge"])
        life = datetime.datetime.fromisoformat(made["not_after"]) - datetime.datetime.fromisoformat(made["created_at"])
        self.assertEqual(life, datetime.timedelta(days=5))
        waited = self.daemon.api("GET", f"/v1/messages/{made['id']}?wait=30&revision={made['revision']}")
        self.wait_state(made["id"], "relayed")
        news = self.expect(waited, 200)
        self.assertGreater(news["revision"], made["revision"])
        self.assertEqual(set(news), set(made), "the answer of the POST is that of the GET")

        mail = self.daemon.mails_to("Alice@example.org")[0]
        self.assertEqual(mail["Subject"], "Willkommen bei Example")
        self.assertEqual(mail["Message-ID"], made["message_id"])
        self.assertIn("Hallo Alice", mail.get_body(("plain",)).get_content())
        captured = self.expect(self.daemon.api("GET", "/v1/captured?recipient=Alice@example.org"), 200)["items"]
        self.assertEqual([one["subject"] for one in captured], ["Willkommen bei Example"])

        row = self.expect(self.daemon.admin("GET", f"/v1/outbox/{made['id']}"), 200)
        self.assertEqual(row["kind"], "templated")
        self.assertEqual([event["type"] for event in row["events"]], ["message.queued", "message.relayed"])
        stats = self.expect(self.daemon.admin("GET", "/v1/stats"), 200)
        self.assertEqual((stats["accepted_total"], stats["ended_total"]["relayed"]), (1, 1))
        self.assertEqual(sum(stats["challenges"].values()), 0)

    def test_what_is_refused_is_not_queued(self):
        for fields, status, code, field in (
                ({"template": "none"}, 422, "template_unknown", "template"),
                ({"template": "otp", "data": {}}, 422, "template_failed", "template"),
                ({"data": {}}, 422, "template_failed", "data.name"),
                ({"data": {"name": "A", "city": "Graz"}}, 422, "template_failed", "data.city"),
                ({"data": {"name": "A\nBcc: x@y"}}, 422, "template_failed", "data.name"),
                ({"not_after": in_seconds(-1)}, 400, "invalid_field", "not_after"),
                ({"not_after": in_seconds(6 * 86400)}, 400, "invalid_field", "not_after"),
                ({"template": None}, 400, "invalid_field", "template"),
                ({"purpose": "login"}, 400, "invalid_field", "purpose"),
                ({"recipient": "nobody"}, 400, "invalid_recipient", "recipient")):
            with self.subTest(**fields):
                problem = self.expect(self.post({**self.message("bob@example.org"), **fields}), status, code)
                self.assertEqual(problem["field"], field)
        challenge = {"recipient": "bob@example.org", "template": "welcome"}
        self.expect(self.daemon.api("POST", "/v1/challenges", challenge), 422, "template_failed")
        self.expect(self.daemon.admin("POST", "/v1/messages", self.message("bob@example.org")), (404, 405))
        self.assertEqual(self.expect(self.daemon.admin("GET", "/v1/stats"), 200)["accepted_total"], 0)

    def test_one_with_a_key_is_sent_once_also_when_its_time_is_past(self):
        body = self.message("carol@example.org", not_after=in_seconds(60))
        first = self.post(body, {"Idempotency-Key": "k"})
        self.expect(first, 201)
        again = self.post(body, {"Idempotency-Key": "k"})
        self.assertEqual((again.status, again.headers["location"], again.body),
                         (first.status, first.headers["location"], first.body))
        self.wait_state(first.json["id"], "relayed")
        self.assertEqual(len(self.daemon.mails_to("carol@example.org")), 1)

        short = self.message("dora@example.org", not_after=in_seconds(1))
        first = self.post(short, {"Idempotency-Key": "short"})
        self.expect(first, 201)
        wait_for(lambda: self.post(short).status == 400, "its time is past")
        again = self.post(short, {"Idempotency-Key": "short"})
        self.assertEqual((again.status, again.body), (first.status, first.body))

    def test_it_outlives_a_kill(self):
        os.kill(self.daemon.agent(), signal.SIGSTOP)  # nothing is sent
        made = self.expect(self.post(self.message("eve@example.org")), 201)
        self.daemon.kill()
        self.daemon.start()
        self.wait_state(made["id"], "relayed")
        self.assertGreaterEqual(len(self.daemon.mails_to("eve@example.org")), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
