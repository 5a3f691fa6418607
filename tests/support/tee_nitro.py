"""An Amazon that is not Amazon: a root, the authorities below it, and documents of enclaves.

    world = Nitro()
    Evidence("nitro", world.document(user_data=bytes(64))), world.roots

What a test makes wrong is an argument. Times are seconds since 1970; all holds from `START` to `END`.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import cbor2
from bastion_tee.roots import Roots
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

START, END = 1_790_000_000, 1_790_010_000
NOW = 1_790_005_000.0
NAMES = ("root", "region", "zone", "instance", "enclave")
PCRS = {index: bytes([index + 1]) * 48 if index < 3 else bytes(48) for index in range(16)}
PROTECTED = bytes.fromhex("a1013822")


@functools.cache
def key(name: str, curve: type[ec.EllipticCurve] = ec.SECP384R1) -> ec.EllipticCurvePrivateKey:
    """One key by name, made once."""
    return ec.generate_private_key(curve())


def utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@dataclass
class Nitro:
    """A root and all below it.

    Attributes:
        tag: tells the keys of one from those of another.
        since, until: names of certificates -> other dates.
        other: names of certificates -> what is otherwise: `ca`, `length`, `usage` (certificates, signatures), `curve`, `digest`, `extra`.
    """

    tag: str = ""
    since: dict[str, float] = field(default_factory=dict)
    until: dict[str, float] = field(default_factory=dict)
    other: dict[str, dict[str, Any]] = field(default_factory=dict)

    def key(self, name: str) -> ec.EllipticCurvePrivateKey:
        return key(self.tag + name, self.other.get(name, {}).get("curve", ec.SECP384R1))

    @functools.cached_property
    def certificates(self) -> dict[str, bytes]:
        """Certificates by name, in DER."""
        issuers = dict(zip(NAMES, ("root", *NAMES), strict=False))
        return {name: self.certificate(name, issuers[name]) for name in NAMES}

    def certificate(self, name: str, issuer: str) -> bytes:
        """Return one certificate."""
        other = self.other.get(name, {})
        ca = other.get("ca", name != "enclave")
        length = other.get("length", {"region": 2, "zone": 1, "instance": 0}.get(name)) if ca else None
        certificates, signatures = other.get("usage", (ca, not ca))
        rest = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign", "encipher_only", "decipher_only")  # fmt: skip
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(self.tag + name))
            .issuer_name(_name(self.tag + issuer))
            .public_key(self.key(name).public_key())
            .serial_number(7)
            .not_valid_before(utc(self.since.get(name, START)))
            .not_valid_after(utc(self.until.get(name, END)))
        )
        if "no-constraints" not in other:
            builder = builder.add_extension(x509.BasicConstraints(ca, length), True)
        if "no-usage" not in other:
            usage = x509.KeyUsage(signatures, key_cert_sign=certificates, **dict.fromkeys(rest, False))
            builder = builder.add_extension(usage, True)
        if "extra" in other:
            builder = builder.add_extension(
                x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"x"), other["extra"]
            )
        signer = self.key(other.get("signer", issuer))
        return builder.sign(signer, other.get("digest", hashes.SHA384())).public_bytes(Encoding.DER)

    def fields(self, user_data: bytes | None = bytes(64), **other: Any) -> dict[str, Any]:
        """Return a document's fields; `other` ones in their place, without those that are `...`."""
        chain = [self.certificates[name] for name in NAMES]
        made = {
            "module_id": "i-0123456789abcdef0-enc0123456789abcdef",
            "digest": "SHA384",
            "timestamp": int(NOW * 1000),
            "pcrs": PCRS,
            "certificate": chain[-1],
            "cabundle": chain[:-1],
            "public_key": None,
            "user_data": user_data,
            "nonce": None,
        } | other
        return {name: value for name, value in made.items() if value is not ...}

    def document(
        self,
        user_data: bytes | None = bytes(64),
        *,
        payload: bytes | None = None,
        protected: bytes = PROTECTED,
        signer: str = "enclave",
        signature: bytes | None = None,
        tagged: bool = False,
        frame: list[Any] | None = None,
        **fields: Any,
    ) -> bytes:
        """Return a document.

        Args:
            user_data: what it is about. fields: others of the payload (`fields`).
            payload: the whole of it. protected: the header. signer: whose key signs. signature: another.
            tagged: whether its tag stands before it. frame: the four parts.
        """
        payload = payload if payload is not None else cbor2.dumps(self.fields(user_data, **fields))
        if signature is None:
            signed = cbor2.dumps(["Signature1", protected, b"", payload])
            r, s = decode_dss_signature(self.key(signer).sign(signed, ec.ECDSA(hashes.SHA384())))
            size = (self.key(signer).curve.key_size + 7) // 8
            signature = r.to_bytes(size, "big") + s.to_bytes(size, "big")
        parts = frame if frame is not None else [protected, {}, payload, signature]
        return (b"\xd2" if tagged else b"") + cbor2.dumps(parts)

    @property
    def roots(self) -> Roots:
        """What to trust: this root."""
        spki = self.key("root").public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return Roots(nitro=hashlib.sha256(spki).hexdigest())


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{name}.test.nitro-enclaves")])
