"""[retention]: what is over for long enough goes by itself, and nobody has to wait for that."""
import os
import sqlite3
import unittest

from harness import SystemTest, wait_for, wrong_digits


class Retention(SystemTest):
    def setUp(self):
        self.daemon = self.new_daemon(retention={"challenges": "1s", "messages": "2s", "events": "2s",
                                                "bounces": "2s"})
        self.daemon.start()

    def stats(self):
        return self.expect(self.daemon.admin("GET", "/v1/stats"), 200)

    def rows(self):
        path = os.path.join(self.daemon.state, "mailotpd.db")
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
        try:
            return {table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                    for table in ("challenge", "message", "message_body", "recipient", "evidence", "event",
                                  "idempotency")}
        finally:
            db.close()

    def create(self, recipient, **fields):
        return self.expect(self.daemon.api("POST", "/v1/challenges", {"recipient": recipient, **fields}), 201)

    def check(self, challenge, code):
        target = f"/v1/challenges/{challenge['id']}/check"
        return self.expect(self.daemon.api("POST", target, {"code": code}), 200)

    def test_what_has_ended_goes_and_what_is_open_stays(self):
        keyed = {"Idempotency-Key": "kept"}
        body = {"recipient": "kept@example.org"}
        kept = self.expect(self.daemon.api("POST", "/v1/challenges", body, keyed), 201)
        opened = self.create("open@example.org")
        right = self.create("right@example.org")
        self.assertTrue(self.check(right, self.daemon.code_for("right@example.org"))["valid"])
        wrong = self.create("wrong@example.org", max_attempts=1)
        self.check(wrong, wrong_digits(self.daemon.code_for("wrong@example.org")))
        self.expect(self.daemon.api("POST", f"/v1/challenges/{kept['id']}/cancel", {}), 200)
        messages = [one["message"]["id"] for one in (kept, opened, right, wrong)]

        def gone():
            stats = self.stats()
            return sum(stats["messages"].values()) == 0 and sum(stats["challenges"].values()) == 1
        wait_for(gone, lambda: f"{self.stats()} {self.rows()}; {self.daemon.log_tail()}")
        for challenge in (kept, right, wrong):
            self.expect(self.daemon.api("GET", f"/v1/challenges/{challenge['id']}"), 404, "not_found")
            self.expect(self.daemon.api("POST", f"/v1/challenges/{challenge['id']}/check", {"code": "1"}), 404)
        for message in messages:
            self.expect(self.daemon.api("GET", f"/v1/messages/{message}"), 404, "not_found")
        stats = self.stats()
        self.assertEqual(stats["accepted_total"], 4)
        self.assertEqual(stats["ended_total"]["relayed"], 4)
        self.assertEqual(self.expect(self.daemon.admin("GET", "/v1/outbox"), 200)["items"], [])

        shown = self.expect(self.daemon.api("GET", f"/v1/challenges/{opened['id']}"), 200)
        self.assertIsNone(shown["message"])
        self.assertTrue(self.check(opened, self.daemon.code_for("open@example.org"))["valid"])
        again = self.expect(self.daemon.api("POST", "/v1/challenges", body, keyed), 201)
        self.assertEqual(again, kept, "a repeat is told the same for a day")

        def empty():
            rows = self.rows()
            # The newest event keeps its number taken; the kept answer, its recipient.
            return rows == {"challenge": 0, "message": 0, "message_body": 0, "recipient": 1, "evidence": 0, "event": 1,
                            "idempotency": 1}
        wait_for(empty, lambda: f"{self.rows()}; {self.daemon.log_tail()}")
        self.assertEqual(self.daemon.stop(), 0)
        self.daemon.start()
        self.assertEqual(self.stats()["accepted_total"], 4)
        self.create("next@example.org")

    def test_many_go_in_idle_moments_without_being_asked_again(self):
        for number in range(900):
            made = self.create(f"user{number}@example.org", send=False)
            self.expect(self.daemon.api("POST", f"/v1/challenges/{made['id']}/cancel", {}), 200)

        def gone():
            return self.rows()["challenge"] == 0
        # One step is 200 rows: if each waited for the next interval of 10 s, this would take 50 s.
        wait_for(gone, lambda: f"{self.rows()}; {self.daemon.log_tail()}", bound=25)


if __name__ == "__main__":
    unittest.main(verbosity=2)
