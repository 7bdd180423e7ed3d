"""mailotp-imap against a real Dovecot: TLS, folders, IDLE, moves, and a person's mail that stays as it was."""
import os
import time
import unittest

import driver
import servers
from driver import CERTIFICATE, REFUSED, Agent, Memory
from mailbox_server import MailboxServer, dsn, letter, long_ago, wait_for


def setUpModule():
    global SERVER
    SERVER = MailboxServer().start()


def tearDownModule():
    SERVER.__exit__()


def ids(state):
    return sorted(name for name, _ in state)


class Dovecot(unittest.TestCase):
    def user(self):
        return self.id().rsplit(".", 1)[1].replace("_", "")[-40:]

    def test_a_notice_over_each_kind_of_tls(self):
        for tls in ("implicit", "starttls", "none"):
            with self.subTest(tls=tls):
                user = self.user() + tls
                SERVER.put(user, [dsn(1, "Tag1"), letter(2), letter(3, "Bounces+x@example.test")])
                with Agent(SERVER.settings(user, tls=tls)) as agent:
                    agent.wait_moved(2)
                    read = agent.event("read", uid=1)
                    self.assertEqual((read["addressed"], read["tags"], read["kind"]), (True, ["Tag1"], 1))
                    self.assertEqual(read["recipients"][0][0], "nobody@example.net")
                    self.assertEqual(read["size"], len(dsn(1, "Tag1")))
                self.assertEqual(ids(SERVER.state(user, "Processed")), ["<1@mx.example.net>"])
                self.assertEqual(ids(SERVER.state(user, "Unrecognised")), ["<letter3@example.org>"])
                self.assertEqual(SERVER.state(user), [("<letter2@example.org>", ())])
                self.assertEqual(SERVER.folders(user), ["INBOX", "Processed", "Unrecognised"])
                self.assertEqual(SERVER.folders(user, subscribed=True), ["Processed", "Unrecognised"])

    def test_idle_wakes_for_new_mail(self):
        user = self.user()
        with Agent(SERVER.settings(user), {"poll": 3_600_000}) as agent:
            agent.up()
            for number in range(1, 4):
                SERVER.put(user, [dsn(number)])
                agent.wait_moved(number)

    def test_idle_is_begun_anew(self):
        user = self.user()
        with Agent(SERVER.settings(user), {"poll": 3_600_000, "idle": 50}) as agent:
            agent.up()
            time_before = time.monotonic()
            wait_for(lambda: time.monotonic() > time_before + 0.5, "ten times")
            SERVER.put(user, [dsn(1)])
            agent.wait_moved(1)
            self.assertEqual([e for e in agent.of("mailbox") if not e["up"]], [])

    def test_a_refused_password_put_right(self):
        user = self.user()
        SERVER.put(user, [dsn(1)])
        with Agent(SERVER.settings(user, password="wrong")) as agent:
            self.assertEqual(agent.down("login")["trouble"], REFUSED)
            agent.set_password(servers.PASSWORD)
            agent.wait_moved(1)

    def test_the_certificate_of_another_name(self):
        with Agent(SERVER.settings(self.user(), server_name="else.test")) as agent:
            down = agent.down("tls")
            self.assertEqual(down["trouble"], CERTIFICATE)
            self.assertIn("mismatch", down["reason"])
        with Agent(SERVER.settings(self.user(), ca_file="")) as agent:
            self.assertEqual(agent.down("tls")["trouble"], CERTIFICATE)

    def test_the_server_restarts(self):
        user = self.user()
        with MailboxServer() as server:
            server.put(user, [dsn(1)])
            with Agent(server.settings(user)) as agent:
                agent.wait_moved(1)
                server.stop()
                down = agent.event("mailbox", up=False)
                server.start()
                agent.up(after=agent.events.index(down))
                server.put(user, [dsn(2)])
                agent.wait_moved(2)
                self.assertEqual(ids(server.state(user, "Processed")), ["<1@mx.example.net>", "<2@mx.example.net>"])

    def test_another_mailbox_of_the_same_name(self):
        user = self.user()
        with SERVER.client(user) as imap:
            imap.create("Bounces")
        SERVER.put(user, [dsn(1)], "Bounces")
        memory = Memory()
        with Agent(SERVER.settings(user, mailbox="Bounces"), {"poll": 100}, memory) as agent:
            agent.wait_moved(1)
            first = agent.event("opened")
            time_now = time.time()  # Dovecot's UIDVALIDITY is a time in seconds
            wait_for(lambda: time.time() > time_now + 1.1, "another second")
            seen = len(agent.events)
            with SERVER.client(user) as imap:
                imap.delete("Bounces")
                # While a session has the old folder open, Dovecot may take a new one for deleted, for good.
                agent.event("mailbox", after=seen, up=False)
                imap.create("Bounces")
            SERVER.put(user, [dsn(2), dsn(3)], "Bounces")
            again = agent.wait(lambda: next((e for e in agent.of("opened")
                                             if e["uidvalidity"] != first["uidvalidity"]), None), "opened anew")
            agent.wait(lambda: len(memory.moved) == 2, "both moved")
            self.assertNotEqual(first["uidvalidity"], again["uidvalidity"])
            self.assertEqual(len(SERVER.state(user, "Processed")), 3)

    def test_a_persons_mailbox_stays_as_it_was(self):
        user = self.user()
        SERVER.put(user, [letter(n) for n in range(1, 40)])
        SERVER.put(user, [letter(n) for n in range(40, 60)], flags="\\Seen")
        SERVER.put(user, [letter(n) for n in range(60, 70)], flags="(\\Flagged \\Answered)")
        SERVER.put(user, [letter(n) for n in range(70, 75)], flags="(\\Deleted \\Draft $Label)")
        before = SERVER.state(user)
        SERVER.put(user, [dsn(1)])
        with Agent(SERVER.settings(user), {"poll": 50}) as agent:
            agent.wait_moved(1)
            self.assertEqual(len(agent.of("read")), 75)
            SERVER.put(user, [dsn(2)])
            agent.wait_moved(2)
            self.assertEqual(SERVER.state(user), before)
            self.assertEqual(len(agent.of("read")), 76)  # none was fetched twice
        self.assertEqual(SERVER.state(user), before)

    def test_five_thousand_mails_each_once(self):
        user = self.user()
        count = 1000 if driver.SANITIZED else 5000
        SERVER.fill(user, [dsn(n) for n in range(1, count + 1)])
        with Agent(SERVER.settings(user)) as agent:
            agent.wait_moved(count)
            self.assertEqual([e["uid"] for e in agent.of("read")], list(range(1, count + 1)))
            self.assertEqual(sorted(agent.memory.moved), list(range(1, count + 1)))
            self.assertLess(agent.peak_memory(), 64 << 10)
            rate = count / (agent.of("moved")[-1]["at"] - agent.event("opened")["at"])
            print(f"{rate:.0f} mails/s, {agent.peak_memory()} KiB", flush=True)
        self.assertEqual(SERVER.state(user), [])
        self.assertEqual(ids(SERVER.state(user, "Processed")), sorted(f"<{n}@mx.example.net>" for n in range(1, count + 1)))

    def test_killed_again_and_again_each_mail_is_moved_once(self):
        user = self.user()
        SERVER.fill(user, [dsn(n) for n in range(1, 401)])
        memory = Memory()
        for stop_at in (50, 150, 250):
            with Agent(SERVER.settings(user), memory=memory) as agent:
                agent.wait(lambda at=stop_at: len(memory.reads) >= at, f"{stop_at} read")
                agent.kill()
        with Agent(SERVER.settings(user), memory=memory):
            wait_for(lambda: len(SERVER.state(user, "Processed")) == 400, "all moved")
        self.assertEqual(ids(SERVER.state(user, "Processed")), sorted(f"<{n}@mx.example.net>" for n in range(1, 401)))
        self.assertEqual(SERVER.state(user), [])

    def test_old_mails_are_expunged_from_processed(self):
        user = self.user()
        with SERVER.client(user) as imap:
            imap.create("Processed")
        SERVER.put(user, [dsn(n) for n in range(1, 6)], "Processed", date=long_ago())
        SERVER.put(user, [dsn(6)], "Processed")
        SERVER.put(user, [dsn(7)], "Processed", date=long_ago(29))
        SERVER.put(user, [dsn(8, tag="rabc")], "Processed", date=long_ago())
        SERVER.put(user, [letter(9)], "Processed", date=long_ago())  # a person's folder of the same name
        SERVER.put(user, [letter(1), letter(2)], date=long_ago())
        with Agent(SERVER.settings(user)) as agent:
            agent.up()
            self.assertEqual(ids(SERVER.state(user, "Processed")), ["<6@mx.example.net>", "<7@mx.example.net>",
                                                                   "<letter9@example.org>"])
            self.assertEqual(len(SERVER.state(user)), 2)

    def test_folders_in_other_letters_and_deeper(self):
        user = self.user()
        SERVER.put(user, [dsn(1), letter(2, "bounces@example.test")])
        with Agent(SERVER.settings(user, processed="Zurück & \"fertig\"", unrecognised="Bounces.日本語")) as agent:
            agent.wait_moved(2)
        self.assertEqual(ids(SERVER.state(user, "Zur&APw-ck &- \\\"fertig\\\"")), ["<1@mx.example.net>"])
        self.assertEqual(ids(SERVER.state(user, "Bounces.&ZeVnLIqe-")), ["<letter2@example.org>"])

    def test_a_server_with_all_folders_below_the_inbox(self):
        with MailboxServer(prefix="INBOX.") as server:
            server.put("user", [dsn(1)])
            with Agent(server.settings("user")) as agent:
                agent.wait_moved(1)
            self.assertEqual(server.folders("user"), ["INBOX", "INBOX.Processed", "INBOX.Unrecognised"])
            self.assertEqual(ids(server.state("user", "INBOX.Processed")), ["<1@mx.example.net>"])

    def test_what_another_client_does_meanwhile(self):
        user = self.user()
        SERVER.put(user, [dsn(n) for n in range(1, 31)])
        with Agent(SERVER.settings(user), memory=Memory(decide=None)) as agent:
            agent.wait(lambda: len(agent.of("read")) == 30, "all read")
            with SERVER.client(user) as imap:
                imap.select("INBOX")
                imap.store("1:10", "+FLAGS", "\\Deleted")
                imap.expunge()
            SERVER.put(user, [dsn(31)])
            agent.event("read", uid=31)
            for uid in range(1, 32):
                agent.decide(uid, driver.PROCESSED)
            agent.wait_moved(31)
        self.assertEqual(len(SERVER.state(user, "Processed")), 21)
        self.assertEqual(SERVER.state(user), [])

    def test_hostile_mails(self):
        user = self.user()
        head = b"To: bounces@example.test\r\nFrom: mailer-daemon@x.example\r\nSubject: failure\r\n"
        deep = b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n) for n in range(20000))
        many = b'Content-Type: multipart/mixed; boundary=b\r\n\r\n' + b"--b\r\n\r\n\r\n" * 30000
        mails = [
            head + b'Content-Type: multipart/mixed; boundary="\\""\r\n\r\n--"\r\n\r\nx\r\n--"--\r\n',
            head + deep, head + many,
            head + b"X: " + b"a" * 2_000_000 + b"\r\n\r\n", head + b"\r\n" + b"(" * 500_000, head + b"\r\n" + b"{99999}\r\n" * 100,
            b"", b"\r\n", b"\xff\xfe\xfd" * 1000, b"no header at all", head,
            head + b"Content-Type: message/delivery-status\r\n\r\n" + b"Final-Recipient: rfc822; <" + b"<" * 100_000,
            head + b"Content-Type: text/plain; charset=\"\"\"\"\r\nContent-Transfer-Encoding: base64\r\n\r\n=====\r\n",
            head + b"Content-Type: multipart/report; boundary=\r\n\r\n--\r\n--\r\n",
            head + b"\r\n* 1 FETCH (BODY[] {5}\r\nx)\r\nA1 OK\r\n.\r\n",
            head + b"References: " + b"<a@b> " * 100_000 + b"\r\n\r\n", head + b"\r\n" + b"x" * 5_000_000,
        ]
        # By the file: APPEND refuses some of them.
        SERVER.fill(user, mails + [dsn(1)])
        with Agent(SERVER.settings(user)) as agent:
            read = agent.event("read", uid=len(mails) + 1)
            self.assertEqual(read["kind"], 1)
            self.assertEqual([e["uid"] for e in agent.of("read")], list(range(1, len(mails) + 2)))
            self.assertEqual(agent.event("read", uid=len(mails))["size"] > 5_000_000, True)
            self.assertLess(agent.peak_memory(), 64 << 10)
            self.assertEqual([e for e in agent.of("mailbox") if not e["up"]], [])

    def test_it_can_open_no_file_of_ours(self):
        user = self.user()
        with Agent(SERVER.settings(user)) as agent:
            ready = agent.event("ready")
            self.assertEqual(ready["pid"], agent.child.pid)
            agent.up()
            names = [os.readlink(f"/proc/{agent.child.pid}/fd/{number}")
                     for number in os.listdir(f"/proc/{agent.child.pid}/fd")]
            self.assertEqual([name for name in names if name.startswith("/") and not name.startswith("/dev/null")
                              and "(deleted)" not in name], [])
            with open(f"/proc/{agent.child.pid}/status", encoding="ascii") as status:
                self.assertIn("NoNewPrivs:\t1", status.read())


if __name__ == "__main__":
    unittest.main()
