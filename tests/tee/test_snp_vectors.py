"""Real reports of SEV-SNP: what each must do, and that no bit of them can be another."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from functools import cache

import pytest
from bastion_tee import AttestationPolicy, Evidence, Verdict
from bastion_tee.policy import PlatformPolicy
from bastion_tee.roots import Collateral
from bastion_tee.snp import tcb
from bastion_tee.snp.certificates import Certificate
from bastion_tee.snp.chain import _signed
from bastion_tee.snp.sources import certificates
from bastion_tee.verify import verify
from tee_vectors import VECTORS, needs_vectors

pytestmark = needs_vectors
NOW = datetime(2026, 6, 1, tzinfo=UTC).timestamp()
GENOA = ("oak-genoa", "report.bin", "vcek.der", "genoa")
MILAN = ("trustee-milan", "test-report.bin", "test-vcek.der", "milan")
DEBUG = ("go-sev-guest-milan", "report.bin", "vcek.der", "milan")


@cache
def read(path: str) -> bytes:
    return (VECTORS / path).read_bytes()


def evidence(folder: str, report: str, vcek: str, line: str) -> tuple[Evidence, Collateral]:
    """A report with its VCEK, as a host gives it; the authorities are the client's."""
    shown = Evidence("sev-snp", read(f"snp/{folder}/{report}"), (read(f"snp/{folder}/{vcek}"),))
    return shown, Collateral(certificates=(read(f"roots/amd_ask_ark_{line}.pem"),))


def judged(shown: Evidence, collateral: Collateral, now: float = NOW, **asked) -> Verdict:
    measurement = shown.report[0x90:0xC0].hex()
    policy = AttestationPolicy(sev_snp=PlatformPolicy(**{"measurements": (measurement,)} | asked))
    return verify(shown, policy, report_data=shown.report[0x50:0x90], now=now, collateral=collateral)


def at(year: int, month: int, day: int) -> float:
    return datetime(year, month, day, tzinfo=UTC).timestamp()


def test_genoa():
    verdict = judged(*evidence(*GENOA))
    assert verdict.attested, verdict.failures
    claims = verdict.claims
    assert (claims.product, claims.vmpl, claims.debug) == ("Genoa", 0, False)
    assert claims.tcb == {"boot_loader": 10, "tee": 0, "snp": 25, "microcode": 84}
    assert (
        claims.flags["report_version"] == 5 and claims.flags["alias_check"] and claims.flags["launch_mitigations"] == 1
    )
    for now in (at(2025, 8, 7), at(2032, 8, 8)):
        assert judged(*evidence(*GENOA), now=now).codes == ("tee.snp.dates",)
    assert judged(*evidence(*GENOA), at(2025, 8, 8)).attested and judged(*evidence(*GENOA), at(2032, 8, 7)).attested


def test_milan():
    verdict = judged(*evidence(*MILAN))
    assert verdict.attested, verdict.failures
    assert verdict.claims.tcb == {"boot_loader": 3, "tee": 0, "snp": 8, "microcode": 115}
    assert verdict.claims.flags["abi"] == "0.31"
    assert (
        judged(*evidence(*MILAN), at(2023, 1, 24)).codes
        == judged(*evidence(*MILAN), at(2030, 1, 25)).codes
        == ("tee.snp.dates",)
    )


@pytest.mark.parametrize("vcek", ["test-vcek-invalid-new.der", "test-vcek-invalid-legacy.der"])
def test_invalid_certificates(vcek):
    verdict = judged(*evidence("trustee-milan", "test-report.bin", vcek, "milan"))
    assert verdict.codes == ("tee.snp.chain",) and verdict.claims is None


def test_debug():
    assert judged(*evidence(*DEBUG)).codes == ("tee.policy.debug",)
    verdict = judged(*evidence(*DEBUG), debug=True)
    assert verdict.attested and verdict.claims.debug
    shown, _ = evidence(*DEBUG)
    beside = Collateral(certificates=(read("snp/go-sev-guest-milan/ask_ark.pem"),))
    assert judged(shown, beside, debug=True).attested


def test_another_lines_authorities():
    shown, _ = evidence(*GENOA)
    assert judged(shown, Collateral(certificates=(read("roots/amd_ask_ark_milan.pem"),))).codes == (
        "tee.snp.certificates",
    )
    assert judged(
        shown,
        Collateral(certificates=tuple(read(f"roots/amd_ask_ark_{n}.pem") for n in ("milan", "turin_vcek", "genoa"))),
    ).attested


@pytest.mark.parametrize("line", ["milan", "genoa", "turin_vcek"])
def test_authorities_are_of_the_form_that_is_asked_for(line):
    authority, root = (Certificate.read(der) for der in certificates([read(f"roots/amd_ask_ark_{line}.pem")]))
    assert root.name.removeprefix("ARK-") in tcb.LAYOUTS and authority.name == root.name.replace("ARK", "SEV")
    assert _signed(root, root) and _signed(authority, root) and not _signed(root, authority)


def flip(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def refused_reports(bits) -> int:
    shown, collateral = evidence(*GENOA)
    policy = {"debug": True, "migration": True, "vmpl": 3, "measurements": (shown.report[0x90:0xC0].hex(),)}
    asked = AttestationPolicy(sev_snp=PlatformPolicy(**policy))
    count = 0
    for bit in bits:
        changed = Evidence("sev-snp", flip(shown.report, bit), shown.certificates)
        verdict = verify(changed, asked, report_data=None, now=NOW, collateral=collateral)
        # the most lenient policy, and no connection: what refuses is the report itself
        assert verdict.status == "refused" and verdict.claims is None and verdict.codes[0].startswith("tee.snp."), bit
        count += 1
    return count


def test_some_bits_of_a_report():
    """A sample, and one bit of every byte around the signature's numbers and behind them."""
    chosen = random.Random(1).sample(range(9472), 150)
    assert refused_reports([*chosen, *range(0x290 * 8, 0x340 * 8, 9), *range(0x340 * 8, 9472, 80)]) > 300


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_bit_of_a_report():
    assert refused_reports(range(9472)) == 9472


@cache
def chain() -> tuple[bytes, ...]:
    shown, collateral = evidence(*GENOA)
    return (*shown.certificates, *certificates(collateral.certificates))


def refused_certificates(which: int, bits) -> None:
    report = evidence(*GENOA)[0].report
    for bit in bits:
        changed = list(chain())
        changed[which] = flip(changed[which], bit)
        verdict = judged(Evidence("sev-snp", report, tuple(changed)), Collateral())
        assert verdict.status == "refused" and verdict.claims is None, bit


NAMES = ["VCEK", "ASK", "ARK"]


@pytest.mark.parametrize("which", range(3), ids=NAMES)
def test_some_bits_of_certificates(which):
    """Samples, and all of what is not signed: the head, the outer algorithm and the bits that a signature does not use."""
    size = len(chain()[which]) * 8
    head, outer = range(4 * 8), range(size - (512 + 5 + 72) * 8, size - 512 * 8)
    refused_certificates(which, [*random.Random(which).sample(range(size), 60), *head, *outer])


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("which", range(3), ids=NAMES)
def test_every_bit_of_certificates(which):
    refused_certificates(which, range(len(chain()[which]) * 8))
