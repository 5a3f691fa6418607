"""A scientist whose failed queries are used up, and the owner who clears the count: over the wire, on a real server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bastion_cli.main import main
from bastion_plan.errors import ServerError
from bastion_policy.history import MOST_A_DAY
from bastion_server import start
from bastion_widgets import OwnerPanel
from click.testing import CliRunner

from bastion import BastionError, Connection, Denied, Identity
from bastion.policy import Aggregation, Policy, Review

pytestmark = pytest.mark.timeout(300)
FRAME = pl.DataFrame({"age": [20 + i % 50 for i in range(300)], "pay": [1000.0 + i % 90 for i in range(300)]})
POLICY = Policy(Aggregation(10), Review(), unit="row", roles={"age": "quasi", "pay": "measure"})
#: seconds in which hardly a query comes to its end
NO_TIME = 1e-9
#: what missing values are filled with, another one each time
VALUES = iter(range(100, 10_000))


class Place:
    """A server's folder and its people, each with a session at most."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "server"
        self.olga = Identity.create("olga", folder)
        self.alice, self.bob = (Identity.create(name) for name in ("alice", "bob"))

    @contextmanager
    def open(self, **limits: float) -> Iterator[list[Connection]]:
        """A server that starts, and the three connections."""
        with ExitStack() as stack:
            server = stack.enter_context(start(self.folder, owners=[self.olga], users=[self.alice, self.bob], **limits))
            yield [
                stack.enter_context(Connection(server.endpoint, identity=who, server_key=server.server_key))
                for who in (self.olga, self.alice, self.bob)
            ]


def computed(connection: Connection, value: int) -> Any:
    """A query that computes, as the guard takes it: it could fail. It has no calls that are tried before data is read."""
    return connection.dataset("staff").fill_null(value).select(pl.len()).fetch()


def fail(connection: Connection) -> None:
    """Ask until a query fails: one is answered where it ends before anybody looks at the clock."""
    with pytest.raises(ServerError) as caught:
        all(computed(connection, value).height for value in VALUES)
    assert caught.value.code == "server.query.failed"


def of_alice(owner: Connection) -> tuple[int, int]:
    row = owner.exposure("staff").audiences.filter(pl.col("audience") == "alice").to_dicts()[0]
    return row["failed"], row["failed_today"]


def code_of(work: Any) -> str:
    with pytest.raises(BastionError) as caught:
        work()
    return caught.value.code


def _by_the_command_line(owner: Connection, folder: Path) -> None:
    olga = folder / "olga.key"

    def run(*words: str, code: int = 0) -> str:
        where = ["--connect", owner.endpoint, "--server-key", owner.server_key, "--as", str(olga)]
        done = CliRunner().invoke(main, ["failures", *words, *where], env={"COLUMNS": "300", "NO_COLOR": "1"})
        assert done.exit_code == code, done.output
        return done.output

    assert "may have told one bit about one person" in run("show", "staff")
    (row,) = json.loads(run("show", "staff", "--json"))
    assert (row["audience"], row["failed"], row["today"]) == ("alice", 1, 1)
    assert "as many more may follow" in run("clear", "staff", "alice", code=1), "nobody said yes"
    assert of_alice(owner) == (1, 1)
    assert json.loads(run("clear", "staff", "alice", "--yes", "--json")) == {"audience": "alice", "cleared": 1}
    assert "None count" in run("show", "staff")
    assert "input.failures.none" in run("clear", "staff", "alice", code=1)


def _in_the_panel(owner: Connection) -> None:
    panel = OwnerPanel(owner)

    def until(condition: Any) -> None:
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end, panel.said
            time.sleep(0.02)

    def click(do: str, **fields: Any) -> None:
        panel._clicked(panel, {"do": do, **fields}, [])

    until(lambda: panel.datasets)
    (dataset,) = [d["id"] for d in panel.datasets]
    click("open_dataset", dataset=dataset)
    until(lambda: panel.failures.get("people"))
    assert "may have told one bit about one person" in panel.failures["means"]
    (alice,) = panel.failures["people"]
    assert (alice["name"], alice["failed"], alice["says"]) == ("alice", 1, "1 (1 of them within a day)")
    click("clear_failures", dataset=dataset, who="alice", failed=0)
    until(lambda: panel.said.get("code") == "input.failures.changed")
    click("clear_failures", dataset=dataset, who="alice", failed=1)
    until(lambda: "1 failed query of alice counts no longer." in panel.said.get("text", ""))
    assert panel.failures["people"] == []
    click("tab", tab="Activity")
    until(lambda: any("queries of alice (1)" in r["what"] for r in panel.activity.get("records", ())))
    panel.close()


def test_a_count_that_is_used_up_is_cleared_by_its_owner_alone(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with place.open() as (owner, alice, bob):
        owner.client.polars.send_df(FRAME, name="staff", policy=POLICY)
        # the rows are numbered once, before what is counted
        for who in (alice, bob):
            assert who.dataset("staff").select(pl.len()).fetch().item() == 300
        assert code_of(lambda: owner.clear_failures("staff", "alice")) == "input.failures.none"
        assert code_of(lambda: owner.clear_failures("staff", "nobody")) == "missing.audience"
    with place.open(seconds=NO_TIME) as (owner, alice, bob):
        for _ in range(MOST_A_DAY):
            fail(alice)
        with pytest.raises(Denied) as caught:
            computed(alice, 60)
        assert caught.value.rule == "edge-budget"
        assert "the owner, whose log has this in red, can clear the count" in caught.value.next_step
        (told,) = owner.audit("staff", who="alice", kinds="outcome", red=True, limit=1)
        assert told.summary == "denied: edge-budget (review)"
        assert of_alice(owner) == (MOST_A_DAY, MOST_A_DAY)
        # neither who is counted nor anybody else decides that they are not, nor does an owner about more than they were shown
        for somebody in (alice, bob):
            assert code_of(lambda c=somebody: c.clear_failures("staff", "alice")) == "wire.auth.owner"
            assert code_of(lambda c=somebody: c.clear_failures("staff", "alice", shown=9)) == "wire.auth.owner"
        assert code_of(lambda: owner.clear_failures("staff", "alice", shown=1)) == "input.failures.changed"
        assert of_alice(owner) == (MOST_A_DAY, MOST_A_DAY)
        with pytest.raises(Denied):
            computed(alice, 60)

        assert owner.clear_failures("staff", "alice") == MOST_A_DAY
        (decided,) = owner.audit("staff", kinds="decision")
        assert (decided.who, decided.details) == ("olga", {"audience": "alice", "failed": MOST_A_DAY})
        assert decided.summary == f"cleared the count of failed or stopped queries of alice ({MOST_A_DAY})"
        assert of_alice(owner) == (0, 0)
        # it is run again, and fails again
        fail(alice)
        assert of_alice(owner) == (1, 1)
        _by_the_command_line(owner, tmp_path)
        fail(alice)
        _in_the_panel(owner)
        assert of_alice(owner) == (0, 0)
        assert owner.verify_audit().ok
    with place.open() as (owner, alice, _):
        assert of_alice(owner) == (0, 0)
        assert computed(alice, 60).height == 1
