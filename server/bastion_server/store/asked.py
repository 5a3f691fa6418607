"""The last queries of each dataset, so that its owner can try another policy on them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from bastion_server.store.database import Database

MAX_PLAN = 256 << 10  #: bytes of a plan that is kept
MAX_KEPT = 1000  #: different queries of a dataset that are kept
MAX_WAITING = 2000  #: of those not yet written


@dataclass(frozen=True)
class Asked:
    """A query that was asked: its plan as it was sent, how often, and when last."""

    dataset: str
    plan_hash: str
    requester: str
    plan: bytes
    times: int
    last: float


class AskedPlans:
    """Repository of plans that were run.

    It is a help for owners and no record: the audit log has each query. What was not yet written when the power fails is
    missing, and nothing else.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, str, str], Asked] = {}

    def note(self, datasets: Iterable[str], plan_hash: str, plan: bytes, requester: str, now: float) -> None:
        """Take note of a query; it is written with the next `flush`. Costs no disk."""
        if len(plan) > MAX_PLAN:
            return
        with self._lock:
            for dataset in datasets:
                key = (dataset, plan_hash, requester)
                known = self._waiting.get(key)
                if known is None and len(self._waiting) >= MAX_WAITING:
                    continue
                times = 1 if known is None else known.times + 1
                self._waiting[key] = Asked(dataset, plan_hash, requester, plan, times, now)

    def flush(self) -> None:
        """Write what waits, and forget the oldest above MAX_KEPT of a dataset.

        Raises:
            ServerError: the store cannot be written.
        """
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT INTO asked VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (dataset, plan_hash, requester)"
                " DO UPDATE SET times = times + excluded.times, last = excluded.last",
                [(a.dataset, a.plan_hash, a.requester, a.plan, a.times, a.last) for a in waiting.values()],
            )
            for dataset in {a.dataset for a in waiting.values()}:
                connection.execute(
                    "DELETE FROM asked WHERE dataset = ? AND rowid NOT IN"
                    " (SELECT rowid FROM asked WHERE dataset = ? ORDER BY last DESC, rowid DESC LIMIT ?)",
                    (dataset, dataset, MAX_KEPT),
                )

    def of(self, dataset: str, limit: int) -> list[Asked]:
        """Return the last queries of a dataset, newest first; those that wait are written first."""
        self.flush()
        rows = self._database.rows("SELECT * FROM asked WHERE dataset = ? ORDER BY last DESC LIMIT ?", (dataset, limit))
        return [Asked(r["dataset"], r["plan_hash"], r["requester"], r["plan"], r["times"], r["last"]) for r in rows]

    def forget(self, dataset: str) -> None:
        """Forget the queries of a dataset that is gone. Call it in the transaction that takes it away."""
        with self._lock:
            self._waiting = {key: asked for key, asked in self._waiting.items() if key[0] != dataset}
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM asked WHERE dataset = ?", (dataset,))
