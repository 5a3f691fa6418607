"""Evidence of a simulation: read strictly, and never a proof."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from bastion_tee import AttestationPolicy, Evidence
from bastion_tee.evidence import Evidence as Travelling
from bastion_tee.providers.simulated import SimulatedProvider, code_measurement
from bastion_tee.roots import Roots
from bastion_tee.simulated import LENGTH, MARK, check, sign
from bastion_tee.verdict import Refused
from bastion_tee.verify import verify
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as changed
from nacl.signing import SigningKey

ASKED = bytes(range(64))
KEY = SigningKey(b"k" * 32)
MEASUREMENT = bytes(range(48))
SOURCE = SimulatedProvider(KEY, MEASUREMENT)
EVIDENCE = SOURCE.evidence(ASKED)
ALLOWED = AttestationPolicy(unattested=True)
NOW = 1.8e9


def code_of(evidence: Evidence, roots: Roots = Roots()) -> str:  # noqa: B008 - frozen
    with pytest.raises(Refused) as caught:
        check(evidence, NOW, roots)
    return caught.value.failure.code


def test_claims():
    claims, failures = check(EVIDENCE, NOW, Roots())
    assert failures == []
    assert (claims.platform, claims.measurement, claims.report_data) == ("simulated", MEASUREMENT.hex(), ASKED)
    assert claims.flags == {"UNATTESTED": True} and not claims.debug
    assert claims.not_before <= NOW <= claims.not_after
    json.dumps(claims.to_dict(), allow_nan=False)


def test_the_bytes_say_so_themselves():
    assert EVIDENCE.report.startswith(b"BASTIONLAB SIMULATED EVIDENCE - UNATTESTED - PROVES NOTHING")
    assert b"UNATTESTED" in EVIDENCE.encode() and len(EVIDENCE.report) == LENGTH == 281


def test_a_simulation_is_never_attested():
    verdict = verify(Travelling.decode(EVIDENCE.encode()), ALLOWED, report_data=ASKED, now=NOW)
    assert verdict.status == "unattested" and not verdict.attested
    refused = verify(EVIDENCE, AttestationPolicy(), report_data=ASKED, now=NOW)
    assert (refused.status, refused.codes) == ("refused", ("tee.policy.simulated",))
    relayed = verify(EVIDENCE, ALLOWED, report_data=bytes(64), now=NOW)
    assert (relayed.status, relayed.codes) == ("refused", ("tee.policy.report-data",))


def test_the_key_that_must_have_signed():
    assert check(EVIDENCE, NOW, Roots(simulated=SOURCE.public_key))[1] == []
    assert code_of(EVIDENCE, Roots(simulated=b"o" * 32)) == "tee.simulated.root"


def test_every_bit_counts():
    for place in range(len(EVIDENCE.report) * 8):
        report = bytearray(EVIDENCE.report)
        report[place // 8] ^= 1 << place % 8
        code = code_of(changed(EVIDENCE, report=bytes(report)))
        assert code == ("tee.simulated.format" if place < len(MARK) * 8 else "tee.simulated.signature")


@pytest.mark.parametrize(
    "change",
    [
        {"report": EVIDENCE.report[:-1]}, {"report": EVIDENCE.report + b"\0"}, {"report": b""},
        {"certificates": (b"x",)}, {"collateral": b"{}"},
    ],
)  # fmt: skip
def test_nothing_beside(change: dict[str, object]):
    assert code_of(changed(EVIDENCE, **change)) == "tee.simulated.format"


def test_signed_by_another():
    other = sign(SigningKey.generate(), MEASUREMENT, ASKED)
    assert code_of(changed(EVIDENCE, report=EVIDENCE.report[:-64] + other[-64:])) == "tee.simulated.signature"


@pytest.mark.parametrize("key", [bytes(32), b"\1" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"])
def test_keys_of_small_order(key: bytes):
    """With such a key a signature of zeros is right for a part of all messages."""
    for value in range(16):
        report = MARK + MEASUREMENT + bytes([value]) * 64 + key + bytes(64)
        assert code_of(changed(EVIDENCE, report=report)) == "tee.simulated.signature"


@given(st.binary(max_size=400))
def test_any_bytes(data: bytes):
    assert code_of(changed(EVIDENCE, report=data)) == "tee.simulated.format"
    report = (MARK + data).ljust(LENGTH, b"\0")[:LENGTH]
    assert code_of(changed(EVIDENCE, report=report)) == "tee.simulated.signature"


@pytest.mark.parametrize(("measurement", "asked"), [(47, 64), (48, 63), (49, 64), (48, 65)])
def test_only_whole_parts_are_signed(measurement: int, asked: int):
    with pytest.raises(ValueError, match="48 bytes"):
        sign(KEY, bytes(measurement), bytes(asked))


def test_it_fits_a_policy_with_measurements():
    policy = replace_policy(measurements=(code_measurement().hex(),))
    verdict = verify(SimulatedProvider().evidence(ASKED), policy, report_data=ASKED, now=NOW)
    assert verdict.status == "refused" and verdict.codes == ("tee.policy.simulated",)


def replace_policy(measurements: tuple[str, ...]) -> AttestationPolicy:
    from bastion_tee.policy import PlatformPolicy

    return changed(AttestationPolicy(), sev_snp=PlatformPolicy(measurements=measurements))


def test_claims_are_plain():
    claims, _ = check(EVIDENCE, NOW, Roots())
    assert replace(claims).to_dict()["report_data"] == ASKED.hex()
