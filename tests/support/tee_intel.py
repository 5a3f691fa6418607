"""A platform of Intel's that is not Intel's: a root, its certificates and lists, statements, and quotes of versions 3, 4 and 5.

    world = Intel()
    quote, collateral = world.quote("tdx", report_data=bytes(64)), world.collateral()
    Evidence("tdx", quote, collateral=collateral), world.roots

What a test makes wrong is an argument of the part that is wrong: `Intel(revoked=["pck"])`, `world.quote(..., td_attributes=...)`.
Times are seconds since 1970; all holds from `START` to `END`.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bastion_tee.roots import Roots
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

START, END = 1_790_000_000, 1_792_000_000
NOW = 1_791_000_000.0
FMSPC = bytes.fromhex("b0c06f000000")
CPU_SVN = bytes([3, 3, 2, 2, 4, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0])
PCE_SVN = 11
VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
QE_SIGNER = bytes.fromhex("dc9e2a7c6f948f17474e34a7fc43ed030f7c1563f1babddf6340c82e0e54a8c5")
SEPT_VE_DISABLE = (1 << 28).to_bytes(8, "little")
_SHA = hashes.SHA256()


def utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def rfc(seconds: float) -> str:
    return utc(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


@functools.cache
def key(name: str) -> ec.EllipticCurvePrivateKey:
    """One key by name, made once."""
    return ec.generate_private_key(ec.SECP256R1())


def raw(signer: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """Return a signature as r and s of 32 bytes each."""
    r, s = decode_dss_signature(signer.sign(data, ec.ECDSA(_SHA)))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def point(signer: ec.EllipticCurvePrivateKey) -> bytes:
    return signer.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]


def der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = bytes([len(body)]) if len(body) < 128 else b"\x82" + len(body).to_bytes(2, "big")
    return bytes([tag]) + size + body


def _oid(*tail: int) -> bytes:
    return der(0x06, bytes.fromhex("2a864886f84d010d01") + bytes(tail))


def sgx_extension(flags: dict[str, bool] | None, cpu_svn: bytes = CPU_SVN, fmspc: bytes = FMSPC) -> bytes:
    """Return Intel's extension of a PCK certificate; without flags: of a platform of one package."""
    tcb = [der(0x30, _oid(2, i + 1), der(0x02, bytes([cpu_svn[i]]))) for i in range(16)]
    tcb += [
        der(0x30, _oid(2, 17), der(0x02, bytes([PCE_SVN]))),
        der(0x30, _oid(2, 18), der(0x04, cpu_svn)),
    ]
    parts = [
        der(0x30, _oid(1), der(0x04, b"\x11" * 16)),
        der(0x30, _oid(2), der(0x30, *tcb)),
        der(0x30, _oid(3), der(0x04, bytes(2))),
        der(0x30, _oid(4), der(0x04, fmspc)),
        der(0x30, _oid(5), der(0x0A, b"\x01")),
    ]
    if flags is not None:
        names = ("dynamic_platform", "cached_keys", "smt")
        config = [der(0x30, _oid(7, i + 1), der(0x01, b"\xff" if flags[n] else b"\x00")) for i, n in enumerate(names)]
        parts += [der(0x30, _oid(6), der(0x04, b"\x22" * 16)), der(0x30, _oid(7), der(0x30, *config))]
    return der(0x30, *parts)


def enclave(
    *,
    attributes: bytes = bytes([5]) + bytes(15),
    enclave: bytes = b"\x33" * 32,
    signer: bytes = b"\x44" * 32,
    product: int = 1,
    svn: int = 8,
    misc: int = 0,
    data: bytes = bytes(64),
) -> bytes:
    """Return an enclave's report: 384 bytes."""
    head = CPU_SVN + struct.pack("<I", misc) + bytes(28) + attributes + enclave + bytes(32) + signer + bytes(96)
    return head + struct.pack("<HH", product, svn) + bytes(60) + data


def td(
    *,
    td_attributes: bytes = SEPT_VE_DISABLE,
    svn: bytes = bytes([6, 1, 3]) + bytes(13),
    seam_signer: bytes = bytes(48),
    seam_attributes: bytes = bytes(8),
    report_data: bytes = bytes(64),
    mrtd: bytes = b"\x55" * 48,
) -> bytes:
    """Return a TD's report of TDX 1.0: 584 bytes. Registers are told apart by their bytes: rtmr0 is 60 60 ..."""
    head = svn + b"\x66" * 48 + seam_signer + seam_attributes + td_attributes + bytes(8) + mrtd
    return head + b"".join(bytes([b]) * 48 for b in (0x70, 0x71, 0x72, 0x60, 0x61, 0x62, 0x63)) + report_data


@dataclass
class Intel:
    """A root and all below it. `revoked`: names of certificates; `until`: names of parts -> other ends."""

    flags: dict[str, bool] | None = field(
        default_factory=lambda: {"dynamic_platform": False, "cached_keys": True, "smt": False}
    )
    revoked: tuple[str, ...] = ()
    status: str = "UpToDate"
    qe_status: str = "UpToDate"
    module_status: str = "UpToDate"
    old_module_status: str = "OutOfDate"
    tag: str = ""
    since: dict[str, float] = field(default_factory=dict)
    until: dict[str, float] = field(default_factory=dict)

    def span(self, name: str) -> tuple[float, float]:
        return self.since.get(name, START), self.until.get(name, END)

    def key(self, name: str) -> ec.EllipticCurvePrivateKey:
        return key(self.tag + name)

    @functools.cached_property
    def certificates(self) -> dict[str, x509.Certificate]:
        """`root`, `ca` of platforms, `pck` of one platform, `tcb` that signs statements."""
        made: dict[str, x509.Certificate] = {}
        for number, (name, issuer, length) in enumerate(
            (("root", "root", 1), ("ca", "root", 0), ("pck", "ca", None), ("tcb", "root", None)), 1
        ):
            made[name] = self._certificate(name, issuer, length, number)
        return made

    def _certificate(self, name: str, issuer: str, length: int | None, number: int) -> x509.Certificate:
        start, end = self.span(name)
        ca = length is not None
        usage = dict.fromkeys(
            (
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(self.tag + name))
            .issuer_name(_name(self.tag + issuer))
            .public_key(self.key(name).public_key())
            .serial_number(number)
            .not_valid_before(utc(start))
            .not_valid_after(utc(end))
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key(issuer).public_key()), False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key(name).public_key()), False)
            .add_extension(x509.KeyUsage(not ca, key_cert_sign=ca, crl_sign=ca, **usage), True)
            .add_extension(x509.BasicConstraints(ca, length), True)
        )
        if name == "pck":
            value = sgx_extension(self.flags)
            builder = builder.add_extension(
                x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.840.113741.1.13.1"), value), False
            )
        return builder.sign(self.key(issuer), _SHA)

    def crl(self, issuer: str, names: tuple[str, ...]) -> bytes:
        """Return a list of what an issuer revoked, in DER."""
        start, end = self.span(f"{issuer}-crl")
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(_name(self.tag + issuer))
            .last_update(utc(start))
            .next_update(utc(end))
            .add_extension(x509.CRLNumber(1), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key(issuer).public_key()), False)
        )
        for name in names:
            if name in self.revoked:
                entry = x509.RevokedCertificateBuilder().serial_number(self.certificates[name].serial_number)
                builder = builder.add_revoked_certificate(entry.revocation_date(utc(start)).build())
        return builder.sign(self.key(issuer), _SHA).public_bytes(Encoding.DER)

    def chain(self, *names: str) -> str:
        """Return certificates as PEM."""
        return "".join(self.certificates[n].public_bytes(Encoding.PEM).decode() for n in names)

    def tcb_info(self, kind: str = "TDX") -> dict[str, Any]:
        """Return Intel's statement of states of this kind of platform."""
        module = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8}
        start, end = self.span("tcb-info")

        def level(cpu: bytes, pce: int, tdx: list[int], state: str, date: str, *advisories: str) -> dict[str, Any]:
            tcb: dict[str, Any] = {"sgxtcbcomponents": [{"svn": n} for n in cpu], "pcesvn": pce}
            if kind == "TDX":
                tcb["tdxtcbcomponents"] = [{"svn": n} for n in tdx + [0] * 13]
            return {"tcb": tcb, "tcbDate": date, "tcbStatus": state, "advisoryIDs": list(advisories)}

        advisories = () if self.status == "UpToDate" else ("INTEL-SA-00001",)
        info: dict[str, Any] = {
            "id": kind, "version": 3, "issueDate": rfc(start), "nextUpdate": rfc(end), "fmspc": FMSPC.hex(),
            "pceId": "0000", "tcbType": 0, "tcbEvaluationDataNumber": 17,
            "tcbLevels": [level(CPU_SVN, PCE_SVN, [5, 0, 2], self.status, "2024-03-13T00:00:00Z", *advisories)],
        }  # fmt: skip
        if kind == "TDX":
            levels = [
                {"tcb": {"isvsvn": 4}, "tcbDate": "2024-03-13T00:00:00Z", "tcbStatus": self.module_status},
                {"tcb": {"isvsvn": 2}, "tcbDate": "2023-08-09T00:00:00Z", "tcbStatus": self.old_module_status},
            ]
            info |= {"tdxModule": module, "tdxModuleIdentities": [module | {"id": "TDX_01", "tcbLevels": levels}]}
        return info

    def qe_identity(self, kind: str = "TDX") -> dict[str, Any]:
        """Return Intel's statement of its quoting enclave."""
        start, end = self.span("qe-identity")
        return {
            "id": "TD_QE" if kind == "TDX" else "QE", "version": 2, "issueDate": rfc(start), "nextUpdate": rfc(end),
            "tcbEvaluationDataNumber": 18, "miscselect": "00000000", "miscselectMask": "FFFFFFFF",
            "attributes": "11000000000000000000000000000000", "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
            "mrsigner": QE_SIGNER.hex(), "isvprodid": 2,
            "tcbLevels": [{"tcb": {"isvsvn": 4}, "tcbDate": "2024-03-13T00:00:00Z", "tcbStatus": self.qe_status}],
        }  # fmt: skip

    def collateral(self, kind: str = "TDX", **other: Any) -> bytes:
        """Return the collateral's JSON.

        Args:
            kind: "TDX" or "SGX".
            other: parts that are other ones: `tcb_info` and `qe_identity` as tables to sign (or text, signed too), all else as it is.
        """
        text = {}
        for name, table in (("tcb_info", self.tcb_info(kind)), ("qe_identity", self.qe_identity(kind))):
            given = other.pop(name, table)
            text[name] = given if isinstance(given, str) else json.dumps(given, separators=(",", ":"))
        made = {
            "pck_crl_issuer_chain": self.chain("ca", "root"),
            "root_ca_crl": self.crl("root", ("ca", "tcb")).hex(),
            "pck_crl": self.crl("ca", ("pck",)).hex(),
            "tcb_info_issuer_chain": self.chain("tcb", "root"),
            "tcb_info": text["tcb_info"],
            "tcb_info_signature": raw(self.key("tcb"), text["tcb_info"].encode()).hex(),
            "qe_identity_issuer_chain": self.chain("tcb", "root"),
            "qe_identity": text["qe_identity"],
            "qe_identity_signature": raw(self.key("tcb"), text["qe_identity"].encode()).hex(),
        }
        made.update(other)
        return json.dumps({name: value for name, value in made.items() if value is not None}).encode()

    def quote(
        self,
        kind: str = "tdx",
        *,
        version: int | None = None,
        body: bytes | None = None,
        body_type: int = 3,
        tail: bytes = b"",
        vendor: bytes = VENDOR,
        key_type: int = 2,
        qe: dict[str, Any] | None = None,
        auth: bytes = b"\x77" * 32,
        chain: str | None = None,
        certification: int = 5,
        frame: int = 6,
        inside: bytes = b"",
        wrong: str = "",
        **report: Any,
    ) -> bytes:
        """Return a quote.

        Args:
            kind: "tdx" or "sgx".
            version: 4 for TDX and 3 for SGX; 5: with a body type (2: TDX 1.0, 3: TDX 1.5, 4: 1.5 with more) and its size.
            body: the whole report; else it is made of `report`.
            tail: what follows the 584 bytes in later reports: TEE_TCB_SVN2 and MRSERVICETD, and so on.
            qe: arguments of `enclave` for the quoting enclave.
            auth: the enclave's own data. chain: PEM of the certificates. certification: how they come (5: as PEM).
            frame: kind of what holds the enclave's report from version 4 on. inside: bytes after the certificates.
            wrong: a signature to make wrong: "quote", "qe", or a hash: "attestation".
        """
        version = version or (4 if kind == "tdx" else 3)
        body = body if body is not None else (td(**report) if kind == "tdx" else enclave(**report)) + tail
        header = struct.pack("<HHIHH", version, key_type, 0x81 if kind == "tdx" else 0, 0, 0) + vendor + bytes(20)
        signed = header + (struct.pack("<HI", body_type, len(body)) if version == 5 else b"") + body
        attestation = self.key("attestation")
        bound = hashlib.sha256(point(attestation) + auth).digest() + bytes(32)
        made = {"attributes": bytes([0x15]) + bytes(15), "signer": QE_SIGNER, "product": 2, "svn": 6, "data": bound}
        report_of_qe = enclave(**made | (qe or {}))
        if wrong == "attestation":
            report_of_qe = enclave(**made | {"data": bytes(64)})
        qe_signature = raw(self.key("pck" if wrong != "qe" else "other"), report_of_qe)
        pem = (chain if chain is not None else self.chain("pck", "ca", "root")).encode() + b"\x00"
        certified = report_of_qe + qe_signature + struct.pack("<H", len(auth)) + auth
        certified += struct.pack("<HI", certification, len(pem)) + pem + inside
        if version != 3:
            certified = struct.pack("<HI", frame, len(certified)) + certified
        signature = raw(attestation if wrong != "quote" else self.key("other"), signed)
        data = signature + point(attestation) + certified
        return signed + struct.pack("<I", len(data)) + data

    @property
    def roots(self) -> Roots:
        """What to trust: this root."""
        return Roots(intel=self.pin, intel_der=self.certificates["root"].public_bytes(Encoding.DER))

    @property
    def pin(self) -> str:
        spki = self.key("root").public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(spki).hexdigest()

    def but(self, **other: Any) -> Intel:
        """Return the same platform, otherwise in what is told."""
        made = copy.copy(self)
        made.__dict__.pop("certificates", None)
        for name, value in other.items():
            setattr(made, name, value)
        return made


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"Test SGX {name}")])
