"""A real server with the Titanic table under four policies; every test is a scientist of her own, who has asked nothing yet."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from bastion_server import start
from charts import EVIL

from bastion import Connection, Identity
from bastion.policy import Aggregation, Log, Policy, measure, quasi

TITANIC = Path(__file__).parents[2] / "notebooks" / "data" / "titanic.csv"
ROLES = {
    "PassengerId": "identifier", "Survived": quasi(0, 1), "Pclass": quasi(1, 2, 3), "Name": "hidden", "Sex": quasi("male", "female"),
    "Age": "quasi", "SibSp": "quasi", "Parch": "quasi", "Ticket": "hidden", "Fare": measure(0, 600), "Cabin": "hidden",
    "Embarked": quasi("S", "C", "Q"), "boarded": "quasi",
}  # fmt: skip


def _passengers() -> pl.DataFrame:
    """Return the table, with a day for each passenger."""
    chance = random.Random(3)
    frame = pl.read_csv(TITANIC)
    days = [date(1912, 1, 1) + timedelta(days=int(chance.triangular(0, 300, 100))) for _ in range(frame.height)]
    return frame.with_columns(pl.Series("boarded", days))


@dataclass
class Hall:
    """The server, and who may enter."""

    server: Any
    names: Iterator[str]
    identities: dict[str, Identity]


@pytest.fixture(scope="session")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    folder = tmp_path_factory.mktemp("plots")
    before = os.environ.get("BASTION_PROFILE")
    os.environ["BASTION_PROFILE"] = str(folder / "profile.toml")
    people = {f"ann{i}": Identity.create(f"ann{i}", folder / "keys") for i in range(200)}
    olga = Identity.create("olga", folder / "keys")
    strict = msgspec.structs.replace(Policy.strict(unit="row"), roles=ROLES)
    evil = pl.DataFrame(
        {EVIL: [EVIL, "image"] * 40, "image": ["https://evil.example/x.png"] * 80, "n": [1.0, 2.0] * 40}
    )
    with start(folder / "server", owners=[olga], users=list(people.values())) as server:
        with Connection(server.endpoint, identity=olga, server_key=server.server_key) as owner:
            send = owner.client.polars.send_df
            send(_passengers(), Policy.default(), name="default", unit="row", sanitized_columns=["Name"])
            send(_passengers(), strict, name="strict", unit="row")
            send(_passengers(), Policy(safe_zone=Aggregation(10), unsafe_handling=Log()), name="log", unit="row")
            send(_passengers(), Policy.open(), name="open", unit="row")
            send(evil, Policy.default(), name="evil", unit="row")
        yield Hall(server, (f"ann{i}" for i in count()), people)
    if before is None:
        os.environ.pop("BASTION_PROFILE", None)
    else:
        os.environ["BASTION_PROFILE"] = before


@pytest.fixture
def frame(hall: Hall) -> Iterator[Callable[[str], Any]]:
    """Return a dataset's frame as somebody sees it who has asked nothing yet."""
    me = hall.identities[next(hall.names)]
    with Connection(hall.server.endpoint, identity=me, server_key=hall.server.server_key) as connection:
        yield connection.client.polars.get_df


@pytest.fixture(scope="session")
def passengers() -> pl.DataFrame:
    return _passengers()
