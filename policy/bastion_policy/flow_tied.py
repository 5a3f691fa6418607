"""Tied values as tables of cells: value_counts, mode, unique and hist are a group_by and free steps behind it.

INVARIANT: nothing here releases anything by itself. What is judged, measured and run is a group_by with the values (or
the bins) as key and their rows as the only number; all that follows reads what the group_by releases. So a value is shown
exactly where that group_by would show it, and no step can see a cell that is not. The remainder row is no value: it is
marked, and taken out again where values alone are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import msgspec
from bastion_plan import nodes as n
from bastion_plan.dtypes import BOOLEAN, FLOAT64, INT64, STRING, UINT32, DType, Schema
from bastion_plan.expressions import Alias, AnyExpr, Call, Cast, Column, Expr, Literal, Over, Ternary, children
from bastion_plan.nodes import AnyNode

from bastion_policy.boundary import REST, call
from bastion_policy.flow_expressions import join_sources
from bastion_policy.flow_trees import columns_in, number, output_name, reduces, with_children
from bastion_policy.lineage import OWN, Frame, Kind, Typed, Value

#: functions of one column that give values together with how often they occur
TIED = frozenset({"value_counts", "mode", "unique", "hist"})
#: edges of a histogram, at most
MAX_EDGES = 1000
NOT_REST = call("not_", Column(REST))


class Cells(Protocol):
    """What is needed of the typing of nodes."""

    def cells(
        self, below: Typed, keys: Sequence[AnyExpr], aggs: Sequence[AnyExpr], schema: Schema, *, marked: bool
    ) -> Typed:
        """Return the boundary that groups private rows."""
        ...

    def narrow(self, below: Typed, predicate: AnyExpr) -> Typed:
        """Return the private rows for which a predicate holds."""
        ...


@dataclass(frozen=True)
class Leaf:
    """A tied-value function within an expression, and what is done with its values."""

    call: Call
    path: tuple[Expr, ...]

    def over(self, values: AnyExpr) -> AnyExpr:
        """Return the whole expression with `values` in the function's place."""
        found: AnyExpr = values
        below: Expr = self.call
        for outer in reversed(self.path):
            found = with_children(outer, [found if c is below else c for c in children(outer)])
            below = outer
        return found


def leaf(expr: Expr) -> Leaf | None:
    """Return the tied-value function in an expression that reads nothing else but constants."""
    path: list[Expr] = []
    while True:
        if isinstance(expr, Call) and expr.function in TIED:
            return Leaf(expr, tuple(path))
        below = children(expr)
        inner = [c for c in below if not _constant(c)]
        if isinstance(expr, Over) or len(inner) != 1:
            return None
        path.append(expr)
        expr = inner[0]


def _constant(expr: Expr) -> bool:
    return isinstance(expr, Literal) or number(expr) is not None


def select(typing: Cells, expr: AnyExpr, below: Typed, schema: Schema, dtype: DType) -> Typed | None:
    """Return select(expr) as cells, None where it is no tied-value function of one column.

    dtype: of the tied-value function itself. schema: of the select.
    """
    found = leaf(expr)
    if found is None:
        return None
    predicates: list[AnyExpr] = []
    key = _rows(found.call.args[0], predicates)
    if not columns_in(key) or reduces(key) or _windowed(key):
        return None
    make = {"unique": _unique, "mode": _mode, "value_counts": _value_counts, "hist": _hist}[found.call.function]
    if make is _hist and _edges(found.call) is None:
        return None
    if len({name for name, _ in dtype.fields}) < len(dtype.fields):
        return None  # counts named like their values are an error
    for predicate in predicates:
        below = typing.narrow(below, predicate)
    name = output_name(expr)
    values = make(typing, found.call, key, below, name, dtype)
    return then(values, n.Select(values.node, (Alias(_bare(found.over(Column(name))), name),)), schema)


def _bare(expr: AnyExpr) -> AnyExpr:
    return _bare(expr.input) if isinstance(expr, Alias) else expr


def _windowed(expr: Expr) -> bool:
    return isinstance(expr, Over) or any(map(_windowed, children(expr)))


def _rows(expr: Expr, predicates: list[AnyExpr]) -> AnyExpr:
    """Return the values without their inner filters, which are added to `predicates`."""
    match expr:
        case Alias(input=inner):
            return _rows(inner, predicates)
        case Call(function="filter", args=(inner, *conditions)):
            key = _rows(inner, predicates)
            predicates.extend(conditions)
            return key
        case Call(function="drop_nulls", args=(inner,)):
            key = _rows(inner, predicates)
            predicates.append(call("is_not_null", key))
            return key
        case _:
            return expr  # type: ignore[return-value]


def then(below: Typed, node: AnyNode, schema: Schema, *more: Typed) -> Typed:
    """Return a step behind a boundary."""
    value = Value(join_sources(v for t in (below, *more) for v in t.frame.columns.values()))
    return Typed(node, Frame(Kind.RELEASED, dict.fromkeys(schema, value), schema), (below, *more))


def distinct(typing: Cells, keys: Sequence[AnyExpr], below: Typed, schema: Schema) -> Typed:
    """Return the distinct values of some columns: the keys of a group_by, without the remainder row."""
    cells = typing.cells(below, keys, (), schema, marked=True)
    shown = then(cells, n.Filter(cells.node, NOT_REST), cells.frame.schema)
    chosen = n.Select(shown.node, tuple(Column(output_name(k)) for k in keys))
    made = then(shown, chosen, schema)
    return replace(made, frame=replace(made.frame, unique=frozenset(schema)))


def projected(node: AnyNode) -> n.Unique | None:
    """Return the unique(subset) below a select of columns of the subset only, which reads no other column of any row."""
    match node:
        case n.Select(input=n.Unique(subset=subset, keep="any" | "first" | "last") as below, exprs=exprs) if subset:
            names = {k.name for k in subset if isinstance(k, Column)}
            plain = all(isinstance(k, Column) for k in subset)
            return below if plain and all(columns_in(e) <= names for e in exprs) else None
        case _:
            return None


def project(typing: Cells, node: n.Unique, below: Typed) -> Typed:
    """Return the distinct values of the subset of a unique(subset)."""
    keys = tuple(k for k in dict.fromkeys(node.subset or ()) if isinstance(k, Column))
    return distinct(typing, keys, below, {k.name: below.frame.schema[k.name] for k in keys})


def _unique(typing: Cells, _: Call, key: AnyExpr, below: Typed, name: str, dtype: DType) -> Typed:
    return distinct(typing, (_named(key, name),), below, {name: dtype})


def _mode(typing: Cells, _: Call, key: AnyExpr, below: Typed, name: str, dtype: DType) -> Typed:
    """The values of the largest cells that are shown.

    INVARIANT: counts that are not released decide nothing, neither which value is the most frequent nor what is tied.
    """
    count = "len" if name != "len" else "count"
    schema = {name: dtype, count: UINT32}
    cells = typing.cells(below, (_named(key, name),), (Alias(Call("pl.len"), count),), schema, marked=True)
    shown = then(cells, n.Filter(cells.node, NOT_REST), cells.frame.schema)
    most = call("eq", Column(count), call("max", Column(count)))
    largest = then(shown, n.Filter(shown.node, most), cells.frame.schema)
    return then(largest, n.Select(largest.node, (Column(name),)), {name: dtype})


def _value_counts(typing: Cells, asked: Call, key: AnyExpr, below: Typed, name: str, dtype: DType) -> Typed:
    """group_by(x).agg(pl.len()) as one column of structs, remainder row included."""
    (field, kind), (count, _) = dtype.fields
    schema = {field: kind, count: UINT32}
    made = typing.cells(below, (_named(key, field),), (Alias(Call("pl.len"), count),), schema, marked=False)
    if asked.option("sort", False):
        made = then(made, n.Sort(made.node, (Column(count),), (True,), (True,), maintain_order=True), schema)
    number: AnyExpr = Column(count)
    if asked.option("normalize", False):
        number = Alias(call("truediv", number, call("sum", number)), count)
    return then(made, n.Select(made.node, (Alias(call("pl.struct", Column(field), number), name),)), {name: dtype})


def _named(expr: AnyExpr, name: str) -> AnyExpr:
    return expr if isinstance(expr, Column) and expr.name == name else Alias(expr, name)


# -- histograms


def _edges(asked: Call) -> tuple[float, ...] | None:
    """Return the edges of a histogram if they are constants that rise."""
    if len(asked.args) != 2 or asked.option("bin_count", None) is not None:
        return None
    bins = asked.args[1]
    if not isinstance(bins, Literal) or not isinstance(bins.value, tuple) or not 2 <= len(bins.value) <= MAX_EDGES:
        return None
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in bins.value):
        return None
    edges = tuple(map(float, bins.value))
    rising = all(a < b for a, b in pairwise(edges))
    return edges if rising and all(map(math.isfinite, edges)) else None


def _hist(typing: Cells, asked: Call, key: AnyExpr, below: Typed, name: str, dtype: DType) -> Typed:
    """A group_by of bins, brought to the list of all bins.

    INVARIANT: a bin of nobody and one of fewer than k people are the same: 0 where nothing was put together, else null.
    Which of the two depends on the remainder row alone, which the group_by shows.
    """
    edges = _edges(asked)
    assert edges is not None
    # the first bin holds both its edges, the others the right one; below, above and missing are cells of their own
    breaks = (math.nextafter(edges[0], -math.inf), *edges[1:])
    labels = tuple(str(i) for i in range(-1, len(edges)))
    bins = call("cut", key, breaks=breaks, labels=labels)
    count = f"{OWN}count"
    schema: Schema = {name: STRING, count: UINT32}
    keys, aggs = (Alias(Cast(bins, STRING), name),), (Alias(Call("pl.len"), count),)
    counted = typing.cells(below, keys, aggs, schema, marked=True)
    unsure = call("any", call("or_", Column(REST), call("is_null", Column(count))))
    partly = then(counted, n.Select(counted.node, (Alias(unsure, _PARTLY),)), {_PARTLY: BOOLEAN})
    shown = then(counted, n.Filter(counted.node, NOT_REST), counted.frame.schema)
    number = Cast(Cast(Column(name), INT64, strict=False), UINT32, strict=False)
    found = then(shown, n.Select(shown.node, (Alias(number, _BIN), Column(count))), {_BIN: UINT32, count: UINT32})
    return _all_bins(asked, found, partly, count, name, dtype)


_BIN, _EDGES, _PARTLY = f"{OWN}bin", f"{OWN}edges", f"{OWN}partly"


def _all_bins(asked: Call, found: Typed, partly: Typed, count: str, name: str, dtype: DType) -> Typed:
    """Return all bins in order, with the counts that were found."""
    nobody = _public(n.Inline((n.InlineColumn(name, FLOAT64),)), {name: FLOAT64})
    empty = msgspec.structs.replace(asked, args=(Column(name), asked.args[1]))
    edges = _public(n.Select(nobody.node, (Alias(empty, _EDGES),)), {_EDGES: dtype}, nobody)
    bins = _public(n.WithRowIndex(edges.node, _BIN), {_BIN: UINT32, _EDGES: dtype}, edges)
    schema: Schema = {**bins.frame.schema, _PARTLY: BOOLEAN}
    beside = then(bins, n.Join(bins.node, partly.node, how="cross"), schema, partly)
    on = (Column(_BIN),)
    schema = {**schema, count: UINT32}
    joined = then(beside, n.Join(beside.node, found.node, "left", on, on, maintain_order="left"), schema, found)
    ordered = then(joined, n.Sort(joined.node, on), schema)
    zero = call("fill_null", Column(count), Literal(UINT32, 0))
    counted: AnyExpr = Cast(Ternary(Column(_PARTLY), Column(count), zero), UINT32)
    if dtype.kind == "Struct":
        fields = [f for f, _ in dtype.fields]
        known = [Alias(call("struct.field", Column(_EDGES), name=f), f) for f in fields[:-1]]
        counted = call("pl.struct", *known, Alias(counted, fields[-1]))
    return then(ordered, n.Select(ordered.node, (Alias(counted, name),)), {name: dtype})


def _public(node: AnyNode, schema: Schema, *below: Typed) -> Typed:
    return Typed(node, Frame(Kind.PUBLIC, dict.fromkeys(schema, Value()), schema), below)
