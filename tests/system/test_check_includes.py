"""scripts/check-includes: it passes on the tree as it is, and names file and line of every planted include."""
import os
import shutil
import subprocess
import tempfile
import unittest

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
CHECK = os.path.join(TOP, "scripts", "check-includes")
FOLDERS = ("core", "store", "mail", "daemon", "ctl", "bench", "tests")

# What each layer must not include: at least one of ours, one foreign, and what the design names.
FORBIDDEN = {
    "core": ['"store/keys.h"', '"mail/channel/frame.h"', '"mail/compose/composer.h"', '"daemon/app.h"', '"ctl/main.h"',
             '"tests/x.h"', "<sqlite3.h>", "<openssl/evp.h>", "<uv.h>", "<nlohmann/json.hpp>", "<unistd.h>",
             "<sys/socket.h>", "<mutex>", "<thread>", "<atomic>", "<fstream>", "<random>", "<curl/curl.h>"],
    "store": ['"mail/compose/composer.h"', '"mail/smtp/relay.h"', '"daemon/app.h"', '"tests/x.h"', "<uv.h>",
              "<nlohmann/json.hpp>", "<kainjow/mustache.hpp>", "<mutex>", "<SQLiteCpp/SQLiteCpp.h>"],
    "mail/channel": ['"store/keys.h"', '"mail/smtp/relay.h"', '"daemon/app.h"', "<uv.h>", "<openssl/ssl.h>",
                     "<sqlite3.h>", "<nlohmann/json.hpp>"],
    "mail/compose": ['"store/keys.h"', '"mail/channel/frame.h"', '"mail/smtp/relay.h"', '"daemon/app.h"', "<uv.h>",
                     "<sqlite3.h>", "<libesmtp.h>", "<mutex>"],
    "mail/smtp": ['"store/keys.h"', '"mail/imap/reader.h"', '"mail/compose/composer.h"', '"daemon/app.h"',
                  "<libetpan/libetpan.h>", "<sqlite3.h>", "<curl/curl.h>"],
    "mail/imap": ['"store/keys.h"', '"mail/smtp/relay.h"', '"mail/compose/composer.h"', '"daemon/app.h"',
                  "<libesmtp.h>", "<auth-client.h>", "<sqlite3.h>"],
    "daemon": ['"mail/smtp/relay.h"', '"mail/imap/reader.h"', '"ctl/main.h"', '"tests/x.h"', "<libesmtp.h>",
               "<auth-client.h>", "<libetpan/libetpan.h>", "<sqlite3.h>", "<kainjow/mustache.hpp>", "<curl/curl.h>"],
    "daemon/http": ['"mail/smtp/relay.h"', "<libesmtp.h>", "<libetpan/mailimap.h>"],
    "ctl": ['"store/keys.h"', '"daemon/app.h"', '"mail/channel/frame.h"', '"tests/x.h"', "<sqlite3.h>", "<uv.h>",
            "<boost/beast.hpp>"],
    "bench": ['"tests/x.h"'],
    # Nobody knows these libraries, these folders, these spellings.
    "core ": ["<somebody.h>", "<somebody/x.hpp>", '"somebody.h"', '"../core/id.h"', '"id.h"', "HEADER",
              '<../store/keys.h>'],
    "elsewhere": ["<vector>"],
}
ALLOWED = {
    "core": ['"core/id.h"', "<vector>", "<cstring>", "<tl/expected.hpp>", "<fmt/format.h>", "<idn2.h>"],
    "store": ['"core/store.h"', '"store/keys.h"', "<sqlite3.h>", "<openssl/evp.h>", "<unistd.h>", "<sys/file.h>"],
    "mail/channel": ['"core/delivery.h"', "<unistd.h>"],
    "mail/compose": ['"core/composer.h"', "<kainjow/mustache.hpp>", "<openssl/evp.h>", "<toml++/toml.h>"],
    "mail/smtp": ['"core/delivery.h"', '"mail/channel/frame.h"', "<libesmtp.h>", "<uv.h>", "<openssl/ssl.h>"],
    "mail/imap": ['"core/delivery.h"', '"mail/channel/frame.h"', "<libetpan/libetpan.h>", "<openssl/ssl.h>"],
    "daemon": ['"core/id.h"', '"store/keys.h"', '"mail/channel/frame.h"', '"mail/compose/composer.h"', "<uv.h>",
               "<boost/beast/http.hpp>", "<toml++/toml.h>", "<sys/un.h>", "<mutex>"],
    "ctl": ['"core/id.h"', "<curl/curl.h>", "<CLI/CLI.hpp>", "<nlohmann/json.hpp>"],
    "tests": ['"store/keys.h"', '"mail/smtp/relay.h"', '"tests/x.h"', "<catch2/catch.hpp>", "<libesmtp.h>"],
}


def check(top):
    return subprocess.run([CHECK, top], capture_output=True, text=True, timeout=60, check=False)


class CheckIncludes(unittest.TestCase):
    def setUp(self):
        self.top = tempfile.mkdtemp(prefix="mailotp-includes-")
        self.addCleanup(shutil.rmtree, self.top)

    def plant(self, folder, include):
        """A file of one layer with one include, on line 3; its name."""
        return self.write(folder, f"#pragma once\n\n#include {include}\n")

    def write(self, folder, text):
        file = os.path.join(folder.strip(), "planted.h")
        os.makedirs(os.path.join(self.top, folder.strip()), exist_ok=True)
        with open(os.path.join(self.top, file), "w", encoding="utf-8") as planted:
            planted.write(text)
        return file

    def test_the_tree_is_clean(self):
        done = check(TOP)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_one_forbidden_include_in_the_whole_tree(self):
        for folder in FOLDERS:
            shutil.copytree(os.path.join(TOP, folder), os.path.join(self.top, folder),
                            ignore=lambda at, names: [n for n in names if os.path.isfile(os.path.join(at, n))
                                                      and not n.endswith((".h", ".cpp"))])
        self.assertEqual(check(self.top).returncode, 0)
        for folder in ("core", "store", "mail/channel", "mail/compose", "mail/smtp", "mail/imap", "daemon", "ctl"):
            with self.subTest(folder):
                file = self.plant(folder, '"tests/x.h"')
                done = check(self.top)
                self.assertEqual(done.returncode, 1)
                self.assertIn(f"{file}:3: ", done.stdout)
                self.assertIn("1 forbidden includes", done.stdout)
                os.remove(os.path.join(self.top, file))

    def test_forbidden(self):
        for folder, includes in FORBIDDEN.items():
            for include in includes:
                with self.subTest(folder=folder, include=include):
                    file = self.plant(folder, include)
                    done = check(self.top)
                    os.remove(os.path.join(self.top, file))
                    self.assertEqual(done.returncode, 1, done.stdout)
                    line = 1 if folder == "elsewhere" else 3
                    self.assertRegex(done.stdout, rf"(?m)^{file}:{line}: .+", "file, line and reason")

    def test_allowed(self):
        for folder, includes in ALLOWED.items():
            for include in includes:
                with self.subTest(folder=folder, include=include):
                    file = self.plant(folder, include)
                    done = check(self.top)
                    os.remove(os.path.join(self.top, file))
                    self.assertEqual(done.returncode, 0, done.stdout)

    def test_spellings_are_seen_and_comments_are_not(self):
        for text in ("#include<uv.h>", "  #  include <uv.h> // why", "#\tinclude\t<uv.h>", "/* a */ #include <uv.h>",
                     "#include <uv.h> /* a", "#if 0\n#include <uv.h>\n#endif", '#include "uv.h"'):
            self.write("core", text + "\n")
            self.assertEqual(check(self.top).returncode, 1, text)
        for text in ("// #include <uv.h>", "/*\n#include <uv.h>\n*/", 'auto s = "x";  // #include <uv.h>'):
            self.write("core", text + "\n")
            self.assertEqual(check(self.top).returncode, 0, text)

    def test_an_empty_tree_is_no_success(self):
        self.assertEqual(check(self.top).returncode, 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
