"""A real server with simulated evidence, owners of sealed tables, and an operator who writes to its catalogue."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from bastion_plan.errors import BastionError
from bastion_server import start
from bastion_server.process import Handle
from bastion_tee import AttestationPolicy

from bastion import Connection, Identity

ALLOWED = AttestationPolicy(unattested=True)


@contextmanager
def without_triggers(catalogue: Path) -> Iterator[sqlite3.Connection]:
    """Write to a catalogue as its triggers forbid it; they are there again before anybody can see."""
    with closing(sqlite3.connect(catalogue, timeout=30, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        triggers = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            database.execute(f"DROP TRIGGER {name}")
        yield database
        for _, text in triggers:
            database.execute(text)
        database.execute("COMMIT")


@dataclass
class Sealed:
    """One server, its owner and scientists, who come anew after each start."""

    folder: Path
    olga: Identity
    people: tuple[Identity, ...]
    server: Handle = field(init=False)
    owner: Connection = field(init=False)
    users: dict[str, Connection] = field(default_factory=dict)

    def up(self) -> None:
        self.server = start(self.folder, owners=[self.olga], users=list(self.people), attest="simulated")
        self.owner = self.connect(self.olga)

    def connect(self, who: Identity) -> Connection:
        return Connection(self.server.endpoint, identity=who, server_key=self.server.server_key, attestation=ALLOWED)

    def user(self, name: str) -> Connection:
        """A scientist's session."""
        if name not in self.users:
            self.users[name] = self.connect(next(who for who in self.people if who.name == name))
        return self.users[name]

    def down(self) -> None:
        for connection in (self.owner, *self.users.values()):
            connection.close()
        self.users.clear()
        self.server.stop()

    @property
    def catalogue(self) -> Path:
        return self.folder / "catalogue.db"

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What the operator reads."""
        with closing(sqlite3.connect(self.catalogue)) as database:
            return database.execute(statement, values).fetchall()

    def write(self, statement: str, values: Sequence[Any] = ()) -> int:
        """What the operator writes, whatever triggers say; returns how many rows that was."""
        with without_triggers(self.catalogue) as database:
            return database.execute(statement, values).rowcount

    @contextmanager
    def written(self, *tables: str) -> Iterator[None]:
        """Put some tables back as they are now, afterwards."""
        before = {table: self.rows(f"SELECT * FROM {table}") for table in tables}
        try:
            yield
        finally:
            with without_triggers(self.catalogue) as database:
                for table, rows in before.items():
                    database.execute(f"DELETE FROM {table}")
                    if rows:
                        places = ", ".join("?" * len(rows[0]))
                        database.executemany(f"INSERT INTO {table} VALUES ({places})", rows)


def code_of(work: Any) -> str:
    """Return the code that some work ends with."""
    with pytest.raises(BastionError) as caught:
        work()
    return caught.value.code
