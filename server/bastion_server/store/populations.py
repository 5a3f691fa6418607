"""The history of released populations."""

from __future__ import annotations

from collections.abc import Sequence

from bastion_server.store.database import Database


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
