"""One relay that is a real Postfix, with SASL, LMTP and IMAP by Dovecot."""
import collections
import threading
import unittest

import servers
from driver import Driver, mail, random_body
from scripted_relay import BOUND


def setUpModule():
    global SYSTEM
    SYSTEM = servers.MailSystem().__enter__()


def tearDownModule():
    SYSTEM.stop()


def settings(tls="starttls", **more):
    port = SYSTEM.postfix.submission_port if tls == "starttls" else SYSTEM.postfix.implicit_port
    return {"port": port, "tls": tls, "server_name": servers.SERVER_NAME, "ca_file": SYSTEM.authority.file,
            "username": "sender", "password": servers.PASSWORD, **more}


def content_of(delivered):
    """What we sent, of a mail as Dovecot has it: without the trace fields on top."""
    return b"Date: " + delivered.split(b"\r\nDate: ", 1)[1]


class RealServers(unittest.TestCase):
    def relayed(self, driver, numbers):
        for number in numbers:
            fact = driver.ended(number)
            self.assertEqual(fact["fact"], "relayed", fact)
            self.assertRegex(fact["reply"]["text"], "queued as")

    def test_starttls_and_implicit_tls_to_the_mailbox(self):
        for tls in ("starttls", "implicit"):
            for auth in ("plain", "login"):
                user = f"{tls}-{auth}"
                with Driver(settings(tls, auth=auth)) as driver:
                    driver.send(1, to=f"{user}@example.test")
                    self.relayed(driver, [1])
                (delivered,) = SYSTEM.dovecot.wait_for_mails(user, 1)
                self.assertEqual(content_of(delivered), mail(1))
                self.assertIn(b"Return-Path: <bounces@example.test>", delivered)

    def test_bytes_in_the_mailbox_equal_the_bytes_composed(self):
        # Postfix folds lines of more than 998 bytes on delivery: short ones here, long ones at the sink.
        contents = {}
        for number in range(1, 41):
            lines = [line[:900] for line in random_body(number).split(b"\r\n")]
            contents[number] = mail(number, b"\r\n".join(lines))
        with Driver(settings(max_connections=4)) as driver:
            for number, content in contents.items():
                driver.send(number, content, to="exact@example.test")
            self.relayed(driver, contents)
        delivered = SYSTEM.dovecot.wait_for_mails("exact", len(contents))
        self.assertEqual(sorted(map(content_of, delivered)), sorted(contents.values()))

    def test_tls_1_3_tickets_stall_none_of_60_connections(self):
        # The stock library reads before it writes: a session ticket makes it wait for a reply to a command
        # that it never sent, in one session of three.
        with Driver(settings(max_connections=6), {"session_messages": 1}) as driver:
            for number in range(1, 61):
                driver.send(number, to="tickets@example.test")
            self.relayed(driver, range(1, 61))
            self.assertFalse([f for f in driver.facts if f["fact"] == "down"])
        ids = collections.Counter(
            bytes(line) for text in SYSTEM.dovecot.wait_for_mails("tickets", 60)
            for line in text.split(b"\r\n") if line.startswith(b"Message-ID:"))
        self.assertEqual(len(ids), 60)
        self.assertEqual(set(ids.values()), {1})

    def test_4_kb_messages_on_one_connection(self):
        body = (b"x" * 70 + b"\r\n") * 57
        with Driver(settings(max_connections=1)) as driver:
            for number in range(1, 201):
                driver.send(number, mail(number, body), to="four-kb@example.test")
            self.relayed(driver, range(1, 201))
        delivered = SYSTEM.dovecot.wait_for_mails("four-kb", 200)
        self.assertEqual(sorted(map(content_of, delivered)),
                         sorted(mail(number, body) for number in range(1, 201)))

    def test_dsn_reaches_postfix(self):
        with Driver(settings(), dsn_notify=["success", "failure"]) as driver:
            driver.send(1, to="dsn@example.test", sender="dsn-sender@example.test", envid="envelope-17")
            self.relayed(driver, [1])
        (report,) = SYSTEM.dovecot.wait_for_mails("dsn-sender", 1)
        self.assertIn(b"Original-Envelope-Id: envelope-17", report)
        self.assertIn(b"Original-Recipient: rfc822;dsn@example.test", report)

    def test_the_confined_agent_sends_over_its_channel(self):
        # Landlock leaves it the CA file and the resolver's files: what else TLS or DNS might want shows here.
        for host in ("127.0.0.1", "localhost"):
            with Driver(settings(host=host, max_connections=4), agent=True) as driver:
                driver.fact("ready")
                driver.order(op="test", test=1)
                self.assertTrue(driver.fact("test_done")["ok"], driver.facts)
                for number in range(1, 41):
                    driver.send(number, to=f"agent-{host}@example.test")
                self.relayed(driver, range(1, 41))
            self.assertEqual(len(SYSTEM.dovecot.wait_for_mails(f"agent-{host}", 40)), 40)

    def test_the_agent_gets_a_corrected_password(self):
        with Driver(settings(password="wrong"), agent=True) as driver:
            driver.send(1)
            self.assertEqual(driver.ended(1)["stage"], "auth")
            driver.order(op="password", password=servers.PASSWORD)
            driver.send(2)
            self.relayed(driver, [2])

    def test_a_stopped_relay_comes_back(self):
        system = servers.MailSystem()
        with system:
            relay = {**settings(), "port": system.postfix.submission_port, "ca_file": system.authority.file}
            with Driver(relay) as driver:
                driver.send(1)
                self.relayed(driver, [1])
                system.postfix.stop()
                driver.send(2)
                fact = driver.ended(2)
                self.assertEqual((fact["fact"], fact["stage"]), ("not_sent", "connect"))
                system.postfix.start()
                driver.send(3)
                self.relayed(driver, [3])

    def test_many_drivers_at_once(self):
        failures = []

        def one(index):
            try:
                with Driver(settings(max_connections=2)) as driver:
                    for number in range(1, 21):
                        driver.send(number, to=f"many{index}@example.test")
                    self.relayed(driver, range(1, 21))
            except BaseException as error:
                failures.append(error)
        threads = [threading.Thread(target=one, args=(index,)) for index in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * BOUND)
        self.assertEqual(failures, [])
        for index in range(3):
            self.assertEqual(len(SYSTEM.dovecot.wait_for_mails(f"many{index}", 20)), 20)


if __name__ == "__main__":
    unittest.main()
