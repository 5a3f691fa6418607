"""A plan that an owner released is run twice, for its result and for the history: both must be of the same people."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars
import pytest
from bastion_plan import nodes as n
from bastion_plan.bind import BoundPlan, bind
from bastion_plan.canonical import encode
from bastion_plan.expressions import Call, Expr, children
from bastion_policy.repeatable import repeatable
from bastion_server.engine.lower import lower
from drive import World
from query import Q

import bastion.expressions as pl

ROWS = 20_000
RNG = np.random.default_rng(3)
FRAME = polars.DataFrame({"id": np.arange(ROWS), "g": RNG.integers(0, 5000, ROWS), "a": RNG.integers(0, 9, ROWS)})
WORLD = World().add("t", FRAME).add("u", FRAME.rename({"a": "b"}).sample(fraction=1.0, shuffle=True, seed=1))
T, U = Q("t"), Q("u")
ID, G, A = pl.col("id"), pl.col("g"), pl.col("a")

#: plans whose rows, or the order in which they stand, are other ones in each run
DRAWN: dict[str, Q] = {
    "groups": T.group_by("g").agg(ID.sum()).head(20),
    "groups of groups": T.group_by("g").agg(ID.sum()).head(500).group_by("id").agg(G.sum()).head(20),
    "groups that are filtered": T.group_by("g").agg(z=ID.sum()).filter(pl.col("z") > 9).head(20),
    "unique rows": T.select("g", "a").unique().head(20),
    "unique rows by some columns": T.unique("g").head(20),
    "any row of each": T.of(n.Unique, (G.plan,), "any").head(20),
    "shuffled rows": T.with_columns(o=ID.shuffle()).sort("o").head(20),
    "filtered by a shuffle": T.filter(pl.int_range(pl.len()).shuffle() < 20),
    "a sample of rows": T.of(n.Sample, 20),
    "a share of rows": T.of(n.Sample, None, 0.01),
    "a sample below a filter": T.of(n.Sample, 50).filter(A > 2).select("id"),
    "a sample of a column": T.select(z=ID.sample(20)),
    "a sample in each group": T.group_by("a").agg(z=ID.sample(3)).sort("a"),
    "unique values of a column": T.select(z=G.unique().head(20)),
    "a join": T.join(U, on="g").head(20),
    "a left join": T.join(U, on="g", how="left").head(20),
    "a semi join": T.join(U.filter(pl.col("b") == 3), on="g", how="semi").head(20),
    "a join with a sample": T.join(U.of(n.Sample, 20), on="id").select("id"),
    "a stack of samples": Q(n.Concat((T.of(n.Sample, 9).plan, T.of(n.Sample, 9, with_replacement=True).plan))),
    "a sort with ties": T.sort("a").head(20),
    "the largest with ties": T.top_k(20, by=A),
    "the largest in groups with ties": T.group_by("a").agg(z=ID.sort_by("g").head(3)).sort("a"),
    "values by how often they are": T.select(z=G.value_counts(sort=True)).head(20),
    "the commonest values": T.select(z=G.mode().head(5)),
    "groups in each group": T.group_by("a").agg(z=G.unique().head(3)).sort("a"),
}


def bound(q: Q) -> BoundPlan:
    return bind(q.plan, WORLD.facts)


def run(root: Any) -> polars.DataFrame:
    return lower(root, {name: frame.lazy() for name, frame in WORLD.frames.items()}).collect()


@pytest.mark.parametrize("name", DRAWN)
def test_the_same_rows_in_each_run(name: str) -> None:
    found = repeatable(bound(DRAWN[name]))
    first = run(found.root)
    assert first.height
    for _ in range(4):
        assert run(found.root).equals(first)


@pytest.mark.parametrize("name", ["groups", "shuffled rows", "a sample of rows", "a sample of a column", "unique rows"])
def test_they_are_other_rows_without(name: str) -> None:
    """So that the tests above can fail."""
    root = bound(DRAWN[name]).root
    runs = [run(root) for _ in range(5)]
    assert any(not r.equals(runs[0]) for r in runs)


@pytest.mark.parametrize("name", DRAWN)
def test_it_is_the_same_plan_however_often_it_is_made(name: str) -> None:
    """The result and the history are planned one after the other."""
    one, two = (repeatable(bound(DRAWN[name])) for _ in range(2))
    assert encode(one.root) == encode(two.root)


@pytest.mark.parametrize("name", DRAWN)
def test_columns_and_types_stay(name: str) -> None:
    given = bound(DRAWN[name])
    found = repeatable(given)
    assert found.schema == given.schema
    assert run(found.root).schema == run(given.root).schema


def seeds(value: Any) -> list[Any]:
    """Return all seeds in a plan, of rows and of functions."""
    if isinstance(value, tuple):
        return [s for v in value for s in seeds(v)]
    if isinstance(value, Expr):
        own = (
            [dict(value.options).get("seed")]
            if isinstance(value, Call) and value.function in ("shuffle", "sample")
            else []
        )
        return own + [s for c in children(value) for s in seeds(c)]
    if isinstance(value, n.Node):
        own = [value.seed] if isinstance(value, n.Sample) else []
        return own + [s for name in value.__struct_fields__ for s in seeds(getattr(value, name))]
    return []


GIVEN: dict[str, Q] = {
    "rows": T.of(n.Sample, 20, seed=7),
    "the first seed": T.of(n.Sample, 20, seed=0),
    "a shuffle": T.with_columns(o=ID.shuffle(seed=7)).sort("o").head(20),
    "a sample of a column": T.select(z=ID.sample(20, seed=7)),
    "in a group": T.group_by("a").agg(z=ID.shuffle(seed=7).head(3)).sort("a"),
}


@pytest.mark.parametrize("name", GIVEN)
def test_seeds_that_were_given_stay(name: str) -> None:
    plan = bound(GIVEN[name])
    assert seeds(plan.root)
    assert None not in seeds(plan.root)
    found = repeatable(plan)
    assert seeds(found.root) == seeds(plan.root)
    assert run(found.root).equals(run(plan.root))


@pytest.mark.parametrize("of", ["count", "share", "again and again"])
def test_what_is_drawn_are_whole_rows(of: str) -> None:
    plan = {"count": T.of(n.Sample, 20), "share": T.of(n.Sample, None, 0.01)}.get(
        of, T.of(n.Sample, 20, with_replacement=True)
    )
    found = run(repeatable(bound(plan)).root)
    assert found.height
    assert found.join(FRAME, on=FRAME.columns, how="semi").height == found.height


def test_other_plans_draw_otherwise() -> None:
    one, two = (repeatable(bound(T.of(n.Sample, count))) for count in (20, 21))
    assert seeds(one.root) != seeds(two.root)
    assert None not in seeds(one.root)


def test_what_has_one_order_stays_as_it_is() -> None:
    plan = bound(T.filter(A > 2).sort("id").select("id", z=A.cum_sum()).head(9))
    assert run(repeatable(plan).root).equals(run(plan.root))


@pytest.mark.parametrize("order", ["left", "right", "left_right", "right_left"])
@pytest.mark.parametrize("how", ["inner", "left"])
def test_an_order_that_was_asked_for_stays(how: str, order: str) -> None:
    """The owner approved the first rows in that order, and no other ones."""
    joined = n.Join(T.plan, U.plan, how, (G.plan,), (G.plan,), maintain_order=order)
    plan = bound(Q(joined).head(20))
    assert run(repeatable(plan).root).equals(run(plan.root))
