"""Statistics as vectors of bounded sums, and free arithmetic over what comes back with noise.

Everything behind the noise is post-processing: it costs nothing, and no rule looks at it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

from bastion_plan.dtypes import FLOAT64, INT64, DType
from bastion_plan.errors import BindError
from bastion_plan.expressions import Alias, AnyExpr, Call, Cast, Column, Expr, Literal, Ternary, children
from bastion_plan.functions.registry import find
from bastion_plan.functions.spec import Flow, Shape
from bastion_plan.typing import expr_dtype

from bastion_policy.boundary import call
from bastion_policy.flow_trees import is_scalar, with_children
from bastion_policy.lineage import OWN
from bastion_policy.private.cells import CLOSEST, FURTHEST, Part, candidates, fixed_point, plain_name, present, where
from bastion_policy.private.functions import Interval, interval
from bastion_policy.private.rows import Refused, Rows, RowTyping, ends, fitting

FIX_STATISTIC = "Use len, count, sum, mean, var, std, median or quantile."
#: quantiles are asked for in steps of this
DENOMINATOR = 10_000
_INSTEAD = {
    "min": "Use quantile(0.05), which many people share.",
    "max": "Use quantile(0.95), which many people share.",
    "n_unique": "Count distinct people, with n_unique() of the privacy unit, or group by the column.",
    "first": "Use mean or median.",
    "last": "Use mean or median.",
}


@dataclass(frozen=True)
class Quantile:
    """A choice among the values of a public grid, by how many people's rows lie below. share: between 0 and 1."""

    value: AnyExpr
    dtype: DType
    bounds: Interval
    share: Fraction
    conditions: tuple[AnyExpr, ...] = ()

    @property
    def grid(self) -> tuple[float, ...]:
        """The candidates."""
        return candidates(self.bounds, self.dtype)

    @property
    def numerator(self) -> int:
        """share * DENOMINATOR."""
        return int(self.share * DENOMINATOR)

    @property
    def sensitivity(self) -> int:
        """By how much one row changes a candidate's score, at most.

        The score of candidate j is the distance of numerator * total from DENOMINATOR * [rows below j, rows up to j]. A
        row below it moves both by DENOMINATOR and the total by one, a row above moves the total alone.
        """
        return max(self.numerator, DENOMINATOR - self.numerator)


@dataclass(frozen=True)
class Shown:
    """A statistic, for error bars. function: what it is. about: its column. of: positions of vectors, or of a quantile.

    reach: half the width of the bounds.
    """

    function: str
    about: str
    of: tuple[int, ...]
    reach: float = 0.0


@dataclass
class Parser:
    """Splits the aggregates of one table into vectors (`parts`), quantiles, and arithmetic over them."""

    rows: Rows
    typing: RowTyping
    parts: list[Part] = field(default_factory=list)
    quantiles: list[Quantile] = field(default_factory=list)
    shown: list[tuple[str, Shown]] = field(default_factory=list)
    _output: str = ""

    def output(self, name: str, expr: Expr) -> AnyExpr:
        """Return the arithmetic that gives a column, over vectors `#~v0` … and quantiles `#~q0` ….

        Raises:
            Refused: it is no statistic that noise can be added to.
        """
        self._output = name
        return self._scalar(expr)

    def vector(self, part: Part) -> int:
        """Return the position of a vector; equal ones are noised once."""
        if part not in self.parts:
            self.parts.append(part)
        return self.parts.index(part)

    def _scalar(self, expr: Expr) -> AnyExpr:
        match expr:
            case Literal():
                return expr
            case Alias(input=inner):
                return self._scalar(inner)
            case Call(function=name):
                function = find(name)
                if function is not None and function.shape is Shape.ONE and function.flow is not Flow.ELEMENTWISE:
                    return self._statistic(expr)
                if function is not None and is_scalar(expr):
                    return with_children(expr, [self._scalar(a) for a in expr.args])
            case Cast() | Ternary() if is_scalar(expr):
                return with_children(expr, [self._scalar(c) for c in children(expr)])
        what = f"{expr.function}()" if isinstance(expr, Call) else "The expression"
        raise Refused("row-level", f"{what} gives values of single people's rows, not a statistic.", FIX_STATISTIC)

    # -- one statistic

    def _statistic(self, expr: Call) -> AnyExpr:
        name = expr.function
        if name in ("pl.len", "len") and not expr.args:
            return self._count("len", "", ())
        if len(expr.args) != 1:
            raise Refused("private-statistic", f"{name}() is not answered with noise.", FIX_STATISTIC)
        conditions: list[AnyExpr] = []
        arg, dropped = self._without_filters(expr.args[0], conditions)
        if name == "n_unique":
            return self._people(arg, conditions)
        counting = name in ("len", "count", "null_count")
        checked = self.typing.checked(arg, self.rows, "a statistic", identifiers=counting)
        dtype = self._dtype(arg)
        about = plain_name(arg) or self._output
        if dropped and name in ("len", "null_count"):
            # the other statistics leave nulls out anyway
            conditions.append(call("is_not_null", checked))
        if name == "len":
            return self._count("len", about, tuple(conditions))
        there = present(checked, dtype)
        if name == "count":
            # NaN is a value to count() of Polars; here it is none, as it is none to every other statistic
            return self._count("count", about, (*conditions, there))
        if name == "null_count":
            return self._count("null_count", about, (*conditions, call("not_", there)))
        if not (dtype.is_numeric or dtype.kind == "Boolean"):
            raise Refused("private-statistic", f"{name}() of {dtype} is not answered with noise.", "Count it by group.")
        if name in ("sum", "mean", "var", "std", "median", "quantile"):
            bounds = self._bounds(arg, name, dtype)
            if name in ("median", "quantile"):
                return self._quantile(expr, checked, dtype, bounds, tuple(conditions), about)
            return self._moment(expr, checked, dtype, bounds, tuple(conditions), about)
        raise Refused(
            "private-statistic", f"{name.removeprefix('pl.')}() is not answered with noise.",
            _INSTEAD.get(name, FIX_STATISTIC),
        )  # fmt: skip

    def _without_filters(self, expr: AnyExpr, conditions: list[AnyExpr]) -> tuple[AnyExpr, bool]:
        """Return what is left without filters, whose conditions are put in a list, and whether nulls were dropped."""
        match expr:
            case Alias(input=inner):
                return self._without_filters(inner, conditions)
            case Call(function="filter", args=(inner, *several)):
                conditions += [self.typing.checked(c, self.rows, "a condition") for c in several]
                return self._without_filters(inner, conditions)
            case Call(function="drop_nulls", args=(inner,)):
                return self._without_filters(inner, conditions)[0], True
            case _:
                return expr, False

    def _dtype(self, expr: Expr) -> DType:
        try:
            return expr_dtype(expr, self.rows.schema)
        except BindError:
            raise Refused("private-statistic", "The type of an argument is not known.", FIX_STATISTIC) from None

    def _bounds(self, arg: Expr, name: str, dtype: DType) -> Interval:
        bounds = interval(arg, self.rows.intervals)
        if bounds is not None and (isinstance(arg, Cast) or (isinstance(arg, Call) and arg.function == "clip")):
            bounds = fitting(bounds, dtype)  # what does not fit is null, or clipped
            if bounds is not None and dtype.is_integer:
                bounds = (float(math.trunc(bounds[0])), float(math.trunc(bounds[1])))  # as Polars takes them
        if bounds is not None and bounds[0] <= bounds[1]:
            _check_bounds(bounds, name, dtype)
        else:
            columns = ", ".join(repr(c) for _, c in sorted(self.typing.sources(arg, self.rows))) or "it"
            raise Refused(
                "private-bounds",
                f"{name}() needs bounds of {columns}: noise is made for the largest part one person can have.",
                f"Ask the owner to declare measure(lower, upper), or write .clip(lower, upper) before .{name}().",
            )
        return bounds

    def _show(self, function: str, about: str, of: tuple[int, ...], reach: float = 0.0) -> None:
        self.shown.append((self._output, Shown(function, about, of, reach)))

    def _count(self, name: str, about: str, conditions: tuple[AnyExpr, ...]) -> AnyExpr:
        position = self.vector(Part(where(Literal(INT64, 1), conditions), 0, 1))
        self._show(name, about, (position,))
        return at_least(_vector(position), 0)

    def _people(self, arg: AnyExpr, conditions: list[AnyExpr]) -> AnyExpr:
        held = self.rows.columns.get(plain_name(arg))
        if held is None or held.plain is None or self.typing.facts[held.plain[0]].unit != held.plain[1] or conditions:
            raise Refused(
                "private-statistic", "n_unique() counts values that single people may hold alone.", _INSTEAD["n_unique"]
            )
        position = self.vector(PEOPLE)
        self._show("n_unique", plain_name(arg), (position,))
        return at_least(_vector(position), 0)

    def _moment(
        self, expr: Call, value: AnyExpr, dtype: DType, bounds: Interval, conditions: tuple[AnyExpr, ...], about: str
    ) -> AnyExpr:
        low, high = bounds
        name = expr.function

        def vector(centre: float, *, squared: bool = False) -> int:
            part = fixed_point(value, dtype, bounds, centre, squared=squared)
            return self.vector(Part(where(part.expr, conditions), part.low, part.high, part.step))

        if name == "sum":
            position = vector(0.0)
            self._show("sum", about, (position,))
            return _vector(position)
        # the mean as its distance from the middle of the bounds: half the noise, or less
        centre, reach = (low + high) / 2, (high - low) / 2
        counted = self.vector(Part(where(Literal(INT64, 1), (*conditions, present(value, dtype))), 0, 1))
        summed = vector(centre)
        people = at_least(_vector(counted), 1)
        mean = call("truediv", _vector(summed), people)
        if name == "mean":
            self._show("mean", about, (summed, counted), reach)
            return _within(call("add", mean, _float(centre)), low, high)
        ddof = int(expr.option("ddof", 1))
        squares = vector(centre, squared=True)
        self._show(name, about, (squares, summed, counted), reach)
        spread = call("sub", call("truediv", _vector(squares), people), call("mul", mean, mean))
        known = _within(spread, 0.0, reach * reach)
        free = at_least(call("sub", people, Literal(INT64, ddof)), 1)
        variance = call("mul", known, call("truediv", people, free))
        return call("sqrt", variance) if name == "std" else variance

    def _quantile(
        self, expr: Call, value: AnyExpr, dtype: DType, bounds: Interval, conditions: tuple[AnyExpr, ...], about: str
    ) -> AnyExpr:
        share = 0.5 if expr.function == "median" else float(expr.option("quantile", 0.5))
        if not 0.01 <= share <= 0.99:
            raise Refused(
                "private-statistic", "The outermost quantiles are single people's values.",
                "Use quantile(0.01) to quantile(0.99).",
            )  # fmt: skip
        wanted = Quantile(value, dtype, bounds, Fraction(round(share * DENOMINATOR), DENOMINATOR), conditions)
        if wanted not in self.quantiles:
            self.quantiles.append(wanted)
        position = self.quantiles.index(wanted)
        self._show(expr.function, about, (position,), (bounds[1] - bounds[0]) / 2)
        return Column(f"{OWN}q{position}")


#: people, each once
PEOPLE = Part(Literal(INT64, 1), 0, 1, per_row=False)


def _vector(position: int) -> AnyExpr:
    return Column(f"{OWN}v{position}")


def _float(value: float) -> Literal:
    return Literal(FLOAT64, value)


def at_least(value: AnyExpr, least: int) -> AnyExpr:
    """Return a value, or `least` where that is more."""
    return call("pl.max_horizontal", value, Literal(INT64, least))


def _check_bounds(bounds: Interval, name: str, dtype: DType) -> None:
    """Refuse bounds between which there is nothing to tell, or no number to tell it by."""
    low, high = bounds
    whole = ends(dtype)
    fix = f"Write other bounds: .clip(lower, upper) before .{name}()."
    if low == high or (whole is not None and math.ceil(low) == math.floor(high)):
        value = high if low == high else math.floor(high)
        raise Refused("private-bounds", f"{name}() of values that are all {value:.6g} tells nothing of anybody.", fix)
    between = f"{name}() of numbers between {low:.6g} and {high:.6g}"
    if whole is not None and math.ceil(low) > math.floor(high):
        raise Refused("private-bounds", f"{between}: there is no whole number, and the values are {dtype}.", fix)
    if whole is not None and fitting(bounds, dtype) != bounds:
        raise Refused(
            "private-bounds", f"{between}: {dtype} does not hold them all, and what is beyond one end of it comes back at the other.",
            "Cast the columns before you compute with them, for example .cast(pl.Float64).",
        )  # fmt: skip
    if max(abs(low), abs(high)) > FURTHEST:
        raise Refused("private-bounds", f"{between} is not answered with noise: they are too large.", fix)
    if high - low < CLOSEST:
        raise Refused(
            "private-bounds", f"{between} is not answered with noise: these are too close to each other.", fix
        )


def _within(value: AnyExpr, low: float, high: float) -> AnyExpr:
    return call("clip", value, _float(low), _float(high))


def l2_sensitivity(part: Part, rows: int, groups: int) -> float:
    """Return by how much one person changes the vector of a part over all cells, in L2, at most; rounded up."""
    each = part.bound * (rows if part.per_row else 1)
    return float(each) if groups == 1 else math.nextafter(each * math.sqrt(groups) * (1 + 2**-50), math.inf)
