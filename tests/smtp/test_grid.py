"""The grid: every stage of a session x every action of a relay -> the facts of the agent, and whether a second mail
then goes through. `test_grid.py --list` prints it as a table.

Of each cell is checked besides: exactly one final fact a mail; `uncertain` only if the relay has seen the dot;
JobDotNext before the dot's outcome and never without it; nothing is sent twice; no descriptor is left; a reply
without bounds costs no memory.
"""
import concurrent.futures
import dataclasses
import os
import re
import shutil
import sys
import unittest

from driver import FINAL, Driver, mail
from scripted_relay import (Rule, ScriptedRelay, bad_certificate, binary, close, deaf, drop, early, eat, huge,
                            partial, raw, reply, reset, silent, slowly, take, twice, unclosed)
from servers import SERVER_NAME, Authority, free_ports, make_folder, wait_for

USERS = {"me": "pw"}
# More than the kernels of both sides take for a relay that has stopped reading.
BIG = (b"0123456789" * 7 + b"\r\n") * 40_000
# Only the cells whose relay keeps the agent waiting end by a deadline; the others must not meet one on a busy machine.
WAITING = ("silent", "eat", "partial", "drip", "deaf")
OPENING = ("greeting", "ehlo", "starttls", "auth")
TRANSACTION = ("mail", "rcpt", "data", "write", "dot")
DEADLINES = {"dot_least": 50, "quit": 200, "before_dot": 60_000, "surplus": 200}


def deadlines_for(cell):
    phases = dict.fromkeys(("connect", *OPENING, *TRANSACTION), 30_000)
    if cell.action.removeprefix("take+") in WAITING:
        opens = cell.stage in ("connect", "tls", *OPENING)
        phases.update(dict.fromkeys(OPENING if opens else TRANSACTION, 1500))
    return {**phases, **DEADLINES}


# That a session may cost; the longest replies have 8 MB. A sanitizer keeps what has been freed.
SANITIZED = os.path.basename(os.path.dirname(os.path.abspath(os.environ.get("MAILOTP_BIN", "build/dev/bin")))) in ("asan", "tsan")
MOST_MEMORY_KB = (24 if SANITIZED else 6) * 1024
AT_ONCE = 24

# What is no right answer at any stage. A function, since some of them have a state.
NO_ANSWER = {
    "drop": drop, "reset": reset, "silent": silent, "eat": eat,
    "partial": lambda: partial("250 2.0.0 no e"), "partial+drop": lambda: partial("250 2.0.0 no e", drop()),
    "partial+reset": lambda: partial("250", reset()),
    "drip": lambda: slowly("250 " + "o" * 200, 0.02),
    "garbage": lambda: raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "binary": binary,
    "1yz": lambda: reply("150 wait"), "6yz": lambda: reply("650 what"), "letters": lambda: reply("2x0 ok"),
    "empty": lambda: reply(""), "codes-mixed": lambda: reply("250-one\n550 two"),
    "huge-line": lambda: huge("line"), "huge-lines": lambda: huge("lines"), "huge-long": lambda: huge("long"),
}


@dataclasses.dataclass(frozen=True)
class Cell:
    stage: str
    action: str
    make: object            # the action
    fact: str               # of the first mail
    at: tuple = ()          # its stage, for refused and not_sent
    down: str = ""          # the trouble of the relay's fact; empty: it is not down
    second: str = "relayed"
    pipelining: bool = True

    def __str__(self):
        return f"{self.stage} x {self.action}{'' if self.pipelining else ' (no PIPELINING)'}"


def opening():
    for stage in ("greeting", "ehlo", "starttls", "auth"):
        for name, make in NO_ANSWER.items():
            # A RST may come before we have seen that the connection is there.
            where = (stage, "connect") if stage == "greeting" and "reset" in name else (stage,)
            yield Cell(stage, name, make, "not_sent", where, "ordinary")
        yield Cell(stage, "421", close, "not_sent", (stage,), "ordinary")
        yield Cell(stage, "4yz", lambda: reply("450 4.3.0 later"), "not_sent", (stage,), "ordinary")
        yield Cell(stage, "354", lambda: reply("354 go on"), "not_sent", (stage,), "ordinary")
        yield Cell(stage, "twice", twice, "not_sent", (stage, "ehlo"), "ordinary")
        yield Cell(stage, "unclosed", unclosed, "not_sent", (stage,), "ordinary")
    for name in ("drop", "reset", "silent", "unclosed"):
        make = {**NO_ANSWER, "unclosed": unclosed}[name]
        where = ("greeting", "connect") if name == "reset" else ("greeting",)
        yield Cell("connect", name, make, "not_sent", where, "ordinary")
    yield Cell("connect", "refused", None, "not_sent", ("connect",), "ordinary", second="not_sent")
    for name in ("drop", "reset", "silent", "garbage", "binary", "huge-line", "drip"):
        # What comes in one segment with the 220 is the STARTTLS injection.
        yield Cell("tls", name, NO_ANSWER[name], "not_sent", ("tls", "starttls"), "ordinary")
    yield Cell("tls", "badcert", bad_certificate, "not_sent", ("tls",), "certificate")
    yield Cell("greeting", "5yz", lambda: reply("554 5.3.2 no service"), "not_sent", ("greeting",), "ordinary")
    yield Cell("greeting", "lines", lambda: reply("220-one\n220 two"), "relayed")
    # HELO then, where neither TLS nor AUTH is needed.
    yield Cell("ehlo", "5yz", lambda: reply("502 5.5.1 what"), "relayed")
    yield Cell("ehlo", "bare LF", lambda: raw(b"250-x\n250 PIPELINING\n"), "relayed")
    yield Cell("starttls", "5yz", lambda: reply("554 5.7.3 no"), "not_sent", ("starttls",), "ordinary")
    yield Cell("starttls", "early", early, "not_sent", ("starttls",), "ordinary")
    # Not asked again with a password that is known to be wrong.
    yield Cell("auth", "5yz", lambda: reply("535 5.7.8 wrong"), "not_sent", ("auth",), "auth_refused",
               second="not_sent")
    yield Cell("auth", "334 without end", lambda: reply("334 "), "not_sent", ("auth",), "ordinary")


def transaction(pipelining):
    def cell(*values, **more):
        return Cell(*values, pipelining=pipelining, **more)
    for stage in ("mail", "rcpt", "data"):
        for name, make in NO_ANSWER.items():
            yield cell(stage, name, make, "not_sent", (stage,))
        yield cell(stage, "421", close, "not_sent", ("connect",), "ordinary")
        yield cell(stage, "4yz", lambda: reply("450 4.2.0 later"), "refused", (stage,))
        yield cell(stage, "5yz", lambda: reply("550 5.7.1 no"), "refused", (stage,))
        wrong = "250 ok" if stage == "data" else "354 go on"
        yield cell(stage, wrong[:3], lambda wrong=wrong: reply(wrong), "not_sent", (stage,))
        # The next command's, or nobody's.
        yield cell(stage, "twice", twice, "not_sent", ("rcpt", "data", "body"))
        # With PIPELINING RCPT has been said by then: to us it is the right reply to it.
        in_step = stage == "mail" and pipelining
        yield cell(stage, "early", early, *(("relayed",) if in_step else ("not_sent", ("rcpt", "data", "body"))))
        yield cell(stage, "unclosed", unclosed, "not_sent", (stage,))
    yield cell("mail", "530", lambda: reply("530 5.7.0 AUTH first"), "not_sent", ("auth",), "ordinary")
    yield cell("mail", "lines", lambda: reply("250-2.1.0 one\n250 2.1.0 two"), "relayed")
    yield cell("mail", "bare LF", lambda: raw(b"250 2.1.0 ok\n"), "relayed")


def body():
    for name in ("drop", "reset", "garbage", "binary", "huge-line", "huge-lines"):
        yield Cell("body", name, NO_ANSWER[name], "not_sent", ("body",))
    yield Cell("body", "deaf", deaf, "not_sent", ("body",))
    yield Cell("body", "unclosed", unclosed, "not_sent", ("body",))
    yield Cell("body", "421", close, "not_sent", ("connect",), "ordinary")
    for code in ("250", "354", "452", "554"):
        yield Cell("body", code, lambda code=code: reply(code + " too early"), "not_sent", ("body",))


def dot():
    for name, make in NO_ANSWER.items():
        yield Cell("dot", name, make, "uncertain")
    yield Cell("dot", "354", lambda: reply("354 go on"), "uncertain")
    yield Cell("dot", "unclosed", unclosed, "uncertain")
    for name in ("drop", "reset", "silent"):
        yield Cell("dot", "take+" + name, lambda name=name: take(NO_ANSWER[name]()), "uncertain")
    # An answer, and a clear one: nothing was taken.
    yield Cell("dot", "421", close, "not_sent", ("connect",), "ordinary")
    yield Cell("dot", "4yz", lambda: reply("451 4.3.0 later"), "refused", ("dot",))
    yield Cell("dot", "5yz", lambda: reply("554 5.7.1 spam"), "refused", ("dot",))
    yield Cell("dot", "twice", twice, "relayed")
    yield Cell("dot", "early", early, "relayed")
    yield Cell("dot", "lines", lambda: reply("250-2.0.0 one\n250 2.0.0 two"), "relayed")
    yield Cell("dot", "bare LF", lambda: raw(b"250 2.0.0 ok\n"), "relayed")
    yield Cell("dot", "escapes", lambda: raw(b"250 2.0.0 \x1b[2J\0\xff\r\n"), "relayed")


def afterwards():
    """The mail is sent, or refused, whatever comes then."""
    names = ("drop", "reset", "silent", "garbage", "binary", "huge-line", "huge-lines", "partial")
    more = {"421": close, "deaf": deaf, "unclosed": unclosed, "stray 250": lambda: raw(b"250 2.0.0 stray\r\n"),
            "4yz": lambda: reply("450 4.3.0 no"), "5yz": lambda: reply("500 5.5.1 no")}
    for stage, fact, at in (("idle", "relayed", ()), ("rset", "refused", ("rcpt",)), ("quit", "relayed", ())):
        for name, make in {**{name: NO_ANSWER[name] for name in names}, **more}.items():
            # A dead one is not found before its MAIL; one that has answered is not good for the next mail.
            yield Cell(stage, name, make, fact, at, "ordinary" if (stage, name) == ("rset", "421") else "")
    yield Cell("rset", "354", lambda: reply("354 go on"), "refused", ("rcpt",))


def grid():
    # A session that breaks with a mail in it is the relay's trouble too.
    broken = [dataclasses.replace(cell, down="ordinary") if cell.fact in ("not_sent", "uncertain") else cell
              for cell in [*transaction(True), *transaction(False), *body(), *dot()]]
    return [*opening(), *broken, *afterwards()]


def show():
    print("| stage | action of the relay | fact of the mail | at | the relay is down | second mail |\n"
          "|---|---|---|---|---|---|")
    for cell in grid():
        at = " or ".join(cell.at)
        action = cell.action + ("" if cell.pipelining else ", no PIPELINING")
        print(f"| {cell.stage} | {action} | {cell.fact} | {at} | {cell.down or 'no'} | {cell.second} |")


def descriptors(driver):
    return len(os.listdir(f"/proc/{driver.child.pid}/fd"))


def memory_kb(driver):
    with open(f"/proc/{driver.child.pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+) kB", status.read()).group(1))


class Grid(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = make_folder("mailotp-grid-")
        authority = Authority(cls.folder)
        cls.ca_file = authority.file
        cls.certificate = authority.server("right")
        cls.bad = authority.server("expired", expired=True)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def relay_for(self, cell):
        rules = [Rule(cell.stage, cell.make(), nth=1)] if cell.make else []
        if cell.stage == "rset":
            rules.append(Rule("rcpt", reply("550 5.1.1 no"), nth=1))
        # Without a close_notify: only TLS has one.
        tls = cell.stage in ("tls", "starttls") or cell.action == "unclosed"
        auth = cell.stage == "auth"
        return ScriptedRelay(rules, certificate=self.certificate if tls else None, bad_certificate=self.bad,
                             users=USERS if auth else None, mechanisms="PLAIN", pipelining=cell.pipelining,
                             receive_buffer=4096 if cell.stage == "body" else None)

    def driver_for(self, cell, relay):
        settings = {"port": relay.port, "max_connections": 1}
        if cell.action == "refused":
            settings["port"] = free_ports(1)[0]
        if relay.tls:
            settings.update(tls="starttls", server_name=SERVER_NAME, ca_file=self.ca_file)
        if relay.users:
            settings.update(username="me", password=USERS["me"])
        return Driver(settings, {**deadlines_for(cell), **({"session_messages": 1} if cell.stage == "quit" else {})})

    def run_cell(self, cell):
        with self.relay_for(cell) as relay, self.driver_for(cell, relay) as driver:
            driver.send(1, mail(1, BIG) if cell.stage == "body" else None)
            first = driver.ended(1)
            self.assertEqual(first["fact"], cell.fact, first)
            if cell.at:
                self.assertIn(first["stage"], cell.at, first)
            if cell.stage == "idle" and cell.action not in ("silent", "deaf", "partial"):
                # What it said or did is with the agent; else it would be a race with the next mail.
                driver.wait(lambda f: f["fact"] == "up" and f["connections"] == 0, "it is dropped")
            driver.send(2)
            second = driver.ended(2)
            self.assertEqual(second["fact"], cell.second, second)
            used, memory = descriptors(driver), memory_kb(driver)
            driver.close()
            downs = [f["trouble"] for f in driver.facts if f["fact"] == "down"]
            # Each failed session is told; that nobody is asked with a refused password is no session.
            failed = 2 if cell.second == "not_sent" and cell.down == "ordinary" else 1
            self.assertEqual(downs, [cell.down] * failed if cell.down else [])
            self.check_facts(cell, driver, relay)
            # stdin, stdout, stderr, libuv's own, one connection and the socket that libesmtp makes.
            self.assertLess(used, 16)
            return 0 if cell.stage == "body" else memory  # that mail is large

    def check_facts(self, cell, driver, relay):
        for number in (1, 2):
            names = driver.names(number)
            self.assertEqual(len([name for name in names if name in FINAL]), 1, names)
            self.assertLessEqual(names.count("dot_next"), 1)
            if names[-1] in ("relayed", "uncertain"):
                self.assertEqual(names[0], "dot_next", names)
            of_it = [entry for entry in relay.journal if entry.message_id == f"<{number}@test>"]
            if names[-1] == "uncertain":
                self.assertEqual([entry.phase for entry in of_it], ["dot"])
            if names[-1] == "not_sent" and cell.stage != "dot":
                self.assertNotIn("dot_next", names)
            taken = [entry for entry in of_it if entry.accepted]
            self.assertLessEqual(len(taken), 1)
            if names[-1] == "relayed":
                self.assertEqual(len(taken), 1)
            if names[-1] in ("refused", "not_sent"):
                self.assertEqual(taken, [])

    def test_every_cell(self):
        cells = grid()
        self.assertGreater(len(cells), 250)
        self.assertEqual(len({str(cell) for cell in cells}), len(cells))
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            running = {pool.submit(self.run_cell, cell): cell for cell in cells}
            memory = {}
            for done in concurrent.futures.as_completed(running):
                cell = running[done]
                with self.subTest(str(cell)):
                    memory[str(cell)] = done.result()
        usual = min(kb for kb in memory.values() if kb)
        for name, kb in memory.items():
            with self.subTest(name, memory=kb):
                self.assertLess(kb - usual, MOST_MEMORY_KB)

    def test_every_fault_in_one_process_leaves_nothing_behind(self):
        cells = [cell for cell in [*opening(), *transaction(True), *dot()]
                 if cell.make and cell.stage not in ("tls", "starttls", "auth", "connect")
                 and cell.action not in ("silent", "eat", "drip", "partial", "take+silent")]
        actions = list({(cell.stage, cell.action): cell.make for cell in cells}.items())
        with ScriptedRelay() as relay, \
                Driver({"port": relay.port, "max_connections": 2}, {**DEADLINES, "session_messages": 1}) as driver:
            number = 0

            def a_round():
                nonlocal number
                for (stage, _), make in actions:
                    number += 1
                    relay.rules = [Rule(stage, make(), nth=relay.visits.get(stage, 0) + 1)]
                    driver.send(number)
                    driver.ended(number)
                relay.rules = []
                number += 1
                driver.send(number)
                self.assertEqual(driver.ended(number)["fact"], "relayed")
                wait_for(lambda: relay.open_now == 0 and driver.sockets() == 0,
                         "every connection is closed, at both ends")
                return descriptors(driver), memory_kb(driver)
            a_round()
            used, memory = a_round()
            for _ in range(3):
                last_used, last_memory = a_round()
            self.assertEqual(last_used, used)
            self.assertLess(last_memory - memory, (64 if SANITIZED else 2) * 1024)


if __name__ == "__main__":
    if sys.argv[1:] == ["--list"]:
        show()
    else:
        unittest.main()
