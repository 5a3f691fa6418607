"""Attacks by the shape of frames: joins, concats, reshapes, keys. Each works where the owner put no guard, and not else.

`first` is what an attacker reads off the answer, or off the safe part on offer. What is asserted is that the value is not
obtained, not that an error was raised.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import polars
import pytest
from attacking import Ask, Attacks, ask_part, minus, same
from bastion_plan import nodes as n
from bastion_plan.dtypes import DType
from bastion_plan.expressions import Column
from bastion_policy.model import Policy, Role, RoleKind
from bastion_policy.verdict import Outcome
from drive import World
from query import Q, concat, inline

import bastion.expressions as pl

N = 600
TARGET = 137
MEASURE = Role(RoleKind.MEASURE)
ROLES: dict[str, Role | str] = {
    "id": "identifier", "name": "hidden", "age": "quasi", "sex": "quasi", "town": "quasi", "salary": MEASURE,
    "hiv": "sensitive", "share": "quasi", "tags": "quasi", "marks": "quasi", "debt": MEASURE, "place": "quasi",
}  # fmt: skip


def people() -> polars.DataFrame:
    rng = np.random.default_rng(11)
    age = rng.integers(20, 80, N)
    age[TARGET] = 97
    salary = np.round(rng.normal(50_000, 9_000, N), 2)
    salary[TARGET] = 81_234.56
    hiv = rng.random(N) < 0.3
    hiv[TARGET] = True
    tags = [[int(i), int(i) + 1] for i in rng.integers(0, 9, N)]
    debt = np.round(rng.uniform(50, 70, N), 2)
    debt[TARGET] = 98_765.43
    return polars.DataFrame(
        {
            "debt": debt,
            "place": np.arange(N) % 10,
            "id": np.arange(1000, 1000 + N), "name": [f"person {i}" for i in range(N)], "age": age,
            "sex": ["f", "m"] * (N // 2), "town": rng.choice(["a", "b", "c"], N), "salary": salary, "hiv": hiv,
            "share": np.where(age == 97, 1.0, 0.0).astype(np.float32), "tags": tags, "marks": tags,
        }
    )  # fmt: skip


PEOPLE = people()
SALARY = float(PEOPLE["salary"][TARGET])
SEX = PEOPLE["sex"][TARGET]
TOTAL = float(PEOPLE["salary"].sum())

guarded = World().add("t", PEOPLE, Policy.default(), ROLES, unit="id")
unguarded = World().add("t", PEOPLE, Policy.open(), ROLES | {"name": "quasi"}, unit="id")
for world in (guarded, unguarded):
    others = PEOPLE.filter(polars.col("age") != 97).select("id", "sex")
    world.add("u", others, world.facts["t"].policy, {"id": "identifier", "sex": "quasi"}, unit="id")

T = Q("t")
salary, age = pl.col("salary"), pl.col("age")
target = age == 97
ATTACKS = Attacks(SALARY)
attack = ATTACKS.note


def first(table: polars.DataFrame) -> Any:
    return table.row(0)[0] if table.height and table.width else None


def tells(ask: Ask, make: Callable[[Any], Q]) -> bool:
    """Whether the answers differ when the condition holds for the target and when it does not."""
    return not ask(make(target & (salary > 80_000))).equals(ask(make(target & (salary > 90_000))))


# -- joins


@attack()
def a_column_named_like_another(ask: Ask) -> Any:
    labels = inline({"sex": ["f", "m"], "a": [0, 1]})
    right = T.select("sex", a=age, ab=salary * target.cast(pl.Float64))
    return first(ask(labels.join(right, on="sex").select(pl.col("ab").sum())))


@attack()
def a_column_named_like_another_on_the_right(ask: Ask) -> Any:
    left = T.select("id", a=age)
    right = T.select("id", a=age, ab=salary * target.cast(pl.Float64))
    return first(ask(left.join(right, on="id").select(pl.col("ab").sum())))


@attack(True)
def a_sensitive_filter_by_likeness_of_names(ask: Ask) -> Any:
    left, right = T.select("id", a=age), T.select("id", a=age, ab=pl.col("hiv"))
    found = first(ask(left.join(right, on="id").filter(pl.col("ab")).select(pl.len())))
    return found == int(PEOPLE["hiv"].sum())


@attack()
def repetition_by_rounded_labels(ask: Ask) -> Any:
    keys = tuple([0.0] + [1.0 + i * 1e-12 for i in range(12)])
    labels = Q(n.Inline((n.InlineColumn("share", DType("Float32"), keys),)))
    return first(ask(T.join(labels, on="share").filter(target).select(salary.mean())))


@attack()
def repetition_by_not_a_numbers(ask: Ask) -> Any:
    keys = (0.0, *[float("nan")] * 12)
    labels = Q(n.Inline((n.InlineColumn("k", DType("Float64"), keys),)))
    rows = T.with_columns(k=pl.when(target).then(pl.lit(float("nan"))).otherwise(0.0))
    return first(ask(rows.join(labels, on="k").filter(target).select(salary.mean())))


@attack(1.0)
def repetition_by_decimals(ask: Ask) -> Any:
    dtype = DType("Decimal", precision=10, scale=3)
    keys = ("0", *["1." + "0" * i for i in range(1, 4)], "1")
    labels = Q(n.Inline((n.InlineColumn("k", dtype, keys),)))
    rows = T.with_columns(k=pl.when(target).then(1).otherwise(0).cast(pl.Decimal(10, 3)))
    count = first(ask(rows.join(labels, on="k").select(pl.len())))
    return None if count is None else (count - N) / 3


@attack()
def all_but_one_by_a_swapped_join(ask: Ask) -> Any:
    labels = inline({"age": [i for i in range(130) if i != 97]})
    return minus(TOTAL, first(ask(labels.join(T, on="age").select(salary.sum()))))


@attack(True)
def nulls_of_a_left_join(ask: Ask) -> Any:
    def make(secret: Any) -> Q:
        others = T.filter(~secret).group_by("id").agg(k=age.max())
        return T.join(others, on="id", how="left").filter(pl.col("sex") == SEX).select(pl.col("k").null_count())

    return tells(ask, make)


@attack()
def difference_across_a_left_join(ask: Ask) -> Any:
    others = T.filter(~target).group_by("id").agg(k=salary.sum())
    joined = T.join(others, on="id", how="left").filter(pl.col("sex") == SEX)
    return first(ask(joined.select(salary.sum() - pl.col("k").sum())))


@attack()
def difference_across_an_inner_join(ask: Ask) -> Any:
    """Two visits a person; the left side leaves out one visit of one person in one town."""
    most = T.filter((pl.col("sex") == SEX) & (pl.col("visit") < 2) & ~(target & (pl.col("visit") == 1)))
    totals = T.filter(pl.col("visit") < 2).group_by("id").agg(k=salary.sum())
    joined = most.group_by("id").agg(y=salary.sum()).join(totals, on="id")
    return first(ask(joined.select(pl.col("k").sum() - pl.col("y").sum())))


@attack(True)
def semi_join_with_a_chosen_part(ask: Ask) -> Any:
    """Who is on the right decides who is counted: the order of a filter and a join must not matter."""
    found = ask(T.join(T.filter(~target & (pl.col("sex") == SEX)), on="id", how="semi").select(salary.sum()))
    rest = PEOPLE.filter((polars.col("age") != 97) & (polars.col("sex") == SEX))["salary"].sum()
    return first(found) is not None and math.isclose(first(found), rest)


@attack(True)
def unsorted_rows_of_an_asof_join(ask: Ask) -> Any:
    """Rows are out of order only if the secret holds, and the join fails then."""

    def fails(secret: Any) -> bool:
        rows = T.sort(pl.when(secret).then(-1).otherwise(age))
        labels = n.Inline((n.InlineColumn("age", DType("Int64"), (0, 50)),))
        plan = n.JoinAsof(rows.plan, labels, Column("age"), Column("age"))
        try:
            ask(Q(plan).select(pl.len()))
        except polars.exceptions.PolarsError:
            return True
        return False

    return fails(target & (salary > 80_000)) != fails(target & (salary > 90_000))


@attack()
def a_join_that_loses_one_person(ask: Ask) -> Any:
    """The other table holds everybody but the target."""
    return minus(TOTAL, first(ask(T.join(Q("u"), on="id").select(salary.sum()))))


@attack()
def a_join_on_computed_keys(ask: Ask) -> Any:
    keyed = T.with_columns(k=pl.when(~target).then(pl.col("id")))
    return minus(TOTAL, first(ask(keyed.join(T.select(k=pl.col("id")), on="k").select(salary.sum()))))


# -- rows below rows


@attack()
def parts_with_opposite_signs(ask: Ask) -> Any:
    parts = (
        T.select(v=salary), T.filter(~target).select(v=salary * -1.0), T.filter(pl.col("sex") == "f").select(v=salary * 0.0)
    )  # fmt: skip
    return first(ask(concat(*parts).select(pl.col("v").sum())))


@attack()
def whole_beside_a_part(ask: Ask) -> Any:
    """All but one person in one part, few in the other."""
    women = T.filter(pl.col("sex") == "f").select("salary")
    value = first(ask(concat(T.filter(~target).select("salary"), women).select(salary.sum())))
    return minus(TOTAL + float(PEOPLE.filter(polars.col("sex") == "f")["salary"].sum()), value)


@attack()
def parts_that_leave_out_one_person_together(ask: Ask) -> Any:
    parts = T.filter(pl.col("sex") != SEX), T.filter((pl.col("sex") == SEX) & ~target)
    return minus(TOTAL, first(ask(concat(*parts).select(salary.sum()))))


@attack(1)
def tags_with_opposite_signs(ask: Ask) -> Any:
    some = pl.col("sex") == SEX
    parts = T.filter(some).with_columns(v=pl.lit(1)), T.filter(some & ~target).with_columns(v=pl.lit(-1))
    return first(ask(concat(*parts).select(pl.col("v").sum())))


@attack()
def columns_of_different_parts(ask: Ask) -> Any:
    some = pl.col("sex") == SEX
    one, two = T.filter(some).select(a=salary), T.filter(some & ~target).select(b=salary)
    both = Q(n.Concat((one.plan, two.plan), "diagonal"))
    return first(ask(both.select(pl.col("a").sum() - pl.col("b").sum())))


# -- columns into rows and back


@attack()
def opposite_columns_as_rows(ask: Ask) -> Any:
    wide = T.filter(pl.col("sex") == SEX).select("age", x=salary * 1.0, y=salary * -1.0)
    rows = wide.unpivot(["x", "y"], ["age"]).filter((pl.col("variable") == "x") | (age != 97))
    return first(ask(rows.select(pl.col("value").sum())))


@attack()
def signs_from_the_name_of_the_column(ask: Ask) -> Any:
    wide = T.filter(pl.col("sex") == SEX).select("age", x=salary, y=salary)
    rows = wide.unpivot(["x", "y"], ["age"]).filter((pl.col("variable") == "x") | (age != 97))
    sign = (pl.col("variable") == "x").cast(pl.Float64) * 2 - 1
    return first(ask(rows.select((pl.col("value") * sign).sum())))


@attack(True)
def a_struct_and_back(ask: Ask) -> Any:
    def make(secret: Any) -> Q:
        packed = T.select(z=pl.struct(pl.when(~secret).then(1).alias("m")))
        return Q(n.Unnest(packed.plan, (Column("z"),))).select(pl.col("m").sum())

    return tells(ask, make)


@attack()
def a_product_in_a_struct(ask: Ask) -> Any:
    packed = T.select(z=pl.struct((salary * target.cast(pl.Float64)).alias("m")))
    return first(ask(Q(n.Unnest(packed.plan, (Column("z"),))).select(pl.col("m").sum())))


@attack(True)
def lists_of_unequal_lengths(ask: Ask) -> Any:
    def fails(secret: Any) -> bool:
        marks = pl.when(secret).then(pl.concat_list(age)).otherwise(pl.col("marks"))
        try:
            ask(T.with_columns(marks=marks).explode("tags", "marks").select(pl.len()))
        except polars.exceptions.PolarsError:
            return True
        return False

    return fails(target & (salary > 80_000)) != fails(target & (salary > 90_000))


# -- keys


@attack(True)
def remainder_by_a_condition_as_key(ask: Ask) -> Any:
    return tells(ask, lambda secret: T.with_columns(k=secret).group_by("k", "sex").agg(pl.len()))


@attack(True)
def remainder_by_a_choice_as_key(ask: Ask) -> Any:
    def make(secret: Any) -> Q:
        key = pl.when(secret).then(pl.lit("c")).when(pl.col("sex") == "f").then(pl.lit("a")).otherwise(pl.lit("b"))
        return T.with_columns(g=key).group_by("g").agg(pl.len()).sort("g")

    return tells(ask, make)


@attack(True)
def remainder_by_a_window_over_a_condition(ask: Ask) -> Any:
    def make(secret: Any) -> Q:
        return (
            T.with_columns(k=secret, m=pl.len().over(secret, "sex")).group_by("sex").agg(pl.col("m").sum()).sort("sex")
        )

    return tells(ask, make)


# -- several rows of a person (every person has three visits)


@attack(True)
def visits_split_by_a_condition(ask: Ask) -> Any:
    def make(secret: Any) -> Q:
        return T.group_by("id", (secret & (pl.col("visit") == 1)).alias("p")).agg(n=pl.len()).select(pl.len())

    return tells(ask, make)


@attack()
def sums_of_visits_split_by_a_condition(ask: Ask) -> Any:
    split = (target & (pl.col("visit") == 1)).alias("p")
    found = T.group_by("id", split).agg(m=salary.max()).select(pl.col("m").sum())
    return minus(first(ask(found)), first(ask(T.group_by("id").agg(m=salary.max()).select(pl.col("m").sum()))))


@attack()
def windows_over_visits_split_by_a_condition(ask: Ask) -> Any:
    split = T.with_columns(p=target & (pl.col("visit") == 1))
    found = first(ask(split.select(pl.col("visit").max().over("id", "p").sum())))
    everybody = first(ask(T.select(pl.col("visit").max().over("id").sum())))
    return SALARY if minus(everybody, found) == 1 else None


# -- margins


@attack(True)
def the_rest_of_cells_that_were_taken_out(ask: Ask) -> Any:
    """A place is hidden for one dominating debt; the whole less the places that are shown must not tell the debt."""
    found = ask(T.group_by("place").agg(pl.col("debt").sum()))
    whole = first(ask(T.select(pl.col("debt").sum())))
    if "debt" not in found.columns or whole is None:
        return None
    rest = whole - found.filter(polars.col("place") != PEOPLE["place"][TARGET])["debt"].sum()
    return rest < 1.095 * PEOPLE["debt"][TARGET]


def visits(world: World) -> World:
    facts = world.facts["t"]
    frame = polars.concat([PEOPLE.with_columns(visit=polars.lit(i)) for i in range(3)])
    roles = {c.name: c.role for c in facts.columns} | {"visit": Role(RoleKind.QUASI)}
    return World().add("t", frame, facts.policy, roles, unit="id")


WORLDS = {world: (world, visits(world)) for world in (guarded, unguarded)}


def _world(name: str, world: World) -> World:
    return WORLDS[world]["visits" in name or name == "difference_across_an_inner_join"]


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_fails_under_the_default_policy(name: str) -> None:
    function, truth = ATTACKS[name]
    world = _world(name, guarded)
    assert not same(function(lambda q: ask_part(world, q)), truth)


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_succeeds_without_a_guard(name: str) -> None:
    function, truth = ATTACKS[name]
    world = _world(name, unguarded)
    assert same(function(lambda q: ask_part(world, q)), truth)


HARMLESS = {
    "labels": T.join(inline({"town": ["a", "b"], "g": [1, 2]}), on="town").group_by("g").agg(salary.mean()),
    "labels of all": T.join(inline({"town": ["a", "b"], "g": [1, 2]}), on="town", how="left").group_by("g").agg(pl.len()),
    "parts": concat(T.filter(pl.col("town") == "a"), T.filter(pl.col("town") == "b")).group_by("sex").agg(salary.mean()),
    "one column binned": T.group_by((age // 20).alias("k"), "sex").agg(pl.len(), salary.mean()),
    "its own totals": T.join(T.group_by("id").agg(k=salary.sum()), on="id").group_by("sex").agg(pl.col("k").mean()),
    "stored columns as rows": T.unpivot(["salary", "age"], ["sex"]).group_by("variable").agg(pl.col("value").mean()),
    "both tables": T.join(Q("u"), on="id").group_by("sex").agg(salary.mean()),
    "lists": T.explode("tags").group_by("tags").agg(pl.len()),
    "people of the table": T.join(T, on="id", how="semi").group_by("sex").agg(salary.mean()),
}  # fmt: skip


@pytest.mark.parametrize("name", HARMLESS)
def test_common_shapes_are_still_answered(name: str) -> None:
    answer = guarded.ask(HARMLESS[name].plan)
    assert answer.verdict.outcome is Outcome.RELEASE, answer.verdict.findings
    assert answer.released.height >= 2
