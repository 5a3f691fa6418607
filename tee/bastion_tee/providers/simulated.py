"""A source of evidence that proves nothing: for trials, notebooks and tests on machines without the hardware."""

from __future__ import annotations

import hashlib
import importlib.util
import struct
from collections.abc import Iterable
from pathlib import Path

from nacl.signing import SigningKey

from bastion_tee import simulated
from bastion_tee.evidence import Evidence
from bastion_tee.providers.base import BOOT_ID, boot_id, check_asked

SOURCE = "simulated"
#: what runs in a server
PACKAGES = ("bastion_plan", "bastion_policy", "bastion_wire", "bastion_tee", "bastion_server")


class SimulatedProvider:
    """Evidence that is marked UNATTESTED, signed by a key of its own.

    Args:
        key: Ed25519; None: a new one, which is forgotten with this object.
        measurement: 48 bytes; None: of the installed code (`code_measurement`).
        boot: where the kernel's boot id is.

    Attributes:
        public_key: 32 bytes, for `Roots.simulated`.
    """

    name = platform = SOURCE

    def __init__(
        self, key: SigningKey | None = None, measurement: bytes | None = None, *, boot: Path = BOOT_ID
    ) -> None:
        self._key = key or SigningKey.generate()
        self._measurement = code_measurement() if measurement is None else measurement
        self._boot = boot
        self.public_key = bytes(self._key.verify_key)

    def evidence(self, report_data: bytes) -> Evidence:
        """Return evidence about 64 bytes. See `base.Provider`."""
        check_asked(report_data, SOURCE)
        report = simulated.sign(self._key, self._measurement, report_data)
        return Evidence(SOURCE, report, boot=boot_id(self._boot))


def code_measurement(packages: Iterable[str] = PACKAGES) -> bytes:
    """Return a SHA-384 of the files of installed packages: names and contents, each with its length before it.

    It stands in for a launch measurement: another version of the code has another. Packages that are not installed count as
    such; compiled files, which come and go, do not count. The server says it of itself, so it proves nothing.
    """
    digest = hashlib.sha384()
    for package in packages:
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            root = Path(place)
            for path in sorted(root.rglob("*"), key=lambda path: path.relative_to(root).parts):
                if path.is_file() and "__pycache__" not in path.parts:
                    name = (package, *path.relative_to(root).parts)
                    for part in ("/".join(name).encode(), path.read_bytes()):
                        digest.update(struct.pack(">Q", len(part)) + part)
    return digest.digest()
