"""POST /v1/erase: no byte of an address is left, by whatever spelling it came; what is counted stays counted."""
import contextlib
import glob
import http.client
import os
import threading
import unittest

from harness import BIN, BOUND, Client, SystemTest, wait_for

SANITIZED = os.path.basename(os.path.dirname(BIN)) in ("asan", "tsan")
HOUR = 3600
SPELLINGS = ("alice.quix@gmail.com", "AliceQuix+shop@gmail.com", "a.l.i.c.e.q.u.i.x@GMAIL.com", "ALICEQUIX@gmail.com")
TRACES = (b"alice.quix", b"alicequix", b"a.l.i.c.e")
NEIGHBOURS = ("alice.quixote@gmail.com", "malice@gmail.com", "alicia.quix@example.org")


class EraseTest(SystemTest):
    def up(self, **tables):
        self.daemon = self.new_daemon(**tables)
        self.daemon.start()
        return self.daemon

    def post(self, target, body=None, headers=None):
        return self.daemon.api("POST", target, {} if body is None else body, headers)

    def create(self, recipient, headers=None, **fields):
        return self.expect(self.post("/v1/challenges", {"recipient": recipient, "purpose": "quick", **fields}, headers), 201)

    def erase(self, recipient):
        """How many rows went."""
        return self.expect(self.daemon.admin("POST", "/v1/erase", {"recipient": recipient}), 200)["rows"]

    def stats(self):
        return self.expect(self.daemon.admin("GET", "/v1/stats"), 200)

    def all_ended(self):
        def open_ones():
            counts = self.stats()["messages"]
            return sum(counts[state] for state in ("queued", "sending", "deferred", "uncertain"))
        wait_for(lambda: open_ones() == 0, lambda: f"all has left: {self.stats()}; {self.daemon.log_tail()}")

    def files(self):
        """{name: its bytes} of the state folder, and the log."""
        found = {}
        for path in glob.glob(os.path.join(self.daemon.state, "**"), recursive=True):
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    found[os.path.relpath(path, self.daemon.state)] = file.read()
        self.assertIn("mailotpd.db", found)
        found["the log"] = self.daemon.log().encode()
        return found

    def traces(self, *words):
        return [(name, word, content.lower().count(word)) for name, content in self.files().items() for word in words
                if word in content.lower()]


class Erased(EraseTest):
    def report(self, challenge, diagnostic):
        message_id = self.expect(self.daemon.api("GET", f"/v1/messages/{challenge['message']['id']}"), 200)["message_id"]
        return self.expect(self.daemon.admin("POST", "/v1/bounces", {
            "message_id": message_id, "action": "failed", "status": "5.1.1", "diagnostic": diagnostic}), 200)

    def fill(self):
        """Rows of every kind for the address and for its neighbours; the challenges of the address."""
        made = []
        for number, spelling in enumerate(SPELLINGS):
            challenge = self.create(spelling, {"Idempotency-Key": f"key-{number}"}, metadata={"mail": spelling},
                                    data={"name": "Alicequix"}, binding={"who": spelling},
                                    client={"ip": "203.0.113.5", "id": f"device of {spelling}"})
            made.append(challenge)
            self.expect(self.post(f"/v1/challenges/{challenge['id']}/check", {"code": "x"}), 200)
        self.create(SPELLINGS[0], send=False)
        self.expect(self.post("/v1/otp/generate", {"email": SPELLINGS[0], "purpose": "login"}), 201)
        self.expect(self.post("/v1/otp/verify", {"email": SPELLINGS[0], "purpose": "quick", "otp": "none"}), 200)
        self.others = [self.create(one) for one in NEIGHBOURS]
        self.all_ended()
        self.report(made[0], f"smtp; 550 5.1.1 <{SPELLINGS[0]}>: no such user")
        # Somebody else's bounce whose words name it.
        self.report(self.others[2], f"smtp; 550 5.1.1 forwarded to <{SPELLINGS[1]}>, who is not here")
        return made

    def test_no_byte_is_left_and_others_are(self):
        self.up(limits={"recipient_sends": ["9/1h"]})
        made = self.fill()
        before = self.stats()
        self.assertTrue(self.traces(b"alice.quix@"), "the search finds what is there")
        self.assertEqual(self.expect(self.daemon.api("GET", f"/v1/recipients/{SPELLINGS[0]}"), 200)["deliverable"], "no")
        rows = self.erase("aLiCe.QuIx+any@Gmail.com")
        # Four challenges with their mails and kept answers, two more, a bounce, a suppression and what it rests on.
        self.assertGreaterEqual(rows, 4 * 3 + 3 + 2)
        for challenge in made:
            self.expect(self.daemon.api("GET", f"/v1/challenges/{challenge['id']}"), 404, "not_found")
            self.expect(self.daemon.api("GET", f"/v1/messages/{challenge['message']['id']}"), 404, "not_found")
            self.expect(self.daemon.admin("GET", f"/v1/outbox/{challenge['message']['id']}"), 404, "not_found")
        for spelling in SPELLINGS:
            self.assertEqual(self.expect(self.daemon.admin("GET", f"/v1/outbox?recipient={spelling.replace('+', '%2B')}"),
                                         200)["items"], [])
        # Nothing is left that would tell of it: neither proof nor doubt.
        self.assertEqual(self.expect(self.daemon.api("GET", f"/v1/recipients/{SPELLINGS[0]}"), 200),
                         {"address": SPELLINGS[0], "deliverable": "unknown", "suppressed": None, "last_verdict": None})
        listed = [self.daemon.admin("GET", "/v1/bounces"), self.daemon.admin("GET", "/v1/suppressions"),
                  self.daemon.admin("GET", "/v1/outbox")]
        for response in listed:
            self.expect(response, 200)
            for trace in TRACES:
                self.assertNotIn(trace + b"@", response.body.lower())
        after = self.stats()
        for key in ("accepted_total", "ended_total", "bounces"):
            self.assertEqual(after[key], before[key], f"{key} is what has happened, and stays")
        self.assertEqual(after["messages"]["relayed"] + after["messages"]["bounced"], 3, "those of the neighbours")
        for challenge in self.others:
            self.expect(self.daemon.api("GET", f"/v1/challenges/{challenge['id']}"), 200)
        # The maildir of development mode is not ours to clear: it stands for mailboxes of others.
        self.assertTrue(self.daemon.mails_to(SPELLINGS[0]))
        self.assertEqual(self.erase(SPELLINGS[1]), 0, "nothing is left to be erased")

        self.assertEqual(self.daemon.stop(), 0, self.daemon.log_tail())
        left = [one for one in self.traces(*TRACES) if not self.is_of_neighbour(one)]
        self.assertEqual(left, [])
        self.assertTrue(self.traces(*(one.encode() for one in NEIGHBOURS)), "the others are there")

        # What was counted is still counted: five sends and the short form's.
        self.daemon.start()
        for _ in range(4):
            self.create(SPELLINGS[3])
        self.expect(self.post("/v1/challenges", {"recipient": SPELLINGS[0], "purpose": "quick"}), 201)
        refused = self.expect(self.post("/v1/challenges", {"recipient": SPELLINGS[0], "purpose": "quick"}), 429,
                              "rate_limited")
        self.assertEqual(refused["limit"]["name"], "recipient_sends")

    def is_of_neighbour(self, trace):
        """A neighbour's name begins like it."""
        name, word, count = trace
        content = self.files()[name].lower()
        return word == b"alice.quix" and content.count(b"alice.quixote") == count or \
            word == b"alicequix" and content.count(b"alicequixote") == count

    def test_a_kept_answer_is_not_given_again(self):
        self.up()
        body = {"recipient": SPELLINGS[1], "purpose": "quick"}
        first = self.post("/v1/challenges", body, {"Idempotency-Key": "k"})
        self.assertEqual(self.post("/v1/challenges", body, {"Idempotency-Key": "k"}).json, self.expect(first, 201))
        self.all_ended()
        self.erase(SPELLINGS[0])
        again = self.expect(self.post("/v1/challenges", body, {"Idempotency-Key": "k"}), 201)
        self.assertNotEqual(again["id"], first.json["id"])

    def test_what_waits_is_not_sent(self):
        self.up()
        self.expect(self.daemon.admin("POST", "/v1/relays/capture/suspend"), 200)
        waiting = self.create(SPELLINGS[0])
        path = f"/v1/challenges/{waiting['id']}"
        answered = []

        def wait():
            answered.append(self.daemon.api("GET", f"{path}?wait=60&revision={waiting['revision']}"))
        asking = threading.Thread(target=wait)
        asking.start()
        self.erase(SPELLINGS[2])
        asking.join(BOUND)
        # A page that waits for it is told at once.
        self.assertEqual(len(answered), 1)
        self.expect(answered[0], (404, 200))
        self.expect(self.daemon.api("GET", path), 404, "not_found")
        self.expect(self.daemon.admin("POST", "/v1/relays/capture/resume"), 200)
        self.create("somebody@example.org")
        self.daemon.code_for("somebody@example.org")
        self.all_ended()
        self.assertEqual(self.daemon.mails_to(SPELLINGS[0]), [])
        self.assertEqual(self.stats()["accepted_total"], 2)

    def test_failures_stay_counted(self):
        self.up(limits={"recipient_failures": ["3/1d"]})
        challenge = self.create(SPELLINGS[0])
        for _ in range(3):
            self.expect(self.post(f"/v1/challenges/{challenge['id']}/check", {"code": "x"}), 200)
        self.all_ended()
        self.erase(SPELLINGS[0])
        self.daemon.kill()
        self.daemon.start()
        again = self.create(SPELLINGS[1])
        self.expect(self.post(f"/v1/challenges/{again['id']}/check", {"code": "x"}), 429, "rate_limited")

    def test_what_is_refused(self):
        self.up()
        self.expect(self.daemon.api("POST", "/v1/erase", {"recipient": SPELLINGS[0]}), 404, "not_found")
        for body, code in (({"recipient": "nobody"}, "invalid_recipient"), ({}, "invalid_field"),
                           ({"recipient": SPELLINGS[0], "app": "shop"}, "invalid_field")):
            self.expect(self.daemon.admin("POST", "/v1/erase", body), 400, code)
        self.assertEqual(self.erase("never.seen@example.org"), 0)


class Large(EraseTest):
    """An address with many rows is erased in steps."""

    # So many that its steps go on while others are answered, and a kill meets one of them.
    COUNT = 2000 if SANITIZED else 3000

    def fill(self):
        self.up()
        failures = []

        def run(start):
            try:
                with Client(self.daemon.api_socket) as client:
                    for number in range(start, self.COUNT, 8):
                        body = {"recipient": f"alice.quix+{number % 7}@gmail.com", "purpose": "quick"}
                        made = client.request("POST", "/v1/challenges", body)
                        if made.status != 201:
                            raise AssertionError(repr(made))
            except Exception as error:  # pylint: disable=broad-except  # told below
                failures.append(error)
        threads = [threading.Thread(target=run, args=(start,)) for start in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(3 * BOUND)
        self.assertEqual(failures, [])
        self.all_ended()
        self.create("bystander@example.org")
        self.all_ended()

    def erase_beside(self):
        """Begins an erasure; `done` has its answer, or None when the connection was lost."""
        done = []

        def run():
            try:
                done.append(self.daemon.admin("POST", "/v1/erase", {"recipient": "alicequix@gmail.com"}))
            except (OSError, http.client.HTTPException):
                done.append(None)
        thread = threading.Thread(target=run)
        thread.start()
        return thread, done

    def test_others_are_answered_meanwhile(self):
        self.fill()
        answered = 0
        with Client(self.daemon.api_socket) as client:
            thread, done = self.erase_beside()
            while not done:
                response = client.request("POST", "/v1/challenges", {"recipient": f"other{answered}@example.org",
                                                                     "purpose": "quick"})
                self.expect(response, 201)
                answered += not done
        thread.join(BOUND)
        self.assertGreaterEqual(self.expect(done[0], 200)["rows"], 2 * self.COUNT)
        self.assertGreater(answered, 0, "nobody was answered while it went on")
        self.assertEqual(self.daemon.stop(), 0)
        self.assertEqual(self.traces(*TRACES), [])

    def test_killed_in_the_middle_and_again(self):
        self.fill()
        everything = self.stats()
        total = everything["messages"]["relayed"]
        cut = 0
        for _ in range(3):
            before = self.stats()["messages"]["relayed"]
            thread, done = self.erase_beside()
            with contextlib.suppress(OSError, http.client.HTTPException):
                wait_for(lambda: done or self.stats()["messages"]["relayed"] < before or before == 1, "it goes on")
            self.daemon.kill()
            thread.join(BOUND)
            cut += done == [None]
            self.daemon.start()
            self.all_ended()
        self.assertGreater(cut, 0, "no kill came in the middle")
        self.erase("AliceQuix@gmail.com")
        after = self.stats()
        self.assertEqual(after["accepted_total"], everything["accepted_total"])
        self.assertEqual(after["messages"]["relayed"], 1, f"of {total} that of the bystander")
        self.assertEqual(sum(after["challenges"].values()), 1)
        self.assertEqual(self.erase("alice.quix@gmail.com"), 0)
        self.assertEqual(self.daemon.stop(), 0, self.daemon.log_tail())
        self.assertEqual(self.traces(*TRACES), [])
        self.assertTrue(self.traces(b"bystander"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
