"""Bulk data in numbered chunks of 1 MiB, sent only against credit, closed by a SHA-256 of the whole."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator

from bastion_plan.errors import WireError

from bastion_wire.messages import CHUNK


def chunks(data: memoryview) -> Iterator[memoryview]:
    """Yield the pieces of `data`, each of `CHUNK` bytes but the last; one empty piece for no data."""
    for start in range(0, max(len(data), 1), CHUNK):
        yield data[start : start + CHUNK]


def chunk_count(size: int) -> int:
    """Return how many chunks `size` bytes make; at least one."""
    return max(1, -(-size // CHUNK))


class Credits:
    """How many chunks one may still send; the other side adds more as it takes them."""

    def __init__(self, window: int) -> None:
        self.free = window
        self._given = asyncio.Event()
        self._error: Exception | None = None

    def add(self, chunks: int) -> None:
        """The other side allows `chunks` more."""
        self.free += chunks
        self._given.set()

    def fail(self, error: Exception) -> None:
        """End the waiting: `take` raises `error` from now on."""
        self._error = error
        self._given.set()

    async def take(self, timeout: float) -> None:
        """Use one, waiting up to `timeout` seconds for it.

        Raises:
            WireError: wire.stream-timeout, none came in time.
        """
        while self.free <= 0 and self._error is None:
            self._given.clear()
            try:
                async with asyncio.timeout(timeout):  # wait_for of Python 3.11 may swallow a cancellation
                    await self._given.wait()
            except TimeoutError:
                msg = "The receiver has stopped reading the stream."
                raise WireError(
                    msg,
                    code="wire.stream-timeout",
                    reason=f"No credit for further chunks came within {timeout:g} s.",
                    next_step="Ask again; credit each chunk as it is read.",
                ) from None
        if self._error is not None:
            raise self._error
        self.free -= 1


class Receipt:
    """Checks the chunks of one stream of announced size as they come."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.received = 0
        self._seq = 0
        self._digest = hashlib.sha256()

    def check(self, seq: int, length: int) -> None:
        """Check number and length of the next chunk; `add` its bytes after that.

        Raises:
            WireError: wire.stream-order, wire.stream-size.
        """
        if seq != self._seq:
            msg = f"Chunk {seq} came where chunk {self._seq} was due."
            raise WireError(msg, code="wire.stream-order", next_step="Send the whole again.")
        if length != min(CHUNK, self.size - self.received) or (length == 0 and self._seq > 0):
            msg = "A chunk does not have the length that the announced size asks for."
            raise WireError(msg, code="wire.stream-size", next_step="Send the whole again, in chunks of 1 MiB.")
        self._seq += 1
        self.received += length

    def add(self, data: memoryview) -> None:
        """Take the bytes of a checked chunk into the digest."""
        self._digest.update(data)

    @property
    def complete(self) -> bool:
        """Whether every announced byte has come."""
        return self.received == self.size and self._seq > 0

    def finish(self, sha256: bytes) -> None:
        """Check that all has come and is what was sent.

        Raises:
            WireError: wire.stream-size, wire.stream-digest.
        """
        if not self.complete:
            msg = f"The stream ended after {self.received} of {self.size} bytes."
            raise WireError(msg, code="wire.stream-size", next_step="Send the whole again.")
        if self._digest.digest() != sha256:
            msg = "The bytes that arrived are not those that were announced (SHA-256 differs)."
            raise WireError(msg, code="wire.stream-digest", next_step="Send the whole again.")
