"""The checks that are the same on every platform, the verdict, and evidence as it travels."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest
from bastion_tee import AttestationPolicy, Claims, Evidence, Failure, Verdict
from bastion_tee import verify as module
from bastion_tee.binding import Binding, config_digest
from bastion_tee.codes import CHECKS
from bastion_tee.evidence import MAX_EVIDENCE
from bastion_tee.policy import PlatformPolicy
from bastion_tee.providers.simulated import SimulatedProvider
from bastion_tee.verdict import PLATFORMS, Refused
from bastion_tee.verify import verify
from hypothesis import given
from hypothesis import strategies as st
from tee_snp import MEASUREMENT, NOW, SNP_ROOTS, snp_evidence

DATA = b"d" * 64
GOOD = PlatformPolicy((MEASUREMENT.hex(),))


def snp(asked: PlatformPolicy | None, data: bytes | None = DATA) -> Verdict:
    return verify(snp_evidence(DATA), AttestationPolicy(sev_snp=asked), report_data=data, now=NOW, roots=SNP_ROOTS)


def test_a_verdict_of_what_the_policy_allows() -> None:
    verdict = snp(GOOD)
    assert (verdict.status, verdict.attested, verdict.codes, verdict.checked_at) == ("attested", True, (), NOW)
    evidence = snp_evidence(DATA)  # ECDSA is signed anew each time
    policy = AttestationPolicy(sev_snp=GOOD)
    assert verify(evidence, policy, report_data=DATA, now=NOW, roots=SNP_ROOTS).digest == evidence.digest
    assert len(evidence.digest) == 32
    assert snp(GOOD, None).attested  # about no connection: to look at
    assert snp(PlatformPolicy((MEASUREMENT.hex().upper(),))).attested


@pytest.mark.parametrize(
    ("asked", "codes"),
    [
        (None, ("tee.policy.platform",)),
        (PlatformPolicy(), ("tee.policy.no-measurement",)),
        (PlatformPolicy(("00" * 48,)), ("tee.policy.measurement",)),
        (msgspec.structs.replace(GOOD, registers={"host_data": ("11" * 32,)}), ("tee.policy.measurement",)),
        (msgspec.structs.replace(GOOD, registers={"nothing": ("11" * 32,)}), ("tee.policy.measurement",)),
        (msgspec.structs.replace(GOOD, minimum_tcb={"snp": 255}), ("tee.policy.tcb",)),
        (msgspec.structs.replace(GOOD, minimum_tcb={"nothing": 0}), ("tee.policy.tcb",)),
    ],
)
def test_each_wish_has_its_code(asked: PlatformPolicy | None, codes: tuple[str, ...]) -> None:
    verdict = snp(asked)
    assert (verdict.status, verdict.codes) == ("refused", codes) and verdict.claims is not None


def test_evidence_of_another_connection_is_refused() -> None:
    assert snp(GOOD, b"e" * 64).codes == ("tee.policy.report-data",)
    assert snp(GOOD, DATA[:-1]).codes == ("tee.policy.report-data",)
    assert snp(PlatformPolicy(), b"e" * 64).codes == ("tee.policy.no-measurement", "tee.policy.report-data")


def claims(**changes: object) -> Claims:
    return Claims("nitro", measurement="ab" * 48, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (claims(signed_at=NOW - 3601), "tee.policy.age"),
        (claims(signed_at=NOW + 301), "tee.policy.future"),
        (claims(signed_at=math.nan), "tee.policy.future"),
        (claims(debug=True), "tee.policy.debug"),
    ],
)
def test_age_and_debug(found: Claims, code: str) -> None:
    asked = PlatformPolicy(("ab" * 48,))
    policy = AttestationPolicy(nitro=asked)
    assert [f.code for f in module._policy(found, policy, asked, NOW)] == [code]
    assert module._policy(claims(signed_at=NOW - 3599), policy, asked, NOW) == []
    assert module._policy(claims(signed_at=NOW + 299), policy, asked, NOW) == []
    allowed = msgspec.structs.replace(asked, debug=True)
    assert module._policy(claims(debug=True), policy, allowed, NOW) == []


def test_a_simulation_is_never_attested() -> None:
    evidence = SimulatedProvider().evidence(DATA)
    for policy, status in (
        (AttestationPolicy(unattested=True), "unattested"),
        (AttestationPolicy(sev_snp=GOOD), "refused"),
    ):
        verdict = verify(evidence, policy, report_data=DATA, now=NOW)
        assert verdict.status == status and not verdict.attested
    with pytest.raises(ValueError, match="attestation"):
        Verdict("attested", verdict.claims)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "tee.evidence.missing"),
        (b"x" * (MAX_EVIDENCE + 1), "tee.evidence.size"),
        (b"\xc1", "tee.evidence.format"),
        (b"\x91" * 5000, "tee.evidence.format"),
        (msgspec.msgpack.encode({"platform": "sev-snp", "report": b"", "more": 1}), "tee.evidence.format"),
        (msgspec.msgpack.encode({"platform": b"\xff", "report": b""}), "tee.evidence.format"),
        (Evidence("z80", b"r").encode(), "tee.evidence.platform"),
    ],
)
def test_what_cannot_be_read_is_refused(data: bytes, code: str) -> None:
    verdict = verify(data, AttestationPolicy(sev_snp=GOOD), report_data=DATA, now=NOW)
    assert (verdict.codes, verdict.claims) == ((code,), None)


def test_a_platform_that_nobody_verifies_is_refused() -> None:
    """`Evidence` that never travelled."""
    assert verify(Evidence("z80", b"r"), AttestationPolicy(), report_data=None, now=NOW).codes == (
        "tee.evidence.platform",
    )


@given(st.binary(max_size=3000), st.sampled_from(PLATFORMS), st.booleans())
def test_no_bytes_make_it_fail_or_pass(data: bytes, platform: str, framed: bool) -> None:
    sent = Evidence(platform, data).encode() if framed else data
    policy = AttestationPolicy(True, 3600.0, GOOD, GOOD, PlatformPolicy(("ab" * 32,)), GOOD)
    assert verify(sent, policy, report_data=DATA, now=NOW, roots=SNP_ROOTS).status == "refused"


def test_evidence_travels_whole() -> None:
    sent = snp_evidence(DATA)
    assert Evidence.decode(sent.encode()) == sent
    assert sent.digest != Evidence("tdx", sent.report).digest


def test_verdicts_and_failures_that_contradict_themselves_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="failures"):
        Verdict("attested", claims(), (Failure("tee.policy.debug"),))
    with pytest.raises(ValueError, match="failures"):
        Verdict("attested", None)
    with pytest.raises(ValueError, match="names"):
        Verdict("refused", claims())
    with pytest.raises(ValueError, match="no code"):
        Failure("tee.made-up")
    with pytest.raises(ValueError, match="no code"):
        Refused("tee.made-up")


def test_every_code_has_a_sentence_and_a_next_step() -> None:
    for code, check in CHECKS.items():
        assert code.startswith("tee.") and check.sentence.endswith(".") and check.next_step.endswith((".", ")")), code
    found = Failure("tee.policy.tcb", "snp is 1")
    assert found.sentence.endswith("(snp is 1)") and found.next_step
    assert Failure("tee.policy.debug").sentence.endswith(".")


def test_every_code_is_given_by_something_and_expected_by_a_test() -> None:
    root = Path(__file__).parents[2]
    places = {"source": ("tee/bastion_tee", "bastion/client", "server/bastion_server"), "tests": ("tests/tee",)}
    for place, folders in places.items():
        files = [f for folder in folders for f in (root / folder).rglob("*.py") if f.name != "codes.py"]
        text = "".join(file.read_text() for file in files)
        assert [code for code in CHECKS if f'"{code}"' not in text] == [], place


def test_claims_as_plain_data() -> None:
    plain = claims(report_data=b"\x01", tcb={"a": 1}).to_dict()
    assert plain["report_data"] == "01" and plain["tcb"] == {"a": 1} and msgspec.json.encode(plain)


def test_bindings_that_differ_in_anything_differ() -> None:
    base = Binding(b"n" * 32, "k" * 40, b"x" * 32, b"a" * 32, b"c" * 32)
    others = [
        Binding(b"m" * 32, "k" * 40, b"x" * 32, b"a" * 32, b"c" * 32), Binding(b"n" * 32, "l" * 40, b"x" * 32, b"a" * 32, b"c" * 32),
        Binding(b"n" * 32, "k" * 40, b"y" * 32, b"a" * 32, b"c" * 32), Binding(b"n" * 32, "k" * 40, b"x" * 32, b"b" * 32, b"c" * 32),
        Binding(b"n" * 32, "k" * 40, b"x" * 32, b"a" * 32, b"d" * 32), Binding(b"n" * 31, "n" + "k" * 40, b"x" * 32, b"a" * 32, b"c" * 32),
    ]  # fmt: skip
    assert len({b.report_data() for b in (base, *others)}) == 7 and len(base.report_data()) == 64
    assert (
        config_digest({"a": "b", "c": "d"})
        == config_digest({"c": "d", "a": "b"})
        != config_digest({"a": "bc", "": "d"})
    )
