"""Results of approved queries: computed once, kept sealed for the requester while the approval holds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from bastion_server.store.binding import parts
from bastion_server.store.database import Database
from bastion_server.store.keyring import changed
from bastion_server.store.sealed import SealedRef


@dataclass(frozen=True)
class KeptResult:
    """An approved result. sealed: its Arrow IPC file. height: its rows. created: when it was computed, seconds since 1970."""

    sealed: SealedRef
    height: int
    created: float = field(default=0.0, compare=False)


class Results:
    """Repository of kept results, at most one per grant.

    INVARIANT: an approval gives one table. A plan may draw at random (a sample without a seed) or leave an order to the
    engine, so running it again for each fetch would hand out more than what was approved. Of sealed datasets this process knows which
    approvals gave theirs: a catalogue that says less answers nothing.
    """

    def __init__(self, database: Database, remove_file: Callable[[str], None]) -> None:
        self._database = database
        self._remove_file = remove_file
        self._given: set[str] = set()

    def get(self, grant: str) -> KeptResult | None:
        """Return what is kept for a grant.

        Raises:
            ServerError: server.catalogue.changed.
        """
        given = grant in self._given
        row = self._database.row("SELECT * FROM results WHERE grant_id = ?", (grant,))
        if row is None:
            if given and grant in self._given:
                raise changed()
            return None
        return KeptResult(SealedRef(row["file"], row["wrapped_key"], row["size"], row["sha256"]), row["height"], row["created"])

    def put(self, grant: str, result: KeptResult, now: float, *, sealed: bool = False) -> None:
        """Keep the result of a grant. sealed: it is of a sealed dataset."""
        ref = result.sealed
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?)",
                (grant, ref.name, ref.wrapped_key, ref.size, ref.sha256, result.height, now),
            )
            if sealed:
                self._database.after_commit(lambda: self._given.add(grant))

    def prune(self) -> int:
        """Forget the results whose grant has ended or whose data was replaced or deleted; return how many."""
        rows = self._database.rows("SELECT id, version, policy_version FROM datasets WHERE deleted IS NULL")
        live = {(row["id"], row["version"], row["policy_version"]) for row in rows}
        kept = self._database.rows(
            "SELECT grant_id, file, ended, binding FROM results JOIN grants ON grants.id = grant_id"
        )
        gone = [row for row in kept if row["ended"] or not live.issuperset(parts(row["binding"]))]
        for row in gone:
            with self._database.transaction() as connection:
                connection.execute("DELETE FROM results WHERE grant_id = ?", (row["grant_id"],))
            # its key is gone with the row; a file the disk would not delete now is swept away at the next start
            with contextlib.suppress(OSError):
                self._remove_file(row["file"])
        return len(gone)

    def files(self) -> set[str]:
        """Return the names of all sealed files that are referred to."""
        return {row["file"] for row in self._database.rows("SELECT file FROM results")}
