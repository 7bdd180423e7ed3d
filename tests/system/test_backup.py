"""Backups: a snapshot of a daemon in use, the first start on one, and all that ends a backup before its end."""
import contextlib
import json
import os
import pty
import select
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import threading
import unittest

from harness import BIN, BOUND, Client, Daemon, Raw, SystemTest, http_bytes, open_files, wait_for

NOTE = {"note/template.toml": "", "note/en/subject.mustache": "A note of {{app}}\n",
        "note/en/text.mustache": "Something has changed.\n", "note/en/html.mustache": "<p>Something has changed.</p>\n"}


class Backup(SystemTest):
    def up(self, **tables):
        """A daemon with a template that is no code."""
        daemon = self.new_daemon(**tables)
        templates = os.path.join(daemon.folder, "templates")
        for name, text in NOTE.items():
            path = os.path.join(templates, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        self.tables = {**tables, "daemon": {**tables.get("daemon", {}), "templates": templates}}
        daemon.write_config(**self.tables)
        return daemon.start()

    def restored(self, daemon, file):
        """Another daemon's folder with the snapshot and the key."""
        other = self.new_daemon(**self.tables)
        shutil.copy(daemon.key, other.key)
        shutil.copy(file, os.path.join(other.state, "mailotpd.db"))
        return other

    def fill(self, daemon, count=400):
        """Some megabytes: more than lies between the daemon and a client that does not read."""
        with Client(daemon.api_socket) as client:
            for i in range(count):
                self.expect(client.request("POST", "/v1/challenges", {
                    "recipient": f"fill{i}@example.org", "send": False, "metadata": {"text": "x" * 3500}}), 201)

    def file(self, daemon, name="backup.db"):
        return os.path.join(daemon.folder, name)

    def backup(self, daemon, file):
        done = daemon.ctl("--json", "backup", file)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        line = json.loads(done.stdout)
        self.assertEqual((line["file"], line["bytes"]), (file, os.stat(file).st_size))
        self.assertGreaterEqual(line["seconds"], 0)
        self.assertIn(f"event=backup uid={os.getuid()} bytes={line['bytes']} seconds=", daemon.log())
        return file

    def rows(self, file, statement):
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            return database.execute(statement).fetchall()

    def stats(self, daemon):
        return self.expect(daemon.admin("GET", "/v1/stats"), 200)

    def assert_accounted(self, stats):
        """Nothing that was accepted is lost: open ones + ended ones (those that stay uncertain are in both tables)."""
        waiting = sum(stats["messages"].get(state, 0) for state in ("queued", "sending", "deferred", "uncertain", "held"))
        self.assertEqual(stats["accepted_total"], waiting + sum(stats["ended_total"].values()), stats)

    def nothing_left(self, daemon, file):
        """Neither a file, nor a descriptor of a snapshot, nor a name in the state folder."""
        self.assertFalse(os.path.lexists(file))
        self.assertFalse(os.path.lexists(file + ".part"))
        self.assertNotIn("mailotpd.snapshot", os.listdir(daemon.state))
        wait_for(lambda: not [path for path in open_files(daemon.pid).values() if "mailotpd.snapshot" in path],
                 "the daemon lets go of the snapshot")


class Load(Backup):
    def test_of_one_moment_under_load(self):
        daemon = self.up()
        self.fill(daemon)
        end = threading.Event()
        answered, failed = [], []

        def send(number):
            with Client(daemon.api_socket) as client:
                i = 0
                while not end.is_set():
                    response = client.request("POST", "/v1/challenges", {"recipient": f"u{number}.{i}@example.org"})
                    if response.status != 201:
                        failed.append(response)
                        return
                    answered.append(response.json["id"])
                    i += 1
        threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        try:
            for number in range(3):
                wait_for(lambda have=len(answered): failed or len(answered) > have + 50, "sends are answered")
                before = list(answered)
                file = self.backup(daemon, self.file(daemon, f"{number}.db"))
                self.assertEqual(self.rows(file, "PRAGMA integrity_check"), [("ok",)])
                there = {row[0].hex() for row in self.rows(file, "SELECT id FROM challenge")}
                self.assertLessEqual({one.replace("-", "") for one in before}, there)
        finally:
            end.set()
            for thread in threads:
                thread.join(BOUND)
        self.assertEqual(failed, [])
        # The counters are of the same moment as the rows.
        accepted, = self.rows(file, "SELECT value FROM counter WHERE name = 'accepted_total'")[0]
        messages, = self.rows(file, "SELECT count(*) FROM message")[0]
        self.assertEqual(accepted, messages)
        other = self.restored(daemon, file).start()
        stats = self.stats(other)
        self.assertEqual(stats["accepted_total"], accepted)
        self.assert_accounted(stats)
        self.assertEqual(sum(stats["challenges"].get(state, 0) for state in ("started", "otp_sent", "otp_invalid")), 0)
        self.assertEqual((other.stop(), daemon.stop()), (0, 0))


class Restored(Backup):
    def create(self, daemon, recipient, **fields):
        return self.expect(daemon.api("POST", "/v1/challenges", {"recipient": recipient, **fields}), 201)

    def note(self, daemon, recipient):
        return self.expect(daemon.api("POST", "/v1/messages", {"recipient": recipient, "template": "note"}), 201)["id"]

    def state(self, daemon, message):
        return self.expect(daemon.admin("GET", f"/v1/outbox/{message}"), 200)["state"]

    def test_open_challenges_are_canceled_and_unsent_messages_held(self):
        daemon = self.up()
        sent = self.create(daemon, "sent@example.org")
        code = daemon.code_for("sent@example.org")
        right = self.create(daemon, "right@example.org")
        self.expect(daemon.api("POST", f"/v1/challenges/{right['id']}/check",
                               {"code": daemon.code_for("right@example.org")}), 200)
        keyed = {"Idempotency-Key": "k"}
        first = daemon.api("POST", "/v1/challenges", {"recipient": "once@example.org", "send": False}, keyed)
        self.expect(daemon.admin("PUT", "/v1/suppressions/dead%40example.org", {"class": "user-unknown"}), 200)
        self.expect(daemon.admin("POST", "/v1/relays/capture/suspend"), 200)
        waiting = self.create(daemon, "waiting@example.org")
        note, held = self.note(daemon, "note@example.org"), self.note(daemon, "held@example.org")
        self.expect(daemon.admin("POST", f"/v1/outbox/{held}/hold"), 200)
        before = self.stats(daemon)
        file = self.backup(daemon, self.file(daemon))
        self.assertEqual(stat.S_IMODE(os.stat(file).st_mode), 0o600)
        # The daemon goes on as if nothing had been.
        self.assertEqual(self.stats(daemon), before | {"oldest_seconds": self.stats(daemon)["oldest_seconds"]})
        self.assertNotIn("event=restored", daemon.log())
        with open(file, "rb") as snapshot:
            self.assertNotIn(code.encode(), snapshot.read())

        other = self.restored(daemon, file).start()
        said = "event=restored challenges_canceled=3 messages_held=1 "
        self.assertEqual(other.log().count(said), 1, other.log())
        for challenge in (sent, waiting, first.json):
            shown = self.expect(other.api("GET", f"/v1/challenges/{challenge['id']}"), 200)
            self.assertEqual(shown["state"], "canceled")
            checked = self.expect(other.api("POST", f"/v1/challenges/{challenge['id']}/check", {"code": code}), 200)
            self.assertEqual((checked["valid"], checked["result"]), (False, "canceled"))
        self.assertEqual(self.expect(other.api("GET", f"/v1/challenges/{right['id']}"), 200)["state"], "otp_valid")
        self.assertEqual([self.state(other, message) for message in (waiting["message"]["id"], note, held)],
                         ["canceled", "held", "held"])
        events = self.expect(other.admin("GET", f"/v1/outbox/{note}"), 200)["events"]
        self.assertEqual((events[-1]["type"], events[-1]["actor"], events[-1]["detail"]["reason"]),
                         ("message.held", "daemon", "the database is a restored backup"))
        stats = self.stats(other)
        self.assertEqual((stats["accepted_total"], stats["messages"]["held"]), (before["accepted_total"], 2))
        self.assert_accounted(stats)
        # What was promised for later stays.
        self.assertEqual(other.api("POST", "/v1/challenges", {"recipient": "once@example.org", "send": False}, keyed).body,
                         first.body)
        self.expect(other.api("POST", "/v1/challenges", {"recipient": "dead@example.org"}), 422, "recipient_suppressed")
        self.expect(other.admin("POST", "/v1/relays/capture/resume"), 200)
        # Only what an operator lets go leaves; a new challenge works.
        new = self.create(other, "new@example.org")
        self.assertTrue(self.expect(other.api("POST", f"/v1/challenges/{new['id']}/check",
                                              {"code": other.code_for("new@example.org")}), 200)["valid"])
        self.expect(other.admin("POST", f"/v1/outbox/{note}/release"), 200)
        wait_for(lambda: self.state(other, note) == "relayed", lambda: f"it left; {other.log_tail()}")
        self.assertEqual((len(other.mail_bytes()), self.state(other, held)), (2, "held"))

        # The second start is like any other.
        open_one = self.create(other, "open@example.org")
        self.assertEqual(other.stop(), 0)
        other.start()
        self.assertEqual(other.log().count("event=restored"), 1)
        self.assertEqual(self.expect(other.api("GET", f"/v1/challenges/{open_one['id']}"), 200)["state"], "otp_sent")
        self.assertEqual(self.rows(os.path.join(other.state, "mailotpd.db"), "PRAGMA integrity_check"), [("ok",)])

    def test_a_first_start_that_is_killed_is_begun_anew(self):
        daemon = self.up()
        made = self.create(daemon, "sent@example.org", send=False)
        other = self.restored(daemon, self.backup(daemon, self.file(daemon)))
        for _ in range(5):
            other.launch()
            other.process.kill()
            other.process.wait(BOUND)
        other.start()
        self.assertLessEqual(other.log().count("event=restored challenges_canceled=1 "), 1)
        self.assertEqual(self.expect(other.api("GET", f"/v1/challenges/{made['id']}"), 200)["state"], "canceled")

    def test_the_key_is_needed(self):
        daemon = self.up()
        self.create(daemon, "sent@example.org", send=False)
        other = self.restored(daemon, self.backup(daemon, self.file(daemon)))
        os.remove(other.key)
        other.keygen()
        done = other.run()
        self.assertEqual(done.returncode, 78, done.stderr)
        self.assertIn("needs the key", done.stderr)
        # Nothing has happened to it.
        shutil.copy(daemon.key, other.key)
        other.start()
        self.assertIn("event=restored challenges_canceled=1 ", other.log())

    def test_the_log_of_the_old_database_is_refused(self):
        daemon = self.up()
        file = self.backup(daemon, self.file(daemon))
        self.create(daemon, "later@example.org", send=False)
        daemon.kill()
        database = os.path.join(daemon.state, "mailotpd.db")
        self.assertGreater(os.stat(database + "-wal").st_size, 0)
        shutil.copy(file, database)
        done = daemon.run()
        self.assertEqual(done.returncode, 74, done.stderr)
        self.assertIn("mailotpd.db-wal belongs to the database that was in its place", done.stderr)
        os.remove(database + "-wal")
        os.remove(database + "-shm")
        daemon.start()
        self.assertIn("event=restored challenges_canceled=0 messages_held=0 ", daemon.log())


class Refused(Backup):
    def refused(self, done, status, *words):
        self.assertEqual((done.returncode, done.stdout), (status, ""), done)
        for word in words:
            self.assertIn(word, done.stderr)

    def test_what_exists_is_not_touched(self):
        daemon = self.up()
        file = self.file(daemon)
        with open(file, "w", encoding="ascii") as made:
            made.write("mine")
        self.refused(daemon.ctl("backup", file), 1, f"{file} exists and was not touched")
        with open(file, encoding="ascii") as made:
            self.assertEqual(made.read(), "mine")
        self.assertFalse(os.path.exists(file + ".part"))
        os.remove(file)
        os.symlink("/nonexistent/elsewhere", file)
        self.refused(daemon.ctl("backup", file), 1, "exists and was not touched")
        os.remove(file)
        with open(file + ".part", "w", encoding="ascii") as made:
            made.write("another's")
        self.refused(daemon.ctl("backup", file), 1, f"{file}.part exists")
        with open(file + ".part", encoding="ascii") as made:
            self.assertEqual(made.read(), "another's")
        self.refused(daemon.ctl("backup", "/nonexistent/folder/file"), 1, "No such file or directory")
        self.assertNotIn("event=backup", daemon.log())

    def test_mode_and_the_words_for_people(self):
        daemon = self.up()
        self.fill(daemon, 20)
        file = self.file(daemon)
        done = subprocess.run([os.path.join(BIN, "mailotpctl"), "--socket", daemon.admin_socket, "backup", file],
                              capture_output=True, text=True, timeout=BOUND, check=False, umask=0)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        self.assertRegex(done.stdout, r"backup\.db: [0-9.]+ [KM]iB in [0-9.]+ s; what is sealed in it needs the key file\n")
        self.assertEqual(stat.S_IMODE(os.stat(file).st_mode), 0o600)

    def test_not_on_the_apps_socket(self):
        daemon = self.up()
        self.expect(daemon.api("GET", "/v1/backup"), 404, "not_found")
        self.assertIn("backup", self.expect(daemon.admin("GET", "/v1"), 200)["features"])

    def test_no_daemon(self):
        daemon = self.new_daemon()
        file = self.file(daemon)
        self.refused(daemon.ctl("backup", file), 69, "no daemon at")
        self.assertEqual([name for name in os.listdir(daemon.folder) if name.startswith("backup")], [])

    def test_no_room(self):
        """The disk is not filled for it: so much is to be kept free that nothing is left."""
        daemon = self.up(delivery={"min_free_disk": "524288GiB"})
        self.assert_problem(daemon.admin("GET", "/v1/backup"), "storage_unavailable")
        self.assertIn("event=backup_failed", daemon.log())
        file = self.file(daemon)
        self.refused(daemon.ctl("backup", file), 75, "MiB of the disk are free")
        self.nothing_left(daemon, file)


class Cut(Backup):
    """Every end of a backup before its end."""

    @contextlib.contextmanager
    def begun(self, daemon):
        """A client that has seen the head of the answer and a part of the body, and reads no more."""
        with Raw(daemon.admin_socket) as raw:
            raw.send(http_bytes("GET", "/v1/backup"))
            while b"\r\n\r\n" not in raw.buffer:
                self.assertTrue(raw._more())
            head, _, raw.buffer = raw.buffer.partition(b"\r\n\r\n")
            self.assertTrue(head.startswith(b"HTTP/1.1 200 "), head)
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            self.assertGreater(length, 1_000_000)
            yield raw, length

    def rest(self, raw):
        """What else comes, to the end of the connection."""
        while raw._more():
            pass
        return len(raw.buffer)

    def ctl_began(self, daemon, file, **more):
        process = subprocess.Popen([os.path.join(BIN, "mailotpctl"), "--socket", daemon.admin_socket, "backup", file],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        wait_for(lambda: os.path.exists(file + ".part"), "it has begun")
        return process

    def test_a_client_that_goes_away_frees_everything(self):
        daemon = self.up()
        self.fill(daemon)
        file = self.file(daemon)
        with self.begun(daemon):
            # One at a time, and the second one is told when to come back.
            self.assert_problem(daemon.admin("GET", "/v1/backup"), "overloaded")
            done = daemon.ctl("backup", file)
            self.assertEqual(done.returncode, 75, done)
            self.assertIn("another backup is under way", done.stderr)
            self.assertIn("mailotpd.snapshot", " ".join(open_files(daemon.pid).values()))
            # Nobody waits for it.
            self.expect(daemon.api("POST", "/v1/challenges", {"recipient": "a@example.org"}), 201)
            self.expect(daemon.admin("GET", "/v1/outbox"), 200)
        wait_for(lambda: "event=backup_cut uid=" in daemon.log(), lambda: daemon.log_tail())
        self.nothing_left(daemon, file)
        self.backup(daemon, file)
        os.remove(file)
        self.nothing_left(daemon, file)

    def test_a_slow_client_gets_all_of_it(self):
        daemon = self.up()
        self.fill(daemon)
        with self.begun(daemon) as (raw, length):
            self.expect(daemon.api("POST", "/v1/challenges", {"recipient": "a@example.org"}), 201)
            while len(raw.buffer) < length:
                self.assertTrue(raw._more())
            self.assertEqual(len(raw.buffer), length)
            raw.buffer = b""
            raw.send(http_bytes("GET", "/healthz"))  # the connection goes on behind it
            self.assertEqual(raw.response().status, 200)

    def test_a_daemon_that_stops_cuts_it(self):
        daemon = self.up()
        self.fill(daemon)
        with self.begun(daemon) as (raw, length):
            self.assertEqual(daemon.stop(), 0)
            self.assertLess(self.rest(raw), length)
        self.assertIn("event=backup_cut", daemon.log())
        self.assertNotIn("event=stopping_at_once", daemon.log())
        self.assertNotIn("mailotpd.snapshot", os.listdir(daemon.state))

    def test_an_interrupted_run_leaves_nothing(self):
        daemon = self.up()
        file = self.file(daemon)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            daemon.signal(signal.SIGSTOP)  # it answers nothing for as long
            try:
                process = self.ctl_began(daemon, file)
                process.send_signal(number)
                out, err = process.communicate(timeout=BOUND)
            finally:
                daemon.signal(signal.SIGCONT)
            self.assertEqual((process.returncode, out), (1, ""), err)
            self.assertIn("interrupted", err)
            self.nothing_left(daemon, file)
        self.backup(daemon, file)

    def test_a_signal_that_is_ignored_ends_nothing(self):
        daemon = self.up()
        file = self.file(daemon)
        daemon.signal(signal.SIGSTOP)
        try:
            process = self.ctl_began(daemon, file, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
            process.send_signal(signal.SIGHUP)  # as of a terminal that is closed, under nohup
        finally:
            daemon.signal(signal.SIGCONT)
        out, err = process.communicate(timeout=BOUND)
        self.assertEqual(process.returncode, 0, (out, err))
        self.assertTrue(os.path.exists(file))

    def test_progress_on_a_terminal_is_one_line(self):
        daemon = self.up()
        file = self.file(daemon)
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        daemon.signal(signal.SIGSTOP)
        try:
            process = subprocess.Popen([os.path.join(BIN, "mailotpctl"), "--socket", daemon.admin_socket, "backup", file],
                                       stdout=subprocess.PIPE, stderr=theirs, text=True)
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
            os.close(theirs)
            said = b""
            while b"the daemon makes the snapshot" not in said:
                self.assertTrue(select.select([ours], [], [], BOUND)[0], said)
                said += os.read(ours, 4096)
        finally:
            daemon.signal(signal.SIGCONT)
        out, _ = process.communicate(timeout=BOUND)
        self.assertEqual(process.returncode, 0)
        self.assertIn("what is sealed in it needs the key file", out)
        with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
            while more := os.read(ours, 4096):
                said += more
        self.assertNotIn(b"\n", said)
        self.assertTrue(said.endswith(b"\r\x1b[K"), said)

    def answered(self, answer):
        """What mailotpctl makes of a daemon that answers these bytes and closes."""
        daemon = Daemon()
        self.addCleanup(daemon.destroy)
        file = self.file(daemon)
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(daemon.admin_socket)
        listener.listen()

        def serve():
            peer, _ = listener.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(answer)
        thread = threading.Thread(target=serve)
        thread.start()
        done = daemon.ctl("backup", file)
        thread.join(BOUND)
        self.assertFalse(os.path.lexists(file))
        self.assertFalse(os.path.lexists(file + ".part"))
        return done

    def test_what_is_no_whole_snapshot_is_not_kept(self):
        daemon = self.up()
        with open(self.backup(daemon, self.file(daemon)), "rb") as file:
            whole = file.read()
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.sqlite3\r\nContent-Length: {}\r\n\r\n"

        def of(body, length=None):
            return head.format(len(body) if length is None else length).encode() + body
        for answer, status, words in (
                (of(whole[:100_000], len(whole)), 75, "the backup was cut after 100000 bytes"),
                (of(b"", len(whole)), 75, "try again"),
                (of(whole[:-4096]), 1, f"has {len(whole) - 4096} bytes, not {len(whole)}"),
                (of(whole + bytes(4096)), 1, f"has {len(whole) + 4096} bytes"),
                (of(b"<html>" + whole[6:]), 1, "is no database"),
                (of(whole[:71] + b"p" + whole[72:]), 1, "is no snapshot of mailotpd"),
                (of(b""), 1, "is no database"),
                (b"", 75, "try again")):
            done = self.answered(answer)
            self.assertEqual((done.returncode, done.stdout), (status, ""), done)
            self.assertIn(words, done.stderr)


if __name__ == "__main__":
    unittest.main()
