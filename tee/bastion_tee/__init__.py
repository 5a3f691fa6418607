"""Attestation: evidence inside a trusted execution environment, verification outside, release of dataset keys to an attested server.

The parts: `evidence` (what a server shows), `verify` (what a client makes of it: a `Verdict`), `policy` (what a client asks for, as TOML),
`providers` (where a server gets evidence), `binding` (evidence and channel belong together), `release` (a dataset's key for one attested server).

INVARIANT: verification is closed on failure: whatever is not checked, not known or not understood is a refusal with a code of its own.
Test roots come in as arguments alone; no environment variable and no file of a working directory changes what is trusted.
"""

from bastion_tee.evidence import Evidence
from bastion_tee.policy import AttestationPolicy
from bastion_tee.verdict import Claims, Failure, Verdict

__all__ = ["AttestationPolicy", "Claims", "Evidence", "Failure", "Verdict"]
