"""The oracle finds each violation: in evidence that is made up, one promise at a time is broken."""
import collections
import copy
import unittest

import oracle
from oracle import Arrival, Growth, Health, Seen, Uncertainty, violations


def row(message, state="relayed", uncertain=0, verdict=None):
    return {"id": message, "recipient": f"{message}@example.org", "message_id": f"<{message}@test>", "state": state,
            "uncertain": uncertain, "verdict": verdict}


def arrival(message, digest="same", code="ABCDEFGH23"):
    return Arrival(f"<{message}@test>", f"{message}@example.org", digest, code)


def good():
    """Six messages: a plain one, a repeated one, an expired one, a held one, one that is uncertain for good, one
    that the client never heard of."""
    rows = {"plain": row("plain"), "twice": row("twice", uncertain=1),
            "late": row("late", "expired", verdict={"kind": "unsent"}), "poison": row("poison", "held"),
            "silent": row("silent", "uncertain", 2), "unheard": row("unheard")}
    return Seen(
        acknowledged={name: f"{name}@example.org" for name in rows if name != "unheard"}, unanswered=1, rows=rows,
        uncertainties={"twice": [Uncertainty("daemon")], "silent": [Uncertainty("relay"), Uncertainty("relay")]},
        stats={"messages": {"relayed": 3, "expired": 1, "held": 1, "uncertain": 1, "queued": 0},
               "accepted_total": 6, "ended_total": {"relayed": 3, "expired": 1}},
        arrivals=[arrival("plain"), arrival("twice"), arrival("twice"), arrival("unheard")],
        dots=collections.Counter({"<plain@test>": 1, "<twice@test>": 2, "<silent@test>": 2, "<unheard@test>": 1}),
        daemon_deaths=1, agent_deaths=1, connections=2, log="event=started\nevent=recovered uncertain=1\n",
        growth=[Growth("mailotpd", (20, 20), (30_000, 31_000))], health=Health(100, 180.0, 20.0))


class Events(unittest.TestCase):
    def event(self, state, reason, **detail):
        return {"type": f"message.{state}", "detail": {"attempt": 1, "reason": reason, **detail}}

    def test_who_left_it_uncertain(self):
        events = [{"type": "message.queued", "detail": None},
                  self.event("uncertain", "the daemon ended while it was being sent"),
                  self.event("uncertain", "no reply in time"),
                  self.event("deferred", "the sending process ended"),
                  {"type": "message.uncertain", "detail": {"reason": "the operator"}}]
        self.assertEqual(oracle.uncertainties_of(events, 2), [Uncertainty("daemon"), Uncertainty("relay")])

    def test_held_with_a_dot_and_without(self):
        held = [self.event("held", "the sending process ended")]
        self.assertEqual(oracle.uncertainties_of(held, 0), [])
        self.assertEqual(oracle.uncertainties_of(held, 1), [Uncertainty("agent")])
        self.assertEqual(oracle.uncertainties_of([self.event("held", "the daemon ended while it was being sent")], 0),
                         [Uncertainty("daemon")])


class Oracle(unittest.TestCase):
    def setUp(self):
        self.seen = copy.deepcopy(good())

    def broken(self, *words):
        """Exactly the promises that begin with these words are broken; check() reports all of them at once."""
        found = violations(self.seen)
        self.assertEqual(len(found), len(words), found)
        for word in words:
            self.assertTrue(any(sentence.startswith(word) for sentence in found), (word, found))
        with self.assertRaises(AssertionError) as raised:
            oracle.check(self.seen)
        for sentence in found:
            self.assertIn(sentence, str(raised.exception))
        self.assertIn("event=recovered", str(raised.exception))

    def test_nothing_is_broken(self):
        self.assertEqual(violations(self.seen), [])
        oracle.check(self.seen)

    def test_relayed_says_the_row_and_no_relay_has_it(self):
        del self.seen.arrivals[0]
        self.broken("lost: plain")

    def test_acknowledged_and_no_row(self):
        del self.seen.rows["plain"]
        self.broken("lost: plain", "from nowhere", "miscounted: the statistics")

    def test_uncertain_once_is_not_the_end(self):
        self.seen.rows["silent"]["uncertain"] = 1
        self.seen.uncertainties["silent"].pop()
        self.broken("lost: silent")

    def test_row_of_another_recipient(self):
        self.seen.acknowledged["late"] = "somebody@example.org"
        self.broken("mixed up: late")

    def test_expired_without_a_verdict(self):
        self.seen.rows["late"]["verdict"] = None
        self.broken("untold: late")

    def test_unsent_says_the_row_and_a_relay_has_it(self):
        self.seen.arrivals.append(arrival("late"))
        self.broken("a lie: late")

    def test_mail_of_no_message(self):
        self.seen.arrivals.append(arrival("nobody"))
        self.broken("from nowhere")

    def test_mail_to_another_recipient(self):
        self.seen.arrivals[0].recipient = "twice@example.org"
        self.broken("mixed up: the mail of plain")

    def test_repeat_under_another_message_id(self):
        self.seen.arrivals[2].message_id = "<twice-again@test>"
        self.broken("from nowhere")

    def test_repeat_without_an_uncertainty(self):
        self.seen.arrivals.append(arrival("plain"))
        self.broken("repeated: plain")

    def test_more_repeats_than_uncertainties(self):
        self.seen.arrivals += [arrival("plain")] * 3
        self.broken("repeated: plain", "repeated: 4 repeats, 3 uncertain")

    def test_repeat_with_other_bytes(self):
        self.seen.arrivals[2].digest = "other"
        self.broken("changed")

    def test_uncertain_without_a_dot(self):
        self.seen.dots["<silent@test>"] = 1
        self.broken("no dot: silent")

    def test_uncertain_by_more_deaths_than_there_were(self):
        self.seen.daemon_deaths = 0
        self.broken("twice was found")

    def test_agents_that_died_left_too_many_uncertain(self):
        for name in ("a", "b", "c"):
            self.seen.rows[name] = row(name, uncertain=1)
            self.seen.arrivals.append(arrival(name))
            self.seen.uncertainties[name] = [Uncertainty("agent")]
        self.seen.stats["messages"]["relayed"] = self.seen.stats["ended_total"]["relayed"] = 6
        self.seen.stats["accepted_total"] = 9
        self.seen.unanswered = 4
        self.broken("no dot: 3 uncertain messages")
        self.seen.dots["<a@test>"] = 1
        self.assertEqual(violations(self.seen), [], "one that a relay has read is an uncertainty with a dot")

    def test_events_do_not_say_what_the_row_says(self):
        self.seen.uncertainties["twice"].append(Uncertainty("daemon"))
        self.seen.daemon_deaths = 2
        self.broken("miscounted: twice")

    def test_counters_do_not_add_up(self):
        self.seen.stats["ended_total"]["relayed"] = 2
        self.broken("not conserved")

    def test_more_accepted_than_asked_for(self):
        self.seen.unanswered = 0
        self.broken("miscounted: 6 accepted")

    def test_fewer_accepted_than_acknowledged(self):
        self.seen.stats["accepted_total"] = 4
        self.seen.stats["ended_total"]["relayed"] = 1
        self.broken("miscounted: 4 accepted")

    def test_statistics_and_rows_differ(self):
        self.seen.stats["messages"]["relayed"] = 2
        self.seen.stats["messages"]["delivered"] = 1
        self.broken("miscounted: the statistics")

    def test_something_still_waits(self):
        self.seen.rows["poison"]["state"] = "deferred"
        self.seen.stats["messages"].update(held=0, deferred=1)
        self.broken("lost: poison", "unfinished")

    def test_code_in_a_log(self):
        self.seen.log += 'event=sent subject="Code ABCDEFGH23."\n'
        self.seen.arrivals = [self.seen.arrivals[0], *(
            Arrival(a.message_id, a.recipient, a.digest, "ZZZZZZZZ22") for a in self.seen.arrivals[1:])]
        self.broken("a secret in the log: the code of the mail to plain@")

    def test_descriptors_leak(self):
        self.seen.growth[0].descriptors = (20, 21)
        self.broken("mailotpd: 20 descriptors")

    def test_memory_grows(self):
        self.seen.growth[0].kib = (30_000, 90_000)
        self.broken("mailotpd: 30000 KiB")

    def test_health_came_late(self):
        self.seen.health.largest_own_ms = 130.0
        self.broken("/healthz took 130 ms")

    def test_health_was_never_asked_for(self):
        self.seen.health.samples = 0
        self.broken("the health was never")


if __name__ == "__main__":
    unittest.main(verbosity=2)
