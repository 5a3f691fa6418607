"""One line of progress below a cell that takes long; it updates in place."""

from __future__ import annotations

import asyncio
import html
import time
import uuid
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
    """Shows the stage of a query once it has taken half a second. Quick cells never see it.

    The server's progress messages set the text; without any there is no line.
    """

    def __init__(self, kernel: BastionKernel) -> None:
        self._kernel = kernel
        self._started = time.monotonic()
        self._heard: Progress | None = None
        self._id: str | None = None
        self._ticker: asyncio.Task[None] | None = None

    def heard(self, progress: Progress) -> None:
        """Take a progress message."""
        self._heard = progress
        if self._ticker is None:
            self._ticker = asyncio.ensure_future(self._tick())

    async def _tick(self) -> None:
        await asyncio.sleep(max(0.0, PATIENCE - (time.monotonic() - self._started)))
        while True:
            self._write(self.text())
            await asyncio.sleep(EVERY)

    def text(self) -> str:
        """Return the line as it is now."""
        seconds = time.monotonic() - self._started
        progress = self._heard
        stage = STAGES.get(progress.stage, "working") if progress is not None else "working"
        part = f" {progress.done / progress.total:.0%}" if progress is not None and progress.total else ""
        return f"{stage}{part} · {seconds:.1f} s · interrupt the kernel to stop the query"

    def close(self) -> None:
        """Stop; a line that was shown says how long it took."""
        if self._ticker is not None:
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
