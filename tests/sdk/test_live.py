"""The SDK and the language against a real server process: the main job on the real Titanic table."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as real
import pytest

from bastion import AsyncConnection, Connection, Denied, Identity, NotAuthorised, NotFound, WireError, pl

TITANIC = Path(__file__).resolve().parents[2] / "notebooks" / "data" / "titanic.csv"
OLIVIA, ALICE = Identity.create("olivia"), Identity.create("alice")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    import bastion_server

    with bastion_server.start(tmp_path_factory.mktemp("server"), owners=[OLIVIA], users=[ALICE]) as handle:
        with Connection(handle.endpoint, identity=OLIVIA, server_key=handle.server_key) as owner:
            owner.client.polars.send_df(real.read_csv(TITANIC), name="titanic", sanitized_columns=["Name"])
        yield handle


@pytest.fixture
def alice(server: Any) -> Iterator[Connection]:
    with Connection(server.endpoint, identity=ALICE, server_key=server.server_key) as connection:
        yield connection


@pytest.fixture
def owner(server: Any) -> Iterator[Connection]:
    with Connection(server.endpoint, identity=OLIVIA, server_key=server.server_key) as connection:
        yield connection


def test_survival_by_class(alice: Connection) -> None:
    titanic = alice.client.polars.get_df("titanic")
    frame = titanic.group_by("Pclass").agg(real.col("Survived").mean()).sort("Pclass")
    assert frame.verdict.outcome == "release"
    assert frame.fetch()["Survived"].round(6).to_list() == [0.62963, 0.472826, 0.242363]
    assert alice.last is not None
    assert alice.last.checkpoint is not None


def test_denied_requested_approved(alice: Connection, owner: Connection) -> None:
    rows = alice.dataset("titanic").head(5)
    with pytest.raises(Denied) as caught:
        rows.fetch()
    assert caught.value.outcome == "review"
    assert alice.requests() == []
    request = caught.value.request("to see what the columns hold")
    filed = threading.Event()
    owner.on_request(lambda _: filed.set())

    def approve() -> None:
        (pending,) = owner.requests("pending")
        assert pending.id == request.id
        assert "head(5)" in pending.code
        assert pending.preview().height == 5
        owner.approve(pending, "fine")

    timer = threading.Timer(0.2, approve)
    timer.start()
    table = caught.value.wait(60)
    timer.join()
    assert table["Name"].to_list() == ["*"] * 5
    assert request.state == "approved"


def test_describe_leaves_out_what_may_not_leave(alice: Connection) -> None:
    table = alice.dataset("titanic").describe()
    by = dict(zip(table["statistic"].to_list(), table["Fare"].to_list(), strict=True))
    assert by["count"] == 891
    assert by["mean"] is not None
    assert table["PassengerId"].to_list()[2] is None


def test_save_and_delete(alice: Connection) -> None:
    kept = alice.dataset("titanic").group_by("Sex").agg(pl.col("Survived").mean()).save("by sex")
    assert alice.dataset("by sex").fetch().height == 2
    kept.delete()
    with pytest.raises(NotFound):
        alice.dataset("by sex")


def test_who_is_not_known_and_where_nobody_answers(server: Any) -> None:
    with pytest.raises(NotAuthorised):
        Connection(server.endpoint, identity=Identity.create("mallory"), server_key=server.server_key)
    with pytest.raises(WireError):
        Connection("tcp://127.0.0.1:9", identity=ALICE, server_key=server.server_key, timeout=1)


def test_a_server_whose_key_is_not_known_is_not_trusted(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BASTION_KNOWN_SERVERS", str(tmp_path / "known"))
    with pytest.raises(WireError, match="key is not known"):
        Connection(server.endpoint, identity=ALICE)
    from bastion.client import known_servers

    known_servers.remember(server.endpoint, server.server_key)
    with Connection(server.endpoint, identity=ALICE) as connection:
        assert connection.roles


def test_environment_and_profile(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bastion.client.endpoints import write_profile

    monkeypatch.setenv("BASTION_PROFILE", str(tmp_path / "profile.toml"))
    path = ALICE.save(tmp_path)
    write_profile(server.endpoint, server.server_key, str(path))
    with Connection() as connection:
        assert connection.identity == "alice"


def test_cells_on_the_running_loop(server: Any) -> None:
    from bastion.language import Environment, evaluate

    async def work() -> None:
        async with await AsyncConnection.open(
            server.endpoint, identity=ALICE, server_key=server.server_key
        ) as connection:
            env = Environment(connection)
            await evaluate("import polars as pl\ntitanic = dataset('titanic')", env)
            cell = "titanic.group_by('Pclass').agg(pl.col('Survived').mean()).sort('Pclass')"
            result = await evaluate(cell, env)
            assert result.kind == "frame"
            released = await result.value.release()
            assert released.frame["Survived"].round(6).to_list() == [0.62963, 0.472826, 0.242363]
            with pytest.raises(Denied):
                await evaluate("titanic.select('Name').fetch()", env)
            assert (
                await evaluate("sql('select Sex, count(*) as n from titanic group by Sex').fetch().height", env)
            ).value == 2

    asyncio.run(work())
