"""The zygote: a process that has imported the engine, never uses it, and forks children that do.

Started by the pool as `python -I -m bastion_server.workers.zygote FD LIMITS`; speaks on that socket only.
INVARIANT: no engine query runs here. Polars starts its thread pool at the first query, and a pool does not survive fork.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil
import resource
import select
import signal
import socket
import sys
from collections.abc import Callable

import msgspec

from bastion_server.workers import memfd
from bastion_server.workers.child import Child
from bastion_server.workers.framing import BrokenFrame, receive, send
from bastion_server.workers.messages import Awake, Exited, Fork, Forked, Limits

#: packages imported whole, and what of them is not (it needs what is not installed, or is of no use here)
_WHOLE = ("polars", "bastion_plan", "bastion_server.engine")
_NOT = ("polars.ml", "polars.testing", "polars.io.cloud", "polars.io.clipboard", "polars.io.spreadsheet")
#: imported by the engine on first use
_SINGLE = [
    "numpy.ma",
    "numpy.random",
    "numpy.lib",
    "numpy.exceptions",
    "zoneinfo",
    "decimal",
    "datetime",
    "fractions",
    "statistics",
    "pickle",
    "traceback",
    "linecache",
    "tokenize",
    "tracemalloc",
    "inspect",
    "contextvars",
    "uuid",
    "json",
    "encodings.idna",
    "encodings.ascii",
    "encodings.latin_1",
]


def preload() -> None:
    """Import all of the engine now: behind the walls no file can be opened, so nothing can be imported any more."""
    for name in (*_SINGLE, *_WHOLE):
        _import(name, whole=name in _WHOLE)


def _import(name: str, *, whole: bool) -> None:
    """Import a module; whole: and all below it but `_NOT` (which pkgutil.walk_packages would import to look into)."""
    # Polars' optional parts, for packages that are not installed
    with contextlib.suppress(ImportError):
        path = getattr(importlib.import_module(name), "__path__", ())
        for found in pkgutil.iter_modules(path if whole else (), f"{name}."):
            if not found.name.startswith(_NOT):
                _import(found.name, whole=True)


def _reap(sock: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        send(sock, Exited(pid, os.waitstatus_to_exitcode(status)))


def _fork(kind: type[Child], sock: socket.socket, ticket: int, fds: list[int], limits: Limits) -> None:
    spare = memfd.empty("warm")
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        # from here on nothing returns
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        kind.main(fds[0], fds[1], limits, spare, parent)
    pidfd = os.pidfd_open(pid)
    for fd in (*fds, spare):
        os.close(fd)
    send(sock, Forked(ticket, pid), fds=(pidfd,))
    os.close(pidfd)


def main(kind: type[Child] = Child, load: Callable[[], None] = preload) -> None:
    """Serve fork requests until the server goes away. load: imports everything that a child needs."""
    server = os.getppid()
    sock = socket.socket(fileno=int(sys.argv[1]))
    limits = msgspec.json.decode(sys.argv[2], type=Limits)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    load()
    gc.collect()
    gc.freeze()
    asleep, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    poll.register(asleep, select.POLLIN)
    with contextlib.suppress(BrokenFrame, BrokenPipeError, ConnectionResetError):
        send(sock, Awake())
        while os.getppid() == server:
            for fd, _ in poll.poll(1000):
                if fd == asleep:
                    with contextlib.suppress(BlockingIOError):
                        os.read(asleep, 4096)
                else:
                    message, _, fds = receive(sock, Fork, max_fds=2)
                    _fork(kind, sock, message.ticket, fds, limits)
            _reap(sock)
    # INVARIANT: children die with us (parent-death signal), so no worker outlives the server
    os._exit(0)


if __name__ == "__main__":
    main()
