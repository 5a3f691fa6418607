"""The walls around a worker, put up in a fresh fork before any thread exists and before any plan is read."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import signal
import socket
from collections.abc import Callable

from bastion_server.workers import landlock, seccomp
from bastion_server.workers.messages import MACHINE_MEMORY, Limits, SandboxReport

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522
_NOBODY = 65534
_LANDLOCK_WITH_NETWORK = 4

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
    """Set the limits the kernel keeps by itself."""
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, limits.files)
    _limit(resource.RLIMIT_AS, limits.address_wall)
    # the only files it can write are memory files it is handed; the watchdog counts them, this is the wall behind it
    _limit(resource.RLIMIT_FSIZE, MACHINE_MEMORY)
    # a write over RLIMIT_FSIZE is an error, not a death
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def _limit(kind: int, value: int) -> None:
    """Set both limits; never above what the operator has set."""
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def die_with(parent: int) -> None:
    """Be killed when the process `parent`, which forked us, dies; exit where it is already gone."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def drop_privileges() -> bool:
    """Give up root's identity and every capability; return whether that is so now."""
    if os.geteuid() == 0:
        # a user namespace may have no number for nobody: then root without capabilities has to do
        with contextlib.suppress(OSError):
            os.setgroups([])
            os.setresgid(_NOBODY, _NOBODY, _NOBODY)
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    return _libc.capset(header, none) == 0 and os.geteuid() != 0


def enclose(limits: Limits, parent: int) -> SandboxReport:
    """Put up every wall this kernel has, in the only thread there is, and say which stand.

    Args:
        limits: what may be used. parent: process id of the zygote, with which we die.

    Raises:
        OSError, RuntimeError: a wall the kernel has could not be put up, or does not hold. The worker must not run.
    """
    os.setsid()
    limit(limits)
    dropped = drop_privileges()
    # a change of identity clears the death signal and may set "dumpable": both come after it
    die_with(parent)
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    version = landlock.deny_all()
    filtered = seccomp.install()
    _try_walls(version, filtered)
    warnings = []
    if not version:
        warnings.append("This kernel has no Landlock: a worker that was taken over could read files of the server.")
    elif version < _LANDLOCK_WITH_NETWORK and not filtered:
        warnings.append("This kernel's Landlock does not cover the network: a worker could open connections.")
    if not filtered:
        warnings.append("No system-call filter on this machine: a worker that was taken over could start programs.")
    if not dropped:
        warnings.append("Workers still run as root, without capabilities: run the server as a user of its own.")
    return SandboxReport(landlock=version, seccomp=filtered, dropped=dropped, warnings=tuple(warnings))


def _try_walls(version: int, filtered: bool) -> None:
    """Push once against every wall that is said to stand."""
    if version:
        _must_fail("Landlock", lambda: os.close(os.open("/", os.O_RDONLY)), errno.EACCES)
    if filtered:
        _must_fail("seccomp", lambda: socket.socketpair()[0].close(), errno.EPERM)


def _must_fail(wall: str, act: Callable[[], None], number: int) -> None:
    try:
        act()
    except OSError as error:
        if error.errno == number:
            return
    msg = f"{wall} does not hold"
    raise RuntimeError(msg)
