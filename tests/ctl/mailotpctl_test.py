#!/usr/bin/env python3
"""Drives mailotpctl from outside, against a daemon that answers what each test tells it to.

usage: mailotpctl_test.py PROGRAM [unittest arguments]
"""
import datetime
import json
import os
import pty
import re
import select
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fake_daemon import FakeDaemon, problem  # noqa: E402

PROGRAM = ""
LIMIT = 30  # seconds that any one run may take

MESSAGE = "0190b5a0-7c1e-7e3a-9f00-0123456789ab"
OTHER = "0190b5a0-7c1e-7e3a-9f00-0123456789ac"
CHALLENGE = "0190b5a0-7c1e-7e3a-9f00-0123456789ad"
NOBODY = 65534


def run(*arguments, columns=None, socket_path=None, variables=None, **more):
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
        if name in os.environ:
            environment[name] = os.environ[name]
    if columns:
        environment["COLUMNS"] = str(columns)
    environment.update(variables or {})
    command = [PROGRAM] + (["--socket", socket_path] if socket_path else []) + list(arguments)
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT, **more)


def ago(**much):
    """An RFC 3339 time half a minute past what is asked, so that the age shown is the same for the whole test."""
    at = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(**much) - datetime.timedelta(seconds=30)
    return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def ahead(**much):
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(**much) + datetime.timedelta(seconds=30)
    return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def message(**changes):
    value = {"id": MESSAGE, "state": "deferred", "current": True, "attempts": 2,
             "next_attempt_at": ahead(days=1, hours=3), "reply": {"code": 450, "status": "4.2.1", "text": "mailbox busy"},
             "verdict": None, "app": "shop", "recipient": "alice@example.org", "challenge": CHALLENGE,
             "created_at": ago(days=3, hours=12), "not_after": ahead(days=2), "template": "otp",
             "template_version": "0123456789abcdef", "locale": "de", "message_id": "<t@otp.example.org>",
             "revision": 3, "metadata": None, "kind": "otp", "relay": "primary", "uncertain": 0, "age_seconds": 192}
    value.update(changes)
    return value


def page(items, cursor=None):
    return 200, {"items": items, "next_cursor": cursor}


ROWS = [message(), message(id=OTHER, state="relayed", next_attempt_at=None, reply=None, age_seconds=7325,
                           recipient="a.rather.long.local.part@mail.example.org")]
RELAYS = [{"name": "primary", "state": "up", "breaker": "closed", "connections": 3, "last_error": None, "last_error_at": None},
          {"name": "backup", "state": "down", "breaker": "open", "connections": 0, "last_error": "connect: refused",
           "last_error_at": ago(days=3, hours=12)}]
STATS = {"messages": {"relayed": 41, "held": 0, "queued": 3}, "oldest_seconds": {"queued": 2}, "accepted_total": 57,
         "ended_total": {"relayed": 41, "expired": 0, "failed": 1}, "challenges": {"otp_valid": 9, "started": 0, "otp_sent": 3}, "bounces": {}}
READY = {"ready": True, "mode": "production", "store": "ok", "relays": {"primary": "up"}, "bounces": "off"}
VERSION = {"name": "mailotpd", "version": "9.8.7", "mode": "production", "features": ["challenges"]}
HEALTHY = {"/v1": (200, VERSION), "/readyz": (200, READY), "/v1/stats": (200, STATS), "/v1/relays": page(RELAYS)}

COUNTS_TEXT = """
MESSAGES             NOW     OLDEST      ENDED
queued                 3         2s          -
relayed               41          -         41
failed                 -          -          1
accepted in total: 57

CHALLENGES           NOW
otp_sent               3
otp_valid              9
"""


class Case(unittest.TestCase):
    maxDiff = None

    def check(self, result, code, out=None, err=None):
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        if out is not None:
            self.assertEqual(result.stdout, out)
        if err is not None:
            self.assertEqual(result.stderr, err)
        return result


class Status(Case):
    def test_for_people(self):
        with FakeDaemon(dict(HEALTHY)) as daemon:
            self.check(run("status", socket_path=daemon.socket, columns=80), 0, """\
mailotpd 9.8.7, mode production: ready
store         ok
bounces       off

RELAY                 STATE      BREAKER    CONNECTIONS  LAST ERROR
primary               up         closed               3  -
backup                down       open                 0  3d12h ago: connect: re…
""" + COUNTS_TEXT, "")

    def test_not_ready_is_an_answer(self):
        answers = dict(HEALTHY)
        answers["/readyz"] = (503, dict(READY, ready=False, store="failing", relays={"primary": "down"}))
        with FakeDaemon(answers) as daemon:
            result = self.check(run("status", socket_path=daemon.socket), 0)
            self.assertEqual(result.stdout.splitlines()[:2],
                             ["mailotpd 9.8.7, mode production: NOT READY", "store         failing"])

    def test_relays_of_readyz_where_the_list_is_not_known(self):
        answers = dict(HEALTHY)
        del answers["/v1/relays"]
        with FakeDaemon(answers) as daemon:
            result = self.check(run("status", socket_path=daemon.socket, columns=80), 0)
            self.assertIn("\nprimary               up         -                    0  -\n\n", result.stdout)

    def test_json_is_one_line(self):
        with FakeDaemon(dict(HEALTHY)) as daemon:
            result = self.check(run("--json", "status", socket_path=daemon.socket), 0, err="")
            self.assertEqual(result.stdout.count("\n"), 1)
            self.assertEqual(json.loads(result.stdout), {**READY, **VERSION, "stats": STATS, "relays": RELAYS})

    def test_stopping_daemon(self):
        answers = dict(HEALTHY)
        answers["/readyz"] = problem(503, "shutting_down", "the daemon is stopping", retry_after=5)
        with FakeDaemon(answers) as daemon:
            self.check(run("status", socket_path=daemon.socket), 75, "",
                       "mailotpctl: the daemon is stopping (shutting_down); try again in 5s\n"
                       "  request 0190b5a0-0000-7000-8000-00000000abcd\n")


class Outbox(Case):
    def test_list_on_80_columns(self):
        with FakeDaemon({"/v1/outbox?limit=50": page(ROWS)}) as daemon:
            self.check(run("outbox", "list", socket_path=daemon.socket, columns=80), 0, f"""\
ID                                    STATE          AGE  RECIPIENT
{MESSAGE}  deferred     3m12s  alice@example.org
{OTHER}  relayed       2h2m  a.rather.long.local.p…
""", "")

    def test_list_on_200_columns(self):
        with FakeDaemon({"/v1/outbox?limit=50": page(ROWS, "next page")}) as daemon:
            self.check(run("outbox", "list", socket_path=daemon.socket, columns=200), 0, f"""\
ID                                    STATE          AGE  TRIES    NEXT  RECIPIENT                         APP         RELAY         LAST REPLY
{MESSAGE}  deferred     3m12s      2    1d3h  alice@example.org                 shop        primary       450 4.2.1 mailbox busy
{OTHER}  relayed       2h2m      2       -  a.rather.long.local.part@mail.e…  shop        primary       -
more: --cursor next page
""", "")

    def test_list_into_a_pipe_cuts_nothing(self):
        with FakeDaemon({"/v1/outbox?limit=50": page(ROWS)}) as daemon:
            result = self.check(run("outbox", "list", socket_path=daemon.socket), 0)
            self.assertIn("a.rather.long.local.part@mail.example.org", result.stdout)

    def test_no_rows(self):
        with FakeDaemon({"/v1/outbox?limit=50": page([])}) as daemon:
            self.check(run("outbox", "list", socket_path=daemon.socket, columns=80), 0,
                       "ID                                    STATE          AGE  RECIPIENT\n", "")

    def test_filters_are_encoded(self):
        target = "/v1/outbox?state=held&recipient=a%2Bb%40example.org&app=sh%20op&relay=primary&limit=7&cursor=a%2F%26b"
        with FakeDaemon({target: page([])}) as daemon:
            self.check(run("outbox", "list", "--state", "held", "--recipient", "a+b@example.org", "--app", "sh op",
                           "--relay", "primary", "--limit", "7", "--cursor", "a/&b", "--json",
                           socket_path=daemon.socket), 0, "", "")
            self.assertEqual(daemon.seen, [target])

    def test_json_lines(self):
        with FakeDaemon({"/v1/outbox?limit=50": page(ROWS, "c1")}) as daemon:
            result = self.check(run("outbox", "list", "--json", socket_path=daemon.socket), 0,
                                err="more: --cursor c1\n")
            self.assertEqual([json.loads(line) for line in result.stdout.splitlines()], ROWS)

    def test_all_pages(self):
        answers = {"/v1/outbox?limit=1": page(ROWS[:1], "c1"), "/v1/outbox?limit=1&cursor=c1": page(ROWS[1:])}
        with FakeDaemon(answers) as daemon:
            result = self.check(run("outbox", "list", "--all", "--limit", "1", "--json", socket_path=daemon.socket),
                                0, err="")
            self.assertEqual([json.loads(line)["id"] for line in result.stdout.splitlines()], [MESSAGE, OTHER])
            result = self.check(run("outbox", "list", "--all", "--limit", "1", socket_path=daemon.socket), 0, err="")
            self.assertEqual([line.split()[0] for line in result.stdout.splitlines()], ["ID", MESSAGE, OTHER])

    def test_a_list_that_does_not_end_is_refused(self):
        answers = {"/v1/outbox?limit=50": page([], "c1"), "/v1/outbox?limit=50&cursor=c1": page([], "c1")}
        with FakeDaemon(answers) as daemon:
            self.check(run("outbox", "list", "--all", "--json", socket_path=daemon.socket), 1, "",
                       "mailotpctl: the daemon's list does not end\n")

    def test_show(self):
        events = [{"at": "2026-11-20T12:00:00.000Z", "type": "message.created", "actor": "app", "uid": 33, "detail": None},
                  {"at": "2026-11-20T12:00:01.000Z", "type": "message.deferred", "actor": "daemon", "uid": None,
                   "detail": {"stage": "rcpt", "reply": {"code": 450, "status": "4.2.1", "text": "mailbox busy"}, "n": 1}}]
        verdict = {"kind": "delayed", "class": "mailbox-full", "permanent": False, "status": "4.2.1", "detail": "busy",
                   "source": "smtp", "at": "2026-11-20T12:00:01.000Z"}
        value = message(events=events, verdict=verdict)
        with FakeDaemon({f"/v1/outbox/{MESSAGE}": (200, value)}) as daemon:
            self.check(run("outbox", "show", MESSAGE.upper(), socket_path=daemon.socket, columns=200), 0, f"""\
id            {MESSAGE}
state         deferred
recipient     alice@example.org
app           shop
kind          otp
challenge     {CHALLENGE}
created       {value["created_at"]} (3d12h ago)
not after     {value["not_after"]} (in 2d)
attempts      2
next attempt  {value["next_attempt_at"]} (in 1d3h)
last reply    450 4.2.1 mailbox busy
verdict       delayed, mailbox-full, not permanent, status 4.2.1 (from smtp): busy
uncertain     0 times
relay         primary
template      otp, locale de, version 0123456789abcdef
message-id    <t@otp.example.org>

AT                        EVENT                     ACTOR       DETAIL
2026-11-20T12:00:00.000Z  message.created           app 33      -
2026-11-20T12:00:01.000Z  message.deferred          daemon      stage=rcpt reply=450 4.2.1 mailbox busy n=1
""", "")
            result = self.check(run("outbox", "show", MESSAGE, "--json", socket_path=daemon.socket), 0, err="")
            self.assertEqual(json.loads(result.stdout), value)
            narrow = self.check(run("outbox", "show", MESSAGE, socket_path=daemon.socket, columns=80), 0)
            self.assertEqual(narrow.stdout.splitlines()[-1],
                             "2026-11-20T12:00:01.000Z  message.deferred          daemon      stage=rcpt repl…")


def bounce(**changes):
    value = {"at": ago(hours=2), "source": "dsn", "recipient": "alice@example.org", "kind": "bounce",
             "class": "user-unknown", "permanent": True, "status": "5.1.1", "diagnostic": "550 5.1.1 no such user",
             "rule": "dsn-fields", "message": MESSAGE, "app": "shop", "weight": "hard", "traced_by": "both"}
    value.update(changes)
    return value


def suppression(**changes):
    value = {"address": "alice@example.org", "app": None, "class": "user-unknown", "source": "operator",
             "since": ago(hours=2), "until": None, "probe_at": None, "times": 1}
    value.update(changes)
    return value


class Bounces(Case):
    ROWS = [bounce(), bounce(source="provider", recipient=None, kind="auto-reply", status="", message=None,
                             diagnostic="\x1b[31mgone", weight="none", **{"class": "unknown"})]

    def test_list(self):
        with FakeDaemon({"/v1/bounces?limit=50": page(self.ROWS, "c1")}) as daemon:
            self.check(run("bounces", socket_path=daemon.socket, columns=80), 0, """\
   AGE  KIND        CLASS               STATUS  WEIGHT  RECIPIENT
    2h  bounce      user-unknown        5.1.1   hard    alice@example.org
    2h  auto-reply  unknown             -       none    -
more: --cursor c1
""", "")
            wide = self.check(run("bounces", socket_path=daemon.socket), 0).stdout
            self.assertIn(MESSAGE, wide)
            self.assertIn("550 5.1.1 no such user", wide)
            self.assertIn("\\x1b[31mgone", wide)
            result = self.check(run("bounces", "--json", socket_path=daemon.socket), 0, err="more: --cursor c1\n")
            self.assertEqual([json.loads(line) for line in result.stdout.splitlines()], self.ROWS)

    def test_filters(self):
        target = "/v1/bounces?recipient=a%2Bb%40example.org&class=spam&kind=delay&app=shop&limit=7&cursor=c"
        with FakeDaemon({target: page([])}) as daemon:
            self.check(run("bounces", "--recipient", "a+b@example.org", "--class", "spam", "--kind", "delay", "--app",
                           "shop", "--limit", "7", "--cursor", "c", "--json", socket_path=daemon.socket), 0, "", "")

    def test_all_pages(self):
        answers = {"/v1/bounces?limit=1": page(self.ROWS[:1], "c1"), "/v1/bounces?limit=1&cursor=c1": page(self.ROWS[1:])}
        with FakeDaemon(answers) as daemon:
            result = self.check(run("bounces", "--all", "--limit", "1", "--json", socket_path=daemon.socket), 0, err="")
            self.assertEqual([json.loads(line) for line in result.stdout.splitlines()], self.ROWS)

    def test_words_that_are_none(self):
        for words, says in ((("bounces", "--class", "nice"), 'no class is named "nice"'),
                            (("bounces", "--kind", "nice"), 'no kind is named "nice"'),
                            (("suppress", "add", "a@b.example", "--class", "x"), 'no class is named "x"'),
                            (("suppress", "add", "a@b.example", "--until", "soon"), '"soon" is no time'),
                            (("suppress", "add"), "ADDRESS"), (("suppress", "remove"), "ADDRESS")):
            self.assertIn(says, self.check(run(*words), 2, "").stderr)

    def test_suppress_list(self):
        rows = [suppression(), suppression(app="shop", source="dsn", until=ahead(days=1, hours=3), probe_at=ago(hours=1),
                                           times=3, **{"class": "mailbox-disabled"})]
        with FakeDaemon({"/v1/suppressions?limit=50": page(rows),
                         "/v1/suppressions?recipient=alice%40example.org&limit=50": page([])}) as daemon:
            self.check(run("suppress", "list", socket_path=daemon.socket, columns=100), 0, """\
ADDRESS                        CLASS                 LEFT   PROBE  SOURCE       AGE  TIMES  APP
alice@example.org              user-unknown        always       -  operator      2h      1  -
alice@example.org              mailbox-disabled      1d3h     now  dsn           2h      3  shop
""", "")
            result = self.check(run("suppress", "list", "--json", socket_path=daemon.socket), 0, err="")
            self.assertEqual([json.loads(line) for line in result.stdout.splitlines()], rows)
            self.check(run("suppress", "list", "--recipient", "alice@example.org", "--json",
                           socket_path=daemon.socket), 0, "", "")

    def test_suppress_add(self):
        target = "PUT /v1/suppressions/a%2Bb%40example.org"
        with FakeDaemon({target: (200, suppression())}) as daemon:
            result = self.check(run("suppress", "add", "a+b@example.org", socket_path=daemon.socket, columns=60), 0, err="")
            self.assertTrue(result.stdout.startswith("ADDRESS"), result.stdout)
            self.assertIn("\nalice@example.org", result.stdout)
            result = self.check(run("suppress", "add", "a+b@example.org", "--class", "spam", "--until",
                                    "2030-01-01T00:00:00Z", "--json", socket_path=daemon.socket), 0, err="")
            self.assertEqual(json.loads(result.stdout).keys(), suppression().keys())
            self.assertEqual(daemon.bodies, [{"class": "user-unknown"},
                                             {"class": "spam", "until": "2030-01-01T00:00:00Z"}])

    def test_suppress_remove(self):
        with FakeDaemon({"DELETE /v1/suppressions/a%40example.org": (200, {"address": "a@example.org", "suppressed": None})}) as daemon:
            self.check(run("suppress", "remove", "a@example.org", socket_path=daemon.socket), 0,
                       "a@example.org: mail goes to it again\n", "")
            result = self.check(run("suppress", "remove", "a@example.org", "--json", socket_path=daemon.socket), 0, err="")
            self.assertEqual(json.loads(result.stdout), {"address": "a@example.org", "suppressed": None})
            self.assertEqual(daemon.seen, ["DELETE /v1/suppressions/a%40example.org"] * 2)
            result = self.check(run("suppress", "remove", "b@example.org", socket_path=daemon.socket), 1, "")
            self.assertIn("not_found", result.stderr)

    def test_erase(self):
        with FakeDaemon({"POST /v1/erase": (200, {"rows": 12})}) as daemon:
            self.check(run("erase", "a@example.org", "--yes", socket_path=daemon.socket), 0,
                       "a@example.org: erased, with 12 rows\n", "")
            result = self.check(run("erase", "a@example.org", "--yes", "--json", socket_path=daemon.socket), 0, err="")
            self.assertEqual(json.loads(result.stdout), {"rows": 12})
            self.assertEqual(daemon.bodies, [{"recipient": "a@example.org"}] * 2)
        with FakeDaemon({"POST /v1/erase": (200, {"rows": 0})}) as daemon:
            self.check(run("erase", "a@example.org", "--yes", socket_path=daemon.socket), 0,
                       "a@example.org: nothing was kept of it\n", "")
        with FakeDaemon({"POST /v1/erase": problem(400, "invalid_recipient", "the address has no @")}) as daemon:
            result = self.check(run("erase", "nonsense", "--yes", socket_path=daemon.socket), 1, "")
            self.assertIn("the address has no @", result.stderr)
        with FakeDaemon({}) as daemon:
            result = self.check(run("erase", "a@example.org", socket_path=daemon.socket), 2, "")
            self.assertIn("--yes", result.stderr)
            self.assertEqual(daemon.seen, [])

    def test_reload(self):
        none = {"added": [], "changed": [], "removed": []}
        done = {"changed": [], "relays": none, "apps": none, "templates": none, "keys": 2, "keys_from": "file",
                "restart_needed": False, "needs_restart": []}
        with FakeDaemon({"POST /v1/reload": (200, done)}) as daemon:
            self.check(run("reload", socket_path=daemon.socket), 0, "nothing has changed\n2 keys in force\n", "")
            result = self.check(run("reload", "--json", socket_path=daemon.socket), 0, err="")
            self.assertEqual(json.loads(result.stdout), done)
        much = {"changed": ["relay", "app", "templates"], "relays": {"added": ["b"], "changed": ["a"], "removed": ["c", "d"]},
                "apps": {"added": ["shop"], "changed": [], "removed": []},
                "templates": {"added": [], "changed": ["otp", "shop/otp"], "removed": []},
                "keys": 1, "keys_from": "credential", "restart_needed": True,
                "needs_restart": ["daemon.state_dir", "bounces"]}
        with FakeDaemon({"POST /v1/reload": (200, much)}) as daemon:
            self.check(run("reload", socket_path=daemon.socket), 0,
                       "changed: relay, app, templates\n"
                       "relays: b added, a changed, c, d removed\n"
                       "apps: shop added\n"
                       "templates: otp, shop/otp changed\n"
                       "1 key in force, from systemd's credential: a new file is seen after a restart\n"
                       "left as it was until the daemon is restarted: daemon.state_dir, bounces\n", "")
        refused = problem(422, "configuration_invalid", "m.toml:3:1: unknown key x")
        with FakeDaemon({"POST /v1/reload": refused}) as daemon:
            result = self.check(run("reload", socket_path=daemon.socket), 1, "")
            self.assertIn("m.toml:3:1: unknown key x", result.stderr)

    def test_status_shows_keys_and_the_brake(self):
        def key(name, **more):
            return {"id": name, "writing": False, "retired_at": ago(days=1), "needed": True, "challenges": False,
                    "messages": False, "answers_until": ago(hours=1), "bounces_until": "2030-01-01T00:00:00.000Z", **more}
        answers = dict(HEALTHY)
        answers["/readyz"] = (200, dict(READY, braked=["shop"]))
        answers["/v1/keys"] = page([key("aaaaaaaa", writing=True, retired_at=None, answers_until=None, bounces_until=None),
                                    key("bbbbbbbb", challenges=True),
                                    key("cccccccc", needed=False)])
        with FakeDaemon(answers) as daemon:
            result = self.check(run("status", socket_path=daemon.socket, columns=80), 0).stdout
            self.assertEqual(result.splitlines()[3:7], [
                "brake         on for app shop: its mails rise, its right codes do not",
                "key           aaaaaaaa writes",
                "key           bbbbbbbb old, still needed for open challenges, bounces that may still come, "
                "until 2030-01-01T00:00:00.000Z at the latest",
                "key           cccccccc old, no longer needed: its line may go"])
            line = json.loads(self.check(run("status", "--json", socket_path=daemon.socket), 0).stdout)
            self.assertEqual([one["id"] for one in line["keys"]], ["aaaaaaaa", "bbbbbbbb", "cccccccc"])
            self.assertEqual(line["braked"], ["shop"])

    def test_status_shows_the_mailbox(self):
        answers = dict(HEALTHY)
        answers["/readyz"] = (200, dict(READY, bounces="up", bounces_foreign=25))
        answers["/v1/stats"] = (200, dict(STATS, bounces={"mailbox-full": 1, "user-unknown": 12}))
        with FakeDaemon(answers) as daemon:
            result = self.check(run("status", socket_path=daemon.socket, columns=80), 0).stdout
            self.assertEqual(result.splitlines()[2], "bounces       up, with 25 mails that are not ours")
            self.assertTrue(result.endswith("""
BOUNCES                  EVER
mailbox-full                1
user-unknown               12
"""), result)


class Orders(Case):
    CLOSED = problem(409, "message_closed", "the message has ended")

    def path(self, order, message=MESSAGE):
        return f"POST /v1/outbox/{message}/{order}"

    def test_one(self):
        for order, state in (("retry", "queued"), ("hold", "held"), ("release", "queued")):
            value = message(state=state)
            with self.subTest(order), FakeDaemon({self.path(order): (200, value)}) as daemon:
                self.check(run("outbox", order, MESSAGE.upper(), socket_path=daemon.socket, columns=80), 0, f"""\
ID                                    STATE          AGE  RECIPIENT
{MESSAGE}  {state:<9}    3m12s  alice@example.org
""", "")
                result = self.check(run("outbox", order, MESSAGE, "--json", socket_path=daemon.socket), 0, err="")
                self.assertEqual(json.loads(result.stdout), value)
                self.assertEqual(daemon.seen, [self.path(order)] * 2)

    def test_several_of_which_some_are_refused(self):
        third = "0190b5a0-7c1e-7e3a-9f00-0123456789ae"
        answers = {self.path("hold"): self.CLOSED, self.path("hold", OTHER): (200, message(id=OTHER, state="held"))}
        told = (f"mailotpctl: {MESSAGE}: the message has ended (message_closed)\n"
                "  request 0190b5a0-0000-7000-8000-00000000abcd\n"
                f"mailotpctl: {third}: nothing is at /v1/outbox/{third}/hold (not_found)\n"
                "  request 0190b5a0-0000-7000-8000-00000000abcd\n"
                "mailotpctl: 2 of 3 were refused\n")
        with FakeDaemon(answers) as daemon:
            result = self.check(run("outbox", "hold", MESSAGE, OTHER, third, socket_path=daemon.socket), 1, err=told)
            self.assertEqual([line.split()[0] for line in result.stdout.splitlines()], ["ID", OTHER])
            result = self.check(run("outbox", "hold", MESSAGE, OTHER, third, "--json", socket_path=daemon.socket), 1, err=told)
            self.assertEqual([json.loads(line)["id"] for line in result.stdout.splitlines()], [OTHER])
            self.assertEqual(daemon.seen[:3], [self.path("hold", one) for one in (MESSAGE, OTHER, third)])

    def test_one_that_is_refused(self):
        with FakeDaemon({self.path("retry"): self.CLOSED}) as daemon:
            self.check(run("outbox", "retry", MESSAGE, socket_path=daemon.socket), 1, "",
                       f"mailotpctl: {MESSAGE}: the message has ended (message_closed)\n"
                       "  request 0190b5a0-0000-7000-8000-00000000abcd\n")

    def test_trouble_of_the_daemon_is_the_end(self):
        for answer, code in ((problem(503, "overloaded", "later", retry_after=1), 75), ("hang up", 75),
                             (problem(403, "cross_site", "no"), 77)):
            with FakeDaemon({self.path("retry"): answer}) as daemon:
                result = self.check(run("outbox", "retry", MESSAGE, OTHER, socket_path=daemon.socket), code, "")
                self.assertIn(f"mailotpctl: {MESSAGE}: ", result.stderr)
                self.assertEqual(daemon.seen, [self.path("retry")])

    def test_cancel_without_a_terminal(self):
        with FakeDaemon({self.path("cancel"): (200, message(state="canceled"))}) as daemon:
            self.check(run("outbox", "cancel", MESSAGE, socket_path=daemon.socket, stdin=subprocess.DEVNULL), 2, "",
                       "mailotpctl: nobody can be asked, stdin is no terminal: say --yes\n")
            self.check(run("outbox", "cancel", MESSAGE, socket_path=daemon.socket, input="y\n"), 2, "")
            self.assertEqual(daemon.seen, [])
            result = self.check(run("outbox", "cancel", MESSAGE, "--yes", "--json", socket_path=daemon.socket,
                                    stdin=subprocess.DEVNULL), 0, err="")
            self.assertEqual(json.loads(result.stdout)["state"], "canceled")

    def asked(self, said, *ids):
        """Exit code, stderr and what the daemon saw, of a cancel at a terminal at which somebody types `said`."""
        answers = {self.path("cancel", one): (200, message(id=one, state="canceled")) for one in ids}
        ours, theirs = pty.openpty()
        with FakeDaemon(answers) as daemon:
            os.write(ours, said)
            result = run("outbox", "cancel", *ids, socket_path=daemon.socket, stdin=theirs)
            seen = list(daemon.seen)
        os.close(theirs)
        os.close(ours)
        return result.returncode, result.stderr, seen

    def test_cancel_at_a_terminal(self):
        done = [self.path("cancel")]
        question = f"Cancel message {MESSAGE}? [y/N] "
        for said in (b"y\n", b"yes\n", b"Y\n"):
            self.assertEqual(self.asked(said, MESSAGE), (0, question, done))
        for said in (b"n\n", b"\n", b"\x04", b"yesterday\n", b"y" * 100 + b"\n"):
            self.assertEqual(self.asked(said, MESSAGE), (1, question + "mailotpctl: nothing was done\n", []))
        code, err, seen = self.asked(b"y\n", MESSAGE, OTHER)
        self.assertEqual((code, err, len(seen)), (0, "Cancel 2 messages? [y/N] ", 2))

    def test_flush(self):
        for count, says in ((0, "nothing was deferred\n"), (1, "1 message is tried now\n"), (41, "41 messages are tried now\n")):
            with FakeDaemon({"POST /v1/outbox/flush": (200, {"flushed": count})}) as daemon:
                self.check(run("outbox", "flush", socket_path=daemon.socket), 0, says, "")
                result = self.check(run("outbox", "flush", "--json", socket_path=daemon.socket), 0, err="")
                self.assertEqual(json.loads(result.stdout), {"flushed": count})


class Others(Case):
    def test_challenge(self):
        value = {"id": CHALLENGE, "app": "shop", "recipient": "alice@example.org", "purpose": "login",
                 "state": "otp_sent", "created_at": ago(days=3, hours=12), "expires_at": ahead(days=2),
                 "attempts_left": 5, "sends_left": 4, "resend_at": None, "revision": 2, "metadata": {"any": "json"},
                 "message": message(verdict=None)}
        with FakeDaemon({f"/v1/challenges/{CHALLENGE}": (200, value)}) as daemon:
            self.check(run("challenge", "show", CHALLENGE, socket_path=daemon.socket, columns=80), 0, f"""\
id            {CHALLENGE}
state         otp_sent
recipient     alice@example.org
app           shop
purpose       login
created       {value["created_at"]} (3d12h ago)
expires       {value["expires_at"]} (in 2d)
attempts left 5
sends left    4
resend from   -
revision      2

message       {MESSAGE}
state         deferred
attempts      2
next attempt  {value["message"]["next_attempt_at"]} (in 1d3h)
last reply    450 4.2.1 mailbox busy
verdict       -
""", "")
            result = self.check(run("challenge", "show", CHALLENGE, "--json", socket_path=daemon.socket), 0)
            self.assertEqual(json.loads(result.stdout), value)

    def test_challenge_without_a_message(self):
        with FakeDaemon({f"/v1/challenges/{CHALLENGE}": (200, {"id": CHALLENGE, "state": "started", "message": None})}) as daemon:
            result = self.check(run("challenge", "show", CHALLENGE, socket_path=daemon.socket), 0)
            self.assertEqual(result.stdout.splitlines()[-1], "message       none")

    def test_relay_test(self):
        steps = [{"stage": "dns", "ok": True, "saw": "127.0.0.1"}, {"stage": "auth", "ok": False, "saw": "535 \x1b[31mno"}]
        failed = {"relay": "primary", "ok": False, "steps": steps}
        with FakeDaemon({"POST /v1/relays/primary/test": (200, failed)}) as daemon:
            result = run("relay", "test", "primary", socket_path=daemon.socket, columns=80)
            self.assertEqual(result.returncode, 1, result.stderr)
            self.assertEqual(result.stdout, """\
STEP       RESULT  SAW
dns        ok      127.0.0.1
auth       failed  535 \\x1b[31mno
""")
            self.assertIn("primary", result.stderr)
            result = run("relay", "test", "primary", "--json", socket_path=daemon.socket)
            self.assertEqual((result.returncode, json.loads(result.stdout)), (1, failed))
            result = run("relay", "test", "a/../b", socket_path=daemon.socket)
            self.assertEqual(result.returncode, 1)
            self.assertEqual(daemon.seen[-1], "POST /v1/relays/a%2F..%2Fb/test")
        passed = {"relay": "primary", "ok": True, "steps": steps[:1]}
        with FakeDaemon({"POST /v1/relays/primary/test": (200, passed)}) as daemon:
            self.assertEqual(run("relay", "test", "primary", socket_path=daemon.socket).returncode, 0)

    def test_relays(self):
        with FakeDaemon({"/v1/relays": page(RELAYS)}) as daemon:
            self.check(run("relay", "list", socket_path=daemon.socket, columns=80), 0, """\
RELAY                 STATE      BREAKER    CONNECTIONS  LAST ERROR
primary               up         closed               3  -
backup                down       open                 0  3d12h ago: connect: re…
""", "")
            self.check(run("relay", "list", socket_path=daemon.socket, columns=50), 0, """\
RELAY              STATE      LAST ERROR
primary            up         -
backup             down       3d12h ago: connect:…
""", "")
            result = self.check(run("relay", "list", "--json", socket_path=daemon.socket), 0, err="")
            self.assertEqual([json.loads(line) for line in result.stdout.splitlines()], RELAYS)


    def test_relay_suspend_and_resume(self):
        suspended = dict(RELAYS[0], state="suspended")
        with FakeDaemon({"POST /v1/relays/primary/suspend": (200, suspended),
                         "POST /v1/relays/primary/resume": (200, RELAYS[0])}) as daemon:
            self.check(run("relay", "suspend", "primary", socket_path=daemon.socket, columns=80), 0, """\
RELAY                 STATE      BREAKER    CONNECTIONS  LAST ERROR
primary               suspended  closed               3  -
""", "")
            result = self.check(run("relay", "suspend", "primary", "--json", socket_path=daemon.socket), 0, err="")
            self.assertEqual(json.loads(result.stdout), suspended)
            result = self.check(run("relay", "resume", "primary", "--json", socket_path=daemon.socket), 0, err="")
            self.assertEqual(json.loads(result.stdout), RELAYS[0])
            for verb in ("suspend", "resume"):
                result = self.check(run("relay", verb, "a/../b", socket_path=daemon.socket), 1, "")
                self.assertIn("nothing is at", result.stderr)
                self.assertEqual(daemon.seen[-1], f"POST /v1/relays/a%2F..%2Fb/{verb}")
                self.check(run("relay", verb, socket_path=daemon.socket), 2, "")
        with FakeDaemon({"POST /v1/relays/primary/resume": (200, b"[]")}) as daemon:
            self.check(run("relay", "resume", "primary", socket_path=daemon.socket), 1, "")


class HostileText(Case):
    EVIL = "\x1b]0;owned\x07\x1b[2J\u202e\x9b31m\r\nfake row\x7f"

    def no_control(self, text):
        self.assertIsNone(re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]", text), repr(text))

    def evil_everywhere(self, value):
        if isinstance(value, str):
            return value if re.fullmatch(r"[\d:.TZ-]{24}", value) else value + self.EVIL
        if isinstance(value, list):
            return [self.evil_everywhere(one) for one in value]
        if isinstance(value, dict):
            return {key: self.evil_everywhere(one) for key, one in value.items()}
        return value

    def test_no_answer_steers_the_terminal(self):
        events = [{"at": "x", "type": "t", "actor": "app", "uid": 1, "detail": {"reason": "r" + self.EVIL, "o": {"k": "v"}}}]
        verdict = {"kind": "k", "class": "c", "permanent": True, "status": "s", "detail": "d", "source": "s", "at": "x"}
        row = message(verdict=verdict, events=events)
        stats = dict(STATS, messages={"queued" + self.EVIL: 1}, challenges={"x" + self.EVIL: 1})
        answers = {"/v1": (200, VERSION), "/readyz": (200, dict(READY, relays={"p" + self.EVIL: "up"})),
                   "/v1/stats": (200, stats), "/v1/relays": page(RELAYS),
                   "/v1/outbox?limit=50": page([row], "c"), f"/v1/outbox/{MESSAGE}": (200, row),
                   f"/v1/challenges/{CHALLENGE}": (200, {"id": "i", "state": "s", "app": "a", "message": row})}
        answers = {path: (status, self.evil_everywhere(body)) for path, (status, body) in answers.items()}
        verbs = [["status"], ["outbox", "list"], ["outbox", "show", MESSAGE], ["challenge", "show", CHALLENGE],
                 ["relay", "list"]]
        with FakeDaemon(answers) as daemon:
            for verb in verbs:
                for json_flag in ([], ["--json"]):
                    result = self.check(run(*verb, *json_flag, socket_path=daemon.socket), 0)
                    self.no_control(result.stdout)
                    self.no_control(result.stderr)
                    self.assertIn("\\u001b" if json_flag else "\\x1b", result.stdout)

    def test_no_problem_steers_the_terminal(self):
        status, body = problem(404, "not_found", "nothing")
        with FakeDaemon({f"/v1/outbox/{MESSAGE}": (status, self.evil_everywhere(body))}) as daemon:
            result = self.check(run("outbox", "show", MESSAGE, socket_path=daemon.socket), 1, "")
            self.no_control(result.stderr)
            self.assertIn("\\x1b", result.stderr)

    def test_no_argument_steers_the_terminal(self):
        for arguments in (["outbox", "show", self.EVIL], ["outbox", "list", "--state", self.EVIL], [self.EVIL],
                          ["outbox", "list", self.EVIL]):
            self.no_control(self.check(run(*arguments), 2).stderr)
        self.no_control(self.check(run("status", socket_path="/nonexistent/" + self.EVIL), 69).stderr)
        self.no_control(self.check(run("keygen", "/nonexistent/" + self.EVIL), 1).stderr)


class Failures(Case):
    def test_not_found(self):
        with FakeDaemon({f"/v1/outbox/{MESSAGE}": problem(404, "not_found", "no message has this id")}) as daemon:
            self.check(run("outbox", "show", MESSAGE, socket_path=daemon.socket), 1, "",
                       "mailotpctl: no message has this id (not_found)\n"
                       "  request 0190b5a0-0000-7000-8000-00000000abcd\n")

    def test_field_is_named(self):
        with FakeDaemon({"/v1/outbox?limit=50&cursor=x": problem(400, "invalid_field", "no such cursor", field="cursor")}) as daemon:
            result = self.check(run("outbox", "list", "--cursor", "x", socket_path=daemon.socket), 1, "")
            self.assertTrue(result.stderr.startswith("mailotpctl: cursor: no such cursor (invalid_field)\n"))

    def test_field_is_named_once(self):
        answer = problem(400, "invalid_field", "limit: must be 1 to 500", field="limit")
        with FakeDaemon({"/v1/outbox?limit=50": answer}) as daemon:
            result = self.check(run("outbox", "list", socket_path=daemon.socket), 1, "")
            self.assertTrue(result.stderr.startswith("mailotpctl: limit: must be 1 to 500 (invalid_field)\n"))

    def test_forbidden(self):
        with FakeDaemon({"/v1/relays": problem(403, "app_unknown", "this peer is no operator")}) as daemon:
            self.check(run("relay", "list", socket_path=daemon.socket), 77, "")

    def test_try_again(self):
        for status, code in ((503, "storage_unavailable"), (429, "rate_limited")):
            with FakeDaemon({"/v1/relays": problem(status, code, "later", retry_after=65)}) as daemon:
                result = self.check(run("relay", "list", socket_path=daemon.socket), 75, "")
                self.assertTrue(result.stderr.startswith(f"mailotpctl: later ({code}); try again in 1m5s\n"))

    def test_error_without_a_problem_document(self):
        with FakeDaemon({"/v1/relays": (500, b"<html>")}) as daemon:
            self.check(run("relay", "list", socket_path=daemon.socket), 1, "",
                       "mailotpctl: the daemon answered with HTTP status 500\n")

    def test_answers_that_are_none(self):
        deep = b'{"items":' + b"[" * 200000 + b"]" * 200000 + b"}"
        for body in (b"", b"{", b"[]", b"null", b"\xff", b'{"items":1}', b'{"items":[{]}'):
            with FakeDaemon({"/v1/relays": (200, body)}) as daemon:
                for flag in ([], ["--json"]):
                    result = self.check(run("relay", "list", *flag, socket_path=daemon.socket), 1, "")
                    self.assertIn("the daemon's answer cannot be read", result.stderr)
        with FakeDaemon({"/v1/relays": (200, deep)}) as daemon:
            self.check(run("relay", "list", "--json", socket_path=daemon.socket), 0)

    def test_an_answer_without_end_is_cut(self):
        with FakeDaemon({"/v1/relays": (200, b" " * (17 << 20))}) as daemon:
            self.check(run("relay", "list", socket_path=daemon.socket), 75, "")

    def test_lost_connection(self):
        with FakeDaemon({"/v1/relays": "hang up"}) as daemon:
            result = self.check(run("relay", "list", socket_path=daemon.socket), 75, "")
            self.assertIn(f"the daemon at {daemon.socket} gave no answer", result.stderr)

    def test_stdout_that_cannot_be_written(self):
        with FakeDaemon({"/v1/relays": page(RELAYS)}) as daemon, open("/dev/full", "w") as full:
            result = subprocess.run([PROGRAM, "--socket", daemon.socket, "relay", "list"], stdout=full,
                                    stderr=subprocess.PIPE, text=True, timeout=LIMIT)
            self.assertEqual(result.returncode, 1)
            self.assertIn("cannot write the answer", result.stderr)


class Socket(Case):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="mailotpctl-")
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def test_no_socket(self):
        self.check(run("status", socket_path=self.path("none.sock")), 69, "",
                   f"mailotpctl: no daemon at {self.path('none.sock')} (No such file or directory); start it with "
                   "\"systemctl start mailotpd\", or name its admin_socket with --socket\n")

    def test_left_over_socket(self):
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(self.path("left.sock"))
        result = self.check(run("status", socket_path=self.path("left.sock")), 69, "")
        self.assertIn("(Connection refused)", result.stderr)

    def test_socket_from_the_environment(self):
        with FakeDaemon({"/v1/relays": page([])}) as daemon:
            variables = {"MAILOTPD_ADMIN_SOCKET": daemon.socket}
            self.check(run("relay", "list", variables=variables), 0)
            # The option is stronger.
            self.check(run("relay", "list", variables=variables, socket_path=self.path("none.sock")), 69)

    def test_path_too_long(self):
        result = self.check(run("status", socket_path="/" + "s" * 200), 69, "")
        self.assertIn("File name too long", result.stderr)

    def run_as_nobody(self, socket_path):
        """As a user who is neither root nor the owner: root drops to nobody, others take their own rights away."""
        os.chmod(self.folder, 0o755)
        program = self.path("mailotpctl")  # nobody may not reach the build folder
        shutil.copy(PROGRAM, program)
        drop = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        return subprocess.run([program, "--socket", socket_path, "status"], capture_output=True, text=True,
                              timeout=LIMIT, cwd="/", **drop)

    def test_closed_socket(self):
        path = self.path("closed.sock")
        with socket.socket(socket.AF_UNIX) as closed:
            closed.bind(path)
            closed.listen()
            os.chmod(path, 0o000)
            result = self.check(self.run_as_nobody(path), 77, "")
            group = re.escape(self.group_of(path))
            self.assertRegex(result.stderr, rf"no permission for {path}: the socket \(mode 0000\) belongs to group {group};")

    def test_closed_folder(self):
        inner = self.path("run")
        os.mkdir(inner)
        with socket.socket(socket.AF_UNIX) as closed:
            closed.bind(os.path.join(inner, "admin.sock"))
            closed.listen()
            os.chmod(inner, 0o000)
            self.addCleanup(os.chmod, inner, 0o700)
            result = self.check(self.run_as_nobody(os.path.join(inner, "admin.sock")), 77, "")
            self.assertIn(f"its folder {inner} (mode 0000) admits group {self.group_of(inner)}", result.stderr)

    @staticmethod
    def group_of(path):
        import grp
        return grp.getgrgid(os.stat(path).st_gid).gr_name


class Usage(Case):
    def test_mistakes(self):
        for arguments, says in (
                (["frob"], '"frob" is not known here'),
                (["outbox", "frob"], 'Try "mailotpctl outbox --help"'),
                (["outbox", "list", "--state", "lost"], 'no state is named "lost"; there are queued, sending'),
                (["outbox", "list", "--limit", "0"], "--limit"),
                (["outbox", "list", "--limit", "501"], "--limit"),
                (["outbox", "list", "--all", "--cursor", "x"], "excludes"),
                (["outbox", "show"], "ID is required"),
                (["outbox", "show", "42"], '"42" is no id'),
                (["challenge", "show", "x"], "is no id"),
                (["outbox", "hold"], "ID is required"),
                (["outbox", "retry", MESSAGE, "42"], '"42" is no id'),
                (["outbox", "hold", MESSAGE, "--yes"], "--yes"),
                (["outbox", "flush", MESSAGE], MESSAGE),
                (["keygen"], "FILE is required"),
                (["backup"], "FILE is required"),
                (["check-config"], "FILE is required"),
                (["--frob", "status"], "--frob"),
                (["status", "more"], "more")):
            with self.subTest(arguments):
                result = self.check(run(*arguments), 2, "")
                self.assertIn(says, result.stderr)

    def test_no_verb_shows_help(self):
        self.assertIn("Subcommands:", self.check(run(), 2, "").stderr)
        self.assertIn("Usage: mailotpctl outbox", self.check(run("outbox"), 2, "").stderr)

    def test_help_has_an_example_for_every_verb(self):
        for verb in ([], ["status"], ["outbox"], ["outbox", "list"], ["outbox", "show"], ["outbox", "retry"],
                     ["outbox", "hold"], ["outbox", "release"], ["outbox", "cancel"], ["outbox", "flush"], ["challenge"],
                     ["challenge", "show"], ["relay"], ["relay", "list"], ["relay", "test"], ["relay", "suspend"], ["relay", "resume"], ["backup"], ["keygen"], ["check-config"], ["doctor"]):
            with self.subTest(verb):
                out = self.check(run(*verb, "--help"), 0, err="").stdout
                example = out[out.index("Example:\n"):].splitlines()[1].split()
                self.assertEqual(example[0], "mailotpctl")
                if verb:
                    self.assertEqual(example[1:1 + len(verb)], verb)
                self.assertIn("Usage: " + " ".join(["mailotpctl"] + verb), out)

    def test_version(self):
        self.assertRegex(self.check(run("--version"), 0, err="").stdout, r"\Amailotpctl \d+\.\d+\.\d+\n\Z")


class Colour(Case):
    def on_a_terminal(self, **variables):
        with FakeDaemon({"/v1/relays": page(RELAYS)}) as daemon:
            ours, theirs = pty.openpty()
            environment = {"PATH": os.environ["PATH"], "TERM": "xterm", "COLUMNS": "80", **variables}
            with subprocess.Popen([PROGRAM, "--socket", daemon.socket, "relay", "list"], env=environment,
                                  stdout=theirs, stderr=theirs) as child:
                os.close(theirs)
                out = b""
                while select.select([ours], [], [], LIMIT)[0]:
                    try:
                        piece = os.read(ours, 65536)
                    except OSError:  # the other end is closed
                        break
                    if not piece:
                        break
                    out += piece
                os.close(ours)
                self.assertEqual(child.wait(LIMIT), 0)
            return out.decode()

    def test_only_where_it_is_wanted(self):
        self.assertIn("\x1b[32mup\x1b[0m", self.on_a_terminal())
        self.assertNotIn("\x1b", self.on_a_terminal(NO_COLOR="1"))
        self.assertNotIn("\x1b", self.on_a_terminal(TERM="dumb"))
        self.assertIn("\x1b", self.on_a_terminal(NO_COLOR=""))


class Keygen(Case):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="mailotpctl-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.file = os.path.join(self.folder, "otp.key")

    def key_of(self, path):
        with open(path, encoding="ascii") as file:
            comment, key, end = file.read().split("\n")
        self.assertTrue(comment.startswith("# "))
        self.assertEqual(end, "")
        self.assertRegex(key, r"\A[0-9a-f]{64}\Z")
        return key

    def test_makes_a_key(self):
        for umask in (0o000, 0o277):
            path = self.file + oct(umask)
            result = self.check(run("keygen", path, umask=umask), 0, err="")
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
            self.assertNotIn(self.key_of(path), result.stdout)
            self.assertIn(path, result.stdout)

    def test_each_key_is_another(self):
        keys = set()
        for i in range(8):
            self.check(run("keygen", f"{self.file}{i}"), 0)
            keys.add(self.key_of(f"{self.file}{i}"))
        self.assertEqual(len(keys), 8)

    def test_in_the_working_folder(self):
        self.check(run("keygen", "here.key", cwd=self.folder), 0)
        self.key_of(os.path.join(self.folder, "here.key"))

    def test_an_existing_file_is_not_touched(self):
        with open(self.file, "w", encoding="ascii") as file:
            file.write("mine")
        result = self.check(run("keygen", self.file), 1, "")
        self.assertIn("exists and was not touched", result.stderr)
        with open(self.file, encoding="ascii") as file:
            self.assertEqual(file.read(), "mine")

    def test_a_link_is_not_followed(self):
        os.symlink(os.path.join(self.folder, "elsewhere"), self.file)
        self.check(run("keygen", self.file), 1, "")
        self.assertFalse(os.path.exists(os.path.join(self.folder, "elsewhere")))

    def test_no_folder(self):
        path = os.path.join(self.folder, "none", "otp.key")
        self.check(run("keygen", path), 1, "",
                   f"mailotpctl: {path}: cannot create the key file: No such file or directory\n")

    def test_a_full_disk_leaves_no_half_key(self):
        # A file-size limit of nothing is a disk that is full.
        import resource
        import signal

        def no_room():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))

        result = self.check(run("keygen", self.file, preexec_fn=no_room), 1, "")
        self.assertIn("cannot write the key file: File too large", result.stderr)
        self.assertEqual(os.listdir(self.folder), [])


class CheckConfig(Case):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="mailotpctl-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.program = os.path.join(self.folder, "mailotpctl")
        shutil.copy(PROGRAM, self.program)

    def test_becomes_the_daemon_beside_it(self):
        daemon = os.path.join(self.folder, "mailotpd")
        with open(daemon, "w", encoding="ascii") as file:
            file.write('#!/bin/sh\nfor word; do echo "[$word]"; done\nexit 78\n')
        os.chmod(daemon, 0o755)
        result = subprocess.run([self.program, "check-config", "a file.toml"], capture_output=True, text=True,
                                timeout=LIMIT)
        self.check(result, 78, "[--check]\n[--config]\n[a file.toml]\n", "")

    def test_a_daemon_that_cannot_run(self):
        daemon = os.path.join(self.folder, "mailotpd")
        os.mkdir(daemon)
        result = subprocess.run([self.program, "check-config", "x.toml"], capture_output=True, text=True,
                                timeout=LIMIT)
        self.check(result, 1, "", f"mailotpctl: cannot run {daemon}, which checks configurations: Permission denied\n")


def checked(check, result="ok", subject="", saw="", remedy=""):
    return {"check": check, "subject": subject, "result": result, "saw": saw, "remedy": remedy}


class Doctor(Case):
    """With a mailotpd beside it that says what the test wants, and a daemon that answers likewise."""

    KEYS = [{"id": "ab12cd34", "writing": True, "needed": True}]
    GOOD_TEST = {"relay": "primary", "ok": True, "steps": [{"stage": "connect", "ok": True, "saw": "127.0.0.1"},
                                                           {"stage": "auth", "ok": True, "saw": "not configured"}]}

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="mailotpctl-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.program = os.path.join(self.folder, "mailotpctl")
        shutil.copy(PROGRAM, self.program)
        self.version = run("--version").stdout.split()[1]
        self.relay = dict(RELAYS[0])

    def mailotpd(self, script):
        path = os.path.join(self.folder, "mailotpd")
        with open(path, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n" + script)
        os.chmod(path, 0o755)

    def says(self, *checks):
        with open(os.path.join(self.folder, "lines"), "w", encoding="utf-8") as file:
            file.write("".join(json.dumps(check) + "\n" for check in checks))
        self.mailotpd(f'[ "$1 $2 $3" = "--config a.toml --diagnose" ] && cat {self.folder}/lines\n')

    def answers(self, **changes):
        """Of a healthy daemon; `changes` to its /readyz."""
        ready = dict(READY, **changes)
        return {"/v1": (200, dict(VERSION, version=self.version)), "/readyz": (200, ready), "/v1/stats": (200, STATS),
                "/v1/relays": page([self.relay]), "POST /v1/relays/primary/test": (200, dict(self.GOOD_TEST)),
                "/v1/keys": page(self.KEYS)}

    def doctor(self, *words):
        return subprocess.run([self.program, "doctor", "--config", "a.toml", *words], capture_output=True, text=True,
                              timeout=LIMIT)

    def asked(self, answers, *words):
        with FakeDaemon(answers) as daemon:
            result = self.doctor("--socket", daemon.socket, *words)
            return result, result.stdout.replace(daemon.socket, "SOCKET")

    def test_for_people(self):
        self.says(checked("key", "warning", "otp.key", "belongs to root", "chown mailotpd otp.key"))
        result, out = self.asked(self.answers())
        self.check(result, 0, err="")
        self.assertEqual(out, f"""\
warning   key             otp.key: belongs to root
          → chown mailotpd otp.key
ok        daemon          SOCKET: version {self.version}, ready
ok        store           takes and keeps
ok        agent           every one runs, confined
ok        relay           primary: works (connect, auth)
ok        outbox          nothing is held
ok        keys            ab12cd34 writes
nothing is wrong, 1 warning
""")

    def test_json_lines(self):
        wrong = checked("key", "failed", "ö\u001b[31m", "missing", "make it")
        self.says(wrong)
        result, out = self.asked(self.answers(), "--json")
        self.check(result, 1, err="mailotpctl: 1 of 7 checks failed\n")
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertEqual(lines[0], wrong)
        self.assertTrue(out.isascii())
        self.assertEqual([line["check"] for line in lines[1:]], ["daemon", "store", "agent", "relay", "outbox", "keys"])

    def test_what_is_found_cannot_steer_the_terminal(self):
        self.says(checked("key", "failed", "a\u001b[31m", "b\nc", "d\u202e"))
        result, out = self.asked(self.answers())
        self.check(result, 1)
        self.assertNotIn("\x1b", out)
        self.assertIn("a\\x1b[31m: b\\x0ac\n          → d\\u{202e}\n", out)

    def found(self, answers, code):
        """What is not ok, of the daemon's part."""
        self.says(checked("key"))
        result, out = self.asked(answers, "--json")
        self.check(result, code)
        return [(line["check"], line["subject"], line["result"]) for line in map(json.loads, out.splitlines())
                if line["result"] != "ok"], out

    def test_what_a_daemon_tells(self):
        late = dict(self.answers(), **{"/v1": (200, VERSION)})
        held = dict(self.answers(), **{"/v1/stats": (200, dict(STATS, messages={"held": 3}))})
        silent = dict(self.answers(), **{"POST /v1/relays/primary/test": (200, {"relay": "primary", "ok": False, "steps": []})})
        for name, answers, code, check, result, words in (
                ("another version", late, 0, "daemon", "warning", ["9.8.7", "systemctl restart"]),
                ("store", self.answers(store="failing", store_error="the disk is full"), 1, "store", "failed",
                 ["the disk is full", "make room"]),
                ("unconfined", self.answers() | {"/readyz": (200, dict(READY, agents={"smtp": "unconfined"}))}, 0, "agent",
                 "warning", ["files that it does not need", "Landlock"]),
                ("no agent", self.answers() | {"/readyz": (200, dict(READY, agents={"smtp": "down"}))}, 1, "agent", "failed",
                 ["does not run", "journalctl"]),
                ("brake", self.answers(braked=["shop"]), 1, "brake", "failed", ["right codes do not", "event=brake_on"]),
                ("foreign mails", self.answers(bounces="up", bounces_foreign=25), 0, "bounce-mailbox", "warning",
                 ["25 mails", "mailbox of its own"]),
                ("mailbox", self.answers(bounces="down", bounces_error={"step": "connect", "reason": "refused",
                                                                         "trouble": "ordinary", "at": ago(hours=1)}),
                 1, "bounce-mailbox", "failed", ["connect: refused", "`host`, `port`"]),
                ("held", held, 0, "outbox", "warning", ["3 mails are held", "outbox release"]),
                ("no step", silent, 1, "relay", "failed", ["no end", "journalctl"]),
                ("not ready answers", self.answers() | {"/readyz": (503, dict(READY, ready=False, store="failing"))}, 1,
                 "store", "failed", ["failing"])):
            with self.subTest(name):
                found, out = self.found(answers, code)
                self.assertEqual([(one, how) for one, _, how in found], [(check, result)])
                for word in words:
                    self.assertIn(word, out)

    def test_a_key_that_may_go_is_no_fault(self):
        answers = self.answers()
        answers["/v1/keys"] = page(self.KEYS + [{"id": "0000ffff", "writing": False, "needed": False}])
        found, out = self.found(answers, 0)
        self.assertEqual(found, [])
        self.assertIn("its line may go", out)
        self.assertIn("mailotpctl reload", out)

    def test_a_relay_that_is_open_again(self):
        self.relay.update(state="down", breaker="open", last_error="connect: refused")
        found, out = self.found(self.answers(), 0)
        self.assertEqual(found, [("relay", "primary", "warning")])
        self.assertIn("not used yet: connect: refused", out)

    def test_each_step_has_its_remedy(self):
        for stage, word in (("dns", "getent"), ("connect", "`port`"), ("tls", "`ca_file`"), ("starttls", "`tls`"),
                            ("greeting", "`hostname`"), ("ehlo", "`hostname`"), ("auth", "`password_file`"),
                            ("local", "journalctl")):
            with self.subTest(stage):
                answers = self.answers()
                answers["POST /v1/relays/primary/test"] = (200, {"relay": "primary", "ok": False, "steps": [
                    {"stage": stage, "ok": False, "saw": "what it saw"}]})
                found, out = self.found(answers, 1)
                self.assertEqual(found, [("relay", "primary", "failed")])
                self.assertIn(f"{stage}: what it saw", out)
                self.assertIn(word, out)

    def test_the_socket_of_the_configuration(self):
        with FakeDaemon(self.answers()) as daemon:
            self.says(checked("admin-socket", subject=daemon.socket))
            self.assertIn(f"ok        daemon          {daemon.socket}: version", self.check(self.doctor(), 0).stdout)

    def test_no_daemon(self):
        self.says(checked("key"))
        result = self.check(self.doctor("--socket", "/nowhere/admin.sock"), 1)
        self.assertIn("FAILED    daemon          /nowhere/admin.sock: no daemon at", result.stdout)
        self.assertIn("→ systemctl start mailotpd", result.stdout)
        self.assertIn("ok        key", result.stdout)

    def test_a_daemon_that_hangs_up(self):
        found, out = self.found({"/v1": "hang up"}, 1)
        self.assertEqual([(one, how) for one, _, how in found], [("daemon", "failed")])

    def test_a_mailotpd_that_does_not_help(self):
        with FakeDaemon(self.answers()) as daemon:
            for script, words in (("exit 64\n", "ended with 64 and said nothing"), ("echo no json\n", "cannot be read"),
                                  ("kill -9 $$\n", "ended with 137"),
                                  ("echo '{\"check\":\"key\",\"result\":\"fine\"}'\n", "a result that is known here")):
                with self.subTest(script):
                    self.mailotpd(script)
                    result = self.check(self.doctor("--socket", daemon.socket), 1)
                    self.assertIn("FAILED    programs", result.stdout)
                    self.assertIn(words, result.stdout)
                    self.assertIn("ok        daemon", result.stdout, "what the daemon tells is shown all the same")
            os.chmod(os.path.join(self.folder, "mailotpd"), 0o644)
            self.assertIn("cannot run", self.check(self.doctor("--socket", daemon.socket), 1).stdout)


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main()
