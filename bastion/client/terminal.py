"""Progress in a terminal: one line on standard error that is written over itself, and is gone when the work is done."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from bastion_wire.messages import Progress

from bastion.render.progress import ProgressText
from bastion.render.safe_text import safe_text

PATIENCE = 0.5
EVERY = 0.2


class TerminalLine:
    """A line on standard error. Nothing is written where that is no terminal."""

    def __init__(self) -> None:
        self._length = 0

    def write(self, text: str) -> None:
        """Show a line instead of the one before."""
        stream = sys.stderr
        if stream is None or not stream.isatty():
            return
        text = safe_text(text, max(20, shutil.get_terminal_size().columns - 1))
        self._put(f"\r{text.ljust(self._length)}")
        self._length = len(text)

    def clear(self) -> None:
        """Take the line away."""
        if self._length:
            self._put(f"\r{' ' * self._length}\r")
            self._length = 0

    @staticmethod
    def _put(text: str) -> None:
        with suppress(OSError, ValueError):  # closed, or gone
            sys.stderr.write(text)
            sys.stderr.flush()


def in_terminal() -> bool:
    """Whether somebody would see such a line, and wants to: BASTION_PROGRESS=0 says no."""
    if os.environ.get("BASTION_PROGRESS") == "0":
        return False
    return sys.stderr is not None and sys.stderr.isatty()


@asynccontextmanager
async def followed(
    on_progress: Callable[[Progress], None] | None, *, wanted: bool
) -> AsyncIterator[Callable[[Progress], None] | None]:
    """Give what progress messages are told to: `on_progress`, or where there is none and it is `wanted`, a line in the terminal.

    A query that takes less than half a second shows nothing.
    """
    if on_progress is not None or not wanted or not in_terminal():
        yield on_progress
        return
    line, text = TerminalLine(), ProgressText()

    async def tick() -> None:
        await asyncio.sleep(PATIENCE)
        while True:
            line.write(f"{text.line()} · Ctrl-C stops it")
            await asyncio.sleep(EVERY)

    ticker = asyncio.ensure_future(tick())
    try:
        yield text.heard
    finally:
        ticker.cancel()
        line.clear()
