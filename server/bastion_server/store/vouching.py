"""Approvals about owner-sealed datasets: they count as far as this process heard them from the owners themselves.

INVARIANT: requests and grants are rows of a catalogue on a disk that is not trusted. About a dataset whose key is held, a grant counts
only if every such owner said so to this very process, with the key that released the dataset's, and only as it was then: for that plan,
requester, versions and date. So such approvals end when the server stops.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bastion_server.store.keyring import KeyRing

if TYPE_CHECKING:
    from bastion_server.store.grants import Grant


@dataclass
class _Said:
    """What was heard about one request.

    readers: owners by key, and whether they let it be read. sealed: datasets whose keys were held whenever one of them spoke. grant: as it was made.
    """

    readers: dict[bytes, bool] = field(default_factory=dict)
    sealed: frozenset[str] | None = None
    grant: Grant | None = None


class Vouching:
    """What owners of sealed datasets said to this process. Any thread may use it."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self._said: dict[str, _Said] = {}
        self._lock = threading.Lock()

    def heard(self, request: str, owner: bytes, datasets: Iterable[str], *, may_read: bool) -> None:
        """Note that an owner, by Ed25519 key, approved a request about these datasets.

        INVARIANT: who approves while a key is not held was shown what the catalogue says, which counts for nothing about that dataset.
        """
        held = frozenset(d for d in datasets if self._ring.held(d) is not None)
        with self._lock:
            said = self._said.setdefault(request, _Said())
            said.readers[owner] = may_read
            said.sealed = held if said.sealed is None else said.sealed & held

    def forget(self, request: str) -> None:
        """Note that nothing holds any more of what was heard about a request."""
        with self._lock:
            self._said.pop(request, None)

    def made(self, grant: Grant) -> None:
        """Note a grant as it was just made of what was heard."""
        with self._lock:
            said = self._said.get(grant.request)
            if said is not None:
                said.grant = grant

    def of(self, grant: Grant) -> Grant:
        """Return a grant as it holds here: ended, if it is about a sealed dataset and was not heard of."""
        sealed = self._ring.of(grant.versions)
        if not sealed:
            return grant
        said = self._said.get(grant.request)
        held = [self._ring.held(dataset) for dataset in sealed]
        then = said.grant if said is not None else None
        if (
            said is None
            or then is None
            or _bound(then) != _bound(grant)
            or not set(sealed) <= (said.sealed or frozenset())
            or not all(h and h.owner in said.readers for h in held)
        ):
            return replace(grant, ended=grant.ended or "expired", may_run=False, may_read=False)
        return replace(grant, may_read=grant.may_read and all(h is not None and said.readers[h.owner] for h in held))


def _bound(grant: Grant) -> tuple[object, ...]:
    return (
        grant.id, grant.request, grant.requester, grant.plan_hash, grant.versions, grant.policy_versions, grant.may_run,
        grant.single_use, grant.until,
    )  # fmt: skip
