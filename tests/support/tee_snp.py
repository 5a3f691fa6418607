"""An AMD of the tests: root, authorities, chips and providers of every processor line, and reports that they sign.

    evidence = snp_evidence(report_data, measurement)           # Milan, VCEK
    verify(evidence, policy, report_data=report_data, now=NOW, roots=SNP_ROOTS)

`Amd(...)` makes others: another line, a VLEK, certificates with something wrong in them. `Amd.report(...)` signs any report.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import UUID

from bastion_tee.evidence import Evidence
from bastion_tee.roots import Collateral, Roots
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tee_snp_keys import ARK, ASK, ASVK

NOW = datetime(2026, 6, 1, tzinfo=UTC).timestamp()
START, END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2032, 1, 1, tzinfo=UTC)
MEASUREMENT = bytes(range(48))
CHIP = bytes(range(1, 65))
LEAF = ec.derive_private_key(0x5EED, ec.SECP384R1())
#: of the tests' products: part -> security version
TCB = {
    "Milan": {"boot_loader": 4, "tee": 0, "snp": 24, "microcode": 219},
    "Genoa": {"boot_loader": 10, "tee": 0, "snp": 25, "microcode": 84},
    "Turin": {"fmc": 1, "boot_loader": 1, "tee": 1, "snp": 4, "microcode": 82},
}
LAYOUT = {
    "Milan": "boot_loader tee 4 5 6 7 snp microcode".split(),
    "Genoa": "boot_loader tee 4 5 6 7 snp microcode".split(),
    "Turin": "fmc boot_loader tee snp 5 6 7 microcode".split(),
}
CPU = {"Milan": (0x19, 0x01, 1), "Genoa": (0x19, 0x11, 1), "Turin": (0x1A, 0x02, 1)}
SPL = dict(zip("boot_loader tee snp 4 5 6 7 microcode fmc".split(), range(1, 10), strict=True))
GUIDS = {
    "vcek": "63da758d-e664-4564-adc5-f4b93be8accd", "vlek": "a8074bc2-a25a-483e-aae6-39c045a0b8a1",
    "ask": "4ab7b379-bbac-4fe4-a02f-05aef327c782", "ark": "c0b406a4-a803-4952-9743-3fb6014cd0ae",
    "other": "ecae0c0f-9502-43b1-afa2-0ae2e0d565b6",
}  # fmt: skip

_SHA384 = "300d06096086480165030402020500"
_PSS = f"06092a864886f70d01010a30%sa00f{_SHA384}a11c301a06092a864886f70d010108{_SHA384}a203020130"
#: AMD's algorithm as it is in most certificates
PSS = bytes.fromhex("3046" + _PSS % "39" + "a303020101")
PSS_SHORT = bytes.fromhex("3041" + _PSS % "34")


# a writer of DER, which writes wrong things as well


def tlv(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    if len(body) < 0x80:
        return bytes([tag, len(body)]) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def number(value: int) -> bytes:
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    out = b""
    for arc in (first * 40 + second, *rest):
        digits = [arc & 0x7F]
        while arc := arc >> 7:
            digits.append(arc & 0x7F | 0x80)
        out += bytes(reversed(digits))
    return tlv(0x06, out)


def moment(when: datetime) -> bytes:
    if when.year < 2050:
        return tlv(0x17, when.strftime("%y%m%d%H%M%SZ").encode())
    return tlv(0x18, when.strftime("%Y%m%d%H%M%SZ").encode())


def text(value: str) -> bytes:
    return tlv(0x16, value.encode())


def name(common: str) -> bytes:
    pairs = [("2.5.4.11", "Engineering"), ("2.5.4.6", "US"), ("2.5.4.10", "Tests of BastionLab"), ("2.5.4.3", common)]
    return tlv(0x30, *(tlv(0x31, tlv(0x30, oid(kind), tlv(0x0C, value.encode()))) for kind, value in pairs))


def extension(dotted: str, value: bytes, critical: bool = False) -> bytes:
    return tlv(0x30, oid(dotted), tlv(0x01, b"\xff") if critical else b"", tlv(0x04, value))


def spki(key: Any) -> bytes:
    found: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return found


AUTHORITY = {
    "2.5.29.15": extension("2.5.29.15", tlv(0x03, b"\x01\x06"), critical=True),
    "2.5.29.19": extension("2.5.29.19", tlv(0x30, tlv(0x01, b"\xff")), critical=True),
}


@cache
def _sign(key: rsa.RSAPrivateKey, signed: bytes) -> bytes:
    return key.sign(signed, padding.PSS(padding.MGF1(SHA384()), 48), SHA384())


@dataclass
class Cert:
    """A certificate to be: every part of it can be another."""

    subject: str
    issuer: str
    key: Any
    signer: Any
    serial: int = 0
    start: datetime = START
    end: datetime = END
    version: bytes = tlv(0xA0, b"\x02\x01\x02")
    algorithm: bytes = PSS
    outer: bytes = b""
    spki: bytes = b""
    extensions: dict[str, bytes] = field(default_factory=dict)
    unused: bytes = b"\0"
    after_dates: bytes = b""  #: behind what is within a field, and behind the last field of what is signed
    after_extensions: bytes = b""
    after: bytes = b""
    tail: bytes = b""  #: behind the signature

    def der(self) -> bytes:
        signed = tlv(
            0x30, self.version, number(self.serial), self.algorithm, name(self.issuer), tlv(0x30, moment(self.start), moment(self.end), self.after_dates),
            name(self.subject), self.spki or spki(self.key), tlv(0xA3, tlv(0x30, *self.extensions.values()), self.after_extensions), self.after,
        )  # fmt: skip
        return tlv(
            0x30, signed, self.outer or self.algorithm, tlv(0x03, self.unused, _sign(self.signer, signed)), self.tail
        )


Change = Callable[[Cert], object]


def endorse(line: str, kind: str, spl: Mapping[str, int], chip: bytes) -> dict[str, bytes]:
    """The extensions of a VCEK or VLEK."""
    base = "1.3.6.1.4.1.3704.1."
    of = {base + "1": number(line == "Turin"), base + "2": text(line if kind == "VLEK" else f"{line}-B0")}
    of |= {f"{base}3.{SPL[part]}": number(value) for part, value in spl.items()}
    of[base + ("4" if kind == "VCEK" else "5")] = chip if kind == "VCEK" else text("CN=cc-test-1.example.com")
    return {dotted: extension(dotted, value) for dotted, value in of.items()}


@dataclass
class Amd:
    """A chain of one processor line. leaf, authority, root: what changes those certificates before they are signed."""

    line: str = "Milan"
    kind: str = "VCEK"
    leaf: Change = lambda cert: None
    authority: Change = lambda cert: None
    root: Change = lambda cert: None
    spl: Mapping[str, int] | None = None

    @property
    def chip(self) -> bytes:
        return CHIP[:8] if self.line == "Turin" else CHIP

    @property
    def certificates(self) -> tuple[bytes, bytes, bytes]:
        """Leaf, authority and root in DER."""
        above = f"SEV-{self.line}" if self.kind == "VCEK" else f"SEV-VLEK-{self.line}"
        spl = self.spl if self.spl is not None else {part: TCB[self.line].get(part, 0) for part in LAYOUT[self.line]}
        signer = ASK if self.kind == "VCEK" else ASVK
        made = (
            Cert(f"SEV-{self.kind}", above, LEAF, signer, extensions=endorse(self.line, self.kind, spl, self.chip)),
            Cert(above, f"ARK-{self.line}", signer, ARK, 0x10001, extensions=dict(AUTHORITY)),
            Cert(f"ARK-{self.line}", f"ARK-{self.line}", ARK, ARK, 0x10000, extensions=dict(AUTHORITY)),
        )
        for change, cert in zip((self.leaf, self.authority, self.root), made, strict=True):
            change(cert)
        return made[0].der(), made[1].der(), made[2].der()

    def tcb(self, **parts: int) -> bytes:
        """Eight bytes of security versions."""
        values = TCB[self.line] | parts
        return bytes(values.get(part, 0) for part in LAYOUT[self.line])

    def report(
        self,
        report_data: bytes = b"",
        measurement: bytes = MEASUREMENT,
        *,
        version: int = 3,
        poke: Mapping[int, bytes] | None = None,
    ) -> bytes:
        """A signed report. poke: bytes by offset, put in before it is signed."""
        tcb = self.tcb()
        raw = bytearray(0x4A0)
        struct.pack_into("<IIQ", raw, 0, version, 0, 0x30000)
        struct.pack_into("<I", raw, 0x34, 1)
        struct.pack_into("<QI", raw, 0x40, 0x25, (self.kind == "VLEK") << 2)
        chip = self.chip if self.kind == "VCEK" else b""
        parts = {
            0x50: report_data,
            0x90: measurement,
            0x160: b"\xff" * 32,
            0x1A0: chip,
            0x1E8: b"\x2b\x37\x01\0\x2b\x37\x01",
        }
        parts |= dict.fromkeys((0x38, 0x180, 0x1E0, 0x1F0), tcb)
        if version >= 3:
            parts[0x188] = bytes(CPU[self.line])
        for at, data in (parts | dict(poke or {})).items():
            raw[at : at + len(data)] = data
        return sign(bytes(raw[:0x2A0]))

    def evidence(self, report_data: bytes = b"", measurement: bytes = MEASUREMENT, **of: Any) -> Evidence:
        return Evidence("sev-snp", self.report(report_data, measurement, **of), self.certificates)

    @property
    def roots(self) -> Roots:
        return Roots(amd={self.line: ARK_PIN})

    def crl(
        self, *serials: int, issued: datetime = START, until: datetime | None = END, signer: Any = ARK, issuer: str = "",
        algorithm: bytes = PSS, entry: bytes = b"", extensions: bytes = b"", version: int = 1, after: bytes = b"",
    ) -> bytes:  # fmt: skip
        """A revocation list of the root. entry, extensions, after: DER put into each entry, into the list, and behind it."""
        revoked = [tlv(0x30, number(serial), moment(START), tlv(0x30, entry) if entry else b"") for serial in serials]
        signed = tlv(
            0x30, number(version), algorithm, name(issuer or f"ARK-{self.line}"), moment(issued), moment(until) if until else b"",
            tlv(0x30, *revoked) if revoked else b"", tlv(0xA0, tlv(0x30, extensions)) if extensions else b"", after,
        )  # fmt: skip
        return tlv(0x30, signed, PSS, tlv(0x03, b"\0", _sign(signer, signed)))


def sign(signed: bytes, key: ec.EllipticCurvePrivateKey = LEAF) -> bytes:
    """A report of its first 672 bytes."""
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(SHA384())))
    return signed + r.to_bytes(72, "little") + s.to_bytes(72, "little") + bytes(368)


def table(*entries: tuple[str, bytes], little: bool = False) -> bytes:
    """A host's table of certificates: (a name of `GUIDS`, bytes)."""
    at = 24 * (len(entries) + 1)
    head, body = b"", b""
    for kind, data in entries:
        guid = UUID(GUIDS[kind])
        head += (guid.bytes_le if little else guid.bytes) + struct.pack("<II", at + len(body), len(data))
        body += data
    return head + bytes(24) + body


def pem(*certificates: bytes, label: str = "CERTIFICATE") -> bytes:
    import base64
    import textwrap

    blocks = []
    for der in certificates:
        lines = "\n".join(textwrap.wrap(base64.b64encode(der).decode(), 64))
        blocks.append(f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n")
    return "".join(blocks).encode()


ARK_PIN = hashlib.sha256(spki(ARK)).hexdigest()
MILAN = Amd()
#: what trusts the tests' AMD in every line
SNP_ROOTS = Roots(amd=dict.fromkeys(TCB, ARK_PIN))
NOTHING = Collateral()


def snp_evidence(report_data: bytes, measurement: bytes = MEASUREMENT, amd: Amd = MILAN) -> Evidence:
    """Evidence of a guest of the tests' AMD, with its whole chain."""
    return amd.evidence(report_data, measurement)


def snp_table(amd: Amd = MILAN) -> bytes:
    """A host's table with the whole chain: what `auxblob` of configfs-tsm holds."""
    leaf, authority, root = amd.certificates
    return table((amd.kind.lower(), leaf), ("ask", authority), ("ark", root))
