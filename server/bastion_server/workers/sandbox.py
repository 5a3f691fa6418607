"""The walls around a worker, put up in a fresh fork before any thread exists and before any plan is read."""

from __future__ import annotations

import ctypes
import os
import resource
import signal

from bastion_server.workers.messages import Limits, SandboxReport

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38

_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def keep_only(channel: int, stderr: int, spare: int) -> tuple[int, int]:
    """Close every descriptor but three, which become 3 (channel), 2 (stderr) and 4 (spare); return (channel, spare)."""
    null = os.open("/dev/null", os.O_RDWR)
    # move them out of each other's way first
    high = [os.dup(fd) for fd in (channel, stderr, spare, null)]
    base = max(high) + 16
    high = [os.dup2(fd, base + i, inheritable=False) for i, fd in enumerate(high)]
    os.dup2(high[3], 0)
    os.dup2(high[3], 1)
    os.dup2(high[1], 2)
    os.dup2(high[0], 3, inheritable=False)
    os.dup2(high[2], 4, inheritable=False)
    os.closerange(5, 1 << 20)
    return 3, 4


def limit(limits: Limits) -> None:
    """Set the limits the kernel keeps by itself. The server sets RLIMIT_AS and RLIMIT_FSIZE from outside, too."""
    infinite = resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits.files, limits.files))
    resource.setrlimit(resource.RLIMIT_AS, (limits.address_wall, infinite))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.answer, infinite))
    # a write over RLIMIT_FSIZE is an error, not a death
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def enclose(limits: Limits) -> SandboxReport:
    """Put up every wall this kernel has, in the calling thread, and say which stand."""
    os.setsid()
    limit(limits)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    return SandboxReport(landlock=0, seccomp=False, dropped=False)
