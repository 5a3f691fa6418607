"""One connection to a server, from the handshake to its end; it never reconnects, and its end is told in words."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

import zmq
from bastion_plan.errors import BastionError, InputError, NotAuthorised, WireError
from bastion_wire.identity import check_curve_key
from bastion_wire.messages import CHUNK, MAX_HEADER
from bastion_wire.pump import Pump

_HANDSHAKE_EVENTS = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)
_EVENTS = (
    zmq.EVENT_CONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | _HANDSHAKE_EVENTS | zmq.EVENT_CLOSED | zmq.EVENT_DISCONNECTED
)


class Link:
    """A DEALER with CURVE and its monitor.

    on_message: called with the frames of each message. on_end: called once with the error when the connection ends by
    itself after it was open.
    """

    def __init__(self, on_message: Callable[[list[zmq.Frame]], None], on_end: Callable[[BastionError], None]) -> None:
        self._on_message = on_message
        self._on_end = on_end
        self._ended: BastionError | None = None
        self._connected = False
        self._pump: Pump | None = None
        self._monitor: Pump | None = None

    async def open(
        self, endpoint: str, public: str, secret: str, server_key: str, timeout: float, heartbeat: float = 5.0
    ) -> None:
        """Connect and shake hands.

        Raises:
            WireError: wire.unreachable, wire.server-key, wire.timeout, wire.busy.
            NotAuthorised: wire.auth.unknown-key.
            InputError: input.endpoint, input.public-key.
        """
        check_curve_key(server_key)
        check_endpoint(endpoint)
        self._endpoint = endpoint
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        socket.linger = 0
        socket.curve_serverkey = server_key.encode()
        socket.curve_publickey = public.encode()
        socket.curve_secretkey = secret.encode()
        socket.setsockopt(zmq.RECONNECT_IVL, -1)
        socket.setsockopt(zmq.HANDSHAKE_IVL, int(timeout * 1000) + 1)
        socket.setsockopt(zmq.CONNECT_TIMEOUT, int(timeout * 1000) + 1)
        socket.setsockopt(zmq.HEARTBEAT_IVL, int(heartbeat * 1000))
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, int(heartbeat * 3000))
        socket.setsockopt(zmq.MAXMSGSIZE, max(MAX_HEADER, CHUNK) + 1024)
        socket.setsockopt(zmq.SNDHWM, 64)
        socket.setsockopt(zmq.RCVHWM, 64)
        socket.setsockopt(zmq.IPV6, 1)
        address = f"inproc://bastion-link-{id(self)}"
        socket.monitor(address, _EVENTS)
        monitor: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PAIR)
        monitor.rcvhwm = 0
        monitor.connect(address)
        self._monitor = Pump(monitor, self._on_event)
        self._pump = Pump(socket, self._on_message)
        try:
            try:
                socket.connect(endpoint)
            except zmq.ZMQError:
                raise _no_endpoint(endpoint) from None
            try:
                async with asyncio.timeout(timeout):
                    await self._opened
            except TimeoutError:
                raise self._late(timeout) from None
        except BaseException:
            self.close()
            raise

    async def send(self, *frames: bytes | memoryview) -> None:
        """Send one message, waiting while the server takes no more.

        Raises:
            WireError: wire.lost, the connection has ended.
        """
        if self._pump is None or self._ended is not None:
            raise self._ended or lost()
        try:
            await self._pump.send_when_free(frames)
        except zmq.ZMQError:
            raise self._ended or lost() from None

    def send_now(self, *frames: bytes) -> bool:
        """Send a small message if that is possible at once; return whether it was."""
        if self._pump is None or self._ended is not None:
            return False
        try:
            self._pump.send(frames)
        except zmq.ZMQError:
            return False
        return True

    @property
    def open_now(self) -> bool:
        """Whether the connection stands, as far as is known."""
        return self._pump is not None and self._ended is None

    def check(self) -> None:
        """Take in what the monitor has said already."""
        if self._monitor is not None:
            self._monitor.drain()

    def close(self, linger: int = 0) -> None:
        """Close. linger: milliseconds for what waits to be sent."""
        monitor, self._monitor = self._monitor, None
        pump, self._pump = self._pump, None
        if pump is not None:
            pump.socket.disable_monitor()
            pump.close(linger)
        if monitor is not None:
            monitor.close()

    def _on_event(self, frames: list[zmq.Frame]) -> None:
        event, value = struct.unpack("=HI", frames[0].bytes)
        if event == zmq.EVENT_CONNECTED:
            self._connected = True
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            if not self._opened.done():
                self._opened.set_result(None)
        else:
            self._end(self._why(event, value))

    def _why(self, event: int, value: int) -> BastionError:
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            if value != 400:
                msg = "The server could not check this key just now."
                return WireError(msg, code="wire.busy", next_step="Try again in a moment.")
            return NotAuthorised(
                "The server does not know this key.",
                code="wire.auth.unknown-key",
                reason="Your key is not, or not any more, among those that may connect.",
                next_step="Send your NAME.pub to the server's owner, or ask for an invitation.",
            )
        if event & _HANDSHAKE_EVENTS or (self._connected and not self._opened.done()):
            return WireError(
                "What answers at this address does not have the expected server key.",
                code="wire.server-key",
                reason="The server may have a new key, be another server, or not be a BastionLab server.",
                next_step="Ask the server's owner for its key; compare the fingerprint.",
            )
        return lost() if self._connected else unreachable(self._endpoint)

    def _end(self, error: BastionError) -> None:
        if self._ended is not None:
            return
        self._ended = error
        if not self._opened.done():
            self._opened.set_exception(error)
            self._opened.exception()  # told to whoever still waits
        else:
            self._on_end(error)

    def _late(self, timeout: float) -> WireError:
        if not self._connected:
            return unreachable(self._endpoint)
        return WireError(
            "The server did not finish the greeting in time.",
            code="wire.timeout",
            reason=f"It took the connection but said nothing for {timeout:g} s.",
            next_step="Try again; check that the port is that of a BastionLab server.",
        )


def check_endpoint(endpoint: str) -> str:
    """Return `endpoint` if it is of the form tcp://host:port.

    Raises:
        InputError: input.endpoint.
    """
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    if (
        not endpoint.startswith("tcp://")
        or not host
        or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536)
    ):
        raise _no_endpoint(endpoint)
    return endpoint


def _no_endpoint(endpoint: str) -> InputError:
    msg = f"{endpoint!r} is not an address to connect to."
    return InputError(msg, code="input.endpoint", next_step="Write it like tcp://host:port.")


def lost() -> WireError:
    """The connection ended while something was waiting for an answer."""
    return WireError(
        "The connection to the server was lost before the answer came.",
        code="wire.lost",
        reason="The server stopped, restarted or cannot be reached.",
        next_step="Ask again: the next request connects anew.",
    )


def unreachable(endpoint: str) -> WireError:
    """Nothing answers."""
    return WireError(
        f"There is no server at {endpoint}.",
        code="wire.unreachable",
        reason="Nothing answers at that address and port.",
        next_step="Check the address, and that the server runs.",
    )
