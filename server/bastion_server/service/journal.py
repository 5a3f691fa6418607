"""What is written down: intent before a run, outcome before an answer, a change before it takes effect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
from bastion_plan.errors import ServerError

from bastion_server.store import Record, Store

T = TypeVar("T")

#: what a record about several owners' data may say: what the plan says, what who asks is told, and what was paid
_OF_ALL = frozenset(
    {"columns", "findings", "uses", "words", "grant", "rows", "epsilon", "of", "left", "run", "steps", "paid"}
)
JOINT = "joint"  #: marks a record about several owners' data


class Journal:
    """Writes audit records, one per dataset concerned, so that every owner sees the whole of what is theirs."""

    def __init__(self, store: Store) -> None:
        self._log = store.audit
        self._store = store

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

    async def change(self, apply: Callable[[], tuple[T, list[Record]]]) -> T:
        """Change the catalogue and write that down; both, or the change not at all.

        `apply` runs in a thread, inside a transaction; it returns what it made, and the records about it.
        INVARIANT: the records are on the disk before the transaction commits, so nothing that is not on record ever takes
        effect. Where the commit itself then fails, a further record says so.
        """
        return await asyncio.to_thread(self.change_blocking, apply)

    def change_blocking(self, apply: Callable[[], tuple[T, list[Record]]]) -> T:
        """As `change`, for threads."""
        written: list[Record] = []
        try:
            with self._store.transaction():
                made, records = apply()
                futures = self.begin(records)
                written = records
                for future in futures:
                    future.result()
        except BaseException:
            with suppress(ServerError):
                for future in self.begin(
                    msgspec.structs.replace(r, kind="note", summary=f"did not take effect: {r.summary}", details={})
                    for r in written
                ):
                    future.result()
            raise
        return made


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
    joint: bool = False,
) -> list[Record]:
    """Return one record per dataset (one without a dataset if there are none).

    joint: they have several owners, see `Subject.joint`.

    INVARIANT: each owner reads the records of their own datasets, so one about others' data as well says nothing that was measured
    and not told: sizes of cells, what is covered, how much was hidden.
    """
    said = details or {}
    if joint:
        said = {key: value for key, value in said.items() if key in _OF_ALL} | {JOINT: True}
    return [Record(now, kind, who, summary, dataset, plan_hash, red, said) for dataset in (tuple(datasets) or ("",))]
