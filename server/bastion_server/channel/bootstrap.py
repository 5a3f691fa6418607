"""The unauthenticated socket: tells the server's key, its words and its address, and nothing else.

What it says proves nothing. A client compares the key with its known_servers file, or asks its user.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import msgpack  # type: ignore[import-untyped,unused-ignore]
import zmq
from bastion_plan.errors import ServerError
from bastion_wire.identity import fingerprint
from bastion_wire.pump import Pump

from bastion_server.channel.binding import bind, bound
from bastion_server.channel.limits import Bucket

REQUEST = b"bastion?"
VERSION = 1


class Bootstrap:
    """Answers `REQUEST` with the MessagePack map {v, server_key, fingerprint, port}.

    Its context is its own, so that a flood of strangers does not take the I/O thread of the channel.

    Args:
        server_key: the server's CURVE public key.
        channel: endpoint of the channel, with its port.
        address: where to listen.
        rate: answers per second, at most.
    """

    def __init__(self, server_key: str, channel: str, address: str, *, rate: float = 50.0) -> None:
        self._address = address
        answer = {"v": VERSION, "server_key": server_key, "fingerprint": fingerprint(server_key)}
        self._answer: bytes = msgpack.packb({**answer, "port": int(channel.rpartition(":")[2])})
        self._bucket = Bucket(rate, rate)
        self._pump: Pump | None = None

    async def start(self) -> None:
        """Bind and serve.

        Raises:
            ServerError: server.bind.
        """
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        socket = self._context.socket(zmq.ROUTER)
        socket.setsockopt(zmq.MAXMSGSIZE, 64)
        socket.setsockopt(zmq.RCVHWM, 4)
        socket.setsockopt(zmq.SNDHWM, 4)
        socket.setsockopt(zmq.HANDSHAKE_IVL, 2000)
        socket.setsockopt(zmq.HEARTBEAT_IVL, 5000)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 5000)
        socket.setsockopt(zmq.IPV6, 1)
        socket.linger = 0
        try:
            bind(socket, self._address)
        except ServerError:
            socket.close()
            self._context.term()
            raise
        self.endpoint = bound(socket)
        self._pump = Pump(socket, self._on_message)

    async def close(self) -> None:
        """Close the socket."""
        if self._pump is not None:
            self._pump.close()
            self._pump = None
            await asyncio.to_thread(self._context.term)

    def _on_message(self, frames: list[zmq.Frame]) -> None:
        # a DEALER sends [id, request], a REQ [id, empty, request]
        body = [frame.bytes for frame in frames[1:]]
        if self._pump is not None and body in ([REQUEST], [b"", REQUEST]) and self._bucket.take():
            with suppress(zmq.ZMQError):  # gone, or not reading
                self._pump.send([frames[0].bytes, *body[:-1], self._answer])
