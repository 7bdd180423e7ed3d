"""Codes through real servers: mailotpd to Postfix (TLS, AUTH by Dovecot), by LMTP to Dovecot, read over IMAP, checked."""
import collections
import os
import re
import signal
import sys
import unittest

from harness import Client, SystemTest, code_in, parse_mail, wait_for

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "smtp"))
import scripted_relay  # noqa: E402
import servers  # noqa: E402

USER = "otp"
MESSAGE_ID = re.compile(rb"^Message-ID: (<[^>]+>)", re.MULTILINE)


class RealMail(SystemTest):
    @classmethod
    def setUpClass(cls):
        cls.servers = servers.MailSystem()
        cls.addClassCleanup(cls.servers.stop)
        cls.servers.__enter__()

    def daemon_for(self, password=servers.PASSWORD, **relay):
        """A daemon in production mode whose relay is our Postfix."""
        folder = servers.make_folder("mailotp-password-")
        self.addCleanup(servers.shutil.rmtree, folder)
        self.password_file = servers.write(os.path.join(folder, "relay.password"), password + "\n", 0o600)
        return self.new_daemon(
            daemon={"mode": "production"},
            relay={"name": "primary", "host": "127.0.0.1", "port": self.servers.postfix.submission_port, "tls": "starttls",
                   "server_name": servers.SERVER_NAME, "ca_file": self.servers.authority.file, "username": USER,
                   "password_file": self.password_file, **relay})

    def create(self, daemon, recipient):
        response = daemon.api("POST", "/v1/challenges", {"recipient": recipient})
        self.expect(response, 201)
        return response.json

    def wait_for_state(self, daemon, challenge, state):
        """The challenge, once its message is in `state`."""
        revision = -1
        for _ in range(30):
            query = "" if revision < 0 else f"?wait=10&revision={revision}"
            seen = daemon.api("GET", f"/v1/challenges/{challenge['id']}{query}").json
            if seen["message"]["state"] == state:
                return seen
            revision = seen["revision"]
        self.fail(f"the message is {seen['message']}, not {state}; {daemon.log_tail()}")

    def code_from_mailbox(self, user):
        (raw,) = self.servers.dovecot.wait_for_mails(user, 1)
        return code_in(parse_mail(raw))

    def whole_way(self, user, **relay):
        daemon = self.daemon_for(**relay).start()
        challenge = self.create(daemon, f"{user}@example.test")
        relayed = self.wait_for_state(daemon, challenge, "relayed")["message"]
        self.assertEqual(relayed["reply"]["code"], 250)
        self.assertIn("queued as", relayed["reply"]["text"], "the relay's own words are kept")
        code = self.code_from_mailbox(user)
        for expected in ("valid", "already_used"):
            response = daemon.api("POST", f"/v1/challenges/{challenge['id']}/check", {"code": code})
            self.assertEqual(response.json["result"], expected)
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())

    def test_starttls(self):
        self.whole_way("starttls")

    def test_implicit_tls(self):
        self.whole_way("implicit", port=self.servers.postfix.implicit_port, tls="implicit")

    def test_five_lines_of_the_readme(self):
        """The relay of the README, with the address of our Postfix in place of the example's."""
        readme = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, os.pardir, "README.md")
        with open(readme, encoding="utf-8") as file:
            section = file.read().partition("## Send through your own relay")[2]
        (lines,) = re.findall(r"```toml\n(\[\[relay\]\]\n.*?)```", section.partition("\n## ")[0], re.DOTALL)
        daemon = self.daemon_for()
        lines = lines.replace("smtp.example.net", "127.0.0.1").replace('"apikey"', f'"{USER}"')
        lines = lines.replace("/etc/mailotpd/relay-primary.password", self.password_file)
        # What a relay on the Internet needs no word for: where this one is, and who signed its certificate.
        lines += (f'port = {self.servers.postfix.submission_port}\nserver_name = "{servers.SERVER_NAME}"\n'
                  f'ca_file = "{self.servers.authority.file}"\n')
        with open(daemon.config, encoding="utf-8") as file:
            before = file.read().partition("[[relay]]")[0]
        with open(daemon.config, "w", encoding="utf-8") as file:
            file.write(before + lines)
        daemon.start()
        challenge = self.create(daemon, "readme@example.test")
        self.wait_for_state(daemon, challenge, "relayed")
        code = self.code_from_mailbox("readme")
        response = daemon.api("POST", f"/v1/challenges/{challenge['id']}/check", {"code": code})
        self.assertEqual(response.json["result"], "valid")

    def test_wrong_name_in_the_certificate_is_refused(self):
        daemon = self.daemon_for(server_name="other.test")
        challenge = self.start_and_create(daemon, "wrongname@example.test")
        deferred = self.wait_for_state(daemon, challenge, "deferred")["message"]
        self.assertIsNone(deferred["reply"]["code"], "nothing was said to the relay that it could answer")
        self.wait_for_relay(daemon, "down", "tls:")
        self.assertEqual(self.servers.dovecot.mails("wrongname"), [])
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())

    def start_and_create(self, daemon, recipient):
        """For relays that may be down before a start could be seen as ready."""
        daemon.launch()
        daemon.wait_listening()
        return self.create(daemon, recipient)

    def wait_for_relay(self, daemon, state, stage=""):
        """Until the relay is up, or down because of `stage`: before the agent runs it is down for another reason."""
        def reached():
            (relay,) = daemon.admin("GET", "/v1/relays").json["items"]
            return relay["state"] == state and (relay["last_error"] or "").startswith(stage)
        wait_for(reached, lambda: f"the relay is {state} {stage}; {daemon.log_tail()}")

    def test_corrected_password_lets_the_mails_leave(self):
        daemon = self.daemon_for(password="not-the-password")
        challenge = self.start_and_create(daemon, "password@example.test")
        self.wait_for_relay(daemon, "down", "auth:")
        ready = daemon.api("GET", "/readyz")
        self.assertEqual((ready.status, ready.json["ready"]), (503, False))
        self.assertIsNone(self.wait_for_state(daemon, challenge, "deferred")["message"]["verdict"])
        self.assertEqual(self.servers.dovecot.mails("password"), [])
        servers.write(self.password_file, servers.PASSWORD + "\n", 0o600)
        self.wait_for_state(daemon, challenge, "relayed")
        self.wait_for_relay(daemon, "up")
        code = self.code_from_mailbox("password")
        response = daemon.api("POST", f"/v1/challenges/{challenge['id']}/check", {"code": code})
        self.assertEqual(response.json["result"], "valid")
        for secret in ("not-the-password", servers.PASSWORD):
            self.assertNotIn(secret, daemon.log())
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())

    def test_relay_test_says_what_each_step_saw(self):
        daemon = self.daemon_for().start()
        done = daemon.ctl("relay", "test", "primary")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for word in ("dns", "connect", "tls", "ehlo", "auth", "127.0.0.1", "TLSv1."):
            self.assertIn(word, done.stdout)
        self.assertNotIn(servers.PASSWORD, done.stdout)
        refused = daemon.ctl("relay", "test", "nobody")
        self.assertEqual(refused.returncode, 1, refused.stdout + refused.stderr)
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())

    def test_relay_test_of_a_wrong_password_fails_at_auth(self):
        daemon = self.daemon_for(password="not-the-password")
        daemon.launch()
        daemon.wait_listening()
        wait_for(lambda: daemon.agent_pids(), "the agent runs")
        done = daemon.ctl("relay", "test", "primary")
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("auth", done.stdout)
        self.assertIn("535", done.stdout)


class SlowRelay(SystemTest):
    """kill -9 with 200 mails under way through a relay that takes its time."""

    COUNT = 200

    def setUp(self):
        pause = scripted_relay.after(0.05)
        self.relay = scripted_relay.ScriptedRelay([scripted_relay.Rule("dot", pause, nth=0)]).start()
        self.addCleanup(self.relay.stop)
        self.daemon = self.new_daemon(
            daemon={"mode": "production"},
            relay={"name": "slow", "host": "127.0.0.1", "port": self.relay.port, "tls": "none", "auth": "none",
                   "max_connections": 4})
        self.daemon.start()
        self.messages = {}  # message id: recipient
        with Client(self.daemon.api_socket) as client:
            for number in range(self.COUNT):
                recipient = f"user{number}@example.org"
                response = client.request("POST", "/v1/challenges", {"recipient": recipient})
                self.expect(response, 201)
                self.messages[response.json["message"]["id"]] = recipient

    def copies(self):
        """How often each mail is at the relay, by Message-ID."""
        return collections.Counter(MESSAGE_ID.search(mail).group(1).decode() for mail in list(self.relay.mails))

    def wait_under_way(self):
        wait_for(lambda: 10 <= len(self.relay.mails), "the relay has some of the mails")
        self.assertLess(len(self.relay.mails), self.COUNT, "the kill comes too late to show anything")

    def assert_all_arrive(self):
        def ended():
            stats = self.daemon.admin("GET", "/v1/stats").json
            return stats["ended_total"]["relayed"] == self.COUNT
        wait_for(ended, lambda: f"{self.daemon.admin('GET', '/v1/stats').body}; {self.daemon.log_tail()}", bound=120)
        copies = self.copies()
        self.assertEqual(len(copies), self.COUNT, "every acknowledged mail is at the relay")
        uncertain = 0
        for message in self.messages:
            seen = self.daemon.admin("GET", f"/v1/outbox/{message}").json
            uncertain += sum(event["type"] == "message.uncertain" for event in seen["events"])
        repeats = sum(copies.values()) - len(copies)
        self.assertLessEqual(repeats, uncertain, "a mail comes twice only after an uncertainty")
        self.assertLessEqual(uncertain, 2 * 4, "no more are uncertain than were handed out: two a connection")

    def test_agent(self):
        self.wait_under_way()
        os.kill(self.daemon.agent(), signal.SIGKILL)
        self.assert_all_arrive()

    def test_daemon(self):
        self.wait_under_way()
        self.daemon.kill()
        self.daemon.start()
        self.assert_all_arrive()

    def test_both(self):
        self.wait_under_way()
        agent = self.daemon.agent()
        self.daemon.kill()
        try:
            os.kill(agent, signal.SIGKILL)
        except ProcessLookupError:
            pass  # its daemon's end was its own
        self.daemon.start()
        self.assert_all_arrive()


if __name__ == "__main__":
    unittest.main(verbosity=2)
