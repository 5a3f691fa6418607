"""One peer's session: its requests being answered, its streams and its uploads."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
from bastion_plan.errors import WireError
from bastion_wire.codec import encode_reply
from bastion_wire.messages import (
    WINDOW,
    AnyAnswer,
    AnyRequest,
    Chunk,
    Credit,
    Envelope,
    Progress,
    Table,
    Weights,
)
from bastion_wire.streams import Credits, chunk_count, chunks

from bastion_server.channel.connections import Connection
from bastion_server.channel.keys import Principal
from bastion_server.channel.limits import Limits

if TYPE_CHECKING:
    from bastion_server.channel.uploads import Upload


class Stream:
    """A table, or weights, on their way to the peer."""

    def __init__(self) -> None:
        self.credits = Credits(WINDOW)
        self.outstanding = 0
        self.finished = False


class Session:
    """What is known of one connection. `key` names it in logs and to the service; the routing id is told to nobody."""

    def __init__(
        self,
        key: str,
        routing_id: bytes,
        connection: Connection,
        principal: Principal,
        limits: Limits,
        send: Callable[[Session, Sequence[bytes | memoryview]], None],
    ) -> None:
        self.key = key
        self.routing_id = routing_id
        self.connection = connection
        self.principal = principal
        self.limits = limits
        self.closed = False
        self.running: dict[int, Incoming] = {}
        self.request_bytes = 0
        self.streams: dict[int, Stream] = {}
        self.room = Credits(limits.chunks)
        self.uploads: dict[str, Upload] = {}
        self._send = send

    def reply(self, request_id: int, body: AnyAnswer, data: bytes | memoryview | None = None) -> None:
        """Send one message now, if the session still lives.

        Raises:
            WireError: wire.too-large.
        """
        header = encode_reply(request_id, body)
        if not self.closed:
            self._send(self, (self.routing_id, header) if data is None else (self.routing_id, header, data))

    def credit(self, credit: Credit) -> None:
        """The peer has taken chunks. INVARIANT: credit never exceeds what was sent, so the window never grows."""
        stream = self.streams.get(credit.stream)
        if stream is None:
            return
        taken = min(credit.chunks, stream.outstanding)
        if taken > 0:
            stream.outstanding -= taken
            stream.credits.add(taken)
            self.room.add(taken)
            self.forget(credit.stream)

    def forget(self, stream_id: int) -> None:
        """Drop a stream that is sent and taken."""
        stream = self.streams.get(stream_id)
        if stream is not None and stream.finished and stream.outstanding == 0:
            del self.streams[stream_id]

    def close(self) -> None:
        """Stop all work for this peer."""
        if not self.closed:
            self.closed = True
            for incoming in list(self.running.values()):
                incoming.cancel()
            for upload in list(self.uploads.values()):
                upload.cancel()


class Incoming:
    """A request being answered. The service reads `principal`, `session`, `body`, and answers by `send` or `stream`.

    principal: who asks, as authorised when the request came. session: key of the session.
    body: the message. INVARIANT: everything is decided by `principal`, never by what the message says of its sender.
    """

    def __init__(self, session: Session, envelope: Envelope, size: int) -> None:
        self._session = session
        self.id = envelope.id
        self.body: AnyRequest = envelope.body
        self.principal = session.principal
        self.session = session.key
        self.size = size
        self.answered = False
        self.cancelled = False
        self.task: asyncio.Task[None] | None = None
        self.heard = time.monotonic()
        self._stage = Progress("queued")

    async def send(self, body: AnyAnswer, data: bytes | memoryview | None = None) -> None:
        """Send an answer. Any body but Progress and Chunk is the last one.

        data: up to `limits.inline` bytes; more goes by `stream`.

        Raises:
            WireError: wire.too-large, the answer does not fit into a message.
        """
        self.send_now(body, data)

    def send_now(self, body: AnyAnswer, data: bytes | memoryview | None = None) -> None:
        """Send, for callers that are no coroutines (on the loop's thread)."""
        if self.answered or self.cancelled:
            return
        self.heard = time.monotonic()
        if isinstance(body, Progress):
            self._stage = body
        self._session.reply(self.id, body, data)
        self.answered = not isinstance(body, Progress | Chunk)

    def progress(self, stage: str, done: int = 0, total: int = 0) -> None:
        """Tell how far it is (on the loop's thread)."""
        self.send_now(Progress(stage, done, total))

    def keep_alive(self) -> None:
        """Repeat the last progress, so that the peer knows we are there."""
        self.send_now(self._stage)

    async def stream(self, table: Table | Weights, data: bytes | memoryview) -> None:
        """Answer with a table, or weights: in one message if small, else in chunks as fast as the peer takes them.

        `size` and `inline` of `table` are set here. `data` must not change meanwhile; no more than `limits.chunks` MiB
        of it are copied at a time.

        Raises:
            WireError: wire.stream-timeout, the peer stopped reading.
        """
        view = memoryview(data).cast("B")
        size = len(view)
        if size <= self._session.limits.inline:
            await self.send(msgspec.structs.replace(table, size=size, inline=True), view)
            return
        if self.id in self._session.streams:
            msg = "The id of this request still names a stream that was not taken."
            raise WireError(msg, code="wire.request-id", next_step="Use a new id for each request.")
        self._session.reply(self.id, msgspec.structs.replace(table, size=size, inline=False))
        stream = self._session.streams[self.id] = Stream()
        try:
            await self._send_chunks(stream, view)
        finally:
            stream.finished = True
            self._session.forget(self.id)
        self.answered = True

    async def _send_chunks(self, stream: Stream, view: memoryview) -> None:
        digest, last, timeout = hashlib.sha256(), chunk_count(len(view)) - 1, self._session.limits.stream_timeout
        for seq, piece in enumerate(chunks(view)):
            await stream.credits.take(timeout)
            await self._session.room.take(timeout)
            digest.update(piece)
            end = seq == last
            stream.outstanding += 1
            self.heard = time.monotonic()
            self._session.reply(self.id, Chunk(seq, end, digest.digest() if end else b""), piece)
            await asyncio.sleep(0)  # others' turn; a cancellation is heard here

    def cancel(self) -> None:
        """Stop the work; nothing more is sent but its failure."""
        if self.task is not None and not self.cancelled:
            self.cancelled = True
            self.task.cancel()
