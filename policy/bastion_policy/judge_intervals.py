"""Order statistics as intervals of a public grid that hold at least k units.

The grid is the same for everybody: between an owner's bounds equal steps (1, 2, 5, 10, 20, 50, 100 of a hundredth of the
range), else cells [i * w, (i + 1) * w) of the widths w = 1, 2, 5 times a power of ten, mirrored for negative numbers, from
two significant digits upwards. The values are cut into pieces at the edges of these cells, the coarsest first, wherever
at least k units are left on either side; a piece is shown as the narrowest cell in it that holds k (or few cells of a power
of ten side by side), its middle stands in the data. Where cells hold k each is a piece; cells of fewer belong to a neighbour's piece and read like that neighbour.

INVARIANT: which pieces there are, and what is shown of each, is a function of one kind of question alone: whether the
values between two public edges are of k units or more. So one more person changes it only where some public interval goes
from k - 1 to k; nobody and 1 to k - 1 beyond an edge are one outcome wherever the cell before it holds k, and every
interval that is shown holds k. The order statistic's row decides nothing: a rank only chooses among the pieces, and where
one piece ends and the next begins is known to multiples of k units (of k times the most rows that one may have), which
are all that ranks are compared with. The smallest value is the first piece, the largest the last. So a scan of all ranks
tells the numbers that cells of k hold, and how many rows there are, to the nearest multiple and no more; two such scans, of
a group and of the group less some, do not give the number of the few who lie between.
"""

from __future__ import annotations

import numpy as np
from bastion_plan import nodes as n
from bastion_plan.dtypes import DATE, FLOAT64, INT32, INT64, UINT32, DType
from bastion_plan.expressions import Alias, AnyExpr, Cast, Column, Expr, Literal, Ternary

from bastion_policy.boundary import Statistic, Term, call
from bastion_policy.flow_failures import largest
from bastion_policy.flow_trees import rewrite
from bastion_policy.guard_cells import INDEX, Flags, Floats, Indexes, Measurer, Steps, X, floats, ints, lit, where
from bastion_policy.guard_plans import lenient
from bastion_policy.lineage import World
from bastion_policy.rounding import round_whole

STEPS = 100
LADDER = (1, 2, 5)
#: how many cells side by side, of a power of ten each, a piece may be shown as
RUNS = (1, 2, 3, 5, 7)
#: edges beyond are shown as this
LARGEST = float(np.finfo(np.float64).max)
_PER_DAY = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
SIGN, EXPONENT, DIGITS = f"{X}s", f"{X}e", f"{X}d"


def intervals(m: Measurer, s: Statistic, world: World, k: int, shown: Flags, base: int = 1) -> Steps:
    """Return (middles, known): per cell the middle of the interval, and whether there is one.

    Dates are days since 1970, datetimes are given by their day. base: to which numbers of rows are rounded.
    """
    term = s.terms[0]
    middles = np.full(m.size, np.nan)
    rest = np.flatnonzero(shown)
    if not rest.size:
        return middles, np.zeros(m.size, bool)
    source = term.value.plain or term.value.within
    role = world.role(source) if source is not None else None
    bounds = (
        (role.lower, role.upper) if role is not None and role.lower is not None and role.upper is not None else None
    )
    days = term.dtype.kind in ("Date", "Datetime")
    key = (term.expr, s.population, rest.tobytes())
    if key not in m.histograms:
        m.histograms[key] = yield from _measure(m, s, term, bounds, rest, k)
    pieces: Pieces = m.histograms[key]
    most: float | Floats | None = m.cut.rows_per_unit
    if most is None and 0 < s.share < 1:
        if "most" not in m.histograms:
            m.histograms["most"] = yield from _most_rows(m)
        most = m.histograms["most"]
    low, high, known = pieces.told(s.share, m.size, k * (most if most is not None else 1), base)
    if bounds:
        width = (bounds[1] - bounds[0]) / STEPS
        middles = bounds[0] + width * (low + high) / 2
        if term.dtype.is_integer:
            middles = np.round(middles)
    elif days:
        middles = np.floor((low + np.maximum(high - 1, low)) / 2)
    elif term.dtype.is_integer:
        # whole numbers: [low, high) ends at high - 1, and below zero (low, high] begins at low + 1
        first = np.where(low < 0, np.minimum(low + 1, high), low)
        middles = (first + np.where(high > 0, np.maximum(high - 1, low), high)) / 2
    else:
        middles = low / 2 + high / 2
    edge = _largest(term.dtype)
    return middles if edge is None else np.clip(middles, -edge, edge), known & shown


def _largest(dtype: DType) -> float | None:
    """Return the largest number (of dates, day) that a type holds; None: any.

    INVARIANT: the grid's cells may end beyond it, and what they end in would fail in the conversion to the type.
    """
    match dtype.kind:
        case "Datetime":
            return float(min(2**63 // _PER_DAY[dtype.unit or "us"], 2**31 - 1))
        case "Decimal":
            return largest(dtype)
        case _:
            return None


def _most_rows(m: Measurer) -> Steps:
    """Return the most rows of one unit per cell, as the next power of two, where no bound is known."""
    found = np.ones(m.size)
    for occurrence in m.cut.occurrences:
        ((_, one, _),) = yield from m.contributions(occurrence, np.arange(m.size), [lit(1)])
        found = np.maximum(found, one)
    return 2.0 ** np.ceil(np.log2(found))


def _measure(m: Measurer, s: Statistic, term: Term, bounds: tuple[float, float] | None, rest: Indexes, k: int) -> Steps:
    """Count rows (and, where rows may repeat, units) per grid cell; returns the pieces."""
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
    counts = floats(answer[f"{X}n"])
    per_unit = np.minimum.reduce([floats(answer[f"{X}u{j}"]) for j in range(len(units))]) if units else counts
    cell, sign, exponent, digits = (ints(answer[name]) for name in (INDEX, SIGN, EXPONENT, DIGITS))
    histogram = Histogram(cell, sign, exponent, digits, counts, per_unit, whole=bool(bounds) or days)
    return Pieces(histogram, k, m.cut.rows_per_unit)


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
    """Counts per (cell, bin), sorted by cell and value. A bin is sign * digits * 10 ** exponent.

    whole: digits are whole steps of one width instead of two significant digits.
    """

    def __init__(
        self,
        cell: Indexes,
        sign: Indexes,
        exponent: Indexes,
        digits: Indexes,
        rows: Floats,
        units: Floats,
        *,
        whole: bool,
    ) -> None:
        if not whole:
            # rounding may leave 100 where 10 of the next power is meant
            long = digits >= 100
            digits, exponent = np.where(long, digits // 10, digits), exponent + long
        value = sign * digits * 10.0**exponent
        order = np.lexsort((value, cell))
        self.whole, self.size = whole, order.size
        self.cell, self.exponent, self.digits = cell[order], exponent[order], digits[order]
        self.sign = np.where(self.digits == 0, 1, sign[order]) if not whole else sign[order]
        self.value, self.rows, self.units = value[order], rows[order], units[order]

    def powers(self) -> range:
        """Powers of ten of which cells are wide, up to those that hold all values of a sign."""
        if not self.size:
            return range(0)
        if self.whole:
            return range(len(str(int(np.abs(self.digits).max()) + 1)) + 1)
        return range(int(self.exponent.min()), int(self.exponent.max()) + 3)

    def fits(self, bins: Indexes, power: int) -> Flags:
        """Return which bins are not wider than a power of ten: not finer than two significant digits of the value."""
        return np.ones(bins.size, bool) if self.whole else (self.digits[bins] == 0) | (self.exponent[bins] <= power)

    def keys(self, bins: Indexes, power: int, factor: int = 1) -> Indexes:
        """Return the numbers of the cells that bins fall into, which are as wide as a multiple of a power of ten.

        INVARIANT: whole-number arithmetic, so that no rounding moves a bin. Cells below zero are mirrored, from -1 downwards.
        """
        digits = self.digits[bins]
        found: Indexes = digits // (factor * 10 ** (np.clip(power - self.exponent[bins], 0, 17)))
        below = self.sign[bins] < 0
        return np.where(below, -found - 1, found).astype(np.int64) if below.any() else found


def _times(keys: Indexes, power: int, factor: int = 1) -> Floats:
    """Return edges of cells, none beyond the largest float."""
    with np.errstate(over="ignore"):
        edges = keys * (factor * (10.0**power if power <= 308 else LARGEST))
    return np.clip(edges, -LARGEST, LARGEST)


class Pieces:
    """The values of each cell, cut at public edges into pieces that hold at least k units."""

    def __init__(self, histogram: Histogram, k: int, most: int | None) -> None:
        """most: rows of a unit, None where they may repeat."""
        self.bins = histogram
        self.total = np.concatenate(([0.0], np.cumsum(histogram.rows)))
        self.end = self._ends(k, most)
        level, edge = self._edges()
        self.start = np.flatnonzero(self._cuts(level))
        self.cell = histogram.cell[self.start]
        self._show(edge)

    def _ends(self, k: int, most: int | None) -> Indexes:
        """Return for each bin the bin before which, counted from it, there are k units (too large a number: none).

        INVARIANT: with at most M rows per unit, rows > (k - 1) * M means k units; and a union of bins has at least the units
        of its largest bin. Fewer than k units never pass, and what holds a part that passes does as well.
        """
        size = self.bins.size
        position = np.where(self.bins.units >= k, np.arange(size), size + 1)
        nearest = np.append(np.minimum.accumulate(position[::-1])[::-1], size + 1)
        found = nearest + 1
        if most is not None:
            by_rows = np.searchsorted(self.total, self.total + ((k - 1) * most + 1), side="left")
            found = np.minimum(found, by_rows)
        return found.astype(np.int64)

    def _edges(self) -> tuple[Indexes, Floats]:
        """Return, for each gap before a bin that may be cut, how coarse the coarsest public edge in it is, and where it is."""
        b = self.bins
        level, edge = np.full(b.size, -1), np.full(b.size, np.nan)
        first = np.ones(b.size, bool)
        first[1:] = b.cell[1:] != b.cell[:-1]
        begin = np.flatnonzero(first)
        number = np.cumsum(first) - 1
        finish = np.append(begin[1:], b.size)
        # others have fewer than k on one side
        place = np.arange(b.size)
        place = place[~first & (self.end[begin[number]] <= place) & (self.end[:-1] <= finish[number])]
        before, below = place - 1, b.sign[place] < 0
        same = b.sign[place] == b.sign[before]
        count = 0
        for power in b.powers():
            fits = b.fits(place, power) & b.fits(before, power) & same
            for factor in LADDER:
                one, two = b.keys(before, power, factor), b.keys(place, power, factor)
                apart = fits & (one != two)
                level[place[apart]] = count
                edge[place[apart]] = _times(np.where(below, one + 1, two)[apart], power, factor)
                count += 1
        if not b.whole:
            # zero is a grid cell of its own, and an edge of every grid
            nought = place[~same | ((b.digits[place] == 0) != (b.digits[before] == 0))]
            level[nought], edge[nought] = np.iinfo(np.int64).max, 0.0
        return level, edge

    def _cuts(self, level: Indexes) -> Flags:
        """Return before which bins a piece begins: edges are tried from coarse to fine, each from low to high."""
        b = self.bins
        cut = np.ones(b.size, bool)
        cut[1:] = b.cell[1:] != b.cell[:-1]
        for number in np.unique(level)[::-1]:
            if number < 0:
                break
            places = np.flatnonzero(level == number)
            start = np.flatnonzero(cut)
            stop = np.append(start[1:], b.size)
            while start.size:
                # the first place before which there are k units, if there are k after it
                place = np.append(places, b.size)[np.searchsorted(places, self.end[start])]
                fine = (place < stop) & (self.end[place] <= stop)
                start, stop = place[fine], stop[fine]
                cut[start] = True
        return cut

    def _show(self, edge: Floats) -> None:
        """Find the narrowest run of grid cells in each piece that holds k units; the lowest of several."""
        b, count = self.bins, self.start.size
        self.low, self.high = np.full(count, np.nan), np.full(count, np.nan)
        self.known = np.zeros(count, bool)
        if not count:
            return
        piece = np.zeros(b.size, np.int64)
        piece[self.start] = 1
        piece = np.cumsum(piece) - 1
        inner = np.append(self.cell[1:] == self.cell[:-1], False)
        left = np.where(np.append(False, inner[:-1]), edge[self.start], -np.inf)
        right = np.where(inner, np.append(edge[self.start[1:]], np.nan), np.inf)

        def found(first: Indexes, last: Indexes, low: Floats, high: Floats) -> None:
            """Take the first of the intervals between two bins each, piece by piece, that holds k."""
            held = np.flatnonzero(self.end[first] <= last + 1)
            of, at = np.unique(piece[last[held]], return_index=True)
            self.low[of] = np.maximum(low[held[at]], left[of])
            self.high[of] = np.minimum(high[held[at]], right[of])
            self.known[of] = True

        if not b.whole:
            zeros = np.flatnonzero(b.digits == 0)
            found(zeros, zeros, np.zeros(zeros.size), np.zeros(zeros.size))
        for power in b.powers():
            # pieces in which the widest run of this power holds k
            wide = self._runs(np.flatnonzero(~self.known[piece]), piece, power, RUNS[-1])
            held = np.zeros(count, bool)
            held[piece[wide[1][self.end[wide[0]] <= wide[1] + 1]]] = True
            for factor in RUNS:
                begin, last, keys = self._runs(np.flatnonzero((held & ~self.known)[piece]), piece, power, factor)
                found(begin, last, _times(keys, power), _times(keys + factor, power))

    def _runs(self, bins: Indexes, piece: Indexes, power: int, factor: int) -> tuple[Indexes, Indexes, Indexes]:
        """Return runs of cells of a power of ten: (first bin, last bin, first cell) of each, from low to high.

        The lowest run that holds k is among them: its last cell is not empty.
        """
        bins = bins[self.bins.fits(bins, power)]
        if not bins.size:
            return bins, bins, bins
        keys = self.bins.keys(bins, power)
        begin = keys - (factor - 1)
        apart = 2 * int(np.abs(keys).max()) + 2 * factor + 2
        order = piece[bins] * apart
        return bins[np.searchsorted(order + keys, order + begin)], bins, begin

    def told(self, share: float, size: int, unit: float | Floats, base: int = 1) -> tuple[Floats, Floats, Flags]:
        """Return (low, high, known) per cell: of the piece that a share of the rows is below.

        unit: rows are counted in multiples of it, after they were rounded to a multiple of `base`.
        """
        low, high, known = np.full(size, np.nan), np.full(size, np.nan), np.zeros(size, bool)
        if not self.start.size:
            return low, high, known
        cells, first, pieces = np.unique(self.cell, return_index=True, return_counts=True)
        if share <= 0:
            at = first
        elif share >= 1:
            at = first + pieces - 1
        else:
            many = np.broadcast_to(np.asarray(unit, dtype=np.float64), (size,))[self.cell]
            begin = self.total[self.start]
            finish = self.total[np.append(self.start[1:], self.bins.size)]
            origin = np.repeat(begin[first], pieces)
            everything = np.repeat(finish[first + pieces - 1], pieces) - origin
            begin, finish, everything = (
                _multiple(x, base, many) for x in (begin - origin, finish - origin, everything)
            )
            rank = share * everything
            slack = 1e-9 * everything
            # pieces that the rank may be in; the upper one of two that it lies between
            lowest = np.add.reduceat((finish < rank - slack).astype(np.int64), first)
            highest = np.add.reduceat((begin <= rank + slack).astype(np.int64), first) - 1
            at = first + (lowest + highest + 1) // 2
        low[cells], high[cells], known[cells] = self.low[at], self.high[at], self.known[at]
        return low, high, known


def _multiple(rows: Floats, base: int, unit: Floats) -> Floats:
    """Return numbers of rows to the nearest multiple, halves upwards.

    INVARIANT: rounded first as numbers of rows are shown, so that what ranks tell follows from the rounded numbers.
    """
    return np.floor(round_whole(rows, base) / unit + 0.5) * unit
