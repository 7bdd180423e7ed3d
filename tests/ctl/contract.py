"""docs/openapi.yaml as something to hold answers against: Contract().check(method, path, status, content type, body).

Knows the keywords of JSON Schema that the document uses and refuses the document when it uses another.
"""
import json
import os
import re
import subprocess

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
SILENT = {"description", "default", "examples", "summary"}
METHODS = ("get", "post", "put", "delete", "patch")


def load(path=os.path.join(TOP, "docs", "openapi.yaml")):
    text = subprocess.run([os.path.join(TOP, "scripts", "openapi-json"), path], check=True, timeout=60,
                          stdout=subprocess.PIPE).stdout
    return json.loads(text)


def is_type(value, name):
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


class Contract:
    def __init__(self, document=None):
        self.document = document or load()

    def resolve(self, node):
        while "$ref" in node:
            at = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                at = at[part.replace("~1", "/").replace("~0", "~")]
            node = at
        return node

    def operation(self, method, path):
        """The operation of a concrete path, or None."""
        for template, item in self.document["paths"].items():
            if re.fullmatch(re.sub(r"\{[a-z_]+\}", "[^/]+", template.replace(".", r"\.")), path):
                return item.get(method.lower())
        return None

    def check(self, method, path, status, content_type, body):
        """What is wrong with an answer: a list of sentences, empty when all is right. `body` is the parsed JSON."""
        operation = self.operation(method, path)
        if operation is None:
            return [f"{method} {path} is not in the contract"]
        response = self.resolve(operation["responses"].get(str(status), operation["responses"]["default"]))
        content = response["content"]
        if content_type not in content:
            return [f"{method} {path} answers {status} with {content_type}, not {' or '.join(content)}"]
        schema = content[content_type]["schema"]
        found = self.faults(body, schema) + self.unknown(body, [schema])
        if content_type == "application/problem+json" and not found:
            found += self.code_faults(operation, status, body)
        return found

    def code_faults(self, operation, status, problem):
        """A problem's code must be one of those that its answer names, or that any call can answer."""
        if problem["status"] != status:
            return [f"a problem of status {problem['status']} in an answer of {status}"]
        named = {code for name in (str(status), "default") if name in operation["responses"]
                 for code in self.resolve(operation["responses"][name]).get("x-codes", [])}
        return [] if problem["code"] in named else [f"{problem['code']} ({status}) is not in the contract here"]

    def faults(self, value, schema, at="$"):
        found = []
        for keyword, rule in schema.items():
            if keyword == "$ref":
                found += self.faults(value, self.resolve(schema), at)
            elif keyword not in SILENT:
                found += getattr(self, "check_" + keyword)(value, rule, schema, at)
        return found

    def unknown(self, value, schemas, at="$"):
        """Members that no schema names, at any depth: the contract lets an answer have them, a test does not."""
        schemas = list(self.parts(schemas))
        found = []
        if isinstance(value, dict) and any("properties" in one for one in schemas):
            for name, child in value.items():
                named = [one["properties"][name] for one in schemas if name in one.get("properties", {})]
                found += self.unknown(child, named, f"{at}.{name}") if named else [f"{at}.{name} is not in the contract"]
        for i, child in enumerate(value if isinstance(value, list) else ()):
            found += self.unknown(child, [one["items"] for one in schemas if "items" in one], f"{at}[{i}]")
        return found

    def parts(self, schemas):
        for schema in schemas:
            schema = self.resolve(schema)
            yield schema
            yield from self.parts(schema.get("allOf", []) + schema.get("anyOf", []))

    def check_type(self, value, rule, _schema, at):
        names = rule if isinstance(rule, list) else [rule]
        return [] if any(is_type(value, name) for name in names) else [f"{at} is {value!r}, not {' or '.join(names)}"]

    def check_enum(self, value, rule, _schema, at):
        return [] if value in rule else [f"{at} is {value!r}, not one of {rule}"]

    def check_const(self, value, rule, _schema, at):
        return [] if value == rule else [f"{at} is {value!r}, not {rule!r}"]

    def check_pattern(self, value, rule, _schema, at):
        return [] if not isinstance(value, str) or re.search(rule, value) else [f"{at} is {value!r}, not like {rule}"]

    def check_minimum(self, value, rule, _schema, at):
        return [] if not is_type(value, "integer") or value >= rule else [f"{at} is {value}, under {rule}"]

    def check_maximum(self, value, rule, _schema, at):
        return [] if not is_type(value, "integer") or value <= rule else [f"{at} is {value}, over {rule}"]

    def check_minLength(self, value, rule, _schema, at):
        return [] if not isinstance(value, str) or len(value) >= rule else [f"{at} is shorter than {rule}"]

    def check_maxLength(self, value, rule, _schema, at):
        return [] if not isinstance(value, str) or len(value) <= rule else [f"{at} is longer than {rule}"]

    def check_required(self, value, rule, _schema, at):
        return [f"{at}.{name} is missing" for name in rule if isinstance(value, dict) and name not in value]

    def check_properties(self, value, rule, _schema, at):
        found = []
        for name, one in rule.items():
            if isinstance(value, dict) and name in value:
                found += self.faults(value[name], one, f"{at}.{name}")
        return found

    def check_additionalProperties(self, value, rule, schema, at):
        found = []
        for name in value if isinstance(value, dict) else ():
            if name in schema.get("properties", {}):
                continue
            found += [f"{at}.{name} is not allowed"] if rule is False else self.faults(value[name], rule, f"{at}.{name}")
        return found

    def check_propertyNames(self, value, rule, _schema, at):
        return [fault for name in (value if isinstance(value, dict) else ()) for fault in self.faults(name, rule, at)]

    def check_maxProperties(self, value, rule, _schema, at):
        return [] if not isinstance(value, dict) or len(value) <= rule else [f"{at} has more than {rule} members"]

    def check_items(self, value, rule, _schema, at):
        found = []
        for i, one in enumerate(value if isinstance(value, list) else ()):
            found += self.faults(one, rule, f"{at}[{i}]")
        return found

    def check_anyOf(self, value, rule, _schema, at):
        tried = [self.faults(value, one, at) for one in rule]
        return [] if not all(tried) else [f"{at} fits none of {len(rule)} forms: {tried[0][0]}"]

    def check_allOf(self, value, rule, _schema, at):
        return [fault for one in rule for fault in self.faults(value, one, at)]
