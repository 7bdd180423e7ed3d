"""Starts that must be refused, each with its exit code and its reason; and stops that lose nothing."""
import json
import os
import re
import signal
import socket
import time
import unittest

from harness import Daemon, Raw, SystemTest, http_bytes, wait_for

CONFIG, STORE, SOCKET = 78, (73, 74), 69


class Refused(SystemTest):
    def assert_refused(self, done, codes, *words):
        codes = (codes,) if isinstance(codes, int) else codes
        text = done.stdout + done.stderr
        self.assertIn(done.returncode, codes, text)
        for word in words:
            self.assertIn(word, text)
        self.assertNotIn("terminate called", text)

    def test_no_key(self):
        daemon = self.new_daemon()
        self.assert_refused(daemon.run(), CONFIG, daemon.key, "mailotpctl keygen")
        self.assertEqual(os.listdir(daemon.state), [], "a start that is refused makes nothing")

    def test_key_that_others_may_read(self):
        daemon = self.new_daemon()
        daemon.keygen()
        for mode in (0o644, 0o640, 0o604):
            os.chmod(daemon.key, mode)
            self.assert_refused(daemon.run(), CONFIG, daemon.key)

    def test_key_file_that_is_none(self):
        daemon = self.new_daemon()
        for content in (b"", b"secret\n", b"\0" * 32, b"A" * 4096):
            with open(daemon.key, "wb") as file:
                file.write(content)
            os.chmod(daemon.key, 0o600)
            done = daemon.run()
            self.assert_refused(done, CONFIG, daemon.key)
            if content.strip():
                self.assertNotIn(content.decode("ascii").strip()[:6], done.stderr, "the key file's bytes in an error")

    def test_keygen_overwrites_no_key(self):
        daemon = self.new_daemon()
        daemon.keygen()
        with open(daemon.key, "rb") as file:
            before = file.read()
        self.assertEqual(os.stat(daemon.key).st_mode & 0o777, 0o600)
        self.assertRaises(AssertionError, daemon.keygen)
        with open(daemon.key, "rb") as file:
            self.assertEqual(file.read(), before)

    def test_key_that_the_database_does_not_know(self):
        daemon = self.new_daemon()
        daemon.start()
        self.expect(daemon.api("POST", "/v1/challenges", {"recipient": "a@example.org"}), 201)
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())
        os.rename(daemon.key, daemon.key + ".old")
        daemon.keygen()
        self.assert_refused(daemon.run(), (CONFIG, *STORE), daemon.key)
        # With both keys in the file, the new one first, it starts.
        with open(daemon.key, "ab") as new, open(daemon.key + ".old", "rb") as old:
            new.write(old.read())
        daemon.start()
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())

    def test_second_daemon_on_the_folder(self):
        first = self.new_daemon()
        first.start()
        second = Daemon(daemon={"state_dir": first.state, "key_file": first.key})
        self.addCleanup(second.destroy)
        done = second.run(bound=30)
        self.assert_refused(done, STORE, str(first.pid))
        # The same configuration twice: the sockets of the first must live on.
        self.assert_refused(first.run(bound=30), (SOCKET, *STORE))
        self.expect(first.api("GET", "/healthz"), 200)
        self.expect(first.admin("GET", "/healthz"), 200)

    def test_socket_in_use(self):
        for name in ("api_socket", "admin_socket"):
            with self.subTest(name), socket.socket(socket.AF_UNIX) as other:
                daemon = self.new_daemon()
                daemon.keygen()
                path = getattr(daemon, name)
                other.bind(path)
                other.listen()
                self.assert_refused(daemon.run(), SOCKET, path)
                self.assertTrue(os.path.exists(path), "a socket that somebody listens on was removed")

    def test_socket_left_by_a_crash_is_no_hindrance(self):
        daemon = self.new_daemon()
        daemon.start()
        daemon.kill()
        self.assertTrue(os.path.exists(daemon.api_socket))
        daemon.start()
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())

    def test_file_in_place_of_a_socket_is_not_removed(self):
        daemon = self.new_daemon()
        daemon.keygen()
        with open(daemon.api_socket, "w", encoding="ascii") as file:
            file.write("precious")
        self.assert_refused(daemon.run(), (SOCKET, CONFIG), daemon.api_socket)
        with open(daemon.api_socket, encoding="ascii") as file:
            self.assertEqual(file.read(), "precious")

    def test_configurations(self):
        cases = (
            ("[daemon]\ncolour = 1\n", "colour"),
            ("[daemon]\nmode = 7\n", "mode"),
            ("[daemon]\nmode = \"fast\"\n", "mode"),
            ("[purpose.login]\nttl = \"10 parsecs\"\n", "ttl"),
            ("[purpose.login]\nlength = 3\n", "length"),
            ("[purpose.login]\nalphabet = \"runes\"\n", "alphabet"),
            ("[limits]\nrecipient_sends = [\"3 in 15m\"]\n", "recipient_sends"),
            ("[nonsense]\n", "nonsense"),
            ("[mail\n", ""),
            ("[mail]\nfrom = \"x\ny\"\n", ""),
        )
        daemon = self.new_daemon()
        daemon.keygen()
        for text, word in cases:
            with self.subTest(text):
                with open(daemon.config, "w", encoding="utf-8") as file:
                    file.write(text)
                for done in (daemon.run(), daemon.run("--check")):
                    self.assert_refused(done, CONFIG, word)
                    self.assertRegex(done.stdout + done.stderr, re.escape(daemon.config) + r":\d+:\d+")
        self.assertEqual(os.listdir(daemon.state), [])

    def test_missing_configuration(self):
        daemon = self.new_daemon()
        os.remove(daemon.config)
        self.assert_refused(daemon.run(), CONFIG, daemon.config)

    def test_capture_relay_in_production(self):
        daemon = self.new_daemon(daemon={"mode": "production"})
        daemon.keygen()
        self.assert_refused(daemon.run(), CONFIG, "capture")

    def test_check_of_a_good_one(self):
        daemon = self.new_daemon()
        daemon.keygen()
        done = daemon.run("--check")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(os.listdir(daemon.state), [], "--check makes nothing")
        done = daemon.ctl("check-config", daemon.config)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_version_and_usage(self):
        daemon = self.new_daemon()
        done = daemon.run("--version")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"mailotpd \d+\.\d+\.\d+")
        done = daemon.run("--nonsense")
        self.assertNotIn(done.returncode, (0, -6, -11), done.stdout + done.stderr)
        done = daemon.ctl("status")
        self.assertEqual(done.returncode, 69, done.stdout + done.stderr)
        done = daemon.ctl("nonsense")
        self.assertEqual(done.returncode, 2, done.stdout + done.stderr)

    def test_database_that_is_none(self):
        daemon = self.new_daemon()
        daemon.start()
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())
        path = os.path.join(daemon.state, "mailotpd.db")
        os.remove(path)
        with open(path, "wb") as file:
            file.write(b"this is not a database, whatever its name says\n" * 100)
        self.assert_refused(daemon.run(), STORE, "mailotpd.db")


class Start(SystemTest):
    def test_first_send_after_the_start(self):
        """The example of the README, the moment that /readyz says yes."""
        daemon = self.new_daemon()
        daemon.start()
        before = time.monotonic()
        response = daemon.api("POST", "/v1/otp/generate", b'{"email":"a@example.test"}',
                              {"Content-Type": "application/x-www-form-urlencoded"})
        print(f"first send after /readyz: {1000 * (time.monotonic() - before):.1f} ms")
        self.expect(response, 201)
        self.assertRegex(daemon.code_for("a@example.test"), r"^\d{6}$")

    def test_log_says_what_it_is(self):
        daemon = self.new_daemon()
        daemon.start()
        self.assertIn("development", daemon.log())
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())
        for line in daemon.log().splitlines():
            self.assertRegex(line, r"\bevent=[a-z_.]+", "one line, one event")

    def test_log_as_json(self):
        daemon = self.new_daemon(daemon={"log": "json"})
        daemon.start()
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())
        lines = daemon.log().splitlines()
        self.assertTrue(lines)
        for line in lines:
            self.assertIn("event", json.loads(line))

    def test_state_survives_a_restart(self):
        daemon = self.new_daemon()
        daemon.start()
        challenge = self.expect(daemon.api("POST", "/v1/challenges", {"recipient": "a@example.org"}), 201)
        code = daemon.code_for("a@example.org")
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())
        daemon.start()
        checked = daemon.api("POST", f"/v1/challenges/{challenge['id']}/check", {"code": code})
        self.assertEqual(self.expect(checked, 200)["result"], "valid")
        self.assertEqual(len(daemon.mail_bytes()), 1, "a restart repeats nothing that was relayed")

    def test_agent_that_dies_is_replaced(self):
        daemon = self.new_daemon()
        daemon.start()
        for number in range(3):
            old = daemon.agent()
            os.kill(old, signal.SIGKILL)
            wait_for(lambda: [pid for pid in daemon.agent_pids() if pid != old],
                     lambda: f"another agent; {daemon.log_tail()}")
            self.expect(daemon.api("POST", "/v1/challenges", {"recipient": f"{number}@example.org"}), 201)
            daemon.code_for(f"{number}@example.org")


class Stop(SystemTest):
    def test_waits_are_answered(self):
        daemon = self.new_daemon()
        daemon.start()
        challenge = self.expect(daemon.api("POST", "/v1/challenges", {"recipient": "a@example.org", "send": False}),
                                201)
        waiting = []
        for _ in range(10):
            connection = Raw(daemon.api_socket)
            self.addCleanup(connection.close)
            connection.send(http_bytes(
                "GET", f"/v1/challenges/{challenge['id']}?wait=60&revision={challenge['revision']}"))
            connection.wait_taken()
            waiting.append(connection)
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())
        for connection in waiting:
            self.assertEqual(self.expect(connection.response(), 200)["id"], challenge["id"])
            self.assertTrue(connection.is_closed())
        self.assertFalse(os.path.exists(daemon.api_socket), "the socket that it made goes with it")

    def test_what_was_acknowledged_before_the_stop_arrives(self):
        daemon = self.new_daemon()
        daemon.start()
        with Raw(daemon.api_socket) as connection:
            connection.send(b"".join(http_bytes("POST", "/v1/challenges", {"recipient": f"user{n}@example.org"})
                                     for n in range(100)))
            for _ in range(50):
                self.expect(connection.response(), 201)
            daemon.signal(signal.SIGTERM)
            acknowledged = 50
            while response := connection.response():
                if response.status == 503:
                    self.expect(response, 503, "shutting_down")
                else:
                    self.expect(response, 201)
                    acknowledged += 1
        self.assertEqual(daemon.wait(), 0, daemon.log_tail())
        daemon.start()
        wait_for(lambda: len(daemon.mail_bytes()) >= acknowledged,
                 lambda: f"{acknowledged} mails, {len(daemon.mail_bytes())} came; {daemon.log_tail()}")
        recipients = sorted(raw.partition(b"\r\nTo: ")[2].partition(b"\r\n")[0] for raw in daemon.mail_bytes())
        self.assertEqual(len(set(recipients)), len(recipients), "an orderly stop repeats nothing")

    def test_idle_connections_do_not_hold_it_up(self):
        daemon = self.new_daemon()
        daemon.start()
        with Raw(daemon.api_socket) as idle, Raw(daemon.admin_socket) as half:
            half.send(b"GET /v1/stats HTTP/1.1\r\nHost: lo")
            self.expect(daemon.api("GET", "/healthz"), 200)
            self.assertEqual(daemon.stop(), 0, daemon.log_tail())
            self.assertTrue(idle.is_closed())

    def test_sigterm_twice(self):
        daemon = self.new_daemon()
        daemon.start()
        os.kill(daemon.agent(), signal.SIGSTOP)  # so that a drain would have something to wait for
        self.expect(daemon.api("POST", "/v1/challenges", {"recipient": "a@example.org"}), 201)
        daemon.signal(signal.SIGTERM)
        daemon.signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(), 0, daemon.log_tail())
        daemon.start()
        daemon.code_for("a@example.org")

    def test_sighup_reloads_and_does_not_end_it(self):
        daemon = self.new_daemon()
        daemon.start()
        daemon.signal(signal.SIGHUP)
        wait_for(lambda: "event=reloaded keys=1 keys_from=file restart_needed=no" in daemon.log(), daemon.log_tail)
        self.assertTrue(daemon.is_ready())
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())

    def test_no_process_is_left(self):
        daemon = self.new_daemon()
        daemon.start()
        agents = daemon.agent_pids()
        self.assertTrue(agents)
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())
        # Its agents are its own to wait for.
        for pid in agents:
            self.assertFalse(os.path.exists(f"/proc/{pid}"), f"agent {pid} is still there")


if __name__ == "__main__":
    unittest.main(verbosity=2)
