"""Where to connect and as whom: addresses, invitation tokens, environment, the saved profile, known servers."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import sys
import tomllib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
from bastion_plan.errors import InputError, WireError
from bastion_wire.identity import Identity, check_curve_key
from bastion_wire.invitation import Invitation

from bastion.client import known_servers
from bastion.client.known_servers import Offer

#: how an invitation token begins
INVITATION = "bastion1."
DEFAULT_PORT = 50056
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


@dataclass(frozen=True)
class Target:
    """All that opening a session needs. enrol: the invitation, where there is one."""

    endpoint: str
    identity: Identity
    server_key: str
    enrol: Invitation | None = None


def profile_path() -> Path:
    """Return the path of the profile file (BASTION_PROFILE, else the user's configuration directory)."""
    given = os.environ.get("BASTION_PROFILE")
    return Path(given) if given else Path(platformdirs.user_config_dir("bastionlab")) / "profile.toml"


def keys_directory() -> Path:
    """Return the directory of one's own identities (BASTION_KEYS, else in the user's configuration directory)."""
    given = os.environ.get("BASTION_KEYS")
    return Path(given) if given else Path(platformdirs.user_config_dir("bastionlab")) / "keys"


def server_directory() -> Path:
    """Return the directory of this account's own server (BASTION_DIRECTORY, else below the user's data directory)."""
    given = os.environ.get("BASTION_DIRECTORY")
    return Path(given) if given else Path(platformdirs.user_data_dir("bastionlab")) / "server"


def own_server() -> tuple[str, str] | None:
    """Return endpoint and key of the server that this account runs on this machine, as it wrote them down; None: there is none.

    INVARIANT: only a file of this account that nobody else may write, and only an address of this machine: whoever writes the file
    says which key is the server's.
    """
    try:
        with (server_directory() / "address.json").open("rb") as file:
            about = os.fstat(file.fileno())
            if about.st_mode & 0o022 or about.st_uid != getattr(os, "geteuid", lambda: about.st_uid)():
                return None
            found = json.loads(file.read(1 << 16))
    except (OSError, ValueError):
        return None
    endpoint, key = (found.get("endpoint"), found.get("server_key")) if isinstance(found, dict) else (None, None)
    if not isinstance(endpoint, str) or not isinstance(key, str):
        return None
    host = endpoint.removeprefix("tcp://").rpartition(":")[0]
    return (endpoint, key) if host in _LOOPBACK else None


def read_profile() -> dict[str, Any]:
    """Return the saved profile: endpoint, server_key and identity (a path); empty where there is none."""
    try:
        return tomllib.loads(profile_path().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        msg = "The profile file cannot be read."
        raise InputError(
            msg, code="input.profile", next_step="Correct or delete it; it holds endpoint, server_key, identity."
        ) from None


def write_profile(endpoint: str, server_key: str, identity: str) -> Path:
    """Save where and as whom to connect by default; return the file's path."""
    import tomli_w

    path = profile_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        tomli_w.dumps({"endpoint": endpoint, "server_key": server_key, "identity": identity}), encoding="utf-8"
    )
    return path


def remember_first(endpoint: str, server_key: str, identity: str) -> bool:
    """Save where and as whom one enrolled, if no profile is saved yet; return whether it was.

    Call it once the server has shown that it holds the key. identity: the path of the secret file.
    """
    if profile_path().exists():
        return False
    try:
        write_profile(endpoint, server_key, str(Path(identity).expanduser().absolute()))
    except OSError:
        return False
    return True


def address_of(endpoint: str | None, port: int | None) -> str:
    """Return "tcp://host:port" of an endpoint or a host name with its port."""
    given = (endpoint or os.environ.get("BASTION_ENDPOINT") or read_profile().get("endpoint") or "").strip()
    if "://" in given:
        return given
    host, _, tail = given.rpartition(":")
    return f"tcp://{given}" if port is None and tail.isdigit() and host else f"tcp://{given}:{port or DEFAULT_PORT}"


def resolve(
    endpoint: str | None,
    port: int | None,
    *,
    identity: Identity | str | None,
    server_key: str | None,
    passphrase: str | None = None,
    ask: bool = False,
) -> Target:
    """Return where to connect and as whom. passphrase: of a sealed key file; ask: let the terminal ask for it.

    The key of an endpoint that is given without one is that of known_servers, the environment, the profile or this account's own
    server for this very endpoint; localhost and 127.0.0.1 are the same host. Without any endpoint it is the own server, too.

    Raises:
        InputError: no endpoint, or no identity. WireError: the server's key is not known.
    """
    profile: dict[str, Any] = {}
    if endpoint is None or identity is None or server_key is None:
        profile = read_profile()
    if endpoint is None:
        endpoint = os.environ.get("BASTION_ENDPOINT") or profile.get("endpoint")
        server_key = server_key or os.environ.get("BASTION_SERVER_KEY") or profile.get("server_key")
        if not endpoint and (own := own_server()) is not None:
            endpoint, server_key = own
    if not endpoint or not isinstance(endpoint, str):
        msg = "There is no server to connect to."
        raise InputError(
            msg,
            code="input.endpoint",
            next_step='Give an endpoint: Connection("tcp://host:port", …), or an invitation.',
        )
    enrol: Invitation | None = None
    if endpoint.strip().startswith(INVITATION):
        enrol = Invitation.from_token(endpoint)
        endpoint, server_key = enrol.endpoint, enrol.server_key
    else:
        endpoint = address_of(endpoint, port)
    me = load_identity(
        identity if identity is not None else os.environ.get("BASTION_IDENTITY") or profile.get("identity"),
        passphrase=passphrase,
        ask=ask,
    )
    if server_key is None:
        endpoint, server_key = _known_key(endpoint, profile)
    return Target(endpoint, me, check_curve_key(server_key), enrol)


def load_identity(given: Any, *, passphrase: str | None = None, ask: bool = False) -> Identity:
    """Return an identity as it is, or read from the path of its secret file, or by its name from the keys directory.

    Args:
        passphrase: of a sealed file. ask: where there is none and one is needed, ask in the terminal or the notebook.
    """
    if isinstance(given, Identity):
        return given
    if isinstance(given, str | os.PathLike) and given:
        path = Path(given).expanduser()
        if path.name == str(given) and not path.exists():  # no path: a name, or a file that lies where keys lie
            stored = keys_directory() / f"{path.name.removesuffix('.key')}.key"
            path = stored if stored.exists() else path
        try:
            return Identity.load(path, passphrase=passphrase)
        except InputError as error:
            typed = None
            if error.code == "input.passphrase" and ask and can_ask():
                with suppress(EOFError, OSError, RuntimeError):  # ipykernel's refusal is a RuntimeError
                    typed = getpass.getpass(passphrase_prompt(error))
            if typed is None:
                raise
            return Identity.load(path, passphrase=typed)
    msg = "There is no identity to connect as."
    raise InputError(
        msg,
        code="input.identity",
        next_step='Make one with `bastion keys create NAME`, then identity="NAME", or BASTION_IDENTITY=NAME.',
    )


def passphrase_prompt(error: InputError) -> str:
    """Return what to ask, of the error that wants a passphrase."""
    return f"Passphrase of {error.details.get('identity', 'the key')}: "


def can_ask() -> bool:
    """Whether `getpass` reaches a person: on a terminal, or in a notebook, where ipykernel puts its own in place."""
    return getpass.getpass.__module__ != "getpass" or bool(sys.stdin and sys.stdin.isatty())


async def ask_passphrase(prompt: str) -> str:
    """Ask in the terminal or the notebook for a passphrase, without blocking the loop.

    Raises:
        InputError: input.stdin, nobody can be asked.
    """
    with suppress(EOFError, OSError, RuntimeError):  # ipykernel's refusal is a RuntimeError
        if can_ask():
            return await asyncio.to_thread(getpass.getpass, prompt)
    raise InputError(
        "The key is sealed with a passphrase, and nobody can be asked for it here.",
        code="input.stdin",
        next_step="For unattended runs use a key without a passphrase.",
    )


def trust(bootstrap: str, confirm: Callable[[Offer], bool] | None = None, *, timeout: float = 5.0) -> str:
    """Learn a server's key from its bootstrap socket, after a person has compared its words; return the channel's address.

    Args:
        bootstrap: "tcp://host:port" of the bootstrap socket.
        confirm: called with the offer (`.words`, `.endpoint`) for an unknown server; None to ask on the terminal.
        timeout: seconds.

    Raises:
        WireError: nothing answers, the key changed since it was trusted, or it was not confirmed.
    """
    return asyncio.run(known_servers.trust(bootstrap, confirm or _ask_person, timeout)).endpoint


def _ask_person(offer: Offer) -> bool:
    """Ask on the terminal whether the words are those the owner told."""
    print(f"The server at {offer.endpoint} shows the key\n\n    {offer.words}\n")
    return input("Are these the words its owner told you? Type yes or no: ").strip().lower() == "yes"


def _known_key(endpoint: str, profile: dict[str, Any]) -> tuple[str, str]:
    """Return the address under which a key is held for an endpoint, and the key.

    INVARIANT: a key is never taken for another address than the one it is held for, so the address comes with it.
    """
    if (known := known_servers.find(endpoint)) is not None:
        return f"tcp://{known[0]}", known[1]
    environment = (os.environ.get("BASTION_ENDPOINT"), os.environ.get("BASTION_SERVER_KEY"))
    held = [environment, (profile.get("endpoint"), profile.get("server_key")), own_server() or (None, None)]
    for address, key in held:
        if isinstance(address, str) and isinstance(key, str) and key and known_servers.same(address, endpoint):
            return f"tcp://{address.strip().rpartition('://')[2]}", key
    other = profile.get("endpoint") if profile.get("server_key") else None
    msg = "The server's key is not known, so it could be any server."
    raise WireError(
        msg,
        code="wire.server-unknown",
        reason=f"The key in your profile is that of {other}." if isinstance(other, str) else "",
        next_step="Give server_key=…, use the invitation token of `bastion invite`, or trust it once: bastion.trust(endpoint).",
    )
