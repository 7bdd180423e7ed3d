"""The verdict that reaches the login page: a real Postfix accepts and then fails in delivery, makes its own notice to our
return path, a real Dovecot keeps it, the agent is woken, and the app's long-poll is answered.
"""
import datetime
import unittest

from bounces import FAR, NOWHERE, BouncesTest
from harness import code_in, parse_mail, wait_for
from scripted_relay import Rule, ScriptedRelay, reply
import servers


def at(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def hours_until(text):
    return (at(text) - datetime.datetime.now(datetime.timezone.utc)).total_seconds() / 3600


class Verdicts(BouncesTest):
    POSTFIX = {"warning_seconds": 1}

    def assert_verdict(self, verdict, **wanted):
        self.assertEqual({key: verdict[key] for key in wanted}, wanted, f"\n{verdict}")

    def assert_suppressed(self, daemon, address, hours):
        """For so many hours from now, a few minutes less at most; the refusal says the same."""
        seen = self.recipient(daemon, address)
        self.assertEqual(seen["deliverable"], "no")
        suppressed = seen["suppressed"]
        self.assertEqual(suppressed["class"], "user-unknown")
        self.assertTrue(hours - 0.1 < hours_until(suppressed["until"]) <= hours, suppressed)
        refusal = self.create(daemon, address, 422, "recipient_suppressed")
        for key in ("class", "until", "probe_at"):
            self.assertEqual(refusal[key], suppressed[key], key)
        return suppressed

    def test_unknown_user(self):
        """Bounced, suppressed, confirmed by its user, and healed by a right code."""
        daemon = self.up()
        address = "grace@example.test"
        challenge = self.create(daemon, address)
        verdict = self.wait_bounced(daemon, challenge)
        self.assert_verdict(verdict, kind="undeliverable", permanent=True, status="5.1.1", source="dsn",
                            **{"class": "user-unknown"})
        self.assertIn("User doesn't exist", verdict["detail"], "the server's own words")
        self.assert_suppressed(daemon, address, hours=1)
        (row,) = self.ledger(daemon)
        self.assert_verdict(row, recipient=address, kind="bounce", permanent=True, status="5.1.1",
                            message=challenge["message"]["id"], **{"class": "user-unknown"})
        self.wait_filed(processed=1, daemon=daemon)
        self.assertEqual(daemon.admin("GET", "/v1/stats").json["bounces"], {"user-unknown": 1})

        self.dovecot.add_user("grace")
        probe = self.create(daemon, address, suppressed="probe")
        self.assertEqual(self.check(daemon, probe, self.code_from_mailbox("grace")), "valid")
        healed = self.recipient(daemon, address)
        self.assertEqual((healed["deliverable"], healed["suppressed"]), ("yes", None))
        self.create(daemon, address)
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())

    def test_a_confirmed_address_gets_one_mail_a_day(self):
        daemon = self.up()
        address = "henry@example.test"
        self.wait_bounced(daemon, self.create(daemon, address))
        first = self.assert_suppressed(daemon, address, hours=1)
        self.assertLessEqual(hours_until(first["probe_at"]), 0, "the first one goes through at once")
        self.wait_bounced(daemon, self.create(daemon, address, suppressed="probe"))
        again = self.assert_suppressed(daemon, address, hours=24)
        refusal = self.create(daemon, address, 422, "recipient_suppressed", suppressed="probe")
        self.assertEqual(refusal["probe_at"], again["probe_at"])
        self.assertTrue(23.9 < hours_until(again["probe_at"]) <= 24, again)
        self.wait_filed(processed=2, daemon=daemon)
        # What it was asked for survives a restart.
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())
        self.start(daemon)
        self.create(daemon, address, 422, "recipient_suppressed", suppressed="probe")

    def test_full_mailbox(self):
        daemon = self.up()
        challenge = self.create(daemon, "full@example.test")
        self.assert_verdict(self.wait_bounced(daemon, challenge), kind="undeliverable", permanent=True, status="5.2.2",
                            source="dsn", **{"class": "mailbox-full"})
        seen = self.recipient(daemon, "full@example.test")
        self.assertIsNone(seen["suppressed"])
        self.assert_verdict(seen["last_verdict"], **{"class": "mailbox-full"})
        self.create(daemon, "full@example.test")
        self.wait_filed(processed=2, daemon=daemon)

    def test_unknown_domain(self):
        daemon = self.up()
        address = f"ida@{NOWHERE}"
        challenge = self.create(daemon, address)
        self.assert_verdict(self.wait_bounced(daemon, challenge), kind="undeliverable", status="5.4.4", source="dsn",
                            **{"class": "host-unknown"})
        self.assertIsNone(self.recipient(daemon, address)["suppressed"], "once: the DNS slips")
        self.wait_bounced(daemon, self.create(daemon, address))
        self.assertEqual(self.recipient(daemon, address)["suppressed"]["class"], "host-unknown", "twice in a day")
        self.create(daemon, address, 422, "recipient_suppressed")

    def test_delay(self):
        daemon = self.up()
        address = f"jane@{FAR}"
        later = Rule("rcpt", reply("450 4.2.0 later"), to="jane")
        self.far.rules.append(later)
        challenge = self.create(daemon, address)
        seen = self.wait_for_message(daemon, challenge, lambda message: message["verdict"], "a verdict")
        self.assertEqual(seen["message"]["state"], "relayed")
        self.assert_verdict(seen["message"]["verdict"], kind="delayed", permanent=False, status="4.2.0", source="dsn")
        self.assertIsNone(self.recipient(daemon, address)["suppressed"])
        self.far.rules.remove(later)
        code = code_in(parse_mail(self.sent_to(address).raw))
        self.assertEqual(self.check(daemon, challenge, code), "valid")
        self.wait_filed(processed=1, daemon=daemon)
        self.assertEqual([row["kind"] for row in self.ledger(daemon)], ["delay"])

    def test_success_report(self):
        daemon = self.up(mail={"dsn": ["failure", "delay", "success"]})
        self.dovecot.add_user("karl")
        challenge = self.create(daemon, "karl@example.test")
        seen = self.wait_for_message(daemon, challenge, lambda message: message["state"] == "delivered", "delivered")
        self.assertIsNone(seen["message"]["verdict"])
        self.assertEqual(self.recipient(daemon, "karl@example.test")["deliverable"], "yes")
        self.assertEqual(self.check(daemon, challenge, self.code_from_mailbox("karl")), "valid")
        self.wait_filed(processed=1, daemon=daemon)
        self.assertEqual([row["kind"] for row in self.ledger(daemon)], ["success"])


class OtherSources(BouncesTest):
    """Not every bounce comes as a mail."""

    def test_a_providers_word(self):
        """POST /v1/bounces, as a webhook's program sends it."""
        daemon = self.up()
        address = f"lena@{FAR}"
        challenge = self.create(daemon, address)
        self.wait_relayed(daemon, challenge)
        sent = self.sent_to(address)
        word = {"message_id": sent.message_id, "action": "failed", "status": "5.1.1",
                "diagnostic": "smtp; 550 5.1.1 no such mailbox"}
        for _ in range(2):  # webhooks repeat themselves
            self.expect(daemon.admin("POST", "/v1/bounces", word), (200, 201))
        verdict = self.wait_bounced(daemon, challenge)
        self.assertEqual((verdict["kind"], verdict["class"], verdict["permanent"]),
                         ("undeliverable", "user-unknown", True))
        (row,) = self.ledger(daemon)
        self.assertEqual((row["recipient"], row["source"], row["class"]), (address, "provider", "user-unknown"))
        self.create(daemon, address, 422, "recipient_suppressed")
        self.expect(daemon.admin("POST", "/v1/bounces", {**word, "message_id": "<nobody@example.org>"}), 404,
                    "not_found")
        self.expect(daemon.api("POST", "/v1/bounces", word), (404, 405))

    def test_a_providers_word_by_envelope_id(self):
        daemon = self.up()
        address = f"mona@{FAR}"
        challenge = self.create(daemon, address)
        self.wait_relayed(daemon, challenge)
        envid = self.sent_to(address).envid
        self.assertTrue(envid, "our mails carry an envelope id")
        self.expect(daemon.admin("POST", "/v1/bounces", {"envid": envid, "action": "failed", "status": "5.2.2",
                                                         "diagnostic": "552 5.2.2 mailbox full"}), (200, 201))
        self.assertEqual(self.wait_bounced(daemon, challenge)["class"], "mailbox-full")
        self.assertIsNone(self.recipient(daemon, address)["suppressed"])

    def test_the_relays_own_word(self):
        """A 5.1.1 in the SMTP conversation goes through the same table."""
        relay = ScriptedRelay()
        self.addCleanup(relay.stop)
        relay.start()
        daemon = self.up(relay={"name": "scripted", "host": "127.0.0.1", "port": relay.port, "tls": "none",
                                "auth": "none"})
        address = "nouser-otto@example.org"
        challenge = self.create(daemon, address)
        seen = self.wait_for_message(daemon, challenge, lambda message: message["state"] == "failed", "failed")
        verdict = seen["message"]["verdict"]
        self.assertEqual((verdict["kind"], verdict["class"], verdict["source"]),
                         ("undeliverable", "user-unknown", "smtp"))
        (row,) = self.wait_ledger(daemon, 1)
        self.assertEqual((row["recipient"], row["source"], row["class"], row["status"]),
                         (address, "smtp", "user-unknown", "5.1.1"))
        self.assertEqual(self.recipient(daemon, address)["suppressed"]["class"], "user-unknown")
        self.create(daemon, address, 422, "recipient_suppressed")


class Password(BouncesTest):
    def test_a_corrected_password_is_used_without_a_restart(self):
        daemon = self.bounce_daemon(password="not-the-password")
        daemon.launch()
        daemon.wait_ready()  # mails leave all the same
        self.wait_mailbox(daemon, "down")
        wait_for(lambda: self.dovecot.logins(self.mailbox)[1] > 0, lambda: f"a login is refused; {daemon.log_tail()}")
        challenge = self.create(daemon, "pia@example.test")
        self.wait_relayed(daemon, challenge)
        wait_for(lambda: self.dovecot.count(self.mailbox) == 1, "the bounce waits in the mailbox")
        self.assertEqual(self.mailbox_state(daemon), "down")
        accepted, refused = self.dovecot.logins(self.mailbox)
        self.assertEqual(accepted, 0)
        self.assertLessEqual(refused, 3, "a refused password is not tried again and again")
        servers.write(self.imap_password, servers.PASSWORD + "\n", 0o600)
        self.wait_mailbox(daemon, "up")
        self.assertEqual(self.wait_bounced(daemon, challenge)["class"], "user-unknown")
        accepted, refused_now = self.dovecot.logins(self.mailbox)
        self.assertLessEqual(accepted, 2)
        self.assertLessEqual(refused_now, refused + 1)
        for secret in ("not-the-password", servers.PASSWORD):
            self.assertNotIn(secret, daemon.log())
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())

    def test_wrong_name_in_the_certificate(self):
        """No password leaves."""
        daemon = self.bounce_daemon(imap={"server_name": "other.test"})
        daemon.launch()
        daemon.wait_ready()
        wait_for(lambda: "tls" in self.imap_lines(daemon), lambda: f"the reason is told; {daemon.log_tail()}")
        self.wait_mailbox(daemon, "down")
        self.assertEqual(self.dovecot.logins(self.mailbox), (0, 0))

    def test_starttls(self):
        daemon = self.up(imap={"tls": "starttls", "port": self.dovecot.imap_port})
        self.wait_bounced(daemon, self.create(daemon, "quentin@example.test"))
        self.assertRegex(self.dovecot.log_text(), rf"Login: user=<{self.mailbox}>.* TLS,")

    def imap_lines(self, daemon):
        return "\n".join(line for line in daemon.log().splitlines() if "mailbox" in line or "imap" in line)


if __name__ == "__main__":
    unittest.main(verbosity=2)
