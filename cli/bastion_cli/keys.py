"""Keys and invitations."""

from __future__ import annotations

from pathlib import Path

import click
from bastion_plan.errors import InputError
from bastion_wire.identity import PublicIdentity, fingerprint

from bastion import Identity
from bastion.client.endpoints import passphrase_prompt
from bastion_cli import context
from bastion_cli.output import json_option, reporting, say, show, when

ROLES = click.Choice(["owner", "user", "auditor", "admin"])


@click.group()
def keys() -> None:
    """Who may connect."""


@keys.command("create")
@click.argument("name")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Directory of the new key files.")
@click.option("--role", type=ROLES, help="Also authorise it on the server of --dir.")
@click.option("--passphrase", "sealed", is_flag=True, help="Ask for a passphrase that seals NAME.key.")
@context.directory_option
@json_option
@reporting
def create(name: str, out: Path | None, role: str | None, sealed: bool, directory: Path | None, as_json: bool) -> None:
    """Make an identity. NAME.key is secret, yours alone; NAME.pub is to give away.

    \b
    Example:  bastion keys create olga --role owner
    """
    folder = out or context.identities_directory()
    identity = Identity.create(name, folder, passphrase=_new_passphrase(name) if sealed else None)
    if role is not None:
        from bastion_server.channel.keys import KeyDirectory

        KeyDirectory((directory or context.default_directory()) / "keys").add(identity.public, role)
    path = folder / f"{name}.key"
    text = f"{path} is the secret key of {name}; {name}.pub beside it is the public one."
    if role is not None:
        text += f" Authorised as {role}."
    say({"name": name, "key": str(path), "public": str(path.with_suffix(".pub")), "role": role}, text, as_json=as_json)


def _new_passphrase(name: str) -> str:
    return str(click.prompt(f"Passphrase of {name}", hide_input=True, confirmation_prompt=True, err=True))


@keys.command("passphrase")
@click.argument("name")
@click.option("--remove", is_flag=True, help="Leave the key without a passphrase.")
@json_option
@reporting
def passphrase(name: str, remove: bool, as_json: bool) -> None:
    """Seal NAME.key with a passphrase, change it, or take it away. NAME: of the keys directory, or the path of the file.

    \b
    Example:  bastion keys passphrase alice
    """
    path = Path(name).expanduser() if name.endswith(".key") else context.identities_directory() / f"{name}.key"
    try:
        identity = Identity.load(path)
    except InputError as error:
        if error.code != "input.passphrase":
            raise
        now = click.prompt(passphrase_prompt(error).rstrip(": "), hide_input=True, err=True)
        identity = Identity.load(path, passphrase=now)
    identity.reseal(path, None if remove else _new_passphrase(identity.name))
    text = f"{path} is {'not sealed any more' if remove else 'sealed with the passphrase'}."
    say({"name": identity.name, "key": str(path), "sealed": not remove}, text, as_json=as_json)


@keys.command("add")
@click.argument("public", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--role", type=ROLES, default="user", show_default=True)
@context.directory_option
@json_option
@reporting
def add(public: Path, role: str, directory: Path | None, as_json: bool) -> None:
    """Authorise somebody's NAME.pub. No restart is needed.

    \b
    Example:  bastion keys add alice.pub --role user
    """
    from bastion_server.channel.keys import KeyDirectory

    identity = PublicIdentity.load(public)
    KeyDirectory((directory or context.default_directory()) / "keys").add(identity, role)
    say({"name": identity.name, "role": role}, f"{identity.name} may connect as {role}.", as_json=as_json)


@keys.command("list")
@context.directory_option
@json_option
@reporting
def list_(directory: Path | None, as_json: bool) -> None:
    """Show who may connect, and open invitations. Of the server of --dir.

    \b
    Example:  bastion keys list --json
    """
    from bastion_server.channel.keys import KeyDirectory

    found = KeyDirectory((directory or context.default_directory()) / "keys")
    rows = [
        {"name": p.name, "roles": list(p.roles), "fingerprint": fingerprint(p.curve_key), "note": ""}
        for p in found.principals()
    ]
    rows += [
        {"name": g.name, "roles": [g.role], "fingerprint": "", "note": f"invited, until {when(g.expires)}"}
        for g in found.guests()
    ]
    columns = {"name": "name", "roles": "roles", "fingerprint": "fingerprint", "note": ""}
    show(rows, columns, as_json=as_json, empty="Nobody may connect yet. bastion keys create NAME --role owner")


@keys.command("revoke")
@click.argument("name")
@context.directory_option
@json_option
@reporting
def revoke(name: str, directory: Path | None, as_json: bool) -> None:
    """Take a key away. Its sessions are cut at once, no restart is needed.

    \b
    Example:  bastion keys revoke alice
    """
    from bastion_server.channel.keys import KeyDirectory

    KeyDirectory((directory or context.default_directory()) / "keys").revoke(name)
    say({"revoked": name}, f"{name} may not connect any more.", as_json=as_json)


@click.command()
@click.argument("name")
@click.option("--role", type=ROLES, default="user", show_default=True)
@click.option(
    "--days",
    type=click.FloatRange(min=0, min_open=True),
    default=7,
    show_default=True,
    help="How long the invitation holds.",
)
@click.option("--endpoint", help="The address the guest connects to, if it differs from the one the server listens on.")
@context.directory_option
@json_option
@reporting
def invite(name: str, role: str, days: float, endpoint: str | None, directory: Path | None, as_json: bool) -> None:
    """Print a one-line token that lets NAME enrol, once. Send it like a password.

    \b
    Example:  bastion invite alice
    The guest makes a key:    bastion keys create alice
    and writes in a cell:     connect("bastion1.…", identity="alice")
    or in a terminal:         bastion datasets --connect bastion1.… --as alice
    """
    from bastion_server.channel.keys import KeyDirectory

    folder = directory or context.default_directory()
    known = context.address(folder)
    invitation = KeyDirectory(folder / "keys").invite(
        name, endpoint or known["endpoint"], known["server_key"], role=role, lifetime=days * 86400
    )
    token = invitation.to_token()
    say({"name": name, "role": role, "token": token, "expires": invitation.expires}, token, as_json=as_json)


def owner_exists(directory: Path) -> bool:
    """Whether a server directory knows an owner."""
    return any((directory / "keys" / "owners").glob("*.pub"))


COMMANDS = (keys, invite)
