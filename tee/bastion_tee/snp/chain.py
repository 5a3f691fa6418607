"""From a report to AMD: the chip's or provider's certificate, the authority above it, and the pinned root."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

from bastion_tee.roots import Roots
from bastion_tee.snp import tcb
from bastion_tee.snp.certificates import Certificate, Endorsement, signed_by
from bastion_tee.snp.report import VLEK, Report
from bastion_tee.snp.sources import certificates
from bastion_tee.verdict import Refused


@dataclass(frozen=True)
class Chain:
    """A chain whose signatures are right. line: the processor line of its root ("Milan" ...). key: the leaf's."""

    leaf: Certificate
    authority: Certificate
    root: Certificate
    line: str
    key: ec.EllipticCurvePublicKey
    says: Endorsement

    @property
    def all(self) -> tuple[Certificate, Certificate, Certificate]:
        """The certificates, leaf first."""
        return self.leaf, self.authority, self.root


def build(sources: Iterable[bytes], report: Report, roots: Roots) -> Chain:
    """Return the chain of a report among certificates of evidence and collateral.

    Which certificate is which is told by its name alone, and names prove nothing: what makes the chain is that each is signed by the
    one above, and that the root's key is pinned.

    Raises:
        Refused: tee.snp.certificates, certificate, root, chain, product.
    """
    found = [Certificate.read(der) for der in certificates(sources)]
    kind = "SEV-VLEK" if report.signer == VLEK else "SEV-VCEK"
    leaves = [one for one in found if one.name == kind]
    if not leaves:
        raise Refused("tee.snp.certificates", f"no {kind[4:]}")
    # a host keeps old certificates beside the new one: the one that is of this report goes first
    leaf = next((one for one in leaves if _fits(one, report)), leaves[0])
    line = _line(leaf)
    # a VLEK is signed by the ASVK, a VCEK by the ASK: neither may stand in for the other
    if not line or line not in roots.amd or leaf.above != ("SEV-VLEK-" if report.signer == VLEK else "SEV-") + line:
        raise Refused("tee.snp.product", f"{leaf.name} of {leaf.above}")
    authorities = [one for one in found if one.name == leaf.above]
    if not authorities:
        raise Refused("tee.snp.certificates", f"no {leaf.above}")
    candidates = [one for one in found if one.name == f"ARK-{line}"]
    if not candidates:
        raise Refused("tee.snp.certificates", "no ARK")
    # INVARIANT: the root is AMD's by its key, whatever it says of itself
    pinned = [one for one in candidates if hashlib.sha256(one.spki).hexdigest() == roots.amd[line].lower()]
    if not pinned:
        raise Refused("tee.snp.root")
    # from the root downwards: no key is used before the one above it has signed it
    root = pinned[0]
    if not _signed(root, root):
        raise Refused("tee.snp.chain", root.name)
    signed = [one for one in authorities if _signed(one, root)]
    # AMD may have renewed it: the one that signed this leaf
    authority = next((one for one in signed if _signed(leaf, one)), None)
    if authority is None:
        raise Refused("tee.snp.chain", leaf.name if signed else authorities[0].name)
    says = leaf.endorsement(line)
    # a VCEK is of a chip, a VLEK of a provider: a certificate of both, or of neither, is none that AMD gives
    if (says.hwid is None) != (report.signer == VLEK) or (says.provider is None) == (report.signer == VLEK):
        raise Refused("tee.snp.certificate", f"{leaf.name}: neither a chip's nor a provider's")
    if tcb.NAMES.get(says.product.partition("-")[0]) != line:
        raise Refused("tee.snp.product", "its certificate and the root are of two lines")
    if report.cpu is not None and tcb.line_of(report.cpu) != line:
        raise Refused("tee.snp.product", "the report and its certificate are of two lines")
    return Chain(leaf, authority, root, line, leaf.ec_key(), says)


def _line(leaf: Certificate) -> str:
    """Return the processor line that a leaf's issuer names; "" for one that is not known."""
    line = leaf.above.removeprefix("SEV-").removeprefix("VLEK-")
    return line if line in tcb.LAYOUTS else ""


def _fits(leaf: Certificate, report: Report) -> bool:
    """Return whether a leaf is of a report's security versions and chip, as far as it says."""
    line = _line(leaf)
    if not line:
        return False
    says = leaf.endorsement(line)
    return tcb.certified(says.spl, report.tcbs["reported"], line) and says.hwid in (
        None,
        report.chip_id[: tcb.CHIP[line]],
    )


def _signed(one: Certificate, above: Certificate) -> bool:
    """Return whether a certificate is signed by the one above it."""
    return one.above == above.name and signed_by(above.rsa_key(), one.signed, one.signature)
