"""AMD SEV-SNP: from an attestation report and certificates to claims.

The order is: what the report is (`report`), who signed it (`chain`), whether they did (its signature), and only then what it says.
Everything before that refuses at once; everything after is collected, since it is said by a processor of AMD's.

What Azure's virtual TPM gives (`hcl`) is read, and never attested.
"""

from __future__ import annotations

from dataclasses import replace

from bastion_tee.evidence import Evidence
from bastion_tee.policy import PlatformPolicy
from bastion_tee.roots import Collateral, Roots
from bastion_tee.snp import hcl, tcb
from bastion_tee.snp.chain import Chain, build
from bastion_tee.snp.crl import RevocationList, revoked
from bastion_tee.snp.report import VLEK, Report
from bastion_tee.verdict import Claims, Failure

SMT, MIGRATION, DEBUG = 16, 18, 19
#: bits of the guest's policy, and of the platform's information, by what they say
POLICY = {
    "smt_allowed": SMT, "migration": MIGRATION, "single_socket": 20, "cxl_allowed": 21, "aes_256_xts": 22,
    "rapl_disabled_asked": 23, "ciphertext_hiding_asked": 24, "page_swap_disabled": 25,
}  # fmt: skip
PLATFORM = {
    "smt": 0, "tsme": 1, "ecc": 2, "rapl_disabled": 3, "ciphertext_hiding": 4, "alias_check": 5, "iommu_write_safe": 6, "tio": 7,
}  # fmt: skip


def check(
    evidence: Evidence, asked: PlatformPolicy, now: float, collateral: Collateral, roots: Roots
) -> tuple[Claims, list[Failure]]:
    """Return what evidence of SEV-SNP claims, and which of this platform's checks failed.

    Raises:
        Refused: nothing of the evidence is to be believed.
    """
    raw, runtime = hcl.unwrap(evidence.report)
    report = Report.read(raw)
    chain = build((*evidence.certificates, *collateral.certificates), report, roots)
    report.verify(chain.key)
    failures = [Failure("tee.snp.dates", c.name) for c in chain.all if not c.not_before <= now <= c.not_after]
    revocations, current = revoked(collateral.crls, chain.root, chain.all, now, required=asked.revocation == "required")
    failures += revocations
    failures += _certified(report, chain)
    failures += _asked(report, chain, asked)
    claims = _claims(report, chain, current)
    if runtime is not None:
        failures += runtime.check(report.report_data)
        claims = replace(claims, flags={**claims.flags, **runtime.claims(report.report_data)})
    return claims, failures


def _certified(report: Report, chain: Chain) -> list[Failure]:
    """Compare the report with what AMD certified."""
    failures = [
        Failure("tee.snp.padding", f"{name} security versions")
        for name, raw in report.tcbs.items()
        if not tcb.padded(raw, chain.line)
    ]
    reported = report.tcbs["reported"]
    if not tcb.certified(chain.says.spl, reported, chain.line):
        failures.append(Failure("tee.snp.tcb", tcb.told(reported, chain.line)))
    if chain.says.hwid is not None:
        size = tcb.CHIP[chain.line]
        # MASK_CHIP_ID leaves zeroes: the certificate is then one of any chip with these versions
        if not any(report.chip_id):
            failures.append(Failure("tee.snp.mask-chip"))
        elif report.chip_id[:size] != chain.says.hwid or any(report.chip_id[size:]):
            failures.append(Failure("tee.snp.chip"))
    return failures


def _asked(report: Report, chain: Chain, asked: PlatformPolicy) -> list[Failure]:
    """Compare the report with what this platform's part of the policy asks."""
    failures = []
    if chain.line not in asked.products:
        failures.append(Failure("tee.snp.product", chain.line))
    if not report.policy_possible:
        failures.append(Failure("tee.snp.policy-bits", f"{report.policy:#x}"))
    # an agent gets the guest's keys, and could give them to any machine
    if report.policy_bit(MIGRATION) and not asked.migration:
        failures.append(Failure("tee.snp.migration"))
    # the platform says what is, the policy what may come: a guest that may be moved could come to where they are shared
    if not asked.smt and (report.platform_info & 1 or (report.policy_bit(SMT) and report.policy_bit(MIGRATION))):
        failures.append(Failure("tee.snp.smt"))
    # what the host asks for itself has level 0xffffffff
    if report.vmpl > asked.vmpl:
        failures.append(Failure("tee.snp.vmpl", f"{report.vmpl}, at most {asked.vmpl}"))
    return failures


def _claims(report: Report, chain: Chain, current: RevocationList | None) -> Claims:
    flags: dict[str, bool | int | str] = {name: bool(report.platform_info >> bit & 1) for name, bit in PLATFORM.items()}
    flags |= {name: report.policy_bit(bit) for name, bit in POLICY.items()}
    flags |= {
        "report_version": report.version, "guest_svn": report.guest_svn, "abi": f"{report.policy >> 8 & 0xFF}.{report.policy & 0xFF}",
        "signer": "VLEK" if report.signer == VLEK else "VCEK", "author_key": report.author_key,
        "firmware": report.firmware, "committed_firmware": report.committed_firmware,
        "report_id": report.report_id.hex(), "report_id_ma": report.report_id_ma.hex(),
        **{f"{name}_tcb": tcb.told(raw, chain.line) for name, raw in report.tcbs.items()},
    }  # fmt: skip
    if chain.says.provider is not None:
        flags["provider"] = chain.says.provider
    if report.cpu is not None:
        flags["cpu"] = "family {:#x} model {:#x} stepping {}".format(*report.cpu)
    if report.mitigations is not None:
        flags["launch_mitigations"], flags["current_mitigations"] = report.mitigations
    held = [(c.not_before, c.not_after) for c in chain.all] + (
        [(current.issued, current.next_update)] if current else []
    )
    return Claims(
        platform="sev-snp",
        product=chain.line,
        measurement=report.measurement.hex(),
        measurements={
            "measurement": report.measurement.hex(), "host_data": report.host_data.hex(), "family_id": report.family_id.hex(),
            "image_id": report.image_id.hex(), "id_key_digest": report.id_key_digest.hex(),
            "author_key_digest": report.author_key_digest.hex(),
        },
        report_data=report.report_data,
        debug=report.policy_bit(DEBUG),
        tcb=tcb.parts(report.tcbs["reported"], chain.line),
        vmpl=report.vmpl,
        chip=report.chip_id[: tcb.CHIP[chain.line]].hex() if any(report.chip_id) else "",
        flags=flags,
        not_before=max(start for start, _ in held),
        not_after=min(end for _, end in held),
    )  # fmt: skip
