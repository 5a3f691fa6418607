"""Progress of work that is waited for: in a terminal a line on standard error that is written over itself, and is gone when the work is
done; in a notebook of Python a line below the cell, which says at last how long it took."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from bastion_wire.messages import Progress

from bastion.render.progress import ProgressText, with_hint
from bastion.render.safe_text import safe_text

PATIENCE = 0.5
EVERY = 0.2


class TerminalLine:
    """A line on standard error. Nothing is written where that is no terminal."""

    def __init__(self) -> None:
        self._length = 0

    def write(self, text: str) -> None:
        """Show a line of progress instead of the one before, and how to stop the work."""
        stream = sys.stderr
        if stream is None or not stream.isatty():
            return
        text = with_hint(text, max(20, shutil.get_terminal_size().columns - 1))
        self._put(f"\r{text.ljust(self._length)}")
        self._length = len(text)

    def clear(self, _: str = "") -> None:
        """Take the line away."""
        if self._length:
            self._put(f"\r{' ' * self._length}\r")
            self._length = 0

    @staticmethod
    def _put(text: str) -> None:
        with suppress(OSError, ValueError):  # closed, or gone
            sys.stderr.write(text)
            sys.stderr.flush()


class NotebookLine:
    """A line below the cell of a notebook whose kernel is IPython's."""

    def __init__(self, shown: Any) -> None:
        self._shown, self._id = shown, ""

    def write(self, text: str) -> None:
        """Show a line of progress instead of the one before, and how to stop the work."""
        self._show(f"{text} · interrupt the kernel to stop")

    def clear(self, text: str = "") -> None:
        """Say how it ended, where there is a line."""
        if self._id:
            self._show(text)

    def _show(self, text: str) -> None:
        update, self._id = bool(self._id), self._id or uuid.uuid4().hex
        self._shown.publish({"text/plain": safe_text(text)}, transient={"display_id": self._id}, update=update)


def in_terminal() -> bool:
    """Whether somebody would see a line on standard error."""
    return sys.stderr is not None and sys.stderr.isatty()


def _line() -> TerminalLine | NotebookLine | None:
    """Return where progress is seen; None where it is not, or BASTION_PROGRESS=0 says that nobody wants to."""
    if os.environ.get("BASTION_PROGRESS") == "0":
        return None
    if in_terminal():
        return TerminalLine()
    # a kernel has loaded it; nothing else is told of by this import
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return NotebookLine(shell.display_pub) if getattr(shell, "kernel", None) is not None else None


@asynccontextmanager
async def followed(
    on_progress: Callable[[Progress], None] | None, *, wanted: bool
) -> AsyncIterator[Callable[[Progress], None] | None]:
    """Give what progress messages are told to: `on_progress`, or where there is none and it is `wanted`, a line.

    A query that takes less than half a second shows nothing.
    """
    line = _line() if on_progress is None and wanted else None
    if line is None:
        yield on_progress
        return
    text = ProgressText()

    async def tick() -> None:
        await asyncio.sleep(PATIENCE)
        while True:
            line.write(text.line())
            await asyncio.sleep(EVERY)

    ticker = asyncio.ensure_future(tick())
    try:
        yield text.heard
    finally:
        ticker.cancel()
        line.clear(f"took {text.seconds:.1f} s")
