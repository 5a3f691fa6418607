"""CBOR (RFC 8949) as far as Nitro's documents use it, read strictly.

INVARIANT: what is read was written in one way alone: shortest heads, definite lengths, no key twice, nothing after the end, and no kinds
but those below. Two readers of the same bytes cannot come to different documents, and of all bytes that mean a document one has a
signature. A general reader knows dozens of tags (dates, sets, references) and forms that a document has no use for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: tables and lists within each other: a document has two
MAX_DEPTH = 4
#: a tag of COSE: one signature (RFC 9052, 4.2)
SIGN1 = 18
_SIMPLE = {20: False, 21: True, 22: None}


class Malformed(ValueError):
    """Raised for bytes that are no CBOR of this kind."""


@dataclass
class _Reader:
    data: bytes
    at: int = 0

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.at:
            raise Malformed
        self.at += size
        return self.data[self.at - size : self.at]

    def head(self) -> tuple[int, int]:
        """Return the kind of what comes, and its number."""
        kind, low = divmod(self.take(1)[0], 32)
        if low < 24:
            return kind, low
        if low > 27:
            raise Malformed
        size = 1 << (low - 24)
        number = int.from_bytes(self.take(size), "big")
        # a number that has room in a shorter head must be there
        if number < (24 if size == 1 else 1 << 4 * size):
            raise Malformed
        return kind, number

    def value(self, depth: int) -> Any:
        kind, number = self.head()
        if kind == 0:
            return number
        if kind == 1:
            return -1 - number
        if kind == 2:
            return self.take(number)
        if kind == 3:
            return self.take(number).decode("utf-8")
        if kind == 7 and number in _SIMPLE:
            return _SIMPLE[number]
        if kind not in (4, 5) or depth == MAX_DEPTH:
            raise Malformed
        # each takes a byte at least, so that a number of them beyond all measure soon comes to the end
        if kind == 4:
            return [self.value(depth + 1) for _ in range(number)]
        return self.table(number, depth)

    def table(self, number: int, depth: int) -> dict[int | str, Any]:
        found: dict[int | str, Any] = {}
        for _ in range(number):
            key = self.value(MAX_DEPTH)
            # True is 1 to a dict, so a kind that is not asked for would hide a key
            if type(key) not in (int, str) or key in found:
                raise Malformed
            found[key] = self.value(depth + 1)
        return found


def read(data: bytes, tag: int | None = None) -> Any:
    """Return the one value that bytes are.

    Args:
        data: CBOR.
        tag: one that may stand before it.

    Raises:
        Malformed: not of this kind, or more than one value.
    """
    reader = _Reader(data)
    if tag is not None and data[:1] == bytes([0xC0 | tag]):
        reader.at = 1
    try:
        found = reader.value(0)
    except UnicodeDecodeError:
        raise Malformed from None
    if reader.at != len(data):
        raise Malformed
    return found
