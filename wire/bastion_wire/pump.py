"""One ZeroMQ socket on the running asyncio loop: messages in order to a callback, sends that never block the loop.

zmq.asyncio queues a send that meets a full pipe in front of all later sends, so one slow peer of a ROUTER would stop
the answers to every other; here a send to a full pipe fails at once and the caller decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

import zmq

MAX_FRAMES = 4  #: routing id, header, data, and one too many: the rest of a longer message is thrown away
_BATCH = 64


class Pump:
    """Drives one socket. Use it on one loop only; `close` it before the loop ends."""

    def __init__(self, socket: zmq.Socket[bytes], on_message: Callable[[list[zmq.Frame]], None]) -> None:
        self.socket = socket
        self._on_message = on_message
        self._loop = asyncio.get_running_loop()
        self._scheduled = False
        self._waiting: list[asyncio.Future[None]] = []
        self._fd = int(socket.getsockopt(zmq.FD))  # type: ignore[call-overload,unused-ignore]
        self._loop.add_reader(self._fd, self._run)
        self._schedule()

    def send(self, frames: Sequence[bytes | memoryview]) -> None:
        """Send one message now.

        Raises:
            zmq.Again: the peer's pipe is full. zmq.ZMQError: EHOSTUNREACH, no such peer (ROUTER_MANDATORY).
        """
        self._schedule()  # a send may swallow the edge that announces a message
        last = len(frames) - 1
        for index, frame in enumerate(frames):
            self.socket.send(frame, zmq.NOBLOCK | (zmq.SNDMORE if index < last else 0), copy=True)

    async def send_when_free(self, frames: Sequence[bytes | memoryview]) -> None:
        """Send one message, waiting while the pipe is full."""
        while True:
            try:
                self.send(frames)
            except zmq.Again:
                future: asyncio.Future[None] = self._loop.create_future()
                self._waiting.append(future)
                await future
            else:
                return

    def drain(self) -> None:
        """Hand over what has arrived, without waiting for the loop's next turn."""
        self._receive()

    def close(self, linger: int = 0) -> None:
        """Stop, and close the socket. linger: milliseconds for what waits to be sent."""
        if not self.socket.closed:
            self._loop.remove_reader(self._fd)
            self.socket.close(linger=linger)
            for future in self._waiting:
                if not future.done():
                    future.set_exception(zmq.ZMQError(zmq.ETERM))

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        self._scheduled = False
        if self.socket.closed:
            return
        more = self._receive()
        if self.socket.closed:
            return
        if self._waiting and self._events() & zmq.POLLOUT:
            waiting, self._waiting = self._waiting, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)
        if more or self._events() & zmq.POLLIN:
            self._schedule()  # let the loop serve others in between

    def _events(self) -> int:
        return int(self.socket.getsockopt(zmq.EVENTS))  # type: ignore[call-overload,unused-ignore]

    def _receive(self) -> bool:
        """Return whether there may be more."""
        for _ in range(_BATCH):
            frames: list[zmq.Frame] = []
            with suppress(zmq.Again):
                frame = self.socket.recv(zmq.NOBLOCK, copy=False)
                frames.append(frame)
                while frame.more:
                    frame = self.socket.recv(zmq.NOBLOCK, copy=False)
                    if len(frames) < MAX_FRAMES:
                        frames.append(frame)
            if not frames:
                return False
            self._on_message(frames)
            if self.socket.closed:
                return False
        return True
