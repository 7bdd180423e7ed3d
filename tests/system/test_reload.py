"""A reload: everything of the configuration is taken over without a restart, all of it or nothing, and no mail is lost
or doubled by it."""
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import unittest

from event_stream import EventStream
from harness import TEMPLATES, Client, SystemTest, children, wait_for
from test_apps import WWW_DATA, Peer, needs, write_files

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "smtp"))
from scripted_relay import Rule, ScriptedRelay, after, held  # noqa: E402


def at(name, port, **more):
    return {"name": name, "host": "127.0.0.1", "port": port, "tls": "none", "auth": "none", **more}


class ReloadTest(SystemTest):
    def up(self, **tables):
        self.daemon = self.new_daemon(**tables)
        os.chmod(self.daemon.folder, 0o755)
        self.daemon.start()
        return self.daemon

    def post_reload(self, status=200, code=None):
        return self.expect(self.daemon.admin("POST", "/v1/reload", {}), status, code)

    def reload(self, **tables):
        """With these tables over those of the tests; what the answer says."""
        self.daemon.write_config(**tables)
        return self.post_reload()

    def hang_up(self, event):
        """SIGHUP, and the line of the log that tells of it."""
        before = self.daemon.log().count(f"event={event}")
        self.daemon.signal(signal.SIGHUP)
        wait_for(lambda: self.daemon.log().count(f"event={event}") > before,
                 lambda: f"{event}; {self.daemon.log_tail()}")
        return [line for line in self.daemon.log().splitlines() if f"event={event}" in line][-1]

    def create(self, recipient, purpose="quick", **fields):
        return self.expect(self.daemon.api("POST", "/v1/challenges",
                                           {"recipient": recipient, "purpose": purpose, **fields}), 201)

    def subject_to(self, recipient, count=1):
        self.daemon.code_for(recipient, count)
        return self.daemon.mails_to(recipient)[-1]["Subject"]

    def place_of(self, key, value):
        """file:line:column of the first such value in the configuration."""
        with open(self.daemon.config, encoding="utf-8") as file:
            for number, line in enumerate(file.read().splitlines()):
                if line.startswith(key + " =") and value in line:
                    return f"{self.daemon.config}:{number + 1}:{line.index(value) + 1}: "
        raise AssertionError(f"no {key} = {value} in {self.daemon.config}")


NONE = {"added": [], "changed": [], "removed": []}


class Sections(ReloadTest):
    """One after the other, each in a daemon in development mode."""

    def test_nothing(self):
        self.up()
        told = self.post_reload()
        self.assertEqual(told, {"changed": [], "relays": NONE, "apps": NONE, "templates": NONE, "keys": 1,
                                "keys_from": "file", "restart_needed": False, "needs_restart": []})
        agent = self.daemon.agent()
        self.post_reload()
        self.assertEqual(self.daemon.agent(), agent, "nothing has changed for it")

    def test_limits(self):
        self.up()
        for _ in range(3):
            self.create("a@example.org")
        self.assertEqual(self.reload(limits={"recipient_sends": ["2/1h"]})["changed"], ["limits"])
        made = [self.daemon.api("POST", "/v1/challenges", {"recipient": "b@example.org", "purpose": "quick"})
                for _ in range(3)]
        self.assertEqual([one.status for one in made], [201, 201, 429])
        refused = self.expect(made[2], 429, "rate_limited")
        self.assertEqual((refused["limit"]["name"], refused["limit"]["max"]), ("recipient_sends", 2))
        # What is shown as left follows, too.
        shown = self.expect(self.daemon.api("GET", f"/v1/challenges/{made[0].json['id']}"), 200)
        self.assertEqual(shown["sends_left"], 0)
        self.reload(limits={"recipient_sends": ["4/1h"]})
        shown = self.expect(self.daemon.api("GET", f"/v1/challenges/{made[0].json['id']}"), 200)
        self.assertEqual(shown["sends_left"], 2)
        self.create("b@example.org")

    def test_purposes_and_mail(self):
        self.up()
        before = self.create("a@example.org")
        code = self.daemon.code_for("a@example.org")
        told = self.reload(mail={"from": "Other <other@example.org>"},
                           **{"purpose.quick": {"length": 8}, "purpose.fresh": {"length": 7, "cooldown": "0s"}})
        self.assertEqual(told["changed"], ["mail", "purpose"])
        self.create("b@example.org")
        self.assertEqual(len(self.daemon.code_for("b@example.org")), 8)
        self.assertIn("Other <other@example.org>", str(self.daemon.mails_to("b@example.org")[0]["From"]))
        self.create("c@example.org", purpose="fresh")
        self.assertEqual(len(self.daemon.code_for("c@example.org")), 7)
        # What was begun ends as it began.
        done = self.expect(self.daemon.api("POST", f"/v1/challenges/{before['id']}/check", {"code": code}), 200)
        self.assertEqual(done["result"], "valid")

    def test_templates(self):
        own = {"daemon": {"templates": "/nonexistent-at-first"}}
        self.up(**own)
        folder = os.path.join(self.daemon.folder, "own")
        own = {"daemon": {"templates": folder}}
        write_files(folder, {"otp/en/subject.mustache": "NEW: your code\n"})
        old = self.create("old@example.org")
        self.assertNotIn("NEW", self.subject_to("old@example.org"))
        told = self.reload(**own)
        self.assertEqual(told["changed"], ["daemon", "templates"])
        self.assertEqual(told["templates"], {**NONE, "changed": ["otp"]})
        self.assertEqual(told["needs_restart"], [])
        self.create("new@example.org")
        self.assertEqual(self.subject_to("new@example.org"), "NEW: your code")
        # A resend is composed in the store, with the same templates.
        self.expect(self.daemon.api("POST", f"/v1/challenges/{old['id']}/send", {}), 202)
        self.assertEqual(self.subject_to("old@example.org", 2), "NEW: your code")
        # Files alone, and a template more.
        for part in ("subject", "text", "html"):
            with open(os.path.join(TEMPLATES, "otp", "en", part + ".mustache"), encoding="utf-8") as file:
                write_files(folder, {f"more/en/{part}.mustache": file.read()})
        with open(os.path.join(TEMPLATES, "otp", "template.toml"), encoding="utf-8") as file:
            write_files(folder, {"more/template.toml": file.read()})
        told = self.post_reload()
        self.assertEqual((told["changed"], told["templates"]), (["templates"], {**NONE, "added": ["more"]}))
        self.create("more@example.org", template="more")
        self.daemon.code_for("more@example.org")
        # One that does not lint: file and line, and the good ones stay.
        write_files(folder, {"otp/en/subject.mustache": "NEWER {{nobody_knows}}\n"})
        problem = self.post_reload(422, "configuration_invalid")
        self.assertRegex(problem["detail"], re.escape(os.path.join(folder, "otp/en/subject.mustache")) + r":1\b")
        self.assertIn("nobody_knows", self.hang_up("reload_refused"))
        self.create("still@example.org")
        self.assertEqual(self.subject_to("still@example.org"), "NEW: your code")
        done = self.daemon.run("--check")
        self.assertEqual(done.returncode, 78)
        self.assertIn("subject.mustache:1", done.stderr)

    def test_keys_and_limits_are_one(self):
        """A key that is needed is gone from the file: the limits of the same reload are not taken either."""
        self.up()
        self.create("a@example.org")
        self.daemon.code_for("a@example.org")
        os.rename(self.daemon.key, self.daemon.key + ".old")
        self.daemon.keygen()
        self.daemon.write_config(limits={"recipient_sends": ["1/1h"]}, **{"purpose.quick": {"length": 8}})
        problem = self.post_reload(422, "configuration_invalid")
        self.assertIn(self.daemon.key, problem["detail"])
        for _ in range(2):
            self.create("b@example.org")
        self.assertEqual(len(self.daemon.code_for("b@example.org", 2)), 6)
        with open(self.daemon.key + ".old", encoding="ascii") as old, open(self.daemon.key, "a", encoding="ascii") as file:
            file.write(old.read())
        told = self.post_reload()
        self.assertEqual((told["changed"], told["keys"]), (["purpose", "limits", "keys"], 2))
        self.create("c@example.org")
        self.expect(self.daemon.api("POST", "/v1/challenges", {"recipient": "c@example.org", "purpose": "quick"}), 429)

    def test_what_needs_a_restart(self):
        self.up()
        other = os.path.join(self.daemon.folder, "other")
        told = self.reload(daemon={"state_dir": other, "api_mode": "0600", "log": "json"},
                           bounces={"host": "127.0.0.1", "tls": "none", "username": "b", "password_file": "/nonexistent"},
                           limits={"recipient_sends": ["1/1h"]})
        self.assertEqual(told["needs_restart"], ["daemon.state_dir", "daemon.api_mode", "daemon.log", "bounces"])
        self.assertTrue(told["restart_needed"])
        self.assertEqual(told["changed"], ["limits"])
        self.assertFalse(os.path.exists(other))
        self.create("a@example.org")
        self.expect(self.daemon.api("POST", "/v1/challenges", {"recipient": "a@example.org", "purpose": "quick"}), 429)
        self.assertIn("needs_restart=daemon.state_dir,daemon.api_mode,daemon.log,bounces", self.hang_up("reloaded"))
        done = self.daemon.ctl("reload")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("left as it was until the daemon is restarted: daemon.state_dir, daemon.api_mode, daemon.log, bounces\n",
                      done.stdout)
        # The mode, and the relays with it: a daemon in production never gets a relay that sends nothing.
        told = self.reload(daemon={"mode": "production"}, relay=at("far", 25))
        self.assertEqual(told["needs_restart"], ["daemon.mode", "relay"])
        self.create("b@example.org")
        self.daemon.code_for("b@example.org")


class Apps(ReloadTest):
    def setUp(self):
        self.assertEqual(os.getuid(), 0, "these tests become other users: run them as root")

    def test_apps_come_and_go(self):
        open_to_all = {"daemon": {"api_mode": "0666"}}
        self.up(**open_to_all)
        box = os.path.join(self.daemon.folder, "box.sock")
        shop = {"name": "shop", "users": ["www-data"], "from": "Shop <login@shop.example>", "purposes": ["login"]}
        as_www = Peer(self.daemon.api_socket, WWW_DATA)
        made = self.create("a@example.org")
        stream = EventStream(self.daemon.api_socket)
        self.addCleanup(stream.close)
        polled = []
        poll = threading.Thread(target=lambda: polled.append(self.daemon.api(
            "GET", f"/v1/challenges/{made['id']}?wait=60&revision=1000")))
        poll.start()
        wait_for(lambda: b"mailotpd_waits 1\n" in self.daemon.admin("GET", "/metrics").body, "the long-poll waits")

        told = self.reload(app=[shop, {"name": "box", "socket": box}], **open_to_all)
        self.assertEqual((told["changed"], told["apps"]), (["app"], {**NONE, "added": ["shop", "box"]}))
        # Nobody goes on listening as who he was.
        poll.join(30)
        self.assertFalse(poll.is_alive(), "the long-poll was not answered")
        self.assertEqual(polled[0].status, 200)
        while stream.next() is not None:
            pass
        self.assertTrue(stream.clean_end)
        self.expect(self.daemon.api("GET", f"/v1/challenges/{made['id']}"), 403, "app_unknown")
        mine = self.expect(as_www.post("/v1/challenges", {"recipient": "b@example.org"}), 201)
        self.assertEqual(mine["app"], "shop")
        self.expect(as_www.post("/v1/challenges", {"recipient": "b@example.org", "purpose": "quick"}), 403)
        self.daemon.code_for("b@example.org")
        self.assertIn("login@shop.example", str(self.daemon.mails_to("b@example.org")[0]["From"]))
        with Client(box) as client:
            self.assertEqual(self.expect(client.request("POST", "/v1/challenges", {"recipient": "c@example.org"}), 201)["app"],
                             "box")
            # The socket is another app's now: who came by it is answered, and comes again.
            told = self.reload(app=[shop, {"name": "case", "socket": box}], **open_to_all)
            self.assertEqual(told["apps"], {**NONE, "added": ["case"], "removed": ["box"]})
            with self.assertRaises((ConnectionError, OSError)):
                client.connection.auto_open = 0
                client.request("GET", "/healthz")
                client.request("GET", "/healthz")
        with Client(box) as client:
            self.assertEqual(self.expect(client.request("POST", "/v1/challenges", {"recipient": "d@example.org"}), 201)["app"],
                             "case")
        self.assertIn(b'mailotpd_brake_on{app="case"}', self.daemon.admin("GET", "/metrics").body)

        told = self.reload(app=[shop], **open_to_all)
        self.assertEqual(told["apps"], {**NONE, "removed": ["case"]})
        self.assertFalse(os.path.exists(box))
        # Its ids go to another app, in the same moment.
        self.reload(app=[{**shop, "name": "blog", "purposes": ["quick"]}], **open_to_all)
        self.assertEqual(self.expect(as_www.post("/v1/challenges", {"recipient": "e@example.org", "purpose": "quick"}),
                                     201)["app"], "blog")
        self.expect(as_www.get(f"/v1/challenges/{mine['id']}"), 404, "not_found")

    def test_refused(self):
        open_to_all = {"daemon": {"api_mode": "0666"}}
        shop = {"name": "shop", "users": ["www-data"]}
        self.up(app=[shop], **open_to_all)
        as_www = Peer(self.daemon.api_socket, WWW_DATA)
        box, taken = (os.path.join(self.daemon.folder, name) for name in ("box.sock", "taken.sock"))
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(taken)
            other.listen(1)
            cases = (
                ([shop, {"name": "b", "users": ["no-such-user"]}], ("users", '"no-such-user"'), "there is no user"),
                ([shop, {"name": "b", "groups": ["www-data"]}], ("groups", '"www-data"'), "would be two apps"),
                ([shop, {"name": "b", "templates": "/nonexistent", "uids": [7]}], ("templates", '"/nonexistent"'),
                 "there is no folder"),
                ([shop, {"name": "b", "socket": box}, {"name": "c", "socket": taken}], None, "another process answers"),
            )
            for apps, place, says in cases:
                with self.subTest(says):
                    self.daemon.write_config(app=apps, limits={"app_sends": ["1/1h"]}, **open_to_all)
                    problem = self.post_reload(422, "configuration_invalid")
                    self.assertIn(says, problem["detail"])
                    if place:
                        self.assertIn(self.place_of(*place), problem["detail"])
                    self.assertIn(says, self.hang_up("reload_refused"))
                    for _ in range(2):
                        self.expect(as_www.post("/v1/challenges", {"recipient": "a@example.org", "purpose": "quick"}), 201)
                    self.assertFalse(os.path.exists(box), "a socket of a reload that was refused")
            self.assertTrue(os.path.exists(taken))
        done = self.daemon.ctl("reload")
        self.assertEqual(done.returncode, 0, "with the other process gone its socket is stale: " + done.stderr)


class Directory(ReloadTest):
    def test_one_that_does_not_answer(self):
        """Users are looked up in a file that nobody writes: only the reload waits for it, and a stop does not."""
        needs(self, "unshare", "--mount", "true")
        self.daemon = self.new_daemon(app=[{"name": "me", "uids": [os.getuid()]}])
        pipe = os.path.join(self.daemon.folder, "passwd")
        os.mkfifo(pipe)
        plain = self.daemon.command
        self.daemon.command = lambda *more: ["unshare", "--mount", *plain(*more)]
        self.daemon.start()
        subprocess.run(["nsenter", "--target", str(self.daemon.pid), "--mount", "mount", "--bind", pipe, "/etc/passwd"],
                       check=True, timeout=60)
        self.daemon.write_config(app=[{"name": "me", "uids": [os.getuid()]}, {"name": "shop", "users": ["www-data"]}])
        answers = []
        reload = threading.Thread(target=lambda: answers.append(self.daemon.admin("POST", "/v1/reload", {})))
        reload.start()

        def threads():
            names = []
            for task in os.listdir(f"/proc/{self.daemon.pid}/task"):
                with open(f"/proc/{self.daemon.pid}/task/{task}/comm", encoding="ascii") as file:
                    names.append(file.read().strip())
            return names
        wait_for(lambda: "reload" in threads(), lambda: f"the thread of a reload: {threads()}")
        for number in range(3):
            self.create(f"u{number}@example.org")
            self.daemon.code_for(f"u{number}@example.org")
        self.expect(self.daemon.admin("GET", "/v1/outbox"), 200)
        self.post_reload(503, "overloaded")
        self.assertEqual(answers, [])
        self.assertEqual(self.daemon.stop(), 0, self.daemon.log_tail())
        reload.join(60)
        self.expect(answers[0], 503, "shutting_down")


class Relays(ReloadTest):
    def relay(self, *rules, **more):
        relay = ScriptedRelay(list(rules), **more).start()
        self.addCleanup(relay.stop)
        return relay

    def up_with(self, *relays, **tables):
        return self.up(daemon={"mode": "production"}, relay=list(relays), **tables)

    def reload_with(self, *relays, **tables):
        return self.reload(daemon={"mode": "production"}, relay=list(relays), **tables)

    def relays(self):
        return {item["name"]: item for item in self.expect(self.daemon.admin("GET", "/v1/relays"), 200)["items"]}

    def message(self, challenge):
        return self.expect(self.daemon.admin("GET", f"/v1/outbox/{challenge['message']['id']}"), 200)

    def relayed(self, challenge):
        wait_for(lambda: self.message(challenge)["state"] == "relayed",
                 lambda: f"relayed: {self.message(challenge)}; {self.daemon.log_tail()}")
        return self.message(challenge)

    def agent_of(self, name):
        return {pid for pid, program in children(self.daemon.pid).items() if program == name}

    def test_added_changed_removed(self):
        a, b, c = self.relay(), self.relay(), self.relay()
        self.up_with(at("a", a.port), at("b", b.port, priority=20))
        self.assertEqual(self.relayed(self.create("1@example.org"))["relay"], "a")
        first = self.agent_of("mailotp-smtp")
        # When a relay is chosen is no matter of the agent.
        told = self.reload_with(at("a", a.port, priority=30), at("b", b.port, priority=20))
        self.assertEqual((told["changed"], told["relays"]), (["relay"], {**NONE, "changed": ["a"]}))
        self.assertEqual(self.relayed(self.create("2@example.org"))["relay"], "b")
        self.assertEqual(self.agent_of("mailotp-smtp"), first)
        told = self.reload_with(at("b", b.port, priority=20, max_connections=2), at("c", c.port))
        self.assertEqual(told["relays"], {"added": ["c"], "changed": ["b"], "removed": ["a"]})
        self.assertEqual(self.relayed(self.create("3@example.org"))["relay"], "c")
        self.assertEqual(set(self.relays()), {"b", "c"})
        self.assertNotEqual(self.agent_of("mailotp-smtp"), first)
        self.assertEqual([len(relay.mails) for relay in (a, b, c)], [1, 1, 1])
        metrics = self.daemon.admin("GET", "/metrics").body.decode()
        self.assertIn('mailotpd_relay_attempts_total{relay="c",outcome="relayed"} 1\n', metrics)
        self.assertIn('mailotpd_relay_attempts_total{relay="a",outcome="relayed"} 1\n', metrics)
        self.assertNotIn('mailotpd_relay_up{relay="a"}', metrics)
        self.assertIn('mailotpd_agent_restarts_total{agent="smtp"} 0\n', metrics)
        self.expect(self.daemon.admin("POST", "/v1/relays/a/suspend", {}), 404)
        # The name in EHLO is the agent's, too.
        self.reload_with(at("c", c.port), mail={"hostname": "other.example.org"})
        self.relayed(self.create("4@example.org"))
        self.assertTrue(c.said(r"^EHLO other\.example\.org"))

    def test_what_is_known_stays(self):
        """An operator's word stays with the name, also while there is no such relay; a breaker with the server."""
        a, b = self.relay(), self.relay()
        self.up_with(at("a", a.port), at("b", b.port, priority=20))
        self.expect(self.daemon.admin("POST", "/v1/relays/a/suspend", {}), 200)
        self.reload_with(at("a", a.port, rate="100/1s"), at("b", b.port, priority=20), mail={"hostname": "x.example.org"})
        self.assertEqual(self.relays()["a"]["state"], "suspended")
        self.reload_with(at("b", b.port))
        self.reload_with(at("a", a.port), at("b", b.port, priority=20))
        self.assertEqual(self.relays()["a"]["state"], "suspended")
        self.assertEqual(self.relayed(self.create("1@example.org"))["relay"], "b")
        self.expect(self.daemon.admin("POST", "/v1/relays/a/resume", {}), 200)
        self.assertEqual(self.relayed(self.create("2@example.org"))["relay"], "a")
        a.stop()
        challenge = self.create("3@example.org")
        self.assertEqual(self.relayed(challenge)["relay"], "b")
        before = wait_for(lambda: self.relays()["a"]["breaker"] != "closed" and self.relays()["a"],
                          lambda: f"the breaker opens: {self.relays()}")
        told = self.reload_with(at("a", a.port), at("b", b.port, priority=20, rate="50/1s"))
        self.assertEqual(told["relays"], {**NONE, "changed": ["b"]})
        self.assertNotEqual(self.relays()["a"]["breaker"], "closed")
        self.assertEqual(self.relays()["a"]["last_error"], before["last_error"])

    def test_what_waits_for_a_relay_that_goes(self):
        """Greylisted by the one that is removed: the other one has it, without waiting for the end of its pause."""
        def later(session):
            return session.say("451 4.7.1 Greylisted, please try again in 300 seconds")

        async def greylist(session):
            await later(session)
            return True
        a, b = self.relay(Rule("rcpt", greylist)), self.relay()
        self.up_with(at("a", a.port), **{"purpose.quick": {"ttl": "1h"}})
        challenge = self.create("1@example.org", purpose="quick")
        wait_for(lambda: self.message(challenge)["state"] == "deferred", lambda: str(self.message(challenge)))
        self.reload_with(at("b", b.port), **{"purpose.quick": {"ttl": "1h"}})
        self.expect(self.daemon.admin("POST", f"/v1/outbox/{challenge['message']['id']}/retry", {}), 200)
        self.assertEqual(self.relayed(challenge)["relay"], "b")

    def test_past_the_dot(self):
        """A relay that is removed while it has a mail and has not answered: its word is waited for."""
        gate = threading.Event()
        self.addCleanup(gate.set)
        a, b = self.relay(Rule("dot", held(gate))), self.relay()
        self.up_with(at("a", a.port))
        first = self.create("1@example.org")
        wait_for(lambda: a.visits.get("dot"), "the mail is past the dot")
        old = self.agent_of("mailotp-smtp")
        self.reload_with(at("b", b.port))
        second = self.create("2@example.org")
        # The old agent is asked to end, and does not before it has the answer.
        wait_for(lambda: "event=agent_renewed agent=smtp" in self.daemon.log(), self.daemon.log_tail)
        self.assertEqual(self.message(first)["state"], "sending")
        self.assertEqual(self.agent_of("mailotp-smtp"), old)
        gate.set()
        self.assertEqual(self.relayed(first)["relay"], "a")
        self.assertEqual(self.relayed(second)["relay"], "b")
        self.assertEqual((len(a.mails), len(b.mails)), (1, 1))
        self.assertNotIn("uncertain", str(self.message(first)["events"]))

    def test_stop_while_an_agent_is_renewed(self):
        gate = threading.Event()
        self.addCleanup(gate.set)
        a, b = self.relay(Rule("dot", held(gate))), self.relay()
        self.up_with(at("a", a.port))
        self.create("1@example.org")
        wait_for(lambda: a.visits.get("dot"), "the mail is past the dot")
        self.reload_with(at("b", b.port))
        wait_for(lambda: "event=agent_renewed agent=smtp" in self.daemon.log(), self.daemon.log_tail)
        self.daemon.signal(signal.SIGTERM)
        wait_for(lambda: "event=stopping" in self.daemon.log(), self.daemon.log_tail)
        gate.set()
        self.assertEqual(self.daemon.wait(), 0, self.daemon.log_tail())
        self.assertEqual(len(a.mails), 1)

    def test_passwords(self):
        a, b = self.relay(), self.relay(users={"me": "right"})
        password = None

        def with_auth(**more):
            return at("b", b.port, **{"auth": "plain", "username": "me", "password_file": password, **more})
        self.up_with(at("a", a.port))
        password = os.path.join(self.daemon.folder, "password")
        for make, says in ((lambda: None, "No such file"), (lambda: self.write(password, "right\n", 0o644), "chmod 600"),
                           (lambda: self.write(password, "", 0o600), "must hold a password")):
            make()
            self.daemon.write_config(daemon={"mode": "production"}, relay=[with_auth(), at("a", a.port)])
            problem = self.post_reload(422, "configuration_invalid")
            self.assertIn(says, problem["detail"])
            self.assertIn(self.place_of("password_file", f'"{password}"'), problem["detail"])
            self.assertEqual(set(self.relays()), {"a"})
            done = self.daemon.run("--check")
            if os.path.exists(password):
                self.assertEqual(done.returncode, 78)
                self.assertIn(says, done.stderr)
            else:  # it may be a credential of the service
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn(f"{password} is not there: good only where systemd hands it over", done.stderr)
                self.assertIn(self.place_of("password_file", f'"{password}"'), done.stderr)
        done = self.daemon.ctl("reload")
        self.assertEqual(done.returncode, 1)
        self.assertIn(self.place_of("password_file", f'"{password}"'), done.stderr)
        self.write(password, "right\n", 0o600)
        self.reload_with(with_auth())
        self.relayed(self.create("1@example.org"))
        self.assertEqual(len(b.mails), 1)
        self.assertNotIn("right", self.daemon.log())
        # The new relay's file is watched like any other.
        b.users = {"me": "newer"}
        self.write(password, "newer\n", 0o600)
        wait_for(lambda: "event=password_read relay=b" in self.daemon.log(), self.daemon.log_tail)

    @staticmethod
    def write(path, text, mode):
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(path, mode)

    def test_bounce_mailbox(self):
        """Its agent is renewed when it is to be told something else, and only then."""
        a = self.relay()
        with contextlib.ExitStack() as stack:
            ports = []
            for _ in range(2):
                listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
                ports.append(listener.getsockname()[1])
            self.daemon = self.new_daemon()
            secret = os.path.join(self.daemon.folder, "imap.password")
            self.write(secret, "secret\n", 0o600)

            def bounces(port, **more):
                return {"host": "127.0.0.1", "port": port, "tls": "none", "username": "b", "password_file": secret, **more}
            tables = {"daemon": {"mode": "production"}, "relay": at("a", a.port)}
            self.daemon.write_config(bounces=bounces(ports[0]), **tables)
            self.daemon.start()
            first = wait_for(lambda: self.agent_of("mailotp-imap"), "the agent of the mailbox")
            told = self.reload(bounces=bounces(ports[0], foreign="move"), **tables)
            self.assertEqual(told["changed"], ["bounces"])
            self.assertEqual(self.agent_of("mailotp-imap"), first)
            told = self.reload(bounces=bounces(ports[1]), **tables)
            self.assertEqual((told["changed"], told["needs_restart"]), (["bounces"], []))
            wait_for(lambda: self.agent_of("mailotp-imap") - first, self.daemon.log_tail)
            wait_for(lambda: not self.agent_of("mailotp-imap") & first, self.daemon.log_tail)
            listener.settimeout(30)
            listener.accept()[0].close()
            self.assertEqual(self.daemon.stop(), 0)


class Load(ReloadTest):
    def test_nothing_is_lost_or_doubled(self):
        """Relays, limits, templates and keys change again and again while codes are asked for."""
        names = ("a", "b", "c")
        # Some are slow: before the dot, so that they are cut, and after it, so that they are waited for.
        slow = [Rule("rcpt", after(3.0), p=0.02), Rule("dot", after(2.0), p=0.02)]
        servers = {name: ScriptedRelay(slow, seed=number).start() for number, name in enumerate(names)}
        for server in servers.values():
            self.addCleanup(server.stop)

        def tables(number):
            chosen = [names[number % 3], names[(number + 1) % 3]] if number % 2 else [names[number % 3]]
            return {"daemon": {"mode": "production", "templates": os.path.join(self.daemon.folder, f"own{number % 2}")},
                    "relay": [at(name, servers[name].port, max_connections=2 + number % 3) for name in chosen],
                    "mail": {"hostname": f"host{number}.example.org"},
                    "limits": {"global_sends": [f"{10_000_000 + number}/1h"]}}
        self.daemon = self.new_daemon()
        write_files(os.path.join(self.daemon.folder, "own1"), {"otp/en/subject.mustache": "ONE: your code\n"})
        self.daemon.write_config(**tables(0))
        self.daemon.start()
        accepted, failures, stop = [], [], threading.Event()

        def waiting():
            return len(accepted) - sum(len(server.mails) for server in servers.values())

        def ask(worker):
            count = 0
            try:
                with Client(self.daemon.api_socket) as client:
                    while not stop.is_set():
                        count += 1
                        # A backlog that the slow relays get through in seconds.
                        wait_for(lambda: stop.is_set() or waiting() < 200, lambda: f"{waiting()} wait")
                        answer = client.request("POST", "/v1/challenges", {
                            "recipient": f"w{worker}n{count}@example.org", "purpose": "quick"})
                        if answer.status != 201:
                            failures.append(repr(answer))
                            return
                        accepted.append(answer.json["message"]["id"])
            except Exception as error:  # pylint: disable=broad-except  # told by the test
                failures.append(repr(error))
        workers = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
        for worker in workers:
            worker.start()
        try:
            for number in range(1, 9):
                before = len(accepted)
                wait_for(lambda: len(accepted) >= before + 40 or failures, self.daemon.log_tail)
                told = self.reload(**tables(number))
                self.assertIn("relay", told["changed"])
                self.assertEqual(told["needs_restart"], [])
                # Each second one comes while the one before still waits for what the old relays have in hand.
                server = servers[names[number % 3]]
                taken = len(server.mails)
                if number % 2 == 0:
                    wait_for(lambda: len(server.mails) > taken or failures, self.daemon.log_tail)  # pylint: disable=W0640
                # Refused ones in between change nothing.
                self.daemon.write_config(**{**tables(number + 1), "nonsense": {"a": 1}})
                self.post_reload(422, "configuration_invalid")
        finally:
            stop.set()
            for worker in workers:
                worker.join(60)
        self.assertEqual(failures, [])

        def open_ones():
            stats = self.expect(self.daemon.admin("GET", "/v1/stats"), 200)["messages"]
            return sum(stats[state] for state in ("queued", "sending", "deferred", "uncertain"))
        wait_for(lambda: open_ones() == 0, lambda: f"{open_ones()} open; {self.daemon.log_tail()}", bound=120)
        stats = self.expect(self.daemon.admin("GET", "/v1/stats"), 200)
        self.assertEqual(stats["accepted_total"], len(accepted))
        self.assertEqual(stats["messages"]["relayed"], len(accepted), stats)
        ids = [one for server in servers.values() for one in server.message_ids()]
        self.assertEqual(len(ids), len(accepted))
        self.assertEqual(len(set(ids)), len(ids), "a mail was sent twice")
        self.assertTrue(all(server.mails for server in servers.values()), "each of them was a relay for a while")
        self.assertEqual(stats["ended_total"].get("uncertain", 0), 0)
        self.assertNotIn("agent_killed", self.daemon.log())
        lost = [line for line in self.daemon.log().splitlines() if "event=agent_gone" in line and "held=0" not in line]
        self.assertEqual(lost, [], "an agent ended with mails in its hands")


if __name__ == "__main__":
    unittest.main()
