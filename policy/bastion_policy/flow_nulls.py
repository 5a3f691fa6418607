"""Which expressions are null where the columns they are computed from are not.

Which stored values are missing is public; all other nulls are conditions in disguise. Of a condition the true and the false are
counted, and fewer than k of either are told as none: whoever is neither would be left out of both, and the true be told exactly.

A constant that is null makes no condition by itself: what is computed from it is null for everybody, or for nobody. Functions
that need not look at it (`x < 5 or null`) make it one. Released numbers are such constants, too: where they are withheld they are null.
"""

from __future__ import annotations

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
