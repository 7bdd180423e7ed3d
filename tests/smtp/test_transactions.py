"""One relay, scripted: what is sent, and which fact each answer of the relay becomes."""
import os
import signal
import threading
import time
import unittest

from driver import Driver, mail, random_body
from scripted_relay import (Rule, ScriptedRelay, after, also, deaf, drop, held, partial, reply, reset, silent,
                            slowly)
from servers import wait_for


# More than the kernels of both sides take for a relay that has stopped reading.
BIG = mail(1, (b"0123456789" * 7 + b"\r\n") * 40_000)


def settings(relay, **more):
    return {"port": relay.port, "max_connections": 1, **more}


class Sending(unittest.TestCase):
    def test_row_41_bytes_at_the_relay_equal_the_bytes_composed(self):
        with ScriptedRelay() as relay, Driver(settings(relay, max_connections=4)) as driver:
            contents = {n: mail(n, random_body(n)) for n in range(1, 201)}
            for number, content in contents.items():
                driver.send(number, content)
            for number in contents:
                self.assertEqual(driver.ended(number)["fact"], "relayed")
            self.assertEqual(sorted(relay.mails), sorted(contents.values()))

    def test_a_body_without_a_last_newline_gets_one(self):
        with ScriptedRelay() as relay, Driver(settings(relay)) as driver:
            driver.send(1, mail(1, b"no newline"))
            self.assertEqual(driver.ended(1)["fact"], "relayed")
            self.assertEqual(relay.mails, [mail(1, b"no newline\r\n")])

    def test_row_38_dot_next_comes_before_relayed_and_the_reply_is_kept(self):
        rules = [Rule("dot", reply("250-2.6.0 first line\n250 2.6.0 queued as ABC but quarantined"))]
        with ScriptedRelay(rules) as relay, Driver(settings(relay)) as driver:
            driver.send(1)
            fact = driver.ended(1)
            self.assertEqual(driver.names(1), ["dot_next", "relayed"])
            self.assertEqual(fact["reply"], {"code": 250, "status": "2.6.0",
                                             "text": "first line queued as ABC but quarantined"})

    def test_dsn_parameters_go_out_when_offered(self):
        with ScriptedRelay() as relay, \
                Driver(settings(relay), dsn_notify=["failure", "delay"]) as driver:
            driver.send(1, envid="m+1=x")
            driver.send(2, envid="e" * 81)
            driver.ended(1), driver.ended(2)
            first, second = relay.envelopes
            self.assertIn(" RET=HDRS ENVID=m+2B1+3Dx", first[0])
            self.assertIn(" NOTIFY=FAILURE,DELAY ORCPT=rfc822;u@example.test", first[1])
            self.assertIn(" RET=HDRS", second[0])
            self.assertNotIn("ENVID", second[0])

    def test_nothing_is_used_that_is_not_offered(self):
        with ScriptedRelay(keywords=[], pipelining=False) as relay, \
                Driver(settings(relay), dsn_notify=["failure"]) as driver:
            driver.send(1, mail(1, "ünïcode\r\n".encode()), envid="e1")
            self.assertEqual(driver.ended(1)["fact"], "relayed")
            self.assertEqual(relay.envelopes,
                             [("MAIL FROM:<bounces@example.test>", "RCPT TO:<u@example.test>")])

    def test_chunking_is_never_used(self):
        with ScriptedRelay(keywords=["CHUNKING", "BINARYMIME", "XUSR", "ETRN", "8BITMIME"]) as relay, \
                Driver(settings(relay)) as driver:
            driver.send(1, mail(1, "ünïcode\r\n".encode()))
            self.assertEqual(driver.ended(1)["fact"], "relayed")
            self.assertEqual(relay.said("BDAT|ETRN|XUSR"), [])
            self.assertIn("BODY=8BITMIME", relay.envelopes[0][0])

    def test_row_42_too_large_for_the_relay_fails_before_mail(self):
        with ScriptedRelay(keywords=["SIZE 1000"]) as relay, Driver(settings(relay)) as driver:
            driver.send(1, mail(1, b"x" * 70 + b"\r\n") + b"0123456789\r\n" * 100)
            fact = driver.ended(1)
            self.assertEqual((fact["fact"], fact["stage"], fact["reply"]["code"], fact["reply"]["status"]),
                             ("refused", "mail", 552, "5.3.4"))
            driver.send(2)
            self.assertEqual(driver.ended(2)["fact"], "relayed")
            self.assertEqual(len(relay.said("^MAIL")), 1)

    def test_row_41_a_mail_that_smtp_cannot_carry_is_not_sent(self):
        bad = {1: mail(1, b"bare\nLF\r\n"), 2: mail(2, b"bare\rCR\r\n"), 3: b"To: x@example.test\r\n\r\n",
               4: mail(4).replace(b"Subject:", b"Date:"), 5: b"Return-Path: <a@b.test>\r\n" + mail(5)}
        with ScriptedRelay() as relay, Driver(settings(relay)) as driver:
            for number, content in bad.items():
                driver.send(number, content)
            driver.send(6, to="u@example.test>\r\nRCPT TO:<other@example.test")
            for number in (*bad, 6):
                fact = driver.ended(number)
                self.assertEqual((fact["fact"], fact["stage"]), ("not_sent", "local"), fact)
            self.assertEqual(relay.connections, 0)

    def test_few_connections_first_more_when_jobs_wait(self):
        with ScriptedRelay([Rule("dot", after(0.01))]) as relay, \
                Driver(settings(relay, max_connections=6)) as driver:
            for number in range(1, 121):
                driver.send(number)
            for number in range(1, 121):
                self.assertEqual(driver.ended(number)["fact"], "relayed")
            self.assertGreater(relay.most_open, 2)
            self.assertLessEqual(relay.most_open, 6)

    def test_a_session_is_replaced_after_its_count_of_messages(self):
        with ScriptedRelay() as relay, \
                Driver(settings(relay), deadlines={"session_messages": 5}) as driver:
            for number in range(1, 13):
                driver.send(number)
            for number in range(1, 13):
                self.assertEqual(driver.ended(number)["fact"], "relayed")
            driver.close()
            self.assertEqual(relay.connections, 3)
            self.assertEqual(len(relay.said("^QUIT$")), 3)

    def test_an_idle_connection_quits_in_time(self):
        with ScriptedRelay() as relay, Driver(settings(relay), deadlines={"idle": 50}) as driver:
            driver.send(1)
            driver.ended(1)
            driver.wait(lambda f: f["fact"] == "up" and f["connections"] == 0, "no connection any more")
            self.assertEqual(len(relay.said("^QUIT$")), 1)


class Refusals(unittest.TestCase):
    def refusal(self, stage, text, **more):
        """The fact of a first mail that gets this reply, and of a second one, on which connection."""
        with ScriptedRelay([Rule(stage, reply(text), nth=1)], **more) as relay, \
                Driver(settings(relay)) as driver:
            driver.send(1)
            first = driver.ended(1)
            driver.send(2)
            self.assertEqual(driver.ended(2)["fact"], "relayed")
            self.assertEqual(relay.message_ids(), ["<2@test>"])
            return first, relay.connections, driver

    def test_row_19_refused_mail_keeps_the_connection(self):
        fact, connections, _ = self.refusal("mail", "550 5.7.1 go away")
        self.assertEqual((fact["fact"], fact["stage"], fact["reply"]),
                         ("refused", "mail", {"code": 550, "status": "5.7.1", "text": "go away"}))
        self.assertEqual(connections, 1)

    def test_row_20_refused_recipient_keeps_the_connection(self):
        for pipelining in (True, False):
            fact, connections, driver = self.refusal("rcpt", "550 5.1.1 no such user", pipelining=pipelining)
            self.assertEqual((fact["fact"], fact["stage"], fact["reply"]["status"]),
                             ("refused", "rcpt", "5.1.1"))
            self.assertEqual(connections, 1)
            self.assertEqual(driver.names(1), ["refused"])

    def test_row_20_refused_recipient_and_a_354_all_the_same(self):
        rules = [Rule("rcpt", reply("450 4.2.0 greylisted"), nth=1), Rule("data", reply("354 go on"), nth=1)]
        with ScriptedRelay(rules) as relay, Driver(settings(relay)) as driver:
            driver.send(1)
            fact = driver.ended(1)
            self.assertEqual((fact["fact"], fact["stage"]), ("refused", "rcpt"))
            driver.send(2)
            self.assertEqual(driver.ended(2)["fact"], "relayed")
            self.assertEqual(relay.message_ids(), ["<2@test>"])
            self.assertEqual(driver.names(1), ["refused"])

    def test_row_23_refused_data_ends_the_session(self):
        fact, connections, _ = self.refusal("data", "554 5.5.1 no valid recipients")
        self.assertEqual((fact["fact"], fact["stage"]), ("refused", "data"))
        self.assertEqual(connections, 2)

    def test_row_34_refused_content_keeps_the_connection(self):
        for text in ("554 5.7.1 spam", "451 4.3.0 later"):
            fact, connections, driver = self.refusal("dot", text)
            self.assertEqual((fact["fact"], fact["stage"]), ("refused", "dot"))
            self.assertEqual(connections, 1)
            self.assertEqual(driver.names(1), ["dot_next", "refused"])

    def test_row_24_421_is_the_relays_at_every_stage(self):
        for stage in ("mail", "rcpt", "data", "dot"):
            with self.subTest(stage):
                fact, connections, driver = self.refusal(stage, "421 4.3.2 shutting down")
                self.assertEqual((fact["fact"], fact["stage"], fact["reply"]["code"]),
                                 ("not_sent", "connect", 421))
                self.assertEqual(connections, 2)
                self.assertEqual([f["fact"] for f in driver.facts if f["fact"] in ("up", "down")][:3],
                                 ["up", "down", "up"])

    def test_row_19_530_without_auth_is_the_relays(self):
        fact, _, driver = self.refusal("mail", "530 5.7.0 authentication required")
        self.assertEqual((fact["fact"], fact["stage"]), ("not_sent", "auth"))
        self.assertEqual(driver.fact("down")["stage"], "auth")

    def test_row_19_530_after_auth_is_a_refusal(self):
        with ScriptedRelay([Rule("mail", reply("530 5.7.0 not you"), nth=1)], users={"me": "pw"}) as relay, \
                Driver(settings(relay, username="me", password="pw")) as driver:
            driver.send(1)
            fact = driver.ended(1)
            self.assertEqual((fact["fact"], fact["stage"]), ("refused", "mail"))

    def test_row_25_replies_of_a_wrong_class_end_the_session_safely(self):
        cases = [("mail", "354 what"), ("rcpt", "354 what"), ("data", "250 ok"), ("mail", "150 wait"),
                 ("mail", "650 what"), ("mail", "abc def"), ("rcpt", ""), ("mail", "250-a\n550 b")]
        for stage, text in cases:
            with self.subTest(stage=stage, text=text):
                fact, connections, _ = self.refusal(stage, text)
                self.assertEqual(fact["fact"], "not_sent")
                self.assertEqual(connections, 2)

    def test_row_25_354_to_the_dot_is_never_a_success(self):
        fact, _, _ = self.refusal("dot", "354 again")
        self.assertEqual(fact["fact"], "uncertain")

    def test_row_39_two_replies_in_one_segment_drop_the_session(self):
        with ScriptedRelay([Rule("dot", also(b"250 stray\r\n"), nth=1)]) as relay, \
                Driver(settings(relay)) as driver:
            driver.send(1)
            self.assertEqual(driver.ended(1)["fact"], "relayed")
            driver.send(2)
            self.assertEqual(driver.ended(2)["fact"], "relayed")
            self.assertEqual(relay.message_ids(), ["<1@test>", "<2@test>"])
            self.assertEqual(relay.connections, 2)

    def test_row_44_refused_rset_ends_the_session(self):
        rules = [Rule("rcpt", reply("550 5.1.1 no"), nth=1), Rule("rset", reply("500 what"), nth=1)]
        with ScriptedRelay(rules) as relay, Driver(settings(relay)) as driver:
            driver.send(1)
            driver.ended(1)
            driver.send(2)
            self.assertEqual(driver.ended(2)["fact"], "relayed")
            self.assertEqual(relay.connections, 2)

    def test_row_27_hostile_bytes_in_a_reply_are_escaped(self):
        text = "550 5.1.1 a\x00b\x1b[31m\xff\\ " + "x" * 600
        fact, _, _ = self.refusal("rcpt", text)
        self.assertTrue(fact["reply"]["text"].startswith("a\\x00b\\x1b[31m\\xff\\ xxx"))
        self.assertLessEqual(len(fact["reply"]["text"]), 500)

    def test_row_26_replies_past_the_bounds_end_the_session(self):
        for text in ("550 " + "x" * 5000, "\n".join(["550-x"] * 200) + "\n550 end",
                     "\n".join(["550-" + "x" * 1000] * 100) + "\n550 end"):
            fact, connections, _ = self.refusal("rcpt", text)
            self.assertEqual((fact["fact"], fact["stage"]), ("not_sent", "rcpt"))
            self.assertEqual(connections, 2)


class Losses(unittest.TestCase):
    def lost(self, rules, deadlines=None, content=None):
        with ScriptedRelay(rules, receive_buffer=4096) as relay, \
                Driver(settings(relay), deadlines) as driver:
            driver.send(1, content)
            fact = driver.ended(1)
            fact["names"] = driver.names(1)
            return fact

    def test_row_31_before_the_dot_it_is_not_sent(self):
        for stage in ("mail", "rcpt", "data", "body"):
            for action in (drop(), reset()):
                with self.subTest(stage):
                    fact = self.lost([Rule(stage, action)], content=BIG if stage == "body" else None)
                    self.assertEqual(fact["fact"], "not_sent")
                    self.assertNotIn("dot_next", fact["names"])

    def test_row_31_a_drop_right_behind_the_354_is_not_sent(self):
        for then in (drop(), reset()):
            fact = self.lost([Rule("data", partial("354 go on\r\n", then))], content=BIG)
            self.assertEqual((fact["fact"], fact["stage"]), ("not_sent", "body"))
            self.assertNotIn("dot_next", fact["names"])

    def test_row_33_after_the_dot_it_is_uncertain(self):
        for action in (drop(), reset()):
            fact = self.lost([Rule("dot", action)])
            self.assertEqual(fact["names"], ["dot_next", "uncertain"])

    def test_a_reply_that_came_while_the_process_was_stopped_counts(self):
        gate = threading.Event()
        with ScriptedRelay([Rule("dot", held(gate))]) as relay, \
                Driver(settings(relay), {"dot": 500, "dot_least": 500}) as driver:
            driver.send(1)
            driver.fact("dot_next")
            # The fact comes before the dot: stopped in between, the process would never have sent it.
            wait_for(lambda: relay.visits.get("dot"), "the dot is at the relay")
            os.kill(driver.child.pid, signal.SIGSTOP)
            try:
                past_the_deadline = time.monotonic() + 0.6
                gate.set()
                wait_for(lambda: relay.mails and time.monotonic() > past_the_deadline, "the relay's reply")
            finally:
                os.kill(driver.child.pid, signal.SIGCONT)
            self.assertEqual(driver.ended(1)["fact"], "relayed")

    def test_no_reply_to_the_dot_is_uncertain_at_its_deadline(self):
        fact = self.lost([Rule("dot", silent())], {"dot": 200, "dot_least": 50})
        self.assertEqual(fact["names"], ["dot_next", "uncertain"])

    def test_a_phase_ends_at_its_deadline(self):
        for stage in ("mail", "rcpt", "data"):
            with self.subTest(stage):
                fact = self.lost([Rule(stage, silent())], {stage: 150})
                self.assertEqual((fact["fact"], fact["stage"]), ("not_sent", stage))

    def test_row_28_slow_loris_meets_the_deadline_of_the_phase(self):
        # Every byte comes well within the deadline; the whole reply would take 2 s.
        fact = self.lost([Rule("mail", slowly("250 " + "o" * 96, 0.02))], {"mail": 300})
        self.assertEqual((fact["fact"], fact["stage"]), ("not_sent", "mail"))

    def test_row_40_write_time_out_in_the_middle_of_a_message(self):
        # The stock library loses a buffer here and goes on: the relay would get a mail with a gap.
        rules = [Rule("body", deaf(), nth=1)]
        with ScriptedRelay(rules, receive_buffer=4096) as relay, \
                Driver(settings(relay), {"before_dot": 4000}) as driver:
            driver.send(1, BIG)
            fact = driver.ended(1)
            self.assertEqual((fact["fact"], fact["stage"]), ("not_sent", "body"))
            driver.send(2)
            self.assertEqual(driver.ended(2)["fact"], "relayed")
            self.assertEqual(relay.message_ids(), ["<2@test>"])
            self.assertNotIn("dot_next", driver.names(1))

    def test_a_relay_that_pauses_in_the_middle_gets_every_byte(self):
        content = mail(1, random_body(4) * 400)
        with ScriptedRelay([Rule("body", after(0.3))]) as relay, Driver(settings(relay)) as driver:
            driver.send(1, content)
            self.assertEqual(driver.ended(1)["fact"], "relayed")
            self.assertEqual(relay.mails, [content])

    def test_time_left_clamps_the_dot(self):
        with ScriptedRelay([Rule("dot", silent())]) as relay, \
                Driver(settings(relay), {"dot_least": 100}) as driver:
            driver.send(1, time_left=300)
            self.assertEqual(driver.ended(1)["fact"], "uncertain")

    def test_no_dot_after_the_time_left(self):
        with ScriptedRelay([Rule("data", after(0.4))]) as relay, Driver(settings(relay)) as driver:
            driver.send(1, time_left=200)
            self.assertEqual(driver.ended(1)["fact"], "not_sent")
            self.assertEqual(relay.mails, [])
            self.assertNotIn("dot_next", driver.names(1))

    def test_cancel_before_the_dot(self):
        with ScriptedRelay([Rule("data", silent(), nth=1)]) as relay, Driver(settings(relay)) as driver:
            driver.send(1)
            driver.send(2)
            driver.fact("up")
            driver.order(op="cancel", id=1)
            driver.order(op="cancel", id=2)
            for number in (1, 2):
                fact = driver.ended(number)
                self.assertEqual((fact["fact"], fact["reason"]), ("not_sent", "canceled"))

    def test_an_idle_connection_that_hung_up_is_replaced_for_free(self):
        with ScriptedRelay([Rule("idle", drop())]) as relay, Driver(settings(relay)) as driver:
            for number in (1, 2, 3):
                driver.send(number)
                self.assertEqual(driver.ended(number)["fact"], "relayed")
            self.assertEqual(relay.connections, 3)

    def test_row_30_a_queued_421_bye_is_read_before_reuse(self):
        with ScriptedRelay([Rule("idle", reply("421 4.4.2 bye"))]) as relay, Driver(settings(relay)) as driver:
            for number in (1, 2, 3):
                driver.send(number)
                self.assertEqual(driver.ended(number)["fact"], "relayed")
            self.assertEqual(relay.message_ids(), ["<1@test>", "<2@test>", "<3@test>"])

    def test_row_29_a_warm_connection_that_dies_at_mail_is_replaced_for_free(self):
        for action in (drop(), reset(), reply("421 4.4.2 idle too long")):
            with ScriptedRelay([Rule("mail", action, nth=2)]) as relay, Driver(settings(relay)) as driver:
                for number in (1, 2):
                    driver.send(number)
                    self.assertEqual(driver.ended(number)["fact"], "relayed")
                self.assertEqual(relay.connections, 2)

    def test_drain_cuts_before_the_dot_and_waits_after_it(self):
        with ScriptedRelay([Rule("dot", after(0.3), nth=1)]) as relay, Driver(settings(relay)) as driver:
            driver.send(1)
            driver.fact("dot_next")
            driver.send(2)
            driver.order(op="drain", grace=20000)
            self.assertEqual(driver.ended(1)["fact"], "relayed")
            self.assertEqual(driver.ended(2)["fact"], "not_sent")

    def test_drain_ends_after_its_grace(self):
        with ScriptedRelay([Rule("dot", silent())]) as relay, Driver(settings(relay)) as driver:
            driver.send(1)
            driver.fact("dot_next")
            driver.order(op="drain", grace=100)
            self.assertEqual(driver.ended(1)["fact"], "uncertain")


if __name__ == "__main__":
    unittest.main()
