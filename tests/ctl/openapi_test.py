#!/usr/bin/env python3
"""docs/openapi.yaml is whole: every reference leads somewhere, every example fits, every call says what a caller needs."""
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from contract import METHODS, SILENT, Contract  # noqa: E402

CONTRACT = Contract()
DOCUMENT = CONTRACT.document


def walk(node, at="#"):
    yield at, node
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, child in children:
        yield from walk(child, f"{at}/{name}")


def operations():
    for path, item in DOCUMENT["paths"].items():
        for method in METHODS:
            if method in item:
                yield method, path, item, item[method]


class OpenApi(unittest.TestCase):
    def test_version(self):
        self.assertEqual(DOCUMENT["openapi"], "3.1.0")
        top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        with open(os.path.join(top, "CMakeLists.txt"), encoding="utf-8") as file:
            self.assertEqual(DOCUMENT["info"]["version"], re.search(r"project\(mailotpd VERSION (\S+)", file.read())[1])

    def test_every_reference_leads_somewhere_and_every_component_is_used(self):
        used = set()
        for at, node in walk(DOCUMENT):
            if isinstance(node, dict) and isinstance(node.get("$ref"), str):
                self.assertTrue(CONTRACT.resolve(node), at)
                used.add(node["$ref"])
        for kind, named in DOCUMENT["components"].items():
            for name in named:
                self.assertIn(f"#/components/{kind}/{name}", used)

    def test_every_schema_uses_known_keywords(self):
        for at, node in walk(DOCUMENT["components"]["schemas"]):
            is_schema = isinstance(node, dict) and not at.endswith("/properties") and at != "#" and "/examples" not in at
            for keyword in node if is_schema else ():
                known = keyword in SILENT or keyword == "$ref" or hasattr(CONTRACT, "check_" + keyword)
                self.assertTrue(known, f"{at}: {keyword}")

    def test_every_call_is_described(self):
        ids = [operation["operationId"] for _, _, _, operation in operations()]
        self.assertEqual(len(ids), len(set(ids)))
        tags = {tag["name"] for tag in DOCUMENT["tags"]}
        for method, path, item, operation in operations():
            with self.subTest(f"{method} {path}"):
                self.assertTrue(operation["summary"])
                self.assertLessEqual(set(operation["tags"]), tags)
                self.assertTrue(operation["x-sockets"])
                self.assertLessEqual(set(operation["x-sockets"]), {"apps", "operators"})
                # What changes something is for one of them: an operator makes, sends and checks no code.
                if method != "get":
                    of_operators = path.startswith(("/v1/relays/", "/v1/outbox/", "/v1/bounces", "/v1/suppressions/", "/v1/erase",
                                                    "/v1/reload", "/v1/templates/"))
                    self.assertEqual(operation["x-sockets"], ["operators" if of_operators else "apps"])
                parameters = [CONTRACT.resolve(one) for one in item.get("parameters", []) + operation.get("parameters", [])]
                in_path = [one["name"] for one in parameters if one["in"] == "path"]
                self.assertEqual(in_path, re.findall(r"\{([a-z_]+)\}", path))
                self.assertIn("default", operation["responses"])

    def test_every_answer_carries_the_common_headers(self):
        for method, path, _, operation in operations():
            for status, response in operation["responses"].items():
                with self.subTest(f"{method} {path} {status}"):
                    response = CONTRACT.resolve(response)
                    self.assertLessEqual({"X-Request-Id", "Cache-Control"}, set(response["headers"]))
                    self.assertTrue(response["description"])
                    if status not in ("default", "503") and int(status) < 400:
                        others = {"/v1/backup": ["application/vnd.sqlite3"],
                                  "/v1/events": ["text/event-stream", "application/x-ndjson"],
                                  "/metrics": ["text/plain; version=0.0.4; charset=utf-8"]}
                        self.assertEqual(list(response["content"]), others.get(path, ["application/json"]))
                    elif path != "/readyz":
                        self.assertEqual(list(response["content"]), ["application/problem+json"])
                    if status == "429" or (status == "503" and path != "/readyz"):
                        self.assertIn("Retry-After", response["headers"])

    def test_problem_codes_are_those_of_the_answers(self):
        named = set()
        for _, node in walk(DOCUMENT):
            named |= set(node.get("x-codes", [])) if isinstance(node, dict) else set()
        self.assertEqual(named, set(DOCUMENT["components"]["schemas"]["ProblemCode"]["enum"]))

    def test_every_example_fits_its_schema(self):
        count = 0
        for at, node in walk(DOCUMENT):
            if not (isinstance(node, dict) and "schema" in node and "examples" in node):
                continue
            for name, example in node["examples"].items():
                value = CONTRACT.resolve(example)["value"]
                faults = CONTRACT.faults(value, node["schema"]) + CONTRACT.unknown(value, [node["schema"]])
                self.assertEqual(faults, [], f"{at}/examples/{name}")
                count += 1
        self.assertGreater(count, 15)

    def test_the_checker_finds_what_is_wrong(self):
        challenge = dict(DOCUMENT["components"]["examples"]["Challenge"]["value"])
        path = f"/v1/challenges/{challenge['id']}"
        self.assertEqual(CONTRACT.check("GET", path, 200, "application/json", challenge), [])
        for change, says in (({"state": "sent"}, "$.state"), ({"id": "1"}, "$.id"), ({"revision": "2"}, "$.revision"),
                             ({"code": "123456"}, "$.code is not in the contract"),
                             ({"message": dict(challenge["message"], body="x")}, "$.message.body is not in the contract"),
                             ({"message": 1}, "$.message"), ({"created_at": "2026-11-20"}, "$.created_at")):
            faults = CONTRACT.check("GET", path, 200, "application/json", {**challenge, **change})
            self.assertEqual(len(faults), 1, faults)
            self.assertIn(says, faults[0])
        missing = {name: value for name, value in challenge.items() if name != "app"}
        self.assertEqual(CONTRACT.check("GET", path, 200, "application/json", missing), ["$.app is missing"])
        self.assertEqual(len(CONTRACT.check("GET", path, 404, "application/json", {})), 1)
        self.assertEqual(len(CONTRACT.check("GET", "/v2", 200, "application/json", {})), 1)
        self.assertEqual(len(CONTRACT.check("GET", path, 418, "application/problem+json", {})), 6)
        problem = {"type": "urn:mailotpd:error:not_found", "title": "", "status": 404, "detail": "", "code": "not_found",
                   "request_id": "1"}
        self.assertEqual(CONTRACT.check("GET", path, 404, "application/problem+json", problem), [])
        self.assertEqual(len(CONTRACT.check("GET", path, 400, "application/problem+json", problem)), 1)
        self.assertEqual(CONTRACT.check("GET", path, 404, "application/problem+json", {**problem, "code": "too_many_waits"}),
                         ["too_many_waits (404) is not in the contract here"])
        row = dict(DOCUMENT["components"]["examples"]["OutboxItem"]["value"])
        self.assertEqual(CONTRACT.check("GET", "/v1/outbox/x", 200, "application/json", row), [])
        self.assertEqual(CONTRACT.check("GET", "/v1/outbox/x", 200, "application/json", {**row, "body": ""}),
                         ["$.body is not in the contract"])


if __name__ == "__main__":
    unittest.main()
