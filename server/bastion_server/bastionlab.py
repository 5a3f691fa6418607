"""`bastionlab_server` of BastionLab's notebooks: `start()` a server on this machine, `stop()` it.

`import bastion.compat` makes it importable by that name. Unlike BastionLab's it knows who connects: it makes one identity,
and tells this process of it and of the server's key by the environment, so that `Connection("localhost")` needs neither.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bastion_wire.identity import Identity, PublicIdentity

from bastion_server import process

PORT = 50056
_VARIABLES = ("BASTION_ENDPOINT", "BASTION_SERVER_KEY", "BASTION_IDENTITY")
_running: BastionLabServer | None = None


class BastionLabServer:
    """A server that `start` has started."""

    def __init__(self, handle: process.Handle, before: dict[str, str | None]) -> None:
        self.handle = handle
        self._before = before

    def getProcess(self) -> process.Handle:  # noqa: N802 - its name in BastionLab
        """Return the running process."""
        return self.handle


def start(
    directory: str | os.PathLike[str] = "bastionlab-server", *, port: int = PORT, **limits: Any
) -> BastionLabServer:
    """Start a server on this machine and wait until it answers; the one that runs already is given again.

    Args:
        directory: what it keeps: tables, log, keys, and the identity of this notebook. What is there is taken up again.
        port: where it listens, on 127.0.0.1 only.
        limits: as of `bastion_server.start`.

    Public keys in `keys/owners` and `keys/users` of the working directory are authorised, as BastionLab did.

    Raises:
        ServerError: it did not start.
    """
    global _running
    if _running is not None and _running.handle.running:
        return _running
    folder = Path(directory).resolve()
    path = folder / "identity" / "bastionlab.key"
    me = Identity.load(path) if path.exists() else Identity.create("bastionlab", path.parent)
    owners: list[Identity | PublicIdentity] = [me, *_keys("owners")]
    handle = process.start(folder / "store", f"tcp://127.0.0.1:{port}", owners=owners, users=_keys("users"), **limits)
    values = (handle.endpoint, handle.server_key, str(path))
    before = {name: os.environ.get(name) for name in _VARIABLES}
    os.environ.update(zip(_VARIABLES, values, strict=True))
    _running = BastionLabServer(handle, before)
    print(f"Bastionlab server is now running on port {port}")
    return _running


def stop(srv: BastionLabServer | None) -> bool:
    """Stop a server; return whether it was running."""
    global _running
    if srv is None or not srv.handle.running:
        print("BastionLab's server already stopped")
        return False
    print("Stopping BastionLab's server...")
    srv.handle.stop()
    for name, value in srv._before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    if _running is srv:
        _running = None
    return True


def _keys(role: str) -> list[Identity | PublicIdentity]:
    return [PublicIdentity.load(path) for path in sorted(Path("keys", role).glob("*.pub"))]
