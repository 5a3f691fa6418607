"""Nulls and NaN replaced."""

from __future__ import annotations

import polars as pl
from bastion_plan import nodes as n
from plan_strategies import Case, T, c, check, f, lit, run_cases, sel

CASES = {
    "whole number": Case(n.FillNull(T, lit(0)), lambda t, u: t.fill_null(0)),
    "float": Case(n.FillNull(T, lit(0.5)), lambda t, u: t.fill_null(0.5)),
    "string": Case(n.FillNull(T, lit("?")), lambda t, u: t.fill_null("?")),
    "boolean": Case(n.FillNull(T, lit(True)), lambda t, u: t.fill_null(True)),
    "forward": Case(n.FillNull(T, strategy="forward"), lambda t, u: t.fill_null(strategy="forward")),
    "backward, limited": Case(
        n.FillNull(T, strategy="backward", limit=1), lambda t, u: t.fill_null(strategy="backward", limit=1)
    ),
    "zero": Case(
        n.FillNull(n.Select(T, (sel("by_class", "numeric"),)), strategy="zero"),
        lambda t, u: t.select("k", "i", "i8", "u", "x", "y").fill_null(strategy="zero"),
    ),
    "min": Case(
        n.FillNull(n.Select(T, (sel("by_class", "numeric"),)), strategy="min"),
        lambda t, u: t.select("k", "i", "i8", "u", "x", "y").fill_null(strategy="min"),
    ),
    "expression": Case(
        n.FillNull(n.Select(T, (sel("by_class", "numeric"),)), f("add", c("i"), 1)),
        lambda t, u: t.select("k", "i", "i8", "u", "x", "y").fill_null(pl.col("i") + 1),
    ),
    "nan": Case(n.FillNull(T, lit(0.0), nans=True), lambda t, u: t.fill_nan(0.0)),
    "nan to null": Case(n.FillNull(T, lit(None), nans=True), lambda t, u: t.fill_nan(None)),
}


@run_cases(CASES)
def test_equals_polars(case: Case) -> None:
    check(case)
