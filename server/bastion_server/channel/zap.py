"""Authentication of CURVE handshakes in a thread of its own (ZeroMQ RFC 27).

One exception in pyzmq's own authenticator ends authentication for good; this thread answers 500 and lives on.
"""

from __future__ import annotations

import logging
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import zmq
from zmq.utils import z85

log = logging.getLogger("bastion.zap")

ENDPOINT = "inproc://zeromq.zap.01"


@dataclass(frozen=True, slots=True)
class Admission:
    """Who was let in. metadata: further properties of every message of the connection; names begin with "X-"."""

    user_id: str
    metadata: Mapping[str, str] = field(default_factory=dict)


class ThrottledError(Exception):
    """Raised by `admit`: not now. The peer is told 500, which our client takes for "try again"."""


class ZapThread(threading.Thread):
    """Answers the handshakes of one context until `stop`.

    admit: given the CURVE public key (40 Z85 characters), returns an Admission or None. It runs in this thread.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], domain: str, admit: Callable[[str], Admission | None]
    ) -> None:
        super().__init__(name="bastion-zap", daemon=True)
        self._domain = domain.encode()
        self._admit = admit
        self._socket = context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.bind(ENDPOINT)  # before any server socket binds, or its first handshakes would fail
        address = f"inproc://bastion-zap-{id(self)}"
        self._inner, self._outer = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        self._inner.bind(address)
        self._outer.connect(address)

    def stop(self) -> None:
        """End the thread and close its sockets."""
        self._outer.send(b"")
        self.join()
        self._outer.close(linger=0)

    def run(self) -> None:
        """Answer until told to stop."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._inner, zmq.POLLIN)
        while True:
            ready = dict(poller.poll())
            if self._inner in ready:
                break
            with suppress(zmq.ZMQError):
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
                self._socket.send_multipart(self._answer(frames), zmq.NOBLOCK)
        self._socket.close(linger=0)
        self._inner.close(linger=0)

    def _answer(self, frames: list[bytes]) -> list[bytes]:
        # frames: address, empty, version, request id, domain, peer address, routing id, mechanism, credentials…
        envelope, request_id = frames[:2], frames[3] if len(frames) > 3 else b""
        try:
            code, text, user, metadata = self._decide(frames)
        except Exception:
            log.error("a handshake could not be decided; it was refused", exc_info=True)
            code, text, user, metadata = b"500", b"Internal error", b"", b""
        return [*envelope, b"1.0", request_id, code, text, user, metadata]

    def _decide(self, frames: list[bytes]) -> tuple[bytes, bytes, bytes, bytes]:
        refused = b"400", b"Not authorised", b"", b""
        if len(frames) != 9 or frames[2] != b"1.0" or frames[4] != self._domain or frames[7] != b"CURVE":
            return refused
        if len(frames[8]) != 32:
            return refused
        admission = self._admit(z85.encode(frames[8]).decode())
        if admission is None:
            return refused
        return b"200", b"OK", admission.user_id.encode(), _metadata(admission.metadata)


def _metadata(properties: Mapping[str, str]) -> bytes:
    return b"".join(
        struct.pack(f">B{len(name)}sI", len(name), name.encode(), len(value.encode())) + value.encode()
        for name, value in properties.items()
    )
