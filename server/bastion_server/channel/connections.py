"""The TCP connections below a ROUTER: which live, how much they owe us or hide from us, and how to cut one.

libzmq shows an application neither: a multipart message that never ends fills memory before anyone sees it, and an
answer that is not read stays queued. The kernel's byte counts (TCP_INFO) tell both. Where it has none (not Linux), the
high-water marks alone bound the queues.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import zmq
from bastion_wire.pump import Pump

_EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED
_ACKED, _RECEIVED = 120, 128  # offsets in struct tcp_info (Linux 4.1 and later)
_ALLOWANCE = 200.0  # bytes per second for heartbeats
_HANDSHAKE = 4096


def wire_size(frames: Sequence[bytes | memoryview | zmq.Frame]) -> int:
    """Return the bytes that frames take on a CURVE connection."""
    size = 0
    for frame in frames:
        boxed = len(frame) + 33
        size += boxed + (2 if boxed < 256 else 9)
    return size


class Connection:
    """One accepted TCP connection. Sizes in bytes on the wire."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.opened = time.monotonic()
        self.sent = 0
        self.delivered = 0
        self._acked = 0
        self._received = 0
        self._peer = self._with_socket(lambda s: s.getpeername())

    @property
    def unread(self) -> int:
        """What was sent and the peer's kernel has not taken, as of the last `measure`."""
        return max(0, self.sent - self._acked)

    @property
    def undelivered(self) -> int:
        """What was received and is part of no message yet, as of the last `measure`."""
        allowed = _HANDSHAKE + _ALLOWANCE * (time.monotonic() - self.opened)
        return max(0, int(self._received - self.delivered - allowed))

    def measure(self) -> None:
        """Ask the kernel."""
        info = self._with_socket(lambda s: s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192))
        if isinstance(info, bytes) and len(info) >= _RECEIVED + 8:
            self._acked, self._received = struct.unpack_from("QQ", info, _ACKED)
            self.sent = max(self.sent, min(self.sent, self._acked))
        else:
            self._acked, self._received = self.sent, self.delivered

    def cut(self) -> None:
        """End the connection; libzmq's own thread sees it and cleans up."""

        def shut(s: socket.socket) -> None:
            if self._peer is not None and s.getpeername() == self._peer:
                s.shutdown(socket.SHUT_RDWR)

        self._with_socket(shut)

    def _with_socket(self, use: Callable[[socket.socket], object]) -> object:
        """Use a duplicate of the descriptor: it stays the same connection whatever libzmq does meanwhile."""
        with suppress(OSError):
            s = socket.socket(fileno=os.dup(self.fd))
            try:
                return use(s)
            finally:
                s.close()
        return None


class Connections:
    """All live connections of one socket, by descriptor, from its monitor.

    on_close: called with each connection that ends. Call `update` before a message is taken to be from a connection:
    descriptors are used again, and the monitor has always heard of the end of the old one before the new one speaks.
    """

    def __init__(self, router: zmq.Socket[bytes], on_close: Callable[[Connection], None]) -> None:
        self._live: dict[int, Connection] = {}
        self._on_close = on_close
        self._router = router
        address = f"inproc://bastion-monitor-{id(self)}"
        router.monitor(address, _EVENTS)
        monitor = router.context.socket(zmq.PAIR)
        monitor.rcvhwm = 0  # the I/O thread must never wait for us
        monitor.connect(address)
        self._pump = Pump(monitor, self._on_event)

    def update(self) -> None:
        """Take in all that the monitor has said."""
        self._pump.drain()

    def get(self, fd: int) -> Connection | None:
        """Return the live connection of a descriptor."""
        return self._live.get(fd)

    def all(self) -> list[Connection]:
        """Return all live connections."""
        return list(self._live.values())

    def close(self) -> None:
        """Stop listening to the monitor."""
        self._router.disable_monitor()
        self._pump.close()

    def _on_event(self, frames: list[zmq.Frame]) -> None:
        event, fd = struct.unpack("=HI", frames[0].bytes)
        if event == zmq.EVENT_ACCEPTED:
            self._live[fd] = Connection(fd)
        elif (connection := self._live.pop(fd, None)) is not None:
            self._on_close(connection)


async def every(seconds: float, work: Callable[[], None]) -> None:
    """Call `work` every so many seconds, for ever."""
    while True:
        await asyncio.sleep(seconds)
        work()
