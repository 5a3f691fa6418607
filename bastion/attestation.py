"""What clients import to say what a server must prove.

>>> from bastion.attestation import AttestationPolicy, PlatformPolicy
>>> AttestationPolicy(sev_snp=PlatformPolicy(measurements=("ab" * 48,))).allowed("tdx") is None
True
"""

from bastion_tee import AttestationPolicy, Claims, Failure, Verdict
from bastion_tee.policy import PlatformPolicy
from bastion_tee.roots import Collateral

from bastion.client.attestation import Attestation, Pinned

__all__ = ["Attestation", "AttestationPolicy", "Claims", "Collateral", "Failure", "Pinned", "PlatformPolicy", "Verdict"]
