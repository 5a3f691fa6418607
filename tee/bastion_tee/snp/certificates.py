"""AMD's certificates: read strictly, in the one form that AMD gives them.

ARK (root) and ASK (for VCEKs) or ASVK (for VLEKs) have RSA keys of 4,096 bits; VCEK and VLEK have P-384 keys and tell in extensions
of which product, security versions and chip (VCEK) or cloud provider (VLEK) they are. All are signed with RSA-PSS, SHA-384, MGF1
with SHA-384, 48 bytes of salt. Source: 57230 (see `tcb`), and the certificates themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import load_der_public_key

from bastion_tee.snp import tcb
from bastion_tee.snp.der import BIT_STRING, OCTET_STRING, SEQUENCE, SET, STRINGS, DerError, Reader, extensions
from bastion_tee.verdict import Refused


def _algorithms() -> frozenset[bytes]:
    """Return the ways to write RSA-PSS with SHA-384, MGF1 with SHA-384 and 48 bytes of salt.

    RFC 4055, 2.1: who names SHA-384 may write NULL behind it or nothing. The trailer field has only its default value, which DER
    leaves out; most of AMD's certificates have it, the newest have not. Every way says the same.
    """
    sha384 = [bytes.fromhex("300d06096086480165030402020500"), bytes.fromhex("300b0609608648016503040202")]
    found = set()
    for digest, masked, trailer in product(sha384, sha384, (b"", bytes.fromhex("a303020101"))):
        mask = _sequence(bytes.fromhex("06092a864886f70d010108") + masked)
        named = b"\xa0" + bytes([len(digest)]) + digest + b"\xa1" + bytes([len(mask)]) + mask
        found.add(
            _sequence(
                bytes.fromhex("06092a864886f70d01010a") + _sequence(named + bytes.fromhex("a203020130") + trailer)
            )
        )
    return frozenset(found)


def _sequence(content: bytes) -> bytes:
    return bytes([SEQUENCE, len(content)]) + content


ALGORITHMS = _algorithms()
#: what a public key's bytes begin with, so that no other kind or size of key is ever loaded
RSA_4096 = bytes.fromhex("30820222300d06092a864886f70d01010105000382020f003082020a0282020100")
RSA_END = bytes.fromhex("0203010001")
P384 = bytes.fromhex("3076301006072a8648ce3d020106052b8104002203620004")

_AMD = "1.3.6.1.4.1.3704.1."
PRODUCT, HWID, CSP = _AMD + "2", _AMD + "4", _AMD + "5"
_KEY_USAGE, _CONSTRAINTS = "2.5.29.15", "2.5.29.19"
_COMMON_NAME = "2.5.4.3"


@dataclass(frozen=True)
class Certificate:
    """A certificate that has been read, but whose signature nobody looked at yet.

    Attributes:
        signed: the bytes that the signature is over. spki: SubjectPublicKeyInfo.
        above, name: common names of issuer and subject. What else AMD writes there (places) is the same in all.
        extensions: whether critical, and value, by object identifier.
    """

    signed: bytes
    signature: bytes
    serial: int
    above: str
    name: str
    not_before: float
    not_after: float
    spki: bytes
    extensions: Mapping[str, tuple[bool, bytes]]

    @classmethod
    def read(cls, der: bytes) -> Certificate:
        """Return the certificate of DER.

        Raises:
            Refused: tee.snp.certificates where it cannot be read, tee.snp.certificate where it is not of AMD's form.
        """
        try:
            return _read(der)
        except (DerError, UnicodeDecodeError):
            raise Refused("tee.snp.certificates", "a certificate cannot be read") from None

    def rsa_key(self) -> rsa.RSAPublicKey:
        """Return the key of an authority.

        Raises:
            Refused: tee.snp.certificate, where it is none that may sign certificates.
        """
        # INVARIANT: what signs certificates says that it may: else a chip's key could make certificates of other chips
        try:
            constraints = Reader(self._extension(_CONSTRAINTS)).inner(SEQUENCE)
            may = constraints.true()
            # how many may follow is no matter: a chain has three certificates, whatever they say
            if constraints.more:
                constraints.integer()
            constraints.end()
            usage = Reader(self._extension(_KEY_USAGE))
            bits = usage.content(BIT_STRING)
            usage.end()
        except DerError:
            raise self._wrong("constraints") from None
        # the first byte of a bit string counts its unused bits; keyCertSign is bit 5 from the left
        if not may or len(bits) < 2 or not bits[1] & 0x04:
            raise self._wrong("it may not sign certificates")
        if len(self.spki) != len(RSA_4096) + 512 + 5 or not self.spki.startswith(RSA_4096) or self.spki[-5:] != RSA_END:
            raise self._wrong("its key")
        key = _load(self.spki)
        if not isinstance(key, rsa.RSAPublicKey):
            raise self._wrong("its key")
        return key

    def ec_key(self) -> ec.EllipticCurvePublicKey:
        """Return the key of a chip or a cloud provider.

        Raises:
            Refused: tee.snp.certificate, where it is none on P-384.
        """
        if _CONSTRAINTS in self.extensions:
            raise self._wrong("constraints")
        if len(self.spki) != len(P384) + 96 or not self.spki.startswith(P384):
            raise self._wrong("its key")
        key = _load(self.spki)
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise self._wrong("its key")
        return key

    def endorsement(self, line: str) -> Endorsement:
        """Return what a VCEK or VLEK says of itself, read for a processor line.

        Raises:
            Refused: tee.snp.certificate, where what it must say is missing, or not of its form.
        """
        try:
            name = _text(self._extension(PRODUCT))
            spl = {
                name: _number(self.extensions[oid][1]) for name, oid in tcb.EXTENSIONS.items() if oid in self.extensions
            }
            hwid = _bytes(self.extensions[HWID][1], tcb.CHIP[line]) if HWID in self.extensions else None
            provider = _text(self.extensions[CSP][1]) if CSP in self.extensions else None
        except (DerError, UnicodeDecodeError):
            raise self._wrong("extensions") from None
        return Endorsement(name, spl, hwid, provider)

    def _extension(self, oid: str) -> bytes:
        if oid not in self.extensions:
            raise self._wrong("an extension is missing")
        return self.extensions[oid][1]

    def _wrong(self, what: str) -> Refused:
        return Refused("tee.snp.certificate", f"{self.name}: {what}")


@dataclass(frozen=True)
class Endorsement:
    """What a VCEK or VLEK says of itself: product, security versions by part, chip (VCEK), cloud provider (VLEK)."""

    product: str
    spl: Mapping[str, int]
    hwid: bytes | None
    provider: str | None


def signed_by(key: rsa.RSAPublicKey, signed: bytes, signature: bytes) -> bool:
    """Return whether AMD's form of signature over bytes is right."""
    try:
        key.verify(signature, signed, padding.PSS(padding.MGF1(SHA384()), 48), SHA384())
    except InvalidSignature:
        return False
    return True


def split(der: bytes) -> tuple[bytes, Reader, bytes, bytes]:
    """Return what is signed, a reader of it, the outer algorithm and the signature: certificates and revocation lists are alike there.

    Raises:
        DerError: it cannot be read. Refused: tee.snp.certificate, of an algorithm that is not AMD's.
    """
    outer = Reader(der)
    parts = outer.inner(SEQUENCE)
    outer.end()
    content, signed = parts.element(SEQUENCE)
    algorithm = parts.whole(SEQUENCE)
    # INVARIANT: the outer algorithm is not signed: who reads on compares the inner one, to the byte, else it could be changed.
    # The count of unused bits of the signature is not signed either: it is 0.
    if algorithm not in ALGORITHMS:
        raise Refused("tee.snp.certificate", "its algorithm")
    signature = parts.bits()
    parts.end()
    return signed, Reader(content), algorithm, signature


def _read(der: bytes) -> Certificate:
    signed, fields, algorithm, signature = split(der)
    version = fields.inner(0xA0)
    if version.integer() != 2:
        raise Refused("tee.snp.certificate", "its version")
    version.end()
    serial = fields.integer()
    if fields.whole(SEQUENCE) != algorithm:
        raise Refused("tee.snp.certificate", "two algorithms")
    above = common_name(fields.inner(SEQUENCE))
    dates = fields.inner(SEQUENCE)
    not_before, not_after = dates.time(), dates.time()
    dates.end()
    name = common_name(fields.inner(SEQUENCE))
    spki = fields.whole(SEQUENCE)
    wrapped = fields.inner(0xA3)
    found = extensions(wrapped.inner(SEQUENCE))
    wrapped.end()
    fields.end()
    unknown = [oid for oid, (critical, _) in found.items() if critical and oid not in (_KEY_USAGE, _CONSTRAINTS)]
    if unknown:
        raise Refused("tee.snp.certificate", f"{name}: an extension that is not known")
    return Certificate(signed, signature, serial, above, name, not_before, not_after, spki, found)


def common_name(reader: Reader) -> str:
    """Return the only common name of a name."""
    found = []
    while reader.more:
        pairs = reader.inner(SET)
        pair = pairs.inner(SEQUENCE)
        pairs.end()
        kind, value = pair.oid(), pair.content(*STRINGS)
        pair.end()
        if kind == _COMMON_NAME:
            found.append(_printable(value))
    if len(found) != 1:
        raise DerError
    return found[0]


def _printable(value: bytes) -> str:
    """Return a short text that can be shown: it goes into what a client is told, also where nobody has signed it."""
    text = value.decode("ascii")
    if len(text) > 128 or not text.isprintable():
        raise DerError
    return text


def _load(spki: bytes) -> object:
    try:
        return load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm):  # no point of the curve, say
        return None


def _text(value: bytes) -> str:
    reader = Reader(value)
    text = _printable(reader.content(*STRINGS))
    reader.end()
    return text


def _number(value: bytes) -> int:
    reader = Reader(value)
    number = reader.integer()
    reader.end()
    if number > 255:
        raise DerError
    return number


def _bytes(value: bytes, length: int) -> bytes:
    """Return a value that AMD writes as it is; an OCTET STRING around it would be right, and is as good."""
    if len(value) == length:
        return value
    reader = Reader(value)
    content = reader.content(OCTET_STRING)
    reader.end()
    if len(content) != length:
        raise DerError
    return content
