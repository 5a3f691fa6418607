"""The session behind the magics: one environment and one connection, on an event loop of their own."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from bastion_plan.errors import BastionError, Interrupted

from bastion.client.connection import STOPPED, Connection
from bastion.client.endpoints import ask_passphrase
from bastion.client.frames import RemoteLazyFrame
from bastion.client.news import ConnectionNews
from bastion.language import CellResult, Environment, evaluate
from bastion.sql import table_names

if TYPE_CHECKING:
    from bastion_wire.messages import Progress

    from bastion_magics.status import StatusLine

T = TypeVar("T")
STOPPING = 6.0  #: seconds that what was stopped may take to end
EVERY = 0.25  #: seconds after which a cell that waits shows how far it is, and looks whether the connection was lost or is back


class Session:
    """Runs cells of the language from blocking code; names and the connection last between cells."""

    def __init__(self) -> None:
        self.environment = Environment()
        self.environment.how_to_connect = "Write %bastion connect."
        self.environment.on_connect = self._connected
        self.environment.ask_passphrase = ask_passphrase
        self._news = ConnectionNews()
        #: shows how far a cell is, while one runs
        self.status: StatusLine | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bastion-magics", daemon=True)
        self._thread.start()

    def _connected(self, connection: Connection) -> None:
        # widgets call from the notebook's thread: they must find the loop that this connection lives on
        connection._loop = self._loop
        self._news = ConnectionNews(connection)
        connection._progress = self._heard

    def _heard(self, progress: Progress) -> None:
        if self.status is not None:
            self.status.heard(progress)

    def waits(self) -> bool:
        """Whether a cell waits for an owner's decision."""
        connection = self.environment.connection
        return connection is not None and any(connection._waiting.values())

    def say_news(self, error: BaseException | None = None) -> None:
        """Say in one line that the connection was lost or is back, where that is news; `error` may have said it itself."""
        if error is not None and self._news.told(error):
            return
        if line := self._news.take():
            if self.status is not None:
                self.status.others = True
            print(line, file=sys.stderr)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end. An interrupt cancels the work, and with it its query on the server.

        Raises:
            Interrupted: it was stopped.
        """
        begun: list[asyncio.Task[Any]] = []

        async def watched() -> T:
            begun.append(asyncio.current_task())  # type: ignore[arg-type]
            return await work

        def stop() -> None:
            """Cancel the work itself: what it says on its way out is heard, as of a fit how far it came."""
            self._loop.call_soon_threadsafe(lambda: begun[0].cancel() if begun else future.cancel())

        future = asyncio.run_coroutine_threadsafe(watched(), self._loop)
        try:
            while True:
                try:
                    return future.result(EVERY)
                except TimeoutError:
                    if future.done():  # the work's own
                        raise
                    self.say_news()
                    if self.status is not None:
                        self.status.tick(stop)
        except (KeyboardInterrupt, CancelledError):
            stop()
            with suppress(CancelledError, TimeoutError):
                return future.result(STOPPING)
            future.cancel()
            msg = "The cell was stopped."
            raise Interrupted(msg, code="interrupted.cell", reason=STOPPED) from None

    def evaluate(self, cell: str) -> CellResult:
        """Run a cell of the language."""

        async def work() -> CellResult:
            await self._fresh()
            return await evaluate(cell, self.environment)

        return self.run(work())

    def query(self, text: str) -> CellResult:
        """Return what a cell of SQL gives: a frame, over datasets by name and frames that earlier cells gave a name.

        Raises:
            InputError: not SQL, with the line of the notebook's cell.
        """

        async def work() -> CellResult:
            await self._fresh()
            env = self.environment
            # the notebook's first line is %%bastion itself: messages count lines from there
            text_below = "\n" + text
            try:
                named = {name: env.names.get(name) for name in table_names(text_below)}
                frames = {name: frame for name, frame in named.items() if isinstance(frame, RemoteLazyFrame)}
                return CellResult("frame", await env.sql(text_below, **frames))
            except BastionError as error:
                error.details.pop("line", None)  # the message says it
                raise

        return self.run(work())

    async def _fresh(self) -> None:
        connection = self.environment.connection
        if connection is not None:
            with suppress(BastionError):  # the cell itself says what is wrong
                await connection.fresh()

    def close(self) -> None:
        """End the connection and the loop."""
        connection, self.environment.connection = self.environment.connection, None
        if connection is not None:
            self.run(connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        if not self._thread.is_alive():
            self._loop.close()
