"""Each bounce is counted once and filed once, whoever dies and whatever is cut in between."""
import os
import random
import signal
import unittest

from bounces import FAR, BouncesTest, dsn
from harness import is_alive, wait_for
import bounce_servers

BUILT_IN = os.environ.get("MAILOTP_CRASH_POINTS", "ON") == "ON"


class OnceTest(BouncesTest):
    _users = 0

    def create_unknown(self, daemon, count):
        """Challenges of addresses that do not exist, by address."""
        found = {}
        for _ in range(count):
            OnceTest._users += 1
            address = f"nobody{OnceTest._users}@example.test"
            found[address] = self.create(daemon, address)
        return found

    def assert_once(self, daemon, challenges, unrecognised=0):
        """Each has its verdict, its row and its mail in the folder."""
        for challenge in challenges.values():
            self.assertEqual(self.wait_bounced(daemon, challenge)["class"], "user-unknown")
        self.wait_filed(processed=len(challenges), unrecognised=unrecognised, daemon=daemon)
        self.assert_each_once(daemon, challenges)
        self.assertEqual(daemon.admin("GET", "/v1/stats").json["bounces"], {"user-unknown": len(challenges)})

    def relayed(self, daemon, count):
        """Mails that the far relay has taken: for bounces that the test delivers itself."""
        found = {}
        for _ in range(count):
            OnceTest._users += 1
            address = f"away{OnceTest._users}@{FAR}"
            found[address] = self.create(daemon, address)
            self.wait_relayed(daemon, found[address])
        return found

    def bounce_of(self, address):
        sent = self.sent_to(address)
        return sent.return_path, dsn(sent.return_path, address, envid=sent.envid, original=sent.headers)


class Server(OnceTest):
    def test_dovecot_restarts(self):
        daemon = self.up()
        agent = self.imap_agent(daemon)
        before = self.create_unknown(daemon, 3)
        self.assert_once(daemon, before)
        self.dovecot.stop()
        self.wait_mailbox(daemon, "down")
        during = self.create_unknown(daemon, 3)
        for challenge in during.values():
            self.wait_relayed(daemon, challenge)
        self.dovecot.start()
        self.assert_once(daemon, {**before, **during})
        self.wait_mailbox(daemon, "up")
        self.assertEqual(self.imap_agent(daemon), agent, "a server that goes away is no reason to die")
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())

    def test_dovecot_restarts_with_mails_waiting(self):
        """They came while nobody looked."""
        daemon = self.up()
        challenges = self.relayed(daemon, 5)
        self.dovecot.stop()
        self.wait_mailbox(daemon, "down")
        for number, address in enumerate(challenges):
            self.dovecot.drop_in(self.mailbox, self.bounce_of(address)[1].replace(b"\r\n", b"\n"), f"{number}.waiting")
        self.dovecot.start()
        self.assert_once(daemon, challenges)


class Cut(OnceTest):
    """A proxy before Dovecot; without TLS, so that it sees where it cuts."""

    def setUp(self):
        self.proxy = bounce_servers.CuttingProxy(self.dovecot.imap_port)
        self.addCleanup(self.proxy.stop)

    def behind_proxy(self):
        return self.up(imap={"port": self.proxy.port, "tls": "none"})

    def cut_new_sessions(self, daemon, places):
        """A session for each of the places, which ends there, with a bounce for each."""
        challenges = {}
        for place in places:
            before = self.proxy.cuts
            self.proxy.cut(bounce_servers.after_bytes(place))
            self.proxy.drop()
            challenges.update(self.create_unknown(daemon, 1))
            wait_for(lambda: self.proxy.cuts > before,
                     lambda place=place: f"a session is cut after {place} bytes; {daemon.log_tail()}")
            self.assert_once(daemon, challenges)
        self.wait_mailbox(daemon, "up")

    def assert_cut_and_once(self, daemon, challenges):
        self.assert_once(daemon, challenges)
        self.assertEqual(self.proxy.cuts, 1, "the connection was cut where it was meant to be")
        self.wait_mailbox(daemon, "up")
        more = self.create_unknown(daemon, 1)
        self.assert_once(daemon, {**challenges, **more})

    def test_inside_a_literal(self):
        for after in (0, 1, 1000):
            with self.subTest(after=after):
                self.setUp()
                daemon = self.behind_proxy()
                self.proxy.cut(bounce_servers.inside_literal(after))
                self.assert_cut_and_once(daemon, self.create_unknown(daemon, 2))

    def test_before_the_answer_to_a_move(self):
        """The mail is gone, and the agent does not know."""
        daemon = self.behind_proxy()
        self.proxy.cut(lambda said, _: said.index(b"[COPYUID") - 5 if b"[COPYUID" in said else None)
        self.assert_cut_and_once(daemon, self.create_unknown(daemon, 2))

    def test_before_the_mailbox_is_open(self):
        """In the greeting, the login and the folders."""
        self.cut_new_sessions(self.behind_proxy(), (20, 250, 600))

    def test_under_tls(self):
        """In the handshake, and in what follows it."""
        self.proxy = bounce_servers.CuttingProxy(self.dovecot.imaps_port)
        self.addCleanup(self.proxy.stop)
        self.cut_new_sessions(self.up(imap={"port": self.proxy.port}), (100, 2000, 3500))


class UidValidity(OnceTest):
    def test_another_numbering(self):
        """The folder was restored from a copy, with mails that were counted long ago in it."""
        daemon = self.up()
        challenges = self.create_unknown(daemon, 3)
        self.assert_once(daemon, challenges)
        with self.dovecot.imap(self.mailbox) as imap:
            imap.select("Processed", readonly=True)
            self.assertEqual(imap.uid("COPY", "1:*", "INBOX")[0], "OK")
        # The three copies have new UIDs already: they are known by what they are.
        self.wait_filed(processed=6, daemon=daemon)
        self.assert_each_once(daemon, challenges)
        self.dovecot.stop()
        self.wait_mailbox(daemon, "down")
        old, new = self.dovecot.change_uidvalidity(self.mailbox)
        self.assertNotEqual(old, new)
        self.dovecot.start()
        self.wait_mailbox(daemon, "up")
        # Their UIDs start at 1 again: below what was read before.
        more = self.create_unknown(daemon, 2)
        for challenge in more.values():
            self.wait_bounced(daemon, challenge)
        self.wait_filed(processed=8, daemon=daemon)
        self.assert_each_once(daemon, {**challenges, **more})

    @unittest.skipUnless(BUILT_IN, "this build has no crash points: test_crash_points has shown it")
    def test_between_commit_and_move(self):
        """Counted, not yet moved, and then the mailbox numbers its mails anew."""
        daemon = self.bounce_daemon()
        self.start(daemon, {"MAILOTP_CRASH": "mail_recorded:1"})
        challenges = self.relayed(daemon, 1)
        (address,) = challenges
        self.dovecot.deliver(*self.bounce_of(address))
        self.assertEqual(daemon.wait(), -signal.SIGKILL)
        self.assertEqual(self.counts()["INBOX"], 1)
        self.dovecot.stop()
        self.dovecot.change_uidvalidity(self.mailbox)
        self.dovecot.start()
        self.start(daemon)
        self.assert_once(daemon, challenges)


@unittest.skipUnless(BUILT_IN, "this build has no crash points: test_crash_points has shown it")
class DaemonDies(OnceTest):
    def test_between_commit_and_move(self):
        for hit in (1, 2, 3):
            with self.subTest(hit=hit):
                daemon = self.bounce_daemon()
                self.start(daemon, {"MAILOTP_CRASH": f"mail_recorded:{hit}"})
                challenges = self.relayed(daemon, 3)
                for address in challenges:
                    self.dovecot.deliver(*self.bounce_of(address))
                self.assertEqual(daemon.wait(), -signal.SIGKILL)
                self.assertGreater(self.counts()["INBOX"], 0, "it died before that mail was moved")
                self.start(daemon)
                self.assert_once(daemon, challenges)

    def test_each_start_goes_on_where_the_last_one_ended(self):
        """Three deaths, each with one mail more that is counted and not moved."""
        daemon = self.bounce_daemon()
        self.start(daemon)
        challenges = self.relayed(daemon, 3)
        bounces = [self.bounce_of(address) for address in challenges]
        daemon.kill()
        for bounce in bounces:
            self.dovecot.deliver(*bounce)
            daemon.launch({"MAILOTP_CRASH": "mail_recorded:1"})
            self.assertEqual(daemon.wait(), -signal.SIGKILL)
        self.start(daemon)
        self.assert_once(daemon, challenges)


class AgentDies(OnceTest):
    def test_at_random_moments(self):
        seed = random.SystemRandom().randrange(1, 1_000_000)
        dice = random.Random(seed)
        daemon = self.up()
        challenges = self.relayed(daemon, 24)
        killed = []
        for number, address in enumerate(challenges):
            self.dovecot.deliver(*self.bounce_of(address))
            # At most one death a mail: two deaths over the same one make it suspect.
            if number % 8 != 7:
                continue
            agent = self.imap_agent(daemon)
            rows, wanted = len(self.ledger(daemon)), dice.randrange(4)
            wait_for(lambda: len(self.ledger(daemon)) >= min(rows + wanted, number + 1),
                     lambda: f"seed {seed}: it goes on; {daemon.log_tail()}")
            os.kill(agent, signal.SIGKILL)
            wait_for(lambda: not is_alive(agent), "the agent is dead")
            killed.append(agent)
        self.assertEqual(len(killed), 3)
        try:
            self.assert_once(daemon, challenges)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        self.wait_mailbox(daemon, "up")
        self.assertNotIn(self.imap_agent(daemon), killed)
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())


if __name__ == "__main__":
    unittest.main(verbosity=2)
