"""Statistics from their definitions, over the rows of one population."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from row_values import Unknown

if TYPE_CHECKING:
    from row_frames import Leaf


def selected(leaf: Leaf, rows: Sequence[int]) -> list[int]:
    """The rows for which the statistic's own conditions are true."""
    return [i for i in rows if all(c.values[i] is True for c in leaf.conditions)]


def known(leaf: Leaf, rows: Sequence[int]) -> list[int]:
    """The selected rows in which no argument is null."""
    return [i for i in selected(leaf, rows) if all(a.values[i] is not None for a in leaf.args)]


def statistic(leaf: Leaf, rows: Sequence[int]) -> Any:
    """The unguarded value over a population."""
    rows = selected(leaf, rows)
    columns = [[a.values[i] for i in rows] for a in leaf.args]
    return compute(leaf.function, columns, len(rows), leaf.options)


def compute(name: str, columns: list[list[Any]], height: int, options: dict[str, Any]) -> Any:
    """The value of a statistic of columns with `height` rows."""
    if name in ("pl.len", "len"):
        return height
    if name in ("pl.cov", "pl.corr"):
        return paired(name, columns[0], columns[1], options)
    whole = columns[0]
    some = [x for x in whole if x is not None]
    match name:
        case "count":
            return len(some)
        case "null_count":
            return len(whole) - len(some)
        case "has_nulls":
            return len(some) < len(whole)
        case "n_unique" | "approx_n_unique":
            return len(set(whole))
        case "sum":
            return total(some)
        case "mean":
            return total(some) / len(some) if some else None
        case "var" | "std":
            return spread(some, options["ddof"], square=name == "var")
        case "min" | "max" | "nan_min" | "nan_max":
            return (min if name.endswith("min") else max)(some) if some else None
        case "median":
            return middle(sorted(some))
        case "quantile":
            return quantile(sorted(some), options["quantile"], options.get("interpolation", "nearest"))
        case "any":
            return True in some
        case "all":
            return False not in some
        case "unique":
            return sorted(set(whole), key=order)
        case "mode":
            most = max(Counter(whole).values(), default=0)
            return sorted((x for x, c in Counter(whole).items() if c == most), key=order)
        case "value_counts":
            return dict(Counter(whole))
    raise Unknown(name)


def order(x: Any) -> Any:
    return (x is None, str(type(x)), x if x is not None else 0)


def total(values: Sequence[Any]) -> Any:
    if not all(isinstance(x, int | float) for x in values):
        raise Unknown("arithmetic with dates")
    if any(isinstance(x, float) for x in values):
        # sums of infinities of both signs are no number
        return math.fsum(values) if all(map(math.isfinite, values)) else sum(values)
    if not -(1 << 63) <= (whole := sum(values)) < 1 << 63:
        raise Unknown("a sum beyond 64 bits")
    return whole


def spread(values: Sequence[Any], ddof: int, *, square: bool) -> float | None:
    if len(values) <= ddof:
        return None
    mean = total(values) / len(values)
    var = math.fsum((x - mean) ** 2 for x in values) / (len(values) - ddof)
    return var if square else math.sqrt(var)


def paired(name: str, xs: Sequence[Any], ys: Sequence[Any], options: dict[str, Any]) -> float | None:
    pairs = [(x, y) for x, y in zip(xs, ys, strict=True) if x is not None and y is not None]
    ddof = options.get("ddof", 1)
    if name == "pl.corr" and options.get("method") != "pearson":
        raise Unknown("spearman")
    if not pairs or (name == "pl.cov" and len(pairs) <= ddof):
        return None
    if name == "pl.corr" and len(pairs) < 2:
        return math.nan
    mx, my = (math.fsum(p[i] for p in pairs) / len(pairs) for i in (0, 1))
    xy = math.fsum((x - mx) * (y - my) for x, y in pairs)
    if name == "pl.cov":
        return xy / (len(pairs) - ddof)
    scale = math.sqrt(math.fsum((x - mx) ** 2 for x, _ in pairs) * math.fsum((y - my) ** 2 for _, y in pairs))
    return xy / scale if scale else math.nan


def middle(values: Sequence[Any]) -> float | None:
    if not values:
        return None
    if not all(isinstance(x, int | float) for x in values):
        raise Unknown("arithmetic with dates")
    half = len(values) // 2
    return float(values[half]) if len(values) % 2 else (values[half - 1] + values[half]) / 2


def quantile(values: Sequence[Any], share: float, interpolation: str) -> float | None:
    """Polars' quantile, in the interpolations that the oracle defines."""
    if not values:
        return None
    at = share * (len(values) - 1)
    low, high = math.floor(at), math.ceil(at)
    match interpolation:
        case "linear":
            return float(values[low] + (values[high] - values[low]) * (at - low))
        case "lower":
            return float(values[low])
        case "higher":
            return float(values[high])
        case "nearest":
            return float(values[round_half_away(at)])
        case "midpoint":
            return (values[low] + values[high]) / 2
    raise Unknown(interpolation)


def round_half_away(x: float) -> int:
    return math.floor(x + 0.5)


#: times k, of fewer people of whom neither a covariance nor a correlation is told
MANY = 10
CORRELATION = {"method": "pearson"}


def coarse(name: str, correlation: Any, exact: Any, value: Any, *, loose: bool = False) -> bool:
    """Whether a number is a covariance or correlation as it may be told.

    A covariance of scaled columns is scaled after it was rounded. loose: the standard deviations are rounded, too, in steps
    that matter.
    """
    if correlation is None and exact is not None:
        return value is None
    if exact is None or value is None or not math.isfinite(exact) or not math.isfinite(value):
        return exact is None and value is None
    if name == "pl.corr":
        return abs(value - correlation) <= 0.0051 and abs(value * 100 - round(value * 100)) < 1e-6
    if abs(correlation) < 0.0049:
        return value == 0
    # of the correlation half a hundredth, of the product half of the last of two digits
    return abs(value / exact - 1) <= (1 + 0.0051 / abs(correlation)) * (1.3 if loose else 1.051) - 1
