"""Tries the calls of a plan without data: what fails by how it is written fails before any row is read.

INVARIANT: whether a query fails never tells whether somebody is left in a frame. Polars does not evaluate a branch of `when` over no rows,
so that a pattern that is none, or a thirteenth month that is written down, would fail where a person is and nowhere else. So each
call is made by itself first: of what is written down alone, or of no value and of a missing and an ordinary one, the latter in the
form in which the judge runs it (what cannot be converted is null). Functions that may fail at some values are not given private
columns at all (`bastion_policy.flow_expressions`), and are tried here on none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl
from bastion_plan import nodes as n
from bastion_plan.expressions import Call, Cast, Column, Expr, Literal, children
from bastion_plan.functions.registry import find
from bastion_plan.functions.spec import Flow, Shape
from bastion_policy.flow_expressions import GUESSES, TAKES_COLUMNS, TOTAL
from bastion_policy.flow_trees import with_children
from bastion_policy.guard_plans import lenient
from polars.exceptions import PolarsError

from bastion_server.engine.expressions import lower_expr
from bastion_server.engine.lower import lower

#: functions of one value that are not written in more ways than one
_PLAIN = TAKES_COLUMNS | frozenset(
    "neg abs sign sqrt cbrt exp log1p floor ceil is_null is_not_null is_nan is_not_nan is_finite is_infinite not_".split()
)
#: types of constants whose arithmetic does not fail
_SIMPLE = frozenset({"DynInt", "DynFloat", "Boolean", "String", "Null"})


class Fails(Exception):
    """A call of the plan fails as it is written. The text is the engine's own, about constants of the plan alone."""


#: calls that were tried in this process, with the types of their arguments
Tried = set[tuple[Expr, str]]


def to_try(node: n.Node) -> bool:
    """Whether a plan has calls that may be written wrongly."""
    return any(True for e in _expressions(node) for _ in _calls(e)) or any(map(to_try, n.inputs(node)))


def probe(node: n.Node, sources: Mapping[str, pl.LazyFrame], tried: Tried | None = None) -> None:
    """Make the calls of a bound plan of no data. tried: calls that are not made again; takes these in.

    Raises:
        Fails: one of them fails.
    """
    tried = set() if tried is None else tried
    for below in n.inputs(node):
        probe(below, sources, tried)
    calls = list(dict.fromkeys(c for e in _expressions(node) for c in _calls(e)))
    if calls:
        schemas = [lower(below, sources).collect_schema() for below in n.inputs(node)]
        for call in calls:
            _try(call, schemas, tried)


def _expressions(node: n.Node) -> Iterator[Expr]:
    for name in node.__struct_fields__:
        value = getattr(node, name)
        yield from (e for e in (value if isinstance(value, tuple) else (value,)) if isinstance(e, Expr))


def _calls(expr: Expr) -> Iterator[Call | Cast]:
    """Yield the calls and casts that may be written wrongly, innermost first."""
    for below in children(expr):
        yield from _calls(below)
    if isinstance(expr, Cast) or (
        isinstance(expr, Call)
        and _alone(expr)
        and (expr.function not in _PLAIN or (_constant(expr) and not _simple(expr)))
    ):
        yield expr


def _alone(call: Call) -> bool:
    """Whether a function gives a value for a row by itself."""
    function = find(call.function)
    return function is not None and function.flow is Flow.ELEMENTWISE and function.shape is Shape.SAME


def _constant(expr: Expr) -> bool:
    """Whether an expression reads no frame."""
    if isinstance(expr, Call):
        return _alone(expr) and all(map(_constant, expr.args))
    return not isinstance(expr, Column) and all(map(_constant, children(expr)))


def _simple(expr: Expr) -> bool:
    return (not isinstance(expr, Literal) or expr.dtype.kind in _SIMPLE) and not isinstance(expr, Cast) and all(
        map(_simple, children(expr))
    )  # fmt: skip


def _try(call: Call | Cast, schemas: list[pl.Schema], tried: Tried) -> None:
    args: list[Expr] = []
    columns: dict[str, pl.DataType] = {}
    for arg in children(call):
        if _constant(arg):
            args.append(arg)
            continue
        dtype = _dtype(arg, schemas)
        if dtype is None:
            return
        columns[f"#{len(columns)}"] = dtype
        args.append(Column(f"#{len(columns) - 1}"))
    made = with_children(call, args)
    if isinstance(call, Cast) and columns and columns["#0"].is_numeric() and call.dtype.is_numeric:
        return
    if (made, str(columns)) in tried:
        return
    try:
        pl.DataFrame(schema=columns).select(lower_expr(made).alias("#"))
        if columns and (isinstance(call, Cast) or _total(call)):
            frame = pl.DataFrame([_ordinary(name, dtype) for name, dtype in columns.items()])
            frame.select(lower_expr(lenient(made)).alias("#"))
    except PolarsError as error:
        raise Fails(f"{call.function if isinstance(call, Call) else 'cast'}: {error}") from None
    tried.add((made, str(columns)))


def _total(call: Call) -> bool:
    """Whether a function gives something for every value."""
    return call.function in TOTAL and not (call.function in GUESSES and call.option("format", None) is None)


def _dtype(expr: Expr, schemas: list[pl.Schema]) -> pl.DataType | None:
    """Return the type of an argument, as the engine has it; None where it has none by itself."""
    for schema in schemas:
        try:
            return pl.DataFrame(schema=schema).lazy().select(lower_expr(expr).alias("#")).collect_schema()["#"]
        except PolarsError:
            continue
    return None


def _ordinary(name: str, dtype: pl.DataType) -> pl.Series:
    """Return a missing value, and one that nothing is odd about."""
    return pl.Series(name, [None, _value(dtype)], dtype=dtype, strict=False)


def _value(dtype: pl.DataType) -> object:
    match dtype:
        case pl.List():
            return [_value(dtype.inner)]  # type: ignore[arg-type]
        case pl.Array():
            return [_value(dtype.inner)] * dtype.shape[0]  # type: ignore[arg-type]
        case pl.Struct():
            return {f.name: _value(f.dtype) for f in dtype.fields}  # type: ignore[arg-type]
        case pl.Enum():
            return dtype.categories[0] if len(dtype.categories) else None
        case pl.String() | pl.Categorical():
            return "a"
        case pl.Binary():
            return b"a"
        case pl.Boolean():
            return True
        case _ if dtype.is_temporal():
            return pl.Series([1]).cast(pl.Int32 if dtype == pl.Date else pl.Int64).cast(dtype)[0]
        case _ if dtype.is_numeric():
            return 1
        case _:
            return None
