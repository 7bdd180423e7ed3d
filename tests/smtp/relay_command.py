"""scripted_relay.py by hand: its command line."""
import argparse
import signal
import sys
import threading

import relay_actions
from scripted_relay import BY_ADDRESS, Rule, ScriptedRelay

STAGES = ("connect", "tls", "greeting", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "body", "dot", "idle",
          "rset", "quit")


def parse_nth(text):
    """"3" is the third visit, "2-5" the second to the fifth, "4-" all from the fourth, "0" every one."""
    first, dash, last = text.partition("-")
    if not dash:
        return int(first)
    return range(int(first), int(last) + 1 if last else sys.maxsize)


def parse_rule(words, p=1.0):
    """"stage=dot nth=2 action=drop": keys stage, nth, to, p, action; the action is the rest of the words."""
    before, found, action = words.partition("action=")
    if not found:
        raise argparse.ArgumentTypeError(f"a rule without an action: {words}")
    given = dict(word.partition("=")[::2] for word in before.split())
    unknown = set(given) - {"stage", "nth", "to", "p"}
    try:
        if unknown or given["stage"] not in STAGES:
            raise ValueError(f"unknown: {', '.join(sorted(unknown)) or given['stage']}")
        return Rule(given["stage"], relay_actions.parse_action(action), nth=parse_nth(given.get("nth", "0")),
                    to=given.get("to", ""), p=float(given.get("p", p)))
    except (KeyError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{error}, in the rule: {words}") from error


def parser():
    out = argparse.ArgumentParser(
        prog="scripted_relay.py", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="An SMTP server on 127.0.0.1 that misbehaves by rule. Prints `port N` and ends on SIGTERM.",
        epilog=relay_actions.HELP + "\n\nstages: " + " ".join(STAGES) + "\n\nby recipient, without a rule "
               "(NAMEonce-… at its first visit only):\n  " +
               "\n  ".join(f"{rule.to + '…':12}at {rule.stage}" for rule in BY_ADDRESS if "once" not in rule.to))
    out.add_argument("--port", type=int, default=0, help="0: one that is free")
    out.add_argument("--rule", action="append", default=[], metavar="'stage=S [nth=N|N-M] [to=PREFIX] [p=P] action=A'")
    out.add_argument("--p", type=float, default=1.0, help="probability of the rules that name none")
    out.add_argument("--seed", default="0", help="the same seed, the same faults")
    out.add_argument("--journal", metavar="FILE", help="a line of JSON for each mail that reached MAIL")
    out.add_argument("--tls", metavar="PEM", help="chain and key: offers STARTTLS")
    out.add_argument("--bad-tls", metavar="PEM", help="for the action badcert")
    out.add_argument("--implicit", action="store_true", help="TLS from the first byte")
    out.add_argument("--user", action="append", default=[], metavar="NAME:PASSWORD", help="offers AUTH")
    out.add_argument("--keyword", action="append", metavar="WORDS", help="in place of 8BITMIME, DSN and SIZE")
    out.add_argument("--no-pipelining", action="store_true")
    return out


def main(words=None):
    options = parser()
    given = options.parse_args(words)
    try:
        rules = [parse_rule(rule, given.p) for rule in given.rule]
    except argparse.ArgumentTypeError as error:
        options.error(str(error))
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    relay = ScriptedRelay(rules, certificate=given.tls, implicit=given.implicit, bad_certificate=given.bad_tls,
                          users=dict(user.split(":", 1) for user in given.user) or None, keywords=given.keyword,
                          pipelining=not given.no_pipelining, seed=given.seed, journal_file=given.journal)
    relay.start(given.port)
    print(f"port {relay.port}", flush=True)
    ended.wait()
    relay.stop()
    print(f"connections {relay.connections}, mails {len(relay.mails)}", flush=True)
    return 0
