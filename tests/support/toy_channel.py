"""A channel on loopback with a toy service, and raw sockets to mistreat it with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgpack
import zmq
import zmq.asyncio
from bastion_server.channel import Channel, KeyDirectory, Limits
from bastion_wire.identity import Identity
from toy_service import ToyService

from bastion.client.transport import Session


class Toy:
    def __init__(self, keys: KeyDirectory, service: ToyService, channel: Channel) -> None:
        self.keys, self.service, self.channel = keys, service, channel
        self.alice = Identity.create("alice")
        keys.add(self.alice.public)
        self.raws: list[Raw] = []

    async def session(self, identity: Identity | None = None, **options: Any) -> Session:
        return await Session.open(self.channel.endpoint, identity or self.alice, self.channel.server_key, **options)

    def raw(self, identity: Identity | None = None, **options: Any) -> Raw:
        raw = Raw(self.channel.endpoint, self.channel.server_key, identity or self.alice, **options)
        self.raws.append(raw)
        return raw


class Raw:
    """A DEALER that speaks plain MessagePack and may misbehave."""

    def __init__(
        self, endpoint: str, server_key: str, identity: Identity, routing_id: bytes | None = None, rcvhwm: int = 1000
    ) -> None:
        self.context = zmq.asyncio.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.rcvhwm = rcvhwm
        self.socket.sndhwm = 0
        self.socket.curve_serverkey = server_key.encode()
        self.socket.curve_publickey = identity.curve_key.encode()
        self.socket.curve_secretkey = identity.curve_secret.encode()
        if routing_id is not None:
            self.socket.routing_id = routing_id
        self.socket.connect(endpoint)

    async def send(self, *frames: Any) -> None:
        packed = [f if isinstance(f, bytes) else msgpack.packb(f) for f in frames]
        await self.socket.send_multipart(packed)

    async def request(self, number: int, kind: str, *data: bytes, **fields: Any) -> None:
        await self.send({"v": 1, "id": number, "body": {"kind": kind, **fields}}, *data)

    async def receive(self, timeout: float = 30.0) -> tuple[int, dict[str, Any], bytes | None]:
        frames = await asyncio.wait_for(self.socket.recv_multipart(), timeout)
        message = msgpack.unpackb(frames[0])
        return message["id"], message["body"], frames[1] if len(frames) > 1 else None

    async def failure(self) -> str:
        _, body, _ = await self.receive()
        assert body["kind"] == "failed", body
        return str(body["code"])

    async def silent(self, seconds: float = 0.5) -> bool:
        try:
            await self.receive(seconds)
        except TimeoutError:
            return True
        return False

    def close(self) -> None:
        """Close; once more does no harm."""
        self.context.destroy(linger=0)


@contextlib.asynccontextmanager
async def toy(directory: Path, **limits: Any) -> AsyncIterator[Toy]:
    service = ToyService()
    keys = KeyDirectory(directory / "keys")
    secret = Identity.create("server").curve_secret
    async with Channel(service, keys, secret, limits=Limits(**({"poll": 0.1} | limits))) as channel:
        made = Toy(keys, service, channel)
        try:
            yield made
        finally:
            for raw in made.raws:
                raw.close()


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for something that must come true."""
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        await asyncio.sleep(0.02)
    msg = "it did not come true in time"
    raise AssertionError(msg)
