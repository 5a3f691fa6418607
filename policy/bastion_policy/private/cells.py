"""From people's rows to exact whole numbers per cell, of which each person's part is bounded.

Of every person at most `max_groups` cells count, the first by the order of that person's rows, and in each at most
`max_rows` rows, the first ones. A row's part in a sum is a whole number within [low, high], so a person changes a vector
of sums by at most max_rows * max(|low|, |high|) in each of at most max_groups cells: the sensitivities that the noise is
made for (L-infinity max_rows * bound, L2 that times sqrt(max_groups)).

Why whole numbers. Sums of floating-point numbers depend on the order of their terms and are not within their textbook
sensitivity: one person's row can shift a sum by more than its own size, through rounding of everybody else's terms
(Casacuberta, Shoemate, Vadhan, Wagaman 2022, "Widespread underestimation of sensitivity in differentially private
libraries"); and noise drawn as a floating-point number gives the exact sum away through the pattern of its last bits
(Mironov 2012, "On significance of the least significant bits for differential privacy"). Here a number is scaled to at
most LEVELS steps, rounded and clipped to whole steps row by row, before anything is added; sums are exact in 64 bits,
whatever their order; and noise is a whole number as well (the discrete Gaussian, drawn by OpenDP without floating point).

INVARIANT: no sum overflows: fewer than MAX_ROWS = 2**32 rows (the engine counts rows in 32 bits) of at most LEVELS = 2**30
steps each are under 2**62. Null and NaN are no value: they add nothing and are not counted. Infinities are clipped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bastion_plan import nodes as n
from bastion_plan.dtypes import FLOAT64, INT64, DType
from bastion_plan.expressions import Alias, AnyExpr, Cast, Column, Expr, Literal, Over, Ternary
from bastion_plan.nodes import AnyNode

from bastion_policy.boundary import call
from bastion_policy.lineage import OWN
from bastion_policy.private.functions import Interval
from bastion_policy.private.rows import PLACE, UNIT, Held, Refused, Rows, ends
from bastion_policy.private.rows import position as position_of

LEVELS = 2**30
MAX_ROWS = 2**32
#: cells of declared keys in one table
MAX_CELLS = 20_000
#: bounds lie within so far of 0, and so far from each other: squares of them, and of their noise, are numbers still
FURTHEST, CLOSEST = 1e60, 1e-60
#: candidates of a quantile: equal steps between the bounds
STEPS = 256
FIRST, RANK, POSITION, BIN, COUNT = (f"{OWN}{letter}" for letter in "frpbn")


@dataclass(frozen=True)
class Key:
    """A column that cells are grouped by. name: in the result. column: in the measured table.

    dtype: in the result. stored: in the measured table (times as whole numbers, categories as text).
    domain: all values there may be, public; None: keys are named only past a threshold.
    """

    name: str
    column: str
    expr: AnyExpr
    dtype: DType
    stored: DType
    domain: tuple[object, ...] | None = None


@dataclass(frozen=True)
class Part:
    """A whole number per row. low, high: what it lies within. step: what one stands for; per_row: every row counts.

    With `per_row` False only the first row of a person in a cell counts: people are counted.
    """

    expr: AnyExpr
    low: int
    high: int
    step: float = 1.0
    per_row: bool = True

    @property
    def bound(self) -> int:
        """The largest part of one row."""
        return max(abs(self.low), abs(self.high))


@dataclass(frozen=True)
class Caps:
    """How much of one person counts in one table: at most `groups` cells, and `rows` rows in each."""

    rows: int
    groups: int


def key_of(name: str, position: int, expr: AnyExpr, held: Held, dtype: DType, domain: tuple[object, ...] | None) -> Key:
    """Return a key.

    Raises:
        Refused: keys of a type that is not told apart exactly.
    """
    stored = dtype
    if dtype.is_temporal:
        stored = INT64
    elif dtype.kind in ("Categorical", "Enum"):
        stored = DType("String")
    elif not (dtype.is_integer or dtype.kind in ("String", "Boolean")):
        raise Refused(
            "private-key", f"{dtype} is no type to group by here.", "Group by text, whole numbers, dates or Booleans."
        )
    values = _of_type(domain, stored) if domain is not None and not dtype.is_temporal else None
    return Key(name, f"{OWN}k{position}", expr, dtype, stored, values)


def _of_type(domain: Sequence[object], dtype: DType) -> tuple[object, ...] | None:
    """Return the values that a column of this type can hold, None where there are none: others nobody has, and no engine compares."""
    whole = ends(dtype)
    if whole is not None:
        numbers = (int(v) for v in domain if isinstance(v, int | float) and v == v // 1)
        found: dict[object, None] = dict.fromkeys(v for v in numbers if whole[0] <= v <= whole[1])
    else:
        kind = {"String": str, "Boolean": bool}.get(dtype.kind, ())
        found = dict.fromkeys(v for v in domain if isinstance(v, kind))
    return tuple(found) or None


def number_of(value: AnyExpr, dtype: DType) -> AnyExpr:
    """Return a value as a float that is null where it is no number."""
    number: AnyExpr = Cast(value, FLOAT64, strict=False)
    return call("fill_nan", number, Literal(DType("Null"))) if dtype.is_float else number


def present(value: AnyExpr, dtype: DType) -> AnyExpr:
    """Return whether there is a value: neither null nor NaN."""
    there = call("is_not_null", value)
    return call("and_", there, call("fill_null", call("is_not_nan", value), _FALSE)) if dtype.is_float else there


_FALSE = Literal(DType("Boolean"), False)


def where(part: AnyExpr, conditions: Sequence[AnyExpr]) -> AnyExpr:
    """Return a part that is 0 in rows that do not meet all conditions."""
    for condition in conditions:
        part = Ternary(call("fill_null", condition, _FALSE), part, _whole(0))
    return part


def fixed_point(value: AnyExpr, dtype: DType, bounds: Interval, centre: float = 0.0, *, squared: bool = False) -> Part:
    """Return (value - centre), or its square, in whole steps, clipped to the owner's bounds.

    The scale is the same for everybody, made of the bounds alone.
    """
    low, high = bounds
    reach = max(abs(low - centre), abs(high - centre))
    whole = dtype.is_integer or dtype.kind == "Boolean"
    if not squared and not centre and whole and 1 <= reach <= LEVELS:
        step, least, most = 1.0, math.floor(low), math.ceil(high)
    elif squared:
        step, least, most = reach * reach / LEVELS, 0, LEVELS
    else:
        step = reach / LEVELS
        least = max(-LEVELS, math.floor((low - centre) / step))
        most = min(LEVELS, math.ceil((high - centre) / step))
    number = call("clip", number_of(value, dtype), _float(low), _float(high))
    if centre:
        number = call("sub", number, _float(centre))
    if squared:
        number = call("mul", number, number)
    if step != 1.0:
        # INVARIANT: times, not divided by: a quotient by a constant has other bits in a piece of one row (see steady.py)
        number = call("mul", number, _float(_inverse(step)))
    steps = Cast(call("round", number), INT64, strict=False)
    # INVARIANT: whatever happened in floating point before, what is added up lies within [least, most]
    clipped = call("clip", steps, _whole(least), _whole(most))
    return Part(call("fill_null", clipped, _whole(0)), least, most, step)


def bounded(rows: Rows, keys: Sequence[Key], caps: Caps, parts: Sequence[tuple[str, AnyExpr]]) -> AnyNode:
    """Return the rows that count, with keys and parts under the judge's names.

    Rows whose keys are not in the declared domain are left out first, so they use up nobody's share.
    """
    exprs: list[AnyExpr] = [Column(UNIT), Column(PLACE), *(Alias(_stored(k), k.column) for k in keys)]
    plan: AnyNode = n.Select(rows.plan, (*exprs, *(Alias(e, name) for name, e in parts)))
    for key in keys:
        if key.domain is not None:
            values = Literal(DType("List", inner=key.stored), key.domain)
            plan = n.Filter(plan, call("is_in", Column(key.column), values))
    if rows.single:
        return n.WithColumns(plan, (Alias(_whole(1), POSITION),))
    columns = tuple(k.column for k in keys)
    if caps.rows == 1:
        return _first_rows(plan, columns, caps.groups)
    # of each person's rows in a cell: where only one cell of a person is left the person says it, else the cell's first place
    within = UNIT
    if keys:
        plan = _first_groups(plan, columns, caps.groups)
        within = UNIT if caps.groups == 1 else FIRST
    plan = n.WithColumns(plan, (Alias(position_of(PLACE, within), POSITION),))
    return n.Filter(plan, call("le", Column(POSITION), _whole(caps.rows)))


def _first(*within: str) -> AnyExpr:
    """The first place among the rows of the same `within`; minima take half the time of ranks."""
    return Over(call("min", Column(PLACE)), tuple(map(Column, within)))


def _first_rows(plan: AnyNode, columns: tuple[str, ...], groups: int) -> AnyNode:
    """One row of a person in each of so many cells: of one cell, the first row of all."""
    within = () if groups == 1 else columns
    plan = n.Filter(plan, call("eq", Column(PLACE), _first(UNIT, *within)))
    if within:
        ranked = n.WithColumns(plan, (Alias(position_of(PLACE, UNIT), RANK),))
        plan = n.Filter(ranked, call("le", Column(RANK), _whole(groups)))
    return n.WithColumns(plan, (Alias(_whole(1), POSITION),))


def _first_groups(plan: AnyNode, columns: tuple[str, ...], groups: int) -> AnyNode:
    """The rows of a person in the first cells of that person; of several, with FIRST, which is another in each cell.

    INVARIANT: places are different for all rows, so a cell's first place names it: no other cell of anybody has it.
    """
    if groups == 1:
        return n.Filter(plan, call("eq", _first(UNIT, *columns), _first(UNIT)))
    plan = n.WithColumns(plan, (Alias(_first(UNIT, *columns), FIRST),))
    # one row of each cell is ranked, not all
    heads = n.Select(n.Filter(plan, call("eq", Column(PLACE), Column(FIRST))), (Column(UNIT), Column(FIRST)))
    ranked = n.WithColumns(heads, (Alias(position_of(FIRST, UNIT), RANK),))
    chosen = n.Select(n.Filter(ranked, call("le", Column(RANK), _whole(groups))), (Column(FIRST),))
    return n.Join(plan, chosen, how="semi", left_on=(Column(FIRST),), right_on=(Column(FIRST),))


def sums(rows: Rows, keys: Sequence[Key], caps: Caps, parts: Sequence[tuple[str, Part]]) -> AnyNode:
    """Return the plan of the exact sums: one row per cell that is not empty (without keys: one row)."""
    counted = bounded(rows, keys, caps, [(name, part.expr) for name, part in parts])
    aggs = []
    for name, part in parts:
        value: AnyExpr = Column(name)
        if not part.per_row:
            value = Ternary(call("eq", Column(POSITION), _whole(1)), value, _whole(0))
        aggs.append(Alias(call("sum", value), name))
    if not keys:
        return n.Select(counted, tuple(aggs))
    return n.GroupBy(counted, tuple(Column(k.column) for k in keys), tuple(aggs))


def candidates(bounds: Interval, dtype: DType) -> tuple[float, ...]:
    """Return the public grid of a quantile: whole numbers where they are few, else equal steps between the bounds."""
    low, high = bounds
    if dtype.is_integer and high - low <= STEPS * 4:
        return tuple(float(v) for v in range(math.ceil(low), math.floor(high) + 1))
    return tuple(low + (high - low) * i / STEPS for i in range(STEPS + 1))


def bins(rows: Rows, keys: Sequence[Key], caps: Caps, value: AnyExpr, dtype: DType, bounds: Interval,
         grid: Sequence[float], conditions: Sequence[AnyExpr]) -> AnyNode:  # fmt: skip
    """Return the plan of exact counts per cell and bin; bin i holds grid[i - 1] < value <= grid[i], bin 0 value <= grid[0]."""
    number = call("clip", number_of(value, dtype), _float(bounds[0]), _float(bounds[1]))
    width = (grid[-1] - grid[0]) / (len(grid) - 1) if len(grid) > 1 else 1.0
    place = call("ceil", call("mul", call("sub", number, _float(grid[0])), _float(_inverse(width))))
    index = call("clip", Cast(place, INT64, strict=False), _whole(0), _whole(len(grid) - 1))
    known = call("is_not_null", number)
    for condition in conditions:
        known = call("and_", known, call("fill_null", condition, _FALSE))
    counted = bounded(rows, keys, caps, [(BIN, Ternary(known, index, Literal(DType("Null"))))])
    there = n.Filter(counted, call("is_not_null", Column(BIN)))
    return n.GroupBy(
        there, (*(Column(k.column) for k in keys), Column(BIN)), (Alias(call("count", Column(BIN)), COUNT),)
    )


def _stored(key: Key) -> AnyExpr:
    return key.expr if key.stored == key.dtype else Cast(key.expr, key.stored, strict=False)


def _whole(value: int) -> Literal:
    return Literal(INT64, value)


def _inverse(step: float) -> float:
    return 1 / step if step else math.inf


def _float(value: float) -> Literal:
    return Literal(FLOAT64, value)


def plain_name(expr: Expr) -> str:
    """Return the name of a plain column, else an empty string."""
    return expr.name if isinstance(expr, Column) else ""
