"""group_by_dynamic and pivot of private rows as a group_by, with free steps behind it.

INVARIANT: as for tied values, what is judged, measured and run is the group_by: by the start of each window, and by index
and `on` of a pivot. Windows that overlap, or start where the data does, are no group_by and go to review.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from bastion_plan import nodes as n
from bastion_plan.dtypes import BOOLEAN, DYN_INT, INT64, STRING, Schema
from bastion_plan.expressions import Alias, AnyExpr, Call, Cast, Column, Expr, Literal, Ternary
from bastion_plan.typing import expr_dtype

from bastion_policy.boundary import REST, call
from bastion_policy.flow_tied import NOT_REST, Cells, then
from bastion_policy.flow_trees import output_name, reduces
from bastion_policy.lineage import OWN, Typed

if TYPE_CHECKING:
    from bastion_plan.dtypes import DType

_EVERY = re.compile(r"([1-9][0-9]{0,8})(ns|us|ms|s|m|h|d|w|mo|q|y|i)")
#: units of whole days, the only ones that dates take
_DAYS = frozenset({"d", "w", "mo", "q", "y"})
#: what a pivot makes of its values, where the order of rows decides nothing
_PIVOTED = frozenset({"sum", "mean", "median", "min", "max", "len"})
_PARTLY = f"{OWN}partly"


def dynamic(typing: Cells, node: n.GroupByDynamic, below: Typed, schema: Schema) -> Typed | None:
    """Return a group_by_dynamic as a group_by of the starts of its windows; None where it is none."""
    name = output_name(node.index)
    every = _EVERY.fullmatch(node.every)
    plain = node.period in (None, node.every) and node.offset is None and node.start_by == "window"
    if every is None or not plain or node.closed != "left" or node.label != "left" or reduces(node.index):
        return None
    length, unit, dtype = int(every[1]), every[2], expr_dtype(node.index, below.frame.schema)
    if not _fits(dtype, unit):
        return None
    index = node.index.input if isinstance(node.index, Alias) else node.index
    whole = dtype.is_integer
    step = Literal(DYN_INT, length)
    start = call("floordiv", index, step) if whole else call("dt.truncate", index, Literal(STRING, node.every))
    keys = (*node.group_by, Alias(start, name))
    cells_schema = {c: t for c, t in schema.items() if not _edge(node, c)}
    made = typing.cells(below, keys, node.aggs, cells_schema, marked=False)
    # in wide numbers: the start of a narrow type's first window may lie below the type
    at: AnyExpr = call("mul", Cast(Column(name), INT64), step) if whole else Column(name)
    shown: list[AnyExpr] = []
    for column, kind in schema.items():
        if _edge(node, column):
            after = (
                call("add", at, step) if whole else call("dt.offset_by", Cast(at, kind), Literal(STRING, node.every))
            )
            shown.append(Alias(Cast(at if column == "_lower_boundary" else after, kind, strict=False), column))
        else:
            shown.append(Alias(Cast(at, kind, strict=False), name) if column == name and whole else Column(column))
    started = then(made, n.Select(made.node, tuple(shown)), schema)
    by = tuple(Column(output_name(k)) for k in keys)
    return then(started, n.Sort(started.node, by, nulls_last=(True,)), schema)


def _edge(node: n.GroupByDynamic, column: str) -> bool:
    return node.include_boundaries and column in ("_lower_boundary", "_upper_boundary")


def _fits(dtype: DType, unit: str) -> bool:
    if dtype.is_integer:
        return unit == "i"
    if dtype.kind == "Date":
        return unit in _DAYS
    # local times have days of 23 and 25 hours, where windows and truncation part
    return dtype.kind == "Datetime" and dtype.zone is None and unit != "i"


def pivot(typing: Cells, node: n.Pivot, below: Typed, schema: Schema) -> Typed | None:
    """Return a pivot as a group_by of index and `on`, whose cells are pivoted; None where single rows would be shown.

    INVARIANT: which columns there are is the asker's own list. A cell of nobody and one of fewer than k people are the
    same: null, or in sums and counts 0 unless something was put together.
    """
    if node.aggregate not in _PIVOTED or not node.index or not node.values:
        return None
    names = (*node.index, node.on, *node.values)
    if len(set(names)) != len(names):
        return None
    keys = tuple(Column(c) for c in (*node.index, node.on))
    aggs: tuple[AnyExpr, ...] = tuple(Alias(_aggregate(node.aggregate, c), c) for c in node.values)
    cells_schema: Schema = {k.name: below.frame.schema[k.name] for k in keys}
    cells_schema |= {a.name: expr_dtype(a, below.frame.schema) for a in aggs if isinstance(a, Alias)}
    cells = typing.cells(below, keys, aggs, cells_schema, marked=True)
    unsure: AnyExpr = Column(REST)
    for value in node.values:
        unsure = call("or_", unsure, call("is_null", Column(value)))
    partly: Schema = {**cells.frame.schema, _PARTLY: BOOLEAN}
    flagged = then(cells, n.WithColumns(cells.node, (Alias(call("any", unsure), _PARTLY),)), partly)
    shown = then(flagged, n.Filter(flagged.node, NOT_REST), partly)
    index = (*node.index, _PARTLY)
    wide_schema: Schema = {_PARTLY: BOOLEAN, **schema}
    wide = msgspec.structs.replace(node, input=shown.node, index=index, aggregate="first")
    spread = then(shown, wide, wide_schema)
    exprs = tuple(Column(c) if c in node.index else _filled(node, c, schema[c]) for c in schema)
    return then(spread, n.Select(spread.node, exprs), schema)


def _aggregate(function: str, column: str) -> AnyExpr:
    return Call("pl.len") if function == "len" else call(function, Column(column))


def _filled(node: n.Pivot, column: str, dtype: DType) -> AnyExpr:
    value: AnyExpr = Column(column)
    if node.aggregate in ("sum", "len"):
        zero: Expr = Cast(Literal(DYN_INT, 0), dtype)
        value = Ternary(Column(_PARTLY), value, call("fill_null", value, zero))
    return Alias(Cast(value, dtype), column)
