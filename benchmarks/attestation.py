"""(m) Time of one verification of evidence, from bytes to verdict, with everything supplied: what a client waits for once per connection.

`python -m benchmarks attestation`. The evidence is of the tests' own AMD: its keys are as long as the real ones.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from bastion_tee import AttestationPolicy
from bastion_tee.policy import PlatformPolicy
from bastion_tee.verify import verify

from benchmarks.timing import median, met, spread

SUPPORT = Path(__file__).parents[1] / "tests" / "support"
RUNS = 300
GOAL = 0.002


def measure_attestation(runs: int = RUNS) -> list[dict[str, str]]:
    """Return rows of the table."""
    sys.path.insert(0, str(SUPPORT))
    from tee_snp import MEASUREMENT, NOW, SNP_ROOTS, Amd

    policy = AttestationPolicy(sev_snp=PlatformPolicy(measurements=(MEASUREMENT.hex(),)))
    found = []
    for line, kind in (("Milan", "VCEK"), ("Turin", "VLEK")):
        data = b"d" * 64
        evidence = Amd(line, kind).evidence(data).encode()
        taken = []
        for _ in range(runs + 5):
            begin = time.perf_counter()
            verdict = verify(evidence, policy, report_data=data, now=NOW, roots=SNP_ROOTS)
            taken.append(time.perf_counter() - begin)
            if not verdict.attested:
                raise RuntimeError(f"not attested: {verdict.codes}")
        taken = taken[5:]  # the first ones import
        what = f"(m) verification of evidence of SEV-SNP ({line}, {kind}) with its chain"
        found.append(
            {"what": what, "measured": spread(taken), "goal": met(median(taken), GOAL, f"{GOAL * 1e3:.0f} ms")}
        )
    return found
