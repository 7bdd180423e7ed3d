"""The scripted relay itself, against Python's own SMTP client: a proof is no better than its instrument."""
import json
import os
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import unittest

from driver import mail
from relay_actions import parse_action
from scripted_relay import (BOUND, Rule, ScriptedRelay, also, drop, early, eat, hide, reply, take, twice,
                            unclosed)
from servers import SERVER_NAME, Authority, make_folder, wait_for


def submit(port, number, to="u@example.test"):
    """The code of the reply that ended it; None: there was none."""
    try:
        with smtplib.SMTP("127.0.0.1", port, "client.test", BOUND) as client:
            client.sendmail("s@example.test", [to], mail(number))
            return 250
    except smtplib.SMTPServerDisconnected:
        return None
    except smtplib.SMTPRecipientsRefused as error:
        return error.recipients[to][0]
    except smtplib.SMTPResponseException as error:
        return error.smtp_code


def talk(relay, lines):
    """What the relay says to these bytes, up to its end."""
    with socket.create_connection(("127.0.0.1", relay.port), BOUND) as link:
        link.sendall(lines)
        out = b""
        while chunk := link.recv(65536):
            out += chunk
        return out.decode("latin-1")


class ByAddress(unittest.TestCase):
    def test_the_local_part_chooses_stage_and_action(self):
        cases = {"tempfail-1": 451, "busy-1": 450, "full-1": 452, "quota-1": 552, "nouser-1": 550,
                 "reject-1": 554, "close-1": 421, "droprcpt-1": None, "dropdata-1": None, "dropbody-1": None,
                 "spam-1": 554, "later-1": 451, "closedot-1": 421, "drop-1": None, "reset-1": None,
                 "lost-1": None, "u": 250}
        with ScriptedRelay() as relay:
            for number, (name, code) in enumerate(cases.items(), 1):
                with self.subTest(name):
                    self.assertEqual(submit(relay.port, number, f"{name}@example.test"), code)
            numbers = {name: f"<{number}@test>" for number, name in enumerate(cases, 1)}
            self.assertEqual(relay.message_ids(), [numbers["lost-1"], numbers["u"]])
            taken = {entry.recipient: entry.accepted for entry in relay.journal}
            self.assertEqual([name for name in cases if taken[f"{name}@example.test"]], ["lost-1", "u"])

    def test_once_and_greylisting_are_for_the_first_visit_of_each_recipient(self):
        with ScriptedRelay() as relay:
            for to in ("greylist-a@example.test", "greylist-b@example.test"):
                self.assertEqual([submit(relay.port, 1, to), submit(relay.port, 1, to)], [451, 250])
            for to, first in (("nouseronce-a@x.test", 550), ("lostonce-a@x.test", None)):
                self.assertEqual([submit(relay.port, 2, to) for _ in range(3)], [first, 250, 250])


class Rules(unittest.TestCase):
    def test_the_same_seed_gives_the_same_faults(self):
        def refused(seed, order):
            with ScriptedRelay([Rule("rcpt", reply("450 4.2.0 dice"), p=0.4)], seed=seed) as relay:
                return {n for n in order if submit(relay.port, n, f"u{n}@example.test") == 450}
        first = refused(7, range(1, 41))
        self.assertEqual(first, refused(7, reversed(range(1, 41))))
        self.assertNotEqual(first, refused(8, range(1, 41)))
        self.assertTrue(5 < len(first) < 30, first)

    def test_nth_may_be_a_range(self):
        with ScriptedRelay([Rule("rcpt", reply("450 no"), nth=range(2, 4))]) as relay:
            self.assertEqual([submit(relay.port, n) for n in range(1, 6)], [250, 450, 450, 250, 250])

    def test_replies_that_come_too_often_and_too_early(self):
        cases = ((also(b"250 stray\r\n"), ["220", "250", "250", "221"]),
                 (twice(), ["220", "250", "250", "221"]), (early("250 before"), ["220", "250", "250"]), (eat(), ["220", "221"]))
        for action, codes in cases:
            with ScriptedRelay([Rule("rset", action)]) as relay:
                said = talk(relay, b"RSET\r\nQUIT\r\n").splitlines()
                self.assertEqual([line[:3] for line in said], codes)
        with ScriptedRelay([Rule("mail", early("250 before"))]) as relay:
            said = talk(relay, b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nQUIT\r\n").splitlines()
            self.assertEqual([line[:10] for line in said[1:]], ["250 2.1.0 ", "250 before", "221 2.0.0 "])

    def test_a_hidden_keyword(self):
        with ScriptedRelay([Rule("ehlo", hide("SIZE"), nth=1)]) as relay:
            self.assertNotIn("SIZE", talk(relay, b"EHLO x\r\nQUIT\r\n"))
            self.assertIn("SIZE", talk(relay, b"EHLO x\r\nQUIT\r\n"))

    def test_a_mail_that_is_taken_and_not_acknowledged(self):
        with ScriptedRelay([Rule("dot", take(drop()), nth=1)]) as relay:
            self.assertIsNone(submit(relay.port, 1))
            self.assertEqual(submit(relay.port, 1), 250)
            self.assertEqual(relay.message_ids(), ["<1@test>", "<1@test>"])
            self.assertEqual([entry.accepted for entry in relay.journal], [True, True])

    def test_words_that_are_no_action(self):
        for words in ("", "dorp", "reply", "drop:1", "after:x", "take", "huge:much"):
            with self.subTest(words), self.assertRaises((ValueError, KeyError)):
                parse_action(words)


class Tls(unittest.TestCase):
    def setUp(self):
        self.folder = make_folder("mailotp-relay-")
        self.authority = Authority(self.folder)
        self.good = self.authority.server("good")
        self.client = ssl.create_default_context(cafile=self.authority.file)
        self.client.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # Python's default hides what is to be seen

    def tearDown(self):
        shutil.rmtree(self.folder)

    def test_the_end_without_close_notify(self):
        rules = [Rule("greeting", unclosed(), nth=2)]
        with ScriptedRelay(rules, certificate=self.good, implicit=True) as relay:
            with socket.create_connection(("127.0.0.1", relay.port), BOUND) as plain, \
                    self.client.wrap_socket(plain, server_hostname=SERVER_NAME) as link:
                self.assertTrue(link.recv(100).startswith(b"220 "))
            with socket.create_connection(("127.0.0.1", relay.port), BOUND) as plain, \
                    self.client.wrap_socket(plain, server_hostname=SERVER_NAME,
                                            suppress_ragged_eofs=False) as link, \
                    self.assertRaisesRegex(ssl.SSLError, "(?i)eof"):
                link.recv(100)

    def test_a_bad_certificate_by_rule(self):
        bad = self.authority.server("bad", expired=True)
        with ScriptedRelay([Rule("tls", parse_action("badcert"), nth=1)], certificate=self.good,
                           bad_certificate=bad, implicit=True) as relay:
            with socket.create_connection(("127.0.0.1", relay.port), BOUND) as plain, \
                    self.assertRaisesRegex(ssl.SSLCertVerificationError, "expired"):
                self.client.wrap_socket(plain, server_hostname=SERVER_NAME)
            with socket.create_connection(("127.0.0.1", relay.port), BOUND) as plain, \
                    self.client.wrap_socket(plain, server_hostname=SERVER_NAME) as link:
                self.assertTrue(link.recv(100).startswith(b"220 "))


class ByHand(unittest.TestCase):
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "scripted_relay.py")

    def test_it_runs_writes_its_journal_and_ends_on_sigterm(self):
        with tempfile.TemporaryDirectory() as folder:
            journal = os.path.join(folder, "journal")
            child = subprocess.Popen(
                [sys.executable, "-B", self.program, "--rule", "stage=dot nth=2 action=take+drop", "--rule",
                 "stage=rcpt to=slow p=1 action=reply:450-4.2.0 not\\n450 4.2.0 now", "--journal", journal,
                 "--seed", "7"], stdout=subprocess.PIPE, text=True)
            try:
                port = int(child.stdout.readline().split()[1])
                outcomes = [submit(port, 1), submit(port, 2), submit(port, 3, "slow@example.test")]
                self.assertEqual(outcomes, [250, None, 450])

                def entries():
                    with open(journal, encoding="utf-8") as lines:
                        return [json.loads(line) for line in lines]
                wait_for(lambda: len(entries()) == 3, "three lines in the journal")
                self.assertEqual([(e["message_id"], e["recipient"], e["phase"], e["accepted"], e["connection"])
                                  for e in entries()],
                                 [("<1@test>", "u@example.test", "dot", True, 1),
                                  ("<2@test>", "u@example.test", "dot", True, 2),
                                  ("", "slow@example.test", "rcpt", False, 3)])
                self.assertEqual(entries()[0]["reply"], "250 2.0.0 queued as 1.1")
                child.send_signal(signal.SIGTERM)
                self.assertEqual(child.wait(BOUND), 0)
            finally:
                child.kill()
                child.wait()
                child.stdout.close()

    def test_help_and_rules_that_are_none(self):
        text = subprocess.run([sys.executable, "-B", self.program, "--help"], capture_output=True, text=True,
                              check=True, timeout=BOUND).stdout
        self.assertIn("nouser-", text)
        self.assertIn("take+ACTION", text)
        for rule in ("stage=dot", "stage=nowhere action=drop", "action=drop", "stage=dot action=dorp",
                     "stage=dot nth=x action=drop", "stage=dot what=1 action=drop"):
            ended = subprocess.run([sys.executable, "-B", self.program, "--rule", rule], capture_output=True,
                                   text=True, check=False, timeout=BOUND)
            self.assertEqual(ended.returncode, 2, rule)
            self.assertIn(rule, ended.stderr)


if __name__ == "__main__":
    unittest.main()
