"""Which expressions are null where the columns they are computed from are not.

Which stored values are missing is public; all other nulls are conditions in disguise. Of a condition the true and the false are
counted, and fewer than k of either are told as none: whoever is neither would be left out of both, and the true be told exactly.

A constant that is null makes no condition by itself: what is computed from it is null for everybody, or for nobody. Functions
that need not look at it (`x < 5 or null`) make it one. Released numbers are such constants, too: where they are withheld they are null.

Arguments are brought to one type first, which not all values have (`-1` beside unsigned numbers of 64 bits, days beside nanoseconds): those
that it does not have are null. So are lengths of time that are multiplied or divided beyond what there is, and bins of what is no number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from bastion_plan.dtypes import DType
from bastion_plan.expressions import Alias, Call, Cast, Column, Expr, Literal, children

from bastion_policy.flow_functions import NULL_KEEPING
from bastion_policy.flow_total import Total
from bastion_policy.lineage import UNSURE

#: functions of which a null argument decides only where the others do not
_KLEENE = frozenset({"and_", "or_", "pl.all_horizontal", "pl.any_horizontal", "is_between"})
#: functions that a null argument makes no null of, where the first has a value
_FILLING = frozenset({"fill_null", "pl.coalesce", "eq_missing", "ne_missing", "is_null", "is_not_null"})
#: functions that are null where an argument is, and nowhere else
_STRICT = NULL_KEEPING - _KLEENE - _FILLING - {"is_in", "fill_nan", "clip", "replace"}
#: functions that bring their arguments to one type
_TOGETHER = frozenset(
    """
    add sub mul truediv floordiv mod eq ne lt le gt ge eq_missing ne_missing xor and_ or_ is_between is_close is_in clip fill_null
    fill_nan pl.coalesce
    """.split()
)
#: functions that make no not-a-number of numbers; with a constant that is not 0 those below neither
_NUMBER_STAYS = frozenset({"abs", "floor", "ceil", "round", "clip", "fill_nan", "neg", "sign"})
_WITH_CONSTANT = frozenset({"add", "sub", "mul", "truediv"})
_TEXTS = frozenset({"String", "Categorical", "Enum"})
_UNSURE = frozenset({UNSURE})


def keeps_values(source: DType | None, target: DType) -> bool:
    """Whether a cast gives a value for every value of a type, and null for none."""
    if source is None or source == target:
        return source is not None
    if source.kind == "Decimal" or target.kind in ("Decimal", "Enum") or target.is_nested:
        return False
    if source.kind == "Boolean":
        return target.is_numeric or target.kind == "String"
    if source.is_numeric:
        wide = target.kind in ("Float64", "Float32", "Boolean", "String")
        return wide or (source.is_integer and target.is_integer and _holds(source.kind, target.kind))
    if source.is_temporal:
        if target.kind == "Duration" or source.kind == "Duration":
            return target.kind in ("Int64", "Int128", "Float64")
        # INVARIANT: nanoseconds have no dates before 1677 and after 2262
        finest = target.unit == "ns" and target.kind == "Datetime" and source.unit != "ns"
        days = {"Date", "Datetime"}
        alike = {source.kind, target.kind} <= days or (source.kind, target.kind) == ("Datetime", "Time")
        return not finest and (alike or target.kind in ("Int64", "Int128", "Float64", "String"))
    if source.kind in _TEXTS:
        return target.kind in ("String", "Categorical", "Binary")
    return False


def _holds(source: str, target: str) -> bool:
    """Whether one type of whole numbers has all values of another."""
    signed, other = not source.startswith("U"), not target.startswith("U")
    bits, more = (int(kind.removeprefix("U").removeprefix("Int")) for kind in (source, target))
    return (bits <= more) if signed == other else (other and bits < more)


class Nulls(Total):
    """Says what may be null in expressions over one frame."""

    def blank(self, expr: Expr) -> frozenset[str]:
        """Return the constants by which all of an expression may be null; `UNSURE` among them where it may be some of it."""
        return self._blank(expr)[0]

    def _blank(self, expr: Expr) -> tuple[frozenset[str], bool]:
        """Return them, and whether the expression reads columns of people."""
        match expr:
            case Literal(value=value):
                missing = value is None or (isinstance(value, tuple) and None in value)
                return (_UNSURE if missing else frozenset()), False
            case Column(name=name):
                held = self.frame.columns.get(name)
                return (_UNSURE, True) if held is None else (held.blank, bool(held.sources))
            case Alias(input=inner):
                return self._blank(inner)
            case Cast(input=inner, dtype=target):
                found, sourced = self._blank(inner)
                return (found if sourced or keeps_values(self.dtype(inner), target) else found | _UNSURE), sourced
            case _:
                below = [self._blank(e) for e in children(expr)]
                found, sourced = frozenset[str]().union(*(f for f, _ in below)), any(s for _, s in below)
                strict = not below or (isinstance(expr, Call) and expr.function in _STRICT)
                return (found if strict or not (found or not sourced) else found | _UNSURE), sourced

    def loses(self, call: Call) -> bool:
        """Whether a call makes nulls of values that its arguments' common type, or its own, does not have."""
        kinds = [d for d in map(self.dtype, call.args) if d is not None]
        if len(kinds) < len(call.args) or not kinds:
            return False
        match call.function:
            case "cut" | "bin_intervals":
                return kinds[0].is_float and not self._is_number(call.args[0])
            case "mul" | "truediv" | "floordiv" | "mod" if any(d.kind == "Duration" for d in kinds):
                return not _measured(call, kinds)
            case name if name in _TOGETHER:
                return self.narrows(call.args, added=name in ("add", "sub"))
        return False

    def narrows(self, args: Sequence[Expr], *, added: bool = False) -> bool:
        """Whether values are null in the type that arguments are brought to. added: whether lengths of time are added to dates."""
        known = [(a, d) for a, d in zip(args, map(self.dtype, args), strict=True) if d is not None]
        return any(_narrows(*one, *two, added=added) for one in known for two in known if one is not two)

    def _is_number(self, expr: Expr) -> bool:
        """Whether an expression is a stored number, on its own scale or another one, so that it is none only where that is none.

        INVARIANT: of a stored column that is public; a root of what is below 0 is a condition in disguise.
        """
        match expr:
            case Column(name=name):
                held = self.frame.columns.get(name)
                return held is not None and (held.plain is not None or held.line is not None)
            case Alias(input=inner) | Call(args=(inner, *_)) if (
                isinstance(expr, Alias) or expr.function in _NUMBER_STAYS
            ):
                return self._is_number(inner)
            case Cast(input=inner):
                source = self.dtype(inner)
                return self._is_number(inner) if source is None or source.is_float else source.is_integer
            case Call(function=name, args=(one, two)) if name in _WITH_CONSTANT:
                inner, constant = (two, one) if isinstance(one, Literal) and name != "truediv" else (one, two)
                value = constant.value if isinstance(constant, Literal) else None
                fine = (
                    isinstance(value, int | float) and math.isfinite(value) and (value != 0 or name in ("add", "sub"))
                )
                return fine and (self.dtype(inner) is None or self._is_number(inner) or self.dtype(inner).is_integer)  # type: ignore[union-attr]
        return False

    def makes_nulls(self, call: Call) -> bool:
        """Whether a call may be null at some values of its arguments only, none of which is."""
        if call.function not in NULL_KEEPING:
            return True
        if call.function in _STRICT or call.function in _FILLING:
            return False
        bounds = call.args[1:] if call.function == "is_between" else call.args
        found = {self.blank(a) for a in bounds} or {frozenset()}
        # all of them are null or none is
        alike = call.function in _KLEENE and len(found) == 1 and UNSURE not in next(iter(found))
        return any(found) and not alike


def _measured(call: Call, kinds: Sequence[DType]) -> bool:
    """Whether lengths of time are multiplied by, or divided through, a whole number that is written down, or by their like."""
    one, two = kinds[0], kinds[-1]
    if one.kind == two.kind == "Duration":
        return one.unit == two.unit and call.function == "truediv"
    factors = [a for a, d in zip(call.args, kinds, strict=True) if d.kind != "Duration"]
    divides = call.function != "mul"
    whole = all(isinstance(a, Literal) and type(a.value) is int and a.value for a in factors)
    return whole and not (divides and one.kind != "Duration")


def _narrows(arg: Expr, mine: DType, other: Expr, theirs: DType, *, added: bool) -> bool:
    """Whether an argument has values that the type it shares with another one has not."""
    if isinstance(arg, Literal):
        return False
    if mine.is_temporal:
        if theirs.is_numeric and theirs.kind != "Null":
            return True
        if added and {mine.kind, theirs.kind} == {"Date", "Duration"}:
            return mine.kind == "Duration"
        # INVARIANT: nanoseconds have no dates before 1677 and after 2262
        return theirs.kind == "Datetime" and theirs.unit == "ns" and not (mine.kind == "Datetime" and mine.unit == "ns")
    if mine.kind not in ("UInt64", "UInt128"):
        return False
    value = other.value if isinstance(other, Literal) else None
    below = isinstance(value, int | float) and value < 0
    signed = theirs.kind in ("Int8", "Int16", "Int32", "Int64", "Int128")
    return theirs.is_temporal or below or (mine.kind == "UInt128" and signed)
