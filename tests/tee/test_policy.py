"""Attestation policies as TOML: what is read, written back, and refused with its reason."""

from __future__ import annotations

import pytest
from bastion_plan.errors import PolicyError
from bastion_tee import AttestationPolicy
from bastion_tee.policy import PlatformPolicy

M = "ab" * 48


def test_what_is_written_is_read_again() -> None:
    policy = AttestationPolicy(
        max_age=60.0,
        sev_snp=PlatformPolicy((M,), {"host_data": ("11" * 32,)}, {"snp": 22}, vmpl=1, revocation="required"),
        tdx=PlatformPolicy((M,), status=("UpToDate", "SWHardeningNeeded"), dynamic_platform=True, smt=False),
        sgx=PlatformPolicy(("cd" * 32,), {"mrsigner": ("ef" * 32,)}),
        nitro=PlatformPolicy((M,), {"pcr1": (M,)}, debug=True),
    )
    assert AttestationPolicy.from_toml(policy.to_toml()) == policy
    assert AttestationPolicy.from_toml("") == AttestationPolicy()
    assert AttestationPolicy.from_toml("unattested = true").unattested
    assert AttestationPolicy(unattested=True).to_toml() == "unattested = true\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[sev-snp", "not TOML"),
        (f'[sev_snp]\nmeasurements = ["{M}"]', "Write [sev-snp]"),
        ("surprise = 1", "surprise"),
        ("[sev-snp]\nsurprise = 1", "surprise"),
        ("[sev-snp]\nmeasurements = 'x'", "sev-snp"),
        ("unattested = 'yes'", "unattested"),
        ("max_age = 0", "max_age"),
        ("max_age = inf", "max_age"),
        ("max_age = nan", "max_age"),
        ("[sev-snp]\nmeasurements = ['12']", "96 hexadecimal digits"),
        (f"[sev-snp]\nmeasurements = ['{'x' * 96}']", "96 hexadecimal digits"),
        (f"[sgx]\nmeasurements = ['{M}']", "64 hexadecimal digits"),
        ("[sev-snp]\nregisters = { rtmr0 = ['11'] }", "there are host_data"),
        ("[sev-snp]\nregisters = { host_data = [] }", "a list of hexadecimal values"),
        ("[sev-snp]\nregisters = { host_data = ['1'] }", "a list of hexadecimal values"),
        ("[sev-snp]\nregisters = { host_data = [''] }", "a list of hexadecimal values"),
        ("[sev-snp]\nminimum_tcb = { kernel = 1 }", "there are fmc"),
        ("[nitro]\nminimum_tcb = { kernel = 1 }", "there are none"),
        ("[sev-snp]\nminimum_tcb = { snp = -1 }", "0 or more"),
        ("[sev-snp]\nproducts = ['Rome']", "there are Milan"),
        ("[sev-snp]\nvmpl = 4", "0 to 3"),
        ("[sev-snp]\nvmpl = -1", "0 to 3"),
        ("[tdx]\nstatus = ['Revoked']", "cannot be allowed"),
        ("[tdx]\nvmpl = 1", "only sev-snp have that"),
        ("[nitro]\nsmt = false", "only sev-snp and tdx and sgx"),
        ("[sev-snp]\nstatus = ['OutOfDate']", "only tdx and sgx"),
        ("[sev-snp]\nrevocation = 'maybe'", "revocation"),
    ],
)
def test_what_means_nothing_is_refused_with_its_place(text: str, reason: str) -> None:
    with pytest.raises(PolicyError) as caught:
        AttestationPolicy.from_toml(text)
    assert caught.value.code == "policy.attestation" and caught.value.next_step
    assert reason in caught.value.reason


def test_nothing_is_allowed_that_is_not_named() -> None:
    policy = AttestationPolicy.from_toml(f"[tdx]\nmeasurements = ['{M}']")
    assert policy.allowed("sev-snp") is None and policy.allowed("simulated") is None and policy.allowed("x") is None
    found = policy.allowed("tdx")
    assert found is not None and not found.debug and not found.dynamic_platform and found.status == ("UpToDate",)
