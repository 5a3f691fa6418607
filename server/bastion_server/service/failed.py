"""Failed and stopped queries that count against somebody: an owner counts them no longer."""

from __future__ import annotations

import time
from collections.abc import Callable

from bastion_plan.errors import InputError, NotFound
from bastion_policy.history import Past, cleared, failures
from bastion_wire import messages as m

from bastion_server.channel.keys import Principal
from bastion_server.service.audiences import label
from bastion_server.service.histories import HistoryService, hour
from bastion_server.service.journal import Journal, about
from bastion_server.service.opened import check_open
from bastion_server.service.statements import check_signed
from bastion_server.store import DatasetRecord, Record, Store


class FailedService:
    """Takes the decision of an owner that what failed counts no longer."""

    def __init__(self, store: Store, journal: Journal, histories: HistoryService) -> None:
        self._store, self._journal, self._histories = store, journal, histories

    async def clear(self, body: m.ClearFailures, principal: Principal, record: DatasetRecord) -> m.Cleared:
        """Count the failures of an audience no longer, of all tables of the people; `record` is the principal's.

        INVARIANT: each of them may have told a bit about one person, and as many more may follow. So an owner decides about as many as
        they were shown, signed and on record, and nothing else that was counted at a threshold is forgotten.

        Raises:
            NotFound: missing.audience. InputError: input.failures.none, input.failures.changed. NotAuthorised: wire.auth.*.
            ServerError: server.locked, server.history.*: nothing has changed.
        """
        check_open(self._store, (record,))
        facts = record.facts
        audience, name = self._audience(record, body.who)
        expected = {"action": "clear_failures", "dataset": body.dataset, "who": body.who, "failed": body.failed}
        found = 0

        def change(past: Past, keep: Callable[[Past], None]) -> None:
            nonlocal found
            found, _ = failures(past, hour())
            _check_seen(found, body.failed, name)

            def decide() -> tuple[None, list[Record]]:
                now = time.time()
                check_signed(self._store, principal, body.signed, expected, now)
                keep(cleared(past))
                return None, about(
                    [facts.id], now=now, kind="decision", who=principal.name,
                    summary=f"cleared the count of failed or stopped queries of {name} ({found})",
                    details={"audience": name, "failed": found},
                )  # fmt: skip

            self._journal.change_blocking(decide)

        await self._histories.clear(facts.domain, audience, change)
        return m.Cleared(name, found)

    def _audience(self, record: DatasetRecord, who: str) -> tuple[str, str]:
        """Return the key of an audience, and how it is called to the owner."""
        facts, shared = record.facts, self._store.audiences
        for key in self._store.histories.audiences(facts.domain):
            name = label(self._store, facts, key)
            if who in (name, *shared.members(facts.domain, key)):
                return key, name
        msg = f"Nothing is on record that {who!r} asked about the people of {facts.name!r}."
        raise NotFound(msg, code="missing.audience", next_step="Look at who asked: bastion failures show.")


def _check_seen(found: int, shown: int, name: str) -> None:
    if not found:
        msg = f"No failed queries of {name!r} count."
        raise InputError(msg, code="input.failures.none")
    if found > shown:
        msg = f"{found} failed queries of {name!r} count by now, and you decided about {shown}."
        raise InputError(
            msg, code="input.failures.changed", next_step="Look at them again, and decide about all.", details={"failed": found}
        )  # fmt: skip
