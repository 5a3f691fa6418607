"""Every check of verification with its stable code, in one place: what is wrong, and what can be done about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """What a failed check says. sentence: what is wrong. next_step: what the reader can do."""

    sentence: str
    next_step: str


_FORGED = "Do not send data to this server. Tell its operator, and whoever you got its address from."
_OTHER = "If you trust what runs there, add it to your attestation policy; else do not send data to this server."
_OPERATOR = "Ask the server's operator to mend this, then connect again."
_NEWER = "Ask the server's operator for newer firmware and microcode; a policy can name a lower minimum."
_VTPM = "Use a machine whose guests ask the processor themselves (docs/attestation.md, which machines)."
_COLLATERAL = "Fetch newer collateral (`bastion attest collateral`), and look at the clock of this machine."

#: code -> what it says; verifiers add no codes of their own
CHECKS: dict[str, Check] = {
    # what travelled
    "tee.evidence.missing": Check("The server showed no evidence.", _OPERATOR),
    "tee.evidence.size": Check("The evidence is larger than any real one.", _FORGED),
    "tee.evidence.format": Check("The evidence cannot be read.", _FORGED),
    "tee.evidence.platform": Check("The evidence is of a platform that this client does not know.", "Update BastionLab; if it is up to date, do not send data to this server."),
    # the client's policy, on every platform
    "tee.policy.platform": Check("Your attestation policy does not allow this platform.", _OTHER),
    "tee.policy.simulated": Check("This is a simulation of an attested server: it proves nothing.", "For trials on data that is not secret, allow it with `unattested = true` in your policy."),
    "tee.policy.measurement": Check("What runs there is not among the measurements that your policy allows.", _OTHER),
    "tee.policy.no-measurement": Check("Your policy names no measurement for this platform, so nothing could be allowed.", "Add the measurement of the server you trust: `bastion attest policy` shows how."),
    "tee.policy.debug": Check("The host can read this server's memory: it runs in debug mode.", "Use a server that was started without debugging."),
    "tee.policy.tcb": Check("The platform's security versions are below the minimum of your policy.", _NEWER),
    "tee.policy.report-data": Check("The evidence was made for another connection.", _FORGED),
    "tee.policy.age": Check("The evidence is too old.", "Connect again."),
    "tee.policy.future": Check("The evidence is from the future.", "Look at the clock of this machine."),
    "tee.policy.revocation-missing": Check("Your policy asks for a revocation list, and there is none.", _COLLATERAL),
    # AMD SEV-SNP
    "tee.snp.length": Check("The report has not the length of a report.", _FORGED),
    "tee.snp.version": Check("The report is of a version that this client does not know.", "Update BastionLab, or ask the server's operator."),
    "tee.snp.algorithm": Check("The report is signed with an algorithm other than ECDSA P-384 with SHA-384.", _FORGED),
    "tee.snp.padding": Check("Bytes of the report that must be zero are not.", _FORGED),
    "tee.snp.signer": Check("The report is signed by a kind of key that cannot be checked (neither VCEK nor VLEK).", _OPERATOR),
    "tee.snp.mask-chip": Check("The report hides which chip signed it, so its certificate cannot be matched.", _OPERATOR),
    "tee.snp.product": Check("The report is of a processor line that this client does not know.", "Update BastionLab, or ask the server's operator."),
    "tee.snp.certificates": Check("The certificates of the report are missing or cannot be read.", _OPERATOR),
    "tee.snp.root": Check("The root certificate is not AMD's.", _FORGED),
    "tee.snp.chain": Check("A certificate is not signed by the one above it.", _FORGED),
    "tee.snp.certificate": Check("A certificate is not of the form that AMD gives.", _FORGED),
    "tee.snp.dates": Check("A certificate is not valid now.", "Look at the clock of this machine, or ask the server's operator."),
    "tee.snp.revoked": Check("A certificate was revoked by AMD.", _FORGED),
    "tee.snp.crl": Check("The revocation list is not AMD's, or is out of date.", _COLLATERAL),
    "tee.snp.signature": Check("The signature of the report is wrong.", _FORGED),
    "tee.snp.tcb": Check("The report's security versions are not those of its certificate.", _FORGED),
    "tee.snp.chip": Check("The report is of another chip than its certificate.", _FORGED),
    "tee.snp.policy-bits": Check("The guest policy of the report is not a possible one.", _FORGED),
    "tee.snp.migration": Check("The guest may be moved with the help of an agent that was not attested.", "Use a server that was started without a migration agent."),
    "tee.snp.smt": Check("The guest runs where hyperthreads are shared, which your policy does not allow.", _OTHER),
    "tee.snp.vmpl": Check("The report was asked for at a privilege level that your policy does not allow.", _OTHER),
    "tee.snp.hcl": Check("What Azure's firmware put around the report cannot be read, or holds none of SEV-SNP.", _VTPM),
    "tee.snp.runtime-data": Check("The report of Azure's firmware is about other runtime data than those that came with it.", _FORGED),
    "tee.snp.vtpm": Check("The report was asked for by a virtual TPM (Azure): it is about no connection, nor about the system that was started.", _VTPM),
    # Intel TDX and SGX
    "tee.dcap.missing": Check("Intel's quotes cannot be checked here: dcap-qvl is not installed.", "Run: pip install dcap-qvl."),
    "tee.dcap.quote": Check("The quote cannot be read.", _FORGED),
    "tee.dcap.hcl": Check("What Azure's virtual TPM gives of TDX is a report that only its own machine can check, and no quote.", _VTPM),
    "tee.dcap.kind": Check("The quote is of the other of TDX and SGX.", _FORGED),
    "tee.dcap.collateral": Check("The collateral of the quote is missing, cannot be read or is not of this platform.", _COLLATERAL),
    "tee.dcap.dates": Check("The collateral is not valid now.", _COLLATERAL),
    "tee.dcap.signature": Check("A signature of the quote or of its collateral is wrong.", _FORGED),
    "tee.dcap.revoked": Check("The platform, or one of its certificates, was revoked by Intel.", _FORGED),
    "tee.dcap.quoting-enclave": Check("The quote was not made by Intel's quoting enclave.", _FORGED),
    "tee.dcap.module": Check("The TDX module is not Intel's.", _FORGED),
    "tee.dcap.attributes": Check("The guest was started with attributes that let others in (profiling, migration, a service guest).", "Use a server that was started without them."),
    "tee.dcap.no-level": Check("Intel knows no level of security that this platform reaches.", _NEWER),
    "tee.dcap.status": Check("Intel's status of the platform is not one that your policy allows.", _NEWER),
    "tee.dcap.dynamic-platform": Check("The platform may be changed while it runs (dynamic platform), which your policy does not allow.", _OTHER),
    "tee.dcap.smt": Check("The platform shares hyperthreads, which your policy does not allow.", _OTHER),
    "tee.dcap.root": Check("The root certificate is not Intel's.", _FORGED),
    "tee.dcap.unforeseen": Check("The quote was refused for a reason that this client does not know.", "Update BastionLab, or ask the server's operator."),
    # AWS Nitro
    "tee.nitro.document": Check("The document cannot be read.", _FORGED),
    "tee.nitro.algorithm": Check("The document is signed with an algorithm other than ECDSA P-384 with SHA-384.", _FORGED),
    "tee.nitro.fields": Check("Fields of the document are missing or not of their form.", _FORGED),
    "tee.nitro.root": Check("The root certificate is not Amazon's.", _FORGED),
    "tee.nitro.certificate": Check("A certificate is not of the form that Amazon gives.", _FORGED),
    "tee.nitro.chain": Check("A certificate is not signed by the one above it.", _FORGED),
    "tee.nitro.dates": Check("A certificate is not valid now.", "Look at the clock of this machine; Nitro's certificates live for hours."),
    "tee.nitro.signature": Check("The signature of the document is wrong.", _FORGED),
    # a simulation
    "tee.simulated.format": Check("The simulated evidence cannot be read.", _FORGED),
    "tee.simulated.root": Check("The simulated evidence is signed by another key than this server's.", _FORGED),
    "tee.simulated.signature": Check("The signature of the simulated evidence is wrong.", _FORGED),
    # the channel
    "tee.channel.nonce": Check("The evidence does not answer this connection's question: it is an old or a relayed one.", _FORGED),
    "tee.channel.curve-key": Check("The evidence is of a server with another key: somebody stands between.", _FORGED),
    "tee.channel.downgrade": Check("The server was attested before and shows no evidence now.", _FORGED),
    "tee.channel.unpinned": Check(
        "The server was attested before, and you name no policy to compare its evidence with.",
        "Connect with attestation=…, or pin a policy for all connections: bastion attest policy --pin FILE.",
    ),
    "tee.channel.stale": Check("The server was restarted since its evidence was made.", "Connect again."),
    # the release of keys
    "tee.release.dataset": Check("The key was released for another dataset.", "Release the key of this dataset."),
    "tee.release.owner": Check("The release of the key is not signed by who sealed it.", _FORGED),
    "tee.release.decided": Check(
        "Policy, roles or access list of the dataset are not those that its owner decided on.",
        "Somebody changed the server's catalogue. Look at the dataset's policy before you release its key.",
    ),
    "tee.release.evidence": Check("The key was released to other evidence than this server's.", "Release it again to this server."),
    "tee.release.expired": Check("The release of the key has expired.", "Release it again."),
    "tee.release.sealed": Check("The key was sealed for another server, or changed on its way.", "Release it again to this server."),
}  # fmt: skip
