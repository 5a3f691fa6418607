"""Why `dcap_qvl` refused: its errors are sentences, and each of them becomes one stable code.

Its errors begin with what it was doing; what went wrong is below, in "Caused by". The first row whose words are found in the
whole counts, so what tells most stands first. INVARIANT: a sentence that is not known is a refusal too (`tee.dcap.unforeseen`).
"""

from __future__ import annotations

#: of the policy: the quote is genuine, and claims can be had of it
APPRAISALS: tuple[tuple[str, str], ...] = (
    ("is not acceptable by policy", "tee.dcap.status"),
    ("Platform TCB too old", "tee.dcap.status"),
    ("QE TCB too old", "tee.dcap.status"),
    ("Dynamic platform is not allowed", "tee.dcap.dynamic-platform"),
    ("SMT (hyperthreading) is not allowed", "tee.dcap.smt"),
)

#: of the quote and its collateral: nothing of them is to be believed
REFUSALS: tuple[tuple[str, str], ...] = (
    # certificates and lists, as webpki names it
    ("CertRevoked", "tee.dcap.revoked"),
    ("TCB status is invalid: Revoked", "tee.dcap.revoked"),
    ("CertExpired", "tee.dcap.dates"),
    ("CertNotValidYet", "tee.dcap.dates"),
    ("CrlExpired", "tee.dcap.dates"),
    ("UnknownRevocationStatus", "tee.dcap.collateral"),
    ("InvalidCrlSignatureForPublicKey", "tee.dcap.signature"),
    ("Failed to verify certificate chain", "tee.dcap.signature"),
    ("Failed to parse root CA CRL", "tee.dcap.collateral"),
    ("Failed to parse PCK CRL", "tee.dcap.collateral"),
    ("Failed to load root ca", "tee.dcap.root"),
    # Intel's signed statements
    ("TCBInfo expired", "tee.dcap.dates"),
    ("TCBInfo issue date is in the future", "tee.dcap.dates"),
    ("QE Identity expired", "tee.dcap.dates"),
    ("QE Identity issue date is in the future", "tee.dcap.dates"),
    ("Collateral expired", "tee.dcap.dates"),
    ("Signature is invalid for tcb_info", "tee.dcap.signature"),
    ("Signature is invalid for qe_identity", "tee.dcap.signature"),
    ("Failed to decode TcbInfo", "tee.dcap.collateral"),
    ("Failed to decode QeIdentity", "tee.dcap.collateral"),
    ("Unsupported QE Identity", "tee.dcap.collateral"),
    ("TCB info in the collateral", "tee.dcap.collateral"),
    ("Fmspc mismatch", "tee.dcap.collateral"),
    ("component count mismatch", "tee.dcap.collateral"),
    ("Unrecognized TCB status", "tee.dcap.collateral"),
    ("missing tdxModule", "tee.dcap.collateral"),
    ("No TCB levels found", "tee.dcap.collateral"),
    ("Invalid key length", "tee.dcap.collateral"),
    ("Invalid TDX module tcbDate", "tee.dcap.collateral"),
    ("Invalid TCB level tcbDate", "tee.dcap.collateral"),
    ("Failed to parse platform TCB date", "tee.dcap.collateral"),
    ("Failed to parse QE TCB date", "tee.dcap.collateral"),
    ("Failed to decode tdxModule", "tee.dcap.collateral"),
    ("has invalid length", "tee.dcap.collateral"),
    ("Failed to parse TCB Info leaf certificate", "tee.dcap.collateral"),
    ("Failed to parse QE Identity leaf certificate", "tee.dcap.collateral"),
    ("Failed to extract PCK certificates", "tee.dcap.collateral"),
    ("Failed to parse certs", "tee.dcap.collateral"),
    ("Certificate chain is too short", "tee.dcap.collateral"),
    ("Failed to decode TCB FMSPC", "tee.dcap.collateral"),
    # who made the quote
    ("QE MRSIGNER mismatch", "tee.dcap.quoting-enclave"),
    ("QE ISVPRODID mismatch", "tee.dcap.quoting-enclave"),
    ("QE MISCSELECT mismatch", "tee.dcap.quoting-enclave"),
    ("QE ATTRIBUTES mismatch", "tee.dcap.quoting-enclave"),
    ("QE report validation failed", "tee.dcap.quoting-enclave"),
    ("Unknown QE vendor ID", "tee.dcap.quoting-enclave"),
    ("TDX module MRSIGNER mismatch", "tee.dcap.module"),
    ("TDX module SEAMATTRIBUTES", "tee.dcap.module"),
    # the quote itself
    ("Signature is invalid for qe_report", "tee.dcap.signature"),
    ("QE report hash mismatch", "tee.dcap.signature"),
    ("ISV enclave report signature is invalid", "tee.dcap.signature"),
    ("Failed to decode quote", "tee.dcap.quote"),
    ("Failed to decode QE report", "tee.dcap.quote"),
    ("Failed to parse PCK certificate", "tee.dcap.quote"),
    ("Intel extension", "tee.dcap.quote"),
    ("Failed to find", "tee.dcap.quote"),
    ("Failed to get subobject", "tee.dcap.quote"),
    ("length mismatch", "tee.dcap.quote"),
    ("Unexpected", "tee.dcap.quote"),
    ("TEE quote must have version", "tee.dcap.quote"),
    ("Unsupported", "tee.dcap.quote"),
    ("Invalid QE auth data length", "tee.dcap.quote"),
    # what the platform and the guest are
    ("No matching TCB level found", "tee.dcap.no-level"),
    ("below minimum required", "tee.dcap.no-level"),
    ("No TDX module identity", "tee.dcap.no-level"),
    ("Debug mode is enabled", "tee.policy.debug"),
    ("TD profiling is enabled", "tee.dcap.attributes"),
    ("Reserved bits in TD attributes", "tee.dcap.attributes"),
    ("TD migration is enabled", "tee.dcap.attributes"),
    ("SERVTD_EXT is enabled", "tee.dcap.attributes"),
    ("SEPT_VE_DISABLE is not enabled", "tee.dcap.attributes"),
    ("Invalid MR service TD", "tee.dcap.attributes"),
)


def appraisal(sentence: str) -> str | None:
    """Return the code of a refusal by policy; None where it is another refusal."""
    return next((code for words, code in APPRAISALS if words in sentence), None)


def refusal(sentence: str) -> str:
    """Return the code of any other refusal."""
    return next((code for words, code in REFUSALS if words in sentence), "tee.dcap.unforeseen")
