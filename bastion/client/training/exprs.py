"""Expressions that datasets are made with."""

from __future__ import annotations

from typing import Any

import polars as pl
from bastion_plan import expressions as px

from bastion.expr.core import Expr


def pl_col(name: str) -> Any:
    """Return a column, by just this name."""
    return Expr(px.Column(name))


def pl_cast(expr: Any) -> Any:
    """Return an expression as single-precision numbers."""
    return expr.cast(pl.Float32)
