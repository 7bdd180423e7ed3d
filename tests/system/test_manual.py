"""The manual pages against the programs: they are well-formed, and whatever the programs take or tell is in them."""
import os
import re
import subprocess
import tomllib
import unittest

from harness import BIN, BOUND

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, os.pardir)
PAGES = ("mailotpd.8", "mailotpctl.1", "mailotpd.toml.5")


def read(*path):
    with open(os.path.join(TOP, *path), encoding="utf-8") as file:
        return file.read()


def page(name):
    return read("docs/man", name)


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=BOUND, check=False)


def help_of(program, *words):
    done = run(os.path.join(BIN, program), *words, "--help")
    assert done.returncode == 0, f"{program} {words}: {done.returncode}\n{done.stderr}"
    return done.stdout


def options_in(text):
    return set(re.findall(r"(?<![\w-])--([a-z][a-z-]*)", text))


def options_named(source):
    return set(re.findall(r"\bFl Fl ([a-z][a-z-]*)", source))


def exit_codes(path):
    """The numbers of `enum class ExitCode`."""
    body = re.search(r"enum class ExitCode : int \{(.*?)\};", read(path), re.DOTALL).group(1)
    return {int(number) for number in re.findall(r"= (\d+),", body)}


def exit_codes_named(source):
    section = re.search(r"^\.Sh EXIT STATUS\n(.*?)^\.Sh ", source, re.DOTALL | re.MULTILINE).group(1)
    return {int(number) for number in re.findall(r"^\.It (\d+)$", section, re.MULTILINE)}


class Pages(unittest.TestCase):
    def test_well_formed(self):
        for name in PAGES:
            with self.subTest(name):
                done = run("mandoc", "-T", "lint", "-W", "warning", os.path.join(TOP, "docs/man", name))
                self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_name_and_section(self):
        for name in PAGES:
            title, _, section = name.rpartition(".")
            with self.subTest(name):
                self.assertIn(f"\n.Dt {title.upper()} {section}\n", page(name))
                self.assertIn(f"\n.Nm {title}\n.Nd ", page(name))


class Tool(unittest.TestCase):
    """mailotpctl(1)."""

    @classmethod
    def setUpClass(cls):
        cls.source = page("mailotpctl.1")
        # Of each verb the line that names it, up to the next one.
        cls.verbs = {}
        section = re.search(r"^\.Ss Verbs\n(.*?)^\.Sh ", cls.source, re.DOTALL | re.MULTILINE).group(1)
        for item in re.split(r"^\.It Ic ", section, flags=re.MULTILINE)[1:]:
            words = item.split("\n", 1)[0].split()
            end = next((at for at, word in enumerate(words) if word in ("Oo", "Op", "Ar", "Fl")), len(words))
            cls.verbs[" ".join(words[:end])] = item
        head = cls.source[:cls.source.index(".Ss Verbs\n")]
        cls.common = options_named(head)

    def all_verbs(self, *above):
        """Every verb below `above` with what its --help says."""
        text = help_of("mailotpctl", *above)
        listed = re.search(r"^Subcommands:\n((?:  .*\n)+)", text, re.MULTILINE)
        found = {above: text}
        for name in re.findall(r"^  (\S+)", listed.group(1), re.MULTILINE) if listed else ():
            found.update(self.all_verbs(*above, name))
        return found

    def test_every_verb_and_option(self):
        known = self.all_verbs()
        self.assertGreater(len(known), 20, "the help is not read right")
        self.assertIn("state", options_in(known["outbox", "list"]))
        for words, text in known.items():
            with self.subTest(" ".join(words)):
                # What examples and prose mention belongs to other verbs too.
                options = set().union(*map(options_in, re.findall(r"^  .*--.*", text.split("\nExample:")[0], re.MULTILINE)))
                if not words:
                    self.assertEqual(options - self.common, set())
                    continue
                self.assertIn(" ".join(words), self.verbs)
                self.assertEqual(options - self.common - options_named(self.verbs[" ".join(words)]), set())

    def test_exit_codes(self):
        self.assertLessEqual(exit_codes("ctl/exit_code.h") | {78}, exit_codes_named(self.source))

    def test_environment(self):
        for name in re.findall(r"Env:(\w+)", help_of("mailotpctl")):
            self.assertIn(f".It Ev {name}\n", self.source)


class Program(unittest.TestCase):
    """mailotpd(8)."""

    def test_every_option(self):
        options = options_in(help_of("mailotpd"))
        self.assertLessEqual({"config", "check"}, options)
        items = "\n".join(re.findall(r"^\.It Fl .*$", page("mailotpd.8"), re.MULTILINE))
        self.assertEqual(options - options_named(items), set())

    def test_exit_codes(self):
        self.assertLessEqual(exit_codes("daemon/app/app.h"), exit_codes_named(page("mailotpd.8")))


class Configuration(unittest.TestCase):
    """mailotpd.toml(5)."""

    @classmethod
    def setUpClass(cls):
        cls.sections = {}
        source = page("mailotpd.toml.5")
        for part in re.split(r"^\.S[sh] ", source, flags=re.MULTILINE)[1:]:
            title, _, text = part.partition("\n")
            name = re.fullmatch(r"\[+([a-z]+)(?:\.NAME)?\]+", title)
            if name:
                cls.sections[name.group(1)] = text

    def item(self, table, key):
        """What the page says of a key, or None."""
        for item in re.split(r"^\.It Ic ", self.sections.get(table, ""), flags=re.MULTILINE)[1:]:
            names, _, text = item.partition("\n")
            if key in names.split(" , "):
                return text
        return None

    @staticmethod
    def keys(text):
        """(table, key, value) of each."""
        for table, content in tomllib.loads(text).items():
            tables = content if isinstance(content, list) else content.values() if table == "purpose" else [content]
            for one in tables:
                for key, value in one.items():
                    yield table, key, value

    def test_every_key(self):
        for path in ("tests/config/contract.toml", "examples/mailotpd.toml"):
            for table, key, _ in self.keys(read(path)):
                with self.subTest(f"[{table}] {key} of {path}"):
                    self.assertIsNotNone(self.item(table, key))

    def test_every_class_of_a_verdict(self):
        classes = re.search(r"k_verdict_classes\{(.*?)\}", read("daemon/config/config_sections.cpp"), re.DOTALL).group(1)
        names = re.findall(r'"([a-z-]+)"', classes)
        self.assertGreater(len(names), 10)
        said = set(re.findall(r"[a-z-]+", self.sections["verdict"]))
        self.assertEqual(set(names) - said, set())

    def test_defaults_are_those_of_the_example(self):
        compared = 0
        purposes = tomllib.loads(read("examples/mailotpd.toml"))["purpose"]
        for table, key, value in self.keys(read("examples/mailotpd.toml")):
            said = re.search(r"Default:(?:\n\.Qq (\S+) \.| ([\d.]+|true|false)\.)$", self.item(table, key) or "", re.MULTILINE)
            if not said or isinstance(value, (list, dict)):
                continue
            if table == "purpose":
                value = purposes["login"].get(key, value)
            with self.subTest(f"[{table}] {key}"):
                self.assertEqual(said.group(1) or said.group(2), str(value).lower() if isinstance(value, bool) else str(value))
            compared += 1
        self.assertGreater(compared, 40)


if __name__ == "__main__":
    unittest.main(verbosity=2)
