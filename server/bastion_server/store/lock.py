"""One server process per store directory."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

from bastion_plan.errors import ServerError

from bastion_server.store.files import DISK, Files

_held: set[Path] = set()
_guard = threading.Lock()


class DirectoryLock:
    """A lock on a directory, held until `release` or the end of the process, however it ends.

    A POSIX record lock: children of a fork do not inherit it, so a worker that outlives a killed server does not keep
    the next one out. Such locks do not exclude the own process, hence the set of held directories.
    """

    def __init__(self, directory: Path, *, files: Files = DISK) -> None:
        """Take the lock.

        Raises:
            ServerError: server.store.locked, when a process (this one included) has the store open.
        """
        self._directory = directory.resolve()
        self._files = files
        with _guard:
            # INVARIANT: looked up before the file is opened; closing any descriptor of it would drop our own lock.
            if self._directory in _held:
                raise _locked(str(os.getpid()))
            self._descriptor = files.open(self._directory / "server.lock", os.O_RDWR | os.O_CREAT)
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                holder = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip()
                files.close(self._descriptor)
                raise _locked(holder) from None
            _held.add(self._directory)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go. May be called again."""
        with _guard:
            if self._directory in _held:
                _held.discard(self._directory)
                self._files.close(self._descriptor)


def _locked(holder: str) -> ServerError:
    msg = "Another server has this store open."
    return ServerError(
        msg,
        code="server.store.locked",
        reason=f"Process {holder} holds the lock." if holder else "Its lock is held.",
        next_step="Stop that server first, or give this one a directory of its own.",
    )
