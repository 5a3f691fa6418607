"""Every expression of a plan in plain words, in the order of computing."""

from __future__ import annotations

import pytest
from bastion_policy.plan_words import expressions_words, plan_words
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


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        (
            pl.lit(2) * (age - pay).cast(pl.Float64),
            pl.lit(2) * age - pay.cast(pl.Float64),
            ("2 * ((age - pay) as Float64)", "(2 * age) - (pay as Float64)"),
        ),
        (
            ((age > 30) & (pay > 5)).cast(pl.Boolean) | (pay > 9),
            (age > 30) & ((pay > 5).cast(pl.Boolean) | (pay > 9)),
            ("(((age > 30) and (pay > 5)) as Boolean) or (pay > 9)", "(age > 30) and (((pay > 5) as Boolean) or (pay > 9))"),
        ),
        (pay.fill_null(0) + 5, pay.fill_null(pl.lit(0) + 5), ("(pay with nulls as 0) + 5", "pay with nulls as (0 + 5)")),
        (
            (pay.mean() - age).over("town"),
            pay.mean() - age.over("town"),
            ("((mean of pay) - age) within each town", "(mean of pay) - (age within each town)"),
        ),
        (
            pay.filter(age > 3).mean(),
            pay.mean().filter(age > 3),
            ("mean of (pay where (age > 3))", "(mean of pay) where (age > 3)"),
        ),
        (pay.cast(pl.Float64), pay.alias("Float64"), ("pay as Float64", 'pay as "Float64"')),
    ],
)  # fmt: skip
def test_what_does_something_else_reads_otherwise(one, other, words):
    lines = [expressions_words(T.with_columns(e).plan)[0].removeprefix("added ") for e in (one, other)]
    assert tuple(lines) == words


def test_and_between_two_values_is_none_between_two_expressions():
    one, two = T.select((age > 1) & (pay > 1)), T.select(age > 1, pay > 1)
    assert plan_words(one.plan) != plan_words(two.plan)
