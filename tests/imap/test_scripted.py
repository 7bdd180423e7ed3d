"""mailotp-imap against a server that misbehaves at every step."""
import base64
import shutil
import time
import unittest

import driver
import servers
from driver import CERTIFICATE, ORDINARY, REFUSED, Agent, Memory
from mailbox_server import dsn
from scripted_imap import CAPABILITIES, Mailbox, ScriptedImap

# So short that the tests do not take long, so long that a slow program is not taken for a stalled server.
STEP = 2000 if driver.SANITIZED else 400
QUICK = {"connect": 5 * STEP, "tls": STEP, "command": STEP, "fetch": STEP}


def first_time(act):
    """A hook that acts once; later the server behaves."""
    done = []

    def hook(session, tag, arguments):
        if done:
            return False
        done.append(1)
        act(session, tag, arguments)
        return True
    return hook


def saying(text):
    """A hook that says something and then answers as usual."""
    def hook(session, _tag, _arguments):
        session.send(text)
        return False
    return hook


class Misbehaving(unittest.TestCase):
    def recovers(self, server, step, limits=None, trouble=ORDINARY, **settings):
        """The fault is reported once with its step, and then every mail is read and moved once."""
        with Agent(server.settings(**settings), {**QUICK, **(limits or {})}) as agent:
            down = agent.down(step)
            self.assertEqual(down["trouble"], trouble, down)
            agent.up(after=agent.events.index(down))
            agent.wait_moved(3)
            self.assertEqual(sorted(agent.memory.moved), [1, 2, 3])
            self.assertEqual(server.mailbox.folders["Processed"], [1, 2, 3])
            return down

    def works(self, server, limits=None, count=3, **settings):
        with Agent(server.settings(**settings), {**QUICK, **(limits or {})}) as agent:
            agent.up()
            agent.wait_moved(count)
            self.assertEqual(sorted(agent.memory.moved), list(range(1, count + 1)))
            self.assertEqual([e for e in agent.of("mailbox") if not e["up"]], [])
            return agent

    def test_a_stall_or_a_cut_at_every_step(self):
        steps = {"greeting": "greeting", "CAPABILITY": "login", "LOGIN": "login", "LIST": "folders",
                 "CREATE": "folders", "SUBSCRIBE": "folders", "SELECT": "sweep", "FETCH": "fetch",
                 "UID FETCH": "fetch", "UID MOVE": "move"}
        for verb, step in steps.items():
            for fault in ("stall", "cut"):
                with self.subTest(verb=verb, fault=fault):
                    hook = first_time(lambda session, *_, fault=fault: getattr(session, fault)())
                    with ScriptedImap(hooks={verb: hook}) as server:
                        down = self.recovers(server, step)
                        self.assertIn("time" if fault == "stall" else "clos", down["reason"])

    def test_a_stall_of_idle(self):
        with ScriptedImap(hooks={"IDLE": first_time(lambda session, *_: session.stall())}) as server:
            with Agent(server.settings(), QUICK) as agent:
                agent.wait_moved(3)
                down = agent.down("idle")
                agent.up(after=agent.events.index(down))

    def test_cut_inside_a_literal(self):
        def cut(session, _tag, _arguments):
            session.send("* 1 FETCH (UID 1 BODY[]<0> {1000}\r\nonly so much")
            session.cut()
        with ScriptedImap(hooks={"UID FETCH": first_time(cut)}) as server:
            self.recovers(server, "fetch")

    def test_bytes_that_drip_for_ever_end_at_the_deadline(self):
        def drip(session, _tag, _arguments):
            session.send("* 1 FETCH (UID 1 BODY[]<0> {1000}\r\n")
            while True:
                session.send("x")
                time.sleep(0.02)
        with ScriptedImap(hooks={"UID FETCH": first_time(drip)}) as server:
            self.assertIn("in time", self.recovers(server, "fetch")["reason"])

    def test_untagged_lines_without_end(self):
        def flood(session, _tag, _arguments):
            while True:
                session.send("* OK still here\r\n" * 1000)
        for verb, step in (("CAPABILITY", "login"), ("FETCH", "fetch")):
            with ScriptedImap(hooks={verb: first_time(flood)}) as server:
                with self.subTest(verb=verb), Agent(server.settings(), {**QUICK, "command": 30_000}) as agent:
                    down = agent.down(step)
                    self.assertIn("more than its answer may hold", down["reason"])
                    agent.up(after=agent.events.index(down))
                    agent.wait_moved(3)
                    self.assertLess(agent.peak_memory(), 64 << 10)

    def test_a_line_without_end(self):
        def flood(session, tag, _arguments):
            session.send(f"* CAPABILITY {'A' * (3 << 20)}\r\n{tag} OK\r\n")
        with ScriptedImap(hooks={"CAPABILITY": first_time(flood)}) as server:
            self.assertIn("no end", self.recovers(server, "login")["reason"])

    def test_a_huge_literal_is_not_taken(self):
        for size in (300_000, 4_294_967_295, 99_999_999_999_999):
            def announce(session, _tag, _arguments, size=size):
                session.send(f"* 1 FETCH (UID 1 BODY[]<0> {{{size}}}\r\nx")
                session.stall()
            with self.subTest(size=size), ScriptedImap(hooks={"UID FETCH": first_time(announce)}) as server:
                self.assertIn("literal", self.recovers(server, "fetch", {"fetch": 30_000})["reason"])

    def test_what_crashes_libetpan_is_kept_away_from_it(self):
        garbage = ("* OK [BADCHARSET (\"x\")] x\r\n" "* OK [BADCHARSET (\r\n" "* OK [PERMANENTFLAGS (\"x\" hi\r\n"
                   "* OK [PERMANENTFLAGS (\\*)] ok\r\n" "* NO [" "\r\n" "* OK [UIDVALIDITY\r\n"
                   "* FLAGS (((((((\r\n" "* STATUS \"x (\r\n" "* LSUB\r\n" "* SORT 1 2 x\r\n" "* 12\r\n"
                   "* 1 FOO\r\n" "* ESEARCH (TAG \"A\") {3}\r\nabc\r\n" "* ENABLED \xff\r\n" "* OK\r\n")
        verbs = ("LOGIN", "LIST", "CREATE", "SELECT", "FETCH", "UID FETCH", "UID MOVE", "NOOP", "IDLE")
        with ScriptedImap(hooks={verb: saying(garbage) for verb in verbs}) as server:
            self.works(server, {"poll": 50})

    def test_a_capability_answer_without_data(self):
        with ScriptedImap(hooks={"CAPABILITY": lambda session, tag, _: session.send(f"{tag} OK\r\n") or True}) \
                as server:
            self.works(server)  # as a server that can do nothing more: COPY, EXPUNGE, NOOP
            self.assertEqual(server.count("UID MOVE") + server.count("IDLE"), 0)

    def test_garbage_in_fetch_ends_the_session_only(self):
        bad = ["* 1 FETCH " + "(" * 100_000 + "\r\n", "* 1 FETCH (UID\r\n", "* 1 FETCH (UID 1 \"x\r\n",
               "* 1 FETCH (ENVELOPE (((\r\n", "* 1 FETCH (BODYSTRUCTURE (\"a\" \"b\" NIL))\r\n",
               "* 1 FETCH (UID 99999999999999999999)\r\n", "* 1 FETCH (BODY[]<0> {1}\r\n\r\n", "\0\0\0\r\n",
               "what is this\r\n", "* 1 FETCH (UID 1 \0)\r\n", "* 1 FETCH (UID 1 FLAGS (\\Seen \\\\))\r\n"]
        for text in bad:
            def answer(session, tag, _arguments, text=text):
                session.send(text + f"{tag} OK\r\n")
            with self.subTest(text=text[:40]), ScriptedImap(hooks={"UID FETCH": first_time(answer)}) as server:
                with Agent(server.settings(), QUICK) as agent:
                    agent.wait(lambda: len(server.mailbox.folders.get("Processed", [])) >= 2, "the others moved")
                    self.assertIsNone(agent.child.poll())

    def test_without_move(self):
        with ScriptedImap(capabilities=CAPABILITIES.replace(" MOVE", "")) as server:
            self.works(server)
            self.assertEqual(server.mailbox.folders["Processed"], [1, 2, 3])
            self.assertEqual(server.mailbox.mails, {})
            self.assertGreater(server.count("UID EXPUNGE"), 0)
            self.assertEqual(server.count("EXPUNGE"), 0)

    def test_without_uidplus_only_our_own_mail_is_expunged(self):
        plain = CAPABILITIES.replace(" MOVE", "").replace(" UIDPLUS", "")
        with ScriptedImap(capabilities=plain) as server:
            self.works(server)
            self.assertEqual(server.mailbox.mails, {})
        with ScriptedImap(capabilities=plain, mails=[dsn(1), dsn(2), dsn(3), b"Subject: mine\r\n\r\nx\r\n"]) as server:
            server.mailbox.deleted = {4}  # a person's, not yet expunged
            self.works(server)
            self.assertEqual(server.count("EXPUNGE"), 0)
            self.assertIn(4, server.mailbox.mails)
            self.assertEqual(server.mailbox.deleted, {1, 2, 3, 4})

    def test_without_idle_the_server_is_asked(self):
        with ScriptedImap(capabilities=CAPABILITIES.replace("IDLE ", "")) as server:
            with Agent(server.settings(), {"noop": 50}) as agent:
                agent.wait_moved(3)
                server.mailbox.mails[9] = dsn(9)
                server.hooks["NOOP"] = saying("* 1 EXISTS\r\n")
                agent.wait_moved(4)
                self.assertEqual(server.count("IDLE"), 0)

    def test_idle_with_a_line_before_the_plus(self):
        with ScriptedImap(hooks={"IDLE": saying("* OK before\r\n* 3 RECENT\r\n")}) as server:
            with Agent(server.settings(), QUICK) as agent:
                agent.wait_moved(3)
                server.mailbox.mails[9] = dsn(9)
                server.untagged.append("* 1 EXISTS\r\n")
                agent.wait_moved(4)
                self.assertFalse([e for e in agent.of("mailbox") if not e["up"]])

    def test_mail_is_found_although_idle_says_nothing(self):
        with ScriptedImap() as server:
            server.hooks["NOOP"] = lambda session, tag, _: session.send(
                f"* {len(server.mailbox.mails)} EXISTS\r\n{tag} OK\r\n") or True
            with Agent(server.settings(), {"poll": 100}) as agent:
                agent.wait_moved(3)
                server.mailbox.mails[9] = dsn(9)
                agent.wait_moved(4)

    def test_idle_refused_is_a_fault_not_a_storm(self):
        with ScriptedImap(hooks={"IDLE": lambda session, tag, _: session.send(f"{tag} NO not now\r\n") or True}) \
                as server:
            with Agent(server.settings(), {**QUICK, "backoff_first": 10_000, "backoff_most": 10_000}) as agent:
                self.assertIn("not now", agent.down("idle")["reason"])
                self.assertEqual(server.count("IDLE"), 1)

    def test_bye(self):
        for verb, step in (("SELECT", "sweep"), ("IDLE", "idle")):
            def bye(session, _tag, _arguments):
                session.send("* BYE going down\r\n")
                session.cut()
            with self.subTest(verb=verb), ScriptedImap(hooks={verb: first_time(bye)}) as server:
                with Agent(server.settings(), QUICK) as agent:
                    down = agent.down(step)
                    self.assertIn("going down", down["reason"])
                    agent.up(after=agent.events.index(down))
        with ScriptedImap(hooks={"greeting": first_time(lambda s, *_: s.send("* BYE too busy\r\n") or s.cut())}) \
                as server:
            self.assertIn("too busy", self.recovers(server, "greeting")["reason"])

    def test_login_disabled(self):
        with ScriptedImap(capabilities=CAPABILITIES + " LOGINDISABLED") as server:
            with Agent(server.settings(), QUICK) as agent:
                self.assertEqual(agent.down("login")["trouble"], REFUSED)
                self.assertEqual(server.count("LOGIN"), 0)

    def test_a_refused_password_waits_for_another_one(self):
        with ScriptedImap() as server:
            with Agent(server.settings(password="wrong"), QUICK) as agent:
                down = agent.down("login")
                self.assertEqual(down["trouble"], REFUSED)
                self.assertNotIn("wrong\"", down["reason"])
                agent.set_password("wrong")  # the daemon read the same again
                agent.set_password("wrong too")
                second = agent.down("login", after=agent.events.index(down) + 1)
                self.assertEqual(server.count("LOGIN"), 2)
                agent.set_password("right")
                agent.up(after=agent.events.index(second))
                agent.wait_moved(3)
                self.assertEqual(server.count("LOGIN"), 3)

    def test_a_refused_password_is_tried_again_after_its_pause(self):
        with ScriptedImap() as server:
            server.password = "changed"
            with Agent(server.settings(), {**QUICK, "refused_pause": 300}) as agent:
                agent.down("login")
                server.password = "right"
                agent.up()

    def test_a_login_that_cannot_be_done_now_is_no_refused_password(self):
        def later(session, tag, _arguments):
            session.send(f"{tag} NO [UNAVAILABLE] later\r\n")
        with ScriptedImap(hooks={"LOGIN": first_time(later)}) as server:
            self.recovers(server, "login", trouble=ORDINARY)

    def test_a_password_with_a_line_break_is_not_sent(self):
        for auth, verb in (("login", "LOGIN"), ("xoauth2", "AUTHENTICATE")):
            with self.subTest(auth=auth), ScriptedImap() as server:
                with Agent(server.settings(password="a\r\nX DELETE INBOX", auth=auth), QUICK) as agent:
                    self.assertIn("line break", agent.down("login")["reason"])
                    self.assertEqual(server.count(verb), 0)

    def test_without_a_password_nothing_is_tried(self):
        """Its file could not be read: a failed login more is what a server bans people for."""
        for auth, verb in (("login", "LOGIN"), ("xoauth2", "AUTHENTICATE")):
            with self.subTest(auth=auth), ScriptedImap() as server:
                with Agent(server.settings(password="", auth=auth), QUICK) as agent:
                    down = agent.down("login")
                    self.assertEqual(down["trouble"], REFUSED, down)
                    self.assertEqual(server.count(verb), 0)
                    if auth == "login":
                        agent.set_password("right")
                        agent.up(after=agent.events.index(down))

    def test_xoauth2(self):
        seen = []

        def authenticate(session, tag, arguments):
            _, _, initial = arguments.partition(" ")
            if not initial:
                session.send("+ \r\n")
                initial = session.line()
            seen.append(base64.b64decode(initial))
            if b"good" in seen[-1]:
                session.send(f"{tag} OK in\r\n")
            else:
                session.send("+ eyJzdGF0dXMiOiI0MDEifQ==\r\n")
                session.line()
                session.send(f"{tag} NO [AUTHENTICATIONFAILED] expired\r\n")
            return True
        with ScriptedImap(hooks={"AUTHENTICATE": authenticate}) as server:
            self.works(server, auth="xoauth2", password="good-token")
            self.assertEqual(seen, [b"user=bounces\x01auth=Bearer good-token\x01\x01"])
            server.mailbox = Mailbox([dsn(1)])
            with Agent(server.settings(auth="xoauth2", password="old"), QUICK) as agent:
                down = agent.down("login")
                self.assertEqual(down["trouble"], REFUSED, down)
                agent.set_password("good")
                agent.up()

    def test_starttls_injection_is_refused(self):
        folder = servers.make_folder("mailotp-imap-tls-")
        self.addCleanup(shutil.rmtree, folder)
        authority = servers.Authority(folder)
        certificate = authority.server("imap")

        def inject(session, tag, _arguments):
            session.send(f"{tag} OK go\r\n* 1 EXISTS\r\nA1 OK welcome\r\n")
            session.secure()
        with ScriptedImap(hooks={"STARTTLS": first_time(inject)}, tls="starttls", certificate=certificate) as server:
            down = self.recovers(server, "starttls", {"tls": 5000}, ca_file=authority.file)
            self.assertIn("somebody else", down["reason"])
            self.assertEqual(server.count("LOGIN"), 1)  # of the second connection

    def test_starttls_that_is_not_offered_sends_no_password(self):
        with ScriptedImap(tls="none") as server:
            server.hooks["STARTTLS"] = lambda session, tag, _: session.send(f"{tag} BAD no\r\n") or True
            with Agent(server.settings(tls="starttls"), QUICK) as agent:
                agent.down("starttls")
                self.assertEqual(server.count("LOGIN"), 0)

    def test_certificates(self):
        folder = servers.make_folder("mailotp-imap-tls-")
        self.addCleanup(shutil.rmtree, folder)
        authority = servers.Authority(folder)
        other = servers.Authority(folder, "other")
        cases = {"expired": authority.server("expired", expired=True), "self-signed": authority.server("own", self_signed=True),
                 "other CA": other.server("foreign"), "other name": authority.server("named", host="else.test")}
        for name, certificate in cases.items():
            with self.subTest(certificate=name), ScriptedImap(tls="implicit", certificate=certificate) as server:
                with Agent(server.settings(ca_file=authority.file), {"tls": 5000}) as agent:
                    down = agent.down("tls")
                    self.assertEqual(down["trouble"], CERTIFICATE, down)
                    self.assertEqual(server.commands, [])

    def test_no_tls_only_on_this_machine(self):
        with Agent({"port": 143, "host": "192.0.2.1", "tls": "none"}) as agent:
            self.assertIn("is not this machine", agent.down("connect")["reason"])

    def test_a_folder_behind_the_namespace(self):
        def create(session, tag, arguments):
            if arguments.strip('"').startswith("INBOX."):
                return False
            session.send(f"{tag} NO no such namespace\r\n")
            return True
        namespace = {"NAMESPACE": lambda session, tag, _: session.send(
            f'* NAMESPACE (("INBOX." ".")) NIL NIL\r\n{tag} OK\r\n') or True}
        root = {"LIST": lambda session, tag, arguments: arguments == '"" ""' and session.send(
            f'* LIST (\\Noselect) "." ""\r\n{tag} OK\r\n') is None}
        for hooks, capabilities in ((namespace, CAPABILITIES), (root, CAPABILITIES.replace(" NAMESPACE", ""))):
            with ScriptedImap(hooks={"CREATE": create, **hooks}, capabilities=capabilities) as server:
                self.works(server)
                self.assertEqual(sorted(server.mailbox.folders), ["INBOX.Processed", "INBOX.Unrecognised"])

    def test_two_names_of_one_folder_are_refused(self):
        namespace = {"NAMESPACE": lambda session, tag, _: session.send(
            f'* NAMESPACE (("INBOX." ".")) NIL NIL\r\n{tag} OK\r\n') or True}
        with ScriptedImap(hooks=namespace) as server:
            server.mailbox.folders["INBOX.Processed"] = []
            with Agent(server.settings(mailbox="INBOX.Processed"), QUICK) as agent:
                self.assertIn("not three folders", agent.down("folders")["reason"])
                self.assertEqual(server.count("SELECT"), 0)

    def test_a_folder_that_is_removed_is_made_again(self):
        def gone(session, tag, _arguments):
            session.box.folders.clear()
            session.send(f"{tag} NO [TRYCREATE] gone\r\n")
        with ScriptedImap(hooks={"UID MOVE": first_time(gone)}) as server:
            self.works(server)
            self.assertEqual(server.mailbox.folders["Processed"], [1, 2, 3])

    def test_a_new_uidvalidity_starts_over(self):
        with ScriptedImap() as server:
            with Agent(server.settings(), QUICK) as agent:
                agent.event("opened", uidvalidity=7)
                agent.wait_moved(3)
                server.mailbox.mails = {1: dsn(11), 2: dsn(12)}
                server.mailbox.uidvalidity = 8
                server.untagged.append("* OK [UIDVALIDITY 8] new\r\n* 2 EXISTS\r\n")
                agent.event("opened", uidvalidity=8)
                agent.wait(lambda: sorted(agent.memory.moved) == [1, 2], "both moved")

    def test_a_mail_that_is_gone_counts_as_moved(self):
        def vanish(session, tag, arguments):
            if arguments.startswith("2 "):
                session.box.mails.pop(2, None)
                session.send(f"{tag} OK\r\n")
                return True
            return False
        with ScriptedImap(hooks={"UID FETCH": vanish}) as server:
            with Agent(server.settings(), QUICK) as agent:
                agent.wait_moved(3)
                self.assertEqual(sorted(agent.memory.reads), [1, 3])

    def test_mails_that_another_client_expunged_before_they_were_listed(self):
        """More of them than one command lists; the server tells of it after NOOP alone (RFC 9051 section 7.5.1)."""
        told = []

        def select(session, tag, arguments):
            if told or arguments.strip('"') != "INBOX":
                return False
            session.send(f"* 513 EXISTS\r\n* OK [UIDVALIDITY 7] ok\r\n{tag} OK [READ-WRITE] done\r\n")
            return True

        def fetch(session, tag, arguments):
            if told:
                return False
            first, _, last = arguments.split(" ")[0].partition(":")
            for uid in session.box.mails:
                if int(first) <= uid <= int(last or first):
                    session.send(f"* {uid} FETCH (UID {uid} RFC822.SIZE {len(session.box.mails[uid])})\r\n")
            session.send(f"{tag} OK\r\n")
            return True

        def noop(session, _tag, _arguments):
            if not told:
                session.send("* 1 EXPUNGE\r\n" * 510)
                told.append(1)
            return False
        with ScriptedImap(hooks={"SELECT": select, "FETCH": fetch, "NOOP": noop}) as server:
            server.mailbox.mails = {uid: dsn(uid) for uid in (511, 512, 513)}
            with Agent(server.settings()) as agent:
                agent.wait_moved(3)
                self.assertEqual(sorted(agent.memory.moved), [511, 512, 513])
                self.assertLess(server.count("FETCH"), 40)

    def test_a_mail_that_the_server_cannot_give_stops_nothing(self):
        bad = {"cut": lambda session, tag: session.cut(),
               "refused": lambda session, tag: session.send(f"{tag} NO [SERVERBUG] corrupt\r\n"),
               "nonsense": lambda session, tag: session.send(f"* 1 FETCH (((\r\n{tag} OK\r\n")}
        for name, act in bad.items():
            def fetch(session, tag, arguments, act=act):
                if arguments.startswith("2 "):
                    session.box.fetched.append(2)
                    act(session, tag)
                    return True
                return False
            with self.subTest(fault=name), ScriptedImap(hooks={"UID FETCH": fetch}) as server:
                with Agent(server.settings(), QUICK) as agent:
                    agent.wait_moved(2)
                    read = agent.event("read", uid=2)
                    self.assertEqual((read["addressed"], read["kind"], read["size"]), (False, 0, len(dsn(2))))
                    self.assertEqual(server.mailbox.fetched.count(2), 3)  # the last time behind 3
                    self.assertIn(2, server.mailbox.mails)  # it is left
                    agent.event("log")

    def test_a_mail_that_could_not_be_given_for_a_while_is_read(self):
        fails = []

        def fetch(session, tag, arguments):
            if arguments.startswith("1 ") and len(fails) < 2:
                fails.append(1)
                session.cut()
            return False
        for mails in ([dsn(1), dsn(2)], [dsn(1)]):
            fails.clear()
            with self.subTest(mails=len(mails)), ScriptedImap(mails=mails, hooks={"UID FETCH": fetch}) as server:
                with Agent(server.settings(), {**QUICK, "poll": 300}) as agent:
                    agent.wait_moved(len(mails))
                    self.assertEqual(agent.event("read", uid=1)["kind"], 1)

    def test_a_server_that_can_give_no_mail_loses_none(self):
        with ScriptedImap(hooks={"UID FETCH": lambda session, tag, _: session.cut()}) as server:
            with Agent(server.settings(), QUICK) as agent:
                agent.wait(lambda: len(agent.of("next")) >= 8, "many attempts")
                self.assertEqual(agent.of("read"), [])
                del server.hooks["UID FETCH"]
                agent.wait_moved(3)
                self.assertEqual([e["kind"] for e in agent.of("read")], [1, 1, 1])

    def test_poison_is_moved_and_never_fetched(self):
        memory = Memory()
        memory.poison = [2]
        with ScriptedImap() as server, Agent(server.settings(), QUICK, memory) as agent:
            agent.wait_moved(3)
            self.assertEqual(server.mailbox.fetched, [1, 3])
            self.assertEqual(server.mailbox.folders["Unrecognised"], [2])
            self.assertEqual(agent.memory.moved[0], 2)
            self.assertEqual(sorted(memory.reads), [1, 3])

    def test_undecided_mails_are_bounded(self):
        with ScriptedImap(mails=[dsn(i) for i in range(1, 201)]) as server:
            with Agent(server.settings(), QUICK, Memory(decide=None)) as agent:
                agent.wait(lambda: len(agent.of("read")) == 64, "64 mails read")
                agent.wait(lambda: server.count("IDLE") > 0, "it rests")
                self.assertEqual(len(server.mailbox.fetched), 64)
                for uid in range(1, 65):
                    agent.decide(uid, driver.PROCESSED)
                agent.wait(lambda: len(agent.of("read")) == 128, "64 more")

    def test_next_is_said_before_the_fetch(self):
        heard = {}
        with ScriptedImap() as server:
            agent = None

            def fetch(_session, _tag, arguments):
                uid = int(arguments.split(" ")[0])
                # It is with our kernel; the thread that reads it may not have been there yet.
                agent.event("next", uid=uid)
                heard[uid] = [e["uid"] for e in agent.of("next")]
                return False
            server.hooks["UID FETCH"] = fetch
            agent = Agent(server.settings(), QUICK, answer_opened=False)
            with agent:
                opened = agent.event("opened")
                agent.send(agent.memory.resume(opened["uidvalidity"]))
                agent.wait_moved(3)
        self.assertEqual(heard, {1: [1], 2: [1, 2], 3: [1, 2, 3]})

    def test_killed_between_read_and_move(self):
        memory = Memory(decide=None)
        with ScriptedImap(mails=[dsn(i) for i in range(1, 21)]) as server:
            with Agent(server.settings(), QUICK, memory) as agent:
                agent.wait(lambda: len(agent.of("read")) == 20, "all read")
                agent.kill()
            self.assertEqual(len(server.mailbox.mails), 20)
            for uid in range(1, 16):
                memory.decided[uid] = driver.PROCESSED  # committed, and the agent never knew
            memory.decide = driver.by_report
            with Agent(server.settings(), QUICK, memory) as agent:
                agent.wait_moved(20)
                self.assertEqual(sorted(memory.moved), list(range(1, 21)))
                self.assertEqual(sorted(server.mailbox.folders["Processed"]), list(range(1, 21)))
                self.assertEqual(sorted(server.mailbox.fetched)[-5:], [18, 18, 19, 19, 20, 20][-5:])
                self.assertEqual([e["uid"] for e in agent.of("read")], [16, 17, 18, 19, 20])

    def test_a_drain_ends_it_whatever_it_waits_for(self):
        for verb in ("greeting", "LOGIN", "UID FETCH"):
            with self.subTest(verb=verb), ScriptedImap(hooks={verb: lambda session, *_: session.stall()}) as server:
                agent = Agent(server.settings())
                agent.wait(lambda: server.connections and (verb == "greeting" or server.count(verb)), verb)
                agent.send([6, 100])
                self.assertEqual(agent.child.wait(driver.BOUND), 0)
                agent._collect()

    def test_the_end_of_the_daemon_ends_it(self):
        with ScriptedImap() as server:
            agent = Agent(server.settings())
            agent.wait_moved(3)
            agent.channel.shutdown(2)
            self.assertEqual(agent.child.wait(driver.BOUND), 0)
            agent._collect()

    def test_nonsense_of_the_daemon_ends_it(self):
        with ScriptedImap() as server:
            agent = Agent(server.settings())
            agent.up()
            agent.send([99, 1])
            self.assertEqual(agent.child.wait(driver.BOUND), 4)
            agent._collect()


if __name__ == "__main__":
    unittest.main()
