"""What Azure's virtual TPM gives: read, checked, shown, and never attested. Frames are of the tests' own making."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

import pytest
from bastion_tee.collateral import Answer, Cache
from bastion_tee.evidence import Evidence
from bastion_tee.policy import AttestationPolicy, PlatformPolicy
from bastion_tee.vendors import collateral_of
from bastion_tee.verdict import Verdict
from bastion_tee.verify import verify
from hypothesis import given
from hypothesis import strategies as st
from tee_hcl import HCL_KEY, RUNTIME, frame
from tee_snp import MEASUREMENT, MILAN, NOW, SNP_ROOTS, pem


def judged(raw: bytes, report_data: bytes | None = None, **asked: Any) -> Verdict:
    policy = AttestationPolicy(sev_snp=PlatformPolicy(**{"measurements": (MEASUREMENT.hex(),)} | asked))
    evidence = Evidence("sev-snp", raw, MILAN.certificates)
    return verify(evidence, policy, report_data=report_data, now=NOW, roots=SNP_ROOTS)


def test_all_of_it_is_right_and_it_is_not_attested():
    verdict = judged(frame())
    assert (verdict.status, verdict.codes) == ("refused", ("tee.snp.vtpm",))
    claims = verdict.claims
    assert claims is not None and (claims.platform, claims.product, claims.measurement) == (
        "sev-snp",
        "Milan",
        MEASUREMENT.hex(),
    )
    told = {name: value for name, value in claims.flags.items() if name.startswith(("vm_", "v", "virtual"))}
    assert told == {
        "virtual_tpm": True, "vtpm_key": hashlib.sha256(HCL_KEY).hexdigest(), "vm_secure-boot": True, "vm_vmUniqueId": "0F",
    }  # fmt: skip
    assert verdict.failures[0].next_step and "virtual TPM" in verdict.failures[0].sentence
    # the report within, cut out, is as any other
    assert judged(frame()[32 : 32 + 1184]).attested


def test_it_is_never_bound_to_a_connection():
    runtime = json.dumps(RUNTIME).encode()
    for about in (b"d" * 64, hashlib.sha256(runtime).digest() + bytes(32)):
        assert "tee.snp.vtpm" in judged(frame(), about).codes
    assert judged(frame(), b"d" * 64).codes == ("tee.snp.vtpm", "tee.policy.report-data")


def test_other_runtime_data_are_not_shown():
    for about in (
        b"x" * 64,
        hashlib.sha256(b"other").digest(),
        hashlib.sha256(json.dumps(RUNTIME).encode()).digest() + b"\1",
    ):
        verdict = judged(frame(about=about))
        assert verdict.codes == ("tee.snp.runtime-data", "tee.snp.vtpm")
        assert verdict.claims is not None and verdict.claims.flags["virtual_tpm"] is True
        assert "vtpm_key" not in verdict.claims.flags


@pytest.mark.parametrize(
    "runtime",
    [
        b"", b"{}", b"no JSON", b'{"keys": 7}', b'{"keys": [{"kid": "HCLAkPub", "n": "\xc3\xa4"}]}', b'{"keys": [{"kid": "HCLAkPub", "n": "A"}]}',
        b'{"vm-configuration": []}', b"\xff", b"[" * 5000,
    ],
)  # fmt: skip
def test_runtime_data_that_say_nothing(runtime: bytes):
    verdict = judged(frame(runtime))
    assert verdict.codes == ("tee.snp.vtpm",)
    assert verdict.claims is not None and "vtpm_key" not in verdict.claims.flags


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        (frame()[:1235], "1235 bytes"), (b"HCLA", "4 bytes"), (frame(kind=4), "a report of TDX"), (frame(kind=0), "a report of kind 0"),
        (frame(digest=2), "a digest of kind 2"), (frame(length=0xFFFFFFFF), "runtime data that are cut off"),
    ],
)  # fmt: skip
def test_frames_that_are_none(raw: bytes, detail: str):
    (failure,) = judged(raw).failures
    assert (failure.code, failure.detail) == ("tee.snp.hcl", detail)


def test_the_report_within_is_checked_as_any_other():
    raw = bytearray(frame())
    raw[32 + 0x90] ^= 1
    assert judged(bytes(raw)).codes == ("tee.snp.signature",)
    assert judged(frame(poke={8: struct.pack("<Q", 0xB0000)})).codes == ("tee.snp.vtpm", "tee.policy.debug")
    assert judged(frame(), measurements=("ab" * 48,)).codes == ("tee.snp.vtpm", "tee.policy.measurement")


@given(st.binary(max_size=1300))
def test_whatever_follows_the_name(data: bytes):
    assert judged(b"HCLA" + data).status == "refused"


def test_its_collateral_is_that_of_the_report_within(tmp_path):
    leaf, authority, root = MILAN.certificates
    asked = []

    def amd(url: str) -> Answer:
        asked.append(url)
        return Answer(pem(authority, root) if url.endswith("chain") else MILAN.crl(7) if url.endswith("crl") else leaf)

    evidence = Evidence("sev-snp", frame())
    found = collateral_of(Cache(tmp_path, amd), evidence, NOW)
    assert len(asked) == 3 and "/vcek/v1/Milan/" in asked[0]
    policy = AttestationPolicy(sev_snp=PlatformPolicy(measurements=(MEASUREMENT.hex(),)))
    verdict = verify(evidence, policy, report_data=None, now=NOW, collateral=found, roots=SNP_ROOTS)
    assert verdict.codes == ("tee.snp.vtpm",)
