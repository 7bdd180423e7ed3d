"""kill -9 with 200 messages under way: whatever was acknowledged arrives, and repeats are accounted for."""
import collections
import contextlib
import http.client
import os
import signal
import threading
import unittest

from harness import Client, SystemTest, is_alive, parse_mail, wait_for

COUNT = 200
WORKERS = 4


class Senders:
    """Threads that create COUNT challenges; remembers what was asked for and what was acknowledged."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.lock = threading.Lock()
        self.next = 0
        self.acknowledged = {}  # recipient: message id
        self.interrupted = 0  # asked for and never answered
        self.unexpected = []
        self.threads = []

    def run(self):
        self.threads = [threading.Thread(target=self.work) for _ in range(WORKERS)]
        for thread in self.threads:
            thread.start()

    def take(self):
        with self.lock:
            if self.next == COUNT:
                return None
            self.next += 1
            return f"user{self.next:03}@example.org"

    def work(self):
        with Client(self.daemon.api_socket) as client:
            while recipient := self.take():
                try:
                    response = client.request("POST", "/v1/challenges", {"recipient": recipient})
                except (OSError, http.client.HTTPException):
                    # The daemon was killed: what had no answer was not acknowledged.
                    with self.lock:
                        self.interrupted += 1
                    return
                with self.lock:
                    if response.status == 201:
                        self.acknowledged[recipient] = response.json["message"]["id"]
                    else:
                        self.unexpected.append(repr(response))

    def join(self):
        for thread in self.threads:
            thread.join(120)
            if thread.is_alive():
                raise AssertionError("a request had no answer within 120 s")

    def count(self):
        with self.lock:
            return len(self.acknowledged)


class Kill(SystemTest):
    def setUp(self):
        self.daemon = self.new_daemon()
        self.daemon.start()
        self.senders = Senders(self.daemon)
        self.addCleanup(self.senders.join)

    # -- what is killed

    def kill_daemon(self):
        self.daemon.kill()
        self.senders.join()
        self.daemon.start()

    def kill_agent(self):
        agent = self.daemon.agent()
        with contextlib.suppress(ProcessLookupError):
            os.kill(agent, signal.SIGKILL)
        wait_for(lambda: not is_alive(agent), "the agent is dead")

    def kill_both(self):
        agent = self.daemon.agent()
        os.kill(agent, signal.SIGKILL)
        self.kill_daemon()

    # -- what must hold

    def finish(self):
        """Sends what is left of the 200 and waits until no message is open."""
        self.senders.join()
        self.senders.run()
        self.senders.join()
        self.assertEqual(self.senders.unexpected, [])
        self.assertEqual(self.senders.count() + self.senders.interrupted, COUNT)

        def settled():
            messages = self.stats()["messages"]
            return not any(messages.get(state) for state in ("queued", "sending", "deferred", "uncertain", "held"))
        wait_for(settled, lambda: f"no message is open; {self.stats()['messages']}; {self.daemon.log_tail()}")

    def stats(self):
        return self.expect(self.daemon.admin("GET", "/v1/stats"), 200)

    def assert_conserved(self):
        """Each acknowledged mail is in the maildir; each repeat is of a message that was uncertain."""
        rows = self.outbox()
        copies = collections.defaultdict(set)
        arrived = collections.Counter()
        for raw in self.daemon.mail_bytes():
            mail = parse_mail(raw)
            recipient = mail["To"].addresses[0].addr_spec
            arrived[recipient] += 1
            copies[recipient].add((mail["Message-ID"], raw))
        lost = sorted(set(self.senders.acknowledged) - set(arrived))
        self.assertEqual(lost, [], f"acknowledged and lost; {self.daemon.log_tail()}")
        by_recipient = {row["recipient"]: row for row in rows.values()}
        self.assertLessEqual(set(arrived), set(by_recipient), "a mail without a row")
        for recipient, message in self.senders.acknowledged.items():
            self.assertEqual(by_recipient[recipient]["id"], message)
        for recipient, row in by_recipient.items():
            self.assertEqual(row["state"], "relayed", row)
            self.assertEqual(len(copies[recipient]), 1, f"copies of one message differ: {recipient}")
        repeated = {recipient: count for recipient, count in arrived.items() if count > 1}
        for recipient, count in repeated.items():
            row = by_recipient[recipient]
            detail = self.expect(self.daemon.admin("GET", f"/v1/outbox/{row['id']}"), 200)
            # One that is in hand at two kills in a row may come a third time.
            self.assertLessEqual(count, 1 + detail["uncertain"], f"repeated more often than uncertain: {detail}")
        stats = self.stats()
        self.assertEqual(stats["accepted_total"], len(rows))
        self.assertEqual(stats["ended_total"].get("relayed"), len(rows))
        return len(repeated)

    def outbox(self):
        rows, cursor = {}, ""
        while True:
            page = self.expect(self.daemon.admin("GET", "/v1/outbox?limit=500" + cursor), 200)
            rows.update((item["id"], item) for item in page["items"])
            if page["next_cursor"] is None:
                return rows
            cursor = f"&cursor={page['next_cursor']}"

    def under_way(self, kill):
        """The kill comes while requests are answered and mails are written."""
        self.senders.run()
        wait_for(lambda: self.senders.count() >= COUNT // 2, "half of the messages are acknowledged")
        kill()
        self.finish()
        self.assert_conserved()

    def all_queued(self, kill):
        """The agent stands still, so that all 200 are open when the kill comes."""
        os.kill(self.daemon.agent(), signal.SIGSTOP)
        self.senders.run()
        self.senders.join()
        self.assertEqual(self.senders.count(), COUNT, self.senders.unexpected)
        kill()
        self.finish()
        self.assert_conserved()

    def test_daemon_under_way(self):
        self.under_way(self.kill_daemon)

    def test_agent_under_way(self):
        self.under_way(self.kill_agent)

    def test_both_under_way(self):
        self.under_way(self.kill_both)

    def test_daemon_with_200_open(self):
        # The old agent stands still and keeps its lock: the new daemon must take it from it.
        self.all_queued(self.kill_daemon)

    def test_agent_with_200_open(self):
        self.all_queued(self.kill_agent)

    def test_both_with_200_open(self):
        self.all_queued(self.kill_both)

    def test_daemon_again_and_again(self):
        for step in range(1, 6):
            self.senders.run()
            goal = step * COUNT // 8
            wait_for(lambda: self.senders.count() >= goal, f"{goal} messages are acknowledged")
            # One that is in hand at three deaths in a row is held, as it should be: here none is.
            wait_for(lambda: all(row["state"] == "relayed" for row in self.outbox().values() if row["uncertain"]),
                     lambda: f"what was in hand at the last kill has left; {self.daemon.log_tail()}")
            self.kill_daemon()
        self.finish()
        self.assert_conserved()


if __name__ == "__main__":
    unittest.main(verbosity=2)
