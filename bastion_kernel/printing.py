"""What a cell prints, put together: a print in a loop is not a message each, of which a full queue drops some."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

EVERY = 0.1  # seconds that printed text waits for more
MOST = 8192  # characters that one message holds before it is sent


class Printed:
    """Printed text that waits for more of its stream and its cell.

    Args:
        send: sends a message to the front ends: its content, and the request that it belongs to.
    """

    def __init__(self, send: Callable[[dict[str, Any], Any], None]) -> None:
        self._send = send
        self._texts: list[str] = []
        self._name, self._parent = "stdout", None
        self._size, self._since = 0, 0.0

    def write(self, text: str, name: str, parent: Any) -> None:
        """Show a text soon: after what waits, at the latest EVERY later if the loop runs, or with the next one."""
        if self._texts and (name != self._name or parent is not self._parent):
            self.flush()
        if not self._texts:
            self._name, self._parent, self._since = name, parent, time.monotonic()
            asyncio.get_running_loop().call_later(EVERY, self.flush)
        self._texts.append(text)
        self._size += len(text)
        if self._size >= MOST or time.monotonic() - self._since >= EVERY:
            self.flush()

    def flush(self) -> None:
        """Send what waits."""
        texts, self._texts, self._size = self._texts, [], 0
        if texts:
            self._send({"name": self._name, "text": "".join(texts)}, self._parent)
