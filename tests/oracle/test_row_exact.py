"""The row oracle explains what is answered in another population's place, and not what only looks like it.

Each question is asked of the judge, whose answer has an explanation, and its answer is then made to tell of few people.
"""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import Any

import polars
import pytest
from bastion_policy.model import Aggregation, Policy, Suppress, measure
from drive import World
from query import Q, concat

import bastion.expressions as pl

sys.path.insert(0, str(Path(__file__).parent))
from row_watched import Watched

T, age, pay, debt, n = Q("t"), pl.col("age"), pl.col("pay"), pl.col("debt"), pl.len()


def table(**changed: Any) -> polars.DataFrame:
    """Sixty people, eight of whom have no debt."""
    data: dict[str, Any] = {
        "id": range(60), "age": range(60), "pay": [float(30 + 7 * i % 61) for i in range(60)],
        "debt": [None if i in (2, 21, 24, 33, 37, 50, 52, 55) else float(11 + 13 * i % 47) for i in range(60)],
        "town": ["ab"[i % 2] for i in range(60)], "sex": ["f" if i < 50 else "m" for i in range(60)],
        "day": [dt.date(2024, 1, 1)] * 60,
    }  # fmt: skip
    return polars.DataFrame(data | changed)


def world(k: int, frame: polars.DataFrame, *more: polars.DataFrame, bounds: tuple[float, float] = (0, 100)) -> World:
    policy = Policy(Aggregation(k), Suppress(), weaken=("saturation",))
    roles: dict[str, Any] = {"id": "identifier", "age": "quasi", "pay": measure(*bounds), "debt": measure(0, 100)}
    found = World(remembers=True)
    for name, one in zip(("t", "s"), (frame, *more), strict=False):
        mine = {c: roles.get(c, "quasi") for c in one.columns}
        found.add(name, one, policy, mine, "id")
    return found


def true(frame: polars.DataFrame, column: str, *where: Any) -> float:
    return float(frame.filter(*where)[column].sum())


# -- a formula of two columns, of which one is told of those that follow from what was told before


def formula() -> tuple[Watched, polars.DataFrame, Q]:
    """What was told before leaves two people of sixteen and seventeen between those that are asked for now."""
    frame = table()
    w = Watched(world(3, frame))
    known = T.drop_nulls("debt")
    w.ask(T.select(debt.filter(age > 15).median()))
    w.ask(concat(known.filter(age < 18), known.filter(age > 12)).select(age.mean(), debt.sum() / n))
    return w, frame, T.filter(age > 15).group_by((age > 35).alias("old")).agg(x=pay.sum() - debt.sum())


def test_a_formula_stands_for_those_who_follow() -> None:
    w, frame, q = formula()
    (x,) = [row["x"] for row in w.ask(q) if not row["old"]]
    c = polars.col("age")
    assert x == pytest.approx(true(frame, "pay", c > 15, c <= 35) - true(frame, "debt", c > 17, c <= 35))


@pytest.mark.parametrize("few", [1, 4])
def test_a_formula_of_any_others_is_found_out(few: int) -> None:
    """Without one of those whom nothing tells apart, or with some of others."""
    w, frame, q = formula()
    c = polars.col("age")
    x = true(frame, "pay", c > 15, c <= 35) - true(frame, "debt", c > 17 + few, c <= 35)
    assert w.rules(q, [{"old": False, "x": x}]) == {"value"}


def test_two_sums_that_one_person_tells_apart_are_found_out() -> None:
    frame = table()
    w = Watched(world(3, frame))
    q = T.select(a=debt.filter(age < 30).sum(), b=pay.filter(age < 30).sum() - debt.filter(age < 31).sum())
    c = polars.col("age")
    a, b = true(frame, "debt", c < 30), true(frame, "pay", c < 30) - true(frame, "debt", c < 31)
    assert w.rules(q, [{"a": a, "b": b}]) & {"near", "value"}
    Watched(world(3, frame)).ask(q)


# -- cells near those that were told before, with a condition inside a statistic


def crossed(frame: polars.DataFrame) -> tuple[Watched, Q]:
    w = Watched(world(6, frame))
    inside = pay.filter(pl.col("town").is_in(pl.lit(["a", "b"])))
    whole = T.with_columns(m=pay.mean().over("town"))  # told of nowhere else
    return w, whole.group_by("sex", "town").agg(a=inside.sum(), b=pl.col("day").max())


def test_all_of_a_row_is_of_the_population_that_it_stands_for() -> None:
    frame = table()
    w, q = crossed(frame)
    rows = w.ask(q)
    assert {row["a"] for row in rows if row["sex"] == "f"} == {
        true(frame, "pay", polars.col("town") == t) for t in "ab"
    }


def test_a_row_of_two_populations_is_found_out() -> None:
    frame = table()
    w, q = crossed(frame)
    q = T.group_by("sex", "town").agg(a=pay.filter(age >= 0).sum(), b=pay.sum())
    mine = (polars.col("town") == "a", polars.col("sex") == "f")
    row = {"sex": "f", "town": "a", "a": true(frame, "pay", mine[0]), "b": true(frame, "pay", *mine)}
    assert w.rules(q, [row]) & {"near", "value"}


# -- a condition inside a cell that is answered as the whole


def test_a_condition_of_the_whole_but_a_few_is_of_the_whole() -> None:
    w = Watched(World(remembers=False).add("t", table(), Policy(Aggregation(10), Suppress()), {"age": "quasi"}, "id"))
    q = T.filter(~age.is_between(30, 33)).select(x=pl.col("town").filter(age > 5).count())
    assert w.ask(q) == [{"x": 60}]
    assert w.rules(q, [{"x": 54}])  # all but six: not told beside the whole
    assert w.rules(q, [{"x": 55}])


def test_what_the_audit_gives_instead_is_of_the_whole_as_well() -> None:
    w = Watched(world(10, table()))
    q = T.drop_nulls("debt").select(a=age.filter(age > 20).sum(), b=age.filter(age <= 18).sum())
    assert w.ask(q) == [{"a": sum(range(21, 60)), "b": sum(range(21))}]
    w = Watched(world(10, table()))
    w.ask(T.select(age.sum()))
    assert w.rules(q, [{"a": sum(range(21, 60)), "b": sum(range(19))}]) == {"audit"}


def test_who_meets_a_condition_of_the_whole_is_remembered() -> None:
    """Those without a value do not show in the number, and are in the population."""
    w = Watched(world(9, table()))
    some = pl.col("town").is_in(pl.lit(["a"]))
    w.ask(T.drop_nulls("debt").select(debt.filter(some).std()))
    assert w.ask(T.filter(some).select(x=n)) == [{"x": 30}]


# -- rows that a join repeats


def joined(missing: bool) -> tuple[Watched, Q]:
    rows = polars.DataFrame({"id": [i for i in range(60) for _ in range(1 + i % 3)]})
    people = table().select("id", "pay", "town")
    if missing:
        people = people.with_columns(town=polars.when(polars.col("id") >= 20).then("town"))
    return Watched(world(3, rows, people)), T.join(Q("s"), on="id")


@pytest.mark.parametrize("missing", [False, True])
def test_a_count_of_a_column_is_a_number_of_rows(missing: bool) -> None:
    w, q = joined(missing)
    (row,) = w.ask(q.select(x=pl.col("town").count(), n=n))
    assert row == {"x": 81 if missing else 120, "n": 120} or (missing and row["n"] == 120)


def test_a_sum_of_repeated_rows_is_found_out() -> None:
    w, q = joined(False)
    assert w.ask(q.select(x=pay.sum())) in ([], [{"x": None}])
    total = sum(p * (1 + i % 3) for i, p in enumerate(table()["pay"]))
    assert w.rules(q.select(x=pay.sum()), [{"x": total}]) == {"value"}


# -- fills


@pytest.mark.parametrize("missing", [0, 5])
def test_fills_neither_hide_who_dominates_nor_how_few_there_are(missing: int) -> None:
    frame = table(pay=[None] * missing + [20.0] * (59 - missing) + [90.0])
    w = Watched(world(3, frame, bounds=(20, 100)))
    for fill in (-1000.0, 0.0, 60.0):
        for q in (pay.fill_null(fill), pay.fill_null(fill).cast(polars.Float64)):
            assert w.ask(T.select(x=q.sum())) in ([], [{"x": None}])
            assert w.rules(T.select(x=q.sum()), [{"x": float(frame["pay"].fill_null(fill).sum())}]) == {"value"}


@pytest.mark.parametrize("pays", [[20.0] * 59 + [90.0], [100.0] * 59 + [10.0]])
def test_sums_by_person_do_not_hide_who_dominates(pays: list[float]) -> None:
    people = [i for i in range(60) for _ in range(1 + i % 3)]
    frame = polars.DataFrame({"id": people, "pay": [pays[i] for i in people]})
    w = Watched(world(3, frame, bounds=(20 if 20 in pays else 0, 100)))
    q = T.group_by("id").agg(z=pay.sum()).select(x=pl.col("z").sum())
    assert w.ask(q) in ([], [{"x": None}])
    assert w.rules(q, [{"x": float(frame["pay"].sum())}]) == {"value"}


def test_a_fill_is_seen_from_the_declared_bounds() -> None:
    """From the smallest of all the one who has 12 would have nothing."""
    pays = [12.45, 39.56, 52.56] + [11.0 + i for i in range(57)]
    w = Watched(world(3, table(pay=pays, debt=[None] * 3 + [1.0] * 57)))
    assert w.ask(T.select(x=pay.fill_null(0).filter(debt.is_null()).sum())) == [{"x": pytest.approx(104.57)}]
