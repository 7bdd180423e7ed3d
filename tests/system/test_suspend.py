"""A relay that the operator suspends is handed nothing until he resumes it, whatever happens meanwhile."""
import os
import sys
import unittest

from harness import SystemTest, wait_for

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "smtp"))
from scripted_relay import ScriptedRelay  # noqa: E402


class Suspend(SystemTest):
    def relay(self):
        relay = ScriptedRelay([]).start(0)
        self.addCleanup(relay.stop)
        return relay

    def up(self, **relays):
        tables = [{"name": name, "host": "127.0.0.1", "port": relay.port, "tls": "none", "auth": "none",
                   "priority": priority} for priority, (name, relay) in enumerate(relays.items(), 1)]
        daemon = self.new_daemon(daemon={"mode": "production"}, relay=tables)
        daemon.start()
        return daemon

    def create(self, daemon, recipient):
        return self.expect(daemon.api("POST", "/v1/challenges", {"recipient": recipient}), 201)["message"]["id"]

    def relays(self, daemon):
        return {item["name"]: item for item in self.expect(daemon.admin("GET", "/v1/relays"), 200)["items"]}

    def order(self, daemon, name, what):
        return self.expect(daemon.admin("POST", f"/v1/relays/{name}/{what}"), 200)

    def rows(self, daemon, messages):
        return [self.expect(daemon.admin("GET", f"/v1/outbox/{message}"), 200) for message in messages]

    def all_relayed(self, daemon, messages):
        wait_for(lambda: all(row["state"] == "relayed" for row in self.rows(daemon, messages)),
                 lambda: f"all are relayed: {self.rows(daemon, messages)}; {daemon.log_tail()}")

    def test_the_only_relay(self):
        relay = self.relay()
        daemon = self.up(only=relay)
        self.all_relayed(daemon, [self.create(daemon, "before@example.org")])
        suspended = self.order(daemon, "only", "suspend")
        self.assertEqual(suspended, self.relays(daemon)["only"])
        self.assertEqual(suspended["state"], "suspended")
        self.assertIn("event=relay_suspended relay=only uid=", daemon.log())
        ready = daemon.api("GET", "/readyz")
        self.assertEqual((ready.status, ready.json["relays"]), (200, {"only": "suspended"}), "it is not down")

        waiting = [self.create(daemon, f"u{number}@example.org") for number in range(5)]
        daemon.kill()
        daemon.launch()
        daemon.wait_listening()
        self.assertEqual(self.relays(daemon)["only"]["state"], "suspended")
        waiting += [self.create(daemon, f"v{number}@example.org") for number in range(5)]
        wait_for(lambda: "event=agent_ready" in daemon.log().rpartition("event=started")[2], "the agent is there")
        self.assertEqual({row["attempts"] for row in self.rows(daemon, waiting)}, {0})
        self.assertEqual(len(relay.mails), 1)

        self.assertEqual(self.order(daemon, "only", "resume")["breaker"], "closed")
        self.all_relayed(daemon, waiting)
        self.assertEqual(len(relay.mails), 11)
        wait_for(daemon.is_ready, "it is ready again")
        self.assertIn("event=relay_resumed relay=only uid=", daemon.log())

        daemon.kill()
        daemon.start()
        self.assertEqual(self.relays(daemon)["only"]["state"], "up", "a resume is kept as well")

    def test_one_of_two_by_mailotpctl(self):
        first, second = self.relay(), self.relay()
        daemon = self.up(first=first, second=second)
        done = daemon.ctl("relay", "suspend", "first")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("suspended", done.stdout)
        self.assertEqual(daemon.api("GET", "/readyz").json["relays"]["first"], "suspended")
        self.all_relayed(daemon, [self.create(daemon, f"u{number}@example.org") for number in range(10)])
        self.assertEqual((len(first.mails), len(second.mails)), (0, 10))
        self.order(daemon, "first", "suspend")  # again: as it is

        done = daemon.ctl("relay", "resume", "first")
        self.assertEqual(done.returncode, 0, done.stderr)
        listed = daemon.ctl("relay", "list")
        self.assertRegex(listed.stdout, r"(?m)^RELAY +STATE +BREAKER .*\nfirst +up +closed ")
        self.all_relayed(daemon, [self.create(daemon, f"v{number}@example.org") for number in range(10)])
        self.assertEqual((len(first.mails), len(second.mails)), (10, 10))

    def test_what_is_refused(self):
        daemon = self.up(only=self.relay())
        for what in ("suspend", "resume"):
            self.expect(daemon.admin("POST", f"/v1/relays/other/{what}"), 404, "not_found")
            self.expect(daemon.admin("POST", f"/v1/relays/only/{what}", {"for": "ever"}), 400, "invalid_field")
            self.expect(daemon.admin("GET", f"/v1/relays/only/{what}"), 405, "method_not_allowed")
            self.expect(daemon.api("POST", f"/v1/relays/only/{what}"), 404, "not_found")
            self.assertEqual(daemon.ctl("relay", what, "other").returncode, 1)
        self.assertEqual(self.relays(daemon)["only"]["state"], "up")


if __name__ == "__main__":
    unittest.main(verbosity=2)
