"""The mistakes of a first hour: what the error says to write instead is what passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from bastion_plan.errors import BastionError

Run = Callable[..., Any]

MISTAKES = {
    "a text in then()": (
        't.select(pl.when(pl.col("Age") < 18).then("child").otherwise(pl.lit("x")))',
        "pl.lit('child')",
    ),
    "no parentheses": ('t.filter(pl.col("Age") > 30 & pl.col("Pclass") == 1)', "in parentheses, (a > 1) & (b == 2)"),
    "pandas' agg": ('t.group_by("Pclass").agg({"Age": "mean"})', "Write .agg(pl.col("),
    "the wrong column of several": ('dataset("ports").select(pl.all().mean())', "Cast 'port'"),
    "a date that is text": ('dataset("ports").select(pl.col("port").dt.year())', '.str.to_date("%Y-%m-%d")'),
    "a number in quotes": ('t.filter(pl.col("Age") > "30")', "without quotes"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_what_to_write(run: Run, case: str) -> None:
    cell, said = MISTAKES[case]
    with pytest.raises(BastionError) as caught:
        run('t = dataset("titanic")', cell)
    assert said in str(caught.value)


ADVICE = {
    "a date without its format": (
        'dataset("ports").select(pl.col("port").str.to_date().min())',
        '.str.to_date("%d/%m/%Y")',
    ),
    "order": ('t.select(pl.col("Age").forward_fill().mean())', "Aggregate first"),
    "unique rows by some columns": ('t.unique("Pclass")', ".select(...).unique()"),
}


@pytest.mark.parametrize("case", ADVICE)
def test_a_denial_says_what_would_pass(run: Run, case: str) -> None:
    cell, said = ADVICE[case]
    assert said in str(run('t = dataset("titanic")', f"print({cell}.explain())", f"{cell}.explain()"))
