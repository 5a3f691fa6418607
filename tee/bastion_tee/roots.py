"""What is trusted to begin with: vendors' root keys, by the SHA-256 of their public keys (SubjectPublicKeyInfo in DER)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Roots:
    """Root keys. Tests make their own; nothing else may.

    Attributes:
        amd: SHA-256 of the public key of each processor line's ARK, in hexadecimal, by line.
        intel: SHA-256 of the public key of Intel's SGX root CA, in hexadecimal.
        intel_der: a root certificate that stands in for Intel's (tests); empty: dcap-qvl's own, compared with `intel`.
        nitro: SHA-256 of the public key of Amazon's Nitro root, in hexadecimal.
        simulated: Ed25519 public key (32 bytes) of a simulation; None: it is taken as it comes, since it proves nothing.
    """

    amd: Mapping[str, str] = field(default_factory=dict)
    intel: str = ""
    intel_der: bytes = b""
    nitro: str = ""
    simulated: bytes | None = None


@dataclass(frozen=True)
class Collateral:
    """What a verifier has beside the evidence: fetched before, or from its cache. All of it is checked like evidence.

    Attributes:
        certificates: AMD's, in PEM or DER, one or several in each: VCEK or VLEK, ASK or ASVK, ARK.
        crls: AMD's revocation lists, in DER or PEM.
        dcap: JSON of Intel's collateral, as dcap-qvl reads it.
    """

    certificates: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()
    dcap: bytes = b""
