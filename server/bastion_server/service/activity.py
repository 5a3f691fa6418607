"""The audit log for owners and auditors: who may read which records, and the filters."""

from __future__ import annotations

import asyncio

from bastion_plan.errors import InputError, NotAuthorised
from bastion_wire.messages import AuditRecord, AuditShow

from bastion_server.channel.keys import Principal
from bastion_server.service.catalogue import Catalogue
from bastion_server.store import Store
from bastion_server.store.audit import KINDS, AuditLog

MAX_RECORDS = 1000
SLACK = 60.0  #: seconds by which neighbouring records may be out of order
_STEP = 500


class ActivityService:
    """Reads the log for those who may."""

    def __init__(self, store: Store, catalogue: Catalogue) -> None:
        self._store, self._catalogue = store, catalogue

    async def show(self, body: AuditShow, principal: Principal) -> tuple[AuditRecord, ...]:
        """Return the last records that match, oldest first.

        Auditors and admins read all records, owners those of their datasets.

        Raises:
            NotAuthorised: wire.auth.role, wire.auth.owner. InputError: input.audit.kind.
        """
        everything = principal.has("auditor") or principal.has("admin")
        if not everything and not principal.has("owner"):
            msg = "Owners and auditors read the audit log."
            raise NotAuthorised(msg, code="wire.auth.role", next_step="Use an identity with that role.")
        for kind in body.kinds:
            if kind not in KINDS:
                msg = f"There are no records of kind {kind[:40]!r}."
                raise InputError(msg, code="input.audit.kind", next_step=f"There are: {', '.join(sorted(KINDS))}.")
        own: list[str] | None = None
        dataset = body.dataset
        if everything:
            found = self._store.datasets.find(dataset) if dataset is not None else None
            dataset = found.facts.id if found is not None else dataset
        else:
            own = [r.facts.id for r in self._store.datasets.list() if r.facts.owner == principal.name]
            if dataset is not None:
                dataset = self._catalogue.find(dataset, principal.name).facts.id
                if dataset not in own:
                    msg = "This dataset is not yours."
                    raise NotAuthorised(msg, code="wire.auth.owner", next_step="Ask its owner.")
        return await asyncio.to_thread(self._read, body, dataset, own)

    def _read(self, body: AuditShow, dataset: str | None, own: list[str] | None) -> tuple[AuditRecord, ...]:
        audit, limit = self._store.audit, max(1, min(body.limit, MAX_RECORDS))
        size = len(audit)
        first = number_at(audit, body.since - SLACK, size) if body.since > 0 else 0
        below = min(body.below, size) if body.below > 0 else size
        if body.until > 0:
            below = min(below, number_at(audit, body.until + SLACK, size))
        found: list[AuditRecord] = []
        while len(found) < limit and below > first:
            step = audit.show(
                dataset=dataset, datasets=own, who=body.who, kinds=body.kinds or None, red=True if body.red else None,
                first=first, below=below, limit=_STEP if body.since or body.until else limit,
            )  # fmt: skip
            if not step:
                break
            below = step[0].index
            fitting = [r for r in step if r.time >= body.since and (not body.until or r.time < body.until)]
            found = [*fitting, *found]
        return tuple(found[-limit:])


def number_at(audit: AuditLog, time: float, size: int) -> int:
    """Return the number of the first record that is not older than a time; records are in the order of theirs."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        if audit.record(middle).time < time:
            low = middle + 1
        else:
            high = middle
    return low
