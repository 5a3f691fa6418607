"""Named plans: the handles that collect() gives, and the history of released populations."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field

from bastion_plan.errors import NotFound

from bastion_server.store.database import Database


@dataclass(frozen=True)
class NamedPlan:
    """A plan kept for one identity. plan: canonical bytes."""

    id: str
    owner: str
    plan_hash: str
    plan: bytes = field(repr=False)
    created: float
    used: float


class Plans:
    """Repository of named plans."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, plan_hash: str, plan: bytes, owner: str, now: float) -> NamedPlan:
        """Keep a plan; the same plan of the same identity keeps its id."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO plans VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (owner, plan_hash) DO UPDATE SET used = excluded.used",
                ("p-" + secrets.token_hex(8), owner, plan_hash, plan, now, now),
            )
            row = connection.execute(
                "SELECT * FROM plans WHERE owner = ? AND plan_hash = ?", (owner, plan_hash)
            ).fetchone()
            return _plan(row)

    def get(self, plan: str, owner: str) -> NamedPlan:
        """Return a plan of this identity.

        Raises:
            NotFound: missing.plan (also for another's).
        """
        row = self._database.row("SELECT * FROM plans WHERE id = ? AND owner = ?", (plan, owner))
        if row is None:
            msg = f"There is no result {plan!r} of yours."
            raise NotFound(msg, code="missing.plan", next_step="Collect it again.")
        return _plan(row)

    def list(self, owner: str) -> list[NamedPlan]:
        """Return the plans of an identity, oldest first."""
        rows = self._database.rows("SELECT * FROM plans WHERE owner = ? ORDER BY created, id", (owner,))
        return [_plan(row) for row in rows]

    def delete(self, plan: str, owner: str) -> bool:
        """Forget a plan of this identity; return whether there was one."""
        with self._database.transaction() as connection:
            return connection.execute("DELETE FROM plans WHERE id = ? AND owner = ?", (plan, owner)).rowcount == 1

    def prune(self, before: float) -> int:
        """Forget plans not asked for since `before`; return how many."""
        with self._database.transaction() as connection:
            return connection.execute("DELETE FROM plans WHERE used < ?", (before,)).rowcount


class Populations:
    """History of released populations per (unit domain, audience). Append-only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def entries(self, unit_domain: str, audience: str) -> tuple[bytes, ...]:
        """Return what was appended, in order."""
        rows = self._database.rows(
            "SELECT entry FROM populations WHERE unit_domain = ? AND audience = ? ORDER BY seq", (unit_domain, audience)
        )
        return tuple(row["entry"] for row in rows)

    def append(
        self, unit_domain: str, audience: str, entries: Sequence[bytes], *, expected: int, plan_hash: str, now: float
    ) -> bool:
        """Append what a release added, if the history still has `expected` entries; return whether it did.

        INVARIANT: a verdict counts only against the history it was reached with. When two queries of one audience were
        judged at the same time, the second append returns False and the query must be judged again.
        """
        with self._database.transaction() as connection:
            (length,) = connection.execute(
                "SELECT count(*) FROM populations WHERE unit_domain = ? AND audience = ?", (unit_domain, audience)
            ).fetchone()
            if length != expected:
                return False
            connection.executemany(
                "INSERT INTO populations VALUES (?, ?, ?, ?, ?, ?)",
                [(unit_domain, audience, length + i, entry, plan_hash, now) for i, entry in enumerate(entries)],
            )
            return True


def _plan(row: sqlite3.Row) -> NamedPlan:
    return NamedPlan(row["id"], row["owner"], row["plan_hash"], row["plan"], row["created"], row["used"])
