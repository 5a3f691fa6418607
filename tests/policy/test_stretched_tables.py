"""Tables of one's own whose keys are unique on paper: Polars stretches a frame of one row to a longer expression."""

from __future__ import annotations

from collections.abc import Mapping

import polars
import pytest
from bastion_plan import nodes as n
from bastion_plan.bind import bind
from bastion_plan.dtypes import INT64
from bastion_plan.errors import BastionError
from bastion_plan.expressions import Alias, Call, Column, Literal
from bastion_plan.functions.registry import all_functions, get
from bastion_plan.functions.spec import REDUCING, Shape
from bastion_policy.facts import DatasetFacts
from bastion_policy.flow_nodes import FlowTyping
from bastion_policy.flow_unique import keeps_height
from bastion_policy.guard_plans import Rewriter
from bastion_policy.lineage import Typed
from bastion_policy.lineage import World as Facts
from bastion_policy.model import Policy, Role, RoleKind
from bastion_server.engine.lower import lower
from drive import World
from function_examples import FRAME, examples
from query import Q, concat, inline

import bastion.expressions as pl

ROWS = 400
PEOPLE = polars.DataFrame(
    {
        "id": range(ROWS),
        "age": [20 + i % 60 for i in range(ROWS - 1)] + [97],
        "one": [1] * ROWS,
        "town": [("a", "b", "c")[i % 3] for i in range(ROWS)],
        "pay": [40_000.0 + 37 * (i % 251) for i in range(ROWS)],
    }
)
ROLES = {
    "id": "identifier",
    "age": "quasi",
    "one": "quasi",
    "town": "quasi",
    "pay": Role(RoleKind.MEASURE, 0.0, 200_000.0),
}
WORLDS = {
    "default": World().add("t", PEOPLE, Policy.default(), ROLES, "id"),
    "strict": World().add("t", PEOPLE, Policy.strict(unit="id"), ROLES, "id"),
}
EVERY = pytest.mark.parametrize("profile", WORLDS)
T, K, AGE = Q("t"), pl.col("k"), pl.col("age")
ONE = inline({"k": [97]})
MANY = pl.int_range(0, 11)
LISTED = pl.lit("a,b,c,d").str.split(",").explode()
CELL = T.select(n=pl.len())
ASKED = (pl.col("pay").sum().alias("pay"), pl.len().alias("len"))
#: tables that hold the key of one row several times, however it looks
STRETCHED = {
    "filter": ONE.filter(MANY >= 0),
    "filter by a list": ONE.filter(LISTED != "x"),
    "filter by its own rows": ONE.filter(MANY + K >= 0),
    "sort": ONE.sort(MANY),
    "top_k": ONE.top_k(11, MANY),
    "select": ONE.select(K, MANY.alias("z")).filter(pl.col("z") >= 0),
    "select by a choice": ONE.select(K, pl.when(MANY > 3).then(K).otherwise(1).alias("z")).filter(pl.col("z") >= 0),
    "select by a window": ONE.select(K, K.sum().over(MANY).alias("z")).filter(pl.col("z") >= 0),
    "with_columns": ONE.with_columns(MANY.alias("z")).filter(pl.col("z") >= 0),
    "group_by": ONE.group_by(K, MANY.alias("z")).agg(pl.len()),
    "explode": ONE.group_by(K).agg(MANY.alias("z")).explode("z"),
    "unpivot": inline({"k": [97], "a": [1], "b": [2]}).unpivot(["a", "b"], ["k"]),
    "concat": concat(ONE, ONE),
    "fill_null": inline({"k": [97, None]}).of(n.FillNull, Literal(INT64, 97)),
    "a join": ONE.join(inline({"k": [97, 97], "z": [1, 2]}), on="k"),
    "a cell": CELL.group_by(pl.lit(97).alias("k")).agg(pl.col("n").first()).filter(MANY >= 0),
    "a cell of everybody": CELL.filter(MANY >= 0).select(k=pl.col("n") * 0 + 97),
}
#: tables that hold every key once
ONCE = {
    "as it stands": ONE,
    "filter": inline({"k": [97, 20, 21], "x": [1, 2, 3]}).filter(pl.col("x") >= pl.col("x").mean()),
    "sort and top_k": inline({"k": [97, 20, 21], "x": [1, 2, 3]}).sort("x").top_k(2, pl.col("x").rank()),
    "select": inline({"k": [97, 20], "x": [1, 2]}).select("k", share=pl.col("x") / pl.col("x").sum()),
    "a constant": ONE.select("k", label=pl.lit("first")),
    "distinct": concat(ONE, ONE).unique(),
    "grouped": ONE.with_columns(MANY.alias("z")).group_by("k").agg(pl.col("z").sum()),
    "shown cells": T.group_by(AGE.alias("k")).agg(m=pl.col("pay").mean()).filter(pl.col("m") > pl.col("m").median()),
}


def joined(table: Q, profile: str, how: str = "left") -> polars.DataFrame | None:
    return WORLDS[profile].ask(T.join(table, left_on=[AGE], right_on=[K], how=how).select(*ASKED).plan).table


@EVERY
@pytest.mark.parametrize("name", STRETCHED)
def test_a_stretched_table_repeats_nobody(name: str, profile: str) -> None:
    for how in ("left", "inner"):
        plan = T.join(STRETCHED[name], left_on=[AGE], right_on=[K], how=how).select(*ASKED).plan
        assert "join" in {f.rule for f in WORLDS[profile].static(plan).findings}


@EVERY
def test_no_key_is_computed_from_a_longer_expression(profile: str) -> None:
    for other in (MANY // 100 + 1, LISTED.is_not_null().cast(pl.Int64)):
        plan = T.join(ONE, left_on=[AGE, pl.col("one")], right_on=[K, other], how="left").select(*ASKED).plan
        assert {f.rule for f in WORLDS[profile].static(plan).findings} == {"join"}


@EVERY
@pytest.mark.parametrize("name", ONCE)
def test_tables_with_every_key_once_are_joined(name: str, profile: str) -> None:
    whole = WORLDS[profile].ask(T.select(*ASKED).plan).released
    found = joined(ONCE[name], profile)
    assert found is not None
    assert found.equals(whole)


def typed(table: Q, facts: Mapping[str, DatasetFacts]) -> Typed:
    return FlowTyping(bind(table.plan, facts), Facts(facts)).root()


@pytest.mark.parametrize("name", [name for name, q in STRETCHED.items() if not list(n.scans(q.plan))])
def test_the_tables_are_stretched(name: str) -> None:
    """Else the tests above would show nothing."""
    assert lower(bind(STRETCHED[name].plan, {}).root, {}).collect()["k"].to_list().count(97) > 1


@pytest.mark.parametrize("name", [name for name, q in (STRETCHED | ONCE).items() if not list(n.scans(q.plan))])
def test_what_is_said_to_be_unique_is(name: str) -> None:
    table = (STRETCHED | ONCE)[name]
    unique = typed(table, {}).frame.unique
    rows = lower(bind(table.plan, {}).root, {}).collect()
    assert unique is None or rows.height == rows.unique(sorted(unique)).height


def test_a_join_that_runs_repeats_nobody_whatever_is_said_of_the_table() -> None:
    """The second line of defence: the flow type is wrong here on purpose."""
    facts = WORLDS["default"].facts
    for table, unique in ((STRETCHED["filter"], {"k"}), (STRETCHED["a cell of everybody"], set())):
        plan = T.join(ONE if unique else CELL.select(k=pl.col("n") * 0 + 97), left_on=[AGE], right_on=[K], how="left")
        found = typed(plan, facts)
        wrong = typed(table, facts)
        wrong.frame = type(wrong.frame)(
            wrong.frame.kind, wrong.frame.columns, wrong.frame.schema, unique=frozenset(unique)
        )
        rows = Rewriter(facts).build(Typed(found.node, found.frame, (found.inputs[0], wrong)))
        assert lower(rows, {"t": PEOPLE.lazy()}).collect().height == ROWS


# -- functions


def height(call: Call, rows: int) -> int | None:
    """Return how many rows a select of a column and a call has; None where it fails."""
    plan = n.Select(n.Scan("d"), (Column("i"), Alias(call, "out")))
    try:
        return lower(plan, {"d": FRAME.head(rows).lazy()}).collect().height
    except FAILS:
        return None


FAILS = (
    BastionError,
    ValueError,
    TypeError,
    AttributeError,
    polars.exceptions.PolarsError,
    polars.exceptions.PanicException,
)


def test_what_keeps_the_height_does() -> None:
    kept = [plan.exprs[0].input for _, plan, _ in examples() if keeps_height(plan.exprs[0])]
    assert len({call.function for call in kept}) > 200
    assert not [call for call in kept if height(call, 1) not in (1, None) or height(call, 3) not in (3, None)]


@pytest.mark.parametrize("name", [f.name for f in all_functions() if f.shape is Shape.ONE and f.flow in REDUCING])
def test_what_reduces_gives_one_value_of_longer_columns(name: str) -> None:
    longer = Call("pl.int_range", (Literal(INT64, 0), Literal(INT64, 11)))
    truths = Call("gt", (longer, Literal(INT64, 3)))
    options = tuple((o.name, 0.5) for o in get(name).options if o.required)
    found = {height(Call(name, args, options), 1) for args in ((), (longer,), (longer, longer), (truths,))}
    assert found == {1, None}
