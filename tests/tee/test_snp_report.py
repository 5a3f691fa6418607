"""The bytes of a report: length, version, what must be zero, who signed."""

from __future__ import annotations

import struct

import pytest
from bastion_tee.snp.report import Report
from bastion_tee.verdict import Refused
from tee_snp import CHIP, MEASUREMENT, MILAN, Amd


def refused(raw: bytes) -> str:
    with pytest.raises(Refused) as caught:
        Report.read(raw)
    return caught.value.failure.code


def test_every_field_is_where_it_is():
    poke = {
        0x04: b"\7",
        0x10: b"f" * 16,
        0x20: b"i" * 16,
        0xC0: b"h" * 32,
        0xE0: b"k" * 48,
        0x110: b"a" * 48,
        0x140: b"r" * 32,
    }
    poke |= {0x30: b"\2", 0x48: b"\1", 0x1F8: struct.pack("<QQ", 5, 6), 0x38: b"\1\2\0\0\0\0\3\4"}
    report = Report.read(MILAN.report(b"d" * 64, version=5, poke=poke))
    assert (report.version, report.guest_svn, report.policy, report.vmpl) == (5, 7, 0x30000, 2)
    assert (report.family_id, report.image_id, report.host_data) == (b"f" * 16, b"i" * 16, b"h" * 32)
    assert (report.id_key_digest, report.author_key_digest) == (b"k" * 48, b"a" * 48)
    assert (report.report_id, report.report_id_ma) == (b"r" * 32, b"\xff" * 32)
    assert (report.report_data, report.measurement, report.chip_id) == (b"d" * 64, MEASUREMENT, CHIP)
    assert (report.author_key, report.platform_info, report.cpu) == (True, 0x25, (0x19, 1, 1))
    assert report.tcbs["current"] == b"\1\2\0\0\0\0\3\4"
    assert report.tcbs["reported"] == report.tcbs["committed"] == report.tcbs["launch"] == MILAN.tcb()
    assert (report.firmware, report.committed_firmware, report.mitigations) == ("1.55.43", "1.55.43", (5, 6))


@pytest.mark.parametrize("length", [0, 1, 0x2A0, 0x49F, 0x4A1, 0x940])
def test_length(length):
    assert refused((MILAN.report() * 2)[:length]) == "tee.snp.length"


@pytest.mark.parametrize("version", [0, 1, 6, 7, 0x02000000])
def test_version(version):
    assert refused(MILAN.report(poke={0: struct.pack("<I", version)})) == "tee.snp.version"


@pytest.mark.parametrize("algorithm", [0, 2, 0x0100_0001])
def test_algorithm(algorithm):
    assert refused(MILAN.report(poke={0x34: struct.pack("<I", algorithm)})) == "tee.snp.algorithm"


RESERVED = [
    *((version, at) for version in (2, 3, 4, 5) for at in (0x4C, 0x4F, 0x18B, 0x19F, 0x1EB, 0x1EF, 0x208, 0x29F)),
    *((2, at) for at in (0x188, 0x189, 0x18A)),
    *((version, at) for version in (2, 3) for at in (0x1F8, 0x1FF, 0x200, 0x207)),
]


@pytest.mark.parametrize(("version", "at"), RESERVED)
def test_what_is_reserved_is_zero(version, at):
    """Also in a report that is signed so."""
    assert refused(MILAN.report(version=version, poke={at: b"\x40"})) == "tee.snp.padding"


@pytest.mark.parametrize("at", [0x2A0 + 48, 0x2A0 + 71, 0x2E8 + 48, 0x2E8 + 71, 0x330, 0x49F])
def test_nothing_is_behind_the_signature(at):
    raw = bytearray(MILAN.report())
    raw[at] = 1
    assert refused(bytes(raw)) == "tee.snp.padding"


@pytest.mark.parametrize("poke", [{0x48: b"\x20"}, {0x4B: b"\x80"}, {0x41: b"\x01"}, {0x47: b"\x80"}])
def test_reserved_bits(poke):
    assert refused(MILAN.report(poke=poke)) == "tee.snp.padding"


@pytest.mark.parametrize(("kind", "told"), [(2, "2"), (6, "6"), (7, "none")])
def test_signer(kind, told):
    with pytest.raises(Refused) as caught:
        Report.read(MILAN.report(poke={0x48: bytes([kind << 2])}))
    assert (caught.value.failure.code, caught.value.failure.detail) == ("tee.snp.signer", told)


def test_a_masked_key_signs_nothing():
    assert refused(MILAN.report(poke={0x48: b"\2"})) == "tee.snp.mask-chip"


def test_a_provider_signs_where_the_chip_does_not():
    """MASK_CHIP_KEY is about the VCEK."""
    assert Report.read(Amd(kind="VLEK").report(poke={0x48: b"\6"})).signer == 1


@pytest.mark.parametrize(
    ("version", "policy", "possible"),
    [
        (3, 0x20000, True), (3, 0x1FFFFFF, True), (3, 0x10000, False), (4, 0x2020000, False), (5, 0x2020000, True),
        (5, 0x4020000, False), (3, 1 << 63 | 0x20000, False),
    ],
)  # fmt: skip
def test_possible_policies(version, policy, possible):
    report = Report.read(MILAN.report(version=version, poke={8: struct.pack("<Q", policy)}))
    assert report.policy_possible is possible
