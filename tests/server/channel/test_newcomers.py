"""How one gets to know a server, and a server gets to know one: bootstrap socket, known servers, invitations."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq
from bastion_plan.errors import InputError, NotAuthorised, WireError
from bastion_server.channel import Bootstrap, KeyDirectory
from bastion_wire import messages as m
from bastion_wire.identity import Identity, fingerprint
from bastion_wire.invitation import Invitation
from toy_channel import Raw, Toy, toy

from bastion.client import known_servers
from bastion.client.transport import Session


def run(work: Coroutine[Any, Any, None], seconds: float = 100) -> None:
    asyncio.run(asyncio.wait_for(work, seconds))


@pytest.fixture(autouse=True)
def _own_known_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASTION_KNOWN_SERVERS", str(tmp_path / "config" / "known_servers"))


async def bootstrap(server: Toy, **options: Any) -> Bootstrap:
    told = Bootstrap(server.channel.server_key, server.channel.endpoint, "tcp://127.0.0.1:*", **options)
    await told.start()
    return told


def test_trusting_once_by_the_words_of_the_key(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            told, asked = await bootstrap(server), []
            with pytest.raises(WireError, match=r"wire\.server-unknown"):
                await known_servers.trust(told.endpoint, lambda offer: False)
            assert known_servers.lookup(server.channel.endpoint) is None

            def confirm(offer: known_servers.Offer) -> bool:
                asked.append(offer.words)
                return True

            for _ in range(2):
                offer = await known_servers.trust(told.endpoint, confirm)
            assert asked == [fingerprint(server.channel.server_key)]
            assert known_servers.lookup(offer.endpoint) == server.channel.server_key
            session = await Session.open(offer.endpoint, server.alice, offer.server_key)
            await session.close()
            await told.close()

    run(body())


def test_a_changed_key_is_a_loud_error_and_never_asked_about(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            known_servers.remember(server.channel.endpoint, Identity.create("x").curve_key)
            told = await bootstrap(server)
            with pytest.raises(WireError) as changed:
                await known_servers.trust(told.endpoint, lambda offer: pytest.fail("nobody is to be asked"))
            assert changed.value.code == "wire.server-key-changed"
            assert fingerprint(server.channel.server_key) in str(changed.value)
            with pytest.raises(WireError, match=r"wire\.server-key-changed"):
                known_servers.remember(server.channel.endpoint, server.channel.server_key)
            assert known_servers.forget(server.channel.endpoint)
            assert not known_servers.forget(server.channel.endpoint)
            known_servers.remember(server.channel.endpoint, server.channel.server_key)
            await told.close()

    run(body())


def test_the_bootstrap_socket_says_one_thing_and_not_too_often(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            told = await bootstrap(server, rate=3.0)
            context = zmq.Context()
            dealer, req = context.socket(zmq.DEALER), context.socket(zmq.REQ)
            for socket in (dealer, req):
                socket.connect(told.endpoint)
            for junk in ([b"x"], [b"", b"bastion?", b""], [b"bastion?", b"x"], [b""] * 1000):
                dealer.send_multipart(junk)
            assert not await asyncio.to_thread(dealer.poll, 200)
            dealer.send(b"x" * 65)  # over the size: the connection ends
            req.send(b"bastion?")
            assert await asyncio.to_thread(req.poll, 2000)
            assert msgpack.unpackb(req.recv()) == {
                "v": 1, "server_key": server.channel.server_key, "fingerprint": fingerprint(server.channel.server_key),
                "port": int(server.channel.endpoint.rpartition(":")[2]),
            }  # fmt: skip
            greedy = context.socket(zmq.DEALER)
            greedy.connect(told.endpoint)
            for _ in range(100):
                greedy.send(b"bastion?")
            await asyncio.sleep(0.5)
            answers = 0
            while greedy.poll(0):
                greedy.recv()
                answers += 1
            assert 1 <= answers <= 5
            context.destroy(linger=0)
            await told.close()

    run(body())


def test_what_answers_wrongly_is_not_believed() -> None:
    async def body() -> None:
        context = zmq.Context()
        liar = context.socket(zmq.ROUTER)
        port = liar.bind_to_random_port("tcp://127.0.0.1")
        for answer in (
            b"",
            b"\xc1",
            msgpack.packb({}),
            msgpack.packb({"v": 1, "server_key": "x", "port": 1}),
            msgpack.packb([1]),
        ):
            asking = asyncio.create_task(known_servers.ask(f"tcp://127.0.0.1:{port}"))
            await asyncio.sleep(0.05)
            peer, _ = await asyncio.to_thread(liar.recv_multipart)
            liar.send_multipart([peer, answer])
            with pytest.raises(WireError, match=r"wire\.malformed"):
                await asking
        context.destroy(linger=0)
        with pytest.raises(WireError, match=r"wire\.unreachable"):
            await known_servers.ask(f"tcp://127.0.0.1:{port}", timeout=0.3)
        with pytest.raises(InputError, match=r"input\.endpoint"):
            await known_servers.ask("nonsense")

    run(body())


def test_a_damaged_file_of_known_servers_is_told() -> None:
    file = known_servers.path()
    file.parent.mkdir()
    for text in (b"host:1 short\n", b"one\n", b"a b c\n", b"\xff\xfe"):
        file.write_bytes(text)
        with pytest.raises(InputError, match=r"input\.known-servers"):
            known_servers.lookup("tcp://host:1")


# ---- invitations -----------------------------------------------------------------------------------------------------


def invite(server: Toy, name: str = "bob", **options: Any) -> Invitation:
    made = server.keys.invite(name, server.channel.endpoint, server.channel.server_key, **options)
    return Invitation.from_token(made.to_token())


def test_an_invitation_lets_one_in_once(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            invitation, bob = invite(server, role="auditor"), Identity.create("bob")
            session = await Session.open(invitation.endpoint, bob, invitation.server_key, enrol=invitation)
            assert (session.welcome.identity, session.welcome.roles) == ("bob", ("auditor",))
            await session.close()
            assert list((server.keys.root / "invites").iterdir()) == []
            again = await Session.open(invitation.endpoint, bob, invitation.server_key, enrol=invitation)
            await again.close()  # bob's own: no harm
            with pytest.raises(NotAuthorised, match=r"wire\.auth\.invite-used"):
                await Session.open(
                    invitation.endpoint, Identity.create("bob"), invitation.server_key, enrol=invitation.secret
                )
            server.keys.revoke("bob")
            with pytest.raises(NotAuthorised, match=r"wire\.auth\.invite-used"):
                await Session.open(invitation.endpoint, bob, invitation.server_key, enrol=invitation)

    run(body())


def test_of_many_at_once_one_gets_in(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            invitation, people = invite(server), [Identity.create("bob") for _ in range(12)]
            results = await asyncio.gather(
                *(Session.open(invitation.endpoint, p, invitation.server_key, enrol=invitation) for p in people),
                return_exceptions=True,
            )
            sessions = [r for r in results if isinstance(r, Session)]
            refused = [r for r in results if isinstance(r, NotAuthorised)]
            assert (len(sessions), len(refused)) == (1, 11)
            winner = people[results.index(sessions[0])]
            assert server.keys.find_name("bob").curve_key == winner.curve_key  # type: ignore[union-attr]
            await sessions[0].close()

    run(body())


def test_wrong_names_expired_and_withdrawn_invitations(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            invitation = invite(server)
            with pytest.raises(NotAuthorised, match=r"wire\.auth\.invite-name"):
                await Session.open(
                    invitation.endpoint, Identity.create("carl"), invitation.server_key, enrol=invitation
                )
            with pytest.raises(InputError, match=r"input\.invite-exists"):
                invite(server)
            with pytest.raises(InputError, match=r"input\.identity-exists"):
                invite(server, "alice")
            server.keys.revoke("bob")
            with pytest.raises(NotAuthorised, match=r"wire\.auth\.invite-used"):
                await Session.open(invitation.endpoint, Identity.create("bob"), invitation.server_key, enrol=invitation)
            expired = invite(server, "dora", lifetime=-1.0)
            with pytest.raises(NotAuthorised, match=r"wire\.auth\.invite-used"):
                await Session.open(expired.endpoint, Identity.create("dora"), expired.server_key, enrol=expired)
            assert server.keys.guests() == ()
            invite(server, "dora")  # an expired one is in nobody's way

    run(body())


def test_with_the_key_of_an_invitation_one_can_do_nothing_else(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            invitation, bob, eve = invite(server), Identity.create("bob"), Identity.create("eve")
            raw = Raw(server.channel.endpoint, server.channel.server_key, _Guest(invitation))  # type: ignore[arg-type]
            server.raws.append(raw)

            def signed(who: Identity, audience: str = server.channel.server_key, **fields: Any) -> str:
                statement = {"action": "enrol", "name": "bob", "curve_key": bob.curve_key} | fields
                return urlsafe_b64encode(who.sign_statement(statement, audience=audience)).decode()

            for kind, fields, code in [
                ("ping", {}, "wire.auth.invite-only"),
                ("hello", {}, "wire.auth.invite-only"),
                ("query", {"plan": b"rows 10"}, "wire.auth.invite-only"),
                ("nonsense", {}, "wire.fields"),
                ("hello", {"enrol": "x"}, "wire.auth.signature"),
                ("hello", {"enrol": "é", "name": "bob", "verify_key": b"short"}, "wire.auth.signature"),
                ("hello", {"enrol": signed(eve), "name": "bob", "verify_key": bob.verify_key}, "wire.auth.signature"),
                ("hello", {"enrol": signed(bob, "other"), "name": "bob", "verify_key": bob.verify_key}, "wire.auth.audience"),
                ("hello", {"enrol": signed(bob, action="decide"), "name": "bob", "verify_key": bob.verify_key}, "wire.auth.signature"),
                ("hello", {"enrol": signed(bob, curve_key=3), "name": "bob", "verify_key": bob.verify_key}, "input.public-key"),
                ("hello", {"enrol": signed(bob, name="../x"), "name": "../x", "verify_key": bob.verify_key}, "input.name"),
                ("hello", {"enrol": signed(bob, curve_key=server.alice.curve_key), "name": "bob", "verify_key": bob.verify_key}, "input.identity-exists"),
            ]:  # fmt: skip
                await raw.request(1, kind, **fields)
                assert await raw.failure() == code, (kind, fields)
            assert [p.name for p in server.keys.principals()] == ["alice"]
            await raw.request(2, "hello", enrol=signed(bob), name="bob", verify_key=bob.verify_key)
            assert await raw.receive() == (2, {"kind": "done"}, None)
            await raw.request(3, "hello", enrol=signed(bob), name="bob", verify_key=bob.verify_key)
            assert await raw.failure() == "wire.auth.invite-used"
            assert server.channel.sessions() == ()

    run(body())


class _Guest:
    def __init__(self, invitation: Invitation) -> None:
        self.curve_key, self.curve_secret = invitation.curve_key, invitation.secret


def test_a_crash_half_way_through_enrolling_opens_the_invitation_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = KeyDirectory(tmp_path)
    made = keys.invite("bob", "tcp://h:1", Identity.create("s").curve_key)
    path = tmp_path / "invites" / "bob.invite"
    path.rename(path.with_suffix(".claimed"))
    assert KeyDirectory(tmp_path).guests() == ()  # it may be under way, in another process
    monkeypatch.setattr(KeyDirectory, "CLAIM_SECONDS", -1.0)
    assert [g.name for g in KeyDirectory(tmp_path).guests()] == ["bob"]
    bob = Identity.create("bob").public
    path.rename(path.with_suffix(".claimed"))
    (tmp_path / "users" / "bob.pub").write_text(bob.to_text())
    after = KeyDirectory(tmp_path)
    assert after.guests() == ()
    assert after.find_guest(made.curve_key) is None
    assert after.find(bob.curve_key) is not None


def test_an_invitation_for_a_name_that_is_authorised_opens_nothing(tmp_path: Path) -> None:
    keys = KeyDirectory(tmp_path)
    made = keys.invite("bob", "tcp://h:1", Identity.create("s").curve_key)
    (tmp_path / "owners" / "bob.pub").write_text(Identity.create("bob").public.to_text())
    keys.refresh()
    assert keys.find_guest(made.curve_key) is None


def test_the_token_is_the_only_place_of_the_secret(tmp_path: Path) -> None:
    keys = KeyDirectory(tmp_path)
    made = keys.invite("bob", "tcp://h:1", Identity.create("s").curve_key)
    text = (tmp_path / "invites" / "bob.invite").read_text()
    assert made.secret not in text
    assert made.curve_key in text


def test_pushes_do_not_reach_guests(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            invite(server)
            assert server.channel.push("bob", m.Push("decision")) == 0
            assert server.channel.push("invite:bob", m.Push("decision")) == 0

    run(body())
