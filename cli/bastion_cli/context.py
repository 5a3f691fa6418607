"""Which server and as whom: what every command's options mean."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from bastion_plan.errors import InputError, NotFound

from bastion import Connection, Identity
from bastion.client.endpoints import keys_directory, load_identity, server_directory


def default_directory() -> Path:
    """Return the server's directory unless one is named: BASTION_DIRECTORY, else below the user's data directory."""
    return server_directory()


def identities_directory() -> Path:
    """Return where `keys create` puts identities: BASTION_KEYS, else below the user's configuration directory."""
    return keys_directory()


directory_option = click.option(
    "--dir", "directory", type=click.Path(file_okay=False, path_type=Path), default=None,
    help="The server's directory (default: BASTION_DIRECTORY, else the user's data directory).",
)  # fmt: skip


def client_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of every command that talks to a server."""
    for option in (
        click.option("--server-key", help="The server's key, 40 characters."),
        click.option("--as", "who", help="Identity: a name from `keys create`, or the path of a NAME.key file."),
        click.option(
            "--connect", "endpoint", help="Server address or invitation (default: environment, then profile)."
        ),
    ):
        command = option(command)
    return command


def find_identity(who: str | None) -> Identity | None:
    """Return an identity by name or path; None for none, which leaves it to the environment and the profile."""
    if who is None:
        return None
    path = Path(who).expanduser()
    if path.suffix == ".key" or path.is_file():
        if not path.exists():
            msg = f"There is no key file {path.name!r}."
            step = "Give its path, or the name of an identity: --as NAME."
            raise NotFound(msg, code="missing.identity", reason=f"Looked for {path.absolute()}.", next_step=step)
        return load_identity(path, ask=True)
    stored = identities_directory() / f"{who}.key"
    if not stored.exists():
        msg = f"There is no identity {who!r}."
        raise NotFound(
            msg,
            code="missing.identity",
            reason=f"Looked for {stored}.",
            next_step=f"Make it: bastion keys create {who}",
        )
    return load_identity(stored, ask=True)


def open_connection(endpoint: str | None, who: str | None, server_key: str | None) -> Connection:
    """Connect as the options say; without any, to the environment's server, the one of --dir, or the profile's."""
    where, key = server_of(endpoint, server_key)
    return Connection(where, identity=find_identity(who), server_key=key)


def server_of(endpoint: str | None, server_key: str | None) -> tuple[str | None, str | None]:
    """Return which server the options mean, and its key."""
    local = default_directory() / "address.json"
    named = {"BASTION_ENDPOINT", "BASTION_PROFILE"} & os.environ.keys()
    if endpoint is None and not named and local.exists():
        known = address(local.parent)
        return known["endpoint"], server_key or known["server_key"]
    return endpoint, server_key


def address(directory: Path) -> dict[str, Any]:
    """Return where the server of a directory listens: endpoint and server_key, as `serve` wrote them down.

    Raises:
        InputError: input.address, when it never ran.
    """
    try:
        found: dict[str, Any] = json.loads((directory / "address.json").read_text())
    except (OSError, ValueError):
        msg = "The server of this directory has not been started yet."
        raise InputError(
            msg, code="input.address", reason=str(directory), next_step="Start it: bastion serve"
        ) from None
    return found
