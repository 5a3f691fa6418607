"""One child as the server sees it: its channel, its pidfd, why it was killed, when it was reaped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from bastion_server.workers.framing import async_receive, async_send
from bastion_server.workers.messages import FromChild, Limits, Message

_PAGE = os.sysconf("SC_PAGE_SIZE")
#: bytes of the engine's code and the interpreter's, at most
_LIBRARIES = 256 << 20


class Handle:
    """A child process. Made by the pool; single-use."""

    def __init__(self, sock: socket.socket, stderr: int, limits: Limits) -> None:
        self.sock = sock
        self.limits = limits
        self.pid = 0
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        #: why we killed it ("memory", "time", "cancelled", "closed"), None while we did not
        self.killed: str | None = None
        #: time.monotonic() after which the watchdog kills; None while no job runs
        self.deadline: float | None = None
        #: bytes of bound datasets
        self.bound = 0
        #: the memory file the running job may write, and how many bytes of memory the job may use beside the limit
        self.file = -1
        self.extra = 0
        #: the messages it may answer with
        self.answers: Any = FromChild
        self._pidfd = -1
        self._stderr = stderr
        self._users = 0
        self._close_wanted = False
        # the watchdog's thread must not signal a descriptor that the loop has closed and reused
        self._lock = threading.Lock()

    def born(self, pid: int, pidfd: int) -> None:
        """Note the process behind the channel."""
        self.pid, self._pidfd = pid, pidfd

    async def tell(self, message: Message, body: bytes = b"", fds: tuple[int, ...] = ()) -> None:
        """Send one message; BrokenFrame where the child is gone."""
        await async_send(self.sock, message, body, fds)

    async def listen(self) -> tuple[FromChild, bytes]:
        """Wait for one message and return (message, body); BrokenFrame where the child is gone or talks nonsense."""
        message, body, _ = await async_receive(self.sock, self.answers)
        return message, body

    # ---------------------------------------------------------------------------------------------- limits and death

    def usage(self) -> int | None:
        """Bytes of memory of its own: without the pages of bound datasets, with the file it writes; None: it is gone."""
        try:
            with open(f"/proc/{self.pid}/statm", "rb") as file:
                _, resident, shared = (int(x) * _PAGE for x in file.read().split()[:3])
            written = os.fstat(self.file).st_blocks * 512 if self.file >= 0 else 0
        except (OSError, ValueError):
            return None
        # shared memory of its own making counts; mapped datasets and libraries do not
        return resident - min(shared, self.bound + _LIBRARIES) + written

    def over(self) -> str | None:
        """Return which limit a running job has passed: "time", "memory" or None."""
        deadline = self.deadline
        if deadline is None:
            return None
        if time.monotonic() > deadline:
            return "time"
        usage = self.usage()
        return "memory" if usage is not None and usage > self.limits.memory + self.extra else None

    def kill(self, reason: str) -> None:
        """Kill it now; the first reason stays. Any thread may call."""
        if self.killed is None:
            self.killed = reason
        with self._lock:
            if self._pidfd >= 0:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def last_words(self) -> str:
        """What it wrote to stderr: for the owner's log only."""
        if self._stderr < 0:
            return ""
        with contextlib.suppress(OSError):
            return os.read(self._stderr, 65536).decode(errors="replace")
        return ""

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """While someone waits for it, `close` waits too."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if self._close_wanted:
                self.close()

    def close(self) -> None:
        """Close our ends, after its death; put off while it is in use."""
        self._close_wanted = True
        if self._users:
            return
        self.sock.close()
        with self._lock:
            for fd in (self._pidfd, self._stderr):
                if fd >= 0:
                    os.close(fd)
            self._pidfd = self._stderr = -1


async def cause_of_death(handle: Handle) -> tuple[str, str]:
    """Wait until a child whose channel broke is gone; return (reason, its last words)."""
    try:
        status = await asyncio.wait_for(asyncio.shield(handle.exited), 2.0)
    except TimeoutError:
        # it closed its channel or talks nonsense, yet lives
        handle.kill("crashed")
        status = -signal.SIGKILL
    words = handle.last_words()
    if handle.killed is not None:
        return handle.killed, words
    if "memory allocation" in words or "MemoryError" in words:
        return "memory", words
    return "crashed", f"{words} (exit status {status})"
