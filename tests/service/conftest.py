"""A real server process on loopback, an owner, two scientists, and the real Titanic table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from bastion_server import start
from bastion_server.process import Handle

from bastion import Connection, Identity

TITANIC = Path(__file__).parents[2] / "notebooks" / "data" / "titanic.csv"


@dataclass
class World:
    """One server and its people."""

    server: Handle
    folder: Path
    olga: Identity
    alice: Identity
    bob: Identity
    owner: Connection
    user: Connection
    other: Connection

    def connect(self, who: Identity) -> Connection:
        return Connection(self.server.endpoint, identity=who, server_key=self.server.server_key)


@pytest.fixture(scope="session")
def titanic() -> pl.DataFrame:
    return pl.read_csv(TITANIC)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, titanic: pl.DataFrame) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("server")
    olga, alice, bob = (Identity.create(name) for name in ("olga", "alice", "bob"))
    with start(folder, owners=[olga], users=[alice, bob]) as server:
        people = [Connection(server.endpoint, identity=who, server_key=server.server_key) for who in (olga, alice, bob)]
        people[0].client.polars.send_df(titanic, name="titanic", sanitized_columns=["Name"], unit="row")
        yield World(server, folder, olga, alice, bob, *people)
        for connection in people:
            connection.close()
