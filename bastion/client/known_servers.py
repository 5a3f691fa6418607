"""The servers whose keys were trusted before, one line each: `host:port KEY`, in the user's configuration directory.

INVARIANT: nothing a server says of itself is trusted: a key enters the file only by `confirm` of a person who compared
its words, and a different key at a known address is an error until the line is taken out by hand.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgpack  # type: ignore[import-untyped,unused-ignore]
import platformdirs
import zmq
from bastion_plan.errors import BastionError, InputError, WireError
from bastion_wire.files import replace
from bastion_wire.identity import check_curve_key, fingerprint
from bastion_wire.pump import Pump

from bastion.client.link import check_endpoint

_REQUEST = b"bastion?"
_MAX_FILE = 1 << 20


@dataclass(frozen=True, slots=True)
class Offer:
    """What a bootstrap socket says; unproven. endpoint: of the channel. words: fingerprint of the key, worked out here."""

    endpoint: str
    server_key: str
    words: str


def path() -> Path:
    """Return where the file is (BASTION_KNOWN_SERVERS, else the user's configuration directory)."""
    given = os.environ.get("BASTION_KNOWN_SERVERS")
    return Path(given) if given else Path(platformdirs.user_config_dir("bastionlab")) / "known_servers"


def lookup(endpoint: str) -> str | None:
    """Return the key that was trusted for an endpoint ("tcp://host:port" or "host:port"), or None.

    Raises:
        InputError: input.known-servers, the file cannot be read or has a broken line for this address.
    """
    found = find(endpoint)
    return None if found is None else found[1]


def find(endpoint: str) -> tuple[str, str] | None:
    """Return the address ("host:port") that a key was trusted for, and the key; None where there is none.

    The address is the endpoint's own, or the other way to write this machine (localhost, 127.0.0.1).

    Raises:
        InputError: input.known-servers, as `lookup`.
    """
    known = _read()
    return next(((a, known[a]) for a in _spellings(endpoint) if a in known), None)


def same(one: str, other: str) -> bool:
    """Whether two endpoints ("tcp://host:port" or "host:port") are one address; localhost and 127.0.0.1 are one host."""
    return _address(one) in _spellings(other)


def remember(endpoint: str, server_key: str) -> None:
    """Write down a key that a person has confirmed.

    Raises:
        WireError: wire.server-key-changed, there is another key for this address.
    """
    check_curve_key(server_key)
    known = _read()
    if check(endpoint, server_key):
        return
    known[_address(endpoint)] = server_key
    file = path()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = "# Servers whose keys were trusted: host:port KEY\n" + "".join(
        f"{a} {k}\n" for a, k in sorted(known.items())
    )
    replace(file, text.encode(), mode=0o600)


def forget(endpoint: str) -> bool:
    """Take a server out; return whether it was there."""
    known = _read()
    found = [address for address in _spellings(endpoint) if known.pop(address, None) is not None]
    if not found:
        return False
    replace(path(), "".join(f"{a} {k}\n" for a, k in sorted(known.items())).encode(), mode=0o600)
    return True


def check(endpoint: str, server_key: str) -> bool:
    """Return whether this very key is known for the address; False where none is.

    Raises:
        WireError: wire.server-key-changed, another key is known.
    """
    known = lookup(endpoint)
    if known is not None and known != server_key:
        raise WireError(
            f"THE SERVER AT {_address(endpoint)} SHOWS ANOTHER KEY THAN BEFORE.",
            code="wire.server-key-changed",
            reason=f"Trusted: {fingerprint(known)}. Shown now: {fingerprint(server_key)}. Someone may be in between, or "
            "the server was set up anew.",
            next_step=f"Ask the server's owner. If the new key is right, delete the line from {path().name} and trust it anew.",
            details={"known": fingerprint(known), "shown": fingerprint(server_key)},
        )
    return known is not None


async def ask(bootstrap: str, timeout: float = 5.0) -> Offer:
    """Ask a bootstrap socket ("tcp://host:port") for the server's key and address. Nothing of it is proven.

    Raises:
        WireError: wire.unreachable, wire.malformed. InputError: input.endpoint.
    """
    check_endpoint(bootstrap)
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()

    def on_message(frames: list[zmq.Frame]) -> None:
        if not answer.done():
            answer.set_result(frames[0].bytes)

    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    socket.linger = 0
    socket.setsockopt(zmq.MAXMSGSIZE, 64 * 1024)
    socket.setsockopt(zmq.IPV6, 1)
    pump = Pump(socket, on_message)
    try:
        socket.connect(bootstrap)
        pump.send([_REQUEST])
        async with asyncio.timeout(timeout):
            data = await answer
    except TimeoutError:
        raise WireError(
            f"Nothing at {bootstrap} tells a server's key.",
            code="wire.unreachable",
            reason=f"No answer came within {timeout:g} s.",
            next_step="Check the address, or use an invitation or server_key=….",
        ) from None
    finally:
        pump.close()
    return _offer(bootstrap, data)


async def trust(bootstrap: str, confirm: Callable[[Offer], bool], timeout: float = 5.0) -> Offer:
    """Ask a bootstrap socket, let a person compare the words of a key not seen before, and write it down.

    confirm: called with the offer for an unknown server only; True if its words are those the owner told.

    Raises:
        WireError: as `ask`; wire.server-key-changed; wire.server-unknown, `confirm` said no.
    """
    offer = await ask(bootstrap, timeout)
    if not check(offer.endpoint, offer.server_key):
        if not await asyncio.to_thread(confirm, offer):
            msg = "The server's key was not confirmed."
            raise WireError(
                msg, code="wire.server-unknown", next_step="Ask the server's owner for the words of its key."
            )
        remember(offer.endpoint, offer.server_key)
    return offer


def _offer(bootstrap: str, data: bytes) -> Offer:
    try:
        fields = msgpack.unpackb(data, max_map_len=16, max_array_len=16, max_ext_len=0)
        port, key = fields["port"], check_curve_key(fields["server_key"])
        if fields["v"] != 1 or type(port) is not int or not 0 < port < 65536:
            raise ValueError
    except (BastionError, KeyError, TypeError, ValueError, msgpack.exceptions.UnpackException):
        msg = f"What answers at {bootstrap} is not a BastionLab server of this release."
        raise WireError(msg, code="wire.malformed", next_step="Check the address.") from None
    return Offer(f"{bootstrap.rpartition(':')[0]}:{port}", key, fingerprint(key))


def _address(endpoint: str) -> str:
    return endpoint.strip().rpartition("://")[2].rstrip("/").lower()


def _spellings(endpoint: str) -> tuple[str, ...]:
    """Return an endpoint's address, then the other way to write it where the host is this machine."""
    address = _address(endpoint)
    host, colon, port = address.rpartition(":")
    other = {"localhost": "127.0.0.1", "127.0.0.1": "localhost"}.get(host)
    return (address,) if other is None else (address, other + colon + port)


def _read() -> dict[str, str]:
    file = path()
    try:
        with file.open("rb") as opened:
            data = opened.read(_MAX_FILE + 1)
        lines = data.decode().splitlines()
        if len(data) > _MAX_FILE:
            raise ValueError
        known: dict[str, str] = {}
        for line in lines:
            if line.strip() and not line.startswith("#"):
                address, key = line.split()
                known[address] = check_curve_key(key)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, InputError):
        msg = "The file of known servers cannot be read."
        raise InputError(
            msg, code="input.known-servers", next_step=f"Correct or delete {file.name} (a line is: host:port KEY)."
        ) from None
    return known
