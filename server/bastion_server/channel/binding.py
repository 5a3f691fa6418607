"""Listening on an address."""

from __future__ import annotations

import re

import zmq
from bastion_plan.errors import ServerError


def bind(socket: zmq.Socket[bytes], endpoint: str) -> None:
    """Bind, or say why not.

    Raises:
        ServerError: server.bind.
    """
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        msg = f"The server cannot listen on {endpoint}."
        raise ServerError(
            msg, code="server.bind", reason=f"{error}.", next_step="Stop what uses that port, or choose another."
        ) from None


def bound(socket: zmq.Socket[bytes]) -> str:
    """Return the address that a socket listens on, with its port."""
    address = socket.getsockopt(zmq.LAST_ENDPOINT)
    assert isinstance(address, bytes)
    # libzmq names IPv4 addresses of its dual-stack sockets as mapped ones
    return re.sub(r"\[::ffff:([0-9.]+)\]", r"\1", address.rstrip(b"\0").decode())
