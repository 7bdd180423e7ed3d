"""What an operator orders of messages: they stay, leave, end or are tried now, and the log says who ordered it."""
import os
import sys
import threading
import unittest

from harness import SystemTest, wait_for

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "smtp"))
from scripted_relay import Rule, ScriptedRelay, drop, held, reply  # noqa: E402

NO_ID = "0190b5a0-7c1e-7e3a-9f00-0123456789ab"
ORDERS = ("retry", "hold", "release", "cancel")
# So long that no retry of its own comes within a test.
PATIENT = {"retry": ["5m"], "retry_templated": ["5m"]}


class Orders(SystemTest):
    def relay(self, *rules):
        relay = ScriptedRelay(list(rules)).start(0)
        self.addCleanup(relay.stop)
        return relay

    def up(self, relay):
        daemon = self.new_daemon(daemon={"mode": "production"}, delivery=PATIENT,
                                 relay=[{"name": "only", "host": "127.0.0.1", "port": relay.port, "tls": "none", "auth": "none"}])
        daemon.start()
        return daemon

    def create(self, daemon, recipient="alice@example.org"):
        return self.expect(daemon.api("POST", "/v1/challenges", {"recipient": recipient}), 201)

    def row(self, daemon, message):
        return self.expect(daemon.admin("GET", f"/v1/outbox/{message}"), 200)

    def until(self, daemon, message, state):
        return wait_for(lambda: (lambda row: row if row["state"] == state else None)(self.row(daemon, message)),
                        lambda: f"{message} is {state}: {self.row(daemon, message)}; {daemon.log_tail()}")

    def order(self, daemon, message, order, state):
        """The order is done: its answer is the row, and the log has one line more of it, without an address."""
        name = {"retry": "retried", "hold": "held", "release": "released", "cancel": "canceled"}[order]
        line = f"event=message_{name} id={message} state={state} uid={os.getuid()}\n"
        before = daemon.log().count(line)
        answer = self.expect(daemon.admin("POST", f"/v1/outbox/{message}/{order}"), 200)
        self.assertEqual((answer["id"], answer["state"]), (message, state))
        listed = self.row(daemon, message)
        self.assertEqual(answer.keys(), listed.keys() - {"events"})
        wait_for(lambda: daemon.log().count(line) == before + 1, lambda: f"{line}; {daemon.log_tail()}")
        return answer

    def refused(self, daemon, message, *orders):
        for order in orders:
            self.expect(daemon.admin("POST", f"/v1/outbox/{message}/{order}", {}), 409, "message_closed")

    def by_operator(self, daemon, message):
        """[(type, order)] of its events that an operator caused."""
        events = [event for event in self.row(daemon, message)["events"] if event["actor"] == "operator"]
        self.assertEqual({event["uid"] for event in events}, {os.getuid()})
        return [(event["type"], event["detail"]["order"]) for event in events]

    def suspend(self, daemon, what="suspend"):
        self.expect(daemon.admin("POST", f"/v1/relays/only/{what}"), 200)

    def test_held_across_a_restart_and_released(self):
        relay = self.relay()
        daemon = self.up(relay)
        self.suspend(daemon)
        made = self.create(daemon)
        message = made["message"]["id"]
        self.order(daemon, message, "hold", "held")
        self.order(daemon, message, "hold", "held")  # as it is
        shown = self.expect(daemon.api("GET", f"/v1/challenges/{made['id']}?wait=20&revision={made['revision']}"), 200)
        self.assertEqual(shown["message"]["state"], "held")
        daemon.kill()
        daemon.start()
        self.suspend(daemon, "resume")
        other = self.create(daemon, "bob@example.org")["message"]["id"]
        self.until(daemon, other, "relayed")
        self.assertEqual((self.row(daemon, message)["state"], len(relay.mails)), ("held", 1))
        self.order(daemon, message, "release", "queued")
        self.until(daemon, message, "relayed")
        self.assertEqual(len(relay.mails), 2)
        self.assertEqual(self.by_operator(daemon, message), [("message.held", "hold"), ("message.queued", "release")])
        self.refused(daemon, message, *ORDERS)
        self.assertNotIn("alice@example.org", daemon.log())

    def test_retry_sends_a_deferred_one_at_once(self):
        relay = self.relay(Rule("rcpt", reply("451 4.3.0 not now"), nth=1))
        daemon = self.up(relay)
        message = self.create(daemon)["message"]["id"]
        self.until(daemon, message, "deferred")
        self.order(daemon, message, "release", "deferred")  # not held: as it is
        self.order(daemon, message, "retry", "queued")
        self.assertEqual(self.until(daemon, message, "relayed")["attempts"], 2)
        self.assertEqual(self.by_operator(daemon, message), [("message.queued", "retry")])
        self.assertEqual(len(relay.mails), 1)

    def test_retry_repeats_an_uncertain_one(self):
        relay = self.relay(Rule("dot", drop(), nth=range(1, 3)))
        daemon = self.up(relay)
        message = self.create(daemon)["message"]["id"]
        # The one repeat that comes by itself is lost as well.
        wait_for(lambda: (lambda row: row["state"] == "uncertain" and row["uncertain"] == 2)(self.row(daemon, message)),
                 lambda: f"it is uncertain twice: {self.row(daemon, message)}")
        self.assertEqual(self.expect(daemon.admin("POST", "/v1/outbox/flush"), 200), {"flushed": 0})
        self.order(daemon, message, "retry", "queued")
        self.until(daemon, message, "relayed")

    def test_cancel_ends_it_and_the_page_is_told(self):
        relay = self.relay()
        daemon = self.up(relay)
        self.suspend(daemon)
        made = self.create(daemon)
        message = made["message"]["id"]
        asked = {}

        def wait():
            asked.update(daemon.api("GET", f"/v1/challenges/{made['id']}?wait=50&revision={made['revision']}").json)
        waiting = threading.Thread(target=wait)
        waiting.start()
        self.order(daemon, message, "cancel", "canceled")
        waiting.join(30)
        self.assertFalse(waiting.is_alive(), "the long-poll was not answered")
        self.assertEqual((asked["state"], asked["message"]["state"]), ("otp_sent", "canceled"))
        self.refused(daemon, message, *ORDERS)
        self.assertEqual(self.by_operator(daemon, message), [("message.canceled", "cancel")])
        stats = self.expect(daemon.admin("GET", "/v1/stats"), 200)
        self.assertEqual((stats["accepted_total"], stats["ended_total"]["canceled"], stats["messages"]["queued"]), (1, 1, 0))
        # Its challenge goes on.
        self.suspend(daemon, "resume")
        other = self.create(daemon, "bob@example.org")["message"]["id"]
        self.until(daemon, other, "relayed")
        self.assertEqual(len(relay.mails), 1)

    def test_flush_after_an_outage(self):
        gone = threading.Event()

        async def not_now(session):
            return False if gone.is_set() else await reply("451 4.3.2 out of order")(session)
        relay = self.relay(Rule("rcpt", not_now))
        daemon = self.up(relay)
        messages = [self.create(daemon, f"u{number}@example.org")["message"]["id"] for number in range(12)]
        for message in messages:
            self.until(daemon, message, "deferred")
        self.order(daemon, messages[0], "hold", "held")
        gone.set()
        self.assertEqual(self.expect(daemon.admin("POST", "/v1/outbox/flush", {}), 200), {"flushed": 11})
        for message in messages[1:]:
            self.until(daemon, message, "relayed")
        self.assertEqual(self.by_operator(daemon, messages[1]), [("message.queued", "retry")])
        self.assertEqual((self.row(daemon, messages[0])["state"], len(relay.mails)), ("held", 11))
        self.assertIn(f"event=outbox_flushed messages=11 uid={os.getuid()}\n", daemon.log())
        self.assertEqual(self.expect(daemon.admin("POST", "/v1/outbox/flush"), 200), {"flushed": 0})

    def test_while_it_is_being_sent(self):
        gate = threading.Event()
        self.addCleanup(gate.set)
        relay = self.relay(Rule("rcpt", held(gate, reply("451 4.3.0 not now")), to="back"), Rule("dot", held(gate), to="left"))
        daemon = self.up(relay)
        back, left, kept = (self.create(daemon, f"{name}@example.org")["message"]["id"] for name in ("back", "left", "left2"))
        for message in (back, left, kept):
            self.until(daemon, message, "sending")
            self.refused(daemon, message, "hold")
            for order in ("retry", "release"):
                self.order(daemon, message, order, "sending")
        for message in (back, left):
            self.order(daemon, message, "cancel", "sending")
            self.order(daemon, message, "cancel", "sending")
        gate.set()
        self.until(daemon, left, "relayed")
        self.until(daemon, kept, "relayed")
        self.until(daemon, back, "canceled")
        for message in (back, left):
            self.assertEqual(self.by_operator(daemon, message), [("message.sending", "cancel")])
        self.assertEqual(len(relay.mails), 2)

    def test_what_is_refused(self):
        daemon = self.up(self.relay())
        self.suspend(daemon)
        message = self.create(daemon)["message"]["id"]
        for order in ORDERS:
            for wrong in (NO_ID, "x", "42"):
                self.expect(daemon.admin("POST", f"/v1/outbox/{wrong}/{order}"), 404, "not_found")
            self.expect(daemon.admin("POST", f"/v1/outbox/{message}/{order}", {"why": "so"}), 400, "invalid_field")
            self.expect(daemon.admin("POST", f"/v1/outbox/{message}/{order}", b"{"), 400, "malformed_request")
            self.expect(daemon.admin("GET", f"/v1/outbox/{message}/{order}"), 405, "method_not_allowed")
            self.expect(daemon.api("POST", f"/v1/outbox/{message}/{order}"), 404, "not_found")
        self.expect(daemon.admin("POST", "/v1/outbox/flush", {"all": True}), 400, "invalid_field")
        self.expect(daemon.admin("GET", "/v1/outbox/flush"), 405, "method_not_allowed")
        self.expect(daemon.api("POST", "/v1/outbox/flush"), 404, "not_found")
        self.assertEqual(self.row(daemon, message)["state"], "queued")
        self.assertNotIn("event=message_", daemon.log())

    def test_by_mailotpctl(self):
        relay = self.relay()
        daemon = self.up(relay)
        self.suspend(daemon)
        first, second = (self.create(daemon, f"{name}@example.org")["message"]["id"] for name in ("a", "b"))
        done = daemon.ctl("outbox", "hold", first, second)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual([line.split()[:2] for line in done.stdout.splitlines()[1:]], [[first, "held"], [second, "held"]])
        self.assertEqual(daemon.ctl("outbox", "cancel", first, "--yes").returncode, 0)
        done = daemon.ctl("outbox", "release", first, second, "--json")
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"{first}: the message has ended (message_closed)", done.stderr)
        self.assertEqual((self.row(daemon, first)["state"], self.row(daemon, second)["state"]), ("canceled", "queued"))
        self.suspend(daemon, "resume")
        self.until(daemon, second, "relayed")
        self.assertEqual(daemon.ctl("outbox", "flush").stdout, "nothing was deferred\n")


if __name__ == "__main__":
    unittest.main(verbosity=2)
