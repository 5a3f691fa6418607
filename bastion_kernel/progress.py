"""One line below a running cell: at first the verdict on what runs, then how far it is, with a button to stop it.

The line updates in place, and what the cell gives takes its place.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bastion.render.progress import ProgressText
from bastion.render.verdicts import quiet

if TYPE_CHECKING:
    from bastion_wire.messages import Progress

    from bastion_kernel.kernel import BastionKernel

PATIENCE = 0.5
EVERY = 0.25
BUTTON_AFTER = 1.0  #: seconds until there is a button: most cells need none, and it is some ten messages
WAITS = "waiting for the owner's decision"
STOP = "interrupt the kernel to stop"


class StatusLine:
    """Shows the verdict on a frame that is about to run, and what a cell is at once it has taken half a second.

    Args:
        kernel: where it is shown, and whose cell the button stops.
        waiting: says whether the cell waits for an owner's decision.
    """

    def __init__(self, kernel: BastionKernel, waiting: Callable[[], bool]) -> None:
        self._kernel = kernel
        self._waiting = waiting
        self._text = ProgressText()
        self._id: str | None = None
        self._ticked = False
        self._button: Any = None
        #: whether the cell has shown something else
        self.others = False
        self._ticker = asyncio.ensure_future(self._tick())

    def verdict(self, text: str) -> None:
        """Show the verdict on what is about to run."""
        self._write(text)

    def heard(self, progress: Progress) -> None:
        """Take a progress message."""
        self._text.heard(progress)

    def text(self) -> str:
        """Return the line as it is now."""
        return self._text.line(WAITS if self._waiting() else "")

    async def _tick(self) -> None:
        await asyncio.sleep(PATIENCE)
        self._ticked = True
        while True:
            line = self.text()
            if self._button is not None:
                self._button.line(line)
            elif self._text.seconds >= BUTTON_AFTER:
                from bastion_widgets.stopping import StopLine

                self._button = StopLine(line, self._kernel._interrupt)
                self._write(f"{line} · {STOP}", self._button.view())
            else:
                self._write(f"{line} · {STOP}")
            await asyncio.sleep(EVERY)

    def replaced(self) -> None:
        """What the cell gives comes now: it takes the place of the line, where nothing else stands below the cell."""
        self._ticker.cancel()
        if self._id is None or self.others:
            return
        self._kernel.send_response(self._kernel.iopub_socket, "clear_output", {"wait": True})
        self._id = None
        self._stop_button()

    def close(self) -> None:
        """Stop; a line of progress that still stands says how long it took."""
        self._ticker.cancel()
        if self._id is not None and self._ticked:
            self._write(f"took {self._text.seconds:.1f} s")
        self._stop_button()

    def _stop_button(self) -> None:
        if self._button is not None:
            self._button.close()
            self._button = None

    def _write(self, text: str, more: dict[str, Any] | None = None) -> None:
        kind = "update_display_data" if self._id else "display_data"
        self._id = self._id or uuid.uuid4().hex
        content: dict[str, Any] = {
            "data": {**(more or {}), **quiet(text)}, "metadata": {}, "transient": {"display_id": self._id}
        }  # fmt: skip
        self._kernel.send_response(self._kernel.iopub_socket, kind, content)
