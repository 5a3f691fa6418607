"""The attestation report of AMD SEV-SNP: 1,184 bytes, of which the first 672 are signed.

Source: AMD, SEV Secure Nested Paging Firmware ABI Specification (publication 56860), "ATTESTATION_REPORT": revision 1.55 for
version 2 of the report, 1.56 for 3, 1.58 for 5. All numbers are little endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from bastion_tee.verdict import Refused

LENGTH, SIGNED = 0x4A0, 0x2A0
VERSIONS = (2, 3, 4, 5)
VCEK, VLEK, NONE = 0, 1, 7
#: bits of the guest's policy that must be zero in versions below 5 and from 5 on (bit 25, no page swap, came with 5)
RESERVED_BITS = (~((1 << 25) - 1), ~((1 << 26) - 1))
#: bits of PLATFORM_INFO that have a meaning in some version: 0 to 5, 6 (IOMMU), 7 (TIO)
PLATFORM_BITS = 0xFF


@dataclass(frozen=True)
class Report:
    """A report that has been read, but whose signature nobody looked at yet. Names are the specification's.

    Attributes:
        raw: all of it. tcbs: the four security versions as 8 bytes each, by name.
        cpu: family, model and stepping of the processor; None before version 3.
        mitigations: at launch and now; None before version 4.
    """

    raw: bytes
    version: int
    guest_svn: int
    policy: int
    family_id: bytes
    image_id: bytes
    vmpl: int
    platform_info: int
    author_key: bool
    signer: int
    report_data: bytes
    measurement: bytes
    host_data: bytes
    id_key_digest: bytes
    author_key_digest: bytes
    report_id: bytes
    report_id_ma: bytes
    tcbs: dict[str, bytes]
    cpu: tuple[int, int, int] | None
    chip_id: bytes
    firmware: str
    committed_firmware: str
    mitigations: tuple[int, int] | None

    @classmethod
    def read(cls, raw: bytes) -> Report:
        """Return the report of bytes.

        Raises:
            Refused: tee.snp.length, version, algorithm, padding, signer, mask-chip.
        """
        if len(raw) != LENGTH:
            raise Refused("tee.snp.length", f"{len(raw)} bytes, not {LENGTH}")
        version, guest_svn, policy = struct.unpack_from("<IIQ", raw)
        if version not in VERSIONS:
            raise Refused("tee.snp.version", str(version))
        vmpl, algorithm = struct.unpack_from("<II", raw, 0x30)
        if algorithm != 1:
            raise Refused("tee.snp.algorithm", str(algorithm))
        platform_info, key_info = struct.unpack_from("<QI", raw, 0x40)
        # What is reserved must be zero: a later meaning of these bytes could be one that forbids to trust the guest. Those behind
        # the signed ones would else be free to change, and one report have many forms.
        reserved = [
            (0x4C, 0x50), (0x188 if version < 3 else 0x18B, 0x1A0), (0x1EB, 0x1EC), (0x1EF, 0x1F0),
            # the mitigation vectors came with 5; sources differ on whether 4 has them, and they decide nothing here
            (0x1F8 if version < 4 else 0x208, SIGNED),
            (0x2A0 + 48, 0x2A0 + 72), (0x2E8 + 48, 0x2E8 + 72), (0x330, LENGTH),
        ]  # fmt: skip
        for start, end in reserved:
            if any(raw[start:end]):
                raise Refused("tee.snp.padding", f"bytes {start:#x} to {end - 1:#x}")
        if key_info >> 5 or platform_info & ~PLATFORM_BITS:
            raise Refused("tee.snp.padding", "reserved bits")
        signer = key_info >> 2 & 7
        # 7: the guest was started so that no key signs its reports; 2 to 6 mean nothing yet
        if signer not in (VCEK, VLEK):
            raise Refused("tee.snp.signer", "none" if signer == NONE else str(signer))
        # with MASK_CHIP_KEY the firmware writes zeroes instead of a signature by the VCEK; clouds that sign by their VLEK may set it
        if key_info & 2 and signer == VCEK:
            raise Refused("tee.snp.mask-chip")
        tcbs = {"current": 0x38, "reported": 0x180, "committed": 0x1E0, "launch": 0x1F0}
        return cls(
            raw, version, guest_svn, policy, raw[0x10:0x20], raw[0x20:0x30], vmpl, platform_info, bool(key_info & 1), signer,
            raw[0x50:0x90], raw[0x90:0xC0], raw[0xC0:0xE0], raw[0xE0:0x110], raw[0x110:0x140], raw[0x140:0x160], raw[0x160:0x180],
            {name: raw[at : at + 8] for name, at in tcbs.items()},
            (raw[0x188], raw[0x189], raw[0x18A]) if version >= 3 else None,
            raw[0x1A0:0x1E0],
            f"{raw[0x1EA]}.{raw[0x1E9]}.{raw[0x1E8]}", f"{raw[0x1EE]}.{raw[0x1ED]}.{raw[0x1EC]}",
            struct.unpack_from("<QQ", raw, 0x1F8) if version >= 4 else None,
        )  # fmt: skip

    def verify(self, key: ec.EllipticCurvePublicKey) -> None:
        """Check the signature: ECDSA P-384 with SHA-384 over the first 672 bytes; r and s are 72 bytes each, little endian.

        Raises:
            Refused: tee.snp.signature.
        """
        r, s = (int.from_bytes(self.raw[at : at + 72], "little") for at in (0x2A0, 0x2E8))
        try:
            key.verify(encode_dss_signature(r, s), self.raw[:SIGNED], ec.ECDSA(SHA384()))
        except InvalidSignature:
            raise Refused("tee.snp.signature") from None

    def policy_bit(self, bit: int) -> bool:
        """Return a bit of the guest's policy."""
        return bool(self.policy >> bit & 1)

    @property
    def policy_possible(self) -> bool:
        """Whether the firmware would have started a guest with this policy: bit 17 is always set, reserved bits never are."""
        return self.policy_bit(17) and not self.policy & RESERVED_BITS[self.version >= 5]
