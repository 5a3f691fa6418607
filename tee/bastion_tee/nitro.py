"""AWS Nitro enclaves: a document that the hypervisor signs (COSE_Sign1, ES384), with its certificates.

The form is Amazon's (nsm-api, docs/attestation_process.md, 2.2 and 3.2). Amazon's certificates live for hours, so there are no revocation
lists to look at: the dates are what ends a key.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Any

import cbor2
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import SignatureAlgorithmOID

from bastion_tee import cbor
from bastion_tee.evidence import Evidence
from bastion_tee.policy import PlatformPolicy
from bastion_tee.roots import Collateral, Roots
from bastion_tee.verdict import Claims, Failure, Refused

#: bytes of a payload; of a document: with its frame
MAX_PAYLOAD = 1 << 14
MAX_DOCUMENT = MAX_PAYLOAD + 256
#: certificates above the enclave's own: Amazon's are four
MAX_BUNDLE = 8
#: bytes of a certificate
MAX_CERTIFICATE = 1024

#: {1: -35}, which is ES384, and nothing else
_PROTECTED = bytes.fromhex("a1013822")
_NEEDED = {"module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"}
#: fields that may be there -> least and most bytes
_OPTIONAL = {"public_key": (1, 1024), "user_data": (0, 512), "nonce": (0, 512)}
_REGISTER_SIZES = (32, 48, 64)
#: extensions whose meaning is known here; another that is critical is a refusal
_KNOWN = (x509.BasicConstraints.oid, x509.KeyUsage.oid)
_UNREADABLE = (
    ValueError, TypeError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, UnsupportedAlgorithm, Warning,
)  # fmt: skip


def check(
    evidence: Evidence, asked: PlatformPolicy, now: float, collateral: Collateral, roots: Roots
) -> tuple[Claims, list[Failure]]:
    """Check a document: what it says, and which checks failed.

    Raises:
        Refused: tee.nitro.*: nothing of the document is to be believed.
    """
    payload, signature = _frame(evidence.report)
    fields = _fields(payload)
    chain = [_certificate(der) for der in [*fields["cabundle"], fields["certificate"]]]
    _check_root(chain[0], roots.nitro)
    _check_chain(chain)
    _check_signature(chain[-1], payload, signature)
    # all are signed by now, so the dates are Amazon's
    not_before = max(c.not_valid_before_utc.timestamp() for c in chain)
    not_after = min(c.not_valid_after_utc.timestamp() for c in chain)
    failures = []
    if not not_before <= now <= not_after:  # nor where `now` is no number
        failures.append(Failure("tee.nitro.dates"))
    return _claims(fields, not_before, not_after), failures


def _frame(document: bytes) -> tuple[bytes, bytes]:
    """Return the payload and the signature of a COSE_Sign1, tagged or not."""
    if len(document) > MAX_DOCUMENT:
        raise Refused("tee.nitro.document", f"{len(document)} bytes")
    try:
        parts = cbor.read(document, cbor.SIGN1)
    except cbor.Malformed:
        raise Refused("tee.nitro.document") from None
    match parts:
        case [bytes() as protected, {**unprotected}, bytes() as payload, bytes() as signature] if not unprotected:
            pass
        case _:
            raise Refused("tee.nitro.document", "no COSE_Sign1")
    if protected != _PROTECTED or len(signature) != 96:
        raise Refused("tee.nitro.algorithm")
    if not 0 < len(payload) <= MAX_PAYLOAD:
        raise Refused("tee.nitro.document", f"a payload of {len(payload)} bytes")
    return payload, signature


def _fields(payload: bytes) -> dict[str, Any]:
    """Return the fields of a payload, each of its form."""
    try:
        fields = cbor.read(payload)
    except cbor.Malformed:
        raise Refused("tee.nitro.document", "the payload cannot be read") from None
    if not isinstance(fields, dict) or not _NEEDED <= fields.keys() <= _NEEDED | _OPTIONAL.keys():
        raise Refused("tee.nitro.fields", "other fields")
    pcrs, bundle, stamp = fields["pcrs"], fields["cabundle"], fields["timestamp"]
    right = {
        "module_id": isinstance(fields["module_id"], str) and fields["module_id"] != "",
        "digest": fields["digest"] == "SHA384",
        "timestamp": type(stamp) is int and stamp > 0,
        "pcrs": isinstance(pcrs, dict) and all(map(_is_register, pcrs.items())) and {0, 1, 2} <= pcrs.keys(),
        "certificate": _is_bytes(fields["certificate"], 1, MAX_CERTIFICATE),
        "cabundle": isinstance(bundle, list)
        and 0 < len(bundle) <= MAX_BUNDLE
        and all(_is_bytes(one, 1, MAX_CERTIFICATE) for one in bundle),
    }
    for name, (least, most) in _OPTIONAL.items():
        # Amazon's own writer puts null where there is nothing
        right[name] = fields.get(name) is None or _is_bytes(fields[name], least, most)
    for name, fits in right.items():
        if not fits:
            raise Refused("tee.nitro.fields", name)
    return fields


def _is_bytes(value: object, least: int, most: int) -> bool:
    return isinstance(value, bytes) and least <= len(value) <= most


def _is_register(item: tuple[Any, Any]) -> bool:
    index, value = item
    return isinstance(index, int) and 0 <= index < 32 and isinstance(value, bytes) and len(value) in _REGISTER_SIZES


def _certificate(der: bytes) -> x509.Certificate:
    """Return a certificate of the form that Amazon gives: P-384 and SHA-384, and nothing critical that is not known here."""
    try:
        found = x509.load_der_x509_certificate(der)
        key, extensions = found.public_key(), found.extensions
        fits = (
            isinstance(key, ec.EllipticCurvePublicKey)
            and isinstance(key.curve, ec.SECP384R1)
            and found.version is x509.Version.v3
            and found.signature_algorithm_oid == SignatureAlgorithmOID.ECDSA_WITH_SHA384
            # INVARIANT: no other bytes mean the same certificate. The library reads DER strictly, but lets bits at the signature's end
            # be unused where they are zero
            and der.endswith(b"\x00" + found.signature)
            and all(e.oid in _KNOWN or not e.critical for e in extensions)
        )
        extensions.get_extension_for_class(x509.KeyUsage)
        extensions.get_extension_for_class(x509.BasicConstraints)
    except (*_UNREADABLE, x509.ExtensionNotFound):
        raise Refused("tee.nitro.certificate") from None
    if not fits:
        raise Refused("tee.nitro.certificate")
    return found


def _check_root(root: x509.Certificate, pinned: str) -> None:
    """Refuse another root: what is pinned is its key, and by its own signature all else that it says is of that key."""
    spki = root.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if hashlib.sha256(spki).hexdigest() != pinned:
        raise Refused("tee.nitro.root")
    _check_issued(root, root)


def _check_chain(chain: list[x509.Certificate]) -> None:
    """Refuse a chain, root first, that does not hold: signatures and names, who may sign for others, and how long it may be."""
    for place, (issuer, certificate) in enumerate(pairwise(chain)):
        limits = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
        # certificates of authorities between this one and the last of the chain
        between = len(chain) - place - 2
        if not (limits.ca and usage.key_cert_sign) or (limits.path_length is not None and limits.path_length < between):
            raise Refused("tee.nitro.certificate", "it may not sign others")
        _check_issued(certificate, issuer)
    last = chain[-1].extensions
    authority = last.get_extension_for_class(x509.BasicConstraints).value.ca
    if authority or not last.get_extension_for_class(x509.KeyUsage).value.digital_signature:
        raise Refused("tee.nitro.certificate", "it may not sign documents")


def _check_issued(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    """Refuse a certificate whose issuer is another. The outer algorithm must be the inner one, which the library looks at."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (*_UNREADABLE, InvalidSignature):
        raise Refused("tee.nitro.chain") from None


def _check_signature(leaf: x509.Certificate, payload: bytes, signature: bytes) -> None:
    key = leaf.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)  # `_certificate` looked
    # Sig_structure of RFC 9052, 4.4, with no data from outside
    signed = cbor2.dumps(["Signature1", _PROTECTED, b"", payload])
    r, s = int.from_bytes(signature[:48], "big"), int.from_bytes(signature[48:], "big")
    try:
        key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA384()))
    except InvalidSignature:
        raise Refused("tee.nitro.signature") from None


def _claims(fields: dict[str, Any], not_before: float, not_after: float) -> Claims:
    pcrs: dict[int, bytes] = fields["pcrs"]
    return Claims(
        platform="nitro",
        measurement=pcrs[0].hex(),
        measurements={f"pcr{index}": pcrs[index].hex() for index in sorted(pcrs)},
        report_data=fields.get("user_data") or b"",
        # started with --debug-mode, an enclave's image is not measured
        debug=not all(any(pcrs[index]) for index in range(3)),
        flags={"module_id": fields["module_id"]},
        signed_at=fields["timestamp"] / 1000,
        not_before=not_before,
        not_after=not_after,
    )
