"""Asking and answering: the good case, failures, cancelling, malformed messages, pushes, restarts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from bastion_plan.errors import Interrupted, NotFound, ServerError, WireError
from bastion_server.channel import Channel, Limits
from bastion_wire import messages as m
from bastion_wire.identity import Identity
from toy_channel import toy, until
from toy_service import ToyService


def run(work: Coroutine[Any, Any, None], seconds: float = 100) -> None:
    asyncio.run(asyncio.wait_for(work, seconds))


def test_ask_and_answer(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            session = await server.session()
            assert session.welcome.identity == "alice"
            assert await session.ask(m.Ping()) == m.Done()
            answers = await asyncio.gather(*(session.query(m.Query(b"rows %d" % n)) for n in range(40)))
            assert [data for _, data in answers] == [bytes(range(n)) for n in range(40)]
            await session.close()
            await session.close()
            with pytest.raises(WireError, match=r"wire\.closed"):
                await session.ask(m.Ping())

    run(body())


def test_every_failure_has_fixed_words_and_the_next_request_works(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            session = await server.session()
            with pytest.raises(NotFound) as missing:
                await session.ask(m.Query(b"missing"))
            assert (missing.value.code, missing.value.details) == ("missing.dataset", {"name": "x"})
            for plan in (b"crash", b"silent", b"rows x"):
                with pytest.raises(ServerError) as crashed:
                    await session.ask(m.Query(plan))
                assert crashed.value.code == "server.internal"
                assert crashed.value.details["incident"] in caplog.text
                assert "4711" not in str(crashed.value)
            assert await session.ask(m.Ping()) == m.Done()
            await session.close()

    with caplog.at_level(logging.DEBUG):
        run(body())
    assert "RuntimeError" in caplog.text
    assert "4711" not in caplog.text


def test_cancelling_the_waiting_task_stops_the_work(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            session = await server.session()
            task = asyncio.create_task(session.ask(m.Query(b"sleep")))
            await until(lambda: server.service.running == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: server.service.cancelled == 1)
            assert await session.ask(m.Ping()) == m.Done()
            await session.close()

    run(body())


def test_a_cancelled_request_fails_as_interrupted(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            session, seen = await server.session(), []
            task = asyncio.create_task(session.ask(m.Query(b"sleep"), seen.append))
            await until(lambda: bool(seen))
            assert seen == [m.Progress("running", 1, 2)]
            (number,) = session._pending
            session._send_soon(m.Cancel(number))
            with pytest.raises(Interrupted, match=r"(?s)counts as one that failed.*interrupted\.cancelled"):
                await task
            await session.close()

    run(body())


def test_closing_a_session_cancels_its_work(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            session = await server.session()
            task = asyncio.create_task(session.ask(m.Query(b"sleep")))
            await until(lambda: server.service.running == 1)
            await session.close()
            with pytest.raises(WireError, match=r"wire\.closed"):
                await task
            await until(lambda: server.service.cancelled == 1 and not server.channel.sessions())

    run(body())


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([b"garbage"], "wire.msgpack"),
        ([b""], "wire.msgpack"),
        ([{"v": 9, "id": 3, "body": {"kind": "ping"}}], "wire.version"),
        ([{"v": 1, "id": 3, "body": {"kind": "ping", "x": 1}}], "wire.fields"),
        ([{"v": 1, "id": 3, "body": {"kind": "nonsense"}}], "wire.fields"),
        ([{"v": 1, "id": 3, "body": {"kind": "ping"}}, b"data"], "wire.frames"),
        ([{"v": 1, "id": 3, "body": {"kind": "upload_chunk", "upload": "u", "seq": 0}}], "wire.frames"),
        ([{"v": 1, "id": 3, "body": {"kind": "upload_chunk", "upload": "u", "seq": 0}}, bytes((1 << 20) + 1)], "wire.frames"),
        ([{"v": 1, "id": 3, "body": {"kind": "upload_chunk", "upload": "u", "seq": 0}}, b"x"], "wire.upload-unknown"),
        ([{"v": 1, "id": 3, "body": {"kind": "upload_end", "upload": "u"}}], "wire.upload-unknown"),
        ([{"v": 1, "id": 0, "body": {"kind": "ping"}}], "wire.request-id"),
        ([{"v": 1, "id": 3, "body": {"kind": "hello", "enrol": "x"}}], "wire.auth.enrolled"),
        ([{"v": 1, "id": 3, "body": {"kind": "ping"}}, b"", b""], "wire.frames"),
        ([b"x"] * 5000, "wire.frames"),
        ([b"", {"v": 1, "id": 3, "body": {"kind": "ping"}}], "wire.msgpack"),
    ],
)  # fmt: skip
def test_a_malformed_message_is_told_and_the_connection_continues(tmp_path: Path, frames: list[Any], code: str) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            raw = server.raw()
            await raw.send(*frames)
            assert await raw.failure() == code
            await raw.request(4, "ping")
            assert await raw.receive() == (4, {"kind": "done"}, None)
            raw.close()

    run(body())


def test_what_cannot_be_sent_fails_at_once_and_the_session_goes_on(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            session = await server.session()
            for bad, code in (
                (m.Query(b"rows 1", epsilon=float("nan")), "wire.not-finite"),
                (m.Decide("r", "approve", until=float("inf")), "wire.not-finite"),
                (m.AuditShow(None, 1 << 70), "wire.not-encodable"),
            ):
                with pytest.raises(WireError) as caught:
                    await asyncio.wait_for(session.ask(bad), 5)
                assert caught.value.code == code
                assert caught.value.reason and caught.value.next_step
            assert await session.ask(m.Ping()) == m.Done()
            await session.close()

    run(body())


def test_a_refusal_without_an_id_fails_what_waits_at_once(tmp_path: Path) -> None:
    """A server that cannot read which request it refuses; else the client waits for its whole patience."""

    async def body() -> None:
        async with toy(tmp_path) as server:
            session = await server.session()
            waiting = asyncio.create_task(session.ask(m.Query(b"sleep")))
            await until(lambda: server.service.running == 1)
            assert session._link is not None
            await session._link.send(b"\xc1 no message")
            with pytest.raises(WireError, match=r"wire\.msgpack"):
                await asyncio.wait_for(waiting, 5)
            assert await session.ask(m.Ping()) == m.Done()
            await session.close()

    run(body())


def test_not_a_number_is_refused_under_its_own_id(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            raw = server.raw()
            for number, value in enumerate((float("nan"), float("inf"), float("-inf")), start=7):
                await raw.request(number, "query", plan=b"rows 1", epsilon=value)
                found, answer, _ = await raw.receive(5)
                assert (found, answer["kind"], answer["code"]) == (number, "failed", "wire.not-finite")
                assert answer["message"] and answer["reason"] and answer["next_step"]
            raw.close()

    run(body())


def test_an_oversize_frame_ends_the_connection_and_nothing_else(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            session, raw = await server.session(), server.raw()
            await raw.request(1, "ping")
            await raw.receive()
            await raw.send(bytes(3 << 20))
            await until(lambda: len(server.channel.sessions()) == 1)
            assert await session.ask(m.Ping()) == m.Done()
            raw.close()
            await session.close()

    run(body())


def test_ids_in_use_are_refused(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            raw = server.raw()
            await raw.request(5, "query", plan=b"sleep 0.3")
            assert (await raw.receive())[1]["kind"] == "progress"
            await raw.request(5, "ping")
            assert await raw.failure() == "wire.request-id"
            assert (await raw.receive())[1]["kind"] == "done"
            raw.close()

    run(body())


def test_in_flight_and_rate_limits(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path, requests=3, rate=0.001, burst=10) as server:
            session = await server.session()  # hello: 1
            sleeping = [asyncio.create_task(session.ask(m.Query(b"sleep"))) for _ in range(3)]
            await until(lambda: server.service.running == 3)
            with pytest.raises(WireError, match=r"Too many requests.*wire\.busy"):
                await session.ask(m.Ping())
            for task in sleeping:
                task.cancel()
            await until(lambda: server.service.running == 0)
            for _ in range(5):
                await session.ask(m.Ping())
            with pytest.raises(WireError, match=r"come faster.*wire\.busy"):
                await session.ask(m.Ping())
            await session.close()

    run(body())


def test_pushes_reach_all_sessions_of_an_identity(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            bob = Identity.create("bob")
            server.keys.add(bob.public)
            sessions = [await server.session(), await server.session(), await server.session(bob)]
            heard: list[tuple[int, str]] = []
            for i, session in enumerate(sessions):
                session.on_push(lambda push, i=i: heard.append((i, push.text)))
            assert server.channel.push("alice", m.Push("decision", text="yes")) == 2
            assert server.channel.push("nobody", m.Push("decision")) == 0
            await until(lambda: len(heard) == 2)
            await asyncio.sleep(0.05)
            assert sorted(heard) == [(0, "yes"), (1, "yes")]
            for session in sessions:
                await session.close()

    run(body())


def test_a_running_request_gives_signs_of_life(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path, keepalive=0.1) as server:
            session, seen = await server.session(), []
            await session.ask(m.Query(b"sleep 0.6"), seen.append, silence=0.4)
            assert len(seen) >= 3
            await session.close()
        async with toy(tmp_path / "second", keepalive=60.0) as server:
            session = await server.session()
            with pytest.raises(WireError, match=r"wire\.timeout"):
                await session.ask(m.Query(b"sleep"), silence=0.3)
            await until(lambda: server.service.cancelled == 1)
            await session.close()

    run(body())


def test_a_restart_fails_what_waits_and_the_next_request_works(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            session = await server.session()
            heard: list[str] = []
            session.on_push(lambda push: heard.append(push.topic))
            waiting = [asyncio.create_task(session.ask(m.Query(b"sleep"))) for _ in range(2)]
            await until(lambda: server.service.running == 2)
            endpoint, secret = server.channel.endpoint, server.channel._secret
            await server.channel.close()
            for task in waiting:
                with pytest.raises(WireError, match=r"wire\.lost"):
                    await task
            with pytest.raises(WireError, match=r"wire\.unreachable"):
                await session.ask(m.Ping())
            async with Channel(ToyService(), server.keys, secret, endpoint, limits=Limits()) as again:
                assert await session.ask(m.Ping()) == m.Done()
                assert again.push("alice", m.Push("datasets")) == 1
                await until(lambda: "datasets" in heard)
                await session.close()

    run(body())


def test_a_session_that_waits_for_pushes_comes_back_by_itself(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            session = await server.session()
            session.on_push(lambda push: None)
            endpoint, secret = server.channel.endpoint, server.channel._secret
            await server.channel.close()
            async with Channel(ToyService(), server.keys, secret, endpoint) as again:
                await until(lambda: len(again.sessions()) == 1)
            await session.close()

    run(body())


def test_an_address_in_use_is_told(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            other = Channel(ToyService(), server.keys, Identity.create("s").curve_secret, server.channel.endpoint)
            with pytest.raises(ServerError, match=r"server\.bind"):
                await other.start()

    run(body())


def test_two_sessions_share_nothing(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            one, two = await server.session(), await server.session()
            task = asyncio.create_task(one.ask(m.Query(b"sleep")))
            await until(lambda: server.service.running == 1)
            (number,) = one._pending
            two._send_soon(m.Cancel(number))
            await two.ask(m.Ping())
            assert not task.done()
            task.cancel()
            await asyncio.gather(one.close(), two.close())
            await asyncio.gather(task, return_exceptions=True)

    run(body())
