"""From evidence to a verdict: the platform's own checks, then what the client's policy asks on every platform."""

from __future__ import annotations

import hmac
import math

from bastion_tee.evidence import Evidence
from bastion_tee.pins import PINNED
from bastion_tee.policy import AttestationPolicy, PlatformPolicy
from bastion_tee.roots import Collateral, Roots
from bastion_tee.verdict import Claims, Failure, Refused, Verdict

NO_COLLATERAL = Collateral()
#: seconds that the clocks of two machines may differ
SKEW = 300.0


def verify(
    evidence: Evidence | bytes,
    policy: AttestationPolicy,
    *,
    report_data: bytes | None,
    now: float,
    collateral: Collateral = NO_COLLATERAL,
    roots: Roots = PINNED,
) -> Verdict:
    """Return what a client makes of evidence. Works offline; never raises for what evidence holds.

    Args:
        evidence: or its bytes as they travelled; empty bytes: there is none.
        policy: of this client.
        report_data: the 64 bytes that the evidence must be about; None: it is about no connection (to look at, never to send data on).
        now: seconds since 1970.
        collateral: certificates, revocation lists and Intel's collateral that the client has.
        roots: pinned roots of the vendors; others in tests alone.
    """
    digest, claims = b"", None
    try:
        if isinstance(evidence, bytes):
            if not evidence:
                raise Refused("tee.evidence.missing")
            evidence = Evidence.decode(evidence)
        digest = evidence.digest
        asked = policy.allowed(evidence.platform)
        claims, failures = _platform(evidence, asked or PlatformPolicy(), now, collateral, roots)
        failures += _policy(claims, policy, asked, now)
        if report_data is not None and not hmac.compare_digest(claims.report_data, report_data):
            failures.append(Failure("tee.policy.report-data"))
    except Refused as refused:
        return Verdict("refused", None, (refused.failure,), digest, now)
    if failures:
        return Verdict("refused", claims, tuple(failures), digest, now)
    if claims.platform == "simulated":
        return Verdict("unattested", claims, (), digest, now)
    return Verdict("attested", claims, (), digest, now)


def _platform(
    evidence: Evidence, asked: PlatformPolicy, now: float, collateral: Collateral, roots: Roots
) -> tuple[Claims, list[Failure]]:
    match evidence.platform:
        case "sev-snp":
            from bastion_tee.snp import check as check_snp

            return check_snp(evidence, asked, now, collateral, roots)
        case "tdx" | "sgx":
            from bastion_tee.dcap import check as check_dcap

            return check_dcap(evidence, asked, now, collateral, roots)
        case "nitro":
            from bastion_tee.nitro import check as check_nitro

            return check_nitro(evidence, asked, now, collateral, roots)
        case "simulated":
            from bastion_tee.simulated import check as check_simulated

            return check_simulated(evidence, now, roots)
    raise Refused("tee.evidence.platform")


def _policy(claims: Claims, policy: AttestationPolicy, asked: PlatformPolicy | None, now: float) -> list[Failure]:
    """The checks that are the same on every platform."""
    failures: list[Failure] = []
    if claims.platform == "simulated":
        return failures if policy.unattested else [Failure("tee.policy.simulated")]
    if asked is None:
        return [Failure("tee.policy.platform", claims.platform)]
    if claims.debug and not asked.debug:
        failures.append(Failure("tee.policy.debug"))
    if not asked.measurements:
        failures.append(Failure("tee.policy.no-measurement"))
    elif claims.measurement.lower() not in {m.lower() for m in asked.measurements}:
        failures.append(Failure("tee.policy.measurement", claims.measurement))
    for name, allowed in asked.registers.items():
        if claims.measurements.get(name, "").lower() not in {value.lower() for value in allowed}:
            failures.append(Failure("tee.policy.measurement", name))
    for name, least in asked.minimum_tcb.items():
        found = claims.tcb.get(name)
        if found is None or found < least:
            failures.append(Failure("tee.policy.tcb", f"{name} is {found}, {least} is asked for"))
    if claims.signed_at is not None:
        age = now - claims.signed_at
        if not math.isfinite(age) or age < -SKEW:
            failures.append(Failure("tee.policy.future"))
        elif age > policy.max_age:
            failures.append(Failure("tee.policy.age", f"{age:.0f} seconds"))
    return failures
