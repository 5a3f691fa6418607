"""What a condition says of people whose value is missing, or not a number.

**Why.** Which stored values are missing is public, so whoever has none is known and can be counted beforehand; so are those that
are not a number, which compare as the greatest. A condition that
takes them in (`bonus.fill_null(0) < c`, `bonus.is_null() | (bonus < c)`, an anti join by it, `x >= c` where some are NaN) adds as many known people as one
likes to the few who have a value: like a condition with another column in it (`judge_edges.mixes`).

**How.** Expressions are evaluated with one column missing (or NaN) in all rows and all others unknown: to the constants that may come of
it, or to anything. Columns are followed through the steps that computed them.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bastion_plan import nodes as n
from bastion_plan.expressions import Alias, Call, Cast, Column, Expr, Literal, Ternary, children
from bastion_plan.functions.registry import find
from bastion_plan.functions.spec import Flow

from bastion_policy.flow_trees import output_name
from bastion_policy.lineage import Typed, World

#: the constants that an expression may be; None: anything
Outcomes = frozenset[Any] | None

_NULL: Outcomes = frozenset({None})
_NAN: Outcomes = frozenset({math.nan})
#: stands for the values that are there
_SOME = object()
_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge,
}  # fmt: skip
#: aggregates of a person's rows that are null where all of them are
_OF_VALUES = frozenset({"mean", "min", "max", "median", "quantile", "first", "last", "std", "var"})
#: steps that leave columns as they are
_KEEPS = n.Filter | n.Sort | n.DropNulls | n.Slice | n.TopK | n.Reverse | n.Unique | n.Sample
#: so many constants are looked at
_MOST = 8


def missing_in(exprs: Iterable[Expr], typed: Typed, world: World, *, what: Callable[[Any], bool]) -> bool:
    """Whether a measure's missing values, or those that are NaN, may give all of some expressions over a frame an outcome that counts.

    what: which outcomes count.
    """
    made = list(exprs)
    return any(Absent(c, stored).all_count(made, typed, what) for c, stored in _secret(typed, world))


def dropped_but(name: str, typed: Typed, world: World) -> bool:
    """Whether a column of a frame may be null for some who have a value of a measure, and not for those who have none."""
    column = Column(name)
    for secret, stored in _secret(typed, world):
        there = Absent(secret, frozenset({_SOME})).of(column, typed)
        drops = there is None or None in there
        if drops and Absent(secret, stored).all_count([column], typed, lambda v: v is not None):
            return True
    return False


def _secret(typed: Typed, world: World) -> list[tuple[tuple[str, str], Outcomes]]:
    """Return the columns of the tables below that are measures or sensitive and have missing values, or NaN: each with what is there."""
    sources = {s for v in typed.frame.columns.values() for s in v.sources if world.role(s).secret}
    columns = {(s.dataset, s.column) for s in sources}
    return [(c, _NULL) for c in columns & world.nullable] + [(c, _NAN) for c in columns & world.nans]


class Absent:
    """Evaluates expressions where a column holds something: no value, NaN, or `_SOME` other value."""

    def __init__(self, column: tuple[str, str], stored: Outcomes) -> None:
        self.column = column
        self.stored = stored
        self._known: dict[tuple[int, str], Outcomes] = {}
        self._left_out: dict[int, bool] = {}

    def all_count(self, exprs: Sequence[Expr], typed: Typed, what: Callable[[Any], bool]) -> bool:
        """Whether all expressions over a frame that read the column, if any, may have an outcome that counts."""
        found = [self.of(e, typed) for e in exprs if self._reads(e, typed)]
        counts = bool(found) and all(one is None or any(map(what, one)) for one in found)
        return counts and not self._gone(typed)

    def _gone(self, typed: Typed) -> bool:
        """Whether the rows that hold it are left out on the way to a frame, whatever else they hold."""
        if id(typed) not in self._left_out:
            self._left_out[id(typed)] = False
            self._left_out[id(typed)] = self._leaves_out(typed)
        return self._left_out[id(typed)]

    def _leaves_out(self, typed: Typed) -> bool:
        below = [t for t in typed.inputs if t.frame.private]
        if not below:
            return False
        if isinstance(typed.node, n.Concat):
            return all(map(self._gone, below))
        match typed.node:
            case n.Filter(predicate=predicate):
                found = self.of(predicate, below[0])
                gone = found is not None and True not in found
            case n.DropNulls(subset=subset, nans=nans):
                names = below[0].frame.schema if subset is None else [e.name for e in subset if isinstance(e, Column)]
                gone = any(self.of(Column(c), below[0]) == (_NAN if nans else _NULL) for c in names)
            case _:
                gone = False
        return gone or (len(typed.inputs) == 1 and self._gone(below[0]))

    def of(self, expr: Expr, typed: Typed) -> Outcomes:
        """Return what an expression over a frame may be."""
        match expr:
            case Literal(value=None):
                return _NULL
            case Literal(value=value, dtype=dtype):
                # dates and decimals are numbers and texts of a type
                plain = not dtype.is_temporal and dtype.kind not in (
                    "Decimal",
                    "Int128",
                    "UInt128",
                    "Enum",
                    "Categorical",
                )
                simple = isinstance(value, str) or (isinstance(value, bool | int | float) and math.isfinite(value))
                return frozenset({value}) if plain and simple else None
            case Alias(input=inner):
                return self.of(inner, typed)
            case Cast(input=inner, dtype=target):
                found = self.of(inner, typed)
                keeps = target.is_numeric or target.kind == "Boolean"
                if found == _NAN:
                    return _NAN if target.is_float else None
                return found if found is not None and all(v is None or (keeps and v in (0, 1)) for v in found) else None
            case Column(name=name):
                return self._column(name, typed)
            case Ternary(predicate=predicate, truthy=truthy, falsy=falsy):
                asked = self.of(predicate, typed)
                branches = [truthy] if asked is None or asked & {True, _SOME} else []
                branches += [falsy] if asked is None or asked - {True} else []
                return _any_of(self.of(b, typed) for b in branches)
            case Call():
                return self._call(expr, typed)
            case _:
                return None

    def _call(self, expr: Call, typed: Typed) -> Outcomes:
        args = [self.of(a, typed) for a in expr.args]
        match expr.function:
            case "is_null" | "is_not_null" as function:
                found = None if args[0] is None else frozenset((v is None) == (function == "is_null") for v in args[0])
                return frozenset({True, False}) if found is None else found
            case "and_" | "or_" | "pl.all_horizontal" | "pl.any_horizontal" as function:
                return _kleene(args, decides=function in ("or_", "pl.any_horizontal"))
            case "not_":
                known = args[0] is not None and all(v is None or isinstance(v, bool) for v in args[0])
                return frozenset(None if v is None else not v for v in args[0] or ()) if known else None
            case "is_nan" | "is_not_nan" as function if args[0] == _NAN:
                return frozenset({function == "is_nan"})
            case "is_finite" | "is_infinite" if args[0] == _NAN:
                return frozenset({False})
            case "fill_nan":
                return args[1] if args[0] == _NAN else None
            case "is_between" if args[0] == _NAN and not any(map(_unknown, args)):
                return frozenset({False})
            case "add" | "sub" | "mul" | "truediv" | "neg" if _NAN in args and not any(map(_unknown, args)):
                return _NAN
            case "fill_null" | "pl.coalesce":
                return _first_known(args)
            case "is_in":
                return _NULL if args[0] == _NULL and not expr.option("nulls_equal", False) else None
            case function if function in _COMPARED and None not in args:
                return _compared(_COMPARED[function], args)
            case function:
                known_function = find(function)
                keeps = known_function is not None and known_function.flow is Flow.ELEMENTWISE
                keeps = keeps and known_function is not None and known_function.null_stays
                return _NULL if (keeps or function in _OF_VALUES) and _NULL in args else None

    def _column(self, name: str, typed: Typed) -> Outcomes:
        key = (id(typed), name)
        if key not in self._known:
            self._known[key] = None
            self._known[key] = self._found(name, typed)
        return self._known[key]

    def _found(self, name: str, typed: Typed) -> Outcomes:
        value = typed.frame.columns.get(name)
        if value is None or self.column not in {(s.dataset, s.column) for s in value.sources}:
            return None
        if value.plain is not None and value.pristine and not value.makes_nulls:
            return self.stored
        node, below = typed.node, typed.inputs
        match node:
            case n.Select(exprs=exprs) | n.WithColumns(exprs=exprs) | n.GroupBy(aggs=exprs) if below:
                for expr in exprs:
                    if output_name(expr) == name:
                        return self.of(expr, below[0])
                return self._column(name, below[0]) if isinstance(node, n.WithColumns) else None
            case n.Join() if len(below) > 1 and below[0].frame.private and not below[1].frame.private:
                if name in below[0].frame.columns:
                    return self._column(name, below[0])
                # a label is null where a key is
                absent = any(self.of(k, below[0]) == _NULL for k in node.left_on)
                return _NULL if absent and not node.nulls_equal else None
            case n.Concat() if below:
                return _any_of(self._column(name, t) for t in below if name in t.frame.columns)
            case _ if isinstance(node, _KEEPS) and below:
                return self._column(name, below[0])
            case _:
                return None

    def _reads(self, expr: Expr, typed: Typed) -> bool:
        if isinstance(expr, Column):
            value = typed.frame.columns.get(expr.name)
            return value is not None and self.column in {(s.dataset, s.column) for s in value.sources}
        return any(self._reads(e, typed) for e in children(expr))


def _any_of(found: Iterable[Outcomes]) -> Outcomes:
    every: frozenset[Any] = frozenset()
    for one in found:
        if one is None or len(every | one) > _MOST:
            return None
        every |= one
    return every


def _kleene(args: Sequence[Outcomes], *, decides: bool) -> Outcomes:
    """Return what and, or (decides: the value that decides by itself) may be."""
    anything = frozenset({None, True, False})
    parts = [anything if a is None else a for a in args]
    if any(v is not None and not isinstance(v, bool) for p in parts for v in p):
        return None  # bits of whole numbers
    made: set[bool | None] = set()
    if any(decides in p for p in parts):
        made.add(decides)
    rest = [p - {decides} for p in parts]
    if all(rest):
        if any(None in r for r in rest):
            made.add(None)
        if all((not decides) in r for r in rest):
            made.add(not decides)
    return None if made == anything else frozenset(made)


def _first_known(args: Sequence[Outcomes]) -> Outcomes:
    found: frozenset[Any] = frozenset()
    for arg in args:
        if arg is None:
            return None
        found |= arg - {None}
        if None not in arg:
            return found
    return found | {None}


def _compared(compare: Callable[[Any, Any], bool], args: Sequence[Outcomes]) -> Outcomes:
    made: set[bool | None] = set()
    for one in args[0] or ():
        for two in args[1] or ():
            if one is None or two is None:
                made.add(None)
            elif _SOME not in (one, two) and isinstance(one, str) == isinstance(two, str):
                made.add(compare(_in_order(one), _in_order(two)))
            else:
                return None
    return frozenset(made)


def _unknown(found: Outcomes) -> bool:
    """Whether an outcome is no constant that is there."""
    return found is None or bool(found & {None, _SOME})


def _in_order(value: Any) -> Any:
    """Return what stands for a constant among others: NaN is the greatest number, and equal to itself."""
    return value if isinstance(value, str) else (value != value, 0 if value != value else value)
