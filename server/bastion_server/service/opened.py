"""Whether a sealed dataset may be worked on now, and by whom it may be changed."""

from __future__ import annotations

from collections.abc import Iterable

from bastion_plan.errors import AttestationError, NotAuthorised
from bastion_tee.codes import CHECKS

from bastion_server.channel.keys import Principal
from bastion_server.store import DatasetRecord, Held, Store
from bastion_server.store.keyring import changed, locked


def check_open(store: Store, records: Iterable[DatasetRecord]) -> None:
    """Refuse work on sealed datasets whose key is not here, or of which the catalogue says other than their owner decided.

    So for all tables of the same people: what one's policy says of audiences and budgets holds for the others.

    Raises:
        ServerError: server.locked, server.catalogue.changed. AttestationError: tee.release.decided.
    """
    for record in records:
        # INVARIANT: told by the key that is held, not by the catalogue's mark alone, which somebody may have taken away
        held = store.ring.held(record.facts.id)
        if held is None:
            if record.owner_sealed:
                raise locked(record.facts.name)
            continue
        _check_decided(held, record)
        known = store.witness.of(held.domain)
        for other in known.members if known is not None else ():
            if other != record.facts.id:
                _check_kin(store, other)


def _check_kin(store: Store, dataset: str) -> None:
    held, record = store.ring.held(dataset), store.datasets.find(dataset)
    if held is None:
        raise locked()
    if record is None:
        raise changed()
    _check_decided(held, record)


def _check_decided(held: Held, record: DatasetRecord) -> None:
    if held.decided != record.decided:
        check = CHECKS["tee.release.decided"]
        raise AttestationError(check.sentence, code="tee.release.decided", next_step=check.next_step)


def check_owner(store: Store, record: DatasetRecord, principal: Principal) -> None:
    """Refuse whoever comes under the owner's name with another key than the one that released the dataset's.

    Raises:
        NotAuthorised: wire.auth.owner.
    """
    held = store.ring.held(record.facts.id)
    if held is not None and held.owner != principal.verify_key:
        raise NotAuthorised(
            f"The key of {record.facts.name!r} was released by somebody else of this name.", code="wire.auth.owner",
            next_step="Its owner can take the key back.",
        )  # fmt: skip
