"""The line below a running cell, in the kernel: it ticks on the kernel's loop, where a click on its button arrives at once.

`jupyter console` prints what is displayed and never replaces it. There the line is text that is written over itself.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bastion_widgets.status import PATIENCE
from bastion_widgets.status import StatusLine as AnyStatusLine

from bastion.render.progress import with_hint

if TYPE_CHECKING:
    from bastion_kernel.kernel import BastionKernel

EVERY = 0.25


class StatusLine(AnyStatusLine):
    """Shows the verdict on a frame that is about to run, and what a cell is at once it has taken half a second.

    Args:
        kernel: where it is shown, and whose cell the button stops.
        waiting: says whether the cell waits for an owner's decision.
        console: whether the front end is `jupyter console`.
    """

    def __init__(self, kernel: BastionKernel, waiting: Callable[[], bool], *, console: bool = False) -> None:
        super().__init__(waiting)
        self._kernel = kernel
        self._console, self._length = console, 0
        self._ticker = asyncio.ensure_future(self._tick())

    async def _tick(self) -> None:
        await asyncio.sleep(PATIENCE)
        while True:
            if self._console:
                self._over(self.text())
            else:
                self._show(self._kernel._interrupt)
            await asyncio.sleep(EVERY)

    def replaced(self) -> None:
        """What the cell gives comes now: nothing more is said of its progress."""
        self._ticker.cancel()
        self._erase()
        super().replaced()

    def close(self) -> None:
        """The cell has ended."""
        self._ticker.cancel()
        self._erase()
        super().close()

    def erased(self) -> None:
        """Something else is printed now: a line that is written over itself gives way, and comes back below it."""
        self._erase()

    def _over(self, text: str) -> None:
        """Write a line over the one before."""
        text = with_hint(text, _columns() - 1)
        self._kernel.print(f"\r{text.ljust(self._length)}")
        self._length = len(text)

    def _erase(self) -> None:
        if self._length:
            self._kernel.print(f"\r{' ' * self._length}\r")
            self._length = 0

    def _publish(self, data: dict[str, Any], display: str, update: bool) -> None:
        kind = "update_display_data" if update else "display_data"
        content = {"data": data, "metadata": {}, "transient": {"display_id": display}}
        self._kernel.send_response(self._kernel.iopub_socket, kind, content)

    def _clear(self) -> None:
        if self._console:  # it clears nothing
            return
        self._kernel.send_response(self._kernel.iopub_socket, "clear_output", {"wait": True})


def _columns() -> int:
    """Return how wide the terminal is that the kernel was started in; a console starts its own kernel."""
    for stream in (sys.__stdout__, sys.__stderr__):
        try:
            return max(20, os.get_terminal_size(stream.fileno()).columns if stream is not None else 0)
        except (OSError, ValueError):
            continue
    return shutil.get_terminal_size().columns
