"""The session behind the magics: one environment and one connection, on an event loop of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from typing import Any, TypeVar

from bastion_plan.errors import Interrupted

from bastion.client.connection import Connection
from bastion.language import CellResult, Environment, evaluate

T = TypeVar("T")


class Session:
    """Runs cells of the language from blocking code; names and the connection last between cells."""

    def __init__(self) -> None:
        self.environment = Environment()
        self.environment.on_connect = self._connected
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bastion-magics", daemon=True)
        self._thread.start()

    def _connected(self, connection: Connection) -> None:
        # widgets call from the notebook's thread: they must find the loop that this connection lives on
        connection._loop = self._loop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end. An interrupt cancels the work, and with it its query on the server.

        Raises:
            Interrupted: it was stopped.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except (KeyboardInterrupt, CancelledError):
            future.cancel()
            msg = "The cell was stopped."
            raise Interrupted(msg, code="interrupted.cell") from None

    def evaluate(self, cell: str) -> CellResult:
        """Run a cell of the language."""
        return self.run(evaluate(cell, self.environment))

    def close(self) -> None:
        """End the connection and the loop."""
        connection, self.environment.connection = self.environment.connection, None
        if connection is not None:
            self.run(connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        if not self._thread.is_alive():
            self._loop.close()
