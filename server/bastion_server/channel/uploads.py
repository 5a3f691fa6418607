"""Receiving a table or a model: chunks in order, counted, hashed, handed to the service's sink one at a time."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from typing import TYPE_CHECKING, Protocol

import zmq
from bastion_plan.errors import WireError
from bastion_wire.messages import WINDOW, AnyAnswer, Credit, ModelBegin, UploadBegin, UploadReady
from bastion_wire.streams import Receipt

from bastion_server.channel.failures import log_incident

if TYPE_CHECKING:
    from bastion_server.channel.sessions import Session


class UploadSink(Protocol):
    """Where the bytes of one upload go. Calls come one after another."""

    async def chunk(self, data: memoryview) -> None:
        """Take the next bytes; `data` is valid until this returns."""

    async def end(self) -> AnyAnswer:
        """All bytes have come and their SHA-256 is the announced one: keep them. Returns the answer."""

    async def abort(self) -> None:
        """Throw away what came. Called at most once, after anything failed: a chunk, the digest, `end`, the peer."""


class Upload:
    """One upload in progress. `run` receives it, in the task given to `start`."""

    def __init__(self, session: Session, stream: int, begin: UploadBegin | ModelBegin, sink: UploadSink) -> None:
        self.key = secrets.token_hex(8)
        self.stream = stream
        self._session = session
        self._begin = begin
        self._sink = sink
        self._receipt = Receipt(begin.size)
        self._allowed = WINDOW  # chunks that may still come
        self._queue: deque[tuple[int, zmq.Frame] | int] = deque()
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._answer_id = stream
        self._entered = False

    def start(self, task: asyncio.Task[None]) -> None:
        """Say which task runs this upload."""
        self._task = task
        task.add_done_callback(lambda _: self._abort_soon())

    def ready(self) -> UploadReady:
        """The answer to what announced it."""
        return UploadReady(self.key, WINDOW)

    def offer_chunk(self, seq: int, data: zmq.Frame) -> None:
        """Take a chunk from the wire; one beyond the credit ends the upload."""
        self._allowed -= 1
        self._offer((seq, data) if self._allowed >= 0 else -1)

    def offer_end(self, request_id: int) -> None:
        """Take the end from the wire."""
        self._offer(request_id)

    def cancel(self) -> None:
        """Stop; the sink is told to throw away what came."""
        if self._task is not None:
            self._task.cancel()

    def _offer(self, item: tuple[int, zmq.Frame] | int) -> None:
        if len(self._queue) <= WINDOW + 1:
            self._queue.append(item)
            self._arrived.set()

    async def run(self) -> tuple[int, AnyAnswer]:
        """Receive until the end. Returns the id to answer and the answer.

        Raises:
            whatever the sink raises, or a WireError; `answer_id` then says whom to tell. The sink was told to abort.
        """
        finished, self._entered = False, True
        try:
            while True:
                item = await self._next()
                if not isinstance(item, tuple):
                    break
                await self._take(*item)
            if item < 0:
                msg = "A chunk came for which no credit had been given."
                raise WireError(msg, code="wire.stream-credit", next_step="Wait for credit before sending more.")
            self._answer_id = item
            self._receipt.finish(self._begin.sha256)
            answer = await self._sink.end()
            finished = True
            return item, answer
        finally:
            if not finished:
                await asyncio.shield(self._abort())

    async def _abort(self) -> None:
        try:
            await self._sink.abort()
        except Exception:  # noqa: BLE001 - what ended the upload is the news, not this
            log_incident("an upload could not be thrown away")

    def _abort_soon(self) -> None:
        """Throw away what came, where the task was cancelled before it ran."""
        if not self._entered:
            self._aborting = asyncio.get_running_loop().create_task(self._abort())

    @property
    def answer_id(self) -> int:
        """The request to answer if this fails: UploadEnd once it came, else what announced it."""
        return self._answer_id

    async def _next(self) -> tuple[int, zmq.Frame] | int:
        timeout = self._session.limits.upload_timeout
        while not self._queue:
            self._arrived.clear()
            try:
                async with asyncio.timeout(timeout):  # wait_for of Python 3.11 may swallow a cancellation
                    await self._arrived.wait()
            except TimeoutError:
                msg = "The upload was given up."
                raise WireError(
                    msg,
                    code="wire.stream-timeout",
                    reason=f"No chunk came for {timeout:g} s.",
                    next_step="Send the whole again.",
                ) from None
        return self._queue.popleft()

    async def _take(self, seq: int, frame: zmq.Frame) -> None:
        data = memoryview(frame.buffer)
        self._receipt.check(seq, len(data))
        # hashing and the sink's own work (encryption) release the interpreter: side by side on two cores
        hashing = asyncio.get_running_loop().run_in_executor(None, self._receipt.add, data)
        try:
            await self._sink.chunk(data)
        finally:
            await hashing
        self._allowed += 1
        self._session.reply(self.stream, Credit(self.stream, 1))
