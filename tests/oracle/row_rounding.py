"""Rounding, and the strict profile's one verdict, from docs/guard.md (*The strict profile*).

Counts and sums of whole numbers are multiples of a base, other numbers have so many significant digits; a mean is the
rounded sum over the rounded count, `std` the root of the rounded `var`; `a * column + b` is made of the rounded statistic of
the column and of the rounded count. Where a number lies half-way, or nearly, both neighbours are permitted.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

from bastion_policy.model import RoleKind
from row_frames import Form, Frame, Leaf, Values
from row_model import SUMMED, Limits, Told
from row_rules import Rules
from row_statistics import compute, total
from row_values import Unknown

#: a part of a number within which sums in another order may lie
NEAR = 1e-10
#: what an affine function is off the line by rounding errors at most
OFF = 1e-9
#: marks of arithmetic with constants, of a column that was cast
AFFINE = {f"function: {name}" for name in ("add", "sub", "mul", "truediv", "neg")}


def multiples(x: float, base: int) -> list[int]:
    """The nearest multiples of a base, of two that are as near the upper one first: so numbers are rounded that choose rows."""
    at = x / base
    low = math.floor(at)
    part = at - low
    if abs(part - 0.5) < OFF:
        return [(low + 1) * base, low * base]
    return [(low + (part > 0.5)) * base]


def whole(x: float, base: int) -> list[int]:
    """The same of a number that is a whole one, or nearly, or is made one first."""
    found = {m for y in (x * (1 - NEAR), x * (1 + NEAR)) for m in multiples(math.floor(y + 0.5), base)}
    return sorted(found, reverse=True)


def significant(x: float, digits: int) -> list[float]:
    """A number to so many digits."""
    if x == 0 or not math.isfinite(x):
        return [x]
    return sorted({float(f"{y:.{digits - 1}e}") for y in (x * (1 - NEAR), x, x * (1 + NEAR))})


class Rounded(Rules):
    """Numbers as they are told where a policy rounds, and what the strict profile looks at before any is told."""

    def counted(self, n: int, limits: Limits) -> list[int]:
        """A number of rows, values or people as it is told."""
        return [n] if limits.rounding is None else multiples(n, limits.rounding.base)

    def line(self, frame: Frame, arg: Values) -> tuple[Sequence[Any], float, float] | None:
        """The stored column, a and b of an argument that is a * column + b; None where it is not, as far as the rows tell."""
        return arg.once("line", lambda: self._line(frame, arg))  # type: ignore[no-any-return]

    def _line(self, frame: Frame, arg: Values) -> tuple[Sequence[Any], float, float] | None:
        lineage = arg.lineage
        if lineage.plain or lineage.each or not lineage.sources:
            return arg.values, 1, 0
        if len(lineage.sources) != 1:
            return None
        ((occurrence, dataset, column),) = lineage.sources
        rows = self.datasets[dataset].rows
        found = [[rows[r][column] for o, r in x.origin if o == occurrence] for x in frame.rows]
        if any(len(of) > 1 for of in found):
            return None
        stored = [of[0] if of else None for of in found]
        pairs = sorted({(x, y) for x, y in zip(stored, arg.values, strict=True) if x is not None and y is not None})
        if any((x is None) != (y is None) for x, y in zip(stored, arg.values, strict=True)) or not pairs:
            return None
        if not self._numbers(x for pair in pairs for x in pair):
            return None
        (x0, y0), (x1, y1) = pairs[0], pairs[-1]
        a = (y1 - y0) / (x1 - x0) if x0 != x1 else 1.0
        a, b = round(a, 9), round(y0 - round(a, 9) * x0, 9)
        fits = all(abs(y - (a * x + b)) <= OFF * max(1.0, abs(y)) for x, y in pairs)
        return (stored, a, b) if fits else None

    def discrete(self, arg: Values) -> bool:
        """Whether an argument is of whole numbers, or was before a cast or a person's mean made fractions of them."""
        kinds = [self.datasets[d].facts.column(c).dtype for d, c in arg.lineage.columns]
        some = [x for x in arg.values if x is not None]
        return all(isinstance(x, int) for x in some) or (
            bool(kinds) and all(t.is_integer or t.kind == "Boolean" for t in kinds)
        )

    def told_as(self, told: Told, rows: Sequence[int], value: Any) -> list[Any]:
        """A sum, mean, variance or standard deviation of some rows as it may be told; `value` where nothing is rounded."""
        rule, leaf = told.limits.rounding, told.leaf
        if rule is None or leaf.function not in ("sum", "mean", "var", "std") or value is None:
            return [value]
        arg = leaf.args[0]
        if arg.lineage.form is Form.COMBINATION and len(arg.lineage.columns) > 1:
            raise Unknown("a rounded combination")
        found = self.line(told.frame, arg)
        if found is None and arg.lineage.form in (Form.COLUMN, Form.COMBINATION):
            raise Unknown("a rounded function of a person's number")
        values, a, b = found or (arg.values, 1, 0)
        some = [values[i] for i in rows if values[i] is not None]
        missing = sorted(set(told.rows) - set(rows))
        # under the strict profile `count` tells of few who have no value as of nobody, and so does what is made of it
        alike = told.limits.strict and self.secret(arg) and self.people(told.frame, missing) < told.limits.k
        n = len(told.rows) if leaf.function == "sum" and alike else 0
        return self._moments(leaf, some, a, b, discrete=self.discrete(arg), limits=told.limits, most=n)

    def told_of_bits(self, leaf: Leaf, yes: int, n: int, ends: tuple[Any, Any], limits: Limits) -> list[Any]:
        """The same of a yes-or-no column that is written as two numbers, of which so many of n say yes."""
        low, high = map(float, ends)
        bits = [1] * yes + [0] * (n - yes)
        told = self._moments(leaf, bits, high - low, low, discrete=True, limits=limits, most=n)
        rule, ddof = limits.rounding, leaf.options.get("ddof", 1)
        if rule is None or leaf.function not in ("var", "std"):
            return told
        # of yes and no a variance follows from both rounded numbers, too
        pairs = [(y, c) for y in multiples(yes, rule.base) for c in multiples(n, rule.base) if c > ddof]
        found = [(high - low) ** 2 * max(0.0, y * (c - y)) / c / (c - ddof) for y, c in pairs]
        return told + (found if leaf.function == "var" else [math.sqrt(x) for x in found])

    def _moments(
        self, leaf: Leaf, some: Sequence[Any], a: float, b: float, *, discrete: bool, limits: Limits, most: int = 0
    ) -> list[Any]:
        rule, name, ddof = limits.rounding, leaf.function, leaf.options.get("ddof", 1)
        assert rule is not None
        n = max(len(some), most)
        counts = multiples(n, rule.base)
        everything = total(some) if some else 0
        sums: Sequence[float] = whole(everything, rule.base) if discrete else significant(everything, rule.digits)
        if name == "sum":
            return [a * s + b * c for s in sums for c in counts]
        if name == "mean":
            return [a * s / c + b if c > 0 else None for s in sums for c in counts]
        if ddof not in (0, 1):
            return []
        if len(some) <= 1:
            return [None]
        squares = compute("var", [list(some)], len(some), {"ddof": 1}) * (len(some) - 1)
        found: list[float | None] = []
        for c in counts:
            if discrete:
                found += [s / (c - ddof) if c > ddof else None for s in whole(squares, rule.base)]
            else:
                usual = significant(squares / (len(some) - 1), rule.digits)
                found += [u if ddof == 1 else u * (c - 1) / c if c > 0 else None for u in usual]
        scaled = [None if x is None else a * a * x for x in found]
        return scaled if name == "var" else [None if x is None else math.sqrt(max(0.0, x)) for x in scaled]

    def rounded_pairs(self, told: Told, rows: Sequence[int], correlation: Any) -> Any:
        """A correlation, of whole numbers that of rounded sums of products and squares."""
        rule, args = told.limits.rounding, told.leaf.args
        if rule is None or correlation is None or not all(map(self.discrete, args)):
            return correlation
        lines = [self.line(told.frame, arg) for arg in args]
        if None in lines:
            raise Unknown("a rounded product")
        (xs, a, _), (ys, c, _) = lines  # type: ignore[misc]
        x, y = [xs[i] for i in rows], [ys[i] for i in rows]
        parts = []
        for one, two in ((x, y), (x, x), (y, y)):
            products = compute("pl.cov", [list(one), list(two)], len(x), {"ddof": 1}) * (len(x) - 1)
            parts.append(whole(products, rule.base)[0])
        if not parts[1] or not parts[2]:
            return None
        found = parts[0] / math.sqrt(parts[1]) / math.sqrt(parts[2]) * math.copysign(1, a * c)
        return max(-1.0, min(1.0, found))

    # -- the strict profile

    def one_verdict(self, told: Told, rows: Iterable[int]) -> bool:
        """Whether all columns of a statistic pass all rules in some rows, whatever the statistic: rule *one verdict*."""
        rows = list(rows)
        return all(self._column_passes(told, arg, rows) for arg in told.leaf.args)

    def _column_passes(self, told: Told, arg: Values, rows: Sequence[int]) -> bool:
        frame, limits = told.frame, told.limits
        full = [i for i in rows if arg.values[i] is not None]
        if self.people(frame, full) < limits.k:
            return False
        if self._numbers([arg.values[i] for i in full]) and not self._dominated_by(
            frame, arg, arg.lineage.bounds, full, limits, squares=True
        ):
            return False
        facts = [self.datasets[d].facts.column(c) for d, c in arg.lineage.columns]
        chooses = bool(facts) and all(
            f.dtype.kind == "Boolean" and f.role.kind in (RoleKind.QUASI, RoleKind.PUBLIC) for f in facts
        )
        least = max(limits.differing, limits.k) if chooses and limits.differing else None
        return self._differ(frame, arg, full, limits, least)

    def both_sides(self, told: Told, cell: Iterable[int], rows: Sequence[int]) -> bool:
        """Whether what a condition inside a statistic leaves out passes, too; few people are not told of by themselves."""
        others = sorted(set(cell) - set(rows))
        return self.people(told.frame, others) < told.limits.k or self.one_verdict(told, others)

    def secret(self, arg: Values) -> bool:
        """Whether a column of an argument is neither quasi nor public."""
        kinds = {self.datasets[d].facts.column(c).role.kind for d, c in arg.lineage.columns}
        return bool(kinds - {RoleKind.QUASI, RoleKind.PUBLIC})

    def judged(self, leaf: Leaf) -> bool:
        """Whether a statistic speaks of values: not one of rows, people and missing values."""
        ordered = ("median", "quantile", "min", "max", "nan_min", "nan_max")
        return leaf.function in (*SUMMED, *ordered) and all(a.lineage.form is not Form.NULLS for a in leaf.args)


def strict_argument(function: str, args: Iterable[Values]) -> frozenset[str]:
    """Why the strict profile does not take the arguments of a statistic: columns, affine functions and a person's numbers it does."""
    for arg in args:
        lineage = arg.lineage
        if not lineage.private:
            continue
        nulls = lineage.form is Form.NULLS and function in ("sum", "mean")
        changed = any(
            c.startswith(("function", "binned", "mix", "when/then", "condition")) and c not in AFFINE
            for c in arg.cautious
        )
        # x + x is an affine function, too
        fine = lineage.form in (Form.COLUMN, Form.FUNCTION, Form.COMBINATION) and len(lineage.columns) <= 1
        if not nulls and (changed or not fine):
            return frozenset({f"strict argument of {function}"})
        if function in ("sum", "mean", "var", "std", "pl.cov", "pl.corr") and any(
            not isinstance(x, int | float) for x in itertools.islice((v for v in arg.values if v is not None), 1)
        ):
            return frozenset({f"{function} of what is no number"})
    return frozenset()
