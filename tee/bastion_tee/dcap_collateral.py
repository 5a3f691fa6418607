"""What goes with a quote: certificates, revocation lists and Intel's signed statements, read once, and the dates of all of them.

INVARIANT: `dcap_qvl` gets what was read here, written anew, never the bytes that came: nothing is read twice in two ways.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bastion_tee.verdict import Refused

#: bytes of collateral: real ones have up to 30,000
MAX_COLLATERAL = 1 << 19
#: certificates of a chain: Intel's have two or three
MAX_CHAIN = 4
_UNREADABLE = (ValueError, TypeError, OverflowError, RecursionError, x509.InvalidVersion, UnsupportedAlgorithm)


class _Wire(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """JSON of the collateral, as `dcap_qvl.QuoteCollateralV3` writes it; lists and signatures in hexadecimal."""

    pck_crl_issuer_chain: str
    root_ca_crl: str
    pck_crl: str
    tcb_info_issuer_chain: str
    tcb_info: str
    tcb_info_signature: str
    qe_identity_issuer_chain: str
    qe_identity: str
    qe_identity_signature: str
    pck_certificate_chain: str | None = None


class _Dated(msgspec.Struct, rename="camel"):
    """Dates of one of Intel's signed statements."""

    issue_date: datetime
    next_update: datetime


@dataclass(frozen=True)
class Window:
    """Seconds since 1970 between which something holds; the end is outside."""

    not_before: float = 0.0
    not_after: float = float("inf")

    def within(self, not_before: datetime, not_after: datetime) -> Window:
        """Return the part of the window that lies in another one."""
        return replace(
            self,
            not_before=max(self.not_before, not_before.timestamp()),
            not_after=min(self.not_after, not_after.timestamp()),
        )


@dataclass(frozen=True)
class Read:
    """Collateral that was read.

    Attributes:
        json: for `dcap_qvl`, with the quote's own certificates in it.
        window: when all of its certificates, lists and statements hold.
        roots: SHA-256 of the public key that each of its chains ends in, in hexadecimal.
        root_point: the public key that the quote's chain ends in, as its BIT STRING has it.
    """

    json: str
    window: Window
    roots: frozenset[str]
    root_point: bytes


def read(data: bytes, quote_chain: bytes | None) -> Read:
    """Return what collateral holds.

    Args:
        data: JSON.
        quote_chain: PEM of the certificates within the quote. They count, where there are any: only quotes with an encrypted name
            of the platform have none, and their collateral brings them.

    Raises:
        Refused: tee.dcap.collateral; tee.dcap.root for a chain that does not end in a certificate of its own issuing.
    """
    if not 0 < len(data) <= MAX_COLLATERAL:
        raise Refused("tee.dcap.collateral", "missing" if not data else f"{len(data)} bytes")
    try:
        wire = msgspec.json.decode(data, type=_Wire)
        own = quote_chain if quote_chain is not None else (wire.pck_certificate_chain or "").encode()
        pck = _chain(own)
        tcb, identity = _chain(wire.tcb_info_issuer_chain.encode()), _chain(wire.qe_identity_issuer_chain.encode())
        lists = _chain(wire.pck_crl_issuer_chain.encode())
        chains = (pck, tcb, identity, lists)
        for root in {chain[-1].fingerprint: chain[-1] for chain in chains}.values():
            _check_own(root.found)
        window = Window()
        for certificate in {c.fingerprint: c for c in _each(chains)}.values():
            window = window.within(certificate.not_before, certificate.not_after)
        for crl in (wire.root_ca_crl, wire.pck_crl):
            found = x509.load_der_x509_crl(bytes.fromhex(crl))
            # a list without an end would never go stale
            if found.next_update_utc is None:
                raise Refused("tee.dcap.collateral", "a revocation list without an end")
            window = window.within(found.last_update_utc, found.next_update_utc)
        for statement in (wire.tcb_info, wire.qe_identity):
            dated = msgspec.json.decode(statement, type=_Dated)
            # a date without a zone would be read in this machine's
            if dated.issue_date.tzinfo is None or dated.next_update.tzinfo is None:
                raise Refused("tee.dcap.collateral", "a date without a zone")
            window = window.within(dated.issue_date, dated.next_update)
        wire.pck_certificate_chain = _text(pck)
        wire.tcb_info_issuer_chain, wire.qe_identity_issuer_chain = _text(tcb), _text(identity)
        wire.pck_crl_issuer_chain = _text(lists)
        text = msgspec.json.encode(wire).decode()
    except (*_UNREADABLE, Warning):  # of what will be an error some day
        raise Refused("tee.dcap.collateral", "unreadable") from None
    return Read(text, window, frozenset(chain[-1].key for chain in chains), pck[-1].point)


@dataclass(frozen=True)
class _Certificate:
    """What counts of a certificate here."""

    found: x509.Certificate
    pem: str
    fingerprint: bytes
    key: str
    point: bytes
    not_before: datetime
    not_after: datetime


def _chain(pem: bytes) -> list[_Certificate]:
    """Return a chain, leaf first."""
    if not 2 <= pem.count(b"-----BEGIN ") <= MAX_CHAIN:
        raise Refused("tee.dcap.collateral", "a chain has two to four certificates")
    return [_certificate(c) for c in x509.load_pem_x509_certificates(pem)]


def _certificate(found: x509.Certificate) -> _Certificate:
    key = found.public_key()
    return _Certificate(
        found,
        found.public_bytes(Encoding.PEM).decode(),
        hashlib.sha256(found.public_bytes(Encoding.DER)).digest(),
        hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest(),
        key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
        found.not_valid_before_utc,
        found.not_valid_after_utc,
    )


def _check_own(root: x509.Certificate) -> None:
    """Refuse what is signed by another key: `dcap_qvl` takes its own root in its place, and does not look at this one."""
    try:
        root.verify_directly_issued_by(root)
    except (*_UNREADABLE, InvalidSignature):
        raise Refused("tee.dcap.root", "not signed by itself") from None


def _each(chains: Iterable[list[_Certificate]]) -> Iterable[_Certificate]:
    return (certificate for chain in chains for certificate in chain)


def _text(chain: list[_Certificate]) -> str:
    return "".join(certificate.pem for certificate in chain)


def utc(seconds: float) -> str:
    """Return a time as people read it, for a detail of a failure."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
