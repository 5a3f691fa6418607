"""Bulk data both ways: digests, credits, slow and vanished peers, and what they cost the server."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import psutil
import pytest
from bastion_plan.errors import ServerError, WireError
from bastion_server.channel import Incoming
from bastion_wire import messages as m
from bastion_wire.messages import CHUNK, Envelope
from toy_channel import Toy, toy, until

from bastion.client.transport import Session

MIB = 1 << 20


def run(work: Coroutine[Any, Any, None], seconds: float = 100) -> None:
    asyncio.run(asyncio.wait_for(work, seconds))


def begin(name: str = "t", data: bytes = b"") -> m.UploadBegin:
    return m.UploadBegin(name, len(data), hashlib.sha256(data).digest())


def rss() -> int:
    return int(psutil.Process().memory_info().rss)


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, CHUNK, 9 * CHUNK, 20 * CHUNK + 7])
def test_a_table_arrives_whole(tmp_path: Path, size: int) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            session, seen = await server.session(), []
            answer = await session.query(m.Query(b"rows %d" % size), seen.append)
            assert isinstance(answer, tuple)
            table, data = answer
            assert (table.size, table.inline, len(data)) == (size, size <= 64 * 1024, size)
            assert data == server.service.blob[:size]
            if size > CHUNK:
                assert seen[-1] == m.Progress("receiving", size, size)
            await session.close()
            await until(lambda: server.channel.sessions() == ())

    run(body())


def test_streams_side_by_side(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            session = await server.session()
            answers = await asyncio.gather(*(session.query(m.Query(b"rows %d" % (n * MIB + n))) for n in range(1, 16)))
            assert [len(data) for _, data in answers] == [n * MIB + n for n in range(1, 16)]
            assert await session.ask(m.Ping()) == m.Done()
            (held,) = server.channel._sessions.values()
            await until(lambda: held.streams == {} and held.room.free == held.limits.chunks)
            await session.close()

    run(body())


def test_a_stream_that_is_given_up_frees_its_credit(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            session = await server.session()
            for _ in range(5):
                seen: list[m.Progress] = []
                task = asyncio.create_task(session.query(m.Query(b"rows %d" % (40 * MIB)), seen.append))
                await until(lambda seen=seen: bool(seen))
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            (held,) = server.channel._sessions.values()
            await until(lambda: held.streams == {} and held.room.free == held.limits.chunks)
            assert len((await session.query(m.Query(b"rows %d" % (20 * MIB))))[1]) == 20 * MIB
            await session.close()

    run(body())


def test_a_reader_that_never_credits_gets_eight_chunks_and_then_an_error(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path, stream_timeout=0.4) as server:
            raw = server.raw()
            await raw.request(1, "query", plan=b"rows %d" % (100 * MIB))
            kinds = [(await raw.receive())[1] for _ in range(10)]
            assert [k["kind"] for k in kinds] == ["table", *["chunk"] * 8, "failed"]
            assert kinds[-1]["code"] == "wire.stream-timeout"
            await raw.request(2, "query", plan=b"rows %d" % (100 * MIB))
            kinds = [(await raw.receive())[1]["kind"] for _ in range(6)]
            assert kinds == ["table", *["chunk"] * 4, "failed"]  # twelve in all for the session
            await raw.request(0, "credit", stream=1, chunks=10**9)
            await raw.request(0, "credit", stream=2, chunks=-5)
            await raw.request(0, "credit", stream=77, chunks=5)
            await raw.request(3, "query", plan=b"rows %d" % (100 * MIB))
            kinds = [(await raw.receive())[1]["kind"] for _ in range(10)]
            assert kinds == ["table", *["chunk"] * 8, "failed"]
            raw.close()

    run(body())


def test_a_reader_that_stops_reading_costs_less_than_16_mb(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path, stream_timeout=60.0) as server:
            server.service.blob = bytes(200 * MIB)
            session = await server.session()
            await session.query(m.Query(b"rows %d" % (30 * MIB)))  # buffers that stay warm
            reader = _Stalled(server)
            await reader.start()
            (held,) = [s for s in server.channel._sessions.values() if s.connection.fd != _fd_of(server, session)]
            before = rss()
            for number in range(2, 30):
                await reader.ask(number, b"rows %d" % (200 * MIB))
            await until(lambda: held.room.free == 0)
            await asyncio.sleep(0.5)
            sent = held.connection.sent
            assert sent < 14 * MIB
            # the reader's own buffers are in this process too: twice is still bounded
            assert rss() - before < 2 * 16e6
            assert await session.ask(m.Ping()) == m.Done()
            reader.close()
            await session.close()

    run(body())


class _Stalled:
    """Asks, and takes no answer off its socket."""

    def __init__(self, server: Toy) -> None:
        self.raw = server.raw(rcvhwm=1)

    async def start(self) -> None:
        await self.raw.request(1, "ping")
        await self.raw.receive()

    async def ask(self, number: int, plan: bytes) -> None:
        await self.raw.request(number, "query", plan=plan)

    def close(self) -> None:
        self.raw.close()


def _fd_of(server: Toy, session: Session) -> int:
    """The server-side descriptor of the first session (the oldest)."""
    return min(server.channel._sessions.values(), key=lambda s: s.connection.opened).connection.fd


def test_a_peer_that_leaves_small_answers_unread_is_cut(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path, unread=2 * MIB) as server:
            session, reader = await server.session(), _Stalled(server)
            await reader.start()
            for number in range(2, 4000):
                await reader.ask(number, b"rows 60000")
                if number % 100 == 0:
                    await asyncio.sleep(0.01)
                if len(server.channel.sessions()) == 1:
                    break
            await until(lambda: len(server.channel.sessions()) == 1)
            assert await session.ask(m.Ping()) == m.Done()
            reader.close()
            await session.close()

    run(body())


def test_a_message_without_end_is_cut(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path, undelivered=4 * MIB) as server:
            session, raw = await server.session(), server.raw()
            await raw.request(1, "ping")
            await raw.receive()
            await raw.send(*[bytes(MIB)] * 150)
            await until(lambda: len(server.channel.sessions()) == 1)
            assert await session.ask(m.Ping()) == m.Done()
            raw.close()
            await session.close()

    run(body())


# ---- uploads ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, 30 * CHUNK + 9])
def test_an_upload_arrives_whole(tmp_path: Path, size: int) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            session, data, seen = await server.session(), os.urandom(size), []
            card = await session.upload(m.UploadBegin("t", 0, b""), data, seen.append)
            assert card.facts.name == "t"
            (sink,) = server.service.sinks
            assert (bytes(sink.data), sink.state) == (data, "kept")
            assert seen[-1] == m.Progress("sending", size, size)
            await session.close()

    run(body())


def test_wrong_digest_and_failing_sink_keep_nothing(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            session, data = await server.session(), bytes(5 * CHUNK)
            with pytest.raises(WireError, match=r"wire\.stream-digest"):
                await session.upload(m.UploadBegin("t", 0, bytes(32)), data)
            with pytest.raises(ServerError, match=r"server\.internal") as full:
                await session.upload(begin("disk-full", data), data)
            assert "/srv" not in str(full.value)
            assert [s.state for s in server.service.sinks] == ["aborted", "aborted"]
            assert (await session.upload(begin("t", data), data)).facts.name == "t"
            (held,) = server.channel._sessions.values()
            assert held.uploads == {}
            await session.close()

    run(body())


@pytest.mark.parametrize(
    ("chunks", "code"),
    [
        ([(1, CHUNK)], "wire.stream-order"),
        ([(0, CHUNK), (0, CHUNK)], "wire.stream-order"),
        ([(0, 5)], "wire.stream-size"),
        ([(0, CHUNK), (1, CHUNK), (2, CHUNK)], "wire.stream-size"),
        ([(0, CHUNK), None], "wire.stream-size"),
        ([(n, CHUNK) for n in range(3)] + [None], "wire.stream-size"),
    ],
)
def test_chunks_out_of_place_end_the_upload(tmp_path: Path, chunks: list[tuple[int, int] | None], code: str) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            raw = server.raw()
            await raw.request(1, "upload_begin", name="t", size=2 * CHUNK + 10, sha256=bytes(32))
            upload = (await raw.receive())[1]["upload"]
            for item in chunks:
                if item is None:
                    await raw.request(2, "upload_end", upload=upload)
                else:
                    await raw.request(0, "upload_chunk", bytes(item[1]), upload=upload, seq=item[0])
            answers = []
            while not answers or answers[-1]["kind"] == "credit":
                answers.append((await raw.receive())[1])
            assert answers[-1]["code"] == code
            assert server.service.sinks[0].state == "aborted"
            await raw.request(3, "ping")
            while (await raw.receive())[0] != 3:
                pass
            raw.close()

    run(body())


def test_chunks_beyond_the_credit_end_the_upload(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            gate = asyncio.Event()
            chunk = type(server.service).begin

            async def begin_slowly(request: Any) -> Any:
                sink = await chunk(server.service, request)
                take = sink.chunk

                async def wait(data: memoryview) -> None:
                    await gate.wait()
                    await take(data)

                sink.chunk = wait  # type: ignore[method-assign]
                return sink

            server.service.begin = begin_slowly  # type: ignore[method-assign]
            raw = server.raw()
            await raw.request(1, "upload_begin", name="t", size=100 * CHUNK, sha256=bytes(32))
            upload = (await raw.receive())[1]["upload"]
            for seq in range(40):
                await raw.request(0, "upload_chunk", bytes(CHUNK), upload=upload, seq=seq)
            await raw.request(2, "ping")
            assert (await raw.receive())[0] == 2
            (held,) = server.channel._sessions.values()
            assert len(held.uploads[upload]._queue) <= 10
            gate.set()
            answers = [(await raw.receive())[1]]
            while answers[-1]["kind"] == "credit":
                answers.append((await raw.receive())[1])
            assert answers[-1]["code"] == "wire.stream-credit"
            raw.close()

    run(body())


def test_a_half_sent_upload_is_thrown_away(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path, upload_timeout=0.3) as server:
            raw = server.raw()
            await raw.request(1, "upload_begin", name="idle", size=3 * CHUNK, sha256=bytes(32))
            upload = (await raw.receive())[1]["upload"]
            await raw.request(0, "upload_chunk", bytes(CHUNK), upload=upload, seq=0)
            assert (await raw.receive())[1]["kind"] == "credit"
            assert await raw.failure() == "wire.stream-timeout"
            await raw.request(2, "upload_begin", name="vanished", size=3 * CHUNK, sha256=bytes(32))
            upload = (await raw.receive())[1]["upload"]
            await raw.request(0, "upload_chunk", bytes(CHUNK), upload=upload, seq=0)
            await raw.receive()
            raw.close()
            await until(lambda: server.channel.sessions() == ())
            await until(lambda: [s.state for s in server.service.sinks] == ["aborted", "aborted"])

    run(body())


def test_a_cancelled_upload_is_thrown_away(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            session = await server.session()
            task = asyncio.create_task(
                session.upload(begin("t", bytes(40 * MIB)), bytes(40 * MIB), lambda _: task.cancel())
            )
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: server.service.sinks[0].state == "aborted")
            assert await session.ask(m.Ping()) == m.Done()
            await session.close()

    run(body())


def test_an_upload_cancelled_before_it_ran_frees_its_place(tmp_path: Path) -> None:
    """The stop may be read in the very turn of the loop that would have begun to receive."""

    async def body() -> None:
        async with toy(tmp_path) as server:
            accept = server.service.begin

            async def stopped_at_once(request: Incoming) -> Any:
                stop = Envelope(1, 0, m.Cancel(request.id))
                asyncio.get_running_loop().call_soon(server.channel._dispatch, request._session, stop, [])
                return await accept(request)

            server.service.begin = stopped_at_once  # type: ignore[method-assign]
            raw = server.raw()
            for number in (1, 2, 3):
                await raw.request(number, "upload_begin", name="t", size=10, sha256=bytes(32))
                assert (await raw.receive())[1]["kind"] == "upload_ready"
                assert await raw.failure() == "interrupted.cancelled"
            (held,) = server.channel._sessions.values()
            assert held.uploads == {}
            await until(lambda: [s.state for s in server.service.sinks] == ["aborted"] * 3)
            raw.close()

    run(body())


def test_an_upload_ends_with_the_server(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            raw = server.raw()
            await raw.request(1, "upload_begin", name="t", size=3 * CHUNK, sha256=bytes(32))
            await raw.receive()
        assert server.service.sinks[0].state == "aborted"
        raw.close()

    run(body())


def test_uploads_of_one_session_are_counted(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path, upload_bytes=1000) as server:
            raw = server.raw()
            for number in (1, 2):
                await raw.request(number, "upload_begin", name="t", size=10, sha256=bytes(32))
                assert (await raw.receive())[1]["kind"] == "upload_ready"
            for number, fields, code in [
                (3, {"size": 10, "sha256": bytes(32)}, "wire.busy"),
            ]:
                await raw.request(number, "upload_begin", name="t", **fields)
                assert await raw.failure() == code
            other = server.raw()
            for fields in (
                {"size": 1001, "sha256": bytes(32)},
                {"size": -1, "sha256": bytes(32)},
                {"size": 1, "sha256": b"x"},
            ):
                await other.request(1, "upload_begin", name="t", **fields)
                assert await other.failure() == "wire.stream-size"
            raw.close()
            other.close()

    run(body())
