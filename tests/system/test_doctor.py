"""mailotpctl doctor: nothing is found in a healthy installation, and each planted fault is found alone, with its cause and
what to do. A real Dovecot has the bounce mailbox; the relay is scripted and speaks TLS and AUTH.
"""
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import unittest

from harness import BIN, BOUND, TEMPLATES, SystemTest, wait_for

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "smtp"))
import servers  # noqa: E402
from bounce_servers import DOMAIN, IMAP_NAME, BounceDovecot  # noqa: E402
from scripted_relay import ScriptedRelay  # noqa: E402

NOBODY = 65534

# Name of the fault (plant_NAME() below plants it): the check that finds it, its result, words of the cause, words of the
# remedy.
FAULTS = {
    "unknown_key": ("configuration", "failed", ["2:1: unknown key colour"], ["check-config"]),
    "bad_template": ("templates", "failed", ["otp", "nickname"], ["correct that file"]),
    "key_missing": ("key", "failed", ["no such file"], ["mailotpctl keygen", "backup"]),
    "key_open": ("key", "failed", ["mode is 0644", "others"], ["chmod 600", "otp.key"]),
    "key_malformed": ("key", "failed", ["line 1", "hexadecimal"], ["mailotpctl keygen writes"]),
    "key_lost": ("key", "failed", ["the database needs the key"], ["put the old key's line back"]),
    "password_missing": ("password", "failed", ["relay primary", "no such file"], ["install -m 600", "relay.password"]),
    "password_open": ("password", "failed", ["bounce mailbox", "mode is 0640"], ["chmod 600", "imap.password"]),
    "password_empty": ("password", "failed", ["relay primary", "must hold a password"], ["write the password"]),
    "state_open": ("state", "failed", ["mode is 0777", "others can change"], ["chmod 700"]),
    "state_foreign": ("state", "failed", ["belongs to nobody", "runs as root"], ["chown -R root"]),
    "state_file_foreign": ("state", "failed", ["mailotpd.reserve", "started as another user"], ["chown -R"]),
    "database_newer": ("database", "failed", ["schema 999", "newer mailotpd"], ["install the newer mailotpd"]),
    "database_foreign": ("database", "failed", ["not one of mailotpd"], ["state_dir"]),
    "database_damaged": ("database", "failed", ["store:"], ["backup", "journalctl -k"]),
    "disk_full": ("disk", "failed", ["are free", "1024 TiB are wanted"], ["make room", "min_free_disk"]),
    "socket_folder_gone": ("api-socket", "failed", ["is not there"], ["systemd-tmpfiles --create"]),
    "socket_folder_open": ("api-socket", "failed", ["everybody may write"], ["chmod o-w"]),
    "socket_group": ("configuration", "failed", ["no group \"otp-admins\""], ["correct that line"]),
    "dsn_without_failure": ("return-path", "warning", ["failure"], ["dsn in [mail]"]),
    "daemon_stopped": ("daemon", "failed", ["no daemon at"], ["systemctl start mailotpd"]),
    "relay_name": ("relay", "failed", ["dns"], ["`host` in [[relay]] primary", "getent"]),
    "relay_port": ("relay", "failed", ["connect", "refused"], ["`port` in [[relay]] primary"]),
    "relay_certificate": ("relay", "failed", ["certificate"], ["`server_name`", "`ca_file`"]),
    "relay_password": ("relay", "failed", ["auth", "535"], ["`password_file` in [[relay]] primary"]),
    "relay_suspended": ("relay", "failed", ["suspended", "no mail leaves"], ["mailotpctl relay resume primary"]),
    "mailbox_password": ("bounce-mailbox", "failed", ["login"], ["`password_file` in [bounces]"]),
    "mailbox_name": ("bounce-mailbox", "failed", ["certificate"], ["`server_name`", "`ca_file`"]),
    "mail_held": ("outbox", "warning", ["1 mail is held"], ["outbox list --state held", "release"]),
}
# What cannot be looked at behind a fault.
HIDDEN = {"unknown_key": "files", "socket_group": "files", "daemon_stopped": "daemon"}
OF_THE_DAEMON = {"daemon", "store", "agent", "relay", "bounce-mailbox", "outbox", "brake", "keys"}


def words_of(checks):
    return {(check["check"], check["subject"]): check["result"] for check in checks}


class DoctorTest(SystemTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = servers.make_folder("mailotp-doctor-")
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        cls.authority = servers.Authority(cls.folder)
        cls.dovecot = BounceDovecot(cls.folder, cls.authority.server("imap", host=IMAP_NAME))
        cls.dovecot.add_user("bounces")
        cls.dovecot.start()
        cls.addClassCleanup(cls.dovecot.stop)
        cls.relay = ScriptedRelay([], certificate=cls.authority.server("relay"), users={"otp": servers.PASSWORD}).start()
        cls.addClassCleanup(cls.relay.stop)

    # -- the installation

    def installation(self):
        """A healthy one, running. Its passwords and templates are files of its own."""
        self.daemon = self.new_daemon()
        self.templates = os.path.join(self.daemon.folder, "templates")
        os.mkdir(self.templates)
        self.sockets = os.path.join(self.daemon.folder, "run")
        os.mkdir(self.sockets, 0o755)
        self.daemon.api_socket = os.path.join(self.sockets, "api.sock")
        self.tables = {
            "daemon": {"mode": "production", "templates": self.templates, "api_socket": self.daemon.api_socket},
            "mail": {"from": f"Example <no-reply@{DOMAIN}>", "bounce_address": f"bounces@{DOMAIN}"},
            "relay": {"name": "primary", "host": "127.0.0.1", "port": self.relay.port, "tls": "starttls",
                      "server_name": servers.SERVER_NAME, "ca_file": self.authority.file, "username": "otp",
                      "password_file": self.password("relay.password")},
            "bounces": {"host": "127.0.0.1", "port": self.dovecot.imaps_port, "server_name": IMAP_NAME,
                        "ca_file": self.authority.file, "username": "bounces",
                        "password_file": self.password("imap.password")}}
        self.configure()
        self.up()
        return self.daemon

    def path(self, name):
        return os.path.join(self.daemon.folder, name)

    def password(self, name, text=servers.PASSWORD + "\n", mode=0o600):
        return servers.write(self.path(name), text, mode)

    def configure(self, **changes):
        """The configuration, with changes over that of a healthy installation."""
        for name, keys in changes.items():
            self.tables[name] = {**self.tables.get(name, {}), **keys}
        return self.daemon.write_config(**self.tables)

    def up(self):
        self.daemon.launch()
        self.daemon.wait_listening()
        wait_for(lambda: "down" not in self.daemon.admin("GET", "/readyz").json.get("agents", {}).values(),
                 lambda: f"the agents are ready; {self.daemon.log_tail()}")
        self.daemon.agents |= set(self.daemon.agent_pids())

    def again(self, **changes):
        self.assertEqual(self.daemon.stop(), 0, self.daemon.log_tail())
        self.configure(**changes)
        self.up()

    # -- the tool

    def doctor(self, *words, **more):
        return subprocess.run([os.path.join(BIN, "mailotpctl"), "doctor", "--config", self.daemon.config, *words],
                              capture_output=True, text=True, timeout=BOUND * 3, check=False, stdin=subprocess.DEVNULL,
                              **more)

    def checks(self, *words, code=None):
        """As JSON Lines."""
        done = self.doctor("--json", *words)
        checks = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertTrue(checks, done)
        for check in checks:
            self.assertEqual(list(check), ["check", "subject", "result", "saw", "remedy"])
        failed = [check for check in checks if check["result"] == "failed"]
        self.assertEqual(done.returncode, 1 if failed else 0, f"{done.stderr}\n{failed}")
        self.assertNotIn(servers.PASSWORD, done.stdout + done.stderr)
        return checks

    def files(self):
        """Everything that lies in the state folder, with its size, owner and mode."""
        return {name: (at.st_size, at.st_uid, at.st_mode, at.st_mtime_ns) for name in os.listdir(self.daemon.state)
                for at in (os.stat(os.path.join(self.daemon.state, name)),)}


class Healthy(DoctorTest):
    def test_nothing_fails(self):
        self.installation()
        mails = len(self.relay.mails)  # of the tests before
        checks = self.checks()
        self.assertEqual([check for check in checks if check["result"] not in ("ok", "warning")], [])
        # Only the machine that the test runs on may have something to be said about.
        warned = {check["check"] for check in checks if check["result"] == "warning"}
        self.assertLessEqual(warned, {"clock", "confinement", "agent", "disk"}, checks)
        self.assertEqual({check["remedy"] for check in checks if check["result"] == "ok"}, {""})
        seen = {check["check"] for check in checks}
        self.assertLessEqual({"configuration", "templates", "programs", "key", "password", "state", "database", "disk",
                              "clock", "confinement", "api-socket", "admin-socket", "return-path", *OF_THE_DAEMON}
                             - {"brake"}, seen)
        self.assertEqual(len(self.relay.mails), mails, "a test of a relay sends no mail")

    def test_a_relay_out_of_use_beside_one_in_use(self):
        """It is a warning only: mail leaves."""
        self.installation()
        self.assertEqual(self.daemon.stop(), 0)
        second = {**self.tables["relay"], "name": "second"}
        self.daemon.write_config(**{**self.tables, "relay": [self.tables["relay"], second]})
        self.up()
        self.assertEqual(self.daemon.ctl("relay", "suspend", "second").returncode, 0)
        relays = {check["subject"]: check["result"] for check in self.checks() if check["check"] == "relay"}
        self.assertEqual(relays, {"primary": "ok", "second": "warning"})

    def test_for_people(self):
        self.installation()
        done = self.doctor()
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertRegex(done.stdout, r"(?m)^ok        relay           primary: works \(dns, connect, .*auth\)$")
        self.assertRegex(done.stdout.splitlines()[-1], r"\Anothing is wrong(, \d+ warnings?)?\Z")
        self.assertNotIn("\x1b", done.stdout)

    def test_nothing_is_changed(self):
        """With a daemon, after it, and after its death: no file is made, none touched, and the daemon starts as before."""
        self.installation()
        self.expect(self.daemon.api("POST", "/v1/challenges", {"recipient": f"a@{DOMAIN}"}), 201)
        self.checks()
        self.daemon.kill()
        wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in self.daemon.agents), "the agents end")
        before = self.files()
        done = self.daemon.run("--diagnose")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        (database,) = [check for check in map(json.loads, done.stdout.splitlines()) if check["check"] == "database"]
        self.assertEqual(database["result"], "ok")
        self.assertIn("did not end cleanly", database["saw"])
        self.assertEqual(self.files(), before)
        self.up()
        self.assertEqual(self.daemon.stop(), 0)
        before = self.files()
        done = self.daemon.run("--diagnose")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("every page looked at", done.stdout)
        self.assertEqual(self.files(), before)

    def test_a_log_that_is_gone(self):
        self.installation()
        self.expect(self.daemon.api("POST", "/v1/challenges", {"recipient": f"a@{DOMAIN}"}), 201)
        self.daemon.kill()
        os.remove(os.path.join(self.daemon.state, "mailotpd.db-wal"))
        done = self.daemon.run("--diagnose")
        self.assertEqual(done.returncode, 78)
        failed = [check for check in map(json.loads, done.stdout.splitlines()) if check["result"] == "failed"]
        self.assertEqual([check["check"] for check in failed], ["database"], failed)
        self.assertIn("its log", failed[0]["saw"])

    def test_before_the_first_start(self):
        self.daemon = self.new_daemon()
        os.rmdir(self.daemon.state)
        self.daemon.keygen()
        done = self.daemon.run("--diagnose")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertFalse(os.path.exists(self.daemon.state))
        state = [check for check in map(json.loads, done.stdout.splitlines()) if check["check"] == "state"]
        self.assertIn("never started", state[0]["saw"])


@unittest.skipUnless(os.geteuid() == 0, "who is not root cannot become another user")
class AnotherUser(DoctorTest):
    def programs(self):
        """Where the other user can run them."""
        folder = self.path("tree/build/preset/bin")
        os.makedirs(folder)
        for name in ("mailotpctl", "mailotpd", "mailotp-smtp", "mailotp-imap"):
            shutil.copy(os.path.join(BIN, name), folder)
        shutil.copytree(TEMPLATES, self.path("tree/templates"))
        return os.path.join(folder, "mailotpctl")

    def run_as_nobody(self, program, *words):
        return subprocess.run([program, "doctor", "--config", self.daemon.config, *words], capture_output=True, text=True,
                              timeout=BOUND * 3, check=False, stdin=subprocess.DEVNULL, cwd="/", user=NOBODY,
                              group=NOBODY, extra_groups=[])

    def test_one_who_may_use_the_socket_only(self):
        """What he may not read is not seen, and no failure."""
        self.installation()
        program = self.programs()
        os.chmod(self.daemon.folder, 0o755)
        os.chmod(self.daemon.config, 0o640)
        os.chmod(self.daemon.admin_socket, 0o666)
        done = self.run_as_nobody(program, "--json", "--socket", self.daemon.admin_socket)
        checks = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual([check["check"] for check in checks if check["result"] == "unseen"], ["configuration"])
        self.assertEqual([check["result"] for check in checks if check["check"] == "relay"], ["ok"])
        os.chmod(self.daemon.config, 0o644)
        done = self.run_as_nobody(program)
        self.assertEqual(done.returncode, 0, done)
        for check in ("key", "password", "database"):
            self.assertRegex(done.stdout, rf"(?m)^not seen  {check} .*\n +→ run as root")
        self.assertNotIn("FAILED", done.stdout)

    def test_files_of_root_and_a_daemon_that_is_not(self):
        """As they are after "sudo mailotpctl keygen": mailotpd's user, the owner of its folder, cannot read them."""
        self.daemon = self.new_daemon()
        self.daemon.keygen()
        os.chown(self.daemon.state, NOBODY, NOBODY)
        done = self.daemon.run("--diagnose")
        self.assertEqual(done.returncode, 78, done)
        failed = [check for check in map(json.loads, done.stdout.splitlines()) if check["result"] == "failed"]
        self.assertEqual([check["check"] for check in failed], ["key"], failed)
        self.assertIn("belongs to root, and mailotpd runs as nobody, who cannot read it", failed[0]["saw"])
        self.assertIn(f"chown nobody {self.daemon.key}", failed[0]["remedy"])
        self.assertIn("LoadCredential=otp-key:", failed[0]["remedy"])

    def test_one_who_may_not(self):
        self.installation()
        program = self.programs()
        os.chmod(self.daemon.folder, 0o755)
        os.chmod(self.daemon.admin_socket, 0o600)
        done = self.run_as_nobody(program, "--socket", self.daemon.admin_socket)
        self.assertEqual(done.returncode, 77, done)
        self.assertRegex(done.stdout, r"(?m)^not seen  daemon .*no permission for")
        self.assertNotIn("FAILED", done.stdout)


class Planted(DoctorTest):
    """Each fault of the table."""

    def plant_unknown_key(self):
        text = self.configure()
        servers.write(self.daemon.config, text.replace("[daemon]\n", '[daemon]\ncolour = "green"\n', 1))

    def plant_bad_template(self):
        shutil.copytree(os.path.join(TEMPLATES, "otp"), os.path.join(self.templates, "otp"))
        with open(os.path.join(self.templates, "otp", "en", "text.mustache"), "a", encoding="utf-8") as file:
            file.write("Hello {{nickname}}\n")

    def plant_key_missing(self):
        os.remove(self.daemon.key)

    def plant_key_open(self):
        os.chmod(self.daemon.key, 0o644)

    def plant_key_malformed(self):
        servers.write(self.daemon.key, "a key of my own\n", 0o600)

    def plant_key_lost(self):
        self.expect(self.daemon.api("POST", "/v1/challenges", {"recipient": f"a@{DOMAIN}", "send": False}), 201)
        os.remove(self.daemon.key)
        self.daemon.keygen()

    def plant_password_missing(self):
        os.remove(self.path("relay.password"))

    def plant_password_open(self):
        os.chmod(self.path("imap.password"), 0o640)

    def plant_password_empty(self):
        self.password("relay.password", "\n")

    def plant_state_open(self):
        os.chmod(self.daemon.state, 0o777)

    def plant_state_foreign(self):
        os.chown(self.daemon.state, NOBODY, NOBODY)

    def plant_state_file_foreign(self):
        os.chown(os.path.join(self.daemon.state, "mailotpd.reserve"), NOBODY, NOBODY)

    def database(self, sql):
        with sqlite3.connect(os.path.join(self.daemon.state, "mailotpd.db"), timeout=BOUND) as database:
            database.execute(sql)
        database.close()

    def plant_database_newer(self):
        self.database("PRAGMA user_version = 999")

    def plant_database_foreign(self):
        self.database("PRAGMA application_id = 4711")

    def plant_database_damaged(self):
        """The daemon has no need of this page, but quick_check reads it."""
        self.database("CREATE TABLE planted (a)")
        self.database("INSERT INTO planted VALUES (randomblob(100))")
        with sqlite3.connect(os.path.join(self.daemon.state, "mailotpd.db"), timeout=BOUND) as database:
            database.execute("PRAGMA writable_schema = ON")
            database.execute("UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE "
                             "name = 'message') WHERE name = 'planted'")
        database.close()

    def plant_disk_full(self):
        self.configure(delivery={"min_free_disk": "1024TiB"})

    def plant_socket_folder_gone(self):
        shutil.rmtree(self.sockets)

    def plant_socket_folder_open(self):
        os.chmod(self.sockets, 0o777)

    def plant_socket_group(self):
        self.configure(daemon={"admin_group": "otp-admins"})

    def plant_dsn_without_failure(self):
        self.configure(mail={"dsn": ["delay"]})

    def plant_daemon_stopped(self):
        self.assertEqual(self.daemon.stop(), 0)

    def plant_relay_name(self):
        self.again(relay={"host": "relay.nowhere.invalid"})

    def plant_relay_port(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.again(relay={"port": port})

    def plant_relay_certificate(self):
        other = servers.Authority(self.daemon.folder, "other")
        self.again(relay={"ca_file": other.file})

    def plant_relay_password(self):
        self.password("relay.password", "another one\n")
        self.again()

    def plant_relay_suspended(self):
        self.assertEqual(self.daemon.ctl("relay", "suspend", "primary").returncode, 0)

    def plant_mailbox_password(self):
        self.password("imap.password", "another one\n")
        self.again()

    def plant_mailbox_name(self):
        self.again(bounces={"server_name": "imap.example.net"})

    def plant_mail_held(self):
        self.assertEqual(self.daemon.ctl("relay", "suspend", "primary").returncode, 0)
        challenge = self.expect(self.daemon.api("POST", "/v1/challenges", {"recipient": f"a@{DOMAIN}"}), 201)
        done = self.daemon.ctl("outbox", "hold", challenge["message"]["id"])
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual(self.daemon.ctl("relay", "resume", "primary").returncode, 0)

    def find(self, fault):
        check, result, causes, remedies = FAULTS[fault]
        self.installation()
        healthy = words_of(self.checks())
        getattr(self, "plant_" + fault)()
        seen = self.checks("--socket", self.daemon.admin_socket)
        changed = [one for one in seen if healthy.get((one["check"], one["subject"])) != one["result"]]
        self.assertEqual([(one["check"], one["result"]) for one in changed], [(check, result)],
                         f"alone: {json.dumps(changed, indent=1)}\n{self.daemon.log_tail()}")
        for words, there in ((causes, changed[0]["saw"]), (remedies, changed[0]["remedy"])):
            for word in words:
                self.assertIn(word, there)
        self.assert_no_other_is_missing(fault, healthy, words_of(seen))
        self.assert_people_are_told(changed[0])

    def assert_no_other_is_missing(self, fault, healthy, seen):
        missing = {name for name, _ in healthy.keys() - seen.keys()}
        hidden = {None: set(), "daemon": OF_THE_DAEMON,
                  "files": {name for name, _ in healthy} - OF_THE_DAEMON}[HIDDEN.get(fault)]
        self.assertLessEqual(missing, hidden)

    def assert_people_are_told(self, found):
        done = self.doctor("--socket", self.daemon.admin_socket)
        self.assertEqual(done.returncode, 1 if found["result"] == "failed" else 0, done)
        word = "FAILED" if found["result"] == "failed" else "warning"
        lines = done.stdout.splitlines()
        at = [number for number, line in enumerate(lines)
              if line.startswith(f"{word:<8}  {found['check']:<14}") and found["saw"][:20] in line]
        self.assertEqual(len(at), 1, done.stdout)
        self.assertEqual(lines[at[0] + 1].strip(), "→ " + found["remedy"])
        if word == "FAILED":
            self.assertRegex(done.stderr, r"\Amailotpctl: 1 of \d+ checks failed\n\Z")


def add_tests():
    planted = {name.removeprefix("plant_") for name in dir(Planted) if name.startswith("plant_")}
    if planted != set(FAULTS):
        raise AssertionError(f"not in the table and as a function: {planted ^ set(FAULTS)}")
    for fault in FAULTS:
        def test(self, fault=fault):
            self.find(fault)
        setattr(Planted, f"test_{fault}", test)


add_tests()

if __name__ == "__main__":
    unittest.main()
