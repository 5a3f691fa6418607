"""Owners' signed statements: each counts once."""

from __future__ import annotations

import sqlite3

from bastion_plan.errors import NotAuthorised

from bastion_server.store.database import Database


class Statements:
    """Signed statements seen before: each counts once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def use(self, signer: str, nonce: bytes, now: float) -> None:
        """Record the nonce of a signed statement. Call it in the transaction of what the statement orders.

        Raises:
            NotAuthorised: wire.auth.replay, when this signer used it before.
        """
        with self._database.transaction() as connection:
            try:
                connection.execute("INSERT INTO statements VALUES (?, ?, ?)", (signer, nonce, now))
            except sqlite3.IntegrityError:
                msg = "This signed statement was used before."
                raise NotAuthorised(
                    msg, code="wire.auth.replay", reason="Each counts once.", next_step="Sign it anew."
                ) from None
