"""A connection that is lost beside a notebook: one line says so, one that it is back, and what waits goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from bastion_server import start
from network import Network

from bastion import Connection, Identity
from bastion.client.endpoints import write_profile
from bastion.client.news import BACK, LOST, MEANWHILE
from bastion.policy import Policy
from bastion_magics.magics import BastionCellError, BastionMagics

TITANIC = Path(__file__).parents[2] / "notebooks" / "data" / "titanic.csv"


@dataclass
class Scene:
    network: Network
    owner: Connection
    magics: BastionMagics
    capsys: pytest.CaptureFixture[str]

    def cell(self, text: str) -> tuple[str, str]:
        """Run a cell; return what was written to standard output and standard error."""
        self.magics.bastion("", text)
        return self.capsys.readouterr()

    def cut(self) -> None:
        self.network.cut()
        connection = self.magics.session.environment.connection
        while connection is not None and connection.state == "back":
            time.sleep(0.01)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple]:
    folder = tmp_path_factory.mktemp("magics")
    olga, alice = (Identity.create(name, folder / "keys") for name in ("olga", "alice"))
    with (
        start(folder / "server", owners=[olga], users=[alice]) as made,
        Connection(made.endpoint, identity=olga, server_key=made.server_key) as owner,
    ):
        owner.client.polars.send_df(pl.read_csv(TITANIC), name="titanic", unit="row")
        yield made, owner, folder


@pytest.fixture
def scene(
    server: tuple, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[Scene]:
    made, owner, folder = server
    monkeypatch.setenv("BASTION_PROFILE", str(tmp_path / "profile.toml"))
    monkeypatch.setattr("bastion_magics.magics.publish_display_data", lambda data, **_: print(data["text/plain"]))
    with Network(made.endpoint) as network:
        write_profile(network.endpoint, made.server_key, str(folder / "keys" / "alice.key"))
        magics = BastionMagics(SimpleNamespace(user_ns={}))
        magics.bastion("connect")
        capsys.readouterr()
        yield Scene(network, owner, magics, capsys)
        magics.session.close()


def test_a_loss_is_said_once_and_the_return_once(scene):
    scene.cut()
    assert scene.cell("1 + 1") == ("2\n", LOST + "\n")
    assert scene.cell("1 + 1") == ("2\n", "")
    scene.network.mend()
    out, err = scene.cell('dataset("titanic").width')
    assert (out, err) == ("12\n", BACK + "\n")
    assert scene.cell("1 + 1") == ("2\n", "")


def test_a_short_loss_is_one_line(scene):
    scene.cut()
    scene.network.mend()
    while scene.magics.session.environment.connection.state != "back":
        time.sleep(0.01)
    assert scene.cell("1 + 1") == ("2\n", MEANWHILE + "\n")


def test_an_error_that_says_it_is_not_said_again(scene):
    scene.cut()
    with pytest.raises(BastionCellError) as caught:
        scene.cell("datasets()")
    assert caught.value.code == "wire.unreachable"
    assert len(caught.value.lines) == 1
    assert scene.capsys.readouterr().err == ""
    with pytest.raises(BastionCellError):
        scene.magics.bastion("datasets")
    assert scene.cell("1 + 1") == ("2\n", "")
    scene.network.mend()
    scene.magics.bastion("datasets")
    assert scene.capsys.readouterr().err == BACK + "\n"


def test_a_cell_that_waits_goes_on(scene):
    def meanwhile() -> None:
        while not any(scene.magics.session.environment.connection._waiting.values()):
            time.sleep(0.02)
        found = scene.owner.requests("pending")
        scene.cut()
        time.sleep(1.2)  # long enough for the waiting cell to say it
        scene.owner.approve(found[0])
        scene.network.mend()

    thread = threading.Thread(target=meanwhile)
    thread.start()
    out, err = scene.cell('dataset("titanic").head(31).fetch(wait=60, reason="to look at them")')
    thread.join()
    assert "shape: (31, 12)" in out
    assert err == f"{LOST}\n{BACK}\n"


def test_a_policy_that_changed_shows_in_the_next_cell(scene):
    made = scene.owner.client.polars.send_df(pl.DataFrame({"x": range(50)}), name="shifting", unit="row")
    scene.cell('kept = dataset("shifting").select("x")')
    before, _ = scene.cell("kept.explain()")
    assert "review" in before.lower()
    scene.owner.set_policy("shifting", Policy.open())
    end = time.monotonic() + 30
    while (after := scene.cell("kept.explain()")[0]) == before:
        assert time.monotonic() < end
    assert "review" not in after.lower()
    made.delete()
