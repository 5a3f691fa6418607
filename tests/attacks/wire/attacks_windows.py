"""Attacks that narrow an aggregate to one person by windows, ranks, bins and pivots."""

from __future__ import annotations

from typing import Any

import polars
from attack_list import attack
from bastion_plan import nodes as n
from bastion_plan.expressions import Over
from query import exprs
from wire_arena import Attacker, minus, values, where
from wire_terms import age, salary, target
from wire_worlds import AGE, EVERYBODY_ELSE, SEX, TOWN

import bastion.expressions as pl


@attack("one person", "population of k", "open")
def window_over_a_trait(a: Attacker) -> Any:
    """Sums over each age, and keeps the rows of one."""
    return a.value(a.T.with_columns(x=salary.sum().over("age")).filter(target).select(pl.col("x").max()))


@attack("one person", "row-level")
def window_over_the_identity(a: Attacker) -> Any:
    """Sums over each identifier, which is the row itself, and fetches the rows."""
    return where(a.ask(a.T.select("age", x=salary.sum().over("id"))), "age", AGE, "x")


@attack("one person", "population of k", "open")
def window_then_group(a: Attacker) -> Any:
    """Sums windows by town; knows all other windows."""
    found = a.ask(a.T.with_columns(x=salary.sum().over("age")).group_by("town").agg(pl.col("x").sum()))
    rest = EVERYBODY_ELSE.with_columns(x=polars.col("salary").sum().over("age")).filter(polars.col("town") == TOWN)
    return minus(where(found, "town", TOWN, "x"), rest["x"].sum())


@attack("one person", "keys beside the unit")
def window_over_unit_and_condition(a: Attacker) -> Any:
    """Adds the condition to a window over the unit."""
    over = Over(salary.sum().plan, (pl.col("id").plan, target.plan))
    rows = a.T.with_columns(pl.Expr(over).alias("x")).filter(target)
    return a.value(rows.select(s=pl.col("x").sum()))


@attack("one person", "windows")
def rolling_window_of_one(a: Attacker) -> Any:
    """Rolls a window of one year over the ages."""
    rolled = a.T.sort("age").of(n.Rolling, exprs("age")[0], "1i", exprs(salary.sum().alias("pay")))
    return where(a.ask(rolled), "age", AGE, "pay")


@attack("one person", "population of k", "k")
def dynamic_window_of_one(a: Attacker) -> Any:
    """Groups the ages into windows of one year."""
    windows = a.T.sort("age").of(n.GroupByDynamic, exprs("age")[0], "1i", exprs(salary.sum().alias("pay")))
    return where(a.ask(windows), "age", AGE, "pay")


@attack("one person", "windows")
def moved_window_of_one(a: Attacker) -> Any:
    """Moves the windows so that one holds the target alone."""
    windows = a.T.sort("age").of(
        n.GroupByDynamic, exprs("age")[0], "17i", exprs(salary.sum().alias("pay")), offset="12i"
    )
    found = a.ask(windows)
    return values(found, "pay")[-1] if values(found, "pay") else None


@attack("one person", "order-dependent")
def ranks_as_keys(a: Attacker) -> Any:
    """Groups by the rank of the age."""
    found = a.ask(a.T.with_columns(r=age.rank("dense")).group_by("r").agg(salary.sum()).sort("r"))
    return values(found, "salary")[-1] if values(found, "salary") else None


@attack("one person", "binnings of data-made edges")
def quantile_bins_as_keys(a: Attacker) -> Any:
    """Groups by quantile bins so thin that one holds the oldest alone."""
    found = a.ask(a.T.with_columns(b=age.qcut([0.9999]).cast(pl.String)).group_by("b").agg(pl.len(), salary.sum()))
    mine = found.filter(polars.col("len") == 1) if "len" in found.columns else found
    return mine["salary"][0] if "salary" in mine.columns and mine.height else None


@attack("one person", "population of k", "k")
def cut_bins_as_keys(a: Attacker) -> Any:
    """Groups by bins of the attacker's own edges."""
    found = a.ask(a.T.with_columns(b=age // 97).group_by("b").agg(salary.sum()))
    return where(found, "b", 1, "salary")


@attack("one person", "population of k", "k")
def cell_of_a_pivot(a: Attacker) -> Any:
    """Pivots ages against sexes."""
    found = a.ask(a.T.of(n.Pivot, "sex", (SEX,), ("age",), ("salary",), "sum"))
    return where(found, "age", AGE, found.columns[-1]) if found.columns else None
