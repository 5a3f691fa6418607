"""Uploads through the page: a file comes in parts from the browser, and goes to the server from here, signed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import traitlets as t
from bastion_plan.errors import InputError, Interrupted
from bastion_wire.messages import Progress

from bastion.client.text_tables import doubts
from bastion.client.uploading import table_from_bytes
from bastion.render.progress import ProgressText
from bastion_widgets.owner import shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bastion.client.connection import Connection

MAX_UPLOAD = 512 << 20
EVERY = 0.25  #: seconds between two lines of progress


class Uploads(t.HasTraits):
    """The traits and clicks of an upload."""

    _connection: Connection
    said: Any

    #: a file that comes from the page: how far it is (`says`), then its columns
    upload = t.Dict().tag(sync=True)

    def _prepare_uploads(self, uploaded: Callable[[str], Awaitable[None]]) -> None:
        """uploaded: what to do with the id of a dataset that is there now."""
        self._uploaded = uploaded
        self._parts: list[bytes] = []
        self._table: Any = None
        self._run, self._stopped = "", ""
        self._coming = ProgressText()
        self._sending: asyncio.Future[Any] | None = None

    async def do_upload_part(self, name: str, seq: int, size: int, buffers: list[Any], run: str = "") -> None:
        """Take the next part of a file that the page reads; the last one shows its columns. run: tells one reading from another."""
        if run and run == self._stopped:
            return
        if seq == 0:
            self._parts, self._run, self._coming = [], str(run), ProgressText()
        if seq != len(self._parts) or size > MAX_UPLOAD:
            self._parts, self.upload = [], {}
            msg = "The file did not come whole." if size <= MAX_UPLOAD else "The file is too large for the panel."
            raise InputError(msg, code="input.file", next_step="Use the command line: bastion upload FILE.")
        self._parts.append(bytes(buffers[0]))
        done = sum(map(len, self._parts))
        if done < size:
            self._coming.heard(Progress("receiving", done, size))
            self.upload = {"name": shown.line(name, 200), "says": self._coming.line()}
            return
        data, self._parts = b"".join(self._parts), []
        frame = await asyncio.to_thread(table_from_bytes, str(name), data)
        odd = await asyncio.to_thread(doubts, frame, "Clean the file, then choose it again.")
        if run and run == self._stopped:
            return
        self._table = frame
        self.upload = {
            "name": shown.line(name, 200), "rows": frame.height,
            "columns": [{"name": shown.line(n, 120), "dtype": str(d)} for n, d in frame.schema.items()],
            "doubts": [shown.line(said) for said in odd],
        }  # fmt: skip

    async def do_upload_send(
        self, name: str, unit: str = "", hidden: Any = (), policy: str = "", replace: bool = False
    ) -> None:
        """Sign and send the table that has come from the page. hidden: numbers of columns; unit: a number, or "row"."""
        frame = self._table
        if frame is None:
            msg = "There is no file yet."
            raise InputError(msg, code="input.file", next_step="Choose one first.")
        if self._sending is not None:
            return
        columns = frame.columns
        names = [columns[number_of(number, len(columns))] for number in hidden]
        whom = None if unit == "" else "row" if unit == "row" else columns[number_of(unit, len(columns))]
        text, far = str(policy).strip() or None, ProgressText()
        work = asyncio.ensure_future(
            self._connection._upload(frame, text, names, str(name).strip(), whom, bool(replace), far.heard)
        )
        self._sending = work
        try:
            while not work.done():
                self.said = shown.said(far.line("" if far.share is not None else "sending"), "busy", stop="upload_stop")
                await asyncio.wait([work], timeout=EVERY)
            facts = work.result().dataset.facts
        except asyncio.CancelledError:
            msg = "The upload was stopped. The file is still here."
            raise Interrupted(msg, code="interrupted.cancelled") from None
        finally:
            work.cancel()
            self._sending = None
        self._table, self.upload = None, {}
        self.said = shown.said(f"{facts.name} is there. Look at the roles of its columns.")
        await self._uploaded(facts.id)

    async def do_upload_stop(self) -> None:
        """Stop what is being sent."""
        if self._sending is not None:
            self._sending.cancel()

    async def do_upload_cancel(self) -> None:
        """Forget the file, also one that is still coming."""
        self._stopped = self._run
        self._parts, self._table, self.upload = [], None, {}


def number_of(value: Any, below: int) -> int:
    """Return a number that the page gave, of a list it was shown."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 9:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < below:
        msg = "The page asked for something that is not there any more."
        raise InputError(msg, code="input.panel", next_step="Open it again.")
    return value
