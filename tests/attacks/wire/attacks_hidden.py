"""Attacks on a hidden column: under another name, in a filter, as key, in a join, by its length or order."""

from __future__ import annotations

from typing import Any

from attack_list import attack
from bastion_plan import nodes as n
from bastion_plan.expressions import Over
from query import Q, inline
from wire_arena import Attacker, values
from wire_worlds import AGE, SECRETS, TARGET

import bastion.expressions as pl

name, age = pl.col("name"), pl.col("age")
target = age == AGE
GUESS = str(SECRETS[0]["name"])
TELLS = (True, False)


def rows(a: Attacker) -> Q:
    """Return the table that has a hidden column."""
    return a.table("named")


@attack("hidden columns", "hidden", "names", "name")
def hidden_by_alias(a: Attacker) -> Any:
    """Fetches the hidden column under another name."""
    return (values(a.ask(rows(a).select(x=name)), "x") or [None] * 600)[TARGET]


@attack("hidden columns", "hidden", "names", "name")
def hidden_renamed_in_two_steps(a: Attacker) -> Any:
    """Copies the hidden column, drops it and fetches the copy."""
    copied = rows(a).with_columns(x=name).select("age", "x").filter(target).select(y=pl.col("x"))
    return a.value(copied)


@attack("hidden columns", "hidden", "names", "name")
def hidden_by_text_operations(a: Attacker) -> Any:
    """Takes the hidden column apart and puts it together again."""
    parts = pl.concat_str(name.str.slice(0, 3), name.str.slice(3))
    return a.value(rows(a).filter(target).select(x=parts))


@attack("hidden columns", "hidden", "names", "name")
def hidden_in_a_struct(a: Attacker) -> Any:
    """Packs the hidden column into a struct."""
    found = a.value(rows(a).filter(target).select(x=pl.struct(name.alias("y"))))
    return found["y"] if isinstance(found, dict) else None


@attack("hidden columns", "hidden", "names", "name")
def hidden_as_maximum(a: Attacker) -> Any:
    """Takes the largest of the hidden column."""
    return a.value(rows(a).filter(target).select(x=name.max()))


@attack("hidden columns", "hidden", "names", TELLS)
def hidden_as_filter(a: Attacker) -> Any:
    """Counts who has a name."""
    found = a.value(rows(a).filter(name == GUESS).select(pl.len()))
    return None if found is None else found == 1


@attack("hidden columns", "hidden", "names", TELLS)
def hidden_renamed_as_filter(a: Attacker) -> Any:
    """Derives a column from the hidden one and filters by that."""
    derived = rows(a).with_columns(x=name.str.to_uppercase()).filter(pl.col("x").str.ends_with(" 137"))
    found = a.value(derived.select(pl.len()))
    return None if found is None else found == 1


@attack("hidden columns", "hidden", "names", TELLS)
def hidden_inside_an_aggregate(a: Attacker) -> Any:
    """Counts the people whose name has a letter."""
    found = a.value(rows(a).select(x=name.str.starts_with("person").sum()))
    return None if found is None else found == 600


@attack("hidden columns", "hidden", "names", TELLS)
def hidden_as_key(a: Attacker) -> Any:
    """Groups by a part of the hidden column."""
    found = values(a.ask(rows(a).with_columns(x=name.str.slice(0, 6)).group_by("x").agg(pl.len())), "x")
    return None if not found else "somebo" not in found


@attack("hidden columns", "hidden", "names", TELLS)
def hidden_as_join_key(a: Attacker) -> Any:
    """Joins a table of candidates for the name."""
    found = a.value(rows(a).join(inline({"name": [GUESS]}), on="name").select(pl.len()))
    return None if found is None else found == 1


@attack("hidden columns", "hidden", "names", TELLS)
def hidden_in_a_window(a: Attacker) -> Any:
    """Counts over a part of the hidden column."""
    over = Over(pl.len().plan, (name.str.slice(0, 6).plan,))
    found = a.value(Q(n.WithColumns(rows(a).plan, (pl.Expr(over).alias("x").plan,))).select(pl.col("x").min()))
    return None if found is None else found == 600


@attack("hidden columns", "hidden", "names", TELLS)
def hidden_as_sort_key(a: Attacker) -> Any:
    """Sorts by the hidden column and keeps the order of groups."""
    sorted_rows = rows(a).sort("name", descending=True).group_by("age", maintain_order=True).agg(pl.len())
    found = values(a.ask(sorted_rows), "age")
    return None if not found else found[0] != AGE


@attack("hidden columns", "hidden", "names", TELLS)
def hidden_length(a: Attacker) -> Any:
    """Takes the largest length of the hidden column."""
    found = a.value(rows(a).select(x=name.str.len_chars().max()))
    return None if found is None else found == 10


@attack("hidden columns", "hidden", "names", TELLS)
def hidden_values_counted(a: Attacker) -> Any:
    """Counts the distinct values of what the hidden column begins with."""
    found = a.value(rows(a).select(x=name.str.slice(0, 6).n_unique()))
    return None if found is None else found == 1


@attack("hidden columns", "hidden", "names", TELLS)
def hidden_in_a_choice(a: Attacker) -> Any:
    """Chooses a number by the hidden column."""
    choice = pl.when(name == GUESS).then(1).otherwise(0)
    found = a.value(rows(a).select(x=choice.sum()))
    return None if found is None else found == 1


@attack("hidden columns", "hidden", "names", "name")
def hidden_after_an_approval(a: Attacker) -> Any:
    """Has the owner approve rows, and reads the hidden column among them."""
    found = a.approved(rows(a).filter(target).select("age", "name"))
    return (values(found, "name") or [None])[0]
