"""Attacks that narrow an aggregate to one person by joins, and by tables of tables."""

from __future__ import annotations

from typing import Any

from attack_list import BIT, attack
from bastion_plan import nodes as n
from bastion_plan.dtypes import DType
from bastion_plan.expressions import Column
from query import Q, inline
from wire_arena import Attacker, minus, where
from wire_terms import age, salary, target
from wire_worlds import AGE, ID, SEX

import bastion.expressions as pl

# -- joins


@attack("one person", "joins that multiply")
def broadcast_by_a_cross_join(a: Attacker) -> Any:
    """Joins the target's row to everybody's and takes the mean."""
    one = a.T.filter(target).select(sec=salary)
    return a.value(Q(n.Join(a.T.plan, one.plan, "cross")).select(pl.col("sec").mean()))


@attack("one person", "joins of private tables")
def broadcast_by_a_constant(a: Attacker) -> Any:
    """Joins the target's row to everybody's by a computed constant."""
    one = a.T.filter(target).select(sec=salary, k=age * 0)
    joined = a.T.with_columns(k=age * 0).join(one, on="k", how="left")
    return a.value(joined.select(pl.col("sec").mean()))


@attack("one person", "joins of private tables")
def broadcast_by_a_trait(a: Attacker) -> Any:
    """Joins the target's row to all of one sex."""
    one = a.T.filter(target).select("sex", sec=salary)
    return a.value(a.T.join(one, on="sex").select(pl.col("sec").mean()))


@attack("one person", "population of k", "k")
def candidates_inner(a: Attacker) -> Any:
    """Joins a table of candidates."""
    return a.value(a.T.join(inline({"age": [AGE]}), on="age").select(salary.sum()))


@attack("one person", "population of k", "k")
def candidates_semi(a: Attacker) -> Any:
    """Keeps who is in a table of candidates."""
    return a.value(a.T.join(inline({"age": [AGE]}), on="age", how="semi").select(salary.sum()))


@attack("one person", "the whole table", "k")
def candidates_anti(a: Attacker) -> Any:
    """Leaves out who is in a table of candidates, and subtracts from the whole."""
    total = a.value(a.T.select(salary.sum()))
    return minus(total, a.value(a.T.join(inline({"age": [AGE]}), on="age", how="anti").select(salary.sum())))


@attack("one person", "joins that multiply")
def candidates_cross(a: Attacker) -> Any:
    """Crosses a table of candidates with everybody and compares afterwards."""
    crossed = Q(n.Join(a.T.plan, inline({"c": [AGE]}).plan, "cross")).filter(age == pl.col("c"))
    return a.value(crossed.select(salary.sum()))


@attack("one person", "joins of private tables")
def candidates_asof(a: Attacker) -> Any:
    """Finds the nearest candidate of each row."""
    labels = n.Inline((n.InlineColumn("age", DType("Int64"), (0, 90)), n.InlineColumn("k", DType("Int64"), (0, 1))))
    joined = Q(n.JoinAsof(a.T.sort("age").plan, labels, Column("age"), Column("age")))
    return a.value(joined.filter(pl.col("k") == 1).select(salary.sum()))


@attack("one person", "identifier")
def candidates_by_identifier(a: Attacker) -> Any:
    """Joins a table of candidates by an identifier."""
    return a.value(a.T.join(inline({"id": [ID]}), on="id").select(salary.sum()))


@attack("one person", "population of k", "k")
def labels_by_join(a: Attacker) -> Any:
    """Labels every age by a join, one of them apart."""
    ages = list(range(18, 99))
    labels = inline({"age": ages, "label": [int(x == AGE) for x in ages]})
    return where(
        a.ask(a.T.join(labels, on="age", how="left").group_by("label").agg(salary.sum())), "label", 1, "salary"
    )


@attack("one person", "held values", "open", BIT)
def bits_by_labels(a: Attacker) -> Any:
    """Sums labels of a condition."""

    def make(edge: float) -> Q:
        labels = inline({"k": [True, False], "v": [1, 0]})
        return a.T.with_columns(k=target & (salary > edge)).join(labels, on="k").select(s=pl.col("v").sum())

    return a.tells(make)


@attack("one person", "products")
def weights_by_join(a: Attacker) -> Any:
    """Joins weights that are nought but for one age, and sums the products."""
    ages = list(range(18, 99))
    labels = inline({"age": ages, "w": [float(x == AGE) for x in ages]})
    return a.value(a.T.join(labels, on="age", how="left").select(x=(salary * pl.col("w")).sum()))


@attack("one person", "joins of two people's tables", "open")
def join_that_loses_one(a: Attacker) -> Any:
    """Joins a table of everybody but the target, and subtracts from the whole."""
    total = a.value(a.T.select(salary.sum()))
    return minus(total, a.value(a.T.join(a.table("others"), on="id").select(salary.sum())))


@attack("one person", "joins of two people's tables", "open")
def join_on_computed_keys(a: Attacker) -> Any:
    """Makes the key null for the target before a join with the same table."""
    total = a.value(a.T.select(salary.sum()))
    keyed = a.T.with_columns(k=pl.when(~target).then(pl.col("id")))
    return minus(total, a.value(keyed.join(a.T.select(k=pl.col("id")), on="k").select(salary.sum())))


@attack("one person", "lineage of joined columns")
def name_like_another(a: Attacker) -> Any:
    """Names a product like a plain column of the other side of a join."""
    left = a.T.select("id", a=age)
    right = a.T.select("id", a=age, ab=salary * target.cast(pl.Float64))
    return a.value(left.join(right, on="id").select(pl.col("ab").sum()))


@attack("one person", "joins of private tables")
def difference_across_a_left_join(a: Attacker) -> Any:
    """Joins everybody's sums but the target's to the people of one sex."""
    rest = a.T.filter(~target).group_by("id").agg(k=salary.sum())
    joined = a.T.join(rest, on="id", how="left").filter(pl.col("sex") == SEX)
    return a.value(joined.select(salary.sum() - pl.col("k").sum()))


# -- tables of tables


@attack("one person", "population of k", "k")
def nested_group_by(a: Attacker) -> Any:
    """Groups what was grouped."""
    nested = a.T.group_by("age").agg(salary.sum()).group_by("age").agg(salary.max())
    return where(a.ask(nested), "age", AGE, "salary")


@attack("one person", "population of k", "k")
def maximum_of_group_means(a: Attacker) -> Any:
    """Takes the largest mean of all groups."""
    return a.value(a.T.group_by("age").agg(salary.mean()).select(salary.max()))


@attack("one person", "keys beside the unit")
def extremes_of_persons(a: Attacker) -> Any:
    """Groups by person and takes the largest of all persons' sums."""
    return a.value(a.T.group_by("id").agg(salary.sum()).select(salary.max()))


@attack("one person", "a union of parts", "open")
def parts_with_opposite_signs(a: Attacker) -> Any:
    """Stacks everybody and the negatives of everybody else."""
    parts = a.T.select(v=salary * 1.0), a.T.filter(~target).select(v=salary * -1.0), a.T.select(v=salary * 0.0)
    return a.value(Q(n.Concat(tuple(p.plan for p in parts))).select(pl.col("v").sum()))


@attack("one person", "columns into rows")
def columns_with_opposite_signs(a: Attacker) -> Any:
    """Turns a column and its negative into rows, and filters one of them."""
    wide = a.T.filter(pl.col("sex") == SEX).select("age", x=salary * 1.0, y=salary * -1.0)
    rows = wide.unpivot(["x", "y"], ["age"]).filter((pl.col("variable") == "x") | ~target)
    return a.value(rows.select(pl.col("value").sum()))


@attack("one person", "structs")
def product_in_a_struct(a: Attacker) -> Any:
    """Hides a mask in a struct and unpacks it again."""
    packed = a.T.select(z=pl.struct((salary * target.cast(pl.Float64)).alias("m")))
    return a.value(Q(n.Unnest(packed.plan, (Column("z"),))).select(pl.col("m").sum()))
