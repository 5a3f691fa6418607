"""Attacks on whether a rare value exists: among distinct values, keys, counts, and in what a denial or release says."""

from __future__ import annotations

from typing import Any

from attack_list import attack
from bastion_plan import nodes as n
from bastion_wire import messages as m
from query import inline
from wire_arena import Attacker, values
from wire_terms import age, mine, salary, target

import bastion.expressions as pl

job = pl.col("job")
RARE = "astronaut"
HERE = (True, False)


@attack("existence", "held values", "open", HERE)
def rare_value_in_unique(a: Attacker) -> Any:
    """Looks for a rare value among the distinct ones."""
    found = values(a.ask(a.T.select(job.unique())), "job")
    return RARE in found if found else None


@attack("existence", "held values", "open", HERE)
def rare_value_in_unique_rows(a: Attacker) -> Any:
    """Looks for a rare value among distinct rows."""
    found = values(a.ask(a.T.select("job").unique()), "job")
    return RARE in found if found else None


@attack("existence", "held values", "open", HERE)
def rare_value_told_by_any(a: Attacker) -> Any:
    """Asks whether any of the distinct values is the rare one."""
    return a.value(a.T.select(b=(job.unique() == RARE).any()))


@attack("existence", "held values", "open", HERE)
def rare_value_in_value_counts(a: Attacker) -> Any:
    """Looks for a rare value among those counted."""
    found = values(a.ask(a.T.select(job.value_counts())), "job")
    return any(v["job"] == RARE for v in found) if found else None


@attack("existence", "held values", "open", HERE)
def smallest_share(a: Attacker) -> Any:
    """Takes the smallest share of all values."""
    found = values(a.ask(a.T.select(job.value_counts(normalize=True))), "job")
    return min(v["proportion"] for v in found) < 0.01 if found else None


@attack("existence", "held values", "open", HERE)
def number_of_distinct_values(a: Attacker) -> Any:
    """Counts the distinct values."""
    found = a.value(a.T.select(job.n_unique()))
    return None if found is None else found == 4


@attack("existence", "held values", "open", HERE)
def number_of_listed_values(a: Attacker) -> Any:
    """Counts the distinct values by listing them first."""
    found = a.value(a.T.select(job.unique().len()))
    return None if found is None else found == 4


@attack("existence", "population of k", "k", HERE)
def suppressed_keys(a: Attacker) -> Any:
    """Looks for a rare key of a table."""
    found = values(a.ask(a.T.group_by("job").agg(pl.len())), "job")
    return RARE in found if found else None


@attack("existence", "population of k", "k", HERE)
def keys_without_numbers(a: Attacker) -> Any:
    """Looks for a rare key of a table without statistics."""
    found = values(a.ask(a.T.group_by("job").agg()), "job")
    return RARE in found if found else None


@attack("existence", "population of k", "k", HERE)
def number_of_groups(a: Attacker) -> Any:
    """Counts the groups."""
    found = a.value(a.T.group_by("job").agg(pl.len()).select(pl.len()))
    return None if found is None else found == 4


@attack("existence", "population of k", "k", HERE)
def size_of_the_smallest_group(a: Attacker) -> Any:
    """Takes the smallest count of all groups."""
    found = a.value(a.T.group_by("job").agg(pl.len()).select(pl.col("len").min()))
    return None if found is None else found == 1


@attack("existence", "population of k", "k", HERE)
def own_values_semi_joined(a: Attacker) -> Any:
    """Keeps those of one's own values that occur."""
    found = a.ask(inline({"job": [RARE, "nobody"]}).join(a.T.group_by("job").agg(pl.len()), on="job", how="semi"))
    return RARE in values(found, "job") if found.width else None


@attack("existence", "population of k", "k", HERE)
def rare_column_of_a_pivot(a: Attacker) -> Any:
    """Compares a pivot's column of the rare value with one of no value."""
    found = a.ask(a.T.of(n.Pivot, "job", (RARE, "nobody"), ("sex",), ("salary",), "len").sort("sex"))
    return values(found, RARE) != values(found, "nobody") if found.width else None


@attack("existence", "population of k", "k", HERE)
def rare_value_as_filter(a: Attacker) -> Any:
    """Compares the answer for the rare value with the answer for a value nobody has."""
    one = a.ask(a.T.filter(job == RARE).select(pl.len(), salary.sum()))
    two = a.ask(a.T.filter(job == "nobody").select(pl.len(), salary.sum()))
    return not one.equals(two)


@attack("existence", "population of k", "k", HERE)
def offers_of_a_denial(a: Attacker) -> Any:
    """Compares how many cells of how many a denial offers."""

    def offer(value: str) -> Any:
        body, table = a.line().query(
            a.T.filter(job == value).group_by("sex").agg(salary.max(), pl.col("rent").sum()).plan
        )
        a.told.append(f"{body.outcome}: {body.rule}" if isinstance(body, m.Denial) else "answered or failed")
        if isinstance(body, m.Denial):
            return body.rule, body.safe_cells, body.total_cells, body.has_safe_part
        return None if table is None else (table.height, body.note.suppressed, body.note.merged)

    return offer(RARE) != offer("nobody")


@attack("existence", "population of k", "k", HERE)
def notes_of_a_release(a: Attacker) -> Any:
    """Compares what a release says about suppressed and merged rows."""

    def note(value: str) -> Any:
        body, _ = a.line().query(a.T.filter(job == value).group_by("town").agg(pl.len()).plan)
        a.told.append("answered" if isinstance(body, m.Table) else "denied or failed")
        return (body.note.suppressed, body.note.merged, body.height) if isinstance(body, m.Table) else None

    return note(RARE) != note("nobody")


@attack(
    "existence", "remainder rows", "k", HERE,
    reached=dict.fromkeys(("default", "strict"), "one bit: a remainder row tells that there is some small cell, not which"),
)  # fmt: skip
def remainder_row_is_there(a: Attacker) -> Any:
    """Looks whether a table has a remainder row: it has one only where some cell is small."""
    found = a.ask(a.T.group_by("job").agg(pl.len()))
    return None if not found.height else found.height == 4 or "(other)" in values(found, "job")


@attack("existence", "few values", "open", HERE)
def missing_values_counted(a: Attacker) -> Any:
    """Counts which values of a column are missing after a join with everybody else's."""
    rest = a.T.filter(~(target & (job == RARE))).group_by("id").agg(k=age.max())
    found = a.value(a.T.join(rest, on="id", how="left").filter(mine).select(pl.col("k").null_count()))
    return None if found is None else found == 1
