#!/usr/bin/python3
"""Runs a program under what a unit says of system calls, as far as a process can do that to itself: for hosts, and
tests, without a running systemd.

usage: sandbox.py UNIT PROGRAM [ARGUMENT …]

SystemCallFilter=, SystemCallErrorNumber=EPERM, RestrictAddressFamilies=, MemoryDenyWriteExecute=, NoNewPrivileges= and
CapabilityBoundingSet= (empty). The groups of system calls are those of the systemd that is installed.
"""
import ctypes
import errno
import functools
import os
import re
import struct
import subprocess
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP = 22, 38, 24
SECCOMP_MODE_FILTER = 2
ALLOW, ERROR, KILL = 0x7FFF0000, 0x00050000, 0x80000000
LOAD, JUMP_EQUAL, AND, RETURN = 0x20, 0x15, 0x54, 0x06
AT_NUMBER, AT_ARCH, AT_ARGUMENTS = 0, 4, 16
WRITE_AND_EXECUTE, EXECUTE = 6, 4
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}


def settings(unit, name):
    with open(unit, encoding="utf-8") as file:
        return re.findall(rf"^{name}=(.*)$", file.read(), flags=re.MULTILINE)


@functools.cache
def group(name):
    """The system calls of @name."""
    done = subprocess.run(["systemd-analyze", "--no-pager", "syscall-filter", name], capture_output=True, text=True,
                          check=True, timeout=60)
    words = [line.strip() for line in done.stdout.splitlines()[1:]]
    calls = set()
    for word in words:
        if word.startswith("@"):
            calls |= group(word)
        elif word and not word.startswith("#"):
            calls.add(word)
    return calls


def allowed(unit):
    """The names that the unit's filter lets through."""
    calls = set(group("@default"))
    for line in settings(unit, "SystemCallFilter"):
        words = line.lstrip("~").split()
        named = set().union(*(group(word) if word.startswith("@") else {word} for word in words))
        calls = calls - named if line.startswith("~") else calls | named
    return calls


def numbers():
    """{name: number} on this machine."""
    done = subprocess.run(["cc", "-E", "-dM", "-include", "sys/syscall.h", "-x", "c", "/dev/null"],
                          capture_output=True, text=True, check=True, timeout=60)
    return {name: int(number) for name, number in re.findall(r"^#define __NR_(\w+) (\d+)$", done.stdout, re.MULTILINE)}


def program(unit):
    """The filter, in BPF."""
    number = numbers()

    def op(code, k, if_true=0, if_false=0):
        return struct.pack("HBBI", code, if_true, if_false, k)

    def error(value):
        return op(RETURN, ERROR | value)

    def unless(values, value):
        """Fails with `value` when what is loaded is none of `values`; each is a jump over the next two."""
        tests = b"".join(op(JUMP_EQUAL, one, 0, 1) + op(RETURN, ALLOW) for one in values)
        return tests + error(value)

    def when(name, body):
        return op(JUMP_EQUAL, number[name], 0, len(body) // 8) + body

    out = op(LOAD, AT_ARCH) + op(JUMP_EQUAL, ARCHITECTURES[os.uname().machine], 1, 0) + op(RETURN, KILL)
    out += op(LOAD, AT_NUMBER)
    families = [FAMILIES[name] for line in settings(unit, "RestrictAddressFamilies") for name in line.split()]
    out += when("socket", op(LOAD, AT_ARGUMENTS) + unless(families, errno.EAFNOSUPPORT))
    if settings(unit, "MemoryDenyWriteExecute") == ["yes"]:
        protection = op(LOAD, AT_ARGUMENTS + 16)
        out += when("mmap", protection + op(AND, WRITE_AND_EXECUTE) + op(JUMP_EQUAL, WRITE_AND_EXECUTE, 0, 1)
                    + error(errno.EPERM) + op(RETURN, ALLOW))
        out += when("mprotect", protection + op(AND, EXECUTE) + op(JUMP_EQUAL, EXECUTE, 0, 1) + error(errno.EPERM)
                    + op(RETURN, ALLOW))
    known = sorted(number[name] for name in allowed(unit) if name in number)
    return out + unless(known, errno.EPERM)


def enter(unit):
    code = program(unit)
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(code)
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer)))

    def prctl(what, first, second=0):
        if libc.prctl(ctypes.c_int(what), ctypes.c_ulong(first), ctypes.c_ulong(second), ctypes.c_ulong(0),
                      ctypes.c_ulong(0)) != 0:
            raise OSError(ctypes.get_errno(), f"prctl {what}")
    if settings(unit, "CapabilityBoundingSet") == [""] and os.geteuid() == 0:
        with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as last:
            for capability in range(int(last.read()) + 1):
                prctl(PR_CAPBSET_DROP, capability)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(header))


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    enter(sys.argv[1])
    os.execv(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
