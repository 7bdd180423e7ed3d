"""GET /metrics: what promtool says of it, its values against what was done, its socket, its list and its alerts."""
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import unittest

from harness import BOUND, Client, Raw, SystemTest, Unix, wait_for, wrong_digits

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tests", "smtp"))
from scripted_relay import Rule, ScriptedRelay, reply  # noqa: E402

# scripts/install-deps unpacks it.
PROMTOOL = os.environ.get("MAILOTP_PROMTOOL", "/var/cache/mailotpd-tests/prometheus/usr/bin/promtool")
ALERTS = os.path.join(TOP, "examples", "prometheus-alerts.yml")
TYPE = "text/plain; version=0.0.4; charset=utf-8"
SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+)\})? (\S+)')


def promtool(*words, given=None):
    return subprocess.run([PROMTOOL, *words], input=given, capture_output=True, text=True, timeout=BOUND, check=False)


def rising(by):
    """A counter's hour, in promtool's words."""
    return f"0+{by}x60"


def bounds(scrape, name):
    return {dict(labels)["le"] for one, *labels in scrape.values if one == name}


class Scrape:
    """One answer: values by name and labels, types by name."""

    def __init__(self, text):
        self.text = text
        self.values, self.types = {}, {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                assert name not in self.types, line
                self.types[name] = kind
            elif not line.startswith("#"):
                name, labels, value = SAMPLE.fullmatch(line).groups()
                key = (name, *sorted(re.findall(r'([a-z]+)="((?:[^"\\]|\\.)*)"', labels or "")))
                assert key not in self.values, line
                self.values[key] = float(value)

    def __call__(self, name, **labels):
        return self.values[(name, *sorted(labels.items()))]

    def labels(self):
        return {label for _, *labels in self.values for label in labels}


class Metrics(SystemTest):
    def scrape(self, path):
        with Client(path) as client:
            response = client.request("GET", "/metrics")
        self.assertEqual((response.status, response.headers["content-type"]), (200, TYPE), response)
        self.assertEqual(response.headers["cache-control"], "no-store")
        self.assertTrue(response.headers["x-request-id"])
        return Scrape(response.body.decode())

    def up(self, relay, **tables):
        one = {"name": "primary", "host": "127.0.0.1", "port": relay.port, "tls": "none", "auth": "none"}
        own = {"mode": "production", **tables.pop("daemon", {})}
        return self.new_daemon(daemon=own, relay=[one], **tables).start()

    def relay(self, *rules):
        relay = ScriptedRelay(list(rules)).start()
        self.addCleanup(relay.stop)
        return relay

    def create(self, daemon, recipient, status=201, **fields):
        response = daemon.api("POST", "/v1/challenges", {"recipient": recipient, "purpose": "quick", **fields})
        self.assertEqual(response.status, status, response)
        return response.json

    def until(self, daemon, challenge, state):
        message = challenge["message"]["id"]
        wait_for(lambda: daemon.api("GET", f"/v1/messages/{message}").json["state"] == state,
                 lambda: f"{message} is {state}; {daemon.log_tail()}")

    def code_of(self, relay, recipient):
        found = [mail for mail in relay.mails if recipient.encode() in mail]
        return re.search(rb"^\s*(\d{6})\s*$", found[-1], re.MULTILINE).group(1).decode()


class Values(Metrics):
    def test_what_was_done_is_what_is_counted(self):
        relay = self.relay(Rule("rcpt", reply("550 5.1.1 no such user"), to="dead"),
                           Rule("rcpt", reply("451 4.3.0 later"), to="later"))
        daemon = self.up(relay, limits={"recipient_sends": ["2/1h"]})
        before = self.scrape(daemon.admin_socket)
        # Two are relayed, one is refused, one is put off, two are refused by limits.
        alice = self.create(daemon, "alice@example.org", client={"ip": "203.0.113.9", "id": "device-1"})
        self.until(daemon, alice, "relayed")
        daemon.api("POST", f"/v1/challenges/{alice['id']}/send", {})
        wait_for(lambda: len(relay.mails) == 2, "the resend is relayed")
        self.create(daemon, "alice@example.org", status=429)
        once = self.create(daemon, "olga@example.org", purpose="once", send=False)
        self.assertEqual(daemon.api("POST", f"/v1/challenges/{once['id']}/cancel", {}).status, 200)
        dead = self.create(daemon, "dead@example.org")
        self.until(daemon, dead, "failed")
        self.create(daemon, "dead@example.org", status=422)
        later = self.create(daemon, "later@example.org")
        self.until(daemon, later, "deferred")
        keyed = {"recipient": "keyed@example.org", "send": False}
        for _ in range(2):
            self.assertEqual(daemon.api("POST", "/v1/challenges", keyed, {"Idempotency-Key": "k"}).status, 201)
        code = self.code_of(relay, "alice@example.org")
        path = f"/v1/challenges/{alice['id']}/check"
        for typed, result in ((wrong_digits(code), "invalid"), (code, "valid"), (code, "already_used"),
                              (code, "already_used")):
            self.assertEqual(daemon.api("POST", path, {"code": typed}).json["result"], result)
        daemon.admin("PUT", "/v1/suppressions/dora%40example.org", {"class": "user-unknown"})
        after = self.scrape(daemon.admin_socket)

        def grown(name, **labels):
            return after(name, **labels) - before(name, **labels)
        self.assertEqual({done: grown("mailotpd_challenge_requests_total", done=done)
                          for done in ("created", "sent", "resent", "canceled")},
                         {"created": 5, "sent": 0, "resent": 1, "canceled": 1})
        self.assertEqual({result: grown("mailotpd_checks_total", result=result)
                          for result in ("valid", "invalid", "already_used", "exhausted", "expired", "canceled",
                                         "binding_mismatch")},
                         {"valid": 1, "invalid": 1, "already_used": 2, "exhausted": 0, "expired": 0, "canceled": 0,
                          "binding_mismatch": 0})
        self.assertEqual(grown("mailotpd_repeated_requests_total"), 1)
        hits = {dict(labels)["limit"]: value for (name, *labels), value in after.values.items()
                if name == "mailotpd_limit_hits_total"}
        self.assertEqual({name for name, value in hits.items() if value}, {"recipient_sends"})
        self.assertEqual(hits["recipient_sends"], 1)
        self.assertEqual(grown("mailotpd_accepted_total"), 4)
        self.assertEqual(grown("mailotpd_messages", state="relayed"), 2)
        self.assertEqual(grown("mailotpd_messages", state="deferred"), 1)
        self.assertEqual(grown("mailotpd_messages_ended_total", state="relayed"), 2)
        self.assertEqual(grown("mailotpd_messages_ended_total", state="failed"), 1)
        self.assertEqual(grown("mailotpd_challenges", state="canceled"), 1)
        self.assertEqual(grown("mailotpd_bounces_total", **{"class": "user-unknown"}), 1)
        self.assertEqual(grown("mailotpd_suppressions_total"), 2)
        self.assertEqual(grown("mailotpd_delivery_seconds_count", kind="otp"), 2)
        self.assertEqual(grown("mailotpd_delivery_seconds_bucket", kind="otp", le="+Inf"), 2)
        self.assertGreater(grown("mailotpd_delivery_seconds_sum", kind="otp"), 0)
        attempts = [grown("mailotpd_relay_attempts_total", relay="primary", outcome=outcome)
                    for outcome in ("relayed", "uncertain", "lost")]
        self.assertEqual(attempts, [2, 0, 0])
        self.assertEqual(grown("mailotpd_relay_replies_total", relay="primary", **{"class": "2xx"}), 2)
        self.assertEqual(grown("mailotpd_relay_replies_total", relay="primary", **{"class": "5xx"}), 1)
        # It may have been tried again before the scrape.
        put_off = grown("mailotpd_relay_replies_total", relay="primary", **{"class": "4xx"})
        self.assertGreaterEqual(put_off, 1)
        self.assertEqual(grown("mailotpd_relay_attempts_total", relay="primary", outcome="refused"), 1 + put_off)
        self.assertGreater(grown("mailotpd_store_commit_seconds_count"), 10)
        self.assertEqual(grown("mailotpd_store_commit_seconds_count"), grown("mailotpd_store_commit_commands_count"))
        self.assertEqual(grown("mailotpd_store_commit_errors_total"), 0)
        self.assertGreater(after("process_cpu_seconds_total"), before("process_cpu_seconds_total"))
        self.nothing_private(after, daemon, [alice, dead, later], code)
        self.agrees_with_stats(daemon)

    def nothing_private(self, scrape, daemon, challenges, code):
        ids = [one["id"] for one in challenges] + [one["message"]["id"] for one in challenges]
        for secret in (code, "example.org", "203.0.113.9", "device-1", daemon.folder, *ids):
            for _, value in scrape.labels():
                self.assertNotIn(secret, value)
            if secret != code:  # a figure may have these six digits in it
                self.assertNotIn(secret, scrape.text)

    def agrees_with_stats(self, daemon):
        scrape = self.scrape(daemon.admin_socket)
        stats = daemon.admin("GET", "/v1/stats").json
        for kind in ("messages", "challenges"):
            for state, count in stats[kind].items():
                if state in ("queued", "sending", "deferred"):
                    continue  # one of them goes to and fro
                self.assertEqual(scrape(f"mailotpd_{kind}", state=state), count)
        self.assertEqual(scrape("mailotpd_accepted_total"), stats["accepted_total"])

    def test_what_is_now(self):
        relay = self.relay()
        daemon = self.up(relay, app=[{"name": "shop", "uids": [os.getuid()]}, {"name": "wiki", "uids": [54321]}])
        made = self.create(daemon, "alice@example.org")
        self.until(daemon, made, "relayed")
        seen = daemon.api("GET", f"/v1/challenges/{made['id']}").json
        kept = [Unix(daemon.api_socket) for _ in range(3)]
        for connection in kept:
            self.addCleanup(connection.close)
        for connection in kept[:2]:
            connection.request("GET", f"/v1/challenges/{made['id']}?wait=60&revision={seen['revision'] + 100}")
        kept[2].request("GET", "/v1/events")
        scrape = wait_for(lambda: (now := self.scrape(daemon.admin_socket))("mailotpd_waits") == 2
                          and now("mailotpd_event_streams") == 1 and now, "all three are seen")
        self.assertEqual(scrape("mailotpd_http_connections", socket="apps"), 3)
        self.assertEqual(scrape("mailotpd_http_requests", socket="apps"), 3)
        self.assertEqual(scrape("mailotpd_http_requests", socket="operators"), 1)
        self.assertEqual(scrape("mailotpd_http_connections", socket="metrics"), 0)
        self.assertEqual((scrape("mailotpd_ready"), scrape("mailotpd_store_ok"), scrape("mailotpd_store_readable")), (1, 1, 1))
        self.assertEqual((scrape("mailotpd_brake_on", app="shop"), scrape("mailotpd_brake_on", app="wiki")), (0, 0))
        self.assertEqual(scrape("mailotpd_bounce_mailbox", state="off"), 1)
        self.assertEqual(scrape("mailotpd_relay_up", relay="primary"), 1)
        self.assertEqual(scrape("mailotpd_relay_breaker", relay="primary", state="closed"), 1)
        self.assertEqual(scrape("mailotpd_agent_up", agent="smtp"), 1)
        self.assertNotIn(("mailotpd_agent_up", ("agent", "imap")), scrape.values)
        before = scrape("process_open_fds")
        for _ in range(20):
            kept.append(Unix(daemon.api_socket))
            kept[-1].connect()
            self.addCleanup(kept[-1].close)
        wait_for(lambda: self.scrape(daemon.admin_socket)("process_open_fds") >= before + 15, "descriptors are counted")
        self.assertGreater(scrape("process_resident_memory_bytes"), 1_000_000)
        daemon.admin("POST", "/v1/relays/primary/suspend", {})
        scrape = self.scrape(daemon.admin_socket)
        self.assertEqual((scrape("mailotpd_relay_up", relay="primary"), scrape("mailotpd_relay_suspended", relay="primary")),
                         (0, 1))

    def test_a_relay_that_is_gone_and_an_agent_that_dies(self):
        relay = self.relay()
        daemon = self.up(relay)
        os.kill(daemon.agent(), signal.SIGKILL)
        wait_for(lambda: self.scrape(daemon.admin_socket)("mailotpd_agent_restarts_total", agent="smtp") == 1
                 and self.scrape(daemon.admin_socket)("mailotpd_agent_up", agent="smtp") == 1, "it is started again")
        daemon.agents |= set(daemon.agent_pids())
        relay.stop()
        challenge = self.create(daemon, "alice@example.org")
        wait_for(lambda: self.scrape(daemon.admin_socket)("mailotpd_relay_breaker", relay="primary", state="open") == 1
                 or self.scrape(daemon.admin_socket)("mailotpd_relay_breaker", relay="primary", state="half-open") == 1,
                 "the breaker is not closed")
        scrape = self.scrape(daemon.admin_socket)
        self.assertEqual(scrape("mailotpd_relay_up", relay="primary"), 0)
        self.assertEqual(scrape("mailotpd_ready"), 0)
        self.assertGreaterEqual(scrape("mailotpd_relay_attempts_total", relay="primary", outcome="not_sent"), 1)
        self.assertIsNotNone(challenge["message"])

    def test_what_the_store_counts_survives_a_restart(self):
        relay = self.relay()
        daemon = self.up(relay)
        self.until(daemon, self.create(daemon, "alice@example.org"), "relayed")
        daemon.admin("PUT", "/v1/suppressions/dora%40example.org", {"class": "user-unknown"})
        self.assertEqual(self.scrape(daemon.admin_socket)("mailotpd_challenge_requests_total", done="created"), 1)
        started = self.scrape(daemon.admin_socket)("process_start_time_seconds")
        daemon.stop()
        daemon.start()
        scrape = self.scrape(daemon.admin_socket)
        self.assertEqual(scrape("mailotpd_accepted_total"), 1)
        self.assertEqual(scrape("mailotpd_suppressions_total"), 1)
        self.assertEqual(scrape("mailotpd_messages_ended_total", state="relayed"), 1)
        self.assertEqual(scrape("mailotpd_challenge_requests_total", done="created"), 0)
        self.assertGreater(scrape("process_start_time_seconds"), started)

    def test_waits_and_streams_that_are_too_many(self):
        daemon = self.up(self.relay())
        open_now = []
        self.addCleanup(lambda: [one.close() for one in open_now])
        for _ in range(17):
            open_now.append(Unix(daemon.api_socket))
            open_now[-1].request("GET", "/v1/events")
        wait_for(lambda: self.scrape(daemon.admin_socket)("mailotpd_limit_hits_total", limit="event_streams") == 1,
                 "the last one is refused")
        self.assertEqual(self.scrape(daemon.admin_socket)("mailotpd_event_streams"), 16)


class Third(Metrics):
    """The socket that serves nothing else."""

    def test_it_serves_nothing_else(self):
        daemon = self.new_daemon()
        path = os.path.join(daemon.folder, "metrics.sock")
        daemon.write_config(daemon={"metrics_socket": path, "admin_mode": "0600"})
        daemon.start()
        self.assertNotIn("not_in_force", daemon.log())
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(daemon.api_socket).st_mode), 0o660)
        scrape = self.scrape(path)
        self.assertEqual(scrape("mailotpd_http_connections", socket="metrics"), 1)
        self.assertEqual(scrape.types, self.scrape(daemon.admin_socket).types)
        with Client(daemon.admin_socket) as client:
            paths = client.request("GET", "/v1/openapi.json").json["paths"]
        with Client(path) as client:
            for one in [*paths, "/", "/metrics/", "/metrics/x", "/v1/metrics"]:
                if one != "/metrics":
                    for method in ("GET", "POST", "PUT", "DELETE"):
                        self.expect(client.request(method, one.replace("{", "").replace("}", "")), 404, "not_found")
            for method in ("POST", "PUT", "DELETE"):
                refused = client.request(method, "/metrics", {} if method != "DELETE" else None)
                self.expect(refused, 405, "method_not_allowed")
                self.assertEqual(refused.headers["allow"], "GET")
            self.expect(client.request("GET", "/metrics", None, {"Sec-Fetch-Site": "cross-site"}), 403, "cross_site")
        self.expect(daemon.api("GET", "/metrics"), 404, "not_found")
        self.assertEqual(daemon.stop(), 0)
        self.assertFalse(os.path.exists(path))

    def test_one_client_may_have_all_of_it_and_no_more(self):
        daemon = self.new_daemon()
        path = os.path.join(daemon.folder, "metrics.sock")
        daemon.write_config(daemon={"metrics_socket": path})
        daemon.start()
        kept = [Client(path) for _ in range(16)]
        for client in kept:
            self.addCleanup(client.close)
            self.assertEqual(client.request("GET", "/metrics").status, 200)
        with Raw(path) as one_more:  # it is told so unasked
            self.assertEqual(one_more.response().status, 503)
        self.assertTrue(daemon.is_ready(), "apps do not notice")
        self.assertEqual(daemon.stop(), 0)

    def test_without_the_key_there_is_none(self):
        daemon = self.new_daemon().start()
        self.assertEqual(sorted(name for name in os.listdir(daemon.folder) if name.endswith(".sock")),
                         ["admin.sock", "api.sock"])

    def test_it_is_in_use(self):
        daemon = self.new_daemon()
        path = os.path.join(daemon.folder, "metrics.sock")
        daemon.write_config(daemon={"metrics_socket": path})
        daemon.keygen()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(path)
            other.listen(1)
            refused = daemon.run()
        self.assertEqual(refused.returncode, 69, refused)


class Promtool(Metrics):
    def test_its_check_is_clean(self):
        relay = self.relay()
        daemon = self.up(relay)
        self.until(daemon, self.create(daemon, "alice@example.org"), "relayed")
        done = promtool("check", "metrics", given=self.scrape(daemon.admin_socket).text)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_promtool_finds_what_is_wrong(self):
        """Or it would not be worth asking."""
        for text in ("# HELP a_total A.\n# TYPE a_total gauge\na_total 1\n", "mailotpd_ready{x=\"y} 1\n"):
            self.assertNotEqual(promtool("check", "metrics", given=text).returncode, 0)

    def test_the_alerts(self):
        done = promtool("check", "rules", ALERTS)
        self.assertEqual(done.returncode, 0, done)
        daemon = self.new_daemon().start()
        scrape = self.scrape(daemon.admin_socket)
        with open(ALERTS, encoding="utf-8") as file:
            text = "".join(line for line in file if "summary:" not in line and "description:" not in line)
        used = set(re.findall(r"\bmailotpd_[a-z_]+", text))
        self.assertGreater(len(used), 10)
        self.assertEqual(used - {name for name, *_ in scrape.values}, set(), "no such metric")
        # Values of labels too: a regular expression that fits nothing would never fire.
        for name, selector in re.findall(r"\b(mailotpd_[a-z_]+)\{([^}]*)\}", text):
            for label, sign, wanted in re.findall(r'([a-z]+)(=~|!=|=)"([^"]*)"', selector):
                have = {dict(labels).get(label) for one, *labels in scrape.values if one == name}
                for value in wanted.split("|"):
                    self.assertIn(value, have, f"{name} {label}{sign}")

    def test_each_alert_fires_and_none_of_a_healthy_daemon(self):
        scrape = self.scrape(self.new_daemon().start().admin_socket)
        slow = {f"mailotpd_store_commit_seconds_bucket{{le={bound}}}": rising(60 if bound == "+Inf" or float(bound) > 1 else 0)
                for bound in bounds(scrape, "mailotpd_store_commit_seconds_bucket")}
        late = {f"mailotpd_delivery_seconds_bucket{{kind=otp,le={bound}}}":
                rising(60 if bound == "+Inf" or float(bound) > 60 else 0)
                for bound in bounds(scrape, "mailotpd_delivery_seconds_bucket")}
        attempts = "mailotpd_relay_attempts_total{outcome=%s,relay=capture}"
        cases = {
            "NotReady": {"mailotpd_ready": "0x60"},
            "StoreFailing": {"mailotpd_store_ok": "0x60"},
            "MailsWait": {"mailotpd_oldest_message_age_seconds{state=queued}": "61x60"},
            "MailsHeld": {"mailotpd_messages{state=held}": "1x60"},
            "DeliverySlow": late,
            "RelayDown": {"mailotpd_relay_up{relay=capture}": "0x60"},
            "BreakerOpen": {"mailotpd_relay_breaker{relay=capture,state=open}": "1x60"},
            "RelayRefuses": {attempts % "refused": rising(60), attempts % "relayed": rising(60)},
            "WeAreBlocked": {"mailotpd_bounces_total{class=spam}": rising(1), "mailotpd_accepted_total": rising(100)},
            "BouncesRise": {"mailotpd_bounces_total{class=user-unknown}": rising(10),
                            "mailotpd_accepted_total": rising(100)},
            "BounceMailboxDown": {"mailotpd_bounce_mailbox{state=down}": "1x60"},
            "BrakeOn": {"mailotpd_brake_on{app=default}": "1x60"},
            "LimitsHit": {"mailotpd_limit_hits_total{limit=client_sends}": rising(120)},
            "Guessing": {"mailotpd_checks_total{result=invalid}": rising(120)},
            "AgentRestarts": {"mailotpd_agent_restarts_total{agent=smtp}": rising(1)},
            "StoreSlow": slow,
            "LogLost": {"mailotpd_log_lines_dropped_total": rising(1)},
        }
        with open(ALERTS, encoding="utf-8") as file:
            alerts = re.findall(r"- alert: (\w+)", file.read())
        self.assertEqual({f"Mailotpd{name}" for name in cases}, set(alerts))
        self.assertEqual(self.fired(scrape, {}, alerts), set(), "a healthy daemon")
        for name, change in cases.items():
            with self.subTest(name):
                self.assertEqual(self.fired(scrape, change, alerts), {f"Mailotpd{name}"})

    def fired(self, scrape, change, alerts):
        """The alerts that an hour of this scrape fires, with some series changed."""
        series, left = [], dict(change)
        for (name, *labels), value in scrape.values.items():
            plain = name + ("{" + ",".join(f"{label}={said}" for label, said in labels) + "}" if labels else "")
            shown = name + "{" + ",".join(f'{label}="{said}"' for label, said in labels) + "}"
            series.append({"series": shown, "values": left.pop(plain, f"{value:.6f}x60")})
        self.assertEqual(left, {}, "no such series")
        test = {"rule_files": [ALERTS], "evaluation_interval": "1m", "tests": [{
            "interval": "1m", "input_series": series,
            "alert_rule_test": [{"eval_time": "60m", "alertname": alert, "exp_alerts": []} for alert in alerts]}]}
        with tempfile.NamedTemporaryFile("w", suffix=".yml", encoding="utf-8") as file:
            json.dump(test, file)  # which is YAML
            file.flush()
            done = promtool("test", "rules", file.name)
        found = set(re.findall(r"alertname: ?(\w+)", done.stdout + done.stderr))
        self.assertEqual(done.returncode == 0, not found, done)
        return found

    def test_the_list_is_complete(self):
        daemon = self.new_daemon().start()
        with open(os.path.join(TOP, "docs", "METRICS.md"), encoding="utf-8") as file:
            listed = re.findall(r"^\| `([a-z_]+)` \| ([a-z]+) \|([^|]*)\|", file.read(), re.MULTILINE)
        scrape = self.scrape(daemon.admin_socket)
        self.assertEqual({name: kind for name, kind, _ in listed}, scrape.types)
        self.assertEqual(len(listed), len(scrape.types), "one is listed twice")
        for name, kind, labels in listed:
            sample = name + ("_count" if kind == "histogram" else "")
            have = {label for one, *pairs in scrape.values if one == sample for label, _ in pairs}
            self.assertEqual(set(re.findall(r"`([a-z]+)`", labels)), have, name)


if __name__ == "__main__":
    unittest.main()
