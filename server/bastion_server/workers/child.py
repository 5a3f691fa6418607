"""The child: one query's engine. It reads plans from its channel, runs them, and answers; it knows nothing else.

Everything here runs behind the walls of `sandbox.py`, on behalf of one query, and ends with it.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import pickle
import socket
import traceback
from collections.abc import Mapping, Sequence
from typing import IO, Any, ClassVar

import msgspec
import polars as pl
from bastion_plan.canonical import Envelope
from bastion_plan.nodes import Node

from bastion_server.engine.lower import lower
from bastion_server.engine.probe import Fails, Tried, probe
from bastion_server.workers import measure, sandbox, warming
from bastion_server.workers.framing import MAX_BODY, BrokenFrame, pack, receive, send
from bastion_server.workers.messages import (
    Bind,
    Done,
    Failed,
    Limits,
    Message,
    Ready,
    Register,
    Run,
    SandboxReport,
    ToChild,
)
from bastion_server.workers.visible import visible

_plans = msgspec.msgpack.Decoder(Envelope)
#: bytes of a batch of rows in a file, about
_BATCH = 16 << 20


Tables = Mapping[str, Mapping[str, Sequence[Any]]]


class Refusal(Exception):
    """The job ends with a fixed reason of errors.py."""

    def __init__(self, reason: str, text: str = "") -> None:
        self.reason = reason
        super().__init__(text)


class Child:
    """Serves one channel until it closes."""

    #: the messages it understands
    requests: ClassVar[Any] = ToChild

    def __init__(self, sock: socket.socket, limits: Limits) -> None:
        self.sock = sock
        self.limits = limits
        self.sources: dict[str, pl.LazyFrame] = {}
        self.files: list[int] = []
        self.tried: Tried = set()

    @classmethod
    def main(cls, channel: int, stderr: int, limits: Limits, spare: int, parent: int) -> None:
        """Become a worker: put up the walls, warm the engine, serve. Called in a fresh fork; never returns.

        Args:
            channel, stderr: descriptors of the channel and of the pipe for last words.
            limits: what may be used.
            spare: an empty memory file, for warming the engine's reader. parent: process id of the zygote.
        """
        code = 1
        try:
            channel, spare = sandbox.keep_only(channel, stderr, spare)
            report = cls.enclose(limits, parent)
            # family and kind are told, for asking the kernel is behind the walls
            child = cls(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, channel), limits)
            child.warm(spare)
            send(child.sock, Ready(report))
            child.serve()
            code = 0
        except BrokenFrame:
            code = 0
        except BaseException:  # noqa: BLE001 - last words go to the owner's log
            with contextlib.suppress(BaseException):
                os.write(2, traceback.format_exc().encode()[-4000:])
        os._exit(code)

    @classmethod
    def enclose(cls, limits: Limits, parent: int) -> SandboxReport:
        """Put up every wall the kernel has."""
        return sandbox.enclose(limits, parent)

    def warm(self, spare: int) -> None:
        """Start the engine's threads and readers, and touch its code, by the way a guarded query goes.

        INVARIANT: it reads constants only; no dataset is bound to a worker before it is lent.
        """
        with open(spare, "wb", buffering=0, closefd=False) as file:
            warming.table().write_ipc(file, compression="uncompressed")
        for _ in range(warming.ROUNDS):
            self.bind((warming.SCAN,), (os.dup(spare),))
            for encoded, body in warming.REQUESTS:
                request = msgspec.msgpack.decode(encoded, type=self.requests)
                message, data = self.handle(request, body, [os.dup(spare)])
                pack(message, data)
            self.forget()
        os.close(spare)
        gc.collect()
        gc.freeze()

    def forget(self) -> None:
        """Let go of every source."""
        self.sources.clear()
        for fd in self.files:
            os.close(fd)
        self.files.clear()

    def serve(self) -> None:
        """Answer messages, one at a time, until the channel closes."""
        while True:
            message, body, fds = receive(self.sock, self.requests, max_fds=16)
            answer: Message
            data: bytes = b""
            try:
                answer, data = self.handle(message, body, fds)
            except Refusal as refusal:
                answer = Failed(refusal.reason, str(refusal))
            except MemoryError:
                answer = Failed("memory")
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # noqa: BLE001 - engine panics derive from BaseException
                answer = Failed("refused", f"{type(error).__name__}: {error}"[:4000])
            send(self.sock, answer, data)

    def handle(self, message: Message, body: bytes, fds: list[int]) -> tuple[Message, bytes]:
        """Do what one message asks for and return (answer, body)."""
        match message:
            case Bind(ids=ids):
                self.bind(ids, fds)
                return Done(), b""
            case Run(plan=plan, keep=keep, returns=returns, dry=dry, values=values):
                # INVARIANT: pickle flows only from the server into the sandbox, never back
                tables = pickle.loads(body) if body else {}  # noqa: S301
                try:
                    if dry:
                        self.try_out(_plans.decode(plan).root, tables, values)
                        return Done(), b""
                    return self.run(_plans.decode(plan).root, keep, returns, tables, fds[0])
                finally:
                    os.close(fds[0])
            case Register(unit=unit):
                try:
                    return measure.register(fds[0], fds[1], unit), b""
                except measure.Unusable as error:
                    raise Refusal(error.reason, str(error)) from None
        msg = "unknown message"
        raise BrokenFrame(msg)

    def bind(self, ids: Sequence[str], fds: Sequence[int]) -> None:
        """Make datasets available as sources."""
        for name, fd in zip(ids, fds, strict=True):
            self.files.append(fd)
            # the magic link of a memory file is the one path the walls leave open; it maps without a copy
            self.sources[name] = pl.scan_ipc(f"/proc/self/fd/{fd}", glob=False, hive_partitioning=False)

    def lower(self, plan: Node) -> pl.LazyFrame:
        """Return the engine's query of a plan over the bound sources."""
        return lower(plan, self.sources)

    def take(self, tables: Tables) -> None:
        """Make tables that came with a plan available as sources."""
        for name, columns in tables.items():
            self.sources[name] = pl.DataFrame(dict(columns)).lazy()

    def try_out(self, plan: Node, tables: Tables, values: bool) -> None:
        """Make the calls of a plan without data."""
        self.take(tables)
        try:
            probe(plan, self.sources, self.tried, values=values)
        except Fails as error:
            raise Refusal("call", str(error)) from None

    def run(
        self,
        plan: Node,
        keep: str | None,
        returns: Sequence[str] | None,
        tables: Tables,
        file: int,
    ) -> tuple[Done, bytes]:
        """Run a plan; return its height and, where asked for, its columns (as body, or in `file` where they are large).

        INVARIANT: a whole result (`returns` None) may be released, so it goes out through `visible`, as an Arrow IPC
        file. Named columns are the judge's guard columns: they stay in the server, and go out as an Arrow IPC stream,
        which is read and written in a tenth of the time.
        """
        self.take(tables)
        frame = self.lower(plan).collect()
        if keep is not None:
            self.sources[keep] = frame.lazy()
        if returns is not None:
            if not returns:
                return Done(height=frame.height), b""
            frame = frame.select(returns)
        else:
            frame = visible(frame)
        stream = returns is not None
        if frame.estimated_size() < MAX_BODY // 2:
            buffer = io.BytesIO()
            write(frame, buffer, stream=stream)
            if buffer.tell() <= min(MAX_BODY, self.limits.answer):
                return Done(height=frame.height), buffer.getvalue()
        if frame.estimated_size() > self.limits.answer:
            raise Refusal("answer")
        return Done(height=frame.height, size=write_table(frame, file, self.limits.answer, stream=stream)), b""


def write(frame: pl.DataFrame, file: IO[bytes], *, stream: bool) -> None:
    """Write a frame as an uncompressed Arrow IPC stream or file."""
    if stream:
        frame.write_ipc_stream(file, compression="uncompressed")
    else:
        # who reads a few rows of a file reads all of the batches that hold them
        rows = max(1, int(frame.height * _BATCH // max(1, frame.estimated_size())))
        frame.write_ipc(file, compression="uncompressed", record_batch_size=rows)


def write_table(frame: pl.DataFrame, fd: int, limit: int, *, stream: bool = False) -> int:
    """Write a frame into a memory file and return its size in bytes; over `limit` it is refused."""
    with open(fd, "wb", buffering=0, closefd=False) as file:
        write(frame, file, stream=stream)
    size = os.fstat(fd).st_size
    if size > limit:
        raise Refusal("answer")
    return size
