"""Writes plans as Polars is written, without a server: `Q("t").group_by("g").agg(pl.col("x").mean()).plan`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars
from bastion_plan import nodes as n
from bastion_plan.dtypes import DType
from bastion_server.engine.dtypes import from_polars

from bastion.expr.core import as_plan


def exprs(*given: Any, **named: Any) -> tuple[Any, ...]:
    flat = [e for g in given for e in (g if isinstance(g, list | tuple) else [g])]
    flat += [_alias(e, name) for name, e in named.items()]
    return tuple(as_plan(e, string_is_column=True) for e in flat)


def _alias(expr: Any, name: str) -> Any:
    return expr.alias(name)


class Q:
    def __init__(self, source: str | n.Node) -> None:
        self.plan: Any = n.Scan(source) if isinstance(source, str) else source

    def filter(self, *predicates: Any) -> Q:
        plan = self.plan
        for predicate in predicates:
            plan = n.Filter(plan, as_plan(predicate))
        return Q(plan)

    def select(self, *given: Any, **named: Any) -> Q:
        return Q(n.Select(self.plan, exprs(*given, **named)))

    def with_columns(self, *given: Any, **named: Any) -> Q:
        return Q(n.WithColumns(self.plan, exprs(*given, **named)))

    def group_by(self, *keys: Any, maintain_order: bool = False) -> Grouped:
        return Grouped(self.plan, exprs(*keys), maintain_order)

    def join(self, other: Q, on: Any = None, how: str = "inner", left_on: Any = None, right_on: Any = None) -> Q:
        left, right = exprs(left_on or on or []), exprs(right_on or on or [])
        return Q(n.Join(self.plan, other.plan, how, left, right))

    def head(self, length: int = 5) -> Q:
        return Q(n.Slice(self.plan, 0, length))

    def slice(self, offset: int, length: int | None = None) -> Q:
        return Q(n.Slice(self.plan, offset, length))

    def sort(self, *by: Any, descending: bool = False) -> Q:
        return Q(n.Sort(self.plan, exprs(*by), (descending,)))

    def top_k(self, k: int, by: Any) -> Q:
        return Q(n.TopK(self.plan, k, exprs(by)))

    def unique(self, *subset: Any) -> Q:
        return Q(n.Unique(self.plan, exprs(*subset) or None))

    def sample(self, count: int) -> Q:
        return Q(n.Sample(self.plan, count, seed=1))

    def drop_nulls(self, *subset: Any) -> Q:
        return Q(n.DropNulls(self.plan, exprs(*subset) or None))

    def unpivot(self, on: Sequence[str], index: Sequence[str] = ()) -> Q:
        return Q(n.Unpivot(self.plan, exprs(*on), exprs(*index)))

    def explode(self, *columns: str) -> Q:
        return Q(n.Explode(self.plan, exprs(*columns)))

    def with_row_index(self, name: str = "index") -> Q:
        return Q(n.WithRowIndex(self.plan, name))

    def of(self, node: type[n.Node], *args: Any, **options: Any) -> Q:
        return Q(node(self.plan, *args, **options))


class Grouped:
    def __init__(self, plan: Any, keys: tuple[Any, ...], maintain_order: bool) -> None:
        self.plan, self.keys, self.maintain_order = plan, keys, maintain_order

    def agg(self, *given: Any, **named: Any) -> Q:
        return Q(n.GroupBy(self.plan, self.keys, exprs(*given, **named), self.maintain_order))


def concat(*parts: Q) -> Q:
    return Q(n.Concat(tuple(p.plan for p in parts)))


def inline(columns: Mapping[str, Sequence[Any]]) -> Q:
    made = []
    for name, values in columns.items():
        dtype: DType = from_polars(polars.Series(name, list(values)).dtype)
        made.append(n.InlineColumn(name, dtype, tuple(values)))
    return Q(n.Inline(tuple(made)))
