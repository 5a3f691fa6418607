"""What a cell does in the kernel: run it, show what came out, keep what the next cell may want to use."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from bastion.client.connection import Connection, Released
from bastion.client.denied import Denied, NotApproved
from bastion.client.frames import RemoteLazyFrame
from bastion.language import Environment, evaluate
from bastion.language.inspection import describe_name
from bastion.render import bundle, clipped_table
from bastion_kernel.completion import complete, inspect_at
from bastion_kernel.errors import describe
from bastion_kernel.progress import ProgressLine

if TYPE_CHECKING:
    from bastion_widgets import AccessRequestWidget, Shelf
    from bastion_wire.messages import Progress

    from bastion_kernel.kernel import BastionKernel

Bundle = tuple[dict[str, Any], dict[str, Any]]
_ASKED = re.compile(r"\s*\?{1,2}\s*[\w.]+\s*\Z|\s*[\w.]+\s*\?{1,2}\s*\Z")


@dataclass
class Outcome:
    """What a cell came to.

    bundle: MIME data and metadata of its result. below: MIME data shown after it. error: (name, message, traceback lines). payload: for the front end.
    """

    bundle: Bundle | None = None
    below: list[dict[str, Any]] = field(default_factory=list)
    error: tuple[str, str, list[str]] | None = None
    payload: list[dict[str, Any]] = field(default_factory=list)


class Workbench:
    """The session of a kernel: the names cells share, the connection, the cells so far."""

    def __init__(self, kernel: BastionKernel) -> None:
        self._kernel = kernel
        self._cells: list[tuple[int, int, str]] = []
        self._silent = False
        self._progress: ProgressLine | None = None
        self._widgets: list[AccessRequestWidget] = []
        self._shelf: Shelf | None = None
        self.environment = Environment()
        self.environment.on_connect = self._connected
        self.environment.on_print = self._print
        self.environment.on_display = self._display

    # ---- cells ---------------------------------------------------------------------------------------------------

    async def run(self, code: str, *, silent: bool = False) -> Outcome:
        """Run a cell; its printed and displayed things are on their way when this returns."""
        if not code.strip():
            return Outcome()
        self._silent = silent
        self._progress = None if silent else ProgressLine(self._kernel, self._waits)
        try:
            return await self._run(code)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - a cell must not end the kernel, nor show its insides
            return Outcome(error=describe(error, code))
        finally:
            if self._progress is not None:
                self._progress.close()
                self._progress = None
            self._silent = False
            for widget in self._widgets:
                widget.refresh()

    async def _run(self, code: str) -> Outcome:
        if _ASKED.fullmatch(code):
            asked = code.strip().strip("?").strip()
            data = {"text/plain": describe_name(self.environment, asked, detailed="??" in code)}
            return Outcome(payload=[{"source": "page", "data": data, "start": 0}])
        try:
            result = await evaluate(code, self.environment)
        except Denied as denied:
            self._show_denial(denied)
            return Outcome(error=_stopped(denied))
        for note in result.notes:
            self._stream(note.rstrip() + "\n", "stderr")
        match result.kind:
            case "nothing":
                return Outcome()
            case "text":
                return Outcome(({"text/plain": result.value}, {}))
            case "frame":
                return await self._run_frame(result.value)
            case _:
                return self._outcome(result.value)

    async def _run_frame(self, frame: RemoteLazyFrame) -> Outcome:
        try:
            released = await frame.release()
        except NotApproved as denied:
            self._show_denial(denied)
            return Outcome(error=_stopped(denied))
        except Denied as denied:
            # showing a frame asks for nothing and files nothing: a denial is an answer, not a failure of the cell
            self._show_denial(denied)
            return Outcome()
        return self._outcome(released)

    def _outcome(self, value: Any) -> Outcome:
        first, *below = self._outputs(value)
        return Outcome((first, {}), below)

    def _outputs(self, value: Any) -> list[dict[str, Any]]:
        """Return what shows a value: its static view, and for a table that this cuts short a widget with all of it."""
        value = self._with_note(value)
        if self._silent or (table := clipped_table(value)) is None:
            return [bundle(value)]
        if self._shelf is None:
            from bastion_widgets import Shelf

            self._shelf = Shelf()
        return self._shelf.outputs(table, value.note if isinstance(value, Released) else None)

    def _with_note(self, value: Any) -> Any:
        """Return the release that a table came with, if it is the last one."""
        last = self.environment.connection.last if self.environment.connection is not None else None
        return last if last is not None and value is last.frame else value

    def _show_denial(self, denied: Denied) -> None:
        """Show the reason as static text, which survives anything, and the ways on as a widget below it."""
        if not isinstance(denied, NotApproved):
            self.environment.names["denied"] = denied
        if self._silent:
            return
        self._kernel.show(bundle(denied))
        if denied.outcome == "review" or denied.has_safe_part:
            from bastion_widgets import AccessRequestWidget

            widget = AccessRequestWidget(denied, on_result=self._arrived)
            self._widgets.append(widget)
            self._kernel.show(widget._repr_mimebundle_())

    def _arrived(self, released: Released) -> None:
        """Keep what a widget fetched, for the next cell."""
        self.environment.names["released"] = released.frame

    # ---- output while a cell runs --------------------------------------------------------------------------------

    def _stream(self, text: str, name: str) -> None:
        if not self._silent:
            self._kernel.print(text, name)

    def _print(self, text: str) -> None:
        self._stream(text, "stdout")

    def _display(self, value: Any) -> None:
        if not self._silent:
            for data in [{"text/plain": value}] if isinstance(value, str) else self._outputs(value):
                self._kernel.show(data)

    def _connected(self, connection: Connection) -> None:
        connection._progress = self._heard

    def _waits(self) -> bool:
        connection = self.environment.connection
        return connection is not None and any(connection._waiting.values())

    def _heard(self, progress: Progress) -> None:
        if self._progress is not None:
            self._progress.heard(progress)

    async def expression(self, text: str) -> dict[str, Any]:
        """Return one entry of an execute_reply's `user_expressions`."""
        try:
            result = await evaluate(text, self.environment)
        except BaseException as error:  # noqa: BLE001 - as in run()
            name, message, trace = describe(error, text)
            return {"status": "error", "ename": name, "evalue": message, "traceback": trace}
        return {"status": "ok", "data": bundle(self._with_note(result.value)), "metadata": {}}

    # ---- help and history ----------------------------------------------------------------------------------------

    def complete(self, code: str, cursor: int) -> tuple[list[str], int, int, list[str]]:
        """Return (matches, start, end, kinds) at the cursor; nothing runs."""
        return complete(self.environment, code, cursor)

    def inspect(self, code: str, cursor: int) -> str:
        """Return what is known of the name at the cursor; empty where nothing is."""
        return inspect_at(self.environment, code, cursor)

    def remember(self, number: int, code: str) -> None:
        """Keep a cell in the history."""
        self._cells.append((1, number, code))

    def history(
        self,
        kind: str,
        start: int | None,
        stop: int | None,
        n: int | None,
        pattern: str | None,
        unique: bool,
        output: bool,
    ) -> list[tuple[Any, ...]]:
        """Return (session, line, cell) of this session: the last `n`, a range, or those like a pattern."""
        cells = list(self._cells)
        match kind:
            case "range":
                cells = [c for c in cells if (start or 0) <= c[1] < (stop if stop is not None else 1 << 60)]
            case "search":
                cells = [c for c in cells if fnmatchcase(c[2], pattern or "*")]
                if unique:
                    cells = list({c[2]: c for c in cells}.values())
                cells = cells[-n:] if n else cells
            case _:
                cells = cells[-n:] if n else cells
        return [(s, line, (text, None)) if output else (s, line, text) for s, line, text in cells]

    async def close(self) -> None:
        """End the connection."""
        connection, self.environment.connection = self.environment.connection, None
        if connection is not None:
            await connection.close()


def _stopped(denied: Denied) -> tuple[str, str, list[str]]:
    """Return the error of a cell that a denial stopped: short, because the denial itself is shown above it."""
    line = denied.details.get("line")
    where = f" in line {line}" if line else ""
    return type(denied).__name__, denied.message, [f"The cell stopped{where}: {denied.message} [{denied.code}]"]
