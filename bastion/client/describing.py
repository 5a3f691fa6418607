"""`describe`: one plan of aggregates, and its single row turned into Polars' table of statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
from bastion_plan import expressions as px
from bastion_plan import nodes as n
from bastion_plan.dtypes import DType, Schema

#: (statistic, column) -> the column of the plan's result that holds it
Cells = dict[tuple[str, str], str]


def describe_plan(
    plan: n.Node, schema: Schema, percentiles: Sequence[float], interpolation: str
) -> tuple[n.Select, Cells]:
    """Return the plan of all statistics as one row, and where each of them is.

    Args:
        percentiles: shares from 0 to 1. interpolation: as of `quantile`.
    """
    exprs: list[px.AnyExpr] = []
    cells: Cells = {}
    for column, dtype in schema.items():
        for statistic, expr in _statistics(px.Column(column), dtype, percentiles, interpolation):
            name = f"{statistic}:{column}"
            cells[statistic, column] = name
            exprs.append(px.Alias(expr, name))
    return n.Select(plan, tuple(exprs)), cells  # type: ignore[arg-type]


def _statistics(
    column: px.Column, dtype: DType, percentiles: Sequence[float], interpolation: str
) -> list[tuple[str, px.AnyExpr]]:
    def call(name: str, **options: Any) -> px.Call:
        return px.Call(name, (column,), tuple(sorted(options.items())))

    out: list[tuple[str, px.AnyExpr]] = [("count", call("count")), ("null_count", call("null_count"))]
    numeric = dtype.is_numeric
    if numeric or dtype.kind == "Boolean" or dtype.is_temporal:
        out.append(("mean", call("mean")))
    if numeric:
        out.append(("std", call("std")))
    if numeric or dtype.kind in {"Date", "Datetime", "Duration", "Time", "String", "Boolean"}:
        out.append(("min", call("min")))
        out.append(("max", call("max")))
    if numeric:
        options = {} if interpolation == "nearest" else {"interpolation": interpolation}
        out += [(percent(p), call("quantile", quantile=float(p), **options)) for p in percentiles]
    return out


def percent(share: float) -> str:
    """Return a share as Polars labels it.

    >>> percent(0.25)
    '25%'
    """
    return f"{share * 100:g}%"


def assemble(row: pl.DataFrame, schema: Schema, percentiles: Sequence[float], cells: Cells) -> pl.DataFrame:
    """Return Polars' shape: a column `statistic`, then one column per column of the frame.

    What was not released is null.
    """
    labels = ["count", "null_count", "mean", "std", "min", *(percent(p) for p in percentiles), "max"]
    data: dict[str, list[Any]] = {"statistic": labels}
    for column, dtype in schema.items():
        values = []
        for label in labels:
            name = cells.get((label, column))
            present = name is not None and name in row.columns and row.height > 0
            values.append(row[name][0] if present and name is not None else None)
        numeric = dtype.is_numeric or dtype.kind == "Boolean"
        data[column] = [_number(v) for v in values] if numeric else [None if v is None else str(v) for v in values]
    kinds = {c: pl.Float64() if t.is_numeric or t.kind == "Boolean" else pl.String() for c, t in schema.items()}
    return pl.DataFrame(data, schema={"statistic": pl.String(), **kinds}, strict=False)


def _number(value: Any) -> float | None:
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
