"""Who is next: one line per person, served in turn, so that nobody's flood of queries keeps others waiting."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """First in, first out within a key; round robin between keys."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, deque[T]] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    def put(self, key: str, item: T) -> None:
        """Join the end of one's own line."""
        self._lines.setdefault(key, deque()).append(item)

    def take(self) -> T:
        """Take the first of the line whose turn it is; KeyError where nobody waits."""
        key, line = self._lines.popitem(last=False)
        item = line.popleft()
        if line:
            self._lines[key] = line
        return item

    def discard(self, key: str, item: T) -> None:
        """Leave the line."""
        line = self._lines.get(key)
        if line is not None and item in line:
            line.remove(item)
            if not line:
                del self._lines[key]
