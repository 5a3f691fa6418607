"""One place shows values: types are added by registering them, and both front ends show what it says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
from bastion_plan.nodes import Inline
from bastion_policy.verdict import Outcome, ReleaseNote, StaticVerdict
from bastion_widgets import show
from bastion_wire import messages as m
from fake_session import fake_connection

from bastion.client.denied import Denied, NotApproved
from bastion.client.release_facts import Marks
from bastion.language import Environment
from bastion.render import bundles, tables

VIEW = "application/vnd.jupyter.widget-view+json"


class Chart:
    """A new kind of value."""

    def __repr__(self) -> str:
        return "a \x1b[31mchart"


class Special(Chart):
    """One of its subclasses."""


@pytest.fixture
def screen() -> show.Screen:
    return show.Screen(Environment())


@pytest.fixture
def registers() -> Iterator[None]:
    before = dict(bundles._MAKERS), dict(show._MAKERS)
    yield
    for makers, kept in zip((bundles._MAKERS, show._MAKERS), before, strict=True):
        makers.clear()
        makers.update(kept)


def denied(outcome: str, *, safe: bool = False, kind: type[Denied] = Denied) -> Denied:
    verdict = StaticVerdict(Outcome.REVIEW, "")
    connection = fake_connection({}, flavour="async")
    if kind is NotApproved:
        return NotApproved(m.RequestInfo("r-1", "denied", "alice", "", "hash", (), 0.0), Inline(()), connection)
    return Denied(
        m.Denial(outcome, "row-level", "Rows.", "", "hash", verdict, has_safe_part=safe), Inline(()), connection
    )


def test_a_value_without_an_entry_shows_its_repr(screen):
    assert screen.outputs(Chart()) == [{"text/plain": "a �chart"}]
    assert screen.outputs("text") == [{"text/plain": "'text'"}]
    assert screen.displayed("a\x1b[1m\nb") == [{"text/plain": "a�\nb"}]


@pytest.mark.usefixtures("registers")
def test_a_new_kind_of_value_is_added_in_one_place(screen):
    bundles.register(Chart, lambda value: {"text/plain": "static"})
    assert screen.outputs(Special()) == [{"text/plain": "static"}]
    assert screen.static(Chart()) == {"text/plain": "static"}
    show.register(Chart, lambda value, screen: [bundles.bundle(value), {VIEW: {}, "text/plain": ""}])
    assert len(screen.outputs(Special())) == 2
    assert screen.outputs(Chart(), widgets=False) == [{"text/plain": "static"}]
    show.register(Special, lambda value, screen: None)
    assert screen.outputs(Special()) == [{"text/plain": "static"}]


def test_a_table_cut_short_has_a_widget_below(screen):
    assert len(screen.outputs(pl.DataFrame({"a": [1]}))) == 1
    static, view = screen.outputs(pl.DataFrame({"a": range(50)}))
    assert VIEW not in static
    assert VIEW in view
    assert len(screen.outputs(pl.Series("a", range(50)))) == 2
    assert len(screen.outputs(pl.DataFrame({"a": range(50)}), widgets=False)) == 1


def test_the_last_answer_brings_its_footer():
    connection = fake_connection({"t": pl.DataFrame({"a": [1]})}, flavour="async")
    screen = show.Screen(Environment(connection))
    from bastion.client.connection import Released

    frame = pl.DataFrame({"a": [1]})
    connection.last = Released(frame, ReleaseNote(approved=True), "hash", 0.0, None, None)
    assert "Approved by the owner." in screen.outputs(frame)[0]["text/plain"]
    assert "Approved" not in screen.outputs(frame.clone())[0]["text/plain"]


@pytest.mark.parametrize(
    ("outcome", "safe", "count"), [("review", False, 2), ("refuse", True, 2), ("refuse", False, 1)]
)
def test_a_denial_shows_its_reason_first_and_the_ways_on_below(screen, outcome, safe, count):
    found = denied(outcome, safe=safe)
    shown = screen.denial(found)
    assert len(shown) == count
    assert "Rows." in shown[0]["text/html"]
    assert VIEW not in shown[0]
    assert screen.environment.names["denied"] is found
    assert len(screen.denial(found, widgets=False)) == 1


def test_what_an_owner_decided_is_not_bound(screen):
    screen.denial(denied("refuse", kind=NotApproved))
    assert "denied" not in screen.environment.names


def test_nothing_of_ipywidgets_is_loaded_before_it_is_needed():
    code = "import sys, bastion_widgets.show; sys.exit('ipywidgets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_lists_of_one_kind_are_one_table(screen):
    connection = fake_connection({"t": pl.DataFrame({"a": [1]}), "u": pl.DataFrame({"b": [1]})}, flavour="sync")
    data: dict[str, Any] = screen.outputs(connection.datasets())[0]
    assert data["text/plain"].startswith("dataset")
    records = [m.AuditRecord(0, 0.0, "query", "alice", "asked")]
    assert "asked" in screen.outputs(records)[0]["text/html"]
    assert screen.outputs([1, "a"]) == [{"text/plain": "[1, 'a']"}]
    connection.close()


def test_none_of_all_cells_is_no_safe_part():
    for safe, total, offered in ((0, 0, True), (3, 7, True), (0, 7, False)):  # 0 of 0: not told
        denial = m.Denial(
            "review", "history", "Near.", "", "hash", StaticVerdict(Outcome.REVIEW, ""), has_safe_part=True,
            safe_cells=safe, total_cells=total,
        )  # fmt: skip
        told = Denied(denial, Inline(()), fake_connection({}, flavour="async"))
        assert told.has_safe_part == offered
        assert ("safe_part()" in told.next_step) == offered


def test_no_budgets_are_a_sentence(screen):
    from bastion.client.spending import budget_table

    (shown,) = screen.outputs(budget_table([]))
    assert shown == {"text/plain": "No policy adds noise to the answers, so there are no budgets."}
    assert "shape: (0, 1)" in screen.outputs(pl.DataFrame(schema={"a": pl.Int64}))[0]["text/plain"]


def test_a_table_of_nothing_but_nulls_has_a_next_step():
    note, told = ReleaseNote(partial=True), "No number of it may be shown."
    keys = Marks(frozenset({"mean"}), ("sex",))
    nulls = pl.DataFrame({"sex": ["f", "m"], "mean": pl.Series([None, None], dtype=pl.Float64)})
    some = nulls.with_columns(mean=pl.Series([None, 1.0]))
    assert told in tables.text(nulls, note, marks=keys)
    assert told in tables.table_html(nulls, note, marks=keys)
    assert told not in tables.text(some, note, marks=keys)
    assert told not in tables.text(nulls, ReleaseNote(), marks=keys), "the data's own nulls are no doing of the guard"


@pytest.mark.parametrize("outcome", ["review", "refuse"])
def test_a_closed_zone_says_what_would_pass(outcome):
    verdict = StaticVerdict(Outcome.REVIEW, "")
    denial = m.Denial(outcome, "closed-zone", "The owner releases nothing.", "", "hash", verdict)
    found = Denied(denial, Inline(()), fake_connection({}, flavour="async"))
    assert "What would pass: Nothing" in bundles.bundle(found)["text/plain"]
    assert found.fix in found.next_step
    assert denied(outcome).fix == ""
