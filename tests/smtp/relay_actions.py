"""What a scripted relay can do in place of the right reply, as values for a Rule and as words for a command
line.

An action is an async callable of (session). It returns True when the stage has been dealt with, False when the
right reply is to follow; it raises Gone when the session is over. The words are NAME[:ARGUMENT][+ACTION …], with
\\n, \\r, \\x1b … as in a string of C: `drop`, `reply:450 4.2.0 later`, `take+reset`, `after:0.5+drop`.
"""
import asyncio
import os
import socket
import struct

BOUND = 60.0


class Gone(Exception):
    """The session is over."""


def reply(text):
    """Says this instead of the right reply; lines of `text` are separated by \\n."""
    async def act(session):
        await session.say_raw("".join(line + "\r\n" for line in text.split("\n")).encode("latin-1"))
        return True
    return act


def raw(data):
    """Sends exactly these bytes instead of the right reply."""
    async def act(session):
        await session.say_raw(data)
        return True
    return act


def also(data):
    """The right reply and these bytes after it, in one write."""
    async def act(session):
        session.extra = data
        return False
    return act


def twice():
    """The right reply two times in one segment."""
    async def act(session):
        session.repeat = True
        return False
    return act


def early(text="250 2.0.0 early"):
    """The right reply and, before it was asked for, the next one; the next command gets none."""
    async def act(session):
        session.extra = text.encode("latin-1") + b"\r\n"
        session.unanswered = 1
        return False
    return act


def eat():
    """Says nothing to this command and goes on with the next."""
    async def act(_session):
        return True
    return act


def hide(*keywords):
    """At ehlo: these keywords are not offered to this session."""
    async def act(session):
        session.hidden |= {word.upper() for word in keywords}
        return False
    return act


def bad_certificate(context=None):
    """At tls: the handshake with another certificate, of `context` or of the relay's `bad_tls`."""
    async def act(session):
        session.tls = context or session.relay.bad_tls
        assert session.tls, "no bad certificate is there"
        return False
    return act


def drop():
    """Closes the connection in good order."""
    async def act(_session):
        raise Gone()
    return act


def reset():
    """Closes it with a RST."""
    async def act(session):
        plain = session.writer.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        session.writer.transport.abort()
        raise Gone()
    return act


def unclosed():
    """Closes TCP; TLS is not closed before it."""
    async def act(session):
        session.writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        session.writer.transport.abort()
        raise Gone()
    return act


def silent():
    """Says nothing more and keeps the connection until the other side closes it."""
    async def act(session):
        while await session.reader.read(65536):
            pass
        raise Gone()
    return act


def deaf():
    """Neither says nor reads anything more, until the relay stops."""
    async def act(session):
        session.writer.transport.pause_reading()
        await session.relay.stopping.wait()
        raise Gone()
    return act


def partial(text="250 2.0.0 but the line has no e", then=None):
    """The beginning of a reply, then `then` or silence."""
    async def act(session):
        await session.say_raw(text.encode("latin-1"))
        return await (then or silent())(session)
    return act


def slowly(text, pause):
    """The reply, one byte each `pause` seconds."""
    async def act(session):
        for byte in (text + "\r\n").encode():
            await session.say_raw(bytes([byte]))
            await asyncio.sleep(pause)
        return True
    return act


def huge(what="line"):
    """A reply without bounds: "line" is one of 8 MiB, "lines" 400,000 short ones, "long" 1000 of 4000 bytes."""
    piece = {"line": b"x" * 80_000, "lines": b"250-x\r\n" * 4000,
             "long": (b"250-" + b"y" * 3996 + b"\r\n") * 10}[what]

    async def act(session):
        if what == "line":
            await session.say_raw(b"250 ")
        for _ in range(100):
            await session.say_raw(piece)
        await session.say_raw(b"\r\n" if what == "line" else b"250 end\r\n")
        return True
    return act


def binary(length=200):
    """Bytes that are no reply: NUL, ESC, 8-bit, one line end."""
    async def act(session):
        noise = bytes(byte for byte in os.urandom(length) if byte not in b"0123456789\n")
        await session.say_raw(b"\0\x1b[2J\xff" + noise + b"\r\n")
        return True
    return act


def after(pause, then=None):
    """Waits, then does `then` or goes on as usual."""
    async def act(session):
        await asyncio.sleep(pause)
        return await then(session) if then else False
    return act


def held(gate, then=None):
    """Waits until the test sets `gate` (a threading.Event), then does `then` or goes on as usual."""
    async def act(session):
        await asyncio.get_running_loop().run_in_executor(None, gate.wait, BOUND)
        return await then(session) if then else False
    return act


def close(text="421 4.3.2 shutting down"):
    """Says this and closes."""
    async def act(session):
        await session.say(text)
        raise Gone()
    return act


def take(then):
    """At dot: the mail is accepted for good, and the client gets `then` instead of its 250."""
    async def act(session):
        session.accept()
        return await then(session)
    return act


# ---- In words

def _text(words):
    return words.encode("latin-1", "backslashreplace").decode("unicode_escape")


_WITHOUT = {"drop": drop, "reset": reset, "unclosed": unclosed, "silent": silent, "stall": silent, "deaf": deaf,
            "twice": twice, "eat": eat, "badcert": bad_certificate, "binary": binary}
_WITH = {"reply": lambda words: reply(_text(words)),
         "raw": lambda words: raw(_text(words).encode("latin-1")),
         "also": lambda words: also(_text(words).encode("latin-1")),
         "hide": lambda words: hide(*words.split(","))}
_MAYBE = {"early": early, "partial": partial, "huge": huge, "close": close}


def parse_action(words):
    """The action that NAME[:ARGUMENT][+ACTION] stands for. ValueError: it stands for none."""
    name, _, argument = words.partition(":")
    if name.startswith("take+"):
        return take(parse_action(words.removeprefix("take+")))
    if name == "after":
        pause, plus, then = argument.partition("+")
        return after(float(pause), parse_action(then) if plus else None)
    if name == "drip":
        return slowly("250 2.0.0 slowly", float(argument or "0.05"))
    if name == "421":
        return close()
    if name.isdigit() and not argument and len(name) == 3:
        return reply(name + " as the script says")
    if name in _WITHOUT and not argument:
        return _WITHOUT[name]()
    if name in _WITH and argument:
        return _WITH[name](argument)
    if name in _MAYBE:
        return _MAYBE[name](_text(argument)) if argument else _MAYBE[name]()
    raise ValueError(f"no such action: {words}")


HELP = """actions:
  NNN              a reply with this code (421: and the end); NNN means one of its own text
  reply:TEXT       this reply; \\n separates lines          raw:BYTES   exactly these bytes
  also:BYTES       the right reply and these bytes in one segment
  twice            the right reply two times in one segment
  early[:TEXT]     the right reply and at once the next one, before its command
  eat              no reply, and on with the next command
  hide:WORD,…      at ehlo: without these keywords           badcert     at tls: the certificate of --bad-tls
  close[:TEXT]     421 (or TEXT) and the end                 drop        the end
  reset            RST                                       unclosed    the end of TCP without close_notify
  silent, stall    nothing more is said                      deaf        nothing is read either
  partial[:TEXT]   a line without its end, then silence      drip[:S]    a byte each S seconds (0.05)
  huge[:WHAT]      line, lines or long: a reply without bounds           binary  no reply at all
  after:S[+ACTION] in S seconds, then the action or the right reply
  take+ACTION      at dot: the mail is taken, and this happens instead of the 250"""
