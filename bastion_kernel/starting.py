"""The connection that a kernel opens by itself at its start, where its kernelspec or the environment wants one."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from bastion_plan.errors import BastionError, InputError

from bastion.client.endpoints import INVITATION
from bastion.render.denials import error_text
from bastion.render.safe_text import safe_text
from bastion_kernel.errors import describe

#: the environment variable: "profile" for what `connect()` does, else an endpoint; empty for nothing
VARIABLE = "BASTION_CONNECT"
PROFILE = "profile"
BANNER_SECONDS = 2.0  # so long front ends that ask who is there are kept waiting for the connection


class StartConnection:
    """Connects once, in the background. A failure leaves the kernel as it is, and is said once.

    Args:
        connect: opens the session's connection, as a cell's `connect` does.
        wanted: what VARIABLE says.
    """

    def __init__(self, connect: Callable[..., Awaitable[Any]], wanted: str | None = None) -> None:
        self._connect = connect
        self.wanted = (os.environ.get(VARIABLE, "") if wanted is None else wanted).strip()
        self._task: asyncio.Task[None] | None = None
        self._done = threading.Event()
        self._until = time.monotonic() + BANNER_SECONDS
        self._failure = ""
        self._told = False
        if not self.wanted:
            self._done.set()

    def begin(self) -> None:
        """Start connecting; call it on the kernel's loop."""
        if self.wanted and self._task is None:
            self._task = asyncio.ensure_future(self._open())

    async def finished(self) -> None:
        """Wait until it is connected or has failed; an interrupt of the caller leaves it at work."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def for_banner(self) -> None:
        """Wait for it, in the first BANNER_SECONDS of the kernel's life; on any loop."""
        while not self._done.is_set() and time.monotonic() < self._until:
            await asyncio.sleep(0.01)

    def take(self) -> str:
        """Return why it failed, once; empty where it did not."""
        if self._told or not self._failure:
            return ""
        self._told = True
        return self._failure

    def lines(self) -> list[str]:
        """Return what a banner says of it while there is no connection."""
        if not self._done.is_set():
            return [f"Connecting {self._where()} …"]
        return self._failure.splitlines()

    async def stop(self) -> None:
        """Give up, if it is still at work."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def _where(self) -> str:
        return "as your profile says" if self.wanted == PROFILE else f"to {safe_text(self.wanted, 200)}"

    async def _open(self) -> None:
        try:
            if self.wanted.startswith(INVITATION):
                msg = "A kernel does not connect by itself with an invitation, which is good for once."
                raise InputError(
                    msg, code="input.connect", next_step='Write connect("bastion1.…") once, then use its address.'
                )
            await self._connect(None if self.wanted == PROFILE else self.wanted)
        except BastionError as error:
            self._failure = self._sentence(error_text(error))
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - the kernel works all the same
            self._failure = self._sentence(describe(error)[1])
        finally:
            self._done.set()

    def _sentence(self, why: str) -> str:
        where = "with an invitation" if self.wanted.startswith(INVITATION) else self._where()
        return f"This kernel connects {where} by itself, and could not.\n{why}"
