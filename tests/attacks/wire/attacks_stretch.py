"""Attacks with tables of one's own that hold a key once as they are written, and many times when they are joined.

Polars stretches a frame of one row to the length of a longer expression, in filters and sorts, too.
"""

from __future__ import annotations

from typing import Any

from attack_list import attack
from query import Q, inline
from wire_arena import Attacker
from wire_terms import age, salary
from wire_worlds import AGE

import bastion.expressions as pl

ONCE, TIMES = "labels once per key", 1000
MANY = pl.int_range(0, TIMES)
KEY = inline({"k": [AGE]})


def repeated(a: Attacker, table: Q) -> Any:
    """Return the target's salary by its weight in the sum of everybody's."""
    total = a.value(a.T.select(salary.sum()))
    found = a.value(a.T.join(table, left_on=[age], right_on=[pl.col("k")], how="left").select(salary.sum()))
    return None if total is None or found is None else (found - total) / (TIMES - 1)


@attack("inflation", ONCE)
def key_stretched_by_a_filter(a: Attacker) -> Any:
    """Joins a table of the target's key alone that a filter stretches to a thousand rows."""
    return repeated(a, KEY.filter(MANY >= 0))


@attack("inflation", ONCE)
def key_stretched_by_another_column(a: Attacker) -> Any:
    """Joins a table of the target's key alone beside a column of a thousand numbers."""
    return repeated(a, KEY.select("k", z=MANY).filter(pl.col("z") >= 0))


@attack("inflation", ONCE)
def key_stretched_by_an_order(a: Attacker) -> Any:
    """Joins the largest thousand rows of a table of the target's key alone, by a thousand numbers."""
    return repeated(a, KEY.top_k(TIMES, MANY))


@attack("inflation", ONCE)
def released_cell_stretched(a: Attacker) -> Any:
    """Joins a number that was released, under the target's key, a thousand times."""
    cell = a.T.select(n=pl.len()).group_by(pl.lit(AGE).alias("k")).agg(pl.col("n").first())
    return repeated(a, cell.filter(MANY >= 0))
