"""Whom a client talks to, over real sockets: relays, replays, downgrades and restarts are each refused with their code."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bastion_plan.errors import AttestationError
from bastion_server import start
from bastion_server.channel import Bootstrap, Channel, Incoming
from bastion_server.process import Handle
from bastion_tee import AttestationPolicy
from bastion_tee.policy import PlatformPolicy
from bastion_wire import messages as m
from nacl.public import PrivateKey
from zmq.utils import z85

from bastion import Connection, Identity
from bastion.client import attestation as client
from bastion.client.attestation import Attestation, Checker
from bastion.client.transport import Session

SUPPORT = str(Path(__file__).resolve().parents[1] / "support")
if SUPPORT not in sys.path:
    sys.path.insert(0, SUPPORT)

from network import Network  # noqa: E402

ALLOWED = AttestationPolicy(unattested=True)
FORGED = m.RequestInfo("r-1", "approved", "alice", "look", "0" * 64, ("pay",), 1.0, code="harmless", may_read=True)
REAL = AttestationPolicy(sev_snp=PlatformPolicy(measurements=("ab" * 48,)))


@dataclass
class Place:
    server: Handle
    alice: Identity

    async def session(self, policy: AttestationPolicy | None, **other: Any) -> Session:
        return await Session.open(
            other.get("endpoint", self.server.endpoint), self.alice, other.get("key", self.server.server_key),
            checker=Checker(policy, other.get("endpoint", self.server.endpoint)),
        )  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    alice = Identity.create("alice")
    with start(tmp_path_factory.mktemp("channel") / "server", users=[alice], attest="simulated") as server:
        yield Place(server, alice)


@pytest.fixture(autouse=True)
def forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASTION_ATTESTED", str(tmp_path / "attested"))


@dataclass
class Between:
    """Somebody in between: answers greetings as it likes, and writes down what else it is sent."""

    answer: Callable[[m.Hello], Any]
    heard: list[Any] = field(default_factory=list)

    async def handle(self, request: Incoming) -> m.AnyAnswer | None:
        self.heard.append(request.body)
        if isinstance(request.body, m.Hello):
            return await self.answer(request.body)  # type: ignore[no-any-return]
        return m.Done()

    async def begin(self, request: Incoming) -> Any:
        raise AssertionError


async def refused(
    place: Place, folder: Path, answer: Callable[[m.Hello], Any], policy: AttestationPolicy | None
) -> tuple[str, list[Any]]:
    """Return the code with which a client refuses somebody in between, and all it told them."""
    between = Between(answer)
    channel = Channel(between, folder / "keys", z85.encode(bytes(PrivateKey.generate())).decode())
    channel.keys.add(place.alice.public)
    await channel.start()
    try:
        with pytest.raises(AttestationError) as caught:
            await place.session(policy, endpoint=channel.endpoint, key=channel.server_key)
        return caught.value.code, between.heard
    finally:
        await channel.close()


async def shown_by(place: Place, nonce: bytes) -> m.Welcome:
    """Return what the real server shows about a nonce to somebody who has a key."""
    session = await place.session(None)
    try:
        welcome: m.Welcome = await session.ask(m.Hello("between", nonce=nonce))
        return welcome
    finally:
        await session.close()


@pytest.mark.asyncio
async def test_a_simulation_is_unattested(place: Place) -> None:
    session = await place.session(ALLOWED)
    try:
        found = session.attestation
        assert (found.light, found.attested) == ("amber", False)
        assert found.verdict is not None and found.verdict.status == "unattested" and "UNATTESTED" in found.sentence
        assert found.to_dict()["claims"]["platform"] == "simulated"
        assert "evidence of simulated (UNATTESTED)" in place.server.log.read_text()
        first = found.verdict.checked_at
        again = await session.attest()
        assert again.verdict is not None and again.verdict.checked_at > first
    finally:
        await session.close()


@pytest.mark.asyncio
async def test_a_simulation_does_not_pass_for_hardware(place: Place) -> None:
    with pytest.raises(AttestationError) as caught:
        await place.session(REAL)
    assert caught.value.code == "tee.policy.simulated"
    assert "proves nothing" in caught.value.reason and caught.value.next_step


@pytest.mark.asyncio
async def test_evidence_that_is_relayed_is_of_another_key(place: Place, tmp_path: Path) -> None:
    async def relay(hello: m.Hello) -> m.Welcome:
        return await shown_by(place, hello.nonce)

    code, heard = await refused(place, tmp_path, relay, ALLOWED)
    assert code == "tee.channel.curve-key"
    assert [type(body) for body in heard] == [m.Hello] and heard[0].name is None


@pytest.mark.asyncio
async def test_evidence_that_is_replayed_is_about_another_question(place: Place, tmp_path: Path) -> None:
    old = await shown_by(place, b"o" * 32)

    async def replay(_: m.Hello) -> m.Welcome:
        return old

    assert (await refused(place, tmp_path, replay, ALLOWED))[0] == "tee.channel.nonce"


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["nonce", "key", "exchange", "config", "audit"])
async def test_what_is_shown_beside_the_evidence_cannot_be_changed(place: Place, tmp_path: Path, name: str) -> None:
    async def lie(hello: m.Hello) -> m.Welcome:
        asked = b"o" * 32 if name == "nonce" else hello.nonce
        welcome = await shown_by(place, asked)
        assert welcome.shown is not None
        changes: dict[str, Any] = {"nonce": hello.nonce, "curve_key": between_key[0]}
        if name == "exchange":
            changes["exchange_key"] = bytes(PrivateKey.generate().public_key)
        if name == "config":
            changes["config"] = {**welcome.shown.config, "version": "9"}
        audit = b"a" * 32 if name == "audit" else welcome.verify_key
        return msgspec.structs.replace(
            welcome, shown=msgspec.structs.replace(welcome.shown, **changes), verify_key=audit
        )

    between_key = [""]
    between = Between(lie)
    channel = Channel(between, tmp_path / "keys", z85.encode(bytes(PrivateKey.generate())).decode())
    channel.keys.add(place.alice.public)
    between_key[0] = channel.server_key
    await channel.start()
    try:
        with pytest.raises(AttestationError) as caught:
            await place.session(ALLOWED, endpoint=channel.endpoint, key=channel.server_key)
        assert caught.value.code == "tee.policy.report-data"
        assert [type(body) for body in between.heard] == [m.Hello]
    finally:
        await channel.close()


@pytest.mark.asyncio
async def test_no_evidence_is_refused_under_a_policy(place: Place, tmp_path: Path) -> None:
    async def silent(_: m.Hello) -> m.Welcome:
        return m.Welcome("x", "1", "alice", (), b"v" * 32)

    assert (await refused(place, tmp_path, silent, REAL))[0] == "tee.evidence.missing"


@pytest.mark.asyncio
async def test_a_server_that_was_attested_cannot_become_one_that_never_was(place: Place, tmp_path: Path) -> None:
    async def silent(_: m.Hello) -> m.Welcome:
        return m.Welcome("x", "1", "alice", (), b"v" * 32)

    between = Between(silent)
    channel = Channel(between, tmp_path / "keys", z85.encode(bytes(PrivateKey.generate())).decode())
    channel.keys.add(place.alice.public)
    await channel.start()
    try:
        open_one = await place.session(None, endpoint=channel.endpoint, key=channel.server_key)
        assert open_one.attestation.light == "amber"
        await open_one.close()
        client.remember_attested(channel.endpoint)
        for policy in (None, REAL):
            with pytest.raises(AttestationError) as caught:
                await place.session(policy, endpoint=channel.endpoint, key=channel.server_key)
            assert caught.value.code == "tee.channel.downgrade"
        # whoever says in a policy that it need not be attested has said so
        told = await place.session(ALLOWED, endpoint=channel.endpoint, key=channel.server_key)
        assert told.attestation.light == "amber"
        await told.close()
    finally:
        await channel.close()


@pytest.mark.asyncio
async def test_evidence_of_another_start_over_the_same_connection_is_stale(place: Place) -> None:
    session = await place.session(ALLOWED)
    try:
        session._checker._boot = "another"
        with pytest.raises(AttestationError) as caught:
            await session.attest()
        assert caught.value.code == "tee.channel.stale"
        assert not session.open_now
        assert isinstance(await session.ask(m.ListDatasets()), m.Datasets)  # over a new one, greeted anew
    finally:
        await session.close()


@pytest.mark.asyncio
async def test_nothing_but_a_greeting_is_said_to_a_server_that_came_in_its_place(place: Place, tmp_path: Path) -> None:
    """The network is cut, and the bootstrap port tells a stranger's key, who relays the real server's evidence.

    What the stranger says besides is told to nobody.
    """

    async def relay(hello: m.Hello) -> m.Welcome:
        assert channel.push("alice", m.Push("decision", FORGED)) == channel.push("alice", m.Push("revoked")) == 1
        await asyncio.sleep(0.1)
        return await shown_by(place, hello.nonce)

    between = Between(relay)
    channel = Channel(between, tmp_path / "keys", z85.encode(bytes(PrivateKey.generate())).decode())
    channel.keys.add(place.alice.public)
    await channel.start()
    told = Bootstrap(channel.server_key, channel.endpoint, "tcp://127.0.0.1:*")
    await told.start()
    states: list[str] = []
    pushes: list[m.Push] = []
    try:
        with Network(place.server.endpoint) as network:
            session = await Session.open(
                network.endpoint, place.alice, place.server.server_key, checker=Checker(ALLOWED, network.endpoint),
                bootstrap=told.endpoint,
            )  # fmt: skip
            session.on_state(states.append)
            session.on_push(pushes.append)
            network.cut()
            while session.open_now:
                await asyncio.sleep(0.01)
            with pytest.raises(AttestationError) as caught:
                await session.ask(m.ListDatasets())
            assert caught.value.code == "tee.channel.curve-key" and session.refusal is caught.value
            assert [type(body) for body in between.heard] == [m.Hello] and between.heard[0].name is None
            assert states == ["lost", "refused"]
            assert (session.server_key, session.endpoint, session.restarts) == (
                place.server.server_key,
                network.endpoint,
                0,
            )
            network.mend()  # the real one is there again, under the key that was pinned all along
            assert isinstance(await session.ask(m.ListDatasets()), m.Datasets)
            network.cut()
            while session.open_now:
                await asyncio.sleep(0.01)
            assert pushes == [] and "ended" not in states
            await session.close()
    finally:
        await told.close()
        await channel.close()


@pytest.mark.asyncio
async def test_what_waits_hears_that_the_server_was_refused(place: Place) -> None:
    session = await place.session(ALLOWED)
    _, pending = session._register(None)  # a request that the server takes long for
    waiting = asyncio.ensure_future(session._wait(pending, silence=60.0))
    session._checker._boot = "another"
    with pytest.raises(AttestationError) as caught:
        await session.attest()
    with pytest.raises(AttestationError) as heard:
        await asyncio.wait_for(waiting, 10.0)
    assert heard.value.code == caught.value.code
    await session.close()


@pytest.mark.asyncio
async def test_an_old_verdict_is_renewed_before_anything_is_sent(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    session = await place.session(ALLOWED)
    try:
        verdict = session.attestation.verdict
        assert verdict is not None
        await session.ask(m.Ping())
        assert session.attestation.verdict is verdict  # still fresh
        old = Attestation(
            type(verdict)(verdict.status, verdict.claims, (), verdict.digest, time.time() - client.HOLDS - 1),
            ALLOWED, True, session.attestation.exchange_key, session.attestation.config,
        )  # fmt: skip
        session._checker.now = old
        await session.ask(m.Ping())
        assert session.attestation.verdict is not None and session.attestation.verdict.checked_at > time.time() - 60
    finally:
        await session.close()


def test_a_reconnection_is_attested_anew(tmp_path: Path) -> None:
    """A server that was started anew has another key: the connection to the old one never speaks to it."""
    alice = Identity.create("alice")
    with start(tmp_path / "server", users=[alice], attest="simulated") as server:
        connection = Connection(server.endpoint, identity=alice, server_key=server.server_key, attestation=ALLOWED)
        boot, port = connection.attestation.config["boot"], server.endpoint
    try:
        with start(tmp_path / "server", port, users=[alice], attest="simulated") as again:
            assert again.server_key != connection.server_key
            with Connection(port, identity=alice, server_key=again.server_key, attestation=ALLOWED) as new:
                assert new.attestation.config["boot"] != boot
    finally:
        connection.close()


def test_the_banner_and_results_say_unattested(place: Place) -> None:
    from bastion.render.banners import connection_lines

    with Connection(
        place.server.endpoint, identity=place.alice, server_key=place.server.server_key, attestation=ALLOWED
    ) as connection:
        assert any("UNATTESTED" in line for line in connection_lines(connection))


@pytest.mark.asyncio
async def test_a_nonce_of_another_length_is_refused(place: Place) -> None:
    session = await place.session(None)
    try:
        for nonce in (b"x", b"x" * 33):
            with pytest.raises(Exception, match="32 bytes") as caught:
                await session.ask(m.Hello("x", nonce=nonce))
            assert getattr(caught.value, "code", "") == "wire.nonce"
    finally:
        await session.close()


@pytest.mark.asyncio
async def test_many_greetings_at_once_are_each_answered(place: Place) -> None:
    session = await place.session(None)
    try:
        answers = await asyncio.gather(*(session.ask(m.Hello("x", nonce=bytes([i]) * 32)) for i in range(8)))
        assert [a.shown.nonce[0] for a in answers] == list(range(8))
    finally:
        await session.close()
