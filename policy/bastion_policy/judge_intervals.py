"""Order statistics as intervals of a public grid that hold at least k units.

The grid is nested and the same for everybody: between an owner's bounds equal steps (1, 2, 5, 10, 20, 50, 100 of a
hundredth of the range), else cells [i * w, (i + 1) * w) of the widths w = 1, 2, 5 times a power of ten, mirrored for
negative numbers, from two significant digits upwards. The answer is the narrowest cell around the order statistic that
holds at least k units; its middle stands in the data.

INVARIANT: cells depend on nothing private, and a cell is only named when it holds at least k units. Which cell it is
follows from counts per grid cell (computed beside the data), never from a value that is shown.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from bastion_plan import nodes as n
from bastion_plan.dtypes import DATE, FLOAT64, INT32, INT64, UINT32
from bastion_plan.expressions import Alias, AnyExpr, Cast, Column, Expr, Literal, Ternary

from bastion_policy.boundary import Statistic, Term, call
from bastion_policy.flow_trees import rewrite
from bastion_policy.guard_cells import INDEX, Flags, Floats, Indexes, Measurer, Steps, X, floats, ints, where
from bastion_policy.guard_plans import lenient
from bastion_policy.lineage import World

STEPS = 100
LADDER = (1, 2, 5)
SIGN, EXPONENT, DIGITS = f"{X}s", f"{X}e", f"{X}d"


def intervals(m: Measurer, s: Statistic, world: World, k: int, shown: Flags) -> Steps:
    """Return (middles, known): per cell the middle of the interval, and whether there is one.

    Dates are days since 1970, datetimes are given by their day.
    """
    term = s.terms[0]
    middles = np.full(m.size, np.nan)
    rest = np.flatnonzero(shown)
    if not rest.size:
        return middles, np.zeros(m.size, bool)
    source = term.value.plain
    role = world.role(source) if source is not None else None
    bounds = (
        (role.lower, role.upper) if role is not None and role.lower is not None and role.upper is not None else None
    )
    days = term.dtype.kind in ("Date", "Datetime")
    key = (term.expr, s.population, rest.tobytes())
    if key not in m.histograms:
        m.histograms[key] = yield from _measure(m, s, term, bounds, rest)
    histogram, per_unit = m.histograms[key]
    low, high, known = histogram.interval(s.share, m.size, per_unit, k, m.cut.rows_per_unit, whole=bool(bounds) or days)
    if bounds:
        width = (bounds[1] - bounds[0]) / STEPS
        middles = bounds[0] + width * (low + high) / 2
        if term.dtype.is_integer:
            middles = np.round(middles)
    else:
        # whole numbers: the cell [low, high) ends at high - 1
        end = high - 1 if term.dtype.is_integer or days else high
        middles = np.where(low == high, low, (low + np.maximum(end, low)) / 2)
        middles = np.floor(middles) if days else middles
    return middles, known & shown


def _measure(m: Measurer, s: Statistic, term: Term, bounds: tuple[float, float] | None, rest: Indexes) -> Steps:
    """Count rows (and, where rows may repeat, units) per grid cell; returns (Histogram, units in its order)."""
    days = term.dtype.kind in ("Date", "Datetime")
    plan, tables = m.cut.located(m.cut.rows_per_unit != 1, None if rest.size == m.size else rest)
    number = _number(term)
    rows = number
    for condition in s.population:
        rows = where(condition, rows)
    rows = lenient(rows)
    valued = n.WithColumns(plan, (Alias(rows, X),))
    kept = n.Filter(valued, call("is_finite", Column(X)))
    bins = _steps(bounds) if bounds else _days() if days else _two_digits()
    units = [o.unit for o in m.cut.occurrences] if m.cut.rows_per_unit != 1 else []
    counted = n.GroupBy(
        n.WithColumns(kept, bins),
        (Column(INDEX), Column(SIGN), Column(EXPONENT), Column(DIGITS)),
        (
            Alias(call("len", Column(X)), f"{X}n"),
            *(Alias(_distinct(u), f"{X}u{j}") for j, u in enumerate(units)),
        ),
    )
    answer = yield from m.ask(counted, tables)
    histogram = Histogram(
        ints(answer[INDEX]), ints(answer[SIGN]), ints(answer[EXPONENT]), ints(answer[DIGITS]), floats(answer[f"{X}n"])
    )
    per_unit = histogram.rows
    if units:
        per_unit = np.minimum.reduce([floats(answer[f"{X}u{j}"]) for j in range(len(units))])[histogram.order]
    return histogram, per_unit


def _distinct(unit: str) -> AnyExpr:
    """Distinct units; a missing one (from an outer join) is nobody."""
    missing = call("gt", call("null_count", Column(unit)), _f(0))
    return call("sub", call("n_unique", Column(unit)), Cast(missing, UINT32))


def _number(term: Term) -> AnyExpr:
    if term.dtype.kind == "Date":
        return Cast(Cast(term.expr, INT32, strict=False), FLOAT64)  # type: ignore[arg-type]
    if term.dtype.kind == "Datetime":
        return Cast(Cast(Cast(term.expr, DATE, strict=False), INT32, strict=False), FLOAT64)  # type: ignore[arg-type]
    return Cast(term.expr, FLOAT64, strict=False)  # type: ignore[arg-type]


def _f(value: float) -> Literal:
    return Literal(FLOAT64, float(value))


def _whole(expr: Expr) -> AnyExpr:
    return Cast(expr, INT64, strict=False)  # type: ignore[arg-type]


def _steps(bounds: tuple[float, float]) -> tuple[AnyExpr, ...]:
    low, high = bounds
    step = call("floor", call("truediv", call("sub", Column(X), _f(low)), _f((high - low) / STEPS)))
    clipped = call("clip", step, _f(0), _f(STEPS - 1))
    return Alias(Literal(INT64, 1), SIGN), Alias(Literal(INT64, 0), EXPONENT), Alias(_whole(clipped), DIGITS)


def _days() -> tuple[AnyExpr, ...]:
    return Alias(Literal(INT64, 1), SIGN), Alias(Literal(INT64, 0), EXPONENT), Alias(_whole(Column(X)), DIGITS)


def _two_digits() -> tuple[AnyExpr, ...]:
    """Sign, exponent of the last digit, and the two digits: 0.42 is (1, -2, 42), 3 is (1, -1, 30), 0 is (1, 0, 0)."""
    size = call("abs", Column(X))
    zero = call("eq", size, _f(0))
    exponent = call("sub", call("floor", call("log10", size)), _f(1))
    power = call("pow", _f(10), Column(EXPONENT))
    digits = call("floor", call("add", call("truediv", size, power), _f(1e-9)))
    sign = _whole(Ternary(call("lt", Column(X), _f(0)), _f(-1), _f(1)))
    exponent_or_0 = Ternary(zero, _f(0), exponent)
    inline = _replace_exponent(digits, exponent_or_0)
    return (
        Alias(sign, SIGN),
        Alias(_whole(exponent_or_0), EXPONENT),
        Alias(_whole(Ternary(zero, _f(0), inline)), DIGITS),
    )


def _replace_exponent(expr: AnyExpr, exponent: AnyExpr) -> AnyExpr:
    return rewrite(expr, lambda e: exponent if isinstance(e, Column) and e.name == EXPONENT else e)


class Histogram:
    """Counts per (cell, bin), sorted by cell and value. A bin is sign * digits * 10 ** exponent."""

    def __init__(self, cell: Indexes, sign: Indexes, exponent: Indexes, digits: Indexes, rows: Floats) -> None:
        value = sign * digits * 10.0**exponent
        self.order = np.lexsort((value, cell))
        self.cell, self.sign, self.value = cell[self.order], sign[self.order], value[self.order]
        self.exponent, self.digits, self.rows = exponent[self.order], digits[self.order], rows[self.order]

    def interval(
        self, share: float, size: int, units: Floats, k: int, most: int | None, *, whole: bool
    ) -> tuple[Floats, Floats, Flags]:
        """Return (low, high, known) per cell.

        share: of the rows that lie below. units: distinct ones per bin. most: rows of a unit, None where they may repeat.
        whole: digits are whole steps of one width instead of two significant digits.
        """
        low, high, known = np.full(size, np.nan), np.full(size, np.nan), np.zeros(size, bool)
        if not self.cell.size:
            return low, high, known
        at = self._positions(share, size)
        open_cells = at >= 0
        for width, enough, keys, usable in self._levels(at, units, k, most, whole=whole):
            hit = open_cells & ~known & usable & enough
            low[hit], high[hit] = keys[hit] * width[hit], (keys[hit] + 1) * width[hit]
            if not whole:
                negative = hit & (self.sign[np.maximum(at, 0)] < 0)
                low[negative], high[negative] = -high[negative], -low[negative]
                exact = hit & (width == 0)
                low[exact] = high[exact] = 0.0
            known |= hit
            if (known | ~open_cells).all():
                break
        return low, high, known

    def _positions(self, share: float, size: int) -> Indexes:
        """Return the bin that holds the order statistic, per cell (-1: no values)."""
        total = np.bincount(self.cell, self.rows, size)
        first = np.searchsorted(self.cell, np.arange(size))
        running = np.cumsum(self.rows)
        before = np.concatenate(([0.0], running))[first]
        rank = np.round(share * np.maximum(total - 1, 0))
        position = np.searchsorted(running, before + rank, side="right")
        return np.where(total > 0, np.minimum(position, self.cell.size - 1), -1)

    def _levels(
        self, at: Indexes, units: Floats, k: int, most: int | None, *, whole: bool
    ) -> Iterator[tuple[Floats, Flags, Floats, Flags]]:
        """Iterate over grids from narrow to wide: (width, whether it holds k units, its number, usable) per cell."""
        size, spot = at.size, np.maximum(at, 0)

        def pooled(match: Flags) -> Flags:
            # INVARIANT: with at most M rows per unit, rows > (k - 1) * M means k units; and a union of bins has at least
            # the units of its largest bin.
            cells = self.cell[match]
            largest = np.zeros(size)
            np.maximum.at(largest, cells, units[match])
            enough = largest >= k
            if most is not None:
                enough |= np.bincount(cells, self.rows[match], size) > (k - 1) * most
            return enough

        if whole:
            for factor in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000):
                keys = self.digits // factor
                chosen = keys[spot]
                width = np.full(size, float(factor))
                yield width, pooled(keys == chosen[self.cell]), chosen.astype(float), np.ones(size, bool)
            return
        # zero is a grid cell of its own
        zero = self.digits == 0
        yield np.zeros(size), pooled(zero), np.zeros(size), zero[spot]
        bottom, top = int(self.exponent.min()), int(self.exponent.max()) + 3
        for power in range(bottom, top):
            for factor in LADDER:
                # INVARIANT: whole-number arithmetic, so that bins fall into grid cells without rounding
                shift = self.exponent - power
                up = self.digits * np.power(10, np.clip(shift, 0, 16)) // factor
                down = self.digits // (factor * np.power(10, np.clip(-shift, 0, 17)))
                keys = np.where(shift >= 0, up, down)
                chosen, sign = keys[spot], self.sign[spot]
                # not finer than two significant digits of the value itself
                usable = zero[spot] | (self.exponent[spot] <= power)
                same = (keys == chosen[self.cell]) & ((self.sign == sign[self.cell]) | zero)
                width = np.full(size, factor * 10.0**power)
                yield width, pooled(same), chosen.astype(float), usable
