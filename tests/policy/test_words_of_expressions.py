"""Every expression of a plan in plain words, in the order of computing."""

from __future__ import annotations

import pytest
from bastion_policy.plan_words import expressions_words
from query import Q

import bastion.expressions as pl

T, U = Q("t"), Q("u")
age, pay = pl.col("age"), pl.col("pay")


@pytest.mark.parametrize(
    ("plan", "lines"),
    [
        (T, ()),
        (T.filter(age > 30).select(pay.mean()), ("rows where age > 30", "mean of pay")),
        (
            T.group_by("ward").agg(pay.mean(), n=pl.len()),
            ("mean of pay for each ward", "number of rows as n for each ward"),
        ),
        (
            T.with_columns(half=pay / 2).join(U.filter(age < 9), on="id").select(pl.col("half").sum()).head(2),
            ("pay / 2 as half", "rows where age < 9", "sum of half", "the first 2 rows"),
        ),
        (T.filter(age > 1).filter(age > 1).select("age"), ("rows where age > 1", "age")),
    ],
)
def test_lines(plan, lines):
    assert expressions_words(plan.plan) == lines


def test_a_shared_part_is_told_once():
    part = T.filter(age > 3)
    both = part.join(part, on="id").select("age")
    assert expressions_words(both.plan) == ("rows where age > 3", "age")
