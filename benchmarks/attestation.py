"""(m) Time of one verification of evidence, from bytes to verdict, with everything supplied: what a client waits for once per connection.

`python -m benchmarks attestation`. The evidence is of the tests' own AMD, Intel and
Amazon: their keys are as long as the real ones.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from bastion_tee import AttestationPolicy
from bastion_tee.policy import PlatformPolicy
from bastion_tee.roots import Roots
from bastion_tee.verify import verify

from benchmarks.timing import median, met, spread

SUPPORT = Path(__file__).parents[1] / "tests" / "support"
RUNS = 300
DATA = b"d" * 64


def measure_attestation(runs: int = RUNS) -> list[dict[str, str]]:
    """Return rows of the table."""
    sys.path.insert(0, str(SUPPORT))
    import tee_intel
    import tee_nitro
    from bastion_tee import Evidence
    from tee_snp import MEASUREMENT, NOW, SNP_ROOTS, Amd

    found = []
    policy = AttestationPolicy(sev_snp=PlatformPolicy(measurements=(MEASUREMENT.hex(),)))
    for line, kind in (("Milan", "VCEK"), ("Turin", "VLEK")):
        evidence = Amd(line, kind).evidence(DATA).encode()
        name = f"SEV-SNP ({line}, {kind}) with its chain"
        found.append(_row(name, _times(evidence, policy, NOW, SNP_ROOTS, runs), 0.002))
    intel, allowed = tee_intel.Intel(), {"tdx": "55" * 48, "sgx": "33" * 32, "nitro": "01" * 48}
    policies = {name: PlatformPolicy(measurements=(value,)) for name, value in allowed.items()}
    policy = AttestationPolicy(tdx=policies["tdx"], sgx=policies["sgx"], nitro=policies["nitro"])
    for kind, more in (("tdx", {"report_data": DATA}), ("sgx", {"data": DATA})):
        quote = Evidence(kind, intel.quote(kind, **more), collateral=intel.collateral(kind.upper())).encode()
        found.append(
            _row(f"{kind.upper()} with its collateral", _times(quote, policy, tee_intel.NOW, intel.roots, runs), 0.005)
        )
    amazon = tee_nitro.Nitro()
    document = Evidence("nitro", amazon.document(DATA)).encode()
    found.append(_row("Nitro with its chain", _times(document, policy, tee_nitro.NOW, amazon.roots, runs), None))
    return found


def _times(evidence: bytes, policy: AttestationPolicy, now: float, roots: Roots, runs: int) -> list[float]:
    """Return seconds of each verification, without the first ones, which import."""
    taken = []
    for _ in range(runs + 5):
        begin = time.perf_counter()
        verdict = verify(evidence, policy, report_data=DATA, now=now, roots=roots)
        taken.append(time.perf_counter() - begin)
        if not verdict.attested:
            raise RuntimeError(f"not attested: {verdict.codes}")
    return taken[5:]


def _row(name: str, taken: list[float], goal: float | None) -> dict[str, str]:
    words = met(median(taken), goal, f"{goal * 1e3:.0f} ms") if goal is not None else ""
    return {"what": f"(m) verification of evidence of {name}", "measured": spread(taken), "goal": words}
