"""Security versions: one layout up to Genoa, another from Turin on."""

from __future__ import annotations

import pytest
from bastion_tee.snp import tcb

RAW = bytes([1, 2, 0, 0, 0, 0, 7, 8])
TURIN = bytes([1, 2, 3, 4, 0, 0, 0, 8])


def test_layouts():
    assert tcb.parts(RAW, "Milan") == tcb.parts(RAW, "Genoa") == {"boot_loader": 1, "tee": 2, "snp": 7, "microcode": 8}
    assert tcb.parts(TURIN, "Turin") == {"fmc": 1, "boot_loader": 2, "tee": 3, "snp": 4, "microcode": 8}
    assert tcb.told(TURIN, "Turin") == "fmc=1 boot_loader=2 tee=3 snp=4 microcode=8"
    assert tcb.padded(RAW, "Milan") and tcb.padded(TURIN, "Turin")
    assert not tcb.padded(TURIN, "Genoa") and not tcb.padded(RAW, "Turin")


def test_what_is_certified():
    spl = {"boot_loader": 1, "tee": 2, "snp": 7, "microcode": 8, "4": 0, "5": 0, "6": 0, "7": 0}
    assert tcb.certified(spl, RAW, "Milan")
    assert tcb.certified(spl | {"fmc": 0}, RAW, "Milan")
    for name in ("boot_loader", "tee", "snp", "microcode"):
        assert not tcb.certified(spl | {name: spl[name] + 1}, RAW, "Milan")
        assert not tcb.certified({k: v for k, v in spl.items() if k != name}, RAW, "Milan")
    for name in ("4", "5", "6", "7", "fmc"):
        assert not tcb.certified(spl | {name: 1}, RAW, "Milan")
    turin = {"fmc": 1, "boot_loader": 2, "tee": 3, "snp": 4, "microcode": 8}
    assert tcb.certified(turin, TURIN, "Turin")
    assert not tcb.certified(turin | {"fmc": 0}, TURIN, "Turin")
    assert not tcb.certified({k: v for k, v in turin.items() if k != "fmc"}, TURIN, "Turin")


@pytest.mark.parametrize(
    ("family", "model", "line"),
    [
        (0x19, 0x00, "Milan"), (0x19, 0x01, "Milan"), (0x19, 0x0F, "Milan"), (0x19, 0x10, "Genoa"), (0x19, 0x11, "Genoa"),
        (0x19, 0x1F, "Genoa"), (0x19, 0x20, ""), (0x19, 0x9F, ""), (0x19, 0xA0, "Genoa"), (0x19, 0xAF, "Genoa"), (0x19, 0xB0, ""),
        (0x1A, 0x00, "Turin"), (0x1A, 0x02, "Turin"), (0x1A, 0x11, "Turin"), (0x1A, 0x20, ""), (0x17, 0x31, ""), (0x1B, 0x00, ""),
    ],
)  # fmt: skip
def test_lines_of_processors(family, model, line):
    assert tcb.line_of((family, model, 0)) == line
