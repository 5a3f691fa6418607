"""One line of progress below a cell that takes long; it updates in place."""

from __future__ import annotations

import asyncio
import html
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bastion_wire.messages import Progress

    from bastion_kernel.kernel import BastionKernel

PATIENCE = 0.5
EVERY = 0.25
STAGES = {
    "queued": "waiting for its turn",
    "judging": "checking what may leave",
    "running": "running beside the data",
    "sending": "sending",
    "receiving": "receiving",
}


class ProgressLine:
    """Shows what a cell is at once it has taken half a second. Quick cells never see it.

    waiting: says whether the cell waits for an owner's decision.
    """

    def __init__(self, kernel: BastionKernel, waiting: Callable[[], bool]) -> None:
        self._kernel = kernel
        self._waiting = waiting
        self._started = time.monotonic()
        self._heard: Progress | None = None
        self._id: str | None = None
        self._ticker = asyncio.ensure_future(self._tick())

    def heard(self, progress: Progress) -> None:
        """Take a progress message."""
        self._heard = progress

    async def _tick(self) -> None:
        await asyncio.sleep(PATIENCE)
        while True:
            self._write(self.text())
            await asyncio.sleep(EVERY)

    def text(self) -> str:
        """Return the line as it is now."""
        seconds = time.monotonic() - self._started
        progress = self._heard
        stage = STAGES.get(progress.stage, "working") if progress is not None else "working"
        part = f" {progress.done / progress.total:.0%}" if progress is not None and progress.total else ""
        if self._waiting():
            stage, part = "waiting for the owner's decision", ""
        return f"{stage}{part} · {seconds:.1f} s · interrupt the kernel to stop"

    def close(self) -> None:
        """Stop; a line that was shown says how long it took."""
        self._ticker.cancel()
        if self._id is not None:
            self._write(f"took {time.monotonic() - self._started:.1f} s")

    def _write(self, text: str) -> None:
        kind = "update_display_data" if self._id else "display_data"
        self._id = self._id or uuid.uuid4().hex
        page = f'<div style="color:var(--jp-ui-font-color2,#666);font-size:11px">{html.escape(text)}</div>'
        content: dict[str, Any] = {
            "data": {"text/plain": text, "text/html": page}, "metadata": {}, "transient": {"display_id": self._id}
        }  # fmt: skip
        self._kernel.send_response(self._kernel.iopub_socket, kind, content)
