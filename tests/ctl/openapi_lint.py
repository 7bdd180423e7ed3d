#!/usr/bin/env python3
"""docs/openapi.yaml under checkers that are not ours: the OpenAPI Initiative's own schema of OpenAPI 3.1, and JSON Schema
2020-12 for every schema and every example in it, both by python3-jsonschema.

oas-3.1.json is https://spec.openapis.org/oas/3.1/schema/2026-08-03, unchanged (Apache License 2.0, the OpenAPI Initiative):
Debian has the text of the specification, but not this file.
"""
import copy
import json
import os
import sys
import unittest

from jsonschema import Draft202012Validator, RefResolver

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from contract import Contract  # noqa: E402
from openapi_test import walk  # noqa: E402

CONTRACT = Contract()
with open(os.path.join(HERE, "oas-3.1.json"), encoding="utf-8") as file:
    OPENAPI = Draft202012Validator(json.load(file))


def faults(validator, value):
    return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(value)]


def validator_for(schema, document=CONTRACT.document):
    return Draft202012Validator(schema, resolver=RefResolver.from_schema(document))


def schemas(document):
    """Where, and every Schema Object that something else holds."""
    for name, schema in document["components"]["schemas"].items():
        yield f"#/components/schemas/{name}", schema
    for at, node in walk(document):
        if isinstance(node, dict) and "schema" in node and "/examples/" not in at:
            yield f"{at}/schema", node["schema"]


def document_faults(document):
    found = faults(OPENAPI, document)
    meta = Draft202012Validator(Draft202012Validator.META_SCHEMA)
    for at, schema in schemas(document):
        found += [f"{at} {fault}" for fault in faults(meta, schema)]
    return found


class Lint(unittest.TestCase):
    def test_the_document_is_openapi_3_1(self):
        self.assertEqual(document_faults(CONTRACT.document), [])

    def test_every_example_is_valid_by_another_validator(self):
        count = 0
        for at, node in walk(CONTRACT.document):
            if isinstance(node, dict) and "schema" in node and "examples" in node:
                for name, example in node["examples"].items():
                    value = CONTRACT.resolve(example)["value"]
                    self.assertEqual(faults(validator_for(node["schema"]), value), [], f"{at}/examples/{name}")
                    count += 1
        self.assertGreater(count, 25)

    def test_both_validators_agree_on_what_is_wrong(self):
        """Ours (contract.py) is what answers are held against: each of these must be wrong for both."""
        good = CONTRACT.document["components"]["examples"]["OutboxItem"]["value"]
        schema = {"$ref": "#/components/schemas/OutboxItem"}
        for change in ({"id": "x"}, {"state": "sent"}, {"attempts": -1}, {"attempts": 1.5}, {"current": 1}, {"reply": 1},
                       {"reply": {}}, {"reply": {"code": 700, "status": "", "text": ""}}, {"events": [{}]}, {"events": 0},
                       {"created_at": "2026"}, {"challenge": 0}, {"kind": "mail"}):
            bad = {**good, **change}
            self.assertTrue(faults(validator_for(schema), bad), change)
            self.assertTrue(CONTRACT.faults(bad, schema), change)

    def test_it_finds_what_is_wrong(self):
        def broken(change):
            document = copy.deepcopy(CONTRACT.document)
            change(document)
            return document_faults(document)

        for what, change in {
                "an operation has no such member": lambda d: d["paths"]["/v1/stats"]["get"].update(respones={}),
                "a parameter needs a place": lambda d: d["components"]["parameters"]["Wait"].pop("in"),
                "a path begins with a slash": lambda d: d["paths"].update({"v2": {}}),
                "an answer needs a description": lambda d: d["components"]["responses"]["NotFound"].pop("description"),
                "a status is a number": lambda d: d["paths"]["/v1/stats"]["get"]["responses"].update({"20": {"description": ""}}),
                "no such type": lambda d: d["components"]["schemas"]["Id"].update(type="text"),
                "a minimum is a number": lambda d: d["components"]["schemas"]["Reply"]["properties"]["code"].update(minimum="2"),
        }.items():
            self.assertTrue(broken(change), what)


if __name__ == "__main__":
    unittest.main()
