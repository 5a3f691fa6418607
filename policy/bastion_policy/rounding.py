"""Rounded statistics as plan expressions over the kept columns of a table of cells.

Counts and sums of whole numbers are rounded to a multiple of `base`, other numbers to `digits` significant digits; a mean
is the rounded sum divided by the rounded count, a standard deviation the root of the rounded variance. A divisor of n
instead of n - 1 (`ddof`) is the rounded count, and no other is allowed (`check_divisor`). Of whole numbers
the sum of squared deviations is rounded like a sum, for that of a Boolean column is nearly its count.

INVARIANT: what is rounded is the statistic of the plain column, and every other number is arithmetic over rounded ones:
1000 * x + 7 is 1000 times the rounded sum of x plus 7 times the rounded count. And the same statistic of the same
population is rounded in one way wherever it appears: as a cell, as a margin, as a remainder row, in a sum or in a mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from bastion_plan.dtypes import FLOAT64, INT64, INT128, NULL, DType
from bastion_plan.expressions import AnyExpr, Call, Cast, Expr, Literal, Ternary

from bastion_policy.boundary import Guard, Statistic, call
from bastion_policy.rules import Rounding
from bastion_policy.verdict import Finding

#: counts of rows, values and people
COUNTS = frozenset({"pl.len", "len", "count", "null_count", "n_unique"})
#: whole numbers beyond which 64 bits with a sign do not reach
_WIDE = frozenset({"UInt64", "Int128", "UInt128"})


@dataclass(frozen=True)
class Kept:
    """What the table of cells holds beside a statistic: expressions over it.

    rows: rows of its population. count: values that are not null. total: their sum. variance: theirs. discrete: the
    arguments are whole numbers, or were before they were cast.
    """

    rows: AnyExpr
    count: AnyExpr
    total: AnyExpr | None = None
    variance: AnyExpr | None = None
    discrete: bool = False


@dataclass(frozen=True)
class Pairs:
    """What the table of cells holds beside a covariance, of the rows with a value in both arguments: expressions over it.

    count: these rows. products: the covariance. variances: of both arguments. discrete: which of them are whole numbers.
    """

    count: AnyExpr
    products: AnyExpr
    variances: tuple[AnyExpr, AnyExpr]
    discrete: tuple[bool, bool] = (False, False)


def rounded(s: Statistic, value: AnyExpr, kept: Kept, rule: Rounding) -> AnyExpr:
    """Return a statistic as it may be shown, in its own type.

    Intervals and tied values are shown as they are: they are of a public grid, or held by many. Shares of a condition are
    made of rounded counts by the judge; covariances are a matter of their own (`products`).
    """
    if s.guard in (Guard.INTERVAL, Guard.TIED) or (s.guard is Guard.HELD and s.function == "mean"):
        return value
    if s.function in COUNTS or s.guard is Guard.NOTHING:
        if s.function == "mean":
            # the share of rows in which a value is missing
            total = whole(call("round", call("mul", value, _float(kept.rows))), rule.base)
            return Cast(_ratio(total, whole(kept.rows, rule.base)), s.dtype, strict=False)
        return Cast(whole(value, rule.base, s.dtype), s.dtype, strict=False)
    if not s.terms:
        # INVARIANT: a constant, not one per row: sums of those are refused
        return value
    argument = s.terms[0].dtype
    match s.function:
        case "sum":
            return _total(value, kept.discrete, s.dtype, rule)
        case "mean" if kept.total is not None and not argument.is_temporal:
            top = whole(call("round", kept.total), rule.base) if kept.discrete else significant(kept.total, rule)
            return Cast(_ratio(top, whole(kept.count, rule.base)), s.dtype, strict=False)
        case "var" | "std" if kept.variance is not None:
            variance = spread(kept.variance, kept.count, kept.discrete, _ddof(s), rule)
            return Cast(variance if s.function == "var" else call("sqrt", variance), s.dtype, strict=False)
        case _:
            return _number(value, s.dtype, rule)


def check_divisor(expr: Call) -> list[Finding]:
    """Check what a client has a statistic's divisor lessened by.

    INVARIANT: it is part of the plan and looked at before any data: with ddof = n there is no variance, and two of them are
    to each other as n - 1 to n - 2, however much else is rounded.
    """
    if expr.option("ddof", 1) in (0, 1):
        return []
    less = expr.option("ddof", 1)
    reason = f"{expr.function}() over the number of values less {less} would tell that number, which is rounded."
    return [Finding("argument", reason, "Use ddof=1 or ddof=0.")]


def whole(value: Expr, base: int, dtype: DType = INT64) -> AnyExpr:
    """Return a whole number rounded to the nearest multiple of a base, halves upwards."""
    wide = Cast(value, INT128 if dtype.kind in _WIDE else INT64, strict=False)  # type: ignore[arg-type]
    step = Literal(DType("DynInt"), base)
    return call("mul", call("floordiv", call("add", wide, Literal(DType("DynInt"), base // 2)), step), step)


def significant(value: Expr, rule: Rounding) -> AnyExpr:
    """Return a floating-point number rounded to significant digits; 0, NaN and infinity stay."""
    return call("round_sig_figs", value, digits=rule.digits)


def round_whole(values: Any, base: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return measured counts rounded like `whole`."""
    return np.floor((np.asarray(values, dtype=np.float64) + base // 2) / base) * base


def _total(value: AnyExpr, discrete: bool, dtype: DType, rule: Rounding) -> AnyExpr:
    if discrete:
        exact = dtype.is_integer or dtype.kind == "Boolean"
        return Cast(whole(value if exact else call("round", _float(value)), rule.base, dtype), dtype, strict=False)
    return _number(value, dtype, rule)


def spread(value: AnyExpr, count: AnyExpr, discrete: bool, ddof: int, rule: Rounding) -> AnyExpr:
    """Return a variance or covariance: of whole numbers, the rounded sum of products over the rounded count.

    INVARIANT: what differs by `ddof` differs by rounded counts: the same sum over n and over n - 1 would give n.
    """
    free = call("sub", _float(count), Literal(FLOAT64, float(ddof)))
    about = whole(count, rule.base)
    if not discrete and ddof == 1:
        return significant(_float(value), rule)
    if not discrete:
        one_less = call("sub", _float(count), Literal(FLOAT64, 1.0))
        usual = significant(call("truediv", call("mul", _float(value), free), one_less), rule)
        share = _ratio(call("sub", about, Literal(INT64, 1)), call("sub", about, Literal(INT64, ddof)))
        return call("mul", usual, share)
    total = whole(call("round", call("mul", _float(value), free)), rule.base)
    return _ratio(total, call("sub", about, Literal(INT64, ddof)))


def _ddof(s: Statistic) -> int:
    return int(getattr(s.call, "option", lambda *_: 1)("ddof", 1))


def _number(value: AnyExpr, dtype: DType, rule: Rounding) -> AnyExpr:
    """Return a number of any type to significant digits; times as their number of ticks."""
    if dtype.is_temporal:
        ticks = Cast(value, INT64, strict=False)
        return Cast(Cast(significant(_float(ticks), rule), INT64, strict=False), dtype, strict=False)
    return Cast(significant(_float(value), rule), dtype, strict=False)


def _ratio(top: AnyExpr, bottom: AnyExpr) -> AnyExpr:
    """Return a quotient; null where the divisor is rounded to nothing."""
    nobody = call("le", bottom, Literal(DType("DynInt"), 0))
    return Ternary(nobody, Literal(NULL), call("truediv", _float(top), _float(bottom)))


def _float(value: Expr) -> AnyExpr:
    return Cast(value, FLOAT64, strict=False)  # type: ignore[arg-type]
