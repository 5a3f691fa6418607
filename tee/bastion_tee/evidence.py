"""What a server shows: the platform's own bytes, and the certificates and collateral that go with them."""

from __future__ import annotations

import hashlib

import msgspec

from bastion_tee.verdict import PLATFORMS, Refused

#: bytes of all that evidence may come to
MAX_EVIDENCE = 1 << 20


class Evidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Evidence as it travels.

    Attributes:
        platform: one of `verdict.PLATFORMS`.
        report: the signed bytes: SNP's attestation report (1,184 bytes), a TDX or SGX quote, Nitro's COSE_Sign1 document, or a simulation's.
        certificates: DER or PEM, or SNP's certificate table (GUID table) as `auxblob` gives it; leaf first; may be empty where the
            verifier has them (`Collateral`).
        collateral: JSON of a TDX or SGX quote's collateral, as dcap-qvl reads it; empty where the verifier has it.
        boot: kernel's boot id of the server, so that a reboot is seen; told by the server, not proved.
    """

    platform: str
    report: bytes
    certificates: tuple[bytes, ...] = ()
    collateral: bytes = b""
    boot: str = ""

    def encode(self) -> bytes:
        """Return the bytes that travel."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> Evidence:
        """Return the evidence of bytes.

        Raises:
            Refused: tee.evidence.size, tee.evidence.format, tee.evidence.platform.
        """
        if len(data) > MAX_EVIDENCE:
            raise Refused("tee.evidence.size", f"{len(data)} bytes")
        try:
            found = msgspec.msgpack.decode(data, type=cls)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise Refused("tee.evidence.format") from None
        if found.platform not in PLATFORMS:
            raise Refused("tee.evidence.platform")
        return found

    @property
    def digest(self) -> bytes:
        """SHA-256 of what was signed, with its platform: the name of this evidence."""
        return hashlib.sha256(self.platform.encode() + b"\0" + self.report).digest()
