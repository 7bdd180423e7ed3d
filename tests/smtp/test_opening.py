"""One relay, scripted: how a connection comes about, and every way in which it must not."""
import shutil
import socket
import unittest

from driver import Driver
from scripted_relay import Rule, ScriptedRelay, also, drop, raw, reply, reset, silent, slowly
from servers import SERVER_NAME, Authority, free_ports, make_folder

USERS = {"me": "correct horse"}


def settings(relay, **more):
    return {"port": relay.port, "max_connections": 1, **more}


class Opening(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = make_folder("mailotp-opening-")
        cls.authority = Authority(cls.folder)
        cls.certificate = cls.authority.server("right")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def secure(self, relay, **more):
        return settings(relay, **{"tls": "implicit" if relay.implicit else "starttls",
                                  "server_name": SERVER_NAME, "ca_file": self.authority.file,
                                  "username": "me", "password": USERS["me"], **more})

    def not_sent(self, relay, relay_settings, deadlines=None):
        """The fact of a mail that no connection comes about for; the relay is down for the same reason."""
        with Driver(relay_settings, deadlines) as driver:
            driver.send(1)
            fact = driver.ended(1)
            self.assertEqual(fact["fact"], "not_sent", fact)
            down = driver.fact("down")
            self.assertEqual((down["stage"], down["reason"]), (fact["stage"], fact["reason"]))
            if relay:
                self.assertEqual(relay.said("^MAIL"), [])
            return fact


class Tls(Opening):
    def test_starttls_and_implicit(self):
        for implicit in (False, True):
            with ScriptedRelay(certificate=self.certificate, implicit=implicit, users=USERS) as relay, \
                    Driver(self.secure(relay)) as driver:
                driver.send(1)
                self.assertEqual(driver.ended(1)["fact"], "relayed")
                self.assertEqual(len(relay.said("^EHLO client.test$")), 1 if implicit else 2)

    def test_row_13_certificates_that_must_be_refused(self):
        stranger = Authority(self.folder, "stranger")
        cases = {
            "wrong name": (self.authority.server("other", host="other.test"), "mismatch"),
            "expired": (self.authority.server("expired", expired=True), "expired"),
            "self-signed": (self.authority.server("selfsigned", self_signed=True), "self-signed"),
            "unknown CA": (stranger.server("unknown"), "issuer certificate"),
        }
        for name, (certificate, words) in cases.items():
            for implicit in (False, True):
                with self.subTest(name, implicit=implicit), \
                        ScriptedRelay(certificate=certificate, implicit=implicit, users=USERS) as relay:
                    fact = self.not_sent(relay, self.secure(relay))
                    self.assertEqual(fact["stage"], "tls")
                    self.assertIn(words, fact["reason"])
                    self.assertEqual(relay.said("^AUTH"), [])

    def test_a_name_is_checked_against_the_server_name_not_the_host(self):
        certificate = self.authority.server("localhost", host="localhost")
        with ScriptedRelay(certificate=certificate, users=USERS) as relay:
            fact = self.not_sent(relay, self.secure(relay, host="localhost"))
            self.assertEqual(fact["stage"], "tls")
            with Driver(self.secure(relay, host="localhost", server_name="")) as driver:
                driver.send(1)
                self.assertEqual(driver.ended(1)["fact"], "relayed")

    def test_a_ca_file_that_is_not_there(self):
        with ScriptedRelay(certificate=self.certificate) as relay:
            fact = self.not_sent(relay, self.secure(relay, ca_file=self.folder + "/none.pem"))
            self.assertEqual(fact["stage"], "tls")
            self.assertIn("none.pem", fact["reason"])

    def test_row_14_starttls_response_injection(self):
        # The stock library takes what follows the 220 in the clear for replies under TLS.
        injected = b"250-injected\r\n250 AUTH PLAIN\r\n235 ok\r\n"
        for action in (also(injected), raw(b"220 go\r\n" + injected)):
            with ScriptedRelay([Rule("starttls", action)], certificate=self.certificate,
                               users=USERS) as relay:
                fact = self.not_sent(relay, self.secure(relay))
                self.assertEqual(fact["stage"], "starttls")
                self.assertEqual(relay.said("^AUTH"), [])

    def test_row_11_starttls_not_offered_is_never_a_downgrade(self):
        with ScriptedRelay(users=USERS) as relay:
            fact = self.not_sent(relay, self.secure(relay))
            self.assertEqual(fact["stage"], "starttls")
            self.assertEqual(relay.said("^AUTH"), [])

    def test_row_12_starttls_refused(self):
        for text in ("454 4.7.0 not now", "500 5.5.1 what"):
            with ScriptedRelay([Rule("starttls", reply(text))], certificate=self.certificate) as relay:
                fact = self.not_sent(relay, self.secure(relay))
                self.assertEqual((fact["stage"], fact["reply"]["code"]), ("starttls", int(text[:3])))

    def test_row_14_capabilities_from_before_tls_are_forgotten(self):
        rules = [Rule("ehlo", reply("250-x\n250-STARTTLS\n250-PIPELINING\n250-DSN\n250 AUTH PLAIN"), nth=1),
                 Rule("ehlo", reply("250 nothing"), nth=2)]
        with ScriptedRelay(rules, certificate=self.certificate, users=USERS) as relay:
            fact = self.not_sent(relay, self.secure(relay))
            self.assertEqual(fact["stage"], "auth")
            self.assertEqual(relay.said("^AUTH"), [])

    def test_row_12_a_handshake_that_hangs_or_breaks(self):
        for action, deadlines in ((silent(), {"starttls": 200}), (drop(), {}), (reset(), {}),
                                  (raw(b"this is not TLS\r\n" * 5), {})):
            with ScriptedRelay([Rule("tls", action)], certificate=self.certificate) as relay:
                # What comes in one segment with the 220 is taken for an injection.
                stage = self.not_sent(relay, self.secure(relay), deadlines)["stage"]
                self.assertIn(stage, ("tls", "starttls"))

    def test_many_tls_sessions_in_one_process(self):
        # The stock library uses its TLS context after it was freed, from the second session on.
        with ScriptedRelay(certificate=self.certificate, users=USERS) as relay, \
                Driver(self.secure(relay, max_connections=4), {"session_messages": 1}) as driver:
            for number in range(1, 61):
                driver.send(number)
            for number in range(1, 61):
                self.assertEqual(driver.ended(number)["fact"], "relayed")
            self.assertEqual(relay.connections, 60)


class Auth(Opening):
    def sent_with(self, auth, rules=(), **more):
        with ScriptedRelay(rules, certificate=self.certificate, users=USERS, **more) as relay, \
                Driver(self.secure(relay, auth=auth)) as driver:
            driver.send(1)
            self.assertEqual(driver.ended(1)["fact"], "relayed")
            return relay.said("^AUTH")

    def test_each_mechanism(self):
        self.assertTrue(self.sent_with("plain")[0].startswith("AUTH PLAIN "))
        self.assertEqual(self.sent_with("login"), ["AUTH LOGIN"])
        self.assertTrue(self.sent_with("xoauth2", mechanisms="XOAUTH2 PLAIN")[0].startswith("AUTH XOAUTH2 "))

    def test_auto_takes_plain_then_login(self):
        self.assertTrue(self.sent_with("auto", mechanisms="LOGIN PLAIN")[0].startswith("AUTH PLAIN "))
        self.assertEqual(self.sent_with("auto", mechanisms="LOGIN CRAM-MD5"), ["AUTH LOGIN"])

    def test_row_15_a_mechanism_that_will_not_do_is_followed_by_the_next(self):
        for code in ("504 5.5.4", "534 5.7.9"):
            lines = self.sent_with("auto", [Rule("auth", reply(code + " not this one"), nth=1)])
            self.assertTrue(lines[0].startswith("AUTH PLAIN "))
            self.assertEqual(lines[1], "AUTH LOGIN")

    def test_row_15_the_old_form_of_the_offer(self):
        rules = [Rule("ehlo", reply("250-x\n250-STARTTLS\n250 AUTH=LOGIN"))]
        self.assertEqual(self.sent_with("auto", rules), ["AUTH LOGIN"])

    def test_row_15_a_334_without_end(self):
        rules = [Rule("auth", reply("334 "))]
        with ScriptedRelay(rules, certificate=self.certificate, users=USERS) as relay:
            relay.rules.append(Rule("noop", reply("334 ")))
            fact = self.not_sent(relay, self.secure(relay, auth="plain"))
            self.assertEqual(fact["stage"], "auth")

    def test_row_15_refused_password_then_corrected(self):
        for auth, mechanisms in (("auto", "PLAIN LOGIN"), ("login", "LOGIN"), ("xoauth2", "XOAUTH2")):
            with self.subTest(auth), \
                    ScriptedRelay(certificate=self.certificate, users=USERS,
                                  mechanisms=mechanisms) as relay, \
                    Driver(self.secure(relay, auth=auth, password="wrong")) as driver:
                driver.send(1)
                fact = driver.ended(1)
                self.assertEqual((fact["fact"], fact["stage"], fact["reply"]["code"]),
                                 ("not_sent", "auth", 535))
                self.assertEqual(driver.fact("down")["stage"], "auth")
                # Not asked again with a password that is known to be wrong.
                driver.send(2)
                self.assertEqual(driver.ended(2)["stage"], "auth")
                self.assertEqual(relay.connections, 1)
                driver.order(op="password", password=USERS["me"])
                driver.send(3)
                self.assertEqual(driver.ended(3)["fact"], "relayed")
                self.assertEqual(driver.fact("up")["fact"], "up")

    def test_a_refused_password_is_tried_again_after_its_time(self):
        with ScriptedRelay(certificate=self.certificate, users=USERS) as relay, \
                Driver(self.secure(relay, password="wrong"), {"auth_refused": 100}) as driver:
            number = 1
            driver.send(number)
            driver.ended(number)
            while relay.connections < 2:
                number += 1
                self.assertLess(number, 100_000)
                driver.send(number)
                driver.ended(number)

    def test_row_15_a_temporary_failure_is_no_refusal(self):
        rules = [Rule("auth", reply("454 4.7.0 try later"), nth=1)]
        with ScriptedRelay(rules, certificate=self.certificate, users=USERS) as relay, \
                Driver(self.secure(relay)) as driver:
            driver.send(1)
            fact = driver.ended(1)
            self.assertEqual((fact["fact"], fact["stage"], fact["reply"]["code"]), ("not_sent", "auth", 454))
            driver.send(2)
            self.assertEqual(driver.ended(2)["fact"], "relayed")

    def test_row_11_no_password_in_the_clear(self):
        # The host's own address is not a loopback address, though it is reached as fast.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))
            own = probe.getsockname()[0]
        self.assertFalse(own.startswith("127."))
        (port,) = free_ports(1)
        fact = self.not_sent(None, {"host": own, "port": port, "tls": "none", "username": "me",
                                    "password": "pw"})
        self.assertIn("loopback", fact["reason"])


class Reaching(Opening):
    def test_row_01_connect_refused(self):
        (port,) = free_ports(1)
        fact = self.not_sent(None, {"port": port})
        self.assertEqual(fact["stage"], "connect")
        self.assertIn("refused", fact["reason"])

    def test_row_02_black_hole(self):
        # A full backlog drops SYNs as a firewall does.
        with socket.socket() as hole:
            hole.bind(("127.0.0.1", 0))
            hole.listen(0)
            port = hole.getsockname()[1]
            fillers = []
            for _ in range(8):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
                fillers.append(filler)
            fact = self.not_sent(None, {"port": port}, {"connect": 300})
            self.assertEqual(fact["stage"], "connect")
            self.assertIn("no answer", fact["reason"])
            for filler in fillers:
                filler.close()

    def test_row_04_a_name_that_does_not_exist_is_temporary(self):
        (port,) = free_ports(1)
        fact = self.not_sent(None, {"host": "no-such-host.invalid", "port": port}, {"dns": 3000})
        self.assertEqual(fact["stage"], "dns")

    def test_a_host_name_is_resolved(self):
        with ScriptedRelay() as relay, Driver(settings(relay, host="localhost")) as driver:
            driver.send(1)
            self.assertEqual(driver.ended(1)["fact"], "relayed")

    def test_row_08_greetings_that_are_none(self):
        cases = {"421 4.3.2 too many": 421, "554 5.3.2 no service here": 554, "250 hello": 250,
                 "220-a\n220 b": None, "HTTP/1.1 400 Bad Request": 0, "": 0}
        for text, code in cases.items():
            with self.subTest(text), ScriptedRelay([Rule("greeting", reply(text))]) as relay:
                if code is None:
                    with Driver(settings(relay)) as driver:
                        driver.send(1)
                        self.assertEqual(driver.ended(1)["fact"], "relayed")
                    continue
                fact = self.not_sent(relay, settings(relay))
                self.assertEqual(fact["stage"], "greeting")
                self.assertEqual(fact.get("reply", {"code": 0})["code"], code)

    def test_deadlines_of_the_phases(self):
        for stage, more in (("greeting", {}), ("ehlo", {}), ("starttls", {}), ("auth", {})):
            for action in (silent(), slowly("250 " + "o" * 96, 0.02)):
                with self.subTest(stage), ScriptedRelay([Rule(stage, action)], users=USERS,
                                                        certificate=self.certificate) as relay:
                    fact = self.not_sent(relay, self.secure(relay), {stage: 250})
                    self.assertEqual(fact["stage"], stage)

    def test_row_26_an_ehlo_without_end(self):
        with ScriptedRelay([Rule("ehlo", reply("\n".join(["250-x"] * 100_000)))]) as relay:
            self.assertEqual(self.not_sent(relay, settings(relay))["stage"], "ehlo")

    def test_row_10_helo_when_nothing_more_is_needed(self):
        rules = [Rule("ehlo", reply("502 5.5.1 what"))]
        with ScriptedRelay(rules) as relay, Driver(settings(relay)) as driver:
            driver.send(1)
            self.assertEqual(driver.ended(1)["fact"], "relayed")
            self.assertEqual(relay.said("^HELO"), ["HELO client.test"])
        with ScriptedRelay(rules, users=USERS) as relay:
            fact = self.not_sent(relay, settings(relay, username="me", password="pw"))
            self.assertEqual(fact["stage"], "ehlo")
            self.assertEqual(relay.said("^HELO"), [])

    def test_row_18_too_many_connections_for_the_relay(self):
        rules = [Rule("greeting", reply("421 4.7.0 too many connections"), nth=2)]
        with ScriptedRelay(rules) as relay, Driver(settings(relay, max_connections=8)) as driver:
            for number in range(1, 31):
                driver.send(number)
            for number in range(1, 31):
                self.assertEqual(driver.ended(number)["fact"], "relayed")

    def test_jobs_that_find_no_free_connection_come_back(self):
        with ScriptedRelay([Rule("dot", silent())]) as relay, \
                Driver(settings(relay), {"before_dot": 300, "dot": 1500}) as driver:
            driver.send(1)
            driver.fact("dot_next")
            driver.send(2)
            fact = driver.ended(2)
            # Nothing is wrong with the relay's sessions: it is slow.
            self.assertEqual((fact["fact"], fact["stage"]), ("not_sent", "local"))
            self.assertEqual(driver.names(2), ["not_sent"])
            self.assertEqual(driver.ended(1)["fact"], "uncertain")


class Test(Opening):
    def steps(self, relay_settings, deadlines=None):
        with Driver(relay_settings, deadlines) as driver:
            driver.order(op="test", test=7)
            done = driver.fact("test_done")
            steps = [f for f in driver.facts if f["fact"] == "test_step"]
            self.assertTrue(all(step["test"] == 7 for step in steps))
            return [(step["stage"], step["ok"]) for step in steps], steps, done["ok"]

    def test_every_step_says_what_it_saw(self):
        with ScriptedRelay(certificate=self.certificate, users=USERS) as relay:
            names, steps, ok = self.steps(self.secure(relay, host="localhost"))
            self.assertTrue(ok)
            self.assertEqual([name for name, _ in names],
                             ["dns", "connect", "greeting", "ehlo", "starttls", "tls", "ehlo", "auth"])
            saw = {step["stage"]: step["saw"] for step in steps}
            self.assertIn(f"127.0.0.1:{relay.port}", saw["dns"])
            self.assertIn("TLSv1.3", saw["tls"])
            self.assertIn("subject CN=relay.test, issuer CN=ca of the tests, expires", saw["tls"])
            self.assertIn("AUTH", saw["ehlo"])
            self.assertEqual(saw["auth"], "PLAIN: 235 2.7.0 welcome")
            self.assertEqual(relay.said("^MAIL"), [])

    def test_the_first_failure_ends_it(self):
        with ScriptedRelay(certificate=self.certificate, users=USERS) as relay:
            names, steps, ok = self.steps(self.secure(relay, password="wrong"))
            self.assertFalse(ok)
            self.assertEqual(names[-1], ("auth", False))
            self.assertIn("535", steps[-1]["saw"])
            names, steps, ok = self.steps(self.secure(relay, server_name="other.test"))
            self.assertEqual((names[-1], ok), (("tls", False), False))
            self.assertIn("mismatch", steps[-1]["saw"])
        names, _, ok = self.steps(self.secure(relay))
        self.assertEqual((names[-1], ok), (("connect", False), False))


if __name__ == "__main__":
    unittest.main()
