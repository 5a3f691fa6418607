"""group_by_dynamic and pivot of private rows: a group_by by another name."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import polars
import pytest
from bastion_plan import nodes as n
from bastion_policy.model import Policy, Role, RoleKind
from bastion_policy.verdict import Outcome
from drive import World
from polars.testing import assert_frame_equal
from query import Q, exprs

import bastion.expressions as pl

N = 12000
MEASURE = Role(RoleKind.MEASURE)
ROLES: dict[str, Role | str] = {
    "id": "identifier", "name": "hidden", "day": "quasi", "moment": "quasi", "local": "quasi", "number": "quasi",
    "sex": "quasi", "town": "quasi", "born": MEASURE, "pay": MEASURE, "hiv": "sensitive", "secret": "sensitive", "wage": MEASURE,
}  # fmt: skip


def people() -> polars.DataFrame:
    rng = np.random.default_rng(3)
    days = [date(1968, 11, 3) + timedelta(days=int(i)) for i in rng.integers(0, 900, N)]
    moments = [datetime(1969, 12, 30, 5, 7) + timedelta(minutes=int(i)) for i in rng.integers(0, 9000, N)]
    local = [datetime(2020, 1, 1) + timedelta(hours=int(i)) for i in rng.integers(0, 9000, N)]
    return polars.DataFrame(
        {
            "id": np.arange(N), "name": [f"p{i}" for i in range(N)], "day": days, "moment": moments, "local": local,
            "number": rng.integers(-60, 60, N), "sex": rng.choice(["f", "m"], N), "town": rng.choice(["a", "b", "c"], N),
            "born": days, "pay": rng.uniform(0, 100, N), "hiv": rng.random(N) < 0.4, "secret": days, "wage": rng.integers(0, 9, N),
        }
    ).with_columns(polars.col("local").dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Paris"))  # fmt: skip


PEOPLE = people()
W = World().add("t", PEOPLE, Policy.default(), ROLES, unit="id")
T = Q("t")
pay = pl.col("pay")


def dynamic(index: str | Any, every: str, *, by: tuple[str, ...] = (), **options: Any) -> Q:
    (column,) = exprs(index)
    aggs = exprs(pay.mean().alias("mean"), pl.len())
    return T.of(n.GroupByDynamic, column, every, aggs, group_by=exprs(*by), **options)


def answered(plan: Q, world: World = W) -> polars.DataFrame:
    assert world.static(plan.plan).outcome is Outcome.RELEASE, world.static(plan.plan).findings
    return world.ask(plan.plan).released


WINDOWS = [
    ("day", "1mo"), ("day", "2mo"), ("day", "5mo"), ("day", "1q"), ("day", "1y"), ("day", "1w"), ("day", "3w"),
    ("day", "10d"), ("moment", "7h"), ("moment", "1d"), ("moment", "90m"), ("moment", "5h"), ("moment", "2d"),
    ("number", "10i"), ("number", "7i"), ("born", "1y"),
]  # fmt: skip


@pytest.mark.parametrize(("index", "every"), WINDOWS)
@pytest.mark.parametrize("by", [(), ("sex",)])
@pytest.mark.parametrize("edges", [False, True])
def test_windows_are_those_of_polars(index: str, every: str, by: tuple[str, ...], edges: bool) -> None:
    plan = dynamic(index, every, by=by, include_boundaries=edges)
    aggs = (polars.col("pay").mean().alias("mean"), polars.len())
    options: dict[str, Any] = {"group_by": list(by) or None, "include_boundaries": edges}
    expected = PEOPLE.sort(index).group_by_dynamic(index, every=every, **options).agg(*aggs).sort(*by, index)
    answer = W.ask(plan.plan)
    found = answer.released
    # windows at both ends that hold few people are put together
    merged = answer.verdict.note.merged
    shown = found.drop_nulls(index).filter(polars.col(by[0]) != "(other)") if by else found.drop_nulls(index)
    kept = expected.join(shown.select(*by, index), on=[*by, index], how="semi", maintain_order="left")
    assert_frame_equal(shown, kept)
    assert shown.height >= expected.height - 4
    assert merged or shown.height == expected.height
    assert found["len"].sum() == N


def test_narrow_numbers_have_their_first_window() -> None:
    """The start of the window of -128 by hundreds is -200, which 8 bits do not hold."""
    numbers = polars.Series("number", [-128] * 40 + [5] * 40 + [120] * 40, dtype=polars.Int8)
    world = World().add("t", polars.DataFrame({"number": numbers, "pay": np.arange(120.0)}), None, {"number": "quasi"})
    found = answered(dynamic("number", "100i"), world)
    assert found.schema["number"] == polars.Int8
    assert found["number"].to_list() == [0, 100, None]
    assert found["len"].to_list() == [40, 40, 40]


OTHER_WINDOWS = {
    "overlapping": (dynamic("day", "1mo", period="2mo"), "windows"),
    "gaps": (dynamic("day", "1mo", period="10d"), "windows"),
    "moved": (dynamic("day", "1mo", offset="3d"), "windows"),
    "closed on the right": (dynamic("day", "1mo", closed="right"), "windows"),
    "from the first row on": (dynamic("day", "1mo", start_by="datapoint"), "windows"),
    "labelled by rows": (dynamic("day", "1mo", label="datapoint"), "windows"),
    "composed": (dynamic("moment", "1d12h"), "windows"),
    "a time zone": (dynamic("local", "1d"), "windows"),
    "rolling": (T.of(n.Rolling, exprs("day")[0], "1mo", exprs(pay.mean().alias("m"))), "windows"),
    "hidden key": (dynamic("day", "1mo", by=("name",)), "hidden-column"),
    "identifier key": (dynamic("day", "1mo", by=("id",)), "identifier"),
    "identifier": (dynamic("id", "2i"), "identifier"),
    "sensitive": (dynamic("secret", "1mo"), "sensitive"),
    "rows inside": (T.of(n.GroupByDynamic, exprs("day")[0], "1mo", exprs(pay.first().alias("m"))), "row-level"),
}


@pytest.mark.parametrize("name", OTHER_WINDOWS)
def test_other_windows_say_why_not(name: str) -> None:
    plan, rule = OTHER_WINDOWS[name]
    verdict = W.static(plan.plan)
    assert verdict.outcome is not Outcome.RELEASE
    assert rule in {f.rule for f in verdict.findings}, verdict.findings
    assert W.ask(plan.plan).table is None


def test_windows_of_few_people_become_one_row_without_a_start() -> None:
    day = [date(2020, 1, 5)] * 50 + [date(2020, 2, 5)] * 40 + [date(2020, 3, 5)]
    frame = polars.DataFrame({"day": day, "pay": np.arange(91.0), "id": np.arange(91)})
    world = World().add("t", frame, Policy.default(), {"day": "quasi", "pay": MEASURE, "id": "identifier"}, unit="id")
    found = answered(dynamic("day", "1mo"), world)
    assert found["day"].to_list() == [date(2020, 1, 1), None]
    assert found["len"].to_list() == [50, 41]
    edges = answered(dynamic("day", "1mo", include_boundaries=True), world)
    assert edges["_upper_boundary"].to_list() == [datetime(2020, 2, 1), None]


def pivot(on: str, columns: tuple[Any, ...], index: tuple[str, ...], values: tuple[str, ...], aggregate: str) -> Q:
    return T.of(n.Pivot, on, columns, index, values, aggregate)


@pytest.mark.parametrize("aggregate", ["sum", "mean", "len"])
@pytest.mark.parametrize("values", [("pay",), ("pay", "number")])
def test_a_pivot_is_that_of_polars(aggregate: str, values: tuple[str, ...]) -> None:
    found = answered(pivot("town", ("a", "c", "nowhere"), ("sex",), values, aggregate))
    expected = (
        PEOPLE.lazy()
        .pivot(
            "town", on_columns=["a", "c", "nowhere"], index="sex", values=list(values), aggregate_function=aggregate  # type: ignore[arg-type]
        )
        .collect()
    )  # fmt: skip
    assert_frame_equal(found, expected, check_row_order=False)


@pytest.mark.parametrize("aggregate", ["min", "median", "max"])
def test_order_statistics_of_a_pivot_are_intervals(aggregate: str) -> None:
    found = answered(pivot("town", ("a", "b"), ("sex",), ("pay",), aggregate))
    grouped = answered(T.group_by("sex", "town").agg(getattr(pay, aggregate)()))
    expected = grouped.pivot("town", on_columns=["a", "b"], index="sex", values="pay")
    assert_frame_equal(found, expected, check_row_order=False)


@pytest.mark.parametrize("few", [0, 1, 9])
def test_cells_of_nobody_and_of_a_few_look_the_same(few: int) -> None:
    rows = [("f", "x", 1.0)] * 40 + [("f", "y", 1.0)] * few + [("m", "x", 1.0)] * 30 + [("m", "y", 2.0)] * 50
    rows += [("m", "z", 5.0)] * 5 + [("f", "z", 5.0)] * 5  # so that there is a remainder row in any case
    frame = polars.DataFrame(rows, schema=["sex", "town", "pay"], orient="row")
    roles = {"sex": "quasi", "town": "quasi", "pay": Role(RoleKind.MEASURE, 0, 10)}
    world = World().add("t", frame, Policy.default(), roles)
    for aggregate, shown in (("sum", [40.0, 30.0]), ("len", [40, 30]), ("mean", [1.0, 1.0])):
        found = answered(pivot("town", ("x", "y", "z"), ("sex",), ("pay",), aggregate), world).sort("sex")
        assert found["x"].to_list() == shown
        assert found["y"].to_list()[0] is None
        assert found["z"].to_list() == [None, None]
        assert found["sex"].to_list() == ["f", "m"]


PIVOTS = {
    "first": (pivot("town", ("a",), ("sex",), ("pay",), "first"), "row-level"),
    "item": (pivot("town", ("a",), ("sex",), ("pay",), "item"), "row-level"),
    "identifier index": (pivot("town", ("a",), ("id",), ("pay",), "sum"), "identifier"),
    "everything else as index": (pivot("town", ("a",), (), ("pay",), "sum"), "hidden-column"),
    "on a measure": (pivot("wage", (1,), ("sex",), ("number",), "sum"), "measure-key"),
    "sensitive": (pivot("hiv", (True,), ("sex",), ("pay",), "sum"), "sensitive"),
    "hidden values": (pivot("town", ("a",), ("sex",), ("name",), "max"), "hidden-column"),
    "identifier values": (pivot("town", ("a",), ("sex",), ("id",), "max"), "identifier"),
}


@pytest.mark.parametrize("name", PIVOTS)
def test_other_pivots_say_why_not(name: str) -> None:
    plan, rule = PIVOTS[name]
    verdict = W.static(plan.plan)
    assert verdict.outcome is not Outcome.RELEASE
    assert rule in {f.rule for f in verdict.findings}, verdict.findings
    assert W.ask(plan.plan).table is None
