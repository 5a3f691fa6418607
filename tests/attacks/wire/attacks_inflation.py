"""Attacks that count one person many times."""

from __future__ import annotations

from typing import Any

from attack_list import attack
from bastion_plan import nodes as n
from bastion_plan.dtypes import DType
from query import Q, concat, exprs, inline
from wire_arena import Attacker, minus, where
from wire_worlds import AGE, SEX, N

import bastion.expressions as pl

salary, age = pl.col("salary"), pl.col("age")
target = age == AGE


@attack("inflation", "distinct units", "k")
def table_below_itself(a: Attacker) -> Any:
    """Stacks one person's row twenty times."""
    return a.value(concat(*[a.T.filter(target)] * 20).select(salary.mean()))


@attack("inflation", "a union of parts", "open")
def row_below_the_table(a: Attacker) -> Any:
    """Stacks one person's row below the whole table."""
    total = a.value(a.T.select(salary.sum()))
    return minus(a.value(concat(a.T, a.T.filter(target)).select(salary.sum())), total)


@attack("inflation", "a union of parts", "open")
def table_below_all_but_one(a: Attacker) -> Any:
    """Stacks the table on everybody but one."""
    total = a.value(a.T.select(salary.sum()))
    found = a.value(concat(a.T, a.T.filter(~target)).select(salary.sum()))
    return None if total is None or found is None else 2 * total - found


@attack("inflation", "a union of parts", "open")
def parts_that_leave_out_one(a: Attacker) -> Any:
    """Stacks two parts that are everybody but one together."""
    total = a.value(a.T.select(salary.sum()))
    parts = a.T.filter(pl.col("sex") != SEX), a.T.filter((pl.col("sex") == SEX) & ~target)
    return minus(total, a.value(concat(*parts).select(salary.sum())))


@attack("inflation", "distinct units", "open")
def columns_melted_into_rows(a: Attacker) -> Any:
    """Turns twelve copies of a column into rows."""
    wide = a.T.filter(target).select(*[(salary * 1).alias(f"s{i}") for i in range(12)])
    return a.value(wide.unpivot([f"s{i}" for i in range(12)]).select(pl.col("value").mean()))


@attack("inflation", "joins that multiply")
def crossed_with_a_table(a: Attacker) -> Any:
    """Crosses one person with twenty rows of the attacker's."""
    rows = Q(n.Join(a.T.filter(target).plan, inline({"i": list(range(20))}).plan, "cross"))
    return a.value(rows.select(salary.mean()))


@attack("inflation", "labels once per key")
def joined_with_repeated_keys(a: Attacker) -> Any:
    """Joins a table that has the target's key twenty times."""
    return a.value(a.T.join(inline({"age": [AGE] * 20}), on="age").select(salary.mean()))


@attack("inflation", "labels once per key")
def repeated_for_a_weight(a: Attacker) -> Any:
    """Joins a table that has every key once and the target's twice."""
    total = a.value(a.T.select(salary.sum()))
    twice = inline({"age": [*range(18, 99), AGE], "w": [0] * 82})
    return minus(a.value(a.T.join(twice, on="age").select(salary.sum())), total)


@attack("inflation", "labels once per key")
def keys_equal_after_rounding(a: Attacker) -> Any:
    """Joins keys that are different as written and equal as stored."""
    keys = tuple([0.0] + [1.0 + i * 1e-12 for i in range(12)])
    labels = Q(n.Inline((n.InlineColumn("share", DType("Float32"), keys),)))
    return a.value(a.T.join(labels, on="share").filter(target).select(salary.mean()))


@attack("inflation", "labels once per key")
def keys_that_are_no_number(a: Attacker) -> Any:
    """Joins a dozen NaN keys."""
    keys = (0.0, *[float("nan")] * 12)
    labels = Q(n.Inline((n.InlineColumn("k", DType("Float64"), keys),)))
    rows = a.T.with_columns(k=pl.when(target).then(pl.lit(float("nan"))).otherwise(0.0))
    return a.value(rows.join(labels, on="k").filter(target).select(salary.mean()))


@attack("inflation", "labels once per key", truth=(1.0, 1.0))
def keys_of_decimals(a: Attacker) -> Any:
    """Joins decimals that are written differently and equal."""
    dtype = DType("Decimal", precision=10, scale=3)
    labels = Q(n.Inline((n.InlineColumn("k", dtype, ("0", *["1." + "0" * i for i in range(1, 4)], "1")),)))
    rows = a.T.with_columns(k=pl.when(target).then(1).otherwise(0).cast(pl.Decimal(10, 3)))
    count = a.value(rows.join(labels, on="k").select(pl.len()))
    return None if count is None else (count - N) / 3


@attack("inflation", "lists of one's own")
def list_of_a_constant(a: Attacker) -> Any:
    """Gives every row a list of twenty elements and unpacks it."""
    rows = a.T.filter(target).with_columns(k=pl.concat_list(*[pl.lit(i) for i in range(20)])).explode("k")
    return a.value(rows.select(salary.mean()))


@attack("inflation", "distinct units", "k")
def own_list_unpacked(a: Attacker) -> Any:
    """Unpacks a stored list of one person."""
    return a.value(a.T.filter(target).explode("tags").select(salary.mean()))


@attack("inflation", "distinct units", "k")
def many_rows_of_one_person(a: Attacker) -> Any:
    """Groups a table that has three rows per person."""
    return where(a.ask(a.table("visits").group_by("age").agg(salary.mean())), "age", AGE, "salary")


@attack("inflation", "privacy unit", "unit", "spend")
def payments_without_a_unit(a: Attacker) -> Any:
    """Groups payments by a market where one person alone pays fifteen times."""
    return where(a.ask(a.table("payments").group_by("town").agg(pl.col("spend").mean())), "town", "x", "spend")


def repeated(a: Attacker, key: str, **options: Any) -> Any:
    """Join a released table to private rows four times; its remainder row may bear the key of a shown one."""
    rows = a.T
    for i in range(4):
        cells = a.T.group_by(key).agg(pl.len().alias(f"n{i}"))
        rows = Q(n.Join(rows.plan, cells.plan, "inner", exprs(key), exprs(key), **options))
    return a.value(rows.filter(target).select(salary.mean()))


@attack("inflation", "distinct units", "open")
def repeated_by_missing_keys(a: Attacker) -> Any:
    """Joins released tables whose remainder row has the key of those whose key is missing."""
    return repeated(a, "floor", nulls_equal=True)


@attack("inflation", "distinct units", "k")
def repeated_by_the_name_of_the_rest(a: Attacker) -> Any:
    """Joins released tables whose remainder row is named like a group."""
    return repeated(a, "ward")


@attack("inflation", "joins of private tables")
def visits_joined_with_visits(a: Attacker) -> Any:
    """Joins a table of several rows per person with itself."""
    rows = a.table("visits").filter(target).join(a.table("visits").select("id", d=pl.col("day")), on="id")
    return a.value(rows.join(a.table("visits").select("id", e=pl.col("day")), on="id").select(salary.mean()))
