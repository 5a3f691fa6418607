"""Numbers of stored columns that were measured for an earlier question, so that the next one need not read them again.

And which cell each row is in, where a table is grouped by one of its columns as it is.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy.typing as npt

#: (table id, version, column)
Key = tuple[str, int, str]
Numbers = npt.NDArray[Any]


class Columns:
    """Columns of versions of tables, as numbers, NaN where there is none; the least recently used ones make room.

    capacity: bytes that are held at most; 0: none.

    INVARIANT: a version of a table never changes, so what is held of it is what would be measured. What is deleted or replaced
    is forgotten at once.
    """

    def __init__(self, capacity: int = 0) -> None:
        self._capacity, self._size = capacity, 0
        self._held: OrderedDict[Key, Numbers] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Numbers | None:
        """Return a column; None: it is not held. Nobody may write into it."""
        with self._lock:
            found = self._held.get(key)
            if found is not None:
                self._held.move_to_end(key)
            return found

    def put(self, key: Key, values: Numbers) -> None:
        """Hold a column, if there is room for one so large."""
        with self._lock:
            if key in self._held or values.nbytes > self._capacity:
                return
            values.flags.writeable = False
            self._held[key] = values
            self._size += values.nbytes
            while self._size > self._capacity:
                self._size -= self._held.popitem(last=False)[1].nbytes

    def forget(self, dataset: str) -> None:
        """Let go of all columns of a table."""
        with self._lock:
            for key in [key for key in self._held if key[0] == dataset]:
                self._size -= self._held.pop(key).nbytes
