"""How a cell connects: an endpoint or an invitation, an identity by its name, and what to write where one of them lacks."""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass
from pathlib import Path

from bastion_plan.errors import BastionError, InputError, did_you_mean
from bastion_wire.invitation import Invitation

from bastion.client import known_servers
from bastion.client.connection import AsyncConnection, Connection
from bastion.client.endpoints import INVITATION, address_of, keys_directory, read_profile, remember_first
from bastion.render.safe_text import safe_text

#: seconds in which a server that is asked whether it is there says so
ALIVE = 5.0
_KEY_MADE = "make the key in a terminal: bastion keys create NAME."
#: what a cell writes where the SDK's own next step names things that cells do not have
_STEPS = {
    "There is no server to connect to.": 'Write connect("bastion1.…", identity="NAME") with an owner\'s invitation; '
    + _KEY_MADE,
    "There is no identity to connect as.": f'Add who you are: connect("bastion1.…", identity="NAME"); {_KEY_MADE}',
}


async def open_connection(
    endpoint: str | None = None, identity: str | None = None, *, passphrase: str | None = None
) -> Connection:
    """Open a connection for a cell. The identity is a name, never a path: a cell reaches no key of its choosing.

    Where no profile is saved yet, an invitation that was taken becomes it: the next session needs `connect()` alone.

    Raises:
        InputError: no such identity in the user's keys directory; input.passphrase, its key is sealed and no passphrase
            was given.
    """
    path = os.environ.get("BASTION_IDENTITY")
    if identity is not None:
        if not _is_name(identity):
            msg = "An identity is given by its name."
            raise InputError(msg, code="input.identity", next_step='Write connect("…", identity="alice").')
        path = str(_key_of(identity))
        if not os.path.exists(path):
            raise no_identity(identity)
    try:
        connection = await AsyncConnection.open(endpoint, identity=path, passphrase=passphrase)
    except InputError as error:
        error.next_step = _STEPS.get(error.message, error.next_step)
        raise
    if path and endpoint is not None and endpoint.strip().startswith(INVITATION):
        remember_first(connection.endpoint, connection.server_key, path)
    return connection


def _is_name(identity: object) -> bool:
    return isinstance(identity, str) and bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", identity))


def _key_of(identity: str) -> Path:
    return keys_directory() / f"{identity}.key"


def no_identity(name: str) -> InputError:
    """Return the error for an identity without a key here: where keys are looked for, and which there are."""
    folder = keys_directory()
    names = sorted(file.stem for file in folder.glob("*.key"))
    step = did_you_mean(name, names) or (f"There are: {', '.join(names[:12])}." if names else "")
    return InputError(
        f"There is no key of {name!r}.",
        code="input.key-file",
        reason=safe_text(f"Keys are looked for in {folder}; the variable BASTION_KEYS says another folder."),
        next_step=safe_text(f"{step} To make one: bastion keys create {name}").strip(),
    )


@dataclass(frozen=True)
class Wish:
    """Where and as whom a cell wants to connect, as far as that can be told before.

    token: the invitation, or empty. address, server_key: the server's; no key where the endpoint was given. identity,
    changed: the key file, and when it was written. attestation: the policy that the server must meet.
    """

    token: str
    address: str
    server_key: str
    identity: str
    changed: int
    attestation: str


def wish_of(endpoint: str | None, identity: str | None) -> Wish | None:
    """Return what `connect(endpoint, identity)` asks for; None where that cannot be told."""
    try:
        profile = read_profile()
        path = (
            _key_of(identity) if _is_name(identity) else os.environ.get("BASTION_IDENTITY") or profile.get("identity")
        )
        if not path or (identity is not None and not _is_name(identity)):
            return None
        file = Path(path).expanduser().absolute()
        token, key = "", ""
        if endpoint is not None and endpoint.strip().startswith(INVITATION):
            token, address = endpoint.strip(), Invitation.from_token(endpoint).endpoint
        else:
            address = address_of(endpoint, None)
            if endpoint is None:
                key = os.environ.get("BASTION_SERVER_KEY") or profile.get("server_key") or ""
        policy = os.environ.get("BASTION_ATTESTATION") or profile.get("attestation") or ""
        return Wish(token, address, key, str(file), file.stat().st_mtime_ns, str(policy))
    except (BastionError, OSError, TypeError, ValueError, AttributeError):
        return None


async def serves(connection: Connection, made: Wish | None, wish: Wish | None) -> bool:
    """Whether a connection is what a cell wants, and alive: one that is replaced takes all frames made with it along.

    INVARIANT: an invitation that was not taken yet, another key file, another server or another attestation policy is never
    answered with the connection that is there.

    Args:
        made: what the connection was opened for. wish: what is wanted now.
    """
    if made is None or wish is None or not connection.connected or connection.state in ("refused", "ended"):
        return False
    if (wish.identity, wish.changed, wish.attestation) != (made.identity, made.changed, made.attestation):
        return False
    if wish.token and wish.token != made.token:
        return False
    if not any(known_servers.same(wish.address, held) for held in (connection.endpoint, made.address)):
        return False
    if wish.server_key and wish.server_key not in (connection.server_key, made.server_key):
        return False
    try:
        async with asyncio.timeout(ALIVE):
            await connection.ping()
    except (BastionError, TimeoutError):
        return False
    return True
