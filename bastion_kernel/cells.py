"""What a cell does in the kernel: run it, show what came out, keep what the next cell may want to use."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bastion_plan.errors import BastionError
from bastion_widgets.show import Screen

from bastion.client.connection import Connection, Released
from bastion.client.denied import Denied, NotApproved
from bastion.client.frames import RemoteLazyFrame
from bastion.client.news import ConnectionNews
from bastion.language import Environment, evaluate
from bastion.language.completion import complete, inspect_at
from bastion.language.inspection import describe_name
from bastion.render.banners import connection_lines, how_to_connect
from bastion.render.safe_text import safe_text
from bastion.render.verdicts import assigned, quiet, verdict_of
from bastion_kernel.errors import describe
from bastion_kernel.history import History, history_path
from bastion_kernel.progress import StatusLine
from bastion_kernel.starting import StartConnection

if TYPE_CHECKING:
    from bastion_wire.messages import Progress

    from bastion_kernel.kernel import BastionKernel

VERSION = "0.1.0"
Bundle = tuple[dict[str, Any], dict[str, Any]]
NEWS_AFTER = 0.3  #: seconds that a cell may take to fail of a lost connection
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
    """The session of a kernel: the names cells share, the connection, the cells so far (`past`)."""

    def __init__(self, kernel: BastionKernel) -> None:
        self._kernel = kernel
        self._silent = False
        self._progress: StatusLine | None = None
        self._news = ConnectionNews()
        self._running: Context | None = None  # of the cell that runs: what is written in it appears below that cell
        self.past = History(history_path())
        self.environment = Environment()
        self.environment.recall = self._recall
        self.environment.ask_passphrase = kernel.passphrase
        self.screen = Screen(self.environment, self._arrived, kernel.replace)
        self.environment.on_connect = self._connected
        self.environment.on_print = self._print
        self.environment.on_display = self._display
        #: the connection that the kernel opens by itself
        self.start = StartConnection(self.environment.connect)

    # ---- cells ---------------------------------------------------------------------------------------------------

    async def run(self, code: str, *, silent: bool = False, console: bool = False) -> Outcome:
        """Run a cell; its printed and displayed things are on their way when this returns.

        silent: nothing is shown. console: the front end is a terminal, which cannot replace what it has shown.
        """
        if not code.strip():
            return Outcome()
        self._silent, self._running = silent, copy_context()
        self._progress = None if silent else StatusLine(self._kernel, self._waits, console=console)
        shown = False
        try:
            await self.start.finished()
            if not silent and (failure := self.start.take()):
                self._stream(failure + "\n", "stderr")
            return await self._run(code)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - a cell must not end the kernel, nor show its insides
            shown = self._news.told(error)
            return Outcome(error=describe(error, code))
        finally:
            if cut := self.environment.output.take():  # of a cell that failed; else it is among the notes
                self._stream(cut + "\n", "stderr")
            self._running = None
            if not shown:
                self._say_news()
            if self._progress is not None:
                self._progress.close()
                self._progress = None
            self._silent = False
            self.screen.refresh()

    async def _run(self, code: str) -> Outcome:
        if _ASKED.fullmatch(code):
            asked = code.strip().strip("?").strip()
            data = {"text/plain": describe_name(self.environment, asked, detailed="??" in code)}
            return Outcome(payload=[{"source": "page", "data": data, "start": 0}])
        connection = self.environment.connection
        if connection is not None:
            with suppress(BastionError):  # the cell itself says what is wrong
                await connection.fresh()
        before = dict(self.environment.names)
        try:
            result = await evaluate(code, self.environment)
        except Denied as denied:
            self._show_denial(denied)
            return Outcome(error=_stopped(denied))
        self._show_verdicts(before, result.value)
        for note in result.notes:
            self._stream(note.rstrip() + "\n", "stderr")
        match result.kind:
            case "nothing":
                return Outcome()
            case "text":
                return Outcome((self.screen.displayed(result.value)[0], {}))
            case "frame":
                return await self._run_frame(result.value)
            case _:
                return self._outcome(result.value)

    async def _run_frame(self, frame: RemoteLazyFrame) -> Outcome:
        if self._progress is not None and (line := verdict_of(frame)):
            self._progress.verdict(line)
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
        first, *below = self.screen.outputs(value, widgets=not self._silent)
        self._replace_status()
        return Outcome((first, {}), below)

    def _show_verdicts(self, before: dict[str, Any], value: Any) -> None:
        """Say of queries that the cell gave a name what would become of them."""
        if not self._silent and (lines := assigned(before, self.environment.names, value)):
            self._others()
            self._kernel.show(quiet("\n".join(lines)))

    def _replace_status(self) -> None:
        if self._progress is not None:
            self._progress.replaced()

    def _others(self) -> None:
        """Something else is shown below the cell: the line of its status may not take it away."""
        if self._progress is not None:
            self._progress.others = True
            self._progress.erased()

    def _show_denial(self, denied: Denied) -> None:
        found = self.screen.denial(denied, widgets=not self._silent)
        self._replace_status()
        for data in found:
            if not self._silent:
                self._kernel.show(data)

    def _arrived(self, released: Released) -> None:
        """Keep what a widget fetched, for the next cell."""
        self.environment.names["released"] = released.frame

    # ---- output while a cell runs --------------------------------------------------------------------------------

    def _stream(self, text: str, name: str) -> None:
        if not self._silent:
            self._others()
            self._kernel.print(text, name)

    def _print(self, text: str) -> None:
        self._stream(text, "stdout")

    def _display(self, value: Any) -> None:
        if not self._silent:
            self._others()
            found = self.screen.displayed(value)
            if self.environment.output.size(sum(map(_size, found))):
                for data in found:
                    self._kernel.show(data)

    def _connected(self, connection: Connection) -> None:
        connection._progress = self._heard
        self._news = ConnectionNews(connection)
        connection.on_state(self._state_changed)

    def _state_changed(self, _: str) -> None:
        """Say it below the cell that runs, if it goes on: one that fails of it says so itself. Else the next cell does."""
        running = self._running
        if running is not None:
            asyncio.get_running_loop().call_later(NEWS_AFTER, self._still_running, running, context=running.copy())

    def _still_running(self, running: Context) -> None:
        if running is self._running:
            self._say_news()

    def _say_news(self) -> None:
        if not self._silent and (line := self._news.take()):
            self._stream(line + "\n", "stderr")

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
        return {"status": "ok", "data": self.screen.static(result.value), "metadata": {}}

    # ---- help and history ----------------------------------------------------------------------------------------

    def complete(self, code: str, cursor: int) -> tuple[list[str], int, int, list[str]]:
        """Return (matches, start, end, kinds) at the cursor; nothing runs."""
        return complete(self.environment, code, cursor)

    def inspect(self, code: str, cursor: int) -> str:
        """Return what is known of the name at the cursor; empty where nothing is."""
        return inspect_at(self.environment, code, cursor)

    def banner(self) -> str:
        """Return who and where one is, and what the policies allow; without a connection, how to get one."""
        connection = self.environment.connection
        if connection is not None and connection.connected:
            lines = connection_lines(connection)
        else:
            lines = [*self.start.lines(), *how_to_connect()]
        return "\n".join([f"BastionLab {VERSION}: explore data you may not see. Type help() for a start.", *lines])

    def _recall(self, words: str, count: int) -> list[str]:
        """Return cells of this session and earlier ones with a text in them, for `%history`."""
        found = self.past.search("*", unique=True)
        return [code for _, _, code in found if words in code.lower()][-count:]

    async def close(self) -> None:
        """End the connection, and close the history."""
        await self.start.stop()
        self.past.close()
        connection, self.environment.connection = self.environment.connection, None
        if connection is not None:
            await connection.close()


def _size(data: dict[str, Any]) -> int:
    """Return about how many bytes a MIME bundle takes."""
    return sum(len(part) if isinstance(part, str) else len(json.dumps(part, default=str)) for part in data.values())


def _stopped(denied: Denied) -> tuple[str, str, list[str]]:
    """Return the error of a cell that a denial stopped: short, because the denial itself is shown above it."""
    line = denied.details.get("line")
    where = f" in line {line}" if line else ""
    return (
        type(denied).__name__,
        denied.message,
        [safe_text(f"The cell stopped{where}: {denied.message} [{denied.code}]")],
    )
