"""The columns and conditions that most attacks speak of: the target, one sex, a condition on the secret."""

from __future__ import annotations

from typing import Any

import polars
from wire_arena import Attacker
from wire_worlds import AGE, HIGH, LOW, SEX

import bastion.expressions as pl

salary, age, sex, town = (pl.col(c) for c in ("salary", "age", "sex", "town"))
target, mine = age == AGE, pl.col("sex") == SEX
secret = target & (salary > LOW) & (salary < HIGH)
nobody = target & (salary > 1e6)
known = polars.col("sex") == SEX
RULE, OFF = "populations near earlier ones", "history"
WHOLE = "the whole table"


def total(a: Attacker, *conditions: Any) -> Any:
    """Return the sum of salaries of those who meet all conditions."""
    return a.value(a.T.filter(*conditions).select(salary.sum()))


def new_salary(a: Attacker) -> polars.Expr:
    """Return the column with the target's new salary."""
    value = 99_999.5 if a.world == 0 else 88_888.5
    return polars.when(polars.col("age") == AGE).then(value).otherwise(polars.col("salary")).alias("salary")
