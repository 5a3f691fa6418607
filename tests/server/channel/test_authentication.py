"""Who may speak: keys, revocation, the ZAP thread, and what a client is told when it may not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
import zmq
from bastion_plan.errors import BastionError, InputError, NotAuthorised, NotFound, WireError
from bastion_server.channel import KeyDirectory
from bastion_server.channel.zap import Admission, ZapThread
from bastion_wire import messages as m
from bastion_wire.identity import Identity, PublicIdentity
from toy_channel import Raw, toy, until

from bastion.client.transport import Session


def run(work: Coroutine[Any, Any, None], seconds: float = 100) -> None:
    asyncio.run(asyncio.wait_for(work, seconds))


def test_unknown_key_wrong_server_key_dead_port_and_silence_are_told_apart(tmp_path: Path) -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        async with toy(tmp_path) as server:
            start = loop.time()
            with pytest.raises(NotAuthorised) as unknown:
                await server.session(Identity.create("alice"))
            assert unknown.value.code == "wire.auth.unknown-key"
            with pytest.raises(WireError) as wrong:
                await Session.open(server.channel.endpoint, server.alice, Identity.create("x").curve_key)
            assert wrong.value.code == "wire.server-key"
            endpoint = server.channel.endpoint
        with pytest.raises(WireError) as dead:
            await Session.open(endpoint, server.alice, server.channel.server_key)
        assert dead.value.code == "wire.unreachable"
        assert loop.time() - start < 5
        with socket.create_server(("127.0.0.1", 0)) as mute:
            with pytest.raises(WireError) as silent:
                await Session.open(
                    f"tcp://127.0.0.1:{mute.getsockname()[1]}", server.alice, server.channel.server_key, timeout=0.5
                )
            assert silent.value.code == "wire.timeout"
        for bad in ("nonsense", "tcp://host", "tcp://127.0.0.1:99999"):
            with pytest.raises(InputError, match=r"input\.endpoint"):
                await Session.open(bad, server.alice, server.channel.server_key, timeout=0.5)
        with pytest.raises(InputError, match=r"input\.public-key"):
            await Session.open(endpoint, server.alice, "short")
        with pytest.raises(WireError, match=r"wire\.unreachable"):
            await Session.open("tcp://no-such-host.invalid:5555", server.alice, server.channel.server_key, timeout=2)

    run(body())


def test_a_server_that_speaks_something_else_is_not_taken_for_ours(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)
        writer.close()

    async def body() -> None:
        alien = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = alien.sockets[0].getsockname()[1]
        with pytest.raises(WireError) as error:
            await Session.open(
                f"tcp://127.0.0.1:{port}", Identity.create("a"), Identity.create("s").curve_key, timeout=2
            )
        assert error.value.code in ("wire.server-key", "wire.timeout")
        alien.close()
        await alien.wait_closed()

    run(body())


def test_a_key_added_while_serving_is_let_in(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            bob = Identity.create("bob")
            with pytest.raises(NotAuthorised):
                await server.session(bob)
            (server.keys.root / "owners" / "bob.pub").write_text(bob.public.to_text())
            session = await server.session(bob)
            assert session.welcome.roles == ("owner",)
            (server.keys.root / "auditors" / "bob.pub").write_text(bob.public.to_text())
            await until(lambda: "auditor" in server.keys.find_name("bob").roles)  # type: ignore[union-attr]
            await session.ask(m.Ping())
            await session.close()

    run(body())


def test_revoking_cuts_the_live_session_and_its_work(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            session, pushes = await server.session(), []
            session.on_push(lambda push: pushes.append(push.topic))
            task = asyncio.create_task(session.ask(m.Query(b"sleep")))
            await until(lambda: server.service.running == 1)
            (server.keys.root / "users" / "alice.pub").unlink()
            with pytest.raises(NotAuthorised, match=r"wire\.auth\.revoked"):
                await asyncio.wait_for(task, 30)
            assert server.service.cancelled == 1
            assert pushes == ["revoked"]
            assert server.channel.sessions() == ()
            await until(lambda: server.channel._connections.all() == [])
            with pytest.raises(NotAuthorised, match=r"wire\.auth\.unknown-key"):
                await session.ask(m.Ping())
            await session.close()

    run(body())


def test_the_very_next_request_after_a_revocation_is_refused(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path, poll=60.0) as server:  # the poll will not help
            raw = server.raw()
            await raw.request(1, "ping")
            await raw.receive()
            server.keys.revoke("alice")
            await raw.request(2, "ping")
            number, answer, _ = await raw.receive()
            assert (number, answer["kind"], answer["code"]) == (2, "failed", "wire.auth.revoked")
            await raw.request(3, "ping")
            await until(lambda: server.channel._connections.all() == [])
            received = []
            with contextlib.suppress(TimeoutError):
                while True:
                    received.append((await raw.receive(0.3))[1])
            assert len(received) <= 2  # the push, and one more refusal before the cut
            assert {m.get("topic", m.get("code")) for m in received} <= {"revoked", "wire.auth.revoked"}

    run(body())


def test_a_new_key_under_an_old_name_does_not_carry_the_old_session(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path, poll=60.0) as server:
            raw = server.raw()
            await raw.request(1, "ping")
            await raw.receive()
            server.keys.revoke("alice")
            server.keys.add(Identity.create("alice").public, "owner")
            await raw.request(2, "ping")
            assert await raw.failure() == "wire.auth.revoked"
            raw.close()

    run(body())


def test_a_renamed_key_does_not_carry_the_old_name(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path, poll=60.0) as server:
            raw = server.raw()
            await raw.request(1, "ping")
            await raw.receive()
            server.keys.revoke("alice")
            server.keys.add(PublicIdentity("olga", server.alice.curve_key, server.alice.verify_key), "owner")
            await raw.request(2, "ping")
            assert await raw.failure() == "wire.auth.revoked"
            raw.close()

    run(body())


def test_a_revoked_key_is_told_so_before_what_follows_from_it(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path, poll=60.0) as server:
            raw = server.raw()
            await raw.request(1, "ping")
            await raw.receive()
            server.keys.revoke("alice")
            assert server.channel.push("alice", m.Push("decision")) == 0
            assert (await raw.receive())[1]["topic"] == "revoked"
            raw.close()

    run(body())


def test_another_identity_cannot_take_over_a_routing_id(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            mallory = Identity.create("mallory")
            server.keys.add(mallory.public)
            victim = server.raw(routing_id=b"same")
            await victim.request(1, "hello")
            assert (await victim.receive())[1]["identity"] == "alice"
            thief = server.raw(mallory, routing_id=b"same")
            await thief.request(1, "hello")
            assert await thief.silent()
            await victim.request(2, "hello")
            assert (await victim.receive())[1]["identity"] == "alice"
            server.channel.push("alice", m.Push("decision"))
            assert (await victim.receive())[1]["kind"] == "push"
            victim.close()
            await until(lambda: server.channel.sessions() == ())
            heir = server.raw(mallory, routing_id=b"same")  # free now: but who it is, the key says
            await heir.request(3, "hello")
            assert (await heir.receive())[1]["identity"] == "mallory"
            assert server.channel.push("alice", m.Push("decision")) == 0
            thief.close()
            heir.close()

    run(body())


def test_without_curve_nobody_gets_in(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            context = zmq.Context()
            plain = context.socket(zmq.DEALER)
            plain.connect(server.channel.endpoint)
            plain.send(b"x")
            await asyncio.sleep(0.3)
            assert plain.poll(0) == 0
            assert server.channel.sessions() == ()
            context.destroy(linger=0)

    run(body())


def test_an_exception_while_authenticating_refuses_once_and_is_survived(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            refresh, server.keys.refresh = server.keys.refresh, _broken  # type: ignore[method-assign]
            with pytest.raises(WireError, match=r"wire\.busy"):
                await server.session()
            server.keys.refresh = refresh  # type: ignore[method-assign]
            session = await server.session()
            assert session.welcome.identity == "alice"
            await session.close()

    run(body())
    assert "could not be decided" in caplog.text


def test_too_many_handshakes_of_one_identity_are_put_off(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path, handshake_rate=10.0, handshake_burst=3.0) as server:
            bob = Identity.create("bob")
            server.keys.add(bob.public)
            for _ in range(3):
                await (await server.session()).close()
            with pytest.raises(WireError, match=r"wire\.busy"):
                await server.session()
            await (await server.session(bob)).close()
            await asyncio.sleep(0.2)
            await (await server.session()).close()

    run(body())


def _broken() -> bool:
    msg = "no such luck"
    raise RuntimeError(msg)


def test_zap_answers_whatever_it_is_asked() -> None:
    context = zmq.Context()
    zap = ZapThread(context, "d", lambda key: Admission("alice"))
    zap.start()
    asker = context.socket(zmq.DEALER)
    asker.connect("inproc://zeromq.zap.01")
    key = bytes(32)
    good = [b"", b"1.0", b"7", b"d", b"127.0.0.1", b"", b"CURVE", key]
    for frames, code in [
        ([b""], b"400"),
        ([b"", b"1.0", b"7"], b"400"),
        ([*good[:3], b"other", *good[4:]], b"400"),
        ([*good[:6], b"NULL"], b"400"),
        ([*good[:7], b"short"], b"400"),
        ([*good, b"more"], b"400"),
        (good, b"200"),
    ]:
        asker.send_multipart(frames)
        assert asker.poll(2000)
        assert asker.recv_multipart()[3] == code
    asker.close(linger=0)
    zap.stop()
    context.term()
    assert not zap.is_alive()


# ---- the directory ---------------------------------------------------------------------------------------------------


def test_keys_that_disagree_authorise_nobody(tmp_path: Path) -> None:
    keys = KeyDirectory(tmp_path)
    alice, other = Identity.create("alice").public, Identity.create("alice").public
    (tmp_path / "users" / "alice.pub").write_text(alice.to_text())
    (tmp_path / "owners" / "alice.pub").write_text(other.to_text())
    assert keys.refresh()
    assert keys.principals() == ()
    (tmp_path / "owners" / "alice.pub").write_text(alice.to_text())
    keys.refresh()
    assert keys.find(alice.curve_key).roles == ("owner", "user")  # type: ignore[union-attr]
    twin = PublicIdentity("bob", alice.curve_key, alice.verify_key)
    (tmp_path / "users" / "bob.pub").write_text(twin.to_text())
    keys.refresh()
    assert keys.principals() == ()


@pytest.mark.parametrize("text", ["", "x", "name = 3", "\0", 'name = "bob"\n', "a" * 10_000])
def test_a_broken_file_authorises_nobody_and_harms_nobody(tmp_path: Path, text: str) -> None:
    keys = KeyDirectory(tmp_path)
    keys.add(Identity.create("alice").public)
    (tmp_path / "users" / "bob.pub").write_text(text)
    (tmp_path / "users" / "carl.pub").write_text(Identity.create("other").public.to_text())
    (tmp_path / "users" / "dir.pub").mkdir()
    (tmp_path / "users" / "gone.pub").symlink_to("nowhere")
    (tmp_path / "users" / ".hidden.pub").write_text(Identity.create("hidden").public.to_text())
    keys.refresh()
    assert [p.name for p in keys.principals()] == ["alice"]


def test_a_directory_that_cannot_be_listed_keeps_the_former_view(tmp_path: Path) -> None:
    keys = KeyDirectory(tmp_path)
    keys.add(Identity.create("alice").public)
    os.rename(tmp_path / "users", tmp_path / "away")
    with pytest.raises(OSError, match="users"):
        keys.refresh()
    assert [p.name for p in keys.principals()] == ["alice"]


def test_adding_and_revoking(tmp_path: Path) -> None:
    keys = KeyDirectory(tmp_path)
    alice = Identity.create("alice").public
    keys.add(alice)
    keys.add(alice, "owner")
    for wrong in (Identity.create("alice").public, PublicIdentity("bob", alice.curve_key, alice.verify_key)):
        with pytest.raises(InputError, match=r"input\.identity-exists"):
            keys.add(wrong, "admin")
    with pytest.raises(InputError, match=r"input\.role"):
        keys.add(Identity.create("bob").public, "king")
    keys.revoke("alice", "owner")
    assert keys.find_name("alice").roles == ("user",)  # type: ignore[union-attr]
    keys.revoke("alice")
    assert keys.find_name("alice") is None
    with pytest.raises(NotFound):
        keys.revoke("alice")
    with pytest.raises(BastionError):
        keys.revoke("../users/alice")


def test_replacing_a_file_within_a_clock_tick_is_noticed(tmp_path: Path) -> None:
    keys = KeyDirectory(tmp_path)
    for _ in range(20):
        new = Identity.create("alice").public
        path = tmp_path / "users" / "alice.pub"
        other = tmp_path / "new"
        other.write_text(new.to_text())
        os.utime(other, ns=(1, 1))
        os.replace(other, path)
        keys.refresh()
        assert keys.find_name("alice").curve_key == new.curve_key  # type: ignore[union-attr]


def test_nothing_is_left_running(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            raw = Raw(server.channel.endpoint, server.channel.server_key, server.alice)
            await raw.request(1, "ping")
            await raw.receive()
            raw.close()

    before = threading.active_count()
    run(body())
    assert threading.active_count() <= before
