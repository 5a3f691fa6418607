"""Adding the kernel to Jupyter. An editable install does not copy data files, so this is the one way that always works."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from bastion_plan.errors import BastionError, InputError
from bastion_wire.identity import check_curve_key
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_core.paths import jupyter_data_dir

from bastion.client.endpoints import DEFAULT_PORT, INVITATION, keys_directory
from bastion.client.link import check_endpoint
from bastion.render.denials import error_text
from bastion_kernel.starting import PROFILE, VARIABLE

NAME = "bastionlab"
DISPLAY_NAME = "BastionLab"
RESOURCES = Path(__file__).parent / "resources"
LABEXTENSION = "bastionlab"


def kernel_spec(
    python: str | None = None, *, display_name: str | None = None, environment: dict[str, str] | None = None
) -> dict[str, object]:
    """Return the content of kernel.json. environment: variables of the kernel's process (`connecting` makes them)."""
    spec: dict[str, object] = {
        "argv": [python or sys.executable, "-Xfrozen_modules=off", "-m", "bastion_kernel", "-f", "{connection_file}"],
        "display_name": display_name or DISPLAY_NAME,
        "language": "bastionlab",
        "interrupt_mode": "message",
        "metadata": {"debugger": False, "supported_encryption": ["curve"]},
    }
    return {**spec, "env": environment} if environment else spec


def connecting(connect: str | None, identity: str | None = None, server_key: str | None = None) -> dict[str, str]:
    """Return the variables with which a kernel connects by itself at its start; none where it is not to.

    Args:
        connect: "profile" for the saved profile, the path of a profile file (`.toml`), or a server's address; None for no
            connection.
        identity: a name of the keys directory, or the path of a `NAME.key` file; None for the profile's.
        server_key: of an address, where neither known_servers nor the profile hold it. It is public.

    Raises:
        InputError: input.connect, an invitation (it is a secret, and good for once), or no such profile or identity;
            input.endpoint; input.public-key.
    """
    if connect is None:
        if identity is not None or server_key is not None:
            msg = "An identity and a server's key go with --connect."
            raise InputError(
                msg, code="input.connect", next_step="Write --connect profile, or --connect tcp://host:port."
            )
        return {}
    out = {VARIABLE: PROFILE}
    if connect.strip().startswith(INVITATION):
        msg = "An invitation is a secret that is good for once: it has no place in a kernel's settings."
        raise InputError(
            msg, code="input.connect", next_step="Connect with it once, then install with the server's address."
        )
    if connect.endswith(".toml"):
        out["BASTION_PROFILE"] = _existing(Path(connect), "profile")
    elif connect != PROFILE:
        out[VARIABLE] = _address(connect)
    elif os.environ.get("BASTION_PROFILE"):
        out["BASTION_PROFILE"] = _existing(Path(os.environ["BASTION_PROFILE"]), "profile")
    if identity is not None:
        path = Path(identity)
        out["BASTION_IDENTITY"] = _existing(
            path if path.suffix == ".key" else keys_directory() / f"{identity}.key", "identity"
        )
    if server_key is not None:
        if out[VARIABLE] == PROFILE:
            msg = "A server's key goes with its address."
            raise InputError(msg, code="input.connect", next_step="Write --connect tcp://host:port --server-key KEY.")
        out["BASTION_ENDPOINT"], out["BASTION_SERVER_KEY"] = out[VARIABLE], check_curve_key(server_key)
    return out


def _address(given: str) -> str:
    text = given.strip()
    if "://" not in text:
        host, _, tail = text.rpartition(":")
        text = f"tcp://{text}" if host and tail.isdigit() else f"tcp://{text}:{DEFAULT_PORT}"
    return check_endpoint(text)


def _existing(path: Path, what: str) -> str:
    path = path.expanduser().absolute()
    if not path.is_file():
        msg = f"There is no {what} file {path.name!r}."
        raise InputError(msg, code="input.connect", reason=f"Looked for {path}.")
    return str(path)


def install(
    *,
    user: bool = False,
    prefix: str | None = None,
    name: str = NAME,
    display_name: str | None = None,
    environment: dict[str, str] | None = None,
) -> str:
    """Write the kernelspec and what JupyterLab draws completions with; return the kernelspec's folder.

    Args:
        user: for this account. prefix: below a folder (default: sys.prefix).
        name: the kernel's name for Jupyter; another one lets it stand beside the kernel that connects to nothing.
        display_name: what the launcher shows. environment: as `connecting` returns it.

    Raises:
        InputError: input.kernel-name.
    """
    if not re.fullmatch(r"[a-z0-9._-]{1,64}", name):
        msg = "This cannot be the name of a kernel."
        raise InputError(msg, code="input.kernel-name", reason="A name has letters a-z, digits or . _ -.")
    spec = kernel_spec(display_name=display_name, environment=environment)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "kernel.json").write_text(json.dumps(spec, indent=2) + "\n", encoding="utf-8")
        for logo in RESOURCES.glob("logo*"):
            (Path(folder) / logo.name).write_bytes(logo.read_bytes())
        target = None if user else (prefix or sys.prefix)
        shared = Path(jupyter_data_dir()) if target is None else Path(target) / "share" / "jupyter"
        shutil.copytree(RESOURCES / "labextension", shared / "labextensions" / LABEXTENSION, dirs_exist_ok=True)
        return str(KernelSpecManager().install_kernel_spec(folder, name, user=user, prefix=target))


def main(argv: list[str] | None = None) -> int:
    """Command line of `python -m bastion_kernel install`."""
    parser = argparse.ArgumentParser(
        prog="python -m bastion_kernel install", description="Add the BastionLab kernel to Jupyter."
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--user", action="store_true", help="for this account")
    where.add_argument("--sys-prefix", action="store_true", help="for this Python environment (the default)")
    where.add_argument("--prefix", help="below this folder")
    parser.add_argument("--connect", help='connect at start: "profile", a profile file, or a server\'s address')
    parser.add_argument("--as", dest="identity", help="as whom: a name of the keys directory, or a NAME.key file")
    parser.add_argument("--server-key", help="the key of the server at that address, 40 characters")
    parser.add_argument("--name", default=NAME, help="the kernel's name for Jupyter")
    parser.add_argument("--display-name", help="what the launcher shows")
    options = parser.parse_args(argv)
    try:
        environment = connecting(options.connect, options.identity, options.server_key)
        folder = install(
            user=options.user,
            prefix=options.prefix,
            name=options.name,
            display_name=options.display_name,
            environment=environment,
        )
    except BastionError as error:
        sys.stderr.write(error_text(error) + "\n")
        return 1
    sys.stdout.write(f"BastionLab kernel installed in {folder}\n")
    return 0
