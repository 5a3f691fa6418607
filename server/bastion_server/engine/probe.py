"""Tries the calls of a plan without data: what fails by how it is written fails before any row is read.

INVARIANT: whether a query fails never tells whether somebody is left in a frame, nor what a person's value is. Polars does not evaluate a
branch of `when`, or a condition inside an aggregate, over no rows, so that a pattern that is none, or a thirteenth month that is
written down, would fail where a person is and nowhere else; and it brings types together by conversions that fail at some values
(a negative number beside an unsigned one, a late date beside nanoseconds). So each call, cast and choice is made by itself first: of
what is written down alone, of no value, and of a missing one, an ordinary one and those at the ends of its types, in all pairs, in the
form in which the judge runs it (what cannot be converted is null). Functions that may fail at some values are not given private columns
at all (`bastion_policy.flow_functions`), and are tried here on none.
"""

from __future__ import annotations

import datetime as dt
import functools
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl
from bastion_plan import nodes as n
from bastion_plan.expressions import Call, Cast, Column, Expr, Ternary, children
from bastion_plan.inlining import with_inputs
from bastion_policy.flow_functions import GUESSES, TAKES_COLUMNS, TOTAL
from bastion_policy.flow_trees import row_by_row, with_children, written_down
from bastion_policy.guard_plans import lenient
from polars.exceptions import PanicException, PolarsError

from bastion_server.engine.expressions import lower_expr
from bastion_server.engine.lower import lower

#: rows of values that a call is tried on, at most
_MOST_ROWS = 512
#: seconds of a day, parts of a second, and the first and the last day of years of four digits
_DAY, _PARTS = 86_400, {"ms": 10**3, "us": 10**6}
_CALENDAR = (dt.date.min - dt.date(1970, 1, 1)).days, (dt.date.max - dt.date(1970, 1, 1)).days


#: nodes that bring the types of several columns together
_STACKS = (n.Concat, n.Unpivot)


class Fails(Exception):
    """A call of the plan fails as it is written. The text is the engine's own, about constants of the plan alone."""


#: calls that were tried in this process, with the types of their arguments
Tried = set[tuple[Expr, str]]
Tries = Call | Cast | Ternary


def to_try(node: n.Node) -> bool:
    """Whether a plan has calls that may be written wrongly."""
    here = isinstance(node, _STACKS) or any(True for e in _expressions(node) for _ in _calls(e))
    return here or any(map(to_try, n.inputs(node)))


def probe(
    node: n.Node, sources: Mapping[str, pl.LazyFrame], tried: Tried | None = None, *, values: bool = True
) -> None:
    """Make the calls of a bound plan of no data.

    Args:
        tried: calls that are not made again; takes these in. values: whether they are made of values of their types too; without, what
            is written by hand is tried on none (for tables that nothing guards).

    Raises:
        Fails: one of them fails.
    """
    # tables without rows stand for the sources, each of whose files is looked at once
    empty = {
        name: pl.DataFrame(schema=sources[name].collect_schema()).lazy() for name in set(n.scans(node)) & set(sources)
    }
    _probe(node, empty, set() if tried is None else tried, values)


def _probe(node: n.Node, sources: Mapping[str, pl.LazyFrame], tried: Tried, values: bool) -> None:
    for below in n.inputs(node):
        _probe(below, sources, tried, values)
    calls = list(dict.fromkeys(c for e in _expressions(node) for c in _calls(e)))
    if not values:
        calls = [c for c in calls if isinstance(c, Call) and c.function not in TAKES_COLUMNS]
    if calls or isinstance(node, _STACKS):
        schemas = [lower(below, sources).collect_schema() for below in n.inputs(node)]
        for call in calls:
            _try(call, schemas, tried, values)
        if isinstance(node, _STACKS) and values:
            _stack(node, schemas)


def _expressions(node: n.Node) -> Iterator[Expr]:
    for name in node.__struct_fields__:
        value = getattr(node, name)
        yield from (e for e in (value if isinstance(value, tuple) else (value,)) if isinstance(e, Expr))


def _calls(expr: Expr) -> Iterator[Tries]:
    """Yield what is tried by itself, innermost first."""
    for below in children(expr):
        yield from _calls(below)
    if isinstance(expr, Cast | Ternary) or (isinstance(expr, Call) and row_by_row(expr)):
        yield expr


def _try(call: Tries, schemas: list[pl.Schema], tried: Tried, values: bool) -> None:
    args: list[Expr] = []
    columns: dict[str, pl.DataType] = {}
    for arg in children(call):
        if written_down(arg):
            args.append(arg)
            continue
        dtype = _dtype(arg, schemas)
        if dtype is None:
            return
        columns[f"#{len(columns)}"] = dtype
        args.append(Column(f"#{len(columns) - 1}"))
    made = with_children(call, args)
    if (made, str(columns)) in tried:
        return
    try:
        pl.DataFrame(schema=columns).select(lower_expr(made).alias("#"))
        if columns and values and _total(call):
            _frame(columns).select(lower_expr(lenient(made)).alias("#"))
    except (PolarsError, PanicException) as error:
        name = call.function if isinstance(call, Call) else "cast" if isinstance(call, Cast) else "when"
        raise Fails(f"{name}: {error}") from None
    if values:
        tried.add((made, str(columns)))


def _stack(node: n.Node, schemas: list[pl.Schema]) -> None:
    made = with_inputs(node, tuple(n.Scan(f"#{i}") for i in range(len(schemas))))
    for rows in (0, _MOST_ROWS):
        sources = {f"#{i}": _rows(schema).head(rows).lazy() for i, schema in enumerate(schemas)}
        try:
            lower(made, sources).collect()
        except (PolarsError, PanicException) as error:
            raise Fails(f"{type(node).__name__.lower()}: {error}") from None


def _rows(schema: pl.Schema) -> pl.DataFrame:
    """Return rows in which each column has all values of its type."""
    values = {name: _values(dtype) for name, dtype in schema.items()}
    most = max(map(len, values.values()), default=0)
    return pl.DataFrame({name: v.gather([i % len(v) for i in range(most)]) for name, v in values.items()})


def _total(call: Tries) -> bool:
    """Whether something is given for every value of the columns that a call is made of."""
    if not isinstance(call, Call):
        return True
    guesses = call.function in GUESSES and call.option("format", None) is None
    written = call.function in TAKES_COLUMNS or all(map(written_down, call.args[1:]))
    return call.function in TOTAL and not guesses and written


def _dtype(expr: Expr, schemas: list[pl.Schema]) -> pl.DataType | None:
    """Return the type of an argument, as the engine has it; None where it has none by itself."""
    for schema in schemas:
        try:
            return pl.DataFrame(schema=schema).lazy().select(lower_expr(expr).alias("#")).collect_schema()["#"]
        except PolarsError:
            continue
    return None


def _frame(columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Return rows of the values of each type, each beside each other as far as there are not too many."""
    values = [_values(dtype) for dtype in columns.values()]
    if math.prod(map(len, values)) <= _MOST_ROWS:
        rows = list(itertools.product(*(range(len(v)) for v in values)))
    else:
        # each beside each other one of the next column at least
        size = max(map(len, values)) ** 2
        rows = [tuple((i // len(v) if at % 2 else i) % len(v) for at, v in enumerate(values)) for i in range(size)]
    return pl.DataFrame(
        [
            v.gather([row[at] for row in rows]).alias(name)
            for at, (name, v) in enumerate(zip(columns, values, strict=True))
        ]
    )


@functools.lru_cache(maxsize=256)
def _values(dtype: pl.DataType) -> pl.Series:
    """Return a missing value, ordinary ones, and those at the ends of a type."""
    none = pl.Series([None], dtype=dtype)
    match dtype:
        case pl.List():
            return pl.concat([none, pl.Series([[]], dtype=dtype), _alone(_values(dtype.inner))])
        case pl.Array():
            each = _alone(_values(dtype.inner)).alias("x")
            repeated = each.to_frame().select(pl.concat_list(["x"] * dtype.size)).to_series().list.to_array(dtype.size)
            return pl.concat([none, repeated.cast(dtype)])
        case pl.Struct():
            fields = {f.name: _values(f.dtype) for f in dtype.fields}
            most = max(map(len, fields.values()), default=0)
            rows = {name: v.gather([i % len(v) for i in range(most)]) for name, v in fields.items()}
            return pl.concat([none, pl.DataFrame(rows).to_struct().cast(dtype)]) if most else none
    kept = pl.Int64() if dtype.is_temporal() else dtype
    return pl.concat([none, pl.Series(_ends(dtype), dtype=kept).cast(dtype)])


def _alone(values: pl.Series) -> pl.Series:
    """Return lists of one value each."""
    return pl.Series([values.slice(i, 1) for i in range(len(values))], dtype=pl.List(values.dtype))


def _ends(dtype: pl.DataType) -> list[Any]:
    """Return values of a type that is not made of others, dates and times as the whole numbers that they are kept as."""
    match dtype:
        case pl.Enum():
            return [*dtype.categories[:1], *dtype.categories[-1:]]
        case pl.String() | pl.Categorical():
            return ["a", "", "\u00e9 Z", "1", "-1e99"]
        case pl.Binary():
            return [b"a", b"", b"\xff"]
        case pl.Boolean():
            return [True, False]
        case pl.Date():
            return [1, *_CALENDAR]
        case pl.Datetime(time_unit="ns"):
            return [1, -(2**63) + 1, 2**63 - 1]
        case pl.Datetime(time_unit=unit):
            return [1, *(day * _DAY * _PARTS[unit] for day in _CALENDAR)]
        case pl.Duration(time_unit="ns"):
            return [1, 0, -(2**63) + 1, 2**63 - 1]
        case pl.Duration(time_unit=unit):
            return [1, 0, *(sign * _CALENDAR[1] * _DAY * _PARTS[unit] for sign in (1, -1))]
        case pl.Time():
            return [1, 0, _DAY * 10**9 - 1]
        case _ if dtype.is_integer():
            return [1, 0, *(pl.select(end()).item() for end in (dtype.min, dtype.max))]  # type: ignore[attr-defined]
        case _ if dtype.is_float():
            return [1.0, -0.0, 1.7e308, math.nan, math.inf, -math.inf]
        case _ if dtype.is_decimal():
            return [1, 0, -1]
        case _:
            return []
