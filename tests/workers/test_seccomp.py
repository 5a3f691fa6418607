"""The filter's program, run by an interpreter of classic BPF: what it lets through, on both architectures."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest
from bastion_server.workers.seccomp import ALWAYS, program, rules
from bastion_server.workers.syscalls import AARCH64, AUDIT_AARCH64, AUDIT_X86_64, X86_64
from hypothesis import given, settings
from hypothesis import strategies as st

PID = 4242
ALLOW, KILL = 0x7FFF0000, 0x80000000
TABLES = {AUDIT_X86_64: X86_64, AUDIT_AARCH64: AARCH64}
PROGRAMS = {architecture: program(architecture, PID) for architecture in TABLES}


def run(architecture, number, args=(), *, program_of=None):
    """Return what the filter answers to a system call: "allow", "kill", or the name of an error."""
    words = {0: number & 0xFFFFFFFF, 4: architecture}
    for i in range(6):
        value = (args[i] if i < len(args) else 0) & 0xFFFF_FFFF_FFFF_FFFF
        words[16 + 8 * i], words[20 + 8 * i] = value & 0xFFFFFFFF, value >> 32
    code = PROGRAMS[program_of or architecture]
    at = a = 0
    while True:
        operation, true, false, k = code[at]
        at += 1
        if operation == 0x20:
            a = words[k]
        elif operation == 0x54:
            a &= k
        elif operation == 0x15:
            at += true if a == k else false
        elif operation == 0x35:
            at += true if a >= k else false
        elif operation == 0x06:
            if k == ALLOW:
                return "allow"
            return "kill" if k == KILL else errno.errorcode[k & 0xFFFF]
        else:
            raise AssertionError(operation)


@pytest.mark.parametrize("architecture", TABLES)
def test_a_program_is_one_the_kernel_takes(architecture):
    code = PROGRAMS[architecture]
    assert len(code) <= 4096
    for at, (operation, true, false, _) in enumerate(code):
        assert max(true, false) <= 255
        assert at + 1 + max(true, false) < len(code) or operation == 0x06
    assert code[-1][0] == 0x06


@pytest.mark.parametrize("architecture", TABLES)
def test_every_number_not_listed_fails(architecture):
    table = TABLES[architecture]
    listed = {table[name] for name in (ALWAYS | {r.name for r in rules(PID)}) & table.keys()}
    for number in range(1024):
        answer = run(architecture, number)
        if number not in listed:
            assert answer == "EPERM", number
    for name in ALWAYS & table.keys():
        assert run(architecture, table[name]) == "allow"


@pytest.mark.parametrize("architecture", TABLES)
def test_another_architectures_numbers_kill(architecture):
    for other in (
        AUDIT_X86_64 ^ 0x80000000,
        0x40000003,
        AUDIT_AARCH64 if architecture == AUDIT_X86_64 else AUDIT_X86_64,
    ):
        assert run(other, TABLES[architecture]["read"], program_of=architecture) == "kill"


def test_the_x32_numbers_kill():
    for number in (0x40000000, 0x40000001, 0x40000200, 0xFFFFFFFF):
        assert run(AUDIT_X86_64, number) == "kill"


O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND, O_CLOEXEC = 0, 1, 2, 0o100, 0o1000, 0o2000, 0o2000000
CLONE_PTHREAD = 0x3D0F00

CASES = [
    ("openat", (-100, 1, O_RDONLY | O_CLOEXEC), "allow"),
    ("openat", (-100, 1, O_WRONLY), "EACCES"),
    ("openat", (-100, 1, O_RDWR), "EACCES"),
    ("openat", (-100, 1, 3), "EACCES"),
    ("openat", (-100, 1, O_CREAT), "EACCES"),
    ("openat", (-100, 1, O_TRUNC), "EACCES"),
    ("openat", (-100, 1, O_APPEND), "EACCES"),
    ("openat", (-100, 1, 0o20000000 | 0o200000), "EACCES"),
    ("openat2", (), "ENOSYS"),
    ("clone", (CLONE_PTHREAD,), "allow"),
    ("clone", (17,), "EPERM"),
    ("clone", (0x4111,), "EPERM"),
    ("clone", (CLONE_PTHREAD | 0x10000000,), "EPERM"),
    ("clone", (CLONE_PTHREAD | 0x20000,), "EPERM"),
    ("clone3", (), "ENOSYS"),
    ("mmap", (0, 4096, 3), "allow"),
    ("mmap", (0, 4096, 5), "EPERM"),
    ("mprotect", (0, 4096, 1), "allow"),
    ("mprotect", (0, 4096, 7), "EPERM"),
    ("tgkill", (PID, PID, 6), "allow"),
    ("tgkill", (PID + 1, PID, 6), "EPERM"),
    ("tgkill", (-1, PID, 6), "EPERM"),
    ("prctl", (15, 1), "allow"),
    ("prctl", (4, 1), "EPERM"),
    ("prctl", (1, 0), "EPERM"),
    ("prctl", (22, 2), "EPERM"),
    ("fcntl", (3, 1030), "allow"),
    ("fcntl", (3, 8, 1), "EPERM"),
    ("fcntl", (3, 1033, 1), "EPERM"),
    ("ioctl", (0, 0x5412), "ENOTTY"),
    ("ioctl", (0, 0x5421), "allow"),
    ("prlimit64", (0, 3, 0, 1), "allow"),
    ("prlimit64", (0, 3, 1, 1), "EPERM"),
    ("prlimit64", (0, 3, 1 << 40, 1), "EPERM"),
    ("prlimit64", (1, 3, 0, 1), "EPERM"),
]


@pytest.mark.parametrize("architecture", TABLES)
@pytest.mark.parametrize(("name", "args", "expected"), CASES)
def test_arguments_decide(architecture, name, args, expected):
    assert run(architecture, TABLES[architecture][name], args) == expected


@settings(max_examples=300, deadline=None)
@given(flags=st.integers(0, 2**64 - 1))
def test_no_flags_make_a_process_or_a_writable_file(flags):
    for architecture, table in TABLES.items():
        if run(architecture, table["clone"], (flags,)) == "allow":
            assert flags & 0x10000
            assert not flags & 0x7E020000
        if run(architecture, table["openat"], (0, 0, flags)) == "allow":
            assert not flags & (0o3 | O_CREAT | O_TRUNC | O_APPEND)
        if run(architecture, table["mprotect"], (0, 0, flags)) == "allow":
            assert not flags & 4


@pytest.mark.parametrize(
    ("table", "header", "pattern"),
    [
        (X86_64, "/usr/include/x86_64-linux-gnu/asm/unistd_64.h", r"#define __NR_(\w+)\s+(\d+)"),
        (AARCH64, "/usr/include/asm-generic/unistd.h", r"#define __NR(?:3264)?_(\w+)\s+(\d+)"),
    ],
)
def test_numbers_are_the_kernels(table, header, pattern):
    if not Path(header).exists():
        pytest.skip(f"the kernel's header {header} is not installed here")
    numbers = {name: int(number) for name, number in re.findall(pattern, Path(header).read_text())}
    numbers.setdefault("newfstatat", numbers.get("fstatat", -1))
    assert {name: (number, numbers.get(name)) for name, number in table.items() if numbers.get(name) != number} == {}
