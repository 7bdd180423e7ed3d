"""Idempotency-Key: a request that is repeated, in whatever way, is carried out once and answered alike."""
import http.client
import threading
import unittest

from harness import BOUND, Client, SharedDaemonTest, SystemTest, wait_for, wrong_digits

REPEATS = 1000
CONNECTIONS = 50


class Repeater:
    """REPEATS times the same POST over CONNECTIONS connections at once; who loses his connection comes again."""

    def __init__(self, daemon, target, body, key):
        self.daemon, self.target, self.body = daemon, target, body
        self.headers = {"Idempotency-Key": key}
        self.lock = threading.Lock()
        self.left = REPEATS
        self.lost = 0
        self.answers = []
        self.failure = None
        self.up = threading.Event()
        self.up.set()
        self.barrier = threading.Barrier(CONNECTIONS)
        self.threads = [threading.Thread(target=self._work) for _ in range(CONNECTIONS)]

    def start(self):
        for thread in self.threads:
            thread.start()

    def join(self):
        for thread in self.threads:
            thread.join(2 * BOUND)
            if thread.is_alive():
                raise AssertionError(f"not all repeats were answered; {self.daemon.log_tail()}")
        if self.failure:
            raise self.failure
        return self.answers

    def count(self):
        with self.lock:
            return len(self.answers)

    def _take(self):
        with self.lock:
            if self.left == 0 or self.failure:
                return False
            self.left -= 1
            return True

    def _give_back(self):
        with self.lock:
            self.left += 1
            self.lost += 1

    def _work(self):
        try:
            self.barrier.wait(BOUND)
            while self._connected():
                if not self.up.wait(BOUND):
                    raise AssertionError("the daemon did not come back")
        except BaseException as error:  # pylint: disable=broad-except  # told by join()
            with self.lock:
                self.failure = self.failure or error

    def _connected(self):
        """Repeats until there is nothing left to do (False) or the connection is lost."""
        with Client(self.daemon.api_socket) as client:
            while self._take():
                try:
                    answer = client.request("POST", self.target, self.body, self.headers)
                except (OSError, http.client.HTTPException):
                    self._give_back()
                    return True
                with self.lock:
                    self.answers.append(answer)
        return False


class Concurrent(SystemTest):
    def setUp(self):
        self.daemon = self.new_daemon()
        self.daemon.start()

    def assert_alike(self, answers, status):
        self.assertEqual(len(answers), REPEATS)
        distinct = {(one.status, one.headers.get("location"), one.headers["content-type"], one.body)
                    for one in answers}
        self.assertEqual(len(distinct), 1, f"answers differ: {sorted(distinct)[:3]}")
        self.assertEqual(answers[0].status, status, repr(answers[0]))
        self.assertEqual(len({one.headers["x-request-id"] for one in answers}), REPEATS)
        return answers[0].json

    def assert_one_mail(self, recipient):
        def relayed():
            return self.expect(self.daemon.admin("GET", "/v1/stats"), 200)["messages"]["relayed"] == 1
        wait_for(relayed, self.daemon.log_tail)
        stats = self.expect(self.daemon.admin("GET", "/v1/stats"), 200)
        self.assertEqual(stats["accepted_total"], 1)
        self.assertEqual(sum(stats["challenges"].values()), 1)
        self.assertEqual(len(self.daemon.mails_to(recipient)), 1)

    def test_a_thousand_at_once_are_one(self):
        repeats = Repeater(self.daemon, "/v1/challenges", {"recipient": "one@example.org"}, "the-key")
        repeats.start()
        challenge = self.assert_alike(repeats.join(), 201)
        self.assertEqual(repeats.lost, 0)
        self.assert_one_mail("one@example.org")
        checked = self.daemon.api("POST", f"/v1/challenges/{challenge['id']}/check",
                                  {"code": self.daemon.code_for("one@example.org")})
        self.assertTrue(self.expect(checked, 200)["valid"])

    def test_a_thousand_across_a_kill_are_one(self):
        repeats = Repeater(self.daemon, "/v1/challenges", {"recipient": "two@example.org"}, "the-key")
        repeats.start()
        wait_for(lambda: repeats.count() >= REPEATS // 4, "a quarter is answered")
        repeats.up.clear()
        self.daemon.kill()
        self.daemon.start()
        repeats.up.set()
        answers = repeats.join()
        self.assertGreater(repeats.lost, 0, "the kill came too late to be one")
        self.assert_alike(answers, 201)
        self.settle_uncertain()

    def settle_uncertain(self):
        """A mail that was in the agent's hands at the kill may have come twice: the same one, and it says so."""
        def ended():
            stats = self.expect(self.daemon.admin("GET", "/v1/stats"), 200)
            return stats["messages"]["relayed"] == 1 and stats
        stats = wait_for(ended, self.daemon.log_tail)
        self.assertEqual(stats["accepted_total"], 1)
        self.assertEqual(sum(stats["challenges"].values()), 1)
        row = self.expect(self.daemon.admin("GET", "/v1/outbox"), 200)["items"][0]
        mails = self.daemon.mails_to("two@example.org")
        self.assertLessEqual(len(mails), 1 + row["uncertain"])
        self.assertEqual(len({mail["Message-ID"] for mail in mails}), 1)

    def test_a_right_code_whose_answer_was_lost_in_a_kill(self):
        made = self.expect(self.daemon.api("POST", "/v1/challenges", {"recipient": "three@example.org"}), 201)
        code = self.daemon.code_for("three@example.org")
        repeats = Repeater(self.daemon, f"/v1/challenges/{made['id']}/check", {"code": code}, "login")
        repeats.start()
        wait_for(lambda: repeats.count() > 0, "one is answered")
        repeats.up.clear()
        self.daemon.kill()
        self.daemon.start()
        repeats.up.set()
        answer = self.assert_alike(repeats.join(), 200)
        self.assertEqual((answer["valid"], answer["result"]), (True, "valid"))
        later = self.daemon.api("POST", f"/v1/challenges/{made['id']}/check", {"code": code})
        self.assertEqual(self.expect(later, 200)["result"], "already_used")


class Rules(SharedDaemonTest):
    def with_key(self, key, target, body):
        return self.post(target, body, {"Idempotency-Key": key})

    def assert_same(self, first, second):
        self.assertEqual((first.status, first.headers.get("location"), first.body),
                         (second.status, second.headers.get("location"), second.body))
        self.assertNotEqual(first.headers["x-request-id"], second.headers["x-request-id"])

    def twice(self, key, target, body, status):
        first = self.with_key(key, target, body)
        self.expect(first, status)
        second = self.with_key(key, target, body)
        self.expect(second, status)
        self.assert_same(first, second)
        return first

    def test_every_post(self):
        to = self.address()
        made = self.twice("k-create", "/v1/challenges", {"recipient": to, "purpose": "quick"}, 201)
        self.assertEqual(made.headers["location"], f"/v1/challenges/{made.json['id']}")
        one = f"/v1/challenges/{made.json['id']}"
        sent = self.twice("k-send", one + "/send", {}, 202)
        self.assertEqual(sent.json["sends_left"], 3)
        guess = wrong_digits(self.code_for(to, 2))
        self.assertEqual(self.twice("k-check", one + "/check", {"code": guess}, 200).json["attempts_left"], 4)
        self.twice("k-cancel", one + "/cancel", {}, 200)
        short = self.address("short")
        generated = self.twice("k-generate", "/v1/otp/generate", {"email": short}, 201)
        self.assertEqual(generated.json["state"], "otp_sent")
        self.twice("k-verify", "/v1/otp/verify", {"email": short, "otp": self.code_for(short)}, 200)
        nobody = self.twice("k-nobody", "/v1/otp/verify", {"email": self.address("nobody"), "otp": "123456"}, 200)
        self.assertEqual(nobody.json["result"], "invalid")
        self.assertEqual(len(self.shared.mails_to(short)), 1)

    def test_another_request_under_the_key_is_refused(self):
        to = self.address()
        first = self.with_key("k-mismatch", "/v1/challenges", {"recipient": to})
        self.expect(first, 201)
        for target, body in (("/v1/challenges", {"recipient": to, "metadata": 1}),
                             ("/v1/challenges?x=1", {"recipient": to}),
                             ("/v1/challenges", b'{ "recipient":"%s"}' % to.encode()),
                             ("/v1/otp/generate", {"email": to}),
                             ("/v1/challenges", {"recipient": "no address"}),
                             ("/v1/challenges", b"{")):
            with self.subTest(target=target, body=body):
                self.expect(self.with_key("k-mismatch", target, body), 409, "idempotency_mismatch")
        self.assert_same(first, self.with_key("k-mismatch", "/v1/challenges", {"recipient": to}))

    def test_what_failed_is_not_kept(self):
        to = self.address()
        self.expect(self.with_key("k-failed", "/v1/challenges", {"recipient": to, "template": "none"}), 422,
                    "template_unknown")
        self.expect(self.with_key("k-failed", "/v1/challenges", {"recipient": to, "ttl_seconds": 5000}), 400,
                    "invalid_field")
        challenge = self.create(to)
        for _ in range(2):
            self.expect(self.with_key("k-failed", f"/v1/challenges/{challenge['id']}/send", {}), 429,
                        "resend_cooldown")
        made = self.with_key("k-failed", "/v1/challenges", {"recipient": to})
        self.expect(made, 201)
        self.assertNotEqual(made.json["id"], challenge["id"])

    def test_what_is_no_key(self):
        body = {"recipient": self.address()}
        for key in ("", "a b", "k" * 256, "schl\u00fcssel"):
            with self.subTest(key=key):
                problem = self.expect(self.with_key(key.encode(), "/v1/challenges", body), 400, "invalid_field")
                self.assertEqual(problem["field"], "Idempotency-Key")
        self.expect(self.with_key("!" + "k" * 253 + "~", "/v1/challenges", body), 201)


class Changed(SystemTest):
    def test_a_repeat_that_would_be_refused_by_now_is_told_the_same(self):
        daemon = self.new_daemon(**{"purpose.gone": {}})
        daemon.start()
        body = {"recipient": "one@example.org", "purpose": "gone"}
        first = daemon.api("POST", "/v1/challenges", body, {"Idempotency-Key": "k"})
        self.expect(first, 201)
        daemon.stop()
        daemon.write_config()
        daemon.start()
        self.expect(daemon.api("POST", "/v1/challenges", body), 400, "invalid_field")
        again = daemon.api("POST", "/v1/challenges", body, {"Idempotency-Key": "k"})
        self.assertEqual((again.status, again.body), (first.status, first.body))


if __name__ == "__main__":
    unittest.main(verbosity=2)
