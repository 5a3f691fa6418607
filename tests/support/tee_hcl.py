"""What Azure's virtual TPM gives, of the tests' own making: a report of the tests' AMD in the frame that the firmware there puts around it."""

from __future__ import annotations

import hashlib
import json
import struct
from base64 import urlsafe_b64encode
from typing import Any

from tee_snp import MILAN

HCL_KEY = bytes(range(256))
#: runtime data of Azure's firmware
RUNTIME: dict[str, Any] = {
    "keys": [
        {"kid": "HCLEkPub", "kty": "RSA", "e": "AQAB", "n": "AAAA"},
        {"kid": "HCLAkPub", "kty": "RSA", "e": "AQAB", "n": urlsafe_b64encode(HCL_KEY).decode().rstrip("=")},
    ],
    "vm-configuration": {"secure-boot": True, "vmUniqueId": "0F", "tpm": {"deep": 1}, "long": "x" * 65, "n" * 65: 1},
    "user-data": "00" * 64,
}


def frame(
    runtime: bytes | None = None, *, about: bytes | None = None, kind: int = 2, digest: int = 1, length: int | None = None, tail: int = 700,
    **report: Any,
) -> bytes:  # fmt: skip
    """A frame, in a file of the TPM that is longer than it. about: what the report is about, if not the runtime data."""
    runtime = json.dumps(RUNTIME).encode() if runtime is None else runtime
    about = hashlib.sha256(runtime).digest() if about is None else about
    head = b"HCLA" + struct.pack("<IIII", 2, 1184, 1, 0) + bytes(12)
    size = len(runtime) if length is None else length
    told = struct.pack("<5I", 20 + len(runtime), 1, kind, digest, size)
    return head + MILAN.report(about, **report) + told + runtime + bytes(tail)
