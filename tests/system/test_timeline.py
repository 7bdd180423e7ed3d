"""Why did Alice get no mail? `mailotpctl timeline` alone tells it, in eight situations, with the output that
docs/OPERATING.md shows. MAILOTP_REWRITE_DOCS=1 writes that page's examples anew.
"""
import json
import os
import re
import shutil
import sys
import tempfile
import threading
import unittest

from harness import SystemTest, wait_for

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "smtp"))
from scripted_relay import Rule, ScriptedRelay, reply  # noqa: E402

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, os.pardir)
PAGE = os.path.join(ROOT, "docs", "OPERATING.md")
ALICE = "alice@example.org"
NO_ID = "0190b5a0-7c1e-7e3a-9f00-0123456789ab"
TEMPLATES = os.environ.get("MAILOTP_TEMPLATES", os.path.join(ROOT, "templates"))
PATIENT = {"retry": ["5m"], "greylist": ["5m"]}
REWRITE = os.environ.get("MAILOTP_REWRITE_DOCS") == "1"
_page = threading.Lock()


def as_printed(text):
    """The output with what differs from run to run made alike: times, ids, uids, ports, and how long a retry takes."""
    times, ids = iter(range(1000)), {}

    def time(_):
        return f"2026-11-28T10:00:{next(times):02d}.000Z"

    def one_id(found):
        return ids.setdefault(found.group(), f"0190b5a0-7c1e-7e3a-9f00-{len(ids) + 1:012x}")

    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time, text)
    text = re.sub(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", one_id, text)
    text = re.sub(r"\b(app|operator) \d+", r"\1 1000", text)
    text = re.sub(r"127\.0\.0\.1(:| port )\d+", r"127.0.0.1\g<1>587", text)
    text = re.sub(r"\bin (?:\d+m)?\d+s\b", "in 4m58s", text)
    return re.sub(r"another (?:\d+m)?\d+s\b", "another 59m58s", text)


class Timeline(SystemTest):
    def up(self, relay, login=None, **tables):
        one = {"name": "primary", "host": "127.0.0.1", "port": relay.port, "tls": "none", "auth": "none", **(login or {})}
        daemon = self.new_daemon(**{"daemon": {"mode": "production"}, "delivery": PATIENT,
                                    "purpose.login": {"cooldown": "0s"}, "relay": [one], **tables})
        daemon.start()
        return daemon

    def relay(self, *rules, **how):
        relay = ScriptedRelay(list(rules), **how).start(0)
        self.addCleanup(relay.stop)
        return relay

    def create(self, daemon, recipient=ALICE, status=201, **fields):
        return self.expect(daemon.api("POST", "/v1/challenges", {"recipient": recipient, **fields}), status)

    def until(self, daemon, made, *states):
        message = made["message"]["id"]

        def there():
            row = self.expect(daemon.admin("GET", f"/v1/outbox/{message}"), 200)
            return row if row["state"] in states else None
        return wait_for(there, lambda: f"{message} is {states}: {daemon.log_tail()}")

    def relay_row(self, daemon):
        return self.expect(daemon.admin("GET", "/v1/relays"), 200)["items"][0]

    def story(self, daemon, *words):
        """What the tool prints of Alice, as a screen without end shows it."""
        done = daemon.ctl("timeline", *(words or [ALICE]))
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return done.stdout

    def assert_shown(self, name, story, *causes):
        """The story names its causes, and is the one of the page's block of this name."""
        for cause in causes:
            self.assertRegex(story, cause)
        printed = as_printed(story)
        block = f"<!-- {name} -->\n```\n$ mailotpctl timeline {ALICE}\n"
        with _page, open(PAGE, encoding="utf-8") as file:
            page = file.read()
            self.assertEqual(page.count(block), 1, f"docs/OPERATING.md has no example {name}")
            head, rest = page.split(block)
            shown, tail = rest.split("```\n", 1)
            if REWRITE:
                with open(PAGE, "w", encoding="utf-8") as out:
                    out.write(head + block + printed + "```\n" + tail)
                shown = printed
        self.assertEqual(printed, shown, "docs/OPERATING.md; MAILOTP_REWRITE_DOCS=1 writes it anew")

    def test_unknown_mailbox(self):
        relay = self.relay(Rule("rcpt", reply("550 5.1.1 <alice@example.org>: no such user here")))
        daemon = self.up(relay)
        self.until(daemon, self.create(daemon), "failed")
        self.assert_shown("unknown mailbox", self.story(daemon),
                          r"relay primary refused the recipient: 550 5\.1\.1 .*no such user here",
                          r"failed, there is no such mailbox \(user-unknown, status 5\.1\.1\)")

    def test_relay_down(self):
        relay = self.relay()
        daemon = self.up(relay)
        relay.stop()
        made = self.create(daemon)
        self.until(daemon, made, "deferred")
        wait_for(lambda: self.relay_row(daemon)["state"] == "down", lambda: f"down: {self.relay_row(daemon)}")
        self.assert_shown("relay down", self.story(daemon), r"(?m)^relay primary is down: .*refused")

    def test_wrong_relay_password(self):
        relay = self.relay(users={"shop": "right"})
        with tempfile.NamedTemporaryFile("w", encoding="ascii") as password:
            password.write("wrong\n")
            password.flush()
            daemon = self.up(relay, login={"auth": "plain", "username": "shop", "password_file": password.name})
            self.until(daemon, self.create(daemon), "deferred")
            wait_for(lambda: self.relay_row(daemon)["state"] == "down", lambda: f"down: {self.relay_row(daemon)}")
            self.assert_shown("wrong relay password", self.story(daemon), r"(?m)^relay primary is down: .*535")

    def test_greylisted(self):
        relay = self.relay(Rule("rcpt", reply("451 4.7.1 Greylisted, please try again in 300 seconds")))
        daemon = self.up(relay)
        self.until(daemon, self.create(daemon), "deferred")
        self.assert_shown("greylisted", self.story(daemon),
                          r"not yet: relay primary refused the recipient: 451 4\.7\.1 Greylisted",
                          r"(?m)^mail .*: deferred, .*Greylisted.*; next try in")

    def test_suppressed(self):
        daemon = self.up(self.relay(Rule("rcpt", reply("550 5.1.1 no such user"), nth=1)))
        self.until(daemon, self.create(daemon), "failed")
        for _ in range(3):
            self.create(daemon, status=422)
        wait_for(lambda: "recipient.refused" in self.story(daemon), "the refusal is in the timeline")
        self.assert_shown("suppressed", self.story(daemon),
                          r"no more mail to it: there is no such mailbox \(user-unknown\)",
                          r"refused to app \d+: the address is suppressed", r"(?m)^suppressed: ")

    def test_rate_limited(self):
        daemon = self.up(self.relay(), limits={"recipient_sends": ["2/15m"]})
        for _ in range(2):
            self.until(daemon, self.create(daemon), "relayed")
        for _ in range(3):
            self.create(daemon, status=429)
        wait_for(lambda: "recipient.refused" in self.story(daemon), "the refusal is in the timeline")
        self.assert_shown("rate limited", self.story(daemon),
                          r"refused to app \d+: a limit is full \(recipient_sends: 2 in 900 s\), until ")

    def test_bounced_later(self):
        daemon = self.up(self.relay())
        row = self.until(daemon, self.create(daemon), "relayed")
        message = self.expect(daemon.admin("GET", f"/v1/messages/{row['id']}"), 200)
        self.expect(daemon.admin("POST", "/v1/bounces", {"message_id": message["message_id"], "action": "failed",
                                                         "status": "5.2.2", "diagnostic": "smtp; 552 5.2.2 mailbox full"}), 200)
        self.assert_shown("bounced later", self.story(daemon), r"says: the mailbox is full \(mailbox-full, status 5\.2\.2\)",
                          r"(?m)^mail .*: bounced, the mailbox is full")

    def test_code_expired_before_delivery(self):
        relay = self.relay(Rule("rcpt", reply("450 4.2.1 mailbox busy")))
        daemon = self.up(relay, **{"purpose.login": {"cooldown": "0s", "usable_minimum": "1s"}})
        self.until(daemon, self.create(daemon, ttl_seconds=3), "expired")
        self.assert_shown("code expired before delivery", self.story(daemon),
                          r"at the next try its code would have been dead: relay primary .*: 450 4\.2\.1 mailbox busy")

    def test_by_id_json_and_on_a_narrow_screen(self):
        daemon = self.up(self.relay(Rule("rcpt", reply("550 5.1.1 no such user"), to="alice")))
        made = self.create(daemon)
        self.until(daemon, made, "failed")
        self.until(daemon, self.create(daemon, "bob@example.org"), "relayed")
        whole = [json.loads(line) for line in self.story(daemon, ALICE, "--json").splitlines()]
        self.assertEqual([row["type"] for row in whole],
                         ["challenge.created", "message.queued", "message.failed", "recipient.reported",
                          "recipient.suppressed"])
        self.assertEqual({row["challenge"] for row in whole}, {made["id"]})
        self.assertEqual(whole[1]["template"]["name"], "otp")
        for subject in (made["id"], made["message"]["id"]):
            self.assertEqual([json.loads(line) for line in self.story(daemon, subject, "--json").splitlines()], whole)
            self.assertIn("(user-unknown, status 5.1.1)", self.story(daemon, subject))
        pages = self.expect(daemon.admin("GET", f"/v1/timeline?recipient={ALICE}&limit=2"), 200)
        self.assertEqual(len(pages["items"]), 2)
        rest = self.expect(daemon.admin("GET", f"/v1/timeline?recipient={ALICE}&cursor={pages['next_cursor']}"), 200)
        self.assertEqual(pages["items"] + rest["items"], whole)
        self.assertIsNone(rest["next_cursor"])
        self.assertIn("nothing is kept of nobody@example.org", self.story(daemon, "nobody@example.org"))
        self.assertEqual(self.story(daemon, "nobody@example.org", "--json"), "")
        unknown = daemon.ctl("timeline", NO_ID)
        self.assertEqual((unknown.returncode, unknown.stdout), (1, ""), unknown.stderr)
        self.assertEqual(daemon.ctl("timeline", "neither").returncode, 2)
        for query in ("", f"?recipient={ALICE}&challenge={made['id']}"):
            self.expect(daemon.admin("GET", "/v1/timeline" + query), 400, "invalid_field")
        self.expect(daemon.admin("GET", "/v1/timeline?recipient=no"), 400, "invalid_field")
        self.expect(daemon.admin("GET", f"/v1/timeline?recipient={ALICE}&cursor=zz"), 400, "invalid_field")
        self.expect(daemon.api("GET", f"/v1/timeline?recipient={ALICE}"), 404, "not_found")

    def test_a_mail_that_is_no_code_has_a_standing_under_its_id(self):
        with tempfile.TemporaryDirectory() as folder:
            os.makedirs(os.path.join(folder, "note", "en"))
            for part in ("subject", "text", "html"):
                with open(os.path.join(folder, "note", "en", part + ".mustache"), "w", encoding="utf-8") as file:
                    file.write("Your password was changed\n")
            daemon = self.up(self.relay(Rule("rcpt", reply("550 5.1.1 no such user"))),
                             daemon={"mode": "production", "templates": folder})
            made = self.expect(daemon.api("POST", "/v1/messages", {"recipient": ALICE, "template": "note"}), 201)
            self.until(daemon, {"message": made}, "failed")
            self.assertRegex(self.story(daemon, made["id"]), r"(?m)^mail .*: failed, there is no such mailbox")

    def test_a_repeat_that_is_told_its_first_answer_is_no_refusal(self):
        """Its template has changed since and wants more than it gives."""
        with tempfile.TemporaryDirectory() as folder:
            daemon = self.up(self.relay(), daemon={"mode": "production", "templates": folder})
            body = {"recipient": ALICE}
            first = self.expect(daemon.api("POST", "/v1/challenges", body, {"Idempotency-Key": "once"}), 201)
            shutil.copytree(os.path.join(TEMPLATES, "otp"), os.path.join(folder, "otp"))
            with open(os.path.join(folder, "otp", "template.toml"), "a", encoding="utf-8") as manifest:
                manifest.write('\n[variables.needed]\nrequired = true\nsample = "x"\n')
            self.expect(daemon.admin("POST", "/v1/reload", {}), 200)
            again = self.expect(daemon.api("POST", "/v1/challenges", body, {"Idempotency-Key": "once"}), 201)
            self.assertEqual(again["id"], first["id"])
            self.create(daemon, "bob@example.org", status=422)  # as one that is new is refused
            wait_for(lambda: "recipient.refused" in self.story(daemon, "bob@example.org"), "that one is noted")
            self.assertNotIn("recipient.refused", self.story(daemon))

    def test_refusals_of_a_template_and_of_a_challenge_are_told_and_bounded(self):
        daemon = self.up(self.relay(), **{"purpose.login": {"cooldown": "1h"}})
        made = self.create(daemon)
        self.until(daemon, made, "relayed")
        for _ in range(30):
            self.expect(daemon.api("POST", f"/v1/challenges/{made['id']}/send"), 429, "resend_cooldown")
        self.create(daemon, status=422, data={"unheard-of": "x"})

        def refusals():
            rows = [json.loads(line) for line in self.story(daemon, ALICE, "--json").splitlines()]
            return [row for row in rows if row["type"] == "recipient.refused"]
        wait_for(lambda: len(refusals()) >= 2, lambda: f"both are noted: {refusals()}")
        cooldown, template = refusals()
        self.assertEqual((cooldown["detail"]["code"], cooldown["challenge"]), ("resend_cooldown", made["id"]))
        self.assertEqual((template["detail"]["code"], template["challenge"]), ("template_failed", None))
        self.assertIn("the last mail is too recent", self.story(daemon))
        self.assertIn("its template cannot be filled in", self.story(daemon))
        self.assertNotIn('"x"', self.story(daemon, ALICE, "--json"))


if __name__ == "__main__":
    unittest.main()
