"""connect() once more: a connection that serves stays, with all frames made with it; one that is replaced says so."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bastion_plan.errors import BastionError, InputError, WireError
from fake_session import SERVER_KEY, fake_connection

from bastion.client.endpoints import write_profile
from bastion.language import Environment, evaluate
from bastion.language.connecting import open_connection
from bastion.render.verdicts import assigned, verdict_of

TABLE = pl.DataFrame({"Pclass": [1, 2, 3] * 8, "Age": [30.0] * 24})


class Place:
    """A session of cells whose connections are counted."""

    def __init__(self) -> None:
        self.made: list[Any] = []
        self.alive = True
        self.env = Environment(connector=self.open)

    async def open(self, endpoint: str | None, identity: str | None, **_: Any) -> Any:
        connection = fake_connection({"titanic": TABLE}, flavour="async")
        connection._endpoint = endpoint or "tcp://fake:1"
        connection.ping = self.ping
        self.made.append(connection)
        return connection

    async def ping(self) -> float:
        if not self.alive:
            msg = "The server cannot be reached."
            raise WireError(msg, code="wire.unreachable")
        return 0.0

    def run(self, *cells: str) -> Any:
        async def all_of_them() -> Any:
            result = None
            for cell in cells:
                result = await evaluate(cell, self.env)
            return result

        return asyncio.run(all_of_them())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    for name in ("BASTION_IDENTITY", "BASTION_ENDPOINT", "BASTION_SERVER_KEY", "BASTION_ATTESTATION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BASTION_PROFILE", str(tmp_path / "profile.toml"))
    monkeypatch.setenv("BASTION_KEYS", str(tmp_path))
    for name in ("alice", "bob"):
        (tmp_path / f"{name}.key").write_text("key")
    write_profile("tcp://fake:1", SERVER_KEY, str(tmp_path / "alice.key"))
    return Place()


HELD = ("connect()", 'titanic = dataset("titanic")', 'rates = titanic.group_by("Pclass").agg(pl.col("Age").mean())')


@pytest.mark.parametrize("again", ["connect()", 'connect(identity="alice")', 'connect("tcp://fake:1")', "%connect"])
def test_the_same_connection_stays_and_its_frames_work(place, again):
    place.run(*HELD, again, "table = rates.collect()")
    assert len(place.made) == 1
    assert verdict_of(place.env.names["rates"]).startswith("✓")


@pytest.mark.parametrize("again", ['connect(identity="bob")', 'connect("tcp://other:1")'])
def test_another_server_or_person_takes_its_place_and_held_frames_say_so(place, again):
    before = dict(place.env.names)
    place.run(*HELD, again)
    assert len(place.made) == 2
    frame = place.env.names["rates"]
    assert verdict_of(frame) == ""
    assert assigned(before, place.env.names) == []
    with pytest.raises(WireError) as caught:
        asyncio.run(frame.release())
    assert caught.value.message == "This frame belongs to a connection that connect() replaced."
    assert caught.value.next_step == 'Run the cell again that makes it: titanic = dataset("titanic").'
    with pytest.raises(WireError, match="Run the cell again that makes it"):
        asyncio.run(frame.connection.requests())


def test_a_key_or_a_profile_that_changed_is_another_connection(place, tmp_path):
    place.run("connect()")
    (tmp_path / "alice.key").unlink()
    (tmp_path / "alice.key").write_text("another")
    import os

    os.utime(tmp_path / "alice.key", ns=(1, 1))
    place.run("connect()")
    assert len(place.made) == 2
    write_profile("tcp://fake:1", "x" * 40, str(tmp_path / "alice.key"))
    place.run("connect()")
    assert len(place.made) == 3


def test_a_connection_that_is_dead_is_opened_anew(place):
    place.run("connect()")
    place.alive = False
    place.run("connect()")
    assert len(place.made) == 2


def test_what_a_cell_writes_without_a_connection(place):
    with pytest.raises(InputError) as caught:
        place.run("datasets()")
    assert caught.value.next_step == (
        'Write connect(), or connect("bastion1.…", identity="NAME") with an owner\'s invitation.'
    )


@pytest.mark.parametrize(
    ("endpoint", "says"), [("tcp://127.0.0.1:1", "Add who you are: connect("), (None, "Write connect(")]
)
def test_what_lacks_is_said_as_a_cell_writes_it(place, tmp_path, endpoint, says):
    (tmp_path / "profile.toml").unlink()
    with pytest.raises(BastionError) as caught:
        asyncio.run(open_connection(endpoint))
    assert says in caught.value.next_step
    assert "bastion keys create NAME" in caught.value.next_step
    assert "Identity" not in caught.value.next_step
