"""Evidence and channel belong together: what a guest puts into `report_data`, and what a client compares it with."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

_TAG = b"bastionlab.report-data.1"
NONCE = 32  #: bytes of a client's nonce


@dataclass(frozen=True)
class Binding:
    """What evidence is bound to.

    Attributes:
        nonce: the client's, fresh for each piece of evidence (32 bytes).
        curve_key: the server's CURVE public key as its socket shows it (40 Z85 characters).
        exchange_key: the X25519 public key that dataset keys are sealed to (32 bytes).
        audit_key: the Ed25519 public key that signs checkpoints of the audit log (32 bytes).
        config: SHA-256 of the server's configuration as `config_digest` makes it (32 bytes).
    """

    nonce: bytes
    curve_key: str
    exchange_key: bytes
    audit_key: bytes
    config: bytes

    def report_data(self) -> bytes:
        """Return the 64 bytes: SHA-512 over a version tag and the parts, each with its length before it.

        INVARIANT: two different bindings have different input: every part is preceded by its length.

        >>> Binding(b"n" * 32, "k" * 40, b"x" * 32, b"a" * 32, b"c" * 32).report_data().hex()[:16]
        'fc12db5c17c35dd4'
        """
        parts = (self.nonce, self.curve_key.encode(), self.exchange_key, self.audit_key, self.config)
        return hashlib.sha512(_TAG + b"".join(struct.pack(">I", len(part)) + part for part in parts)).digest()


def config_digest(facts: dict[str, str]) -> bytes:
    """Return the SHA-256 of a configuration: names and values in the order of the names, each with its length."""
    parts = [piece.encode() for name in sorted(facts) for piece in (name, facts[name])]
    return hashlib.sha256(b"".join(struct.pack(">I", len(part)) + part for part in parts)).digest()
