"""Evidence that proves nothing, to try everything else with: signed by a key that its maker threw together.

73 bytes   "BASTIONLAB SIMULATED EVIDENCE - UNATTESTED - PROVES NOTHING ABOUT ANYONE\\n"
48 bytes   measurement (SHA-384)
64 bytes   report data
32 bytes   Ed25519 public key
64 bytes   signature, by that key, of all before it
"""

from __future__ import annotations

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from bastion_tee.evidence import Evidence
from bastion_tee.roots import Roots
from bastion_tee.verdict import Claims, Failure, Refused

MARK = b"BASTIONLAB SIMULATED EVIDENCE - UNATTESTED - PROVES NOTHING ABOUT ANYONE\n"
MEASUREMENT, REPORT_DATA, KEY, SIGNATURE = 48, 64, 32, 64
#: the last second that a date can be written of: nothing of a simulation ends
_FOREVER = 253402300799.0
LENGTH = len(MARK) + MEASUREMENT + REPORT_DATA + KEY + SIGNATURE


def check(evidence: Evidence, now: float, roots: Roots) -> tuple[Claims, list[Failure]]:
    """Return the claims of simulated evidence; `verify` never calls a server attested for them.

    Args:
        evidence: with platform "simulated".
        now: seconds since 1970; nothing of a simulation ends.
        roots: `simulated` is the key that must have signed; None: any, since none proves anything.

    Raises:
        Refused: tee.simulated.format, tee.simulated.root, tee.simulated.signature.
    """
    report = evidence.report
    # one length, one mark, nothing beside: bytes that are taken for a simulation say in themselves that they are one
    if len(report) != LENGTH or not report.startswith(MARK) or evidence.certificates or evidence.collateral:
        raise Refused("tee.simulated.format")
    signed, signature = report[:-SIGNATURE], report[-SIGNATURE:]
    measurement, report_data, key = _parts(signed)
    if roots.simulated is not None and key != roots.simulated:
        raise Refused("tee.simulated.root")
    try:  # libsodium's check, which also refuses keys of small order: those verify what nobody signed
        VerifyKey(key).verify(signed, signature)
    except BadSignatureError:
        raise Refused("tee.simulated.signature") from None
    return Claims(
        platform="simulated", measurement=measurement.hex(), measurements={"code": measurement.hex()},
        report_data=report_data, flags={"UNATTESTED": True}, not_after=_FOREVER,
    ), []  # fmt: skip


def _parts(signed: bytes) -> tuple[bytes, bytes, bytes]:
    start = len(MARK)
    return (
        signed[start : start + MEASUREMENT],
        signed[start + MEASUREMENT : start + MEASUREMENT + REPORT_DATA],
        signed[start + MEASUREMENT + REPORT_DATA :],
    )


def sign(key: SigningKey, measurement: bytes, report_data: bytes) -> bytes:
    """Return the bytes of a simulated report. measurement: 48 bytes. report_data: 64 bytes."""
    if len(measurement) != MEASUREMENT or len(report_data) != REPORT_DATA:
        msg = "a simulation has a measurement of 48 bytes and report data of 64"
        raise ValueError(msg)
    signed = MARK + measurement + report_data + bytes(key.verify_key)
    return signed + key.sign(signed).signature
