"""The system-call filter of a worker: an allow-list of what Polars' threads and one socket need, in classic BPF.

What is not listed fails with EPERM. The lists were made by tracing the engine (scans, joins, sorts, group-bys, windows,
streaming, compression) and are kept right by the tests in tests/workers, which run the engine behind them.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from dataclasses import dataclass

from bastion_server.workers.syscalls import AARCH64, AUDIT_AARCH64, AUDIT_X86_64, X86_64

_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_LD, _AND, _JEQ, _JGE, _RET = 0x20, 0x54, 0x15, 0x35, 0x06
_NR, _ARCH, _ARGS = 0, 4, 16
_X32_BIT = 0x40000000

_SET_MODE_FILTER, _TSYNC = 1, 1
_SECCOMP = {AUDIT_X86_64: 317, AUDIT_AARCH64: 277}

#: a process's own memory, threads and time
_COMPUTE = (
    "brk munmap mremap madvise mincore membarrier futex futex_waitv sched_yield sched_getaffinity getcpu rseq "
    "set_robust_list set_tid_address rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall exit exit_group "
    "nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time times getrandom"
)
#: what it is and may use
_SELF = "getpid getppid gettid getuid geteuid getgid getegid uname sysinfo getrlimit getrusage"
#: descriptors it holds; opening is another matter
_DESCRIPTORS = (
    "read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek close close_range fstat ftruncate "
    "fallocate dup dup2 dup3 sendto recvfrom sendmsg recvmsg poll ppoll select pselect6 "
    "epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd2"
)
#: metadata of paths: the engine looks at /proc/self/fd/N before it opens it, and a filter cannot read strings
_METADATA = "newfstatat statx"
#: allowed whatever the arguments
ALWAYS = frozenset(f"{_COMPUTE} {_SELF} {_DESCRIPTORS} {_METADATA}".split())

_O_NOT_READ_ONLY = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC | os.O_APPEND | (os.O_TMPFILE & ~os.O_DIRECTORY)
_CLONE_THREAD = 0x00010000
_CLONE_NAMESPACES = 0x7E020000
_PROT_EXEC = 0x4
_FCNTL = (0, 1, 2, 3, 4, 1030, 1034)  # DUPFD, GETFD, SETFD, GETFL, SETFL, DUPFD_CLOEXEC, GET_SEALS
_FIONBIO, _FIOCLEX = 0x5421, 0x5451
_PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA = 15, 16, 0x53564D41

Instruction = tuple[int, int, int, int]


@dataclass(frozen=True)
class Test:
    """Argument `arg`, masked, equals `value`. Masks and values are of 64 bits."""

    arg: int
    value: int
    mask: int = 0xFFFF_FFFF


@dataclass(frozen=True)
class Rule:
    """A system call allowed where all tests of one alternative hold; else it fails with `error`."""

    name: str
    alternatives: tuple[tuple[Test, ...], ...] = ()
    error: int = errno.EPERM


def rules(pid: int) -> tuple[Rule, ...]:
    """Return the rules about arguments, for the process `pid`."""
    no_exec = ((Test(2, 0, _PROT_EXEC),),)
    return (
        Rule("openat", ((Test(2, 0, _O_NOT_READ_ONLY),),), errno.EACCES),
        Rule("mmap", no_exec),
        Rule("mprotect", no_exec),
        Rule("clone", ((Test(0, _CLONE_THREAD, _CLONE_THREAD | _CLONE_NAMESPACES),),)),
        # threads are started with clone, whose flags a filter can read
        Rule("clone3", error=errno.ENOSYS),
        Rule("openat2", error=errno.ENOSYS),
        Rule("tgkill", ((Test(0, pid),),)),  # abort() of itself
        Rule("prctl", tuple((Test(0, option),) for option in (_PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA))),
        Rule("fcntl", tuple((Test(1, command),) for command in _FCNTL)),
        Rule("ioctl", tuple((Test(1, command),) for command in (_FIONBIO, _FIOCLEX)), errno.ENOTTY),
        # reading one's limits, never setting them: the server sets them from outside
        Rule("prlimit64", ((Test(0, 0), Test(2, 0, 0xFFFF_FFFF_FFFF_FFFF)),)),
    )


def program(architecture: int, pid: int) -> list[Instruction]:
    """Assemble the filter: (code, jump if true, jump if false, operand) per instruction."""
    numbers = X86_64 if architecture == AUDIT_X86_64 else AARCH64
    code: list[Instruction] = [
        (_LD, 0, 0, _ARCH),
        (_JEQ, 1, 0, architecture),
        (_RET, 0, 0, _KILL_PROCESS),
        (_LD, 0, 0, _NR),
    ]
    if architecture == AUDIT_X86_64:
        code += [(_JGE, 0, 1, _X32_BIT), (_RET, 0, 0, _KILL_PROCESS)]
    for name in sorted(ALWAYS & numbers.keys(), key=lambda n: numbers[n]):
        code += [(_JEQ, 0, 1, numbers[name]), (_RET, 0, 0, _ALLOW)]
    for rule in rules(pid):
        block = [step for tests in rule.alternatives for step in _alternative(tests)]
        block.append((_RET, 0, 0, _ERRNO | rule.error))
        code += [(_JEQ, 0, len(block), numbers[rule.name]), *block]
    code.append((_RET, 0, 0, _ERRNO | errno.EPERM))
    return code


def _alternative(tests: tuple[Test, ...]) -> list[Instruction]:
    """All tests, then allow; the first that fails jumps behind it."""
    words = []
    for test in tests:
        low = _ARGS + 8 * test.arg
        words.append((low, test.mask & 0xFFFF_FFFF, test.value & 0xFFFF_FFFF))
        if test.mask >> 32:
            words.append((low + 4, test.mask >> 32, test.value >> 32))
    code: list[Instruction] = []
    for i, (offset, mask, value) in enumerate(words):
        behind = 3 * (len(words) - i - 1) + 1
        code += [(_LD, 0, 0, offset), (_AND, 0, 0, mask), (_JEQ, 0, behind, value)]
    code.append((_RET, 0, 0, _ALLOW))
    return code


def architecture() -> int | None:
    """Return the audit number of this machine's architecture, None where the filter knows no numbers for it."""
    return {"x86_64": AUDIT_X86_64, "aarch64": AUDIT_AARCH64}.get(platform.machine())


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def install() -> bool:
    """Put the filter on every thread of this process; return whether the kernel has filters. Needs no_new_privs."""
    machine = architecture()
    if machine is None:
        return False
    code = b"".join(struct.pack("=HBBI", *step) for step in program(machine, os.getpid()))
    buffer = ctypes.create_string_buffer(code, len(code))
    descriptor = _Program(len(code) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_SECCOMP[machine], _SET_MODE_FILTER, _TSYNC, ctypes.byref(descriptor)) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL):
        return False
    raise OSError(number, "seccomp")
