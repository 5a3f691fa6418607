"""Whatever bytes come, there is a verdict, and it is none of trust unless they are the right ones."""

from __future__ import annotations

import random
from contextlib import suppress
from functools import cache

import pytest
from bastion_tee import AttestationPolicy, Evidence
from bastion_tee.policy import PlatformPolicy
from bastion_tee.roots import Collateral
from bastion_tee.snp.certificates import Certificate
from bastion_tee.snp.crl import revoked
from bastion_tee.snp.der import DerError, Reader, extensions
from bastion_tee.snp.report import Report
from bastion_tee.snp.sources import certificates
from bastion_tee.verdict import Refused
from bastion_tee.verify import verify
from hypothesis import given
from hypothesis import strategies as st
from tee_snp import MEASUREMENT, NOW, SNP_ROOTS, TCB, Amd, endorse, pem, snp_table

#: the most lenient policy: what refuses is not the policy
POLICY = AttestationPolicy(
    sev_snp=PlatformPolicy(measurements=(MEASUREMENT.hex(),), debug=True, migration=True, vmpl=3)
)
ALL = [Amd(line, kind) for line in TCB for kind in ("VCEK", "VLEK")]


@cache
def good(which: int) -> tuple[bytes, tuple[bytes, ...]]:
    return ALL[which].report(version=2 + which % 4), ALL[which].certificates


def judged(report: bytes, sources: tuple[bytes, ...], collateral: Collateral | None = None):
    evidence = Evidence("sev-snp", report, sources)
    return verify(evidence, POLICY, report_data=None, now=NOW, collateral=collateral or Collateral(), roots=SNP_ROOTS)


def mutated(data: bytes, seed: int) -> bytes:
    """Bytes with something put in, left out, doubled or changed."""
    rng = random.Random(seed)
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(6):
            case 0:
                changed[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                changed[at:at] = rng.randbytes(rng.choice((1, 2, 24)))
            case 2:
                del changed[at : at + rng.choice((1, 2, 30, 600))]
            case 3:
                changed[at:at] = changed[at : at + rng.choice((1, 10, 100))]
            case 4 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case _:
                changed[at : at + 2] = rng.choice((b"\0\0", b"\xff\xff", b"\x80\0", b"\x30\x80", b"\x84\xff"))
    return bytes(changed)


seeds = st.integers(0, 2**32)
which = st.integers(0, len(ALL) - 1)


@given(which, seeds)
def test_changed_reports(chosen, seed):
    report, sources = good(chosen)
    changed = mutated(report, seed)
    verdict = judged(changed, sources)
    assert verdict.attested is (changed == report)
    if changed != report:
        assert verdict.claims is None


@given(which, st.integers(0, 2), seeds)
def test_changed_certificates(chosen, place, seed):
    report, sources = good(chosen)
    changed = list(sources)
    changed[place] = mutated(sources[place], seed)
    assert judged(report, tuple(changed)).attested is (changed == list(sources))


@given(which, seeds, st.booleans())
def test_changed_tables_and_pem(chosen, seed, table):
    """A change may be of what nobody reads (a GUID of a certificate that is not needed): then the certificates are the same."""
    report, sources = good(chosen)
    blob = snp_table(ALL[chosen]) if table else pem(*sources)
    verdict = judged(report, (mutated(blob, seed),))
    if verdict.attested:
        assert set(sources) <= set(certificates([mutated(blob, seed)]))


@given(st.lists(st.binary(max_size=2000), max_size=4), st.lists(st.binary(max_size=2000), max_size=3), which)
def test_any_bytes(sources, lists, chosen):
    report, right = good(chosen)
    assert not judged(report, tuple(sources)).attested
    assert judged(report, right, Collateral(crls=tuple(lists))).attested is (not lists)
    assert not judged(b"".join(sources), right).attested


@given(which, seeds)
def test_changed_lists(chosen, seed):
    amd = ALL[chosen]
    root = Certificate.read(amd.certificates[2])
    changed = mutated(amd.crl(5, 0x10001), seed)
    failures, current = revoked([changed], root, [], NOW, required=True)
    assert failures or current == revoked([amd.crl(5, 0x10001)], root, [], NOW, required=True)[1]


@given(st.binary(max_size=300), seeds)
def test_readers_raise_nothing_else(data, seed):
    more = b"".join(endorse("Milan", "VCEK", TCB["Milan"], bytes(64)).values())
    for one in (data, mutated(more, seed), mutated(good(0)[1][1], seed)):
        with suppress(DerError):
            extensions(Reader(one))
        for read in (Certificate.read, Report.read, lambda source: certificates([source])):
            with suppress(Refused):
                read(one)


@pytest.mark.parametrize("size", [1 << 16, 1 << 20])
def test_large_inputs_are_refused_at_once(size):
    """No size or nesting of what is shown costs time or memory: what is larger than any real one is not read."""
    report, right = good(0)
    for source in (
        b"\x30\x83\xff\xff\xf0",
        b"-----BEGIN CERTIFICATE-----\n",
        b"\n",
        b"-",
        b"A",
        b"\x30\x82",
        b"\0" * 23 + b"\1",
    ):
        blob = (source * (size // len(source) + 1))[:size]
        assert not judged(report, (blob,)).attested
        assert not judged(report, (*right, blob), Collateral(crls=(blob,))).attested
        assert not judged(blob, right).attested
