"""What was released before: one sealed file per (unit domain, audience), and one with the items of each unit domain."""

from __future__ import annotations

import contextlib
import sqlite3
from functools import partial

from bastion_plan.errors import ServerError

from bastion_server.store.audiences import enter
from bastion_server.store.database import Database
from bastion_server.store.keyring import HISTORY, KeyRing, changed
from bastion_server.store.sealed import SealedFiles, SealedRef
from bastion_server.store.witness import Known, Row, Witness

#: the audience under which a unit domain's items are kept; no audience has this name
ROSTER = ""


class Histories:
    """Repository of histories.

    INVARIANT: a history is replaced in one step by the next one, and only by one that was made of it: a release that was
    judged against an older history does not get in, and a crash leaves the one before or the one after. Of sealed tables' people
    it is the one that is known (witness.py), whatever the catalogue says.
    """

    def __init__(self, database: Database, sealed: SealedFiles, ring: KeyRing, witness: Witness) -> None:
        self._database, self._sealed, self._ring, self._witness = database, sealed, ring, witness

    def get(self, unit_domain: str, audience: str) -> tuple[int, bytes]:
        """Return (number, bytes) of the history; (0, b"") where nothing was kept yet.

        Raises:
            ServerError: server.sealed.*, the file is damaged or gone; server.catalogue.changed. Then nothing is released.
        """
        row = self._witness.checked(
            unit_domain,
            lambda: self._database.row(
                "SELECT * FROM histories WHERE unit_domain = ? AND audience = ?", (unit_domain, audience)
            ),
            lambda known, row: known.histories.get(audience) == (None if row is None else _row(row)),
        )
        if row is None:
            return 0, b""
        ref = SealedRef(row["file"], row["wrapped_key"], row["size"], row["sha256"])
        reader = self._sealed.reader(ref, self._ring.of_domain(unit_domain), HISTORY)
        try:
            return row["seq"], reader.read(0, reader.size)
        finally:
            reader.close()

    def put(
        self, unit_domain: str, audience: str, text: bytes, *, expected: int, now: float, who: str | None = None
    ) -> int:
        """Keep the next history after the one numbered `expected`; returns its number.

        who: an identity of the audience, to whom the release is made (None: the audience is an identity). Inside another transaction it
        is kept with what that one changes.

        Raises:
            ServerError: server.history.stale, another release, or another sealed table of these people, came in between, or `who` is
                in another audience now; nothing was kept. server.catalogue.changed.
        """
        # INVARIANT: a history names people of all tables of its domain: without the key of each sealed one it opens for nobody
        under = self._ring.writing(unit_domain)
        with self._sealed.writer(under, HISTORY) as writer:
            for start in range(0, len(text), 8 << 20):
                writer.write(text[start : start + (8 << 20)])
            ref = writer.commit()
        try:
            with self._database.transaction() as connection:
                row = connection.execute(
                    "SELECT * FROM histories WHERE unit_domain = ? AND audience = ?", (unit_domain, audience)
                ).fetchone()
                known = self._witness.of(unit_domain)
                if known is not None and known.histories.get(audience) != (None if row is None else _row(row)):
                    raise changed()
                # a table of these people came or went meanwhile
                if (0 if row is None else row["seq"]) != expected or self._ring.writing(unit_domain) != under:
                    msg = "Another answer was released at the same time."
                    raise ServerError(msg, code="server.history.stale", next_step="Ask again.")
                if audience != ROSTER:
                    enter(connection, unit_domain, audience, audience if who is None else who, self._witness)
                old = "" if row is None else row["file"]
                connection.execute(
                    "INSERT OR REPLACE INTO histories VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (unit_domain, audience, expected + 1, ref.name, ref.wrapped_key, ref.size, ref.sha256, now),
                )
                made = (audience, expected + 1, ref.name, ref.wrapped_key, ref.size, ref.sha256)
                self._witness.change(unit_domain, partial(Known.told, row=made))
                if old:
                    self._database.after_commit(partial(self._remove, old))
        except BaseException:
            self._remove(ref.name)
            raise
        return expected + 1

    def reseal(self, unit_domain: str) -> None:
        """Write the histories of a unit domain anew: a key under which they were is retired (`KeyRing.retire`).

        In the transaction in which the table goes: where that fails, they are as they were.

        Raises:
            ServerError: server.locked, server.sealed.*.
        """
        for audience in (ROSTER, *self.audiences(unit_domain)):
            number, text = self.get(unit_domain, audience)
            if not number:
                continue
            with self._sealed.writer(self._ring.writing(unit_domain), HISTORY) as writer:
                writer.write(text)
                ref = writer.commit()
            with self._database.transaction() as connection:
                (old,) = connection.execute(
                    "SELECT file FROM histories WHERE unit_domain = ? AND audience = ?", (unit_domain, audience)
                ).fetchone()
                went = connection.execute(
                    "UPDATE histories SET file = ?, wrapped_key = ?, size = ?, sha256 = ? WHERE unit_domain = ? AND audience = ? AND seq = ?",
                    (ref.name, ref.wrapped_key, ref.size, ref.sha256, unit_domain, audience, number),
                ).rowcount
                if went:
                    made = (audience, number, ref.name, ref.wrapped_key, ref.size, ref.sha256)
                    self._witness.change(unit_domain, partial(Known.told, row=made))
                # one that went on meanwhile was written without the retired key
                self._database.after_commit(partial(self._remove, old if went else ref.name))

    def audiences(self, unit_domain: str) -> tuple[str, ...]:
        """Return the audiences that something was released to."""
        statement = "SELECT audience FROM histories WHERE unit_domain = ? AND audience <> ? ORDER BY audience"
        return self._witness.checked(
            unit_domain,
            lambda: tuple(row["audience"] for row in self._database.rows(statement, (unit_domain, ROSTER))),
            lambda known, found: set(found) == known.histories.keys() - {ROSTER},
        )

    def prune(self) -> int:
        """Forget the histories of unit domains that were one deleted table's own; return how many."""
        gone = self._database.rows(
            "SELECT unit_domain, file FROM histories WHERE unit_domain IN "
            "(SELECT id FROM datasets WHERE deleted IS NOT NULL)"
        )
        for row in gone:
            with self._database.transaction() as connection:
                connection.execute("DELETE FROM histories WHERE file = ?", (row["file"],))
            self._remove(row["file"])
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM audiences WHERE unit_domain IN (SELECT id FROM datasets WHERE deleted IS NOT NULL)"
            )
            connection.execute(
                "DELETE FROM witnesses WHERE unit_domain IN (SELECT id FROM datasets WHERE deleted IS NOT NULL)"
            )
        return len(gone)

    def files(self) -> set[str]:
        """Return the names of all sealed files that are referred to."""
        return {row["file"] for row in self._database.rows("SELECT file FROM histories")}

    def _remove(self, name: str) -> None:
        # its key is gone with the row; a file the disk would not delete now is swept away at the next start
        with contextlib.suppress(OSError):
            self._sealed.remove(name)


def _row(row: sqlite3.Row) -> Row:
    return row["audience"], row["seq"], row["file"], row["wrapped_key"], row["size"], row["sha256"]
