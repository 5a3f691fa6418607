"""The zygote as the server sees it: started, asked for children, told of their deaths, started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from bastion_server.workers.framing import BrokenFrame, async_receive, async_send
from bastion_server.workers.handle import Handle
from bastion_server.workers.messages import Awake, Exited, Fork, Forked, FromZygote, Limits

ZYGOTE = (sys.executable, "-I", "-m", "bastion_server.workers.zygote")


def _environment(threads: int) -> dict[str, str]:
    """All the environment a worker has: nothing of the server's."""
    environment = {
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        # Polars 2.1 spills plaintext to /var/tmp otherwise
        "POLARS_OOC_DISK_BUDGET_MB": "0",
        "OPENBLAS_NUM_THREADS": "1",
    }
    if threads:
        environment["POLARS_MAX_THREADS"] = str(threads)
    return environment


class Nursery:
    """One zygote process and the children it has forked."""

    def __init__(self, limits: Limits, command: Sequence[str]) -> None:
        self._limits = limits
        self._tickets: dict[int, asyncio.Future[tuple[int, int]]] = {}
        self._alive: dict[int, Handle] = {}
        self._next = 0
        self._sending = asyncio.Lock()
        self._awake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sock, theirs = socket.socketpair()
        self._sock.setblocking(False)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [*command, str(theirs.fileno()), msgspec.json.encode(limits).decode()],
                pass_fds=(theirs.fileno(),),
                env=_environment(limits.threads),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._listener = asyncio.create_task(self._listen(), name="zygote")

    @property
    def pid(self) -> int:
        """Process id of the zygote."""
        return self._process.pid

    @property
    def dead(self) -> bool:
        """Whether the zygote is gone (its children die with it)."""
        return self._listener.done()

    async def fork(self) -> Handle:
        """Fork a child and return its handle; BrokenFrame where the zygote is gone.

        The child speaks first: a Ready once its walls stand.
        """
        await asyncio.shield(self._awake)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        words, stderr = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        handle = Handle(ours, words, self._limits)
        ticket, self._next = self._next, self._next + 1
        future = self._tickets[ticket] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda f: self._born(handle, f))
        try:
            if self.dead:
                msg = "the zygote is gone"
                raise BrokenFrame(msg)
            async with self._sending:
                await async_send(self._sock, Fork(ticket), fds=(theirs.fileno(), stderr))
        except BaseException:
            self._tickets.pop(ticket, None)
            handle.close()
            raise
        finally:
            theirs.close()
            os.close(stderr)
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError:
            # the child comes nevertheless
            future.add_done_callback(lambda _: self._abandon(handle))
            raise
        return handle

    @staticmethod
    def _abandon(handle: Handle) -> None:
        handle.kill("closed")
        handle.exited.add_done_callback(lambda _: handle.close())

    def _born(self, handle: Handle, future: asyncio.Future[tuple[int, int]]) -> None:
        if future.cancelled() or future.exception() is not None:
            handle.close()
            return
        pid, pidfd = future.result()
        handle.born(pid, pidfd)
        self._alive[pid] = handle

    async def _listen(self) -> None:
        try:
            while True:
                message, _, fds = await async_receive(self._sock, FromZygote, max_fds=1)
                match message:
                    case Awake():
                        self._awake.set_result(None)
                    case Forked(ticket=ticket, pid=pid):
                        future = self._tickets.pop(ticket)
                        future.set_result((pid, fds[0]))
                        # done-callbacks run on the next turn of the loop; an Exited must find the handle
                        await asyncio.sleep(0)
                    case Exited(pid=pid, status=status):
                        handle = self._alive.pop(pid, None)
                        if handle is not None and not handle.exited.done():
                            handle.exited.set_result(status)
        except BrokenFrame:
            pass
        finally:
            self._gone()

    def _gone(self) -> None:
        gone = BrokenFrame("the zygote is gone")
        waiting: list[asyncio.Future[Any]] = [*self._tickets.values(), self._awake]
        for future in waiting:
            if not future.done():
                future.set_exception(gone)
                future.exception()
        self._tickets.clear()
        for handle in self._alive.values():
            handle.kill("crashed")
            if not handle.exited.done():
                handle.exited.set_result(-9)
        self._alive.clear()

    async def close(self) -> None:
        """End the zygote, and with it every child; wait until it is reaped."""
        self._listener.cancel()
        self._process.kill()
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await self._listener
            await asyncio.to_thread(self._process.wait)
        finally:  # also where nobody waits for it any more
            self._sock.close()
