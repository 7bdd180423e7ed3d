"""bounce-eval: its lines are JSON, one a mail; what is wrong with its arguments it says."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

PROGRAM = sys.argv.pop(1)
CORPUS = sys.argv.pop(1)


def run(*arguments):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, timeout=60)


class BounceEval(unittest.TestCase):
    def test_one_line_a_mail(self):
        result = run(CORPUS)
        self.assertEqual(result.returncode, 0, result.stderr)
        lines = [json.loads(line) for line in result.stdout.decode("utf-8").splitlines()]
        self.assertEqual([line["file"] for line in lines], sorted(os.listdir(CORPUS)))
        by_name = {line["file"]: line for line in lines}
        self.assertEqual(by_name["dsn"]["kind"], "bounce")
        recipient = by_name["dsn"]["recipients"][0]
        self.assertEqual(recipient["address"], "reader@example.net")
        self.assertIs(recipient["permanent"], True)
        self.assertIs(recipient["hard"], True)
        self.assertEqual(recipient["class"], "user-unknown")
        self.assertEqual(by_name["dsn-delay"]["kind"], "delay")
        self.assertIs(by_name["dsn-delay"]["recipients"][0]["hard"], False)
        self.assertEqual(by_name["feedback"], {"file": "feedback", "kind": "arf", "rule": "feedback-report",
                                               "recipients": []})

    def test_arguments(self):
        help_text = run("--help")
        self.assertEqual(help_text.returncode, 0)
        self.assertIn(b"usage: bounce-eval", help_text.stdout)
        self.assertEqual(run().returncode, 2)
        self.assertEqual(run("--no-such-word").returncode, 2)
        with tempfile.TemporaryDirectory() as empty:
            result = run(empty)
            self.assertEqual(result.returncode, 1)
            self.assertIn(b"no files", result.stderr)
            result = run(os.path.join(empty, "missing"))
            self.assertEqual(result.returncode, 1)
            self.assertIn(b"No such file", result.stderr)


if __name__ == "__main__":
    unittest.main()
