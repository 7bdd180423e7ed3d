"""Several apps on one daemon: who is which, and that none sees, uses or learns anything of another's."""
import os
import pickle
import select
import subprocess
import time
import unittest
import uuid

from harness import BOUND, Client, Raw, SharedDaemonTest, SystemTest, http_bytes, wait_for, wrong_digits

# Accounts that every Debian has.
WWW_DATA, BACKUP, IRC, NOBODY = 33, 34, 39, 65534
# Ids without an account.
NUMBER, STRANGER = 54321, 54399


class Peer:
    """Requests of a process of its own that has given up root for these ids, each by a new connection."""

    def __init__(self, path, uid, gid=None, groups=()):
        self.path, self.uid, self.gid, self.groups = path, uid, uid if gid is None else gid, list(groups)

    def __repr__(self):
        return f"uid {self.uid}, gid {self.gid}, groups {self.groups}, {os.path.basename(self.path)}"

    def request(self, method, target, body=None, headers=None):
        source, sink = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(source)
            try:
                os.setgroups(self.groups)
                os.setgid(self.gid)
                os.setuid(self.uid)
                with Client(self.path) as client:
                    outcome = client.request(method, target, body, headers)
            except BaseException as error:  # pylint: disable=broad-except  # told by the parent
                outcome = repr(error)
            with os.fdopen(sink, "wb") as out:
                pickle.dump(outcome, out)
            os._exit(0)
        os.close(sink)
        with os.fdopen(source, "rb") as told:
            outcome = told.read()
        os.waitpid(child, 0)
        outcome = pickle.loads(outcome)
        if isinstance(outcome, str):
            raise AssertionError(f"{self}: {outcome}")
        return outcome

    def get(self, target):
        return self.request("GET", target)

    def post(self, target, body=None, headers=None):
        return self.request("POST", target, {} if body is None else body, headers)


def write_files(folder, files):
    for name, text in files.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


NOTE = {"note/template.toml": "", "note/en/subject.mustache": "A note of {{app}}\n",
        "note/en/text.mustache": "Something has changed.\n", "note/en/html.mustache": "<p>Something has changed.</p>\n"}


def needs(test, *command):
    """Of the machine, not of what is installed: a container may forbid it to everybody."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=BOUND, check=False)
    if done.returncode != 0:
        test.skipTest(f"this machine does not allow `{' '.join(command)}`: {done.stderr.strip()}")


class AppsTest(SystemTest):
    """A daemon whose sockets everybody may use."""

    def setUp(self):
        self.assertEqual(os.getuid(), 0, "these tests become other users: run them as root")

    def open_daemon(self, apps, **tables):
        """Not started yet."""
        daemon = self.new_daemon()
        os.chmod(daemon.folder, 0o755)
        in_folder = lambda app: {key: os.path.join(daemon.folder, value) if key in ("socket", "templates") else value
                                 for key, value in app.items()}
        apps = [in_folder(app) for app in apps]
        tables["daemon"] = {"api_mode": "0666", **tables.get("daemon", {})}
        daemon.write_config(app=apps, **tables)
        return daemon


class Isolation(AppsTest):
    def setUp(self):
        super().setUp()
        self.daemon = self.open_daemon([
            {"name": "shop", "users": ["www-data"], "from": "Shop <login@shop.example>", "domain": "shop.example",
             "templates": "shop-templates"},
            {"name": "blog", "groups": ["irc"]},
            {"name": "count", "uids": [NUMBER], "purposes": ["quick", "recovery"]},
            {"name": "box", "socket": "box.sock", "from": "box@example.net"},
        ])
        write_files(os.path.join(self.daemon.folder, "shop-templates"),
                    {"otp/en/subject.mustache": "SHOP: your code\n", **NOTE})
        self.daemon.start()
        common, box = self.daemon.api_socket, os.path.join(self.daemon.folder, "box.sock")
        self.shop = Peer(common, WWW_DATA)
        self.blog = Peer(common, STRANGER, IRC)
        self.blog_member = Peer(common, STRANGER, STRANGER, [STRANGER + 1, IRC])
        self.count = Peer(common, NUMBER)
        self.box = Peer(box, STRANGER)
        self.apps = {"shop": self.shop, "blog": self.blog, "count": self.count, "box": self.box}

    def create(self, peer, recipient, **fields):
        return self.expect(peer.post("/v1/challenges", {"recipient": recipient, "purpose": "quick", **fields}), 201)

    def captured(self, peer, recipient):
        target = f"/v1/captured?recipient={recipient}"
        found = wait_for(lambda: self.expect(peer.get(target), 200)["items"],
                         lambda: f"{peer} sees a mail to {recipient}; {self.daemon.log_tail()}")
        self.assertEqual(len(found), 1)
        return found[0]

    def test_who_is_which(self):
        for name, peer in (*self.apps.items(), ("blog", self.blog_member)):
            with self.subTest(peer):
                self.assertEqual(self.create(peer, f"{name}.which@example.org")["app"], name)
        # A socket of its own tells more than the peer's ids, and only on that socket.
        own = os.path.join(self.daemon.folder, "box.sock")
        for ids in ((0, 0), (WWW_DATA, WWW_DATA), (STRANGER, IRC), (NOBODY, NOBODY, [IRC])):
            peer = Peer(own, *ids)
            self.assertEqual(self.create(peer, f"box.{ids[0]}.{ids[1]}@example.org")["app"], "box", peer)

    def test_nobody(self):
        challenge = self.create(self.shop, "a@example.org")["id"]
        calls = [("POST", "/v1/challenges", {"recipient": "a@example.org"}),
                 *(("POST", f"/v1/challenges/{challenge}/{verb}", {"code": "123456"} if verb == "check" else {})
                   for verb in ("send", "check", "cancel")),
                 ("POST", "/v1/otp/generate", {"email": "a@example.org"}),
                 ("POST", "/v1/otp/verify", {"email": "a@example.org", "otp": "123456"}),
                 ("POST", "/v1/messages", {"recipient": "a@example.org", "template": "otp"}),
                 ("POST", "/v1/challenges", b"no JSON"),
                 ("GET", f"/v1/challenges/{challenge}", None), ("GET", "/v1/challenges/none", None),
                 ("GET", f"/v1/messages/{challenge}?wait=9&revision=1", None),
                 ("GET", "/v1/recipients/a@example.org", None), ("GET", "/v1/recipients/nobody", None),
                 ("GET", "/v1/captured", None)]
        for uid, gid, groups in ((NOBODY, NOBODY, []), (STRANGER, STRANGER, [7, STRANGER]), (0, 0, [0])):
            peer = Peer(self.daemon.api_socket, uid, gid, groups)
            for method, target, body in calls:
                with self.subTest(f"{peer}: {method} {target}"):
                    refused = self.expect(peer.request(method, target, body), 403, "app_unknown")
                    self.assertIn(f"uid {uid}", refused["detail"])
                    self.assertIn("[[app]]", refused["detail"])
                    for name in self.apps:
                        self.assertNotIn(f'"{name}"', refused["detail"])
            for target in ("/healthz", "/readyz", "/v1", "/v1/openapi.json"):
                self.expect(peer.get(target), 200)
            self.expect(peer.get("/v1/nothing"), 404, "not_found")

    def test_ids_of_others(self):
        recipient = "ids@example.org"
        challenge = self.create(self.shop, recipient)
        code = self.daemon.code_for(recipient)
        message = self.expect(self.shop.post("/v1/messages", {"recipient": recipient, "template": "note"}), 201)

        def answers(peer, of_challenge, of_message):
            path = f"/v1/challenges/{of_challenge}"
            return [peer.get(path), peer.get(path + "?wait=60&revision=999"),
                    peer.post(path + "/check", {"code": code}), peer.post(path + "/check", {"code": wrong_digits(code)}),
                    peer.post(path + "/send"), peer.post(path + "/cancel"),
                    peer.post(path + "/cancel", None, {"Idempotency-Key": "k" + of_challenge}),
                    peer.get(f"/v1/messages/{of_message}"), peer.get(f"/v1/messages/{of_message}?wait=60&revision=999"),
                    # Not by the other kind's call either.
                    peer.get(f"/v1/messages/{of_challenge}"), peer.get(f"/v1/challenges/{of_message}")]

        for name, peer in (*self.apps.items(), ("blog", self.blog_member)):
            if name == "shop":
                continue
            before = time.monotonic()
            # Nothing tells another app's id from one that never was.
            for foreign, never in zip(answers(peer, challenge["id"], message["id"]),
                                      answers(peer, str(uuid.uuid4()), str(uuid.uuid4()))):
                with self.subTest(f"{name}: {foreign.request}"):
                    said = self.expect(foreign, 404, "not_found")
                    self.assertEqual(said["detail"], self.expect(never, 404, "not_found")["detail"])
            self.assertLess(time.monotonic() - before, 45, "a wait for another app's row was a wait")
        kept = self.expect(self.shop.get(f"/v1/challenges/{challenge['id']}"), 200)
        self.assertEqual((kept["attempts_left"], kept["state"]), (challenge["attempts_left"], "otp_sent"))
        valid = self.shop.post(f"/v1/challenges/{challenge['id']}/check", {"code": code})
        self.assertTrue(self.expect(valid, 200)["valid"])

    def test_short_form(self):
        recipient = "short@example.org"
        body = {"email": recipient, "purpose": "quick"}
        made, codes = {}, {}
        for name, peer in self.apps.items():
            made[name] = self.expect(peer.post("/v1/otp/generate", body), 201)
            codes[name] = self.daemon.code_for(recipient, len(made))
        self.assertEqual(len({one["id"] for one in made.values()}), len(self.apps))
        self.assertEqual({name: one["app"] for name, one in made.items()}, {name: name for name in self.apps})
        # A resend finds one's own.
        self.assertEqual(self.expect(self.blog.post("/v1/otp/generate", body), 202)["id"], made["blog"]["id"])
        for name, peer in self.apps.items():
            other = next(code for code in codes.values() if code != codes[name])
            verify = {"email": recipient, "purpose": "quick"}
            self.assertEqual(self.expect(peer.post("/v1/otp/verify", {**verify, "otp": other}), 200)["result"], "invalid")
            self.assertTrue(self.expect(peer.post("/v1/otp/verify", {**verify, "otp": codes[name]}), 200)["valid"], name)

    def test_code_of_an_address_that_only_another_app_knows(self):
        recipient = "only-shop@example.org"
        self.expect(self.shop.post("/v1/otp/generate", {"email": recipient, "purpose": "quick"}), 201)
        code = self.daemon.code_for(recipient)
        verify = {"email": recipient, "purpose": "quick", "otp": code}
        foreign = self.expect(self.blog.post("/v1/otp/verify", verify), 200)
        nowhere = self.expect(self.blog.post("/v1/otp/verify", {**verify, "email": "nowhere@example.org"}), 200)
        self.assertEqual(foreign, nowhere)
        self.assertEqual(foreign["result"], "invalid")

    def test_idempotency_keys(self):
        body, key = {"recipient": "key@example.org", "purpose": "quick"}, {"Idempotency-Key": "one"}
        made = {name: peer.post("/v1/challenges", body, key) for name, peer in self.apps.items()}
        for name, response in made.items():
            self.assertEqual(self.expect(response, 201)["app"], name)
        self.assertEqual(len({response.json["id"] for response in made.values()}), len(self.apps))
        for name, peer in self.apps.items():
            self.assertEqual(peer.post("/v1/challenges", body, key).json, made[name].json)
        # Another app's use of the key is no mismatch.
        other = {"recipient": "other@example.org", "purpose": "quick"}
        self.expect(self.shop.post("/v1/challenges", other, {"Idempotency-Key": "two"}), 201)
        self.expect(self.blog.post("/v1/challenges", body, {"Idempotency-Key": "two"}), 201)

    def test_evidence(self):
        recipient = "proof@example.org"
        challenge = self.create(self.shop, recipient)
        code = self.daemon.code_for(recipient)
        self.expect(self.shop.post(f"/v1/challenges/{challenge['id']}/check", {"code": code}), 200)
        target = f"/v1/recipients/{recipient}"
        self.assertEqual(self.expect(self.shop.get(target), 200)["deliverable"], "yes")
        for name in ("blog", "count", "box"):
            self.assertEqual(self.expect(self.apps[name].get(target), 200)["deliverable"], "unknown", name)
        self.assertEqual(self.expect(self.daemon.admin("GET", target), 200)["deliverable"], "yes")

    def test_mails_are_the_apps_own(self):
        recipient = "mails@example.org"
        for peer in self.apps.values():
            self.create(peer, recipient)
        mails = {name: self.captured(peer, recipient) for name, peer in self.apps.items()}
        self.assertEqual(mails["shop"]["subject"], "SHOP: your code")
        self.assertIn("\r\nFrom: Shop <login@shop.example>\r\n", "\r\n" + mails["shop"]["raw"])
        self.assertRegex(mails["shop"]["text"], r"\n@shop\.example #\d{6}\n$")
        self.assertEqual(mails["blog"]["subject"], "Your code for Example")
        self.assertIn("\r\nFrom: Example <no-reply@example.org>\r\n", "\r\n" + mails["blog"]["raw"])
        self.assertNotRegex(mails["blog"]["text"], r"(?m)^@")
        self.assertIn("\r\nFrom: box@example.net\r\n", "\r\n" + mails["box"]["raw"])
        # A template of one app is none of another.
        note = {"recipient": "note@example.org", "template": "note"}
        self.expect(self.shop.post("/v1/messages", note), 201)
        self.assertEqual(self.captured(self.shop, "note@example.org")["subject"], "A note of Shop")
        self.expect(self.blog.post("/v1/messages", note), 422, "template_unknown")
        # A resend, which is composed in the store, is the app's too.
        challenge = self.create(self.shop, "again@example.org")
        self.daemon.code_for("again@example.org")
        self.expect(self.shop.post(f"/v1/challenges/{challenge['id']}/send"), 202)
        wait_for(lambda: len(self.daemon.mails_to("again@example.org")) == 2, self.daemon.log_tail)
        for mail in self.daemon.mails_to("again@example.org"):
            self.assertEqual((mail["From"], mail["Subject"]), ("Shop <login@shop.example>", "SHOP: your code"))

    def test_captured_of_all_addresses(self):
        for name, peer in self.apps.items():
            self.create(peer, f"{name}.all@example.org")
            self.daemon.code_for(f"{name}.all@example.org")
        for name, peer in self.apps.items():
            seen = [mail["to"] for mail in self.expect(peer.get("/v1/captured"), 200)["items"]]
            self.assertEqual(seen, [f"{name}.all@example.org"])
        seen = [mail["to"] for mail in self.expect(self.daemon.admin("GET", "/v1/captured"), 200)["items"]]
        self.assertEqual(len(seen), len(self.apps))
        seen = [mail["to"] for mail in self.expect(self.daemon.admin("GET", "/v1/captured?app=box"), 200)["items"]]
        self.assertEqual(seen, ["box.all@example.org"])

    def test_purposes(self):
        for purpose in ({"purpose": "login"}, {"purpose": "address_validation"}, {}):
            for target, body in (("/v1/challenges", {"recipient": "p@example.org"}),
                                 ("/v1/otp/generate", {"email": "p@example.org"}),
                                 ("/v1/otp/verify", {"email": "p@example.org", "otp": "123456"})):
                with self.subTest(f"{target} {purpose}"):
                    refused = self.expect(self.count.post(target, {**body, **purpose}), 403, "purpose_not_allowed")
                    self.assertEqual(refused["field"], "purpose")
        self.expect(self.count.post("/v1/challenges", {"recipient": "p@example.org", "purpose": "zzz"}), 400,
                    "invalid_field")
        self.assertEqual(self.daemon.mails_to("p@example.org"), [])
        made = self.create(self.count, "p@example.org", purpose="recovery")
        self.assertRegex(self.daemon.code_for("p@example.org"), r"^\d{8}$")
        self.assertEqual(made["purpose"], "recovery")
        for purpose in ("login", "recovery", "address_validation", "long"):
            self.create(self.shop, f"{purpose}@example.org", purpose=purpose)

    def test_operators_see_all(self):
        made = {name: self.create(peer, f"{name}.ops@example.org")["id"] for name, peer in self.apps.items()}
        for name, challenge in made.items():
            target = f"/v1/challenges/{challenge}"
            self.assertEqual(self.expect(self.daemon.admin("GET", target), 200)["app"], name)
            self.expect(self.daemon.admin("GET", f"{target}?app={name}"), 200)
            self.expect(self.daemon.admin("GET", f"{target}?app=none"), 404, "not_found")
        rows = self.expect(self.daemon.admin("GET", "/v1/outbox?app=count"), 200)["items"]
        self.assertEqual([row["recipient"] for row in rows], ["count.ops@example.org"])


class Sockets(AppsTest):
    def test_socket_of_an_app_that_has_ids_too(self):
        daemon = self.open_daemon([{"name": "shop", "socket": "shop.sock", "users": ["backup"]},
                                   {"name": "box", "socket": "box.sock"}])
        daemon.start()
        shop = os.path.join(daemon.folder, "shop.sock")
        for peer, app in ((Peer(shop, NOBODY), "shop"), (Peer(daemon.api_socket, BACKUP), "shop"),
                          (Peer(os.path.join(daemon.folder, "box.sock"), BACKUP), "box")):
            made = self.expect(peer.post("/v1/otp/generate", {"email": f"{peer.uid}.{app}@example.org"}), 201)
            self.assertEqual(made["app"], app, peer)
        self.expect(Peer(daemon.api_socket, NOBODY).get("/v1/recipients/a@example.org"), 403, "app_unknown")
        self.assertEqual(os.stat(shop).st_mode & 0o7777, 0o666)
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())
        self.assertFalse(os.path.exists(shop))

    def test_waits_of_one_app_are_not_anothers(self):
        """Both of one uid: what one of them holds open leaves the other its own."""
        daemon = self.open_daemon([{"name": "box", "socket": "box.sock"}, {"name": "other", "socket": "other.sock"}])
        daemon.start()
        box, other = (os.path.join(daemon.folder, name) for name in ("box.sock", "other.sock"))
        made = [self.expect(Peer(path, 0).post("/v1/challenges", {"recipient": "a@example.org", "send": False}), 201)
                for path in (box, other)]
        waiting = [Raw(box) for _ in range(65)]
        for connection in waiting:
            self.addCleanup(connection.close)
            connection.send(http_bytes("GET", f"/v1/challenges/{made[0]['id']}?wait=60&revision=999"))
        ready, _, _ = select.select(waiting, [], [], BOUND)
        self.expect(ready[0].response(), 429, "too_many_waits")
        self.expect(Peer(other, 0).get(f"/v1/challenges/{made[1]['id']}?wait=1&revision=999"), 200)

    def test_mode_and_group(self):
        daemon = self.open_daemon([{"name": "box", "socket": "box.sock"}], daemon={"api_mode": "0620", "api_group": "irc"})
        daemon.start()
        for name in ("box.sock", "api.sock"):
            stat = os.stat(os.path.join(daemon.folder, name))
            self.assertEqual((stat.st_mode & 0o7777, stat.st_gid), (0o620, IRC))

    def test_passed_by_systemd(self):
        daemon = self.open_daemon([{"name": "box", "socket": "box.sock"}, {"name": "other", "socket": "other.sock"}])
        daemon.keygen()
        passed = os.path.join(daemon.folder, "passed.sock")
        with open(daemon.log_path, "ab") as log:
            daemon.process = subprocess.Popen(
                ["systemd-socket-activate", f"--listen={passed}", "--fdname=app-box", *daemon.command()],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=daemon.folder)
        wait_for(lambda: f"Listening on {passed}" in daemon.log(), daemon.log_tail)  # it is bound before that
        # The first request waits in the backlog while the daemon starts.
        made = self.expect(Peer(passed, 0).post("/v1/otp/generate", {"email": "a@example.org"}), 201)
        self.assertEqual(made["app"], "box")
        self.assertFalse(os.path.exists(os.path.join(daemon.folder, "box.sock")), "the passed one takes its place")
        other = Peer(os.path.join(daemon.folder, "other.sock"), STRANGER)
        self.assertEqual(self.expect(other.post("/v1/otp/generate", {"email": "a@example.org"}), 201)["app"], "other")
        # The next start would refuse the socket that is left without its app: so does a reload.
        with open(daemon.config, encoding="utf-8") as file:
            good = file.read()
        with open(daemon.config, "w", encoding="utf-8") as file:
            file.write(good.replace('"box"', '"renamed"'))
        refused = self.expect(daemon.admin("POST", "/v1/reload", {}), 422, "configuration_invalid")
        self.assertIn('there is no [[app]] "box"', refused["detail"])
        self.assertEqual(self.expect(Peer(passed, 0).post("/v1/otp/generate", {"email": "b@example.org"}), 201)["app"], "box")

    def test_passed_for_an_app_that_there_is_not(self):
        daemon = self.open_daemon([{"name": "box", "socket": "box.sock"}])
        daemon.keygen()
        passed = os.path.join(daemon.folder, "passed.sock")
        with open(daemon.log_path, "ab") as log:
            daemon.process = subprocess.Popen(
                ["systemd-socket-activate", f"--listen={passed}", "--fdname=app-bxo", *daemon.command()],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=daemon.folder)
        wait_for(lambda: f"Listening on {passed}" in daemon.log(), daemon.log_tail)  # it is bound before that
        with self.assertRaises(AssertionError):
            Peer(passed, 0).get("/healthz")
        self.assertEqual(daemon.wait(), 78, daemon.log_tail())
        self.assertIn('there is no [[app]] "bxo"', daemon.log())


class Ambiguous(AppsTest):
    def test_peer_of_two_apps(self):
        """No account is of both groups; a process may be."""
        daemon = self.open_daemon([{"name": "mails", "groups": ["news"]}, {"name": "chat", "groups": ["irc"]}])
        daemon.start()
        peer = Peer(daemon.api_socket, STRANGER, IRC, [9])  # news
        for _ in range(20):
            refused = self.expect(peer.get("/v1/recipients/a@example.org"), 403, "app_unknown")
            self.assertIn("more than one", refused["detail"])
            self.assertNotIn("chat", refused["detail"])
        lines = [line for line in daemon.log().splitlines() if "event=app_ambiguous" in line]
        self.assertIn(f"uid={STRANGER} apps=mails,chat", lines[0])
        self.assertLess(len(lines), 15, "at most one a second")


class Check(AppsTest):
    """Configurations that are refused, by --check, by mailotpctl and by the start."""

    CASES = (
        ([{"name": "a", "users": ["www-data", "no-such-user"]}], (0, "users", '"no-such-user"'), "there is no user"),
        ([{"name": "a", "groups": ["no-such-group"]}], (0, "groups", '"no-such-group"'), "there is no group"),
        ([{"name": "a", "users": ["www-data"]}, {"name": "b", "uids": [7, WWW_DATA]}], (1, "uids", "33"),
         'belongs to app "a" already'),
        ([{"name": "a", "uids": [NUMBER]}, {"name": "b", "uids": [NUMBER]}], (1, "uids", str(NUMBER)), 'belongs to app "a"'),
        ([{"name": "a", "groups": ["irc"]}, {"name": "b", "groups": ["irc"]}], (1, "groups", '"irc"'), 'belongs to app "a"'),
        # The primary group of an account.
        ([{"name": "a", "groups": ["www-data"]}, {"name": "b", "users": ["www-data"]}], (1, "users", '"www-data"'),
         'user "www-data" would be two apps: "a" by group "www-data" (gid 33), and "b" by user'),
        ([{"name": "a", "uids": [WWW_DATA]}, {"name": "b", "groups": ["www-data"]}], (1, "groups", '"www-data"'),
         'user "www-data" would be two apps'),
    )

    def place_of(self, daemon, app, key, value):
        """line:column of a value in the app's table."""
        with open(daemon.config, encoding="utf-8") as file:
            lines = file.read().splitlines()
        tables = [number for number, line in enumerate(lines) if line == "[[app]]"]
        at = next(number for number in range(tables[app], len(lines)) if lines[number].startswith(key + " ="))
        return f"{daemon.config}:{at + 1}:{lines[at].index(value) + 1}: "

    def test_refused(self):
        daemon = self.open_daemon([])
        daemon.keygen()
        for apps, place, says in self.CASES:
            with self.subTest(says):
                daemon.write_config(app=apps)
                where = self.place_of(daemon, *place)
                for done in (daemon.run("--check"), daemon.run(), daemon.ctl("check-config", daemon.config)):
                    said = done.stdout + done.stderr
                    self.assertEqual(done.returncode, 78, said)
                    self.assertIn(where, said)
                    self.assertIn(says, said)
        self.assertEqual(os.listdir(daemon.state), [])

    def test_supplementary_group(self):
        """An account that is in somebody else's group: by a file that no other process sees."""
        needs(self, "unshare", "--mount", "true")
        daemon = self.open_daemon([{"name": "a", "users": ["backup"]}, {"name": "b", "groups": ["irc"]}])
        daemon.keygen()
        self.assertEqual(daemon.run("--check").returncode, 0)
        group = os.path.join(daemon.folder, "group")
        with open("/etc/group", encoding="utf-8") as file:
            lines = [line.rstrip("\n") for line in file]
        with open(group, "w", encoding="utf-8") as file:
            for line in lines:
                file.write(line + ("backup" if line.endswith(":") else ",backup") * line.startswith("irc:") + "\n")
        script = 'mount --bind "$1" /etc/group && shift && exec "$@"'
        done = subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", group, *daemon.command("--check")],
                              capture_output=True, text=True, timeout=BOUND, check=False)
        self.assertEqual(done.returncode, 78, done.stdout + done.stderr)
        self.assertIn(self.place_of(daemon, 1, "groups", '"irc"'), done.stderr)
        self.assertIn('user "backup" would be two apps: "a" by user "backup" (uid 34), and "b" by group "irc" (gid 39)',
                      done.stderr)

    def test_good(self):
        daemon = self.open_daemon([{"name": "a", "users": ["www-data"], "groups": ["www-data"], "uids": [WWW_DATA]},
                                   {"name": "b", "groups": ["irc"], "purposes": ["recovery"]}])
        daemon.keygen()
        done = daemon.run("--check")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertNotIn(" app", done.stderr)

    def test_templates(self):
        """Of an app: they are there, and have what its purposes name. Seen at the start."""
        daemon = self.open_daemon([])
        daemon.keygen()
        own = os.path.join(daemon.folder, "own")
        slip = {"name": "a", "uids": [1], "templates": own}
        welcome = {"purpose.welcome": {"template": "hello"}}
        cases = (([slip], {}, f'app "a": templates: there is no folder {own}'),
                 ([{"name": "a", "uids": [1]}], welcome, 'app "a": purpose welcome uses the template hello'),
                 ([{"name": "a", "uids": [1], "purposes": ["login"]}, {"name": "b", "uids": [2]}], welcome,
                  'app "b": purpose welcome uses the template hello'))
        for apps, tables, says in cases:
            with self.subTest(says):
                daemon.write_config(app=apps, **tables)
                done = daemon.run()
                self.assertEqual(done.returncode, 78, done.stdout + done.stderr)
                self.assertIn(says, done.stdout + done.stderr)
        # In the app's own folder it is enough.
        write_files(own, {"hello/template.toml": "", "hello/en/subject.mustache": "Hello\n",
                          "hello/en/text.mustache": "Hello,\n\n{{code}}\n", "hello/en/html.mustache": "<p>{{code}}</p>\n"})
        daemon.write_config(app=[slip, {"name": "b", "uids": [2], "purposes": ["login"]}], **welcome)
        daemon.start()
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())


class Namespace(AppsTest):
    """A user namespace in which only root is mapped, as systemd's PrivateUsers=yes and containers make them."""

    def setUp(self):
        super().setUp()
        needs(self, "unshare", "--user", "--map-root-user", "true")

    def open_hidden(self, apps):
        daemon = self.open_daemon(apps)
        daemon.keygen()
        plain = daemon.command
        daemon.command = lambda *more: ["unshare", "--user", "--map-root-user", *plain(*more)]
        return daemon

    def test_rules_that_could_not_hold(self):
        for app in ({"name": "a", "users": ["www-data"]}, {"name": "a", "groups": ["irc"]}, {"name": "a", "uids": [NUMBER]},
                    {"name": "a", "uids": [NOBODY]}):
            with self.subTest(app):
                daemon = self.open_hidden([app])
                for done in (daemon.run(), daemon.run("--check")):
                    said = done.stdout + done.stderr
                    self.assertEqual(done.returncode, 78, said)
                    self.assertRegex(said, r"mailotpd\.toml:\d+:\d+: .* cannot be known here: the user namespace")
                    for words in ("everybody outside would look like 65534", "PrivateUsers=no", "socket of its own"):
                        self.assertIn(words, said)

    def test_what_holds(self):
        daemon = self.open_hidden([{"name": "boss", "uids": [0]}, {"name": "box", "socket": "box.sock"}])
        daemon.start()
        common, box = daemon.api_socket, os.path.join(daemon.folder, "box.sock")
        body = {"email": "a@example.org"}
        self.assertEqual(self.expect(Peer(common, 0).post("/v1/otp/generate", body), 201)["app"], "boss")
        for uid in (WWW_DATA, NOBODY, NUMBER):
            refused = self.expect(Peer(common, uid).post("/v1/otp/generate", body), 403, "app_unknown")
            self.assertIn("hidden from mailotpd by a user namespace", refused["detail"])
            self.assertIn(self.expect(Peer(box, uid).post("/v1/challenges", {"recipient": "b@example.org"}), 201)["app"], "box")
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())


class NoApps(SharedDaemonTest):
    def test_everybody_is_default(self):
        os.chmod(self.shared.folder, 0o755)
        os.chmod(self.shared.api_socket, 0o666)
        for uid in (WWW_DATA, NOBODY, NUMBER):
            made = Peer(self.shared.api_socket, uid).post("/v1/challenges", {"recipient": self.address(str(uid))})
            self.assertEqual(self.expect(made, 201)["app"], "default")


if __name__ == "__main__":
    unittest.main(verbosity=2)
