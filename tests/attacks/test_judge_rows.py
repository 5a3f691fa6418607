"""Attacks on the judge, by plan, for rows and hidden columns. Each works without a guard, and not with the default one.

What is asserted is that the value is not obtained, not that an error was raised.
"""

from __future__ import annotations

import math
from typing import Any

import polars
from attacking import Ask, Attacks, cell, played
from bastion_plan import nodes as n
from bastion_plan.expressions import Over
from judged_people import (
    DEBT,
    ID,
    NAME,
    PEOPLE,
    SALARY,
    TARGET,
    TOTAL,
    N,
    T,
    debt,
    guarded,
    salary,
    target,
    unguarded,
)
from query import Q

import bastion.expressions as pl

ATTACKS = Attacks(SALARY)
attack = ATTACKS.note


# -- rows


@attack()
def plain_rows(ask: Ask) -> Any:
    return cell(ask(T), "salary", TARGET)


@attack()
def head(ask: Ask) -> Any:
    return cell(ask(T.head(TARGET + 1)), "salary", TARGET)


@attack()
def slice_of_one(ask: Ask) -> Any:
    return cell(ask(T.slice(TARGET, 1)), "salary")


@attack()
def slice_then_mean(ask: Ask) -> Any:
    return cell(ask(T.slice(TARGET, 1).select(salary.mean())), "salary")


@attack()
def filter_then_rows(ask: Ask) -> Any:
    return cell(ask(T.filter(target).select("salary")), "salary")


@attack(True)
def unique_rows(ask: Ask) -> Any:
    found = ask(T.select("salary").unique())
    return "salary" in found.columns and SALARY in found["salary"].to_list()


@attack(True)
def unique_expression(ask: Ask) -> Any:
    found = ask(T.select(salary.unique()))
    return "salary" in found.columns and SALARY in found["salary"].to_list()


@attack()
def sort_and_limit(ask: Ask) -> Any:
    return cell(ask(T.sort("age", descending=True).head(1)), "salary")


@attack()
def sort_head_then_sum(ask: Ask) -> Any:
    return cell(ask(T.sort("age", descending=True).head(1).select(salary.sum())), "salary")


@attack(DEBT)
def top_k(ask: Ask) -> Any:
    return cell(ask(T.top_k(1, "debt").select("debt")), "debt")


@attack(DEBT)
def top_k_then_mean(ask: Ask) -> Any:
    return cell(ask(T.top_k(1, "debt").select(debt.mean())), "debt")


@attack()
def sample_of_everybody(ask: Ask) -> Any:
    found = ask(T.sample(N))
    return cell(found.filter(polars.col("age") == 97), "salary") if "age" in found.columns else None


@attack()
def implode(ask: Ask) -> Any:
    found = cell(ask(T.select(salary.implode())), "salary")
    return None if found is None else found[TARGET]


@attack()
def agg_without_function(ask: Ask) -> Any:
    found = ask(T.group_by("age").agg(salary))
    if "age" not in found.columns:
        return None
    rows = found.filter(polars.col("age") == 97)
    value = cell(rows, "salary")
    return value[0] if isinstance(value, polars.Series | list) else value


@attack()
def first_of_sorted(ask: Ask) -> Any:
    return cell(ask(T.sort("age", descending=True).select(salary.first())), "salary")


@attack()
def last_of_group(ask: Ask) -> Any:
    found = ask(T.group_by("age").agg(salary.last()))
    return cell(found.filter(polars.col("age") == 97), "salary") if "age" in found.columns else None


@attack()
def fill_null_identity(ask: Ask) -> Any:
    return cell(ask(T.select(salary.fill_null(0))), "salary", TARGET)


@attack()
def pow_identity(ask: Ask) -> Any:
    return cell(ask(T.select(salary**1)), "salary", TARGET)


@attack()
def broadcast_keeps_rows(ask: Ask) -> Any:
    return cell(ask(T.with_columns(m=salary.mean())), "salary", TARGET)


@attack(True)
def duplicates_of_identifier(ask: Ask) -> Any:
    found = ask(T.group_by("id").agg(pl.len()))
    return "id" in found.columns and ID in found["id"].to_list()


# -- hidden columns


@attack(NAME)
def hidden_by_alias(ask: Ask) -> Any:
    return cell(ask(T.select(x=pl.col("name"))), "x", TARGET)


@attack(True)
def hidden_as_filter(ask: Ask) -> Any:
    found = ask(T.filter(pl.col("name").str.ends_with("7")).select(pl.len()))
    return cell(found, "len") == PEOPLE.filter(polars.col("name").str.ends_with("7")).height


@attack(True)
def hidden_renamed_as_filter(ask: Ask) -> Any:
    found = ask(
        T.with_columns(x=pl.col("name").str.to_uppercase()).filter(pl.col("x").str.ends_with("7")).select(pl.len())
    )
    return cell(found, "len") == PEOPLE.filter(polars.col("name").str.ends_with("7")).height


@attack(True)
def hidden_as_key(ask: Ask) -> Any:
    found = ask(T.with_columns(x=pl.col("name").str.slice(0, 8)).group_by("x").agg(pl.len()))
    return "x" in found.columns and "person 1" in found["x"].to_list()


@attack(True)
def hidden_in_over(ask: Ask) -> Any:
    x = Over((salary.mean()).plan, (pl.col("name").plan,))
    found = ask(Q(n.WithColumns(T.plan, (pl.Expr(x).alias("x").plan,))).select(pl.col("x").sum()))
    return cell(found, "x") is not None and math.isclose(cell(found, "x"), TOTAL)


@attack(True)
def hidden_as_sort_key(ask: Ask) -> Any:
    found = ask(T.sort("name").group_by("town", maintain_order=True).agg(pl.len()))
    first = PEOPLE.sort("name")["town"][0]
    return (
        cell(found, "town") == first
        and found.height == 4
        and found["town"].to_list() != sorted(found["town"].to_list())
    )


@attack(True)
def hidden_length(ask: Ask) -> Any:
    found = cell(ask(T.select(x=pl.col("name").str.len_chars().mean())), "x")
    return found is not None and math.isclose(found, float(PEOPLE["name"].str.len_chars().mean()))


# -- order


@attack(True)
def order_of_groups(ask: Ask) -> Any:
    """The first key of an ordered group_by is that of the first row."""
    found = ask(T.sort("debt", descending=True).group_by("town", maintain_order=True).agg(pl.len()))
    expected = PEOPLE.sort("debt", descending=True).group_by("town", maintain_order=True).len()["town"].to_list()
    return "town" in found.columns and found["town"].to_list() == expected != sorted(expected)


@attack()
def shift(ask: Ask) -> Any:
    found = ask(T.sort("age").with_columns(x=salary.cum_sum() - salary.cum_sum().shift(1)).select(pl.col("x").last()))
    return cell(found, "x")


@attack()
def row_index(ask: Ask) -> Any:
    found = ask(T.with_row_index("i").filter(pl.col("i") == TARGET).select(salary.mean()))
    return cell(found, "salary")


test_attack_fails_under_the_default_policy, test_attack_succeeds_without_a_guard = played(ATTACKS, guarded, unguarded)
