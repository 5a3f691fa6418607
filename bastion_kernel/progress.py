"""The line below a running cell, in the kernel: it ticks on the kernel's loop, where a click on its button arrives at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bastion_widgets.status import PATIENCE
from bastion_widgets.status import StatusLine as AnyStatusLine

if TYPE_CHECKING:
    from bastion_kernel.kernel import BastionKernel

EVERY = 0.25


class StatusLine(AnyStatusLine):
    """Shows the verdict on a frame that is about to run, and what a cell is at once it has taken half a second.

    Args:
        kernel: where it is shown, and whose cell the button stops.
        waiting: says whether the cell waits for an owner's decision.
    """

    def __init__(self, kernel: BastionKernel, waiting: Callable[[], bool]) -> None:
        super().__init__(waiting)
        self._kernel = kernel
        self._ticker = asyncio.ensure_future(self._tick())

    async def _tick(self) -> None:
        await asyncio.sleep(PATIENCE)
        while True:
            self._show(self._kernel._interrupt)
            await asyncio.sleep(EVERY)

    def replaced(self) -> None:
        """What the cell gives comes now: nothing more is said of its progress."""
        self._ticker.cancel()
        super().replaced()

    def close(self) -> None:
        """The cell has ended."""
        self._ticker.cancel()
        super().close()

    def _publish(self, data: dict[str, Any], display: str, update: bool) -> None:
        kind = "update_display_data" if update else "display_data"
        content = {"data": data, "metadata": {}, "transient": {"display_id": display}}
        self._kernel.send_response(self._kernel.iopub_socket, kind, content)

    def _clear(self) -> None:
        self._kernel.send_response(self._kernel.iopub_socket, "clear_output", {"wait": True})
