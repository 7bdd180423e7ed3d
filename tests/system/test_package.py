"""The Debian package: what is in it, installed into a root of its own, upgraded over the data of the version before,
removed, purged. The package is made of the build that is tested, stripped as every package."""
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
import unittest

from harness import BIN, BOUND, SystemTest
from package_root import ADDUSER, SYSTEMD, InstalledDaemon, Root, run

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, os.pardir)
MIGRATIONS = os.path.join(TOP, "store", "migrations.cpp")
SOCKETS = ("mailotpd-api.socket", "mailotpd-admin.socket")
UNITS = (*SOCKETS, "mailotpd-metrics.socket", "mailotpd.service")
# Of a busy machine: seconds for what takes five of them.
SLOW = 240

FILLED_IN = """
[daemon]
mode     = "development"
key_file = "/etc/mailotpd/otp.key"

[mail]
from           = "Example <no-reply@example.org>"
bounce_address = "bounces@example.org"
hostname       = "otp.example.org"

[[relay]]
name      = "capture"
kind      = "capture"
directory = "/var/lib/mailotpd/captured"
"""


def setUpModule():
    """Once for all: the package, and the same as an older version."""
    global FOLDER, PACKAGE, OLDER
    # Of the machine, not of what is installed: a container may forbid it to everybody.
    allowed = run("unshare", "--mount", "true")
    if allowed.returncode != 0:
        raise unittest.SkipTest(f"this machine does not allow `unshare --mount`: {allowed.stderr.strip()}")
    FOLDER = tempfile.mkdtemp(prefix="mailotp-", dir="/tmp")
    unittest.addModuleCleanup(shutil.rmtree, FOLDER)
    made = run("cpack", "-G", "DEB", "--config", os.path.join(BIN, os.pardir, "CPackConfig.cmake"), "-B", FOLDER,
               bound=SLOW)
    packages = [name for name in os.listdir(FOLDER) if name.endswith(".deb")]
    if made.returncode != 0 or len(packages) != 1:
        raise AssertionError(f"cpack: exit {made.returncode}, {packages}\n{made.stdout}{made.stderr}")
    PACKAGE = os.path.join(FOLDER, packages[0])
    OLDER = repacked(PACKAGE, "0.0.9-1")


def repacked(package, version):
    """The package as another version; its templates tell it too."""
    tree = os.path.join(FOLDER, "tree")
    subprocess.run(["dpkg-deb", "-R", package, tree], check=True, timeout=BOUND)
    control = os.path.join(tree, "DEBIAN", "control")
    with open(control, encoding="utf-8") as file:
        text = re.sub(r"^Version: .*$", "Version: " + version, file.read(), flags=re.MULTILINE)
    with open(control, "w", encoding="utf-8") as file:
        file.write(text)
    with open(os.path.join(tree, "usr/share/mailotpd/mailotpd.toml"), "a", encoding="utf-8") as file:
        file.write(f"# {version}\n")
    output = os.path.join(FOLDER, f"mailotpd_{version}.deb")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", tree, output], check=True, timeout=BOUND,
                   stdout=subprocess.DEVNULL)
    shutil.rmtree(tree)
    return output


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


class Made(unittest.TestCase):
    def field(self, name):
        return run("dpkg-deb", "-f", PACKAGE, name).stdout.strip()

    def test_name_and_version(self):
        arch = run("dpkg", "--print-architecture").stdout.strip()
        program = run(os.path.join(BIN, "mailotpd"), "--version").stdout.split()[1]
        newest = re.match(r"mailotpd \((\S+)\) ", read(os.path.join(TOP, "packaging/debian/changelog"))).group(1)
        self.assertEqual(os.path.basename(PACKAGE), f"mailotpd_{newest}_{arch}.deb")
        self.assertEqual((self.field("Version"), newest.rpartition("-")[0]), (newest, program))

    def test_lintian(self):
        done = run("lintian", "--fail-on", "error,warning", "--tag-display-limit", "0", "--allow-root", PACKAGE, bound=SLOW)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def test_depends_on_what_it_is_linked_with(self):
        depends = self.field("Depends")
        for library in ("libesmtp", "libetpan", "libsqlite3-0", "libssl3", "libuv1", "libcurl3-gnutls", "libidn2-0", "adduser"):
            self.assertIn(library, depends)


class Installed(SystemTest):
    @classmethod
    def setUpClass(cls):
        cls.root = Root(SYSTEMD)
        cls.addClassCleanup(cls.root.destroy)
        cls.said = cls.root.dpkg("-i", PACKAGE)

    def test_programs(self):
        for name in ("usr/sbin/mailotpd", "usr/bin/mailotpctl", "usr/libexec/mailotpd/mailotp-smtp",
                     "usr/libexec/mailotpd/mailotp-imap"):
            with self.subTest(name):
                self.assertEqual(self.root.mode(name), ("root", "root", "755"))
                self.assertNotIn(".debug_info", run("readelf", "-S", "-W", self.root.path(name)).stdout)

    def test_other_files(self):
        names = [f"usr/lib/systemd/system/{unit}" for unit in UNITS]
        names += [f"usr/share/man/man{name[-1]}/{name}.gz" for name in ("mailotpd.8", "mailotpctl.1", "mailotpd.toml.5")]
        names += [f"usr/share/doc/mailotpd/{name}" for name in
                  ("copyright", "changelog.Debian.gz", "README.md", "docs/SECURITY.md", "docs/openapi.yaml",
                   "examples/mailotpd.toml", "examples/login.py")]
        names += ["usr/lib/sysusers.d/mailotpd.conf", "usr/lib/tmpfiles.d/mailotpd.conf",
                  "usr/share/mailotpd/templates/otp/en/text.mustache"]
        for name in names:
            with self.subTest(name):
                self.assertEqual(self.root.mode(name), ("root", "root", "644"))

    def test_completion(self):
        """Where there is one."""
        self.assertEqual(os.path.exists(self.root.path("usr/share/bash-completion/completions/mailotpctl")),
                         os.path.exists(os.path.join(TOP, "ctl/mailotpctl.bash-completion")))

    def test_links_of_the_readme(self):
        folder = self.root.path("usr/share/doc/mailotpd")
        links = re.findall(r"\]\(([^):]+)\)", read(os.path.join(folder, "README.md")))
        self.assertGreater(len(links), 5)
        self.assertEqual([link for link in links if not os.path.exists(os.path.join(folder, link)) and link != "LICENSE"], [])

    def test_owners_and_modes(self):
        self.check_owners_and_modes(self.root)

    def check_owners_and_modes(self, root):
        for name, wanted in {"var/lib/mailotpd": ("mailotpd", "mailotpd", "700"),
                             "run/mailotpd": ("mailotpd", "mailotpd", "755"),
                             "etc/mailotpd": ("root", "mailotpd", "750"),
                             "etc/mailotpd/templates": ("root", "mailotpd", "750"),
                             "etc/mailotpd/mailotpd.toml": ("root", "mailotpd", "640"),
                             "etc/mailotpd/otp.key": ("mailotpd", "mailotpd", "600")}.items():
            with self.subTest(name):
                self.assertEqual(root.mode(name), wanted)
        for group in ("mailotpd", "mailotpd-apps", "mailotpd-admin"):
            self.assertIsNotNone(root.account(group, "group"), group)
        account = re.search(r"^mailotpd:.*$", read(root.path("etc/passwd")), re.MULTILINE).group(0).split(":")
        account[4] = account[4].rstrip(",")  # adduser leaves room for an office and telephones
        self.assertEqual(account[4:], ["One-time passwords by mail", "/var/lib/mailotpd", "/usr/sbin/nologin"])
        self.assertLess(int(account[2]), 1000, "a user of the system")

    def test_without_systemds_tools(self):
        """As with them: the same accounts, folders and modes."""
        root = Root(ADDUSER)
        self.addCleanup(root.destroy)
        root.dpkg("-i", PACKAGE)
        self.check_owners_and_modes(root)
        keys = [read(one.path("etc/mailotpd/otp.key")).strip() for one in (self.root, root)]
        self.assertNotEqual(*keys)
        self.assertNotIn(keys[0], self.said)
        before = root.files()
        root.dpkg("--purge", "mailotpd")
        self.assertEqual([path for path in root.files() if "mailotp" in os.path.relpath(path, root.folder)], [])
        self.assertLess(root.files(), before)

    def test_units_are_enabled(self):
        links = {os.path.relpath(path, self.root.path("etc/systemd/system")): os.readlink(path)
                 for path in self.root.files() if path.startswith(self.root.path("etc/systemd/system/"))}
        wants = {f"sockets.target.wants/{unit}": unit for unit in SOCKETS}
        wants["multi-user.target.wants/mailotpd.service"] = "mailotpd.service"
        self.assertEqual(set(links), set(wants), "the socket of the metrics is not enabled")
        for link, target in links.items():
            self.assertTrue(os.path.exists(self.root.path(target)), f"{link} -> {target}")
            self.assertEqual(os.path.basename(target), wants[link])

    def test_units_verify(self):
        done = run("systemd-analyze", "verify", "--man=no", "--root=" + self.root.folder, *UNITS)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def test_the_configuration_says_what_to_fill_in(self):
        done = run(*InstalledDaemon(self.root).command())
        self.assertEqual(done.returncode, 78, done.stdout + done.stderr)
        for key in ("from", "bounce_address", "hostname"):
            self.assertRegex(done.stderr, rf"/etc/mailotpd/mailotpd\.toml:\d+:\d+: \[mail\] needs the key {key}\b")
        self.assertIn("mailotpd: not started before its configuration is good:\n" + done.stderr, self.said)
        self.assertEqual(read(self.root.path("etc/mailotpd/mailotpd.toml")).count("FILL IN:"), 2)

    def test_filled_in_as_it_says_it_is_good(self):
        """Every line that is commented out, but the prose."""
        path = self.root.path("etc/mailotpd/mailotpd.toml")
        before = read(path)
        with open(path, "w", encoding="utf-8") as file:
            file.write(re.sub(r"^# (?=\[|\w+ *= )", "", before, flags=re.MULTILINE))
        try:
            done = run(*self.root.inside("/usr/bin/mailotpctl", "check-config", "/etc/mailotpd/mailotpd.toml"))
        finally:
            with open(path, "w", encoding="utf-8") as file:
                file.write(before)
        self.assertEqual((done.returncode, done.stdout), (0, "/etc/mailotpd/mailotpd.toml: good\n"), done.stderr)

    def test_demo(self):
        done = run(os.path.join(TOP, "scripts/demo"), "--installed", self.root.folder)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("demo: invalid for a wrong code, valid for the right one.", done.stdout)
        shutil.rmtree(re.search(r"are in (/tmp/\S+)\.$", done.stdout.rstrip()).group(1))


# Writes down what it is told: of a unit that is enabled and does not run.
SYSTEMCTL = """#!/bin/sh
echo "$*" >>/var/log/systemctl
case $* in
  *is-enabled*) echo enabled ;;
  *is-active*) exit 3 ;;
esac
"""


class Systemd(SystemTest):
    """What the scripts tell a systemd that runs, which is played here."""

    def setUp(self):
        self.root = Root(SYSTEMD)
        self.addCleanup(self.root.destroy)
        os.makedirs(self.root.path("run/systemd/system"))
        with open(self.root.path("usr/bin/systemctl"), "w", encoding="utf-8") as file:
            file.write(SYSTEMCTL)
        os.chmod(self.root.path("usr/bin/systemctl"), 0o755)

    def told(self, *words):
        """The orders of one run of dpkg: without options, questions, and what deb-systemd-helper does for itself."""
        log = self.root.path("var/log/systemctl")
        self.root.dpkg(*words)
        lines = read(log).splitlines() if os.path.exists(log) else []
        if lines:
            os.unlink(log)
        orders = [" ".join(word for word in line.split() if not word.startswith("-")) for line in lines]
        return [order for order in orders if not order.startswith(("is-enabled", "is-active", "preset"))]

    def test_install_upgrade_remove_purge(self):
        self.assertEqual(self.told("-i", OLDER), ["daemon-reload"], "started with nothing filled in")
        self.assertEqual(self.told("-i", PACKAGE), ["daemon-reload"], "what runs must go on")
        with open(self.root.path("etc/mailotpd/mailotpd.toml"), "w", encoding="utf-8") as file:
            file.write(FILLED_IN)
        self.assertEqual(self.told("-i", PACKAGE), ["daemon-reload", "try-restart mailotpd.service"])
        self.assertEqual(self.told("--remove", "mailotpd"), [
            "stop mailotpd-api.socket mailotpd-admin.socket mailotpd-metrics.socket mailotpd.service", "daemon-reload"])
        # What was there is used, what is not is made again.
        os.rmdir(self.root.path("etc/mailotpd/templates"))
        key = read(self.root.path("etc/mailotpd/otp.key"))
        self.assertEqual(self.told("-i", PACKAGE),
                         ["daemon-reload", "start mailotpd-api.socket mailotpd-admin.socket mailotpd.service"])
        self.assertTrue(os.path.isdir(self.root.path("etc/mailotpd/templates")))
        self.assertEqual(read(self.root.path("etc/mailotpd/otp.key")), key)
        self.assertFalse(os.path.exists(self.root.path("run/mailotpd.installing")))
        self.assertEqual(self.told("-i", PACKAGE), ["daemon-reload", "try-restart mailotpd.service"])
        self.told("--remove", "mailotpd")
        self.assertEqual(self.told("--purge", "mailotpd"), ["daemon-reload"])

    def test_started_where_the_configuration_is_there_already(self):
        os.mkdir(self.root.path("etc/mailotpd"))
        with open(self.root.path("etc/mailotpd/mailotpd.toml"), "w", encoding="utf-8") as file:
            file.write(FILLED_IN)
        self.assertEqual(self.told("-i", PACKAGE),
                         ["daemon-reload", "start mailotpd-api.socket mailotpd-admin.socket mailotpd.service"])


def migrations():
    """The statements of each, oldest first."""
    text = read(MIGRATIONS)
    names = re.findall(r"k_\w+", re.search(r"std::array k_migrations\{([^}]*)\}", text).group(1))
    return [re.search(rf'const char\* {name} = R"sql\((.*?)\)sql"', text, re.DOTALL).group(1) for name in names]


def rewrite_for_the_schema_before(path):
    """The rows of the database, in a database as the last migration but one left it. The number of that one."""
    older = len(migrations()) - 1
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        version = newer.execute("PRAGMA user_version").fetchone()[0]
        application = newer.execute("PRAGMA application_id").fetchone()[0]
    newer.close()
    assert version == older + 1, f"store/migrations.cpp has {older + 1} steps, the database is at {version}"
    db = sqlite3.connect(path + ".older", isolation_level=None)
    db.execute(f"PRAGMA application_id = {application}")
    for statements in migrations()[:-1]:
        db.executescript(statements)
    db.execute(f"PRAGMA user_version = {older}")
    db.execute("ATTACH ? AS newer", (path,))
    rows = 0
    for (table,) in db.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'").fetchall():
        columns = ", ".join(row[1] for row in db.execute(f"PRAGMA main.table_info({table})"))
        rows += db.execute(f"INSERT OR REPLACE INTO main.{table} ({columns}) SELECT {columns} FROM newer.{table}").rowcount
    assert rows > 0
    db.close()
    status = os.stat(path)
    for end in ("", "-wal", "-shm"):
        if os.path.exists(path + end):
            os.unlink(path + end)
    os.rename(path + ".older", path)
    os.chown(path, status.st_uid, status.st_gid)
    os.chmod(path, status.st_mode & 0o7777)
    return older


class Life(SystemTest):
    def setUp(self):
        self.root = Root(SYSTEMD)
        self.addCleanup(self.root.destroy)
        self.before = self.root.files()
        self.accounts = [read(self.root.path("etc/" + name)) for name in ("passwd", "group")]

    def daemon(self):
        daemon = InstalledDaemon(self.root)
        self.addCleanup(lambda: daemon.process and daemon.process.poll() is None and daemon.kill())
        return daemon

    def configure(self):
        config = self.root.path("etc/mailotpd/mailotpd.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(FILLED_IN)

    def test_upgrade_over_the_schema_before(self):
        self.root.dpkg("-i", OLDER)
        self.configure()
        with open(self.root.path("etc/mailotpd/templates/note"), "w", encoding="utf-8") as file:
            file.write("the operator's")
        key = read(self.root.path("etc/mailotpd/otp.key"))
        os.mkdir(self.root.path("templates"))  # where a build tree would have them, as seen from /usr/sbin
        daemon = self.daemon().start()
        for name in ("alice", "bob"):
            self.expect(daemon.api("POST", "/v1/challenges", {"recipient": f"{name}@example.org"}), 201)
        code = daemon.code_for("alice@example.org")
        daemon.code_for("bob@example.org")
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())
        database = self.root.path("var/lib/mailotpd/mailotpd.db")
        older = rewrite_for_the_schema_before(database)
        disabled = self.root.path("etc/systemd/system/multi-user.target.wants/mailotpd.service")
        os.unlink(disabled)

        said = self.root.dpkg("-i", PACKAGE)
        self.assertNotIn("not started", said)
        self.assertFalse(os.path.lexists(disabled), "what the operator has disabled stays so")
        self.assertEqual(read(self.root.path("etc/mailotpd/mailotpd.toml")), FILLED_IN)
        self.assertEqual(read(self.root.path("etc/mailotpd/otp.key")), key)
        self.assertEqual(read(self.root.path("etc/mailotpd/templates/note")), "the operator's")
        self.assertNotIn("0.0.9-1", read(self.root.path("usr/share/mailotpd/mailotpd.toml")))

        daemon = self.daemon().start()
        stats = self.expect(daemon.admin("GET", "/v1/stats"), 200)
        self.assertEqual((stats["accepted_total"], stats["ended_total"]["relayed"]), (2, 2), stats)
        verified = self.expect(daemon.api("POST", "/v1/otp/verify", {"email": "alice@example.org", "otp": code}), 200)
        self.assertEqual(verified["result"], "valid")
        listed = daemon.ctl("outbox", "list")
        self.assertEqual(listed.returncode, 0, listed.stderr)
        self.assertIn("bob@example.org", listed.stdout)
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())
        db = sqlite3.connect(database)
        self.assertEqual(db.execute("PRAGMA user_version").fetchone()[0], older + 1)
        self.assertEqual(db.execute("PRAGMA integrity_check").fetchone()[0], "ok")
        db.close()

    def test_remove_keeps_and_purge_leaves_nothing(self):
        self.root.dpkg("-i", PACKAGE)
        self.configure()
        key = read(self.root.path("etc/mailotpd/otp.key"))
        daemon = self.daemon().start()
        self.expect(daemon.api("POST", "/v1/challenges", {"recipient": "alice@example.org"}), 201)
        code = daemon.code_for("alice@example.org")
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())

        self.root.dpkg("--remove", "mailotpd")
        self.assertFalse(os.path.exists(self.root.path("usr/sbin/mailotpd")))
        self.assertFalse(os.path.exists(self.root.path("usr/share/mailotpd")))
        self.assertEqual(read(self.root.path("etc/mailotpd/otp.key")), key)
        self.assertTrue(os.path.exists(self.root.path("var/lib/mailotpd/mailotpd.db")))
        self.assertIsNotNone(self.root.account("mailotpd"))

        self.root.dpkg("-i", PACKAGE)
        self.assertEqual(read(self.root.path("etc/mailotpd/otp.key")), key)
        daemon = self.daemon().start()
        verified = self.expect(daemon.api("POST", "/v1/otp/verify", {"email": "alice@example.org", "otp": code}), 200)
        self.assertEqual(verified["result"], "valid")
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())
        os.unlink(daemon.log_path)

        os.symlink("/lib/systemd/system/mailotpd-metrics.socket",
                   self.root.path("etc/systemd/system/sockets.target.wants/mailotpd-metrics.socket"))
        self.root.dpkg("--purge", "mailotpd")
        self.assertEqual(self.root.files() ^ self.before, set())
        self.assertEqual([read(self.root.path("etc/" + name)) for name in ("passwd", "group")], self.accounts)

    def test_what_was_there_is_kept(self):
        """A configuration and a key that some other tool has put there before the first installation."""
        os.mkdir(self.root.path("etc/mailotpd"), 0o755)
        for name, text in (("mailotpd.toml", FILLED_IN), ("otp.key", "not read here\n")):
            with open(self.root.path("etc/mailotpd/" + name), "w", encoding="utf-8") as file:
                file.write(text)
        self.root.dpkg("-i", PACKAGE)
        self.assertEqual(read(self.root.path("etc/mailotpd/mailotpd.toml")), FILLED_IN)
        self.assertEqual(read(self.root.path("etc/mailotpd/otp.key")), "not read here\n")


if __name__ == "__main__":
    unittest.main(verbosity=2)
