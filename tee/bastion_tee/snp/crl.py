"""AMD's revocation lists: which of the certificates that a root has signed are no longer to be believed.

The root signs one list per processor line (at kdsintf.amd.com/vcek/v1/LINE/crl and .../vlek/v1/LINE/crl). It names ASKs and ASVKs by
serial number; a VCEK is not in it (all have serial number 0), it is outdated by a minimum of security versions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bastion_tee.snp.certificates import Certificate, common_name, signed_by, split
from bastion_tee.snp.der import SEQUENCE, DerError, Reader, extensions
from bastion_tee.snp.sources import pem
from bastion_tee.verdict import Failure, Refused

MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class RevocationList:
    """A list that has been read, but whose signature nobody looked at yet.

    Attributes:
        issuer: its common name. issued, next_update: seconds since 1970. serials: of what is revoked.
    """

    signed: bytes
    signature: bytes
    issuer: str
    issued: float
    next_update: float
    serials: frozenset[int]

    @classmethod
    def read(cls, der: bytes) -> RevocationList:
        """Return the list of DER.

        Raises:
            DerError: it cannot be read. Refused: it is not of AMD's form.
        """
        signed, fields, algorithm, signature = split(der)
        if fields.integer() != 1 or fields.whole(SEQUENCE) != algorithm:
            raise DerError
        issuer = common_name(fields.inner(SEQUENCE))
        # a list without an end of its time could be kept back for ever
        issued, next_update = fields.time(), fields.time()
        serials = set()
        if fields.tag == SEQUENCE:
            entries = fields.inner(SEQUENCE)
            while entries.more:
                entry = entries.inner(SEQUENCE)
                serials.add(entry.integer())
                entry.time()
                if entry.more:
                    _none_critical(entry.inner(SEQUENCE))
                entry.end()
        if fields.more:
            wrapped = fields.inner(0xA0)
            _none_critical(wrapped.inner(SEQUENCE))
            wrapped.end()
        fields.end()
        return cls(signed, signature, issuer, issued, next_update, frozenset(serials))


def _none_critical(reader: Reader) -> None:
    """Refuse a critical extension: it would change what a list is about (a difference to another list, another issuer's)."""
    if any(critical for critical, _ in extensions(reader).values()):
        raise DerError


def revoked(
    lists: Sequence[bytes], root: Certificate, chain: Sequence[Certificate], now: float, required: bool
) -> tuple[list[Failure], RevocationList | None]:
    """Return what revocation lists have against a chain, and the list that holds now and longest.

    Lists of other roots are left out: a client keeps those of all lines. A serial number in any list that the root signed counts,
    however old the list is; but only one whose time it is shows that nothing was revoked since.
    """
    failures: list[Failure] = []
    ours: list[RevocationList] = []
    for data in lists:
        try:
            if len(data) > MAX_BYTES:
                raise DerError
            for der in pem(data, "X509 CRL") if data[:1] == b"-" else [data]:
                found = RevocationList.read(der)
                if found.issuer != root.name:
                    continue
                if not signed_by(root.rsa_key(), found.signed, found.signature):
                    raise DerError
                ours.append(found)
        except (DerError, Refused, UnicodeDecodeError):
            failures.append(Failure("tee.snp.crl", "it cannot be read, or its signature is wrong"))
    named = {serial for found in ours for serial in found.serials}
    failures += [Failure("tee.snp.revoked", one.name) for one in chain if one.serial in named]
    current = [found for found in ours if found.issued <= now <= found.next_update]
    if ours and not current:
        failures.append(Failure("tee.snp.crl", "it is out of date"))
    if required and not ours:
        failures.append(Failure("tee.policy.revocation-missing"))
    return failures, max(current, key=lambda found: found.next_update, default=None)
