"""The edge budget: whatever chooses people by a measure counts where it lies at a threshold, in whichever step it stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars
import pytest
from bastion_plan import nodes as n
from bastion_plan.expressions import Column
from bastion_policy.audit import AuditState, Row
from bastion_policy.judge_memory import EDGE_BUDGET
from bastion_policy.model import Aggregation, Policy, Review, Suppress
from bastion_policy.verdict import Outcome
from drive import World
from query import Q, concat, inline

import bastion.expressions as pl
from bastion.expr.core import as_plan

N = 600
RNG = np.random.default_rng(3)
PEOPLE = polars.DataFrame(
    {
        "id": np.arange(N),
        "a": np.arange(N) % 60,
        "b": np.arange(N) // 60,
        "salary": np.round(RNG.uniform(1e4, 9e4, N), 2),
        "x": RNG.uniform(0, 100, N),
        "gap": [None if i % 4 == 0 else float(i) for i in range(N)],
    }
)
ROLES = {"id": "identifier", "a": "quasi", "b": "quasi", "salary": "measure", "x": "measure", "gap": "measure"}
T, c = Q("t"), pl.col
salary, x = c("salary"), c("x")
TRUTH = PEOPLE["salary"][127]
target = (c("a") == 7) & (c("b") == 2)
pads = (c("a") == 30) & (c("b") < 9)
pool, group = T.filter(pads | target), T.filter(c("b") == 3)
OURS = inline({"k": [True], "label": [1]})
OFF = ("history", "linear_audit", "saturation")


def world(*weaken: str, frame: polars.DataFrame = PEOPLE, action: Any = None) -> World:
    return World(remembers=True).add(
        "t", frame, Policy(Aggregation(10), action or Review(), weaken=weaken), ROLES, "id"
    )


def counted(w: World) -> int:
    (past,) = w.pasts.values()
    return len(past.edges)


def padded(edge: float) -> Any:
    return pads | (target & (salary > edge))


def pads_of(of: Any) -> Any:
    return of.col("a") == 30


def mine_of(of: Any) -> Any:
    return (of.col("a") == 7) & (of.col("b") == 2)


def ours(rows: Q, how: str, key: Any) -> Q:
    return Q(n.Join(rows.plan, OURS.plan, how, (as_plan(key),), (Column("k"),)))  # type: ignore[arg-type]


def nulled(rows: Q, condition: Any) -> Q:
    return rows.with_columns(z=pl.when(condition).then(1).otherwise(None))


def several(edge: float) -> Q:
    """Two large cells nobody has asked for beside the one at the edge."""
    rng = np.random.default_rng(int(edge))
    one, two = ([int(v) for v in rng.choice(60, size, replace=False)] for size in (30, 36))
    fresh = ((c("b") == 5) & c("a").is_in(one)) | ((c("b") == 6) & c("a").is_in(two))
    known = (c("b") == 2) & (c("a") >= 30) & (c("a") < 39)
    return T.filter(fresh | known | (target & (salary > edge))).group_by("b").agg(pl.len())


def thirty(edge: float) -> Any:
    """Thirty known people nobody has asked for, far from all thresholds."""
    rng = np.random.default_rng(int(edge))
    return (c("b") == 5) & c("a").is_in([int(v) for v in rng.choice(60, 30, replace=False)])


FORMS: dict[str, Callable[[float], Q]] = {
    "filter": lambda e: T.filter(padded(e)).select(pl.len()),
    "filter of a computed column": lambda e: T.with_columns(z=padded(e)).filter(c("z")).select(pl.len()),
    "filter of filled nulls": lambda e: nulled(T, padded(e)).filter(c("z").fill_null(0) == 1).select(pl.len()),
    "filter of what is null": lambda e: nulled(T, padded(e)).filter(c("z").is_not_null()).select(pl.len()),
    "semi join": lambda e: ours(T, "semi", padded(e)).select(pl.len()),
    "anti join": lambda e: ours(T, "anti", ~padded(e)).select(pl.len()),
    "inner join": lambda e: ours(T, "inner", padded(e)).select(pl.len()),
    "labels": lambda e: ours(T, "left", padded(e)).drop_nulls("label").select(pl.len()),
    "semi join with what was released": lambda e: Q(
        n.Join(
            pool.plan,
            pool.group_by((c("salary") > 1.0).alias("k")).agg(pl.len()).plan,
            "semi",
            (as_plan(pads | (salary > e)),),
            (Column("k"),),
        )
    ).select(pl.len()),
    "drop_nulls": lambda e: nulled(T, padded(e)).drop_nulls("z").select(pl.len()),
    "drop_nulls of all columns": lambda e: (
        nulled(T.select("a", "b", "salary"), padded(e)).drop_nulls().select(pl.len())
    ),
    "stacked": lambda e: concat(T.filter(padded(e))).select(pl.len()),
    "beside those who are counted": lambda e: T.filter(thirty(e) | (target & (salary > e))).select(pl.len()),
    "below those who are counted": lambda e: concat(T.filter(thirty(e)), T.filter(target).filter(salary > e)).select(
        pl.len()
    ),
    "counted inside": lambda e: T.select(x.filter(thirty(e) | (target & (salary > e))).count()),
    "labels of their own": lambda e: (
        T.join(inline({"b": [2, 5], "least": [e, 0.0]}), on="b")
        .filter((c("b") == 2) & (c("a") == 7) | thirty(e), salary > c("least"))
        .select(pl.len())
    ),
    "number per person": lambda e: (
        T.group_by("id").agg(n=x.filter(thirty(e) | (target & (salary > e))).len()).filter(c("n") > 0).select(pl.len())
    ),
    "inner filter": lambda e: T.select(x.filter(padded(e)).sum()),
    "when": lambda e: T.select(pl.when(padded(e)).then(x).sum()),
    "beside large cells": several,
    "group key": lambda e: group.group_by((salary > e).alias("z")).agg(pl.len()),
    "group key of its own step": lambda e: group.with_columns(z=salary > e).group_by("z").agg(pl.len()),
    "bins": lambda e: group.group_by((salary / e).floor().alias("z")).agg(pl.len()),
    "cut": lambda e: group.group_by(salary.cut([e]).alias("z")).agg(pl.len()),
    "group key of what is null": lambda e: nulled(pool, salary > e).group_by(c("z").is_null().alias("q")).agg(pl.len()),
    "value_counts": lambda e: group.select((salary > e).value_counts()),
    "unique": lambda e: group.select(z=salary > e).unique(),
    "hist": lambda e: group.select(salary.hist([0.0, e, 1e6])),
    "window": lambda e: group.with_columns(m=x.mean().over(salary > e)).filter(c("m") > 0).select(pl.len()),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_way_to_choose_by_a_measure_is_counted(form: str) -> None:
    w, outcomes = world(), []
    for step in range(EDGE_BUDGET + 2):
        answer = w.ask(FORMS[form](TRUTH - 7000.25 + 2000 * step).plan)
        outcomes.append(answer.verdict.outcome)
        last = [f.rule for f in answer.verdict.findings]
    # those with two tables of cells count in each
    first = outcomes.index(Outcome.REVIEW)
    assert EDGE_BUDGET // 2 <= first <= EDGE_BUDGET
    assert outcomes[first:] == [Outcome.REVIEW] * (EDGE_BUDGET + 2 - first)
    assert "edge-budget" in last
    ordinary = w.ask(T.filter(c("b") > 4).group_by("b").agg(x.mean()).plan)
    assert ordinary.verdict.outcome is Outcome.RELEASE, "no measure chooses"


def bisected(w: World, told: Callable[[Any], bool], asked: Callable[[float], Q], questions: int = 30) -> float:
    low, high = 1e4, 9e4
    for _ in range(questions):
        middle = (low + high) / 2
        table = w.ask(asked(middle).plan).table
        if table is None:
            break
        low, high = (middle, high) if told(table) else (low, middle)
    return (low + high) / 2


def ten(table: polars.DataFrame) -> bool:
    return bool(table.height) and table.row(0)[0] == 10


def in_the_cell(table: polars.DataFrame) -> bool:
    return 2 in table["b"].to_list()


def one_more(table: polars.DataFrame) -> bool:
    return bool(table.row(0)[0] == 31)


TELLS = {"beside large cells": in_the_cell, "beside those who are counted": one_more}


@pytest.mark.parametrize("form", ["filter", "semi join", "inner join", "drop_nulls", *TELLS])
def test_a_value_is_not_found_by_bisection(form: str) -> None:
    told = TELLS.get(form, ten)
    assert abs(bisected(world(), told, FORMS[form]) - TRUTH) > 50
    if form != "beside large cells":
        assert bisected(world(*OFF), told, FORMS[form]) == pytest.approx(TRUTH, abs=0.01)


def test_the_tenth_largest_of_a_group_is_not_found_by_bisection() -> None:
    tenth = PEOPLE.filter(polars.col("b") == 3)["salary"].sort(descending=True)[9]

    def told(table: polars.DataFrame) -> bool:
        return True in table["z"].to_list()

    assert abs(bisected(world(), told, FORMS["group key"]) - tenth) > 1
    assert bisected(world(*OFF), told, FORMS["group key"]) == pytest.approx(tenth, abs=0.01)


def test_groups_that_nobody_is_in_are_counted() -> None:
    """Nobody above the threshold, and fewer than k: both are at the edge, also where all other groups are large."""
    w = world()
    for step in range(3):
        high = (c("b") == 3) & (salary > 95_000.0 + step)
        others = (c("b") > 5) & (c("a") > 10 * step)
        answer = w.ask(T.filter(high | others).group_by("b").agg(pl.len()).plan)
        assert answer.verdict.outcome is Outcome.RELEASE
        assert answer.released.height == 4
    assert counted(w) == 3
    w = world()
    for step in range(3):
        rows = T.filter((c("b") == 3) & (c("a") >= step * 20) | (c("b") > 5) & (c("a") < 20 * (3 - step)))
        answer = w.ask(rows.group_by((salary > 95_000.0 + step).alias("z")).agg(pl.len()).plan)
        assert answer.verdict.outcome is Outcome.RELEASE
    assert counted(w) == 3


def test_conditions_of_one_question_are_counted_each() -> None:
    """All digits of a value at once: no question may ask more than what is left."""
    w = world(action=Suppress())
    few = group.select([(salary > 1e4 * (2 + i)).sum().alias(f"s{i}") for i in range(3)], pl.len())
    assert w.ask(few.plan).released.item(0, "s1") is not None
    before = counted(w)
    assert w.ask(few.plan).released.item(0, "s1") is not None, "the same question counts once"
    assert counted(w) == before
    bits = [((salary // 2**i) % 2 == 1) & pads | target & ((salary // 2**i) % 2 == 1) for i in range(EDGE_BUDGET + 2)]
    many = T.select([x.filter(bit).sum().alias(f"x{i}") for i, bit in enumerate(bits)])
    answer = w.ask(many.plan)
    assert "edge-budget" in [f.rule for f in answer.verdict.findings]
    assert answer.released.height == 0 or answer.released.null_count().sum_horizontal().item() == answer.released.width


def test_what_is_far_from_all_thresholds_is_not_counted() -> None:
    w = world()
    plans = [
        T.filter(salary > 5e4).select(pl.len(), x.mean()),
        T.filter(salary > 4e4, c("b") < 5).select(pl.len()),
        T.select((x > 40).mean()),
        T.filter(gap := c("gap").is_not_null()).group_by("a").agg(x.mean()),
        T.filter(gap, c("a") < 30).group_by("a", "b").agg(pl.len()),
        T.drop_nulls("gap").group_by("a").agg(c("gap").mean()),
        T.group_by("a").agg(x.mean(), salary.median()),
        T.filter(c("a") == 7).group_by("b").agg(pl.len()),
        T.group_by((x > 55).alias("z")).agg(pl.len()),
    ]
    for plan in plans:
        assert w.ask(plan.plan).verdict.outcome is Outcome.RELEASE
    assert counted(w) == 0


def test_the_same_people_count_once_whatever_is_asked_of_them() -> None:
    w = world()
    for what in (pl.len(), x.mean(), salary.mean(), x.median()):
        assert w.ask(T.filter(padded(2e4)).select(what).plan).verdict.outcome is Outcome.RELEASE
    assert counted(w) == 1


def test_a_sensitive_column_inside_a_statistic_is_searched_for_as_little_as_a_measure() -> None:
    """Nine who lie above, the target, and twenty who lie below: whether the target does is one bit."""
    low, high = 0.0, 9e4
    frame = PEOPLE.with_columns(
        salary=polars.when(pads_of(polars) & (polars.col("b") < 9))
        .then(9e4)
        .when(mine_of(polars))
        .then("salary")
        .otherwise(0.0)
    )
    w = World(remembers=True).add("t", frame, Policy(Aggregation(10), Review()), ROLES | {"salary": "sensitive"}, "id")
    bits = 0
    while bits < 30:
        edge = (low + high) / 2
        answer = w.ask(T.filter(pads | target | (c("b") == 3)).select((salary > edge).sum()).plan)
        if any(f.rule == "edge-budget" for f in answer.verdict.findings):
            break
        bits += 1
        above = answer.table is None or answer.table.item() >= 10
        low, high = (edge, high) if above else (low, edge)
    assert bits <= 8
    assert high - low >= 9e4 / 2**8


def test_every_part_of_a_stack_is_a_threshold() -> None:
    """Twelve parts of twenty people each, and the target in those whose threshold lies below the value."""
    parts = [
        T.filter((c("a").is_between(2 * i, 2 * i + 1) & ~target) | (target & (salary > 7000.0 * (i + 1)))).select(
            "salary"
        )
        for i in range(12)
    ]
    w = world()
    answer = w.ask(concat(*parts).select(pl.len()).plan)
    assert [f.rule for f in answer.verdict.findings] == ["edge-budget"]
    assert answer.table is None or not answer.table.height
    w = world()
    assert w.ask(concat(*parts[:2]).select(pl.len()).plan).table is not None
    assert counted(w) == 2


def test_nothing_is_measured_once_the_budget_is_spent() -> None:
    """Else a question that fails by one person's value would still be told from one that is denied."""
    w = world(action=Suppress())
    spends = [w.ask(T.filter(padded(5000.0 + 9000 * step)).select(pl.len()).plan) for step in range(EDGE_BUDGET)]
    assert all(a.verdict.outcome is Outcome.RELEASE for a in spends)
    chosen = T.filter(salary > 4e4)
    beside = T.group_by("b").agg(x.mean()).with_columns(n=pl.len())
    assert w.ask(beside.plan).measures
    for plan in (
        chosen.select(x.mean()),
        chosen.group_by("b").agg(pl.len()),
        chosen,
        T.select((salary > 4e4).sum(), pl.len()),
        beside.join(chosen.group_by("b").agg(y=x.mean()), on="b"),
    ):
        answer = w.ask(plan.plan)
        assert not answer.measures
        assert {f.rule for f in answer.verdict.findings} == {"row-level" if plan is chosen else "edge-budget"}
        assert answer.verdict.outcome is not Outcome.RELEASE
        assert answer.verdict.safe_part is None


def test_steps_one_after_another_are_one_choice() -> None:
    w = world()
    w.ask(pool.filter(salary > 10_000).filter(salary < TRUTH - 1).select(pl.len()).plan)
    assert counted(w) == 1


# -- what follows from two answers is a threshold, too

MANY = polars.DataFrame({
    "id": np.arange(6000), "a": np.arange(6000) % 60, "b": np.arange(6000) // 60, "salary": RNG.uniform(1e4, 9e4, 6000),
    "x": RNG.uniform(0, 100, 6000), "gap": 1.0, "ill": RNG.random(6000) < 0.4,
})  # fmt: skip
#: counts of those of some people whom a measure or a sensitive column chooses, by a threshold
SEARCHES: dict[str, Callable[[Any, float], Q]] = {
    "a filter": lambda rows, edge: T.filter(rows, salary > edge).select(pl.len()),
    "a filter and the rest": lambda rows, edge: T.filter(rows, (salary > edge).not_()).select(pl.len()),
    "inside a statistic": lambda rows, edge: T.filter(rows).select((salary > edge).sum()),
    "of a sensitive column": lambda rows, edge: T.filter(rows).select((c("ill").cast(int) * 90_000 > edge).sum()),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_costs_the_same_whichever_way_it_goes(name: str) -> None:
    """Two groups, and both with one person more: told as itself where the person is not chosen, refused where they are."""
    ask, person = SEARCHES[name], (c("b") == 0) & (c("a") == 9)
    for weaken, steps in (((), EDGE_BUDGET), (OFF, 40)):
        w = World(remembers=True).add("t", MANY, Policy(Aggregation(10), Review(), weaken=weaken), ROLES | {"ill": "sensitive"}, "id")  # fmt: skip
        told = 0
        for step in range(40):
            one, two = c("b") == 1 + 2 * step, c("b") == 2 + 2 * step
            edge = 8e4 - 1000 * step if "sensitive" not in name else 4e4 + step
            asked = [w.ask(ask(rows, edge).plan) for rows in (one, two, one | two | person)]
            if any(a.table is None and "edge-budget" in {f.rule for f in a.verdict.findings} for a in asked):
                break
            told += 1
        assert told <= steps if not weaken else told == steps


def test_what_counts_anyway_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a cell follows from earlier answers takes long; one that is hidden is a threshold already, and one is enough."""
    looked: list[int] = []

    def nearly(_: AuditState, row: Row) -> bool:
        looked.append(row.units.size)
        return True

    monkeypatch.setattr(AuditState, "nearly", nearly)
    fifth = polars.col("id") % 5
    some = MANY.with_columns(k=fifth, few=polars.when(polars.col("id") < 5).then(9).otherwise(fifth))
    for key in ("few", "k"):
        looked.clear()
        w = World(remembers=True).add(
            "t", some, Policy(Aggregation(10), Suppress()), ROLES | {"k": "quasi", "few": "quasi"}, "id"
        )
        table = w.ask(T.filter(salary > 2e4).group_by(key).agg(pl.len()).plan).table
        assert table is not None and table.height >= 5
        assert len(looked) <= 1, "the remainder row, or the first of the others"
        assert counted(w) == 1
