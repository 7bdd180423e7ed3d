"""Keys: they change under a running daemon, are kept while rows need them, and without them a stolen database tells
nothing."""
import base64
import contextlib
import glob
import hashlib
import hmac
import itertools
import json
import os
import secrets
import signal
import sqlite3
import unittest

from harness import Client, SystemTest, parse_mail, wait_for, wrong_digits


class KeysTest(SystemTest):
    def up(self, **tables):
        self.daemon = self.new_daemon(**tables)
        self.keys = [secrets.token_hex(32)]
        self.write_keys()
        self.daemon.start()

    def write_keys(self, text=None, path=None):
        """All of them, the writing one first; or this text."""
        path = path or self.daemon.key
        with open(path + ".new", "w", encoding="ascii") as file:
            file.write("\n".join(self.keys) + "\n" if text is None else text)
        os.chmod(path + ".new", 0o600)
        os.rename(path + ".new", path)

    def reload(self, status=200, code=None):
        return self.expect(self.daemon.admin("POST", "/v1/reload", {}), status, code)

    def hang_up(self, event):
        """SIGHUP, and the line of the log that tells of it."""
        before = self.daemon.log().count(f"event={event}")
        self.daemon.signal(signal.SIGHUP)
        wait_for(lambda: self.daemon.log().count(f"event={event}") > before,
                 lambda: f"{event}; {self.daemon.log_tail()}")
        return [line for line in self.daemon.log().splitlines() if f"event={event}" in line][-1]

    def listed(self):
        return self.expect(self.daemon.admin("GET", "/v1/keys"), 200)["items"]

    def create(self, recipient, **fields):
        return self.expect(self.daemon.api("POST", "/v1/challenges",
                                           {"recipient": recipient, "purpose": "quick", **fields}), 201)

    def check(self, challenge, code):
        return self.expect(self.daemon.api("POST", f"/v1/challenges/{challenge['id']}/check", {"code": code}), 200)["result"]

    def relayed(self):
        def open_ones():
            stats = self.expect(self.daemon.admin("GET", "/v1/stats"), 200)["messages"]
            return sum(stats[state] for state in ("queued", "sending", "deferred", "uncertain"))
        wait_for(lambda: open_ones() == 0, self.daemon.log_tail)


class Rotation(KeysTest):
    def test_add_one_and_retire_the_other(self):
        self.up()
        first_id = self.listed()[0]["id"]
        old = self.create("old@example.org")
        self.daemon.code_for("old@example.org")
        resent = self.create("resent@example.org")
        kept = self.daemon.api("POST", "/v1/challenges", {"recipient": "kept@example.org", "purpose": "quick"},
                               {"Idempotency-Key": "k"})
        self.relayed()
        old_message = self.expect(self.daemon.api("GET", f"/v1/messages/{old['message']['id']}"), 200)["message_id"]

        self.keys.insert(0, secrets.token_hex(32))
        self.write_keys()
        told = self.reload()
        self.assertEqual((told["keys"], told["keys_from"], told["changed"], told["restart_needed"]), (2, "file", ["keys"], False))
        writing, retired = self.listed()
        self.assertEqual((writing["writing"], retired["writing"]), (True, False))
        self.assertEqual(retired["id"], first_id)
        self.assertTrue(retired["needed"] and retired["challenges"])
        self.assertIsNotNone(retired["retired_at"])

        # What the old one wrote goes on: checks, resends (the same code), repeats, bounces.
        code = self.daemon.code_for("old@example.org")
        self.assertEqual(self.check(old, wrong_digits(code)), "invalid")
        code_before = self.daemon.code_for("resent@example.org")
        self.expect(self.daemon.api("POST", f"/v1/challenges/{resent['id']}/send", {}), 202)
        self.assertEqual(self.daemon.code_for("resent@example.org", 2), code_before)
        self.assertEqual(self.check(resent, code_before), "valid")
        again = self.daemon.api("POST", "/v1/challenges", {"recipient": "kept@example.org", "purpose": "quick"},
                                {"Idempotency-Key": "k"})
        self.assertEqual((again.status, again.body), (kept.status, kept.body))
        new = self.create("new@example.org")
        self.relayed()
        new_message = self.expect(self.daemon.api("GET", f"/v1/messages/{new['message']['id']}"), 200)["message_id"]
        report = {"action": "delayed", "status": "4.2.0", "diagnostic": "smtp; 450 later"}
        for name in (old_message, new_message):
            self.expect(self.daemon.admin("POST", "/v1/bounces", {"message_id": name, **report}), 200)
        self.assertEqual(self.check(old, code), "valid")

        # The same after a death: what writes is in the file alone.
        self.daemon.kill()
        self.daemon.start()
        self.assertEqual([item["writing"] for item in self.listed()], [True, False])
        self.assertEqual(self.listed()[0]["id"], writing["id"])
        self.assertEqual(self.check(new, self.daemon.code_for("new@example.org")), "valid")

        # A key that rows need cannot go, neither now nor at a start.
        self.keys = self.keys[:1]
        needed = self.expect(self.daemon.admin("GET", "/v1/keys"), 200)["items"][1]["challenges"]
        self.assertTrue(needed, "the challenge of kept@example.org is open")
        self.write_keys()
        problem = self.reload(422, "configuration_invalid")
        self.assertIn(first_id, problem["detail"])
        self.assertIn(self.daemon.key, problem["detail"])
        self.assertIn(first_id, self.hang_up("reload_refused"))
        self.assertEqual(self.check(kept.json, self.daemon.code_for("kept@example.org")), "valid")
        # With the last row that needs it gone it may.
        self.assertEqual(self.reload()["keys"], 1)
        self.assertEqual([item["id"] for item in self.listed()], [writing["id"]])
        self.expect(self.daemon.admin("POST", "/v1/bounces", {"message_id": old_message, **report}), 404, "not_found")
        self.expect(self.daemon.admin("POST", "/v1/bounces", {"message_id": new_message, **report}), 200)
        self.daemon.kill()
        self.daemon.start()

    def test_a_start_without_a_key_that_is_needed_is_refused(self):
        self.up()
        challenge = self.create("a@example.org")
        code = self.daemon.code_for("a@example.org")
        self.relayed()
        key_id = self.listed()[0]["id"]
        self.assertEqual(self.daemon.stop(), 0)
        held, self.keys = self.keys, [secrets.token_hex(32)]
        self.write_keys()
        refused = self.daemon.run()
        self.assertEqual(refused.returncode, 78, refused.stderr)
        self.assertIn(key_id, refused.stderr)
        self.assertIn(self.daemon.key, refused.stderr)
        self.keys += held
        self.write_keys()
        self.daemon.start()
        self.assertEqual(self.check(challenge, code), "valid")

    def test_by_sighup(self):
        self.up()
        old = self.create("a@example.org")
        self.daemon.code_for("a@example.org")
        self.keys.insert(0, secrets.token_hex(32))
        self.write_keys()
        self.assertIn("keys=2 keys_from=file restart_needed=no", self.hang_up("reloaded"))
        self.assertEqual(len(self.listed()), 2)
        self.assertEqual(self.check(old, self.daemon.code_for("a@example.org")), "valid")

    def test_under_load(self):
        """Rows are written while the keys change: each opens with a key that the file has."""
        self.up()
        made = []
        for turn in range(5):
            made += [self.create(f"{turn}.{number}@example.org") for number in range(4)]
            self.keys.insert(0, secrets.token_hex(32))
            self.write_keys()
            self.daemon.signal(signal.SIGHUP)
            made += [self.create(f"{turn}.{number}@example.org") for number in range(4, 8)]
        wait_for(lambda: len(self.listed()) >= 2 and self.daemon.log().count("event=reloaded") >= 1, self.daemon.log_tail)
        self.daemon.kill()
        self.daemon.start()
        for challenge in made:
            self.assertEqual(self.check(challenge, self.daemon.code_for(challenge["recipient"])), "valid")


class Refused(KeysTest):
    def setUp(self):
        self.up()
        self.challenge = self.create("a@example.org")
        self.code = self.daemon.code_for("a@example.org")

    def assert_old_in_force(self):
        self.assertEqual(len(self.listed()), 1)
        made = self.create("more@example.org")
        self.expect(self.daemon.api("POST", f"/v1/challenges/{made['id']}/cancel", {}), 200)

    def test_key_files(self):
        good = self.keys[0]
        for name, text, said in (
                ("short", f"{good}\n\n{good[:-1]}\n", "line 3"), ("no hex", f"# ours\n{'x' * 64}\n", "line 2"),
                ("twice", f"{good}\n{good}\n", "line 2"), ("empty", "\n# nothing\n", "no key"),
                ("upper case", f"{good}\n{good.upper() if good.upper() != good else 'A' * 64}\n", "line 2")):
            with self.subTest(name):
                self.write_keys(text)
                problem = self.reload(422, "configuration_invalid")
                self.assertIn(self.daemon.key, problem["detail"])
                self.assertIn(said, problem["detail"])
                self.assertNotIn(good[:16], problem["detail"])
                self.assertIn(said, self.hang_up("reload_refused"))
                self.assert_old_in_force()
        self.write_keys()
        os.chmod(self.daemon.key, 0o644)
        self.assertIn("chmod 600", self.reload(422, "configuration_invalid")["detail"])
        os.remove(self.daemon.key)
        self.assertIn(self.daemon.key, self.reload(422, "configuration_invalid")["detail"])
        self.assert_old_in_force()
        self.write_keys()
        self.reload()
        self.assertEqual(self.check(self.challenge, self.code), "valid")
        self.assertNotIn(good, self.daemon.log())

    def test_configurations(self):
        with open(self.daemon.config, encoding="utf-8") as file:
            good = file.read()
        lines = good.count("\n")
        for name, text, where in (("unknown key", good + "colour = \"red\"\n", lines + 1),
                                  ("no TOML", good + "[[[\n", lines + 1),
                                  ("bad range", "[retention]\nevents = \"-1d\"\n" + good, 2)):
            with self.subTest(name):
                with open(self.daemon.config, "w", encoding="utf-8") as file:
                    file.write(text)
                problem = self.reload(422, "configuration_invalid")
                self.assertIn(f"{self.daemon.config}:{where}:", problem["detail"])
                self.assertIn(f":{where}:", self.hang_up("reload_refused"))
                self.assert_old_in_force()
        with open(self.daemon.config, "w", encoding="utf-8") as file:
            file.write(good + "\n# changed\n")
        told = self.reload()
        self.assertEqual((told["changed"], told["restart_needed"]), ([], False), "a comment is no change")
        self.assertEqual(self.check(self.challenge, self.code), "valid")

    def test_who_may(self):
        self.expect(self.daemon.api("POST", "/v1/reload", {}), 404, "not_found")
        self.expect(self.daemon.api("GET", "/v1/keys"), 404, "not_found")
        self.expect(self.daemon.admin("POST", "/v1/reload", {"now": True}), 400, "invalid_field")
        shown = json.dumps(self.listed())
        self.assertNotIn(self.keys[0][:16], shown)


class Credential(KeysTest):
    def test_keys_of_systemd(self):
        self.daemon = self.new_daemon()
        self.keys = [secrets.token_hex(32)]
        folder = os.path.join(self.daemon.folder, "credentials")
        os.mkdir(folder, 0o700)
        path = os.path.join(folder, "otp-key")
        self.write_keys(path=path)
        self.daemon.launch({"CREDENTIALS_DIRECTORY": folder})
        self.daemon.wait_ready()
        old = self.create("a@example.org")
        self.assertEqual(self.reload()["keys_from"], "credential")
        self.keys.insert(0, secrets.token_hex(32))
        self.write_keys(path=path)
        told = self.reload()
        self.assertEqual((told["keys"], told["keys_from"], told["changed"]), (2, "credential", ["keys"]))
        self.assertIn("keys_from=credential", self.hang_up("reloaded"))
        self.assertEqual(len(self.listed()), 2)
        self.assertEqual(self.check(old, self.daemon.code_for("a@example.org")), "valid")
        # The configured file, which the harness has made, plays no part: with it alone the start is refused.
        self.create("open@example.org")
        self.relayed()
        self.daemon.kill()
        refused = self.daemon.run()
        self.assertEqual(refused.returncode, 78, refused.stderr)


class Stolen(KeysTest):
    """The state folder, taken while challenges are open; the key is elsewhere."""

    ALGORITHMS = ("sha256", "sha1", "md5", "sha224", "sha512", "sha3_256", "blake2b", "blake2s")
    OBVIOUS = (b"", b"\0", b"\0" * 32, b"secret", b"changeme", b"mailotpd", b"otp", b"otp-key", b"code", b"key",
               b"mailotpd code hash", b"password")

    def files(self):
        found = {}
        for path in glob.glob(os.path.join(self.daemon.state, "*")):
            with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                # The reserve and what is left of the log are zeros, and there is a lot of them.
                found[os.path.basename(path)] = file.read().rstrip(b"\0")
        return found

    def fill(self, count, **fields):
        """[(challenge, code)], all of them open."""
        made = [self.create(f"victim{number}@example.org", **fields) for number in range(count)]
        return [(one, self.daemon.code_for(one["recipient"])) for one in made]

    def stored(self, challenges):
        """{id: every blob of its row}."""
        self.assertEqual(self.daemon.stop(), 0)
        database = sqlite3.connect(f"file:{self.daemon.state}/mailotpd.db?mode=ro", uri=True)
        self.addCleanup(database.close)
        columns = [row[1] for row in database.execute("PRAGMA table_info(challenge)")]
        found = {}
        for row in database.execute("SELECT * FROM challenge"):
            named = dict(zip(columns, row))
            name = named["id"].hex()
            found[f"{name[:8]}-{name[8:12]}-{name[12:16]}-{name[16:20]}-{name[20:]}"] = named
        self.assertEqual(set(found), {challenge["id"] for challenge, _ in challenges})
        return found

    @staticmethod
    def salts(challenge):
        raw = bytes.fromhex(challenge["id"].replace("-", ""))
        parts = [challenge["app"], challenge["purpose"], challenge["recipient"]]
        words = [raw, raw.hex().encode(), challenge["id"].encode(), *(part.encode() for part in parts),
                 "".join(parts).encode(), raw + "".join(parts).encode()]
        words += [separator.join([challenge["id"], *parts]).encode() for separator in ("", ":", "|", "\0", "\n", "/")]
        return words

    def guesses(self, challenge, code):
        """(how, digest) of a code in all the usual ways."""
        typed = code.encode()
        salts = self.salts(challenge)
        keys = [*self.OBVIOUS, *salts]
        for algorithm in self.ALGORITHMS:
            yield f"{algorithm}(code)", hashlib.new(algorithm, typed).digest()
            for salt, separator in itertools.product(salts, (b"", b":", b"|", b"\0", b"-")):
                yield f"{algorithm}({salt}{separator}code)", hashlib.new(algorithm, salt + separator + typed).digest()
                yield f"{algorithm}(code{separator}{salt})", hashlib.new(algorithm, typed + separator + salt).digest()
            for key, text in itertools.product(keys, [typed, *(salt + typed for salt in salts)]):
                yield f"HMAC-{algorithm}({key}, {text})", hmac.digest(key, text, algorithm)

    @staticmethod
    def matches(digest, blobs):
        """The first 8 bytes are enough to give it away."""
        return any(digest[:8] in blob or digest[:8].hex().encode() in blob for blob in blobs)

    def blobs(self, row):
        return [value for value in row.values() if isinstance(value, bytes)] + \
            [value.encode() for value in row.values() if isinstance(value, str)]

    def test_no_usual_hash_of_the_right_code(self):
        self.up()
        made = self.fill(3)
        rows = self.stored(made)
        for challenge, code in made:
            row = rows[challenge["id"]]
            self.assertEqual(len(row["code_mac"]), 32)
            blobs = self.blobs(row)
            found = [how for how, digest in self.guesses(challenge, code) if self.matches(digest, blobs)]
            self.assertEqual(found, [])
            # The search finds what would be there.
            planted = hashlib.sha256(challenge["id"].encode() + b":" + code.encode()).digest()
            self.assertTrue(any(self.matches(digest, [planted]) for _, digest in self.guesses(challenge, code)))

    def test_a_million_codes_against_every_hash(self):
        self.up()
        made = self.fill(20)
        rows = self.stored(made)
        macs = {row["code_mac"] for row in rows.values()}
        self.assertEqual(len(macs), 20)
        codes = [b"%06d" % number for number in range(1_000_000)]
        sha256, digest = hashlib.sha256, hmac.digest
        # Without a salt one table serves for all rows.
        self.assertFalse(macs.intersection(sha256(code).digest() for code in codes))
        self.assertFalse(macs.intersection(digest(b"", code, "sha256") for code in codes))
        # Salted as is obvious; all other ways with the right code alone are the other test's. The search finds what
        # would be there.
        challenge, right = made[0]
        mac = rows[challenge["id"]]["code_mac"]
        raw = bytes.fromhex(challenge["id"].replace("-", ""))
        for planted, search in (
                (sha256(raw + right.encode()).digest(), (sha256(raw + code).digest() for code in codes)),
                (digest(raw, right.encode(), "sha256"), (digest(raw, code, "sha256") for code in codes))):
            self.assertEqual({mac, planted}.intersection(search), {planted})

    def test_the_same_code_twice_is_not_seen(self):
        """Equal codes of two rows would be told by equal hashes: a code that one knows gives the others away."""
        self.up()
        rows = self.stored(self.fill(60))
        self.assertEqual(len({row["code_mac"] for row in rows.values()}), 60)
        self.assertEqual(len({row["kept_code"] for row in rows.values()}), 60)

    # -- the bytes

    @staticmethod
    def spellings(secret):
        """(how, bytes) of a text as it might be written down."""
        raw = secret.encode()
        yield "raw", raw
        yield "reversed", raw[::-1]
        yield "UTF-16", secret.encode("utf-16-le")
        yield "hex", raw.hex().encode()
        yield "hex", raw.hex().upper().encode()
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            for shift in range(3):
                # The characters that its own bits alone decide, at this place within three bytes.
                whole = encode(b"\0" * shift + raw)
                yield "base64", whole[(0, 2, 3)[shift]:8 * (shift + len(raw)) // 6]
        yield "quoted-printable", raw.replace(b"=", b"=3D").replace(b" ", b"=20")
        yield "base32", base64.b32encode(raw).rstrip(b"=")[:-2]

    def assert_absent(self, files, wanted, when):
        for what, secret in wanted:
            for how, spelled in self.spellings(secret):
                if len(spelled) < 8:
                    continue
                for name, content in files.items():
                    self.assertNotIn(spelled, content, f"{when}: {what} {secret!r} stands in {name}, {how}")

    def test_every_byte(self):
        self.up()
        agent = self.daemon.agent()
        os.kill(agent, signal.SIGSTOP)
        with Client(self.daemon.api_socket) as client:
            for number in range(12):
                self.expect(client.request("POST", "/v1/challenges", {
                    "recipient": f"v{number}@example.org", "purpose": "long", "data": {"name": f"Marker{number}Zq"},
                    "binding": {"session": f"Session{number}Zq"}}), 201)
        queued = self.files()
        with contextlib.suppress(ProcessLookupError):
            os.kill(agent, signal.SIGCONT)
        wait_for(lambda: len(self.daemon.mail_bytes()) >= 12, self.daemon.log_tail)
        self.relayed()
        opened = self.files()
        wanted = []
        for raw in self.daemon.mail_bytes():
            mail = parse_mail(raw)
            number = str(mail["To"]).partition("@")[0][1:]
            wanted += [("name", f"Marker{number}Zq"), ("binding", f"Session{number}Zq"),
                       ("code", self.daemon.code_for(f"v{number}@example.org"))]
        text = mail.get_body(("plain",)).get_content()
        wanted += [("subject", str(mail["Subject"]))]
        wanted += [("body", line.strip()) for line in text.splitlines() if len(line.strip()) > 20]
        self.assertGreater(len([one for one in wanted if one[0] == "body"]), 0)
        # The search finds what is there.
        self.assertTrue(any(b"v7@example.org" in content for content in opened.values()))
        self.assertTrue(any(name.endswith("-wal") and content for name, content in queued.items()))
        self.assert_absent(queued, wanted, "while mails wait")
        self.assert_absent(opened, wanted, "while challenges are open")
        self.assertEqual(self.daemon.stop(), 0)
        self.assert_absent(self.files(), wanted, "after the stop")


if __name__ == "__main__":
    unittest.main(verbosity=2)
