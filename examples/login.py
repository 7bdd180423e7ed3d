#!/usr/bin/env python3
"""A login by mail, the whole way: examples/login.py [SOCKET]. Exit 0: logged in, 1: not, 69: no mailotpd there."""
import http.client, json, secrets, socket, sys  # noqa: E401

PATH = sys.argv[1] if len(sys.argv) > 1 else "/run/mailotpd/api.sock"
# A web page has its session cookie here, the browser's address, and a cookie that stays on the device.
WHO = {"binding": {"session": secrets.token_hex(16)}, "client": {"ip": "127.0.0.1", "id": socket.gethostname()}}


def call(method, target, body=None):
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(PATH)
    connection.request(method, target, body and json.dumps(body))
    answer = connection.getresponse()
    return answer.status, json.load(answer)


def why(answer):
    if answer["code"] == "recipient_suppressed":
        return f"Mail to this address came back ({answer['class']}). Is it spelled right?"
    if "limit" in answer:
        return f"Too many ({answer['limit']['name']}): please wait until {answer['limit']['reset_at']}."
    return answer["detail"] or answer["title"]


def login():
    print("Your mail address: ", end="", flush=True)
    status, challenge = call("POST", "/v1/challenges", {"recipient": sys.stdin.readline().strip(), **WHO})
    if status != 201:
        return why(challenge)
    path = f"/v1/challenges/{challenge['id']}"
    while True:
        while challenge["message"]["state"] == "queued":  # until it has left, or something else is known
            _, challenge = call("GET", f"{path}?wait=25&revision={challenge['revision']}")
        verdict = challenge["message"]["verdict"]
        if verdict and verdict["kind"] != "delayed":  # for a sign-up; at a login it tells strangers who has an account
            return f"Your mail cannot be delivered: {verdict['class']} ({verdict['detail']})."
        print("The code from your mail, or r for another mail: ", end="", flush=True)
        typed = sys.stdin.readline().strip()
        if typed == "r":
            status, answer = call("POST", path + "/send", {})
            print("Another mail is on its way." if status == 202 else why(answer))
            challenge = answer if status == 202 else challenge
            continue
        status, answer = call("POST", path + "/check", {"code": typed or "-", **WHO})
        if status != 200:
            return why(answer)
        if answer["valid"]:
            print(f"Welcome, {challenge['recipient']}.")
            return None
        if answer["result"] != "invalid" or not answer["attempts_left"]:
            return "This code is of no more use. Please begin again."
        print(f"That is not the code. You have {answer['attempts_left']} more attempts.")


try:
    sys.exit(login())  # a text goes to standard error, and is exit code 1
except OSError as error:
    print(f"mailotpd does not answer at {PATH}: {error.strerror}", file=sys.stderr)
    sys.exit(69)
