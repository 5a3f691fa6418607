"""The release of a dataset's key: sealed to one attested server, for one dataset, for some minutes.

The owner's client verifies the server first (`verify`), then seals `Release` to the exchange key that the evidence is about. A sealed box
says nothing of who made it, so the message that carries it is signed by the owner.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from bastion_plan.errors import AttestationError
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

from bastion_tee.codes import CHECKS

KEY = 32  #: bytes of a dataset's key
#: seconds that a release may be under way
LASTS = 300.0
_MAX = 4096


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is sealed.

    Attributes:
        dataset: id of the dataset; its name where it is only being uploaded.
        key: of the dataset, 32 bytes.
        evidence: digest of the evidence that the owner saw (Evidence.digest).
        expires: seconds since 1970.
        owner: Ed25519 key of the owner, whose word on this dataset alone counts.
        decided: SHA-256 of what the owner decided about the dataset (policy, roles, who may see it); empty at an upload.
    """

    dataset: str
    key: bytes
    evidence: bytes
    expires: float
    owner: bytes
    decided: bytes = b""

    def __repr__(self) -> str:  # INVARIANT: the key is in no repr, so in no log and no traceback
        return f"Release({self.dataset!r})"


def seal(release: Release, exchange_key: bytes) -> bytes:
    """Return a release that only the holder of the exchange key can open."""
    return SealedBox(PublicKey(exchange_key)).encrypt(msgspec.msgpack.encode(release))


def unseal(
    sealed: bytes, exchange: PrivateKey, *, dataset: str, owner: bytes, made: Callable[[bytes], bool], now: float
) -> Release:
    """Return a release that was made for this server, dataset and owner.

    Args:
        made: whether this server made the evidence of a digest, not long ago.
        owner: key that signed the message it came in.

    Raises:
        AttestationError: tee.release.sealed, .dataset, .owner, .evidence, .expired.
    """
    try:
        if len(sealed) > _MAX:
            raise ValueError
        release = msgspec.msgpack.decode(SealedBox(exchange).decrypt(sealed), type=Release)
        if len(release.key) != KEY:
            raise ValueError
    except (CryptoError, ValueError, TypeError, msgspec.MsgspecError):
        raise _error("tee.release.sealed") from None
    if release.dataset != dataset:
        raise _error("tee.release.dataset")
    if release.owner != owner:
        raise _error("tee.release.owner")
    if not made(release.evidence):
        raise _error("tee.release.evidence")
    if not now <= release.expires <= now + 2 * LASTS:
        raise _error("tee.release.expired")
    return release


def _error(code: str) -> AttestationError:
    check = CHECKS[code]
    return AttestationError(check.sentence, code=code, next_step=check.next_step)
