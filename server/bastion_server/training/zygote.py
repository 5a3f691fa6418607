"""The zygote of training workers: as bastion_server.workers.zygote, with torch imported too.

INVARIANT: nothing is computed here. Torch's threads do not survive a fork, so what its first pass imports is found out by a
fork that makes one and is thrown away.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys

from bastion_server.training import child
from bastion_server.workers import memfd, zygote

_MORE = ("opacus.accountants", "opacus.accountants.analysis.prv", "scipy.optimize", "scipy.stats", "safetensors.torch")


def preload() -> None:
    """Import the engine, torch, and what a fit imports on the way."""
    zygote.preload()
    for name in _MORE:
        importlib.import_module(name)
    for name in _imported():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _imported() -> list[str]:
    """Return which modules a whole fit imports, in their order."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        # from here on nothing returns
        code = 1
        try:
            os.close(read)
            before = set(sys.modules)
            spare = memfd.empty("rehearsal")
            with open(spare, "wb", buffering=0, closefd=False) as file:
                child.table().write_ipc(file, compression="uncompressed")
            child.prepare()
            for private in (True, False):
                child.rehearse(f"/proc/self/fd/{spare}", private=private)
            child.tight(0.01, 1.0, 10, 1e-5)
            with open(write, "w") as pipe:
                pipe.write("\n".join(name for name in sys.modules if name not in before))
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    with open(read) as pipe:
        names = pipe.read().split()
    os.waitpid(pid, 0)
    return names


if __name__ == "__main__":
    zygote.main(child.TrainingChild, preload)
