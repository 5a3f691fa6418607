"""Attacks that ask for rows, plainly or under another name."""

from __future__ import annotations

from typing import Any

import polars
from attack_list import attack
from bastion_plan import nodes as n
from bastion_wire import messages as m
from query import inline
from wire_arena import Attacker, minus, values, where
from wire_worlds import AGE, SECRETS, TARGET, N

import bastion.expressions as pl

salary, age, debt, name = (pl.col(c) for c in ("salary", "age", "debt", "name"))
target = age == AGE
TRUTHS = (SECRETS[0]["salary"], SECRETS[1]["salary"])


def at(table: polars.DataFrame, column: str, row: int = TARGET) -> Any:
    """Return one cell of a table that has it."""
    return table[column][row] if column in table.columns and table.height > row else None


def among(found: list[Any]) -> Any:
    """Return the salary that only the target can have: the one above everybody else's."""
    numbers = [v for v in found if isinstance(v, float)]
    return max(numbers, default=None)


@attack("rows", "row-level")
def plain_rows(a: Attacker) -> Any:
    """Fetches the table."""
    return where(a.ask(a.T), "age", AGE, "salary")


@attack("rows", "row-level")
def head_of_the_table(a: Attacker) -> Any:
    """Fetches the first rows."""
    return at(a.ask(a.T.head(TARGET + 1)), "salary")


@attack("rows", "row-level")
def tail_of_the_table(a: Attacker) -> Any:
    """Fetches the last rows, by a negative offset."""
    return where(a.ask(a.T.slice(-(N - TARGET), 1)), "age", AGE, "salary")


@attack("rows", "row-level")
def slice_of_one_row(a: Attacker) -> Any:
    """Cuts one row out of the table."""
    return at(a.ask(a.T.slice(TARGET, 1)), "salary", 0)


@attack("rows", "row-level")
def slice_then_mean(a: Attacker) -> Any:
    """Takes the mean of one row that was cut out."""
    return a.value(a.T.slice(TARGET, 1).select(salary.mean()))


@attack("rows", "row-level")
def filter_then_rows(a: Attacker) -> Any:
    """Filters to one person and fetches the rows."""
    return a.value(a.T.filter(target).select("salary"))


@attack("rows", "row-level")
def unique_rows(a: Attacker) -> Any:
    """Fetches the distinct rows of one column."""
    return among(values(a.ask(a.T.select("salary").unique()), "salary"))


@attack("rows", "row-level")
def unique_expression(a: Attacker) -> Any:
    """Fetches the distinct values of a column by an expression."""
    return among(values(a.ask(a.T.select(salary.unique())), "salary"))


@attack("rows", "row-level")
def unique_by_subset(a: Attacker) -> Any:
    """Keeps one row per age, all columns with it."""
    return where(a.ask(a.T.unique("age").select("age", "salary")), "age", AGE, "salary")


@attack("rows", "row-level")
def sort_and_limit(a: Attacker) -> Any:
    """Sorts by age and fetches the oldest."""
    return at(a.ask(a.T.sort("age", descending=True).head(1)), "salary", 0)


@attack("rows", "row-level")
def sort_head_then_sum(a: Attacker) -> Any:
    """Sums over the oldest of the sorted rows."""
    return a.value(a.T.sort("age", descending=True).head(1).select(salary.sum()))


@attack("rows", "row-level")
def bottom_of_reversed(a: Attacker) -> Any:
    """Reverses the sorted table before it is cut."""
    return a.value(a.T.sort("age").of(n.Reverse).head(1).select(salary.sum()))


@attack("rows", "row-level", truth="debt")
def top_k_rows(a: Attacker) -> Any:
    """Fetches the row with the largest debt."""
    return a.value(a.T.top_k(1, "debt").select("debt"))


@attack("rows", "row-level", truth="debt")
def top_k_then_mean(a: Attacker) -> Any:
    """Takes the mean of the row with the largest debt."""
    return a.value(a.T.top_k(1, "debt").select(debt.mean()))


@attack("rows", "row-level")
def sample_of_everybody(a: Attacker) -> Any:
    """Samples as many rows as there are."""
    return where(a.ask(a.T.sample(N)), "age", AGE, "salary")


@attack("rows", "row-level")
def sample_after_a_filter(a: Attacker) -> Any:
    """Sums over a sample of one of one."""
    return a.value(a.T.filter(target).sample(1).select(salary.sum()))


@attack("rows", "row-level")
def gathered_value(a: Attacker) -> Any:
    """Gathers one position of the column."""
    return a.value(a.T.select(salary.gather([TARGET])))


@attack("rows", "row-level")
def value_by_position(a: Attacker) -> Any:
    """Gets the value at a position."""
    return a.value(a.T.select(salary.get(TARGET)))


@attack("rows", "row-level")
def value_at_the_largest(a: Attacker) -> Any:
    """Gets the salary at the position of the largest age."""
    return a.value(a.T.select(salary.get(age.arg_max())))


@attack("rows", "row-level")
def salaries_by_age(a: Attacker) -> Any:
    """Sorts salaries by age and takes the last."""
    return a.value(a.T.select(salary.sort_by("age").last()))


@attack("rows", "row-level")
def imploded_column(a: Attacker) -> Any:
    """Packs the column into one list."""
    found = a.value(a.T.select(salary.implode()))
    return None if found is None else found[TARGET]


@attack("rows", "row-level")
def exploded_list(a: Attacker) -> Any:
    """Packs the column into a list and unpacks it again."""
    return at(a.ask(a.T.select(salary.implode()).explode("salary")), "salary")


@attack("rows", "row-level")
def joined_text(a: Attacker) -> Any:
    """Joins all salaries into one text."""
    found = a.value(a.T.select(salary.cast(pl.String).str.join(",")))
    return None if found is None else float(found.split(",")[TARGET])


@attack("rows", "row-level", truth=(True, True))
def value_counts_of_an_identifier(a: Attacker) -> Any:
    """Lists the identifiers by counting each of them."""
    return 1000 + TARGET in [v["id"] for v in values(a.ask(a.T.select(pl.col("id").value_counts())), "id")] or None


@attack("rows", "row-level")
def value_counts_of_a_measure(a: Attacker) -> Any:
    """Lists the salaries by counting each of them."""
    found = values(a.ask(a.T.select(salary.value_counts())), "salary")
    return among([v["salary"] for v in found])


@attack("rows", "row-level", truth=(True, True))
def identifiers_as_keys(a: Attacker) -> Any:
    """Lists the identifiers as keys of a table."""
    return 1000 + TARGET in values(a.ask(a.T.group_by("id").agg(pl.len())), "id") or None


@attack("rows", "row-level")
def agg_without_a_function(a: Attacker) -> Any:
    """Aggregates a column without a function."""
    found = where(a.ask(a.T.group_by("age").agg(salary)), "age", AGE, "salary")
    return None if found is None else found[0]


@attack("rows", "row-level")
def fill_null_as_identity(a: Attacker) -> Any:
    """Fills nulls that are not there."""
    return at(a.ask(a.T.select(salary.fill_null(0))), "salary")


@attack("rows", "row-level")
def power_as_identity(a: Attacker) -> Any:
    """Raises to the power of one."""
    return at(a.ask(a.T.select(salary**1)), "salary")


@attack("rows", "row-level")
def replace_as_identity(a: Attacker) -> Any:
    """Replaces a value that is not there."""
    return at(a.ask(a.T.select(salary.replace({-1.0: 0.0}))), "salary")


@attack("rows", "row-level")
def text_as_identity(a: Attacker) -> Any:
    """Writes each salary as text."""
    found = at(a.ask(a.T.select(x=pl.concat_str(salary, pl.lit("|")))), "x")
    return None if found is None else float(found.rstrip("|"))


@attack("rows", "row-level")
def struct_as_identity(a: Attacker) -> Any:
    """Packs each salary into a struct."""
    found = at(a.ask(a.T.select(x=pl.struct(salary.alias("y")))), "x")
    return None if found is None else found["y"]


@attack("rows", "row-level")
def list_as_identity(a: Attacker) -> Any:
    """Packs each salary into a list."""
    found = at(a.ask(a.T.select(x=pl.concat_list(salary, salary))), "x")
    return None if found is None else found[0]


@attack("rows", "row-level")
def rows_beside_an_aggregate(a: Attacker) -> Any:
    """Adds a released mean to every row and fetches the rows."""
    return at(a.ask(a.T.with_columns(m=salary.mean())), "salary")


@attack("rows", "row-level")
def distance_from_the_mean(a: Attacker) -> Any:
    """Fetches each row's distance from the mean, and the mean."""
    found = at(a.ask(a.T.select(x=salary - salary.mean())), "x")
    mean = a.value(a.T.select(salary.mean()))
    return None if found is None or mean is None else found + mean


@attack("rows", "row-level")
def columns_into_rows(a: Attacker) -> Any:
    """Turns columns into rows and fetches them."""
    return at(a.ask(a.T.unpivot(["salary"], ["age"]).filter(target)), "value", 0)


@attack("rows", "row-level")
def first_of_sorted(a: Attacker) -> Any:
    """Takes the first salary of the sorted table."""
    return a.value(a.T.sort("age", descending=True).select(salary.first()))


@attack("rows", "row-level")
def last_of_a_group(a: Attacker) -> Any:
    """Takes the last salary of each age."""
    return where(a.ask(a.T.group_by("age").agg(salary.last())), "age", AGE, "salary")


@attack("rows", "row-level")
def head_of_a_group(a: Attacker) -> Any:
    """Takes the first salaries of each age."""
    found = where(a.ask(a.T.group_by("age").agg(salary.head(1))), "age", AGE, "salary")
    return None if found is None else found[0]


@attack("rows", "row-level")
def row_number_as_filter(a: Attacker) -> Any:
    """Numbers the rows and filters by the number."""
    return a.value(a.T.with_row_index("i").filter(pl.col("i") == TARGET).select(salary.mean()))


@attack("rows", "order-dependent")
def running_sum_differences(a: Attacker) -> Any:
    """Takes the last difference of a running sum over the sorted table."""
    steps = a.T.sort("age").with_columns(x=salary.cum_sum() - salary.cum_sum().shift(1))
    return a.value(steps.select(pl.col("x").last()))


@attack("rows", "order-dependent")
def shifted_sums(a: Attacker) -> Any:
    """Subtracts the sum of a shifted column, which lacks one row, from the whole."""
    found = a.ask(a.T.sort("age").select(x=salary.sum(), y=salary.shift(1).sum()))
    return minus(at(found, "x", 0), at(found, "y", 0))


@attack("rows", "row-level", truth=(True, False))
def hashed_values(a: Attacker) -> Any:
    """Fetches hashes of the salaries and compares them with the hash of a guess."""
    guess = inline({"salary": [float(SECRETS[0]["salary"])]})  # type: ignore[arg-type]
    wanted = a.value(guess.select(pl.col("salary").hash(1)))
    found = values(a.ask(a.T.select(salary.hash(1))), "salary")
    return wanted in found if found and wanted is not None else None


@attack("rows", "row-level", truth=(True, False))
def error_about_a_value(a: Attacker) -> Any:
    """Makes a conversion fail for one person's value, and reads the error."""
    body, table = a.line().query(a.T.filter(target).select(pl.col("code").cast(pl.Int64).sum()).plan)
    if isinstance(body, m.Failed):
        a.told.append(f"failed: {body.code}")
        text = f"{body.message} {body.reason} {body.next_step} {body.details}"
        assert "conversion" not in text, "the engine's own words left the server"
        return True
    a.told.append("answered" if table is not None else f"{body.outcome}: {body.rule}")
    return False if table is not None else None
