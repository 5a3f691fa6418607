"""Aggregates of one person's rows: any function may be taken of them, if it fails at no values.

INVARIANT: an error tells of the rows at which it is raised. Columns of unlike length fail where a condition left rows out.
"""

from __future__ import annotations

from bastion_plan.errors import BindError
from bastion_plan.expressions import Alias, Call, Cast, Column, Expr, Literal, Ternary
from bastion_plan.functions.registry import find
from bastion_plan.functions.spec import Flow, Shape
from bastion_plan.typing import expr_dtype

from bastion_policy.flow_failures import adds_up
from bastion_policy.flow_trees import columns_in
from bastion_policy.lineage import Frame, World

#: functions that give one value of any number of rows, none included
_ONE = frozenset(
    """
    pl.len len count null_count n_unique sum mean var std median quantile min max nan_min nan_max any all has_nulls
    is_empty first last product skew kurtosis
    """.split()
)
#: functions that give one value per row of their first argument; the others are constant
_EACH = frozenset(
    """
    shift diff cum_sum cum_prod cum_min cum_max cum_count rank forward_fill backward_fill interpolate reverse sort
    rolling_sum rolling_mean rolling_min rolling_max is_duplicated is_unique is_first_distinct is_last_distinct
    """.split()
)
#: functions that leave values out
_SOME = frozenset({"drop_nulls", "drop_nans", "head", "tail", "limit", "unique"})
#: functions of several columns of one length
_BESIDE = frozenset({"filter", "sort_by", "pl.cov", "pl.corr"})
#: functions of a stored decimal that compute with floats
_AS_FLOATS = frozenset(
    {"mean", "var", "std", "median", "quantile", "rolling_mean", "skew", "kurtosis", "pl.cov", "pl.corr"}
)
#: functions that give a stored decimal, or where it stands
_AS_STORED = frozenset(
    """
    nan_min nan_max any all has_nulls is_empty shift cum_min cum_max cum_count rank forward_fill backward_fill reverse sort
    is_duplicated is_unique is_first_distinct is_last_distinct
    """.split()
)
#: functions of a decimal that do not compute with it
_OF_DECIMAL = (
    frozenset({"pl.len", "len", "count", "null_count", "n_unique", "min", "max", "first", "last"}) | _SOME | _BESIDE
)
#: how many values there are: one per row, one, or any number
_ROWS, _VALUE, _ANY = "rows", "value", "any"


class _Fails(Exception):
    """The function that may fail."""


def failing(expr: Expr, frame: Frame, world: World) -> str | None:
    """Return the function by which an aggregate of one person's rows may fail, None where it cannot.

    Row-by-row functions are for `ExpressionTyping` to judge.
    """
    try:
        _length(expr, frame, world)
    except _Fails as found:
        return str(found)
    return None


def _length(expr: Expr, frame: Frame, world: World) -> str:
    match expr:
        case Column():
            return _ROWS
        case Literal():
            return _VALUE
        case Alias(input=inner) | Cast(input=inner):
            return _length(inner, frame, world)
        case Ternary(predicate=condition, truthy=truthy, falsy=falsy):
            return _alike("when", (condition, truthy, falsy), frame, world)
        case Call(function=name, args=args):
            return _of_call(name, args, frame, world)
        case _:
            raise _Fails("over")


def _of_call(name: str, args: tuple[Expr, ...], frame: Frame, world: World) -> str:
    function = find(name)
    if function is not None and function.shape is Shape.SAME and function.flow is Flow.ELEMENTWISE:
        return _alike(name, args, frame, world)
    if name not in _ONE | _EACH | _SOME | _BESIDE or any(overflows(name, a, frame, world) for a in args):
        raise _Fails(name)
    if name in _BESIDE:
        length = _alike(name, args, frame, world)
        return _ANY if name == "filter" else length if name == "sort_by" else _VALUE
    if any(columns_in(a) for a in args[1:]):
        raise _Fails(name)
    length = _length(args[0], frame, world) if args else _VALUE
    return _VALUE if name in _ONE else _ANY if name in _SOME else length


def _alike(name: str, args: tuple[Expr, ...], frame: Frame, world: World) -> str:
    """Return the common length of several arguments; what was left out of one was not left out of another."""
    lengths = [found for a in args if (found := _length(a, frame, world)) != _VALUE]
    if _ANY in lengths and len(lengths) > 1:
        raise _Fails(name)
    return lengths[0] if lengths else _VALUE


def overflows(name: str, arg: Expr, frame: Frame, world: World) -> bool:
    """Whether a function of one person's rows adds up decimals that may be too large for it: they overflow with an error."""
    if name in _OF_DECIMAL or isinstance(arg, Literal):
        return False
    try:
        dtype = expr_dtype(arg, frame.schema)
    except BindError:
        return False
    if dtype.kind != "Decimal":
        return False
    if not isinstance(arg, Column) or frame.columns[arg.name].plain is None:
        return True
    return name not in _AS_FLOATS | _AS_STORED and not adds_up(dtype, frame.columns[arg.name], world)
