"""What is written down of a query: intent before the run, outcome before the answer. No audit write, no answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

from bastion_server.store import Record, Store


class Journal:
    """Writes audit records, one per dataset concerned, so that every owner sees the whole of what is theirs."""

    def __init__(self, store: Store) -> None:
        self._log = store.audit

    def begin(self, records: Iterable[Record]) -> list[Future[int]]:
        """Hand records to the log; they are on the disk once `settle` returns. Lets an intent's sync overlap the run."""
        return [self._log.append_nowait(record) for record in records]

    async def settle(self, futures: Iterable[Future[int]]) -> None:
        """Wait until records are on the disk.

        Raises:
            ServerError: server.audit.*: nothing may be answered.
        """
        for future in futures:
            await asyncio.shield(asyncio.wrap_future(future))

    async def write(self, records: Iterable[Record]) -> None:
        """Write records and wait until they are on the disk."""
        await self.settle(self.begin(records))


def about(
    datasets: Iterable[str],
    *,
    now: float,
    kind: str,
    who: str,
    summary: str,
    plan_hash: str = "",
    red: bool = False,
    details: dict[str, Any] | None = None,
) -> list[Record]:
    """Return one record per dataset (one without a dataset if there are none)."""
    return [
        Record(now, kind, who, summary, dataset, plan_hash, red, details or {})
        for dataset in (tuple(datasets) or ("",))
    ]
