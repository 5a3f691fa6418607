"""Which columns of a fit may hold missing values, as far as its plan tells: words for an estimate, nothing is decided by it.

Whether a stored column has any is not public. What a plan fills, drops or makes without them is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bastion_plan import nodes as n
from bastion_plan.bind import BoundPlan
from bastion_plan.dtypes import DType
from bastion_plan.errors import BastionError
from bastion_plan.expressions import Alias, Call, Cast, Column, Expr, Literal, Ternary
from bastion_plan.nodes import Node
from bastion_plan.schemas import fills
from bastion_plan.typing import expr_dtype

from bastion_policy.flow_trees import output_name

#: give a value for whatever they are given
_ALWAYS = frozenset({"is_null", "is_not_null", "eq_missing", "ne_missing"})
#: give a value where all they are given are values
_KEEPING = frozenset(
    "add sub mul truediv neg abs sign sqrt cbrt exp log1p sin cos tanh floor ceil round clip eq ne lt le gt ge and_ or_ xor not_ "
    "is_between is_nan is_not_nan is_finite is_infinite fill_nan".split()
)
#: conditions that no missing value meets
_MEETING = frozenset("is_not_null eq ne lt le gt ge is_between".split())
_NAMED = 6


def missing_words(bound: BoundPlan, columns: Iterable[str]) -> tuple[str, ...]:
    """Return what an estimate says of rows with missing values. columns: of the fit."""
    names = list(columns)
    full = _Full(bound).of(bound.root)
    some = [name for name in names if name not in full]
    if some:
        few = [repr(name[:80]) for name in some[:_NAMED]]
        if len(some) > _NAMED:
            few.append(f"{len(some) - _NAMED:,} more")
        where = " or ".join(filter(None, [", ".join(few[:-1]), few[-1]]))
        return (f"Rows with a missing value in {where} are left out: fill_null() before if they are to count.",)
    if any(bound.schema[name].is_float for name in names):
        return ("Rows with a value that is no number (NaN) are left out.",)
    return ()


class _Full:
    """Names of columns without missing values, node by node. What is not known of a node is taken to have some."""

    def __init__(self, bound: BoundPlan) -> None:
        self._bound = bound

    def of(self, node: Node) -> frozenset[str]:
        """Return the names of columns that hold no missing value."""
        match node:
            case n.Sort(input=below) | n.Reverse(input=below):
                return self.of(below)
            case n.Filter(input=below, predicate=predicate):
                return self.of(below) | frozenset(_met(predicate))
            case n.DropNulls(input=below, subset=subset, nans=nans):
                if nans:
                    return self.of(below)
                if subset is None:
                    return frozenset(self._bound.schemas[node])
                return self.of(below) | {e.name for e in subset if isinstance(e, Column)}
            case n.FillNull(input=below, value=Literal(value=value) as given, nans=False) if value is not None:
                schema = self._bound.schemas[below]
                return self.of(below) | {name for name, dtype in schema.items() if fills(given, dtype)}
            case n.Select(input=below, exprs=exprs):
                return frozenset(self._made(below, exprs))
            case n.WithColumns(input=below, exprs=exprs):
                made = {output_name(e) for e in exprs}
                return frozenset((self.of(below) - made) | self._made(below, exprs))
            case n.Join(left=left, how=how) if how in ("inner", "left", "semi", "anti"):
                return self.of(left)
        return frozenset()

    def _made(self, below: Node, exprs: Iterable[Expr]) -> set[str]:
        full, schema = self.of(below), self._bound.schemas[below]
        return {output_name(e) for e in exprs if _full(e, full, schema)}


def _full(expr: Expr, full: frozenset[str], schema: Mapping[str, DType]) -> bool:
    """Whether an expression gives a value in each row."""
    match expr:
        case Column(name=name):
            return name in full
        case Literal(value=value):
            return value is not None
        case Alias(input=inner):
            return _full(inner, full, schema)
        case Ternary(truthy=yes, falsy=no):
            return _full(yes, full, schema) and _full(no, full, schema)
        case Cast(input=inner, dtype=dtype):
            return _full(inner, full, schema) and _fits(inner, dtype, schema)
        case Call(function="fill_null" | "pl.coalesce", args=args):
            return any(_full(a, full, schema) for a in args)
        case Call(function=name, args=args):
            return name in _ALWAYS or (name in _KEEPING and all(_full(a, full, schema) for a in args))
    return False


def _fits(inner: Expr, dtype: DType, schema: Mapping[str, DType]) -> bool:
    """Whether each value of an expression has one in another type."""
    try:
        found = expr_dtype(inner, schema)
    except BastionError:
        return False
    return found == dtype or (found.kind == "Boolean" and dtype.is_numeric) or (found.is_integer and dtype.is_float)


def _met(predicate: Expr) -> Iterable[str]:
    """Yield columns that are there wherever a condition holds."""
    match predicate:
        case Call(function="and_", args=args):
            for part in args:
                yield from _met(part)
        case Call(function=name, args=(Column(name=column), *_)) if name in _MEETING:
            yield column
