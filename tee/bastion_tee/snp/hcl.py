"""What Azure's confidential machines show: SNP's report within a frame of the firmware there (HCL), and what the report is about.

   32 bytes   "HCLA", versions and sizes: nobody signs them, and nothing here depends on them
1,184 bytes   the report (1,024 of them in a frame of TDX)
   20 bytes   two numbers, kind of report (2: SNP, 4: TDX), kind of digest (1: SHA-256), length of the runtime data; little endian
              runtime data: JSON with the keys of a virtual TPM; what follows means nothing

The firmware asks for the report when the machine starts, and gives it as a file of the virtual TPM. `report_data` is the digest of the
runtime data, then zeros: it holds no number of a client, so nothing binds it to a connection. INVARIANT: evidence of this shape is
never attested (`tee.snp.vtpm`). All else of it is checked, and its claims are shown.

Why a quote of that TPM is not taken instead, which could hold a client's number: AMD's word ends at the firmware. What system was
started stands in the TPM's registers, which change with each kernel and whose log a client would have to judge; and that the TPM's key was
never anybody else's is told by state that is kept outside of what was measured.
"""

from __future__ import annotations

import hashlib
import struct
from base64 import urlsafe_b64decode
from binascii import Error
from dataclasses import dataclass
from typing import Any

import msgspec

from bastion_tee.snp.report import LENGTH
from bastion_tee.verdict import Failure, Refused

MAGIC = b"HCLA"
_START = 32
_FRAME = struct.Struct("<5I")
_DATA = _START + LENGTH + _FRAME.size
_SNP, _TDX, _SHA256 = 2, 4, 1
#: what is shown of a machine's configuration: so many entries, and characters of each
_ENTRIES, _CHARACTERS = 24, 64


class _Key(msgspec.Struct):
    kid: str = ""
    n: str = ""


class _Data(msgspec.Struct):
    keys: list[_Key] = []
    configuration: dict[str, Any] = msgspec.field(name="vm-configuration", default_factory=dict)


@dataclass(frozen=True)
class Runtime:
    """Runtime data of a frame. raw: their bytes."""

    raw: bytes

    def check(self, report_data: bytes) -> list[Failure]:
        """Return what is wrong with evidence of this shape: always something."""
        failures = [] if self._told(report_data) else [Failure("tee.snp.runtime-data")]
        return [*failures, Failure("tee.snp.vtpm")]

    def claims(self, report_data: bytes) -> dict[str, bool | int | str]:
        """Return what the runtime data say, if the report is about them."""
        found: dict[str, bool | int | str] = {"virtual_tpm": True}
        if not self._told(report_data):
            return found
        try:
            data = msgspec.json.decode(self.raw, type=_Data)
            for key in data.keys:
                if key.kid == "HCLAkPub":
                    modulus = urlsafe_b64decode(key.n + "=" * (-len(key.n) % 4))
                    found["vtpm_key"] = hashlib.sha256(modulus).hexdigest()
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, ValueError, Error):
            return found
        for name, value in list(data.configuration.items())[:_ENTRIES]:
            if len(name) <= _CHARACTERS and isinstance(value, bool | int | str) and len(str(value)) <= _CHARACTERS:
                found[f"vm_{name}"] = value
        return found

    def _told(self, report_data: bytes) -> bool:
        return report_data == hashlib.sha256(self.raw).digest() + bytes(32)


def unwrap(raw: bytes) -> tuple[bytes, Runtime | None]:
    """Return the report within a frame, and its runtime data; what is no frame as it is.

    Raises:
        Refused: tee.snp.hcl.
    """
    if not raw.startswith(MAGIC):
        return raw, None
    if len(raw) < _DATA:
        raise Refused("tee.snp.hcl", f"{len(raw)} bytes")
    *_, kind, digest, length = _FRAME.unpack_from(raw, _START + LENGTH)
    if kind != _SNP:
        raise Refused("tee.snp.hcl", "a report of TDX" if kind == _TDX else f"a report of kind {kind}")
    if digest != _SHA256:
        raise Refused("tee.snp.hcl", f"a digest of kind {digest}")
    if length > len(raw) - _DATA:
        raise Refused("tee.snp.hcl", "runtime data that are cut off")
    return raw[_START : _START + LENGTH], Runtime(raw[_DATA : _DATA + length])
