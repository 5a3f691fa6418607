"""Rewrites of a typed plan: hidden columns masked, units carried along, predicates left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import msgspec
from bastion_plan import nodes as n
from bastion_plan.dtypes import FLOAT64, INT64, NULL, STRING, DType
from bastion_plan.expressions import Alias, AnyExpr, Call, Cast, Column, Expr, Literal
from bastion_plan.functions.registry import find
from bastion_plan.inlining import with_inputs
from bastion_plan.nodes import AnyNode, Node
from bastion_plan.schemas import fills

from bastion_policy.boundary import Boundary, call
from bastion_policy.facts import DatasetFacts
from bastion_policy.flow_order import kept_orders, order_below, reordered
from bastion_policy.flow_trees import output_name, rewrite
from bastion_policy.lineage import Occurrence, Typed, Value
from bastion_policy.roles import RoleKind

MASK = "*"


def masked_scan(scan: n.Scan, facts: DatasetFacts) -> AnyNode:
    """Return a scan whose hidden columns hold `*` (text) or nulls.

    INVARIANT: every plan that runs goes through here, so no hidden value is ever in a frame, whatever the typing says.
    """
    hidden = [c for c in facts.columns if c.role.kind is RoleKind.HIDDEN]
    if not hidden:
        return scan
    exprs = []
    for column in hidden:
        value: AnyExpr = Literal(STRING, MASK) if column.dtype == STRING else Cast(Literal(NULL), column.dtype)
        exprs.append(Alias(value, column.name))
    return n.WithColumns(scan, tuple(exprs))


def masked(node: Node, facts: Mapping[str, DatasetFacts]) -> Node:
    """Return the plan with the hidden columns of every scan masked."""
    if isinstance(node, n.Scan):
        return masked_scan(node, facts[node.dataset]) if node.dataset in facts else node
    return with_inputs(node, tuple(masked(i, facts) for i in n.inputs(node)))


def lenient(expr: Expr) -> AnyExpr:
    """Return the expression with conversions that give null where they would fail.

    INVARIANT: below a boundary no value of a private row may decide whether the query fails.
    """
    return rewrite(expr, forgiving)


def forgiving(expr: AnyExpr) -> AnyExpr:
    """Return a conversion as one that gives null where it would fail; what stands in it stays as it is."""
    if isinstance(expr, Cast) and expr.strict:
        return msgspec.structs.replace(expr, strict=False)
    if isinstance(expr, Call):
        function = find(expr.function)
        names = {o.name for o in function.options} if function is not None else set()
        wanted = {k: v for k, v in (("strict", False), ("null_on_oob", True)) if k in names}
        if wanted:
            return msgspec.structs.replace(expr, options=tuple(sorted((dict(expr.options) | wanted).items())))
    return expr


@dataclass
class Rewriter:
    """Builds runnable plans from the private part of a typed plan.

    done: what stands in for boundaries below that were judged already, by identity.
    carry: whether units (and after pre-aggregations their numbers of source rows) are carried along.
    whole: whether predicates are left out, which gives the whole table.
    rows: whether the numbers of source rows are carried along (lists of them after pre-aggregations).
    without: predicates that are left out, by identity of their typed nodes; what stays of them, if anything.
    """

    facts: Mapping[str, DatasetFacts]
    done: Mapping[int, Node] = field(default_factory=dict)
    carry: bool = False
    whole: bool = False
    rows: bool = False
    without: Mapping[int, Expr | None] = field(default_factory=dict)

    def build(self, typed: Typed) -> AnyNode:
        """Return the plan of a typed node.

        INVARIANT: its rows come in the order in which they are stored, whatever sorts and stacks there were on the way.
        """
        if id(typed) in self.done or not reordered(typed):
            return self._build(typed, ordered=False)
        depths = nesting(typed)
        rows: dict[str, tuple[AnyExpr, ...]] = {}
        for o in typed.frame.occurrences:
            if not depths.get(o.index, 0):
                rows[o.dataset] = (*rows.get(o.dataset, ()), Column(o.row))
        by = [call("pl.coalesce", *columns) for columns in rows.values()] + [c for cs in rows.values() for c in cs]
        numbered = replace(self, rows=True)._build(typed, ordered=False)
        plan = n.Sort(numbered, tuple(by)) if by else numbered
        return n.Select(plan, (*map(Column, typed.frame.schema), *self._carried(typed)))

    def _build(self, typed: Typed, *, ordered: bool) -> AnyNode:
        """Return the plan of a typed node. ordered: whether the order of its rows is read."""
        if id(typed) in self.done:
            return self.done[id(typed)]  # type: ignore[return-value]
        node = typed.node
        if not typed.frame.private:
            return with_inputs(node, tuple(self._build(t, ordered=False) for t in typed.inputs))  # type: ignore[return-value]
        if isinstance(node, n.Scan):
            return self._scan(typed, node)
        kept = self.without.get(id(typed))
        loose = self.whole or (id(typed) in self.without and kept is None)
        left_out = isinstance(node, n.Filter | n.DropNulls) and loose
        if left_out or (isinstance(node, n.Sort | n.Reverse) and not ordered):
            return self._build(typed.inputs[0], ordered=ordered)
        ordered = order_below(typed, ordered)
        below = tuple(self._build(t, ordered=ordered) for t in typed.inputs)
        match node:
            case n.Select(exprs=exprs):
                return n.Select(below[0], tuple(map(lenient, exprs)) + self._carried(typed))
            case n.WithColumns(exprs=exprs):
                return n.WithColumns(below[0], tuple(map(lenient, exprs)))
            case n.Filter(predicate=predicate):
                return n.Filter(below[0], lenient(predicate if kept is None else kept))
            case n.GroupBy():
                return self._pre_aggregate(typed, node, below[0])
            case n.Join():
                return self._join(typed, node, below)
            case n.Concat():
                return self._concat(typed, node, below)
            case n.Unpivot(index=index):
                columns = self._carried(typed.inputs[0])
                plan = msgspec.structs.replace(node, input=below[0], index=(*index, *columns), on=self._on(typed, node))
                turns = {o.turn for o in typed.frame.occurrences if o.index in turned(typed)} if self.rows else set()
                fresh = sorted(turns - {c.name for c in columns})
                variable = Cast(Column(node.variable_name), STRING)
                return n.WithColumns(plan, tuple(Alias(variable, name) for name in fresh)) if fresh else plan
            case n.Sort(by=by):
                return msgspec.structs.replace(node, input=below[0], by=tuple(map(lenient, by)))
            case n.JoinAsof():
                on = {"left_on": lenient(node.left_on), "right_on": lenient(node.right_on)}
                return msgspec.structs.replace(node, left=below[0], right=below[1], **on)
            case n.FillNull(value=value) if isinstance(value, Literal):
                return self._fill(typed, node, value, below[0])
            case n.DropNulls(subset=None, nans=nans):
                schema = typed.frame.schema
                visible = (c for c, v in typed.frame.columns.items() if not self._hidden(v))
                plain = tuple(Column(c) for c in visible if not nans or schema[c].is_float)
                if nans and not plain:
                    return below[0]
                return msgspec.structs.replace(node, input=below[0], subset=plain)
            case _:
                return with_inputs(node, below)  # type: ignore[return-value]

    def _hidden(self, value: Value) -> bool:
        return any(self.facts[s.dataset].column(s.column).role.kind is RoleKind.HIDDEN for s in value.sources)

    def _fill(self, typed: Typed, node: n.FillNull, value: Literal, below: AnyNode) -> AnyNode:
        """Column by column, so that what is carried along stays as it is."""
        function = "fill_nan" if node.nans else "fill_null"
        exprs = []
        for name, dtype in typed.inputs[0].frame.schema.items():
            if dtype.is_float if node.nans else fills(value, dtype):
                exprs.append(Alias(call(function, Column(name), value), name))
        return n.WithColumns(below, tuple(exprs)) if exprs else below

    def _on(self, typed: Typed, node: n.Unpivot) -> tuple[AnyExpr, ...] | None:
        if node.on is not None:
            return node.on
        index = {e.name for e in node.index if isinstance(e, Column)}
        return tuple(Column(c) for c in typed.inputs[0].frame.schema if c not in index)

    def carried(self, typed: Typed) -> tuple[str, ...]:
        """Return the names of the columns that are carried along in a frame."""
        occurrences = typed.frame.occurrences if typed.frame.private else ()
        units = (*(o.unit for o in occurrences), *(o.weight for o in occurrences)) if self.carry else ()
        if not self.rows:
            return units
        apart = turned(typed) if occurrences else frozenset()
        return (*units, *(o.row for o in occurrences), *(o.turn for o in occurrences if o.index in apart))

    def _carried(self, typed: Typed) -> tuple[Column, ...]:
        return tuple(Column(c) for c in self.carried(typed))

    def _scan(self, typed: Typed, scan: n.Scan) -> AnyNode:
        facts, occurrence = self.facts[scan.dataset], typed.occurrence
        assert isinstance(occurrence, Occurrence)
        numbered: AnyNode = n.WithRowIndex(scan, occurrence.row) if self.rows else scan
        mask = masked_scan(scan, facts)
        if self.carry:
            weight = Alias(Literal(INT64, 1), occurrence.weight)
            if facts.unit is None:
                numbered = n.WithColumns(n.WithRowIndex(numbered, occurrence.unit), (weight,))
            else:
                # taken before masking: the unit may be hidden itself
                numbered = n.WithColumns(numbered, (Alias(Column(facts.unit), occurrence.unit), weight))
        return n.WithColumns(numbered, mask.exprs) if isinstance(mask, n.WithColumns) else numbered

    def _pre_aggregate(self, typed: Typed, node: n.GroupBy, below: AnyNode) -> AnyNode:
        keys: list[AnyExpr] = [lenient(k) for k in node.keys]
        aggs: list[AnyExpr] = [lenient(a) for a in node.aggs]
        for o in typed.frame.occurrences:
            if self.carry:
                keys.append(Column(o.unit))
                aggs.append(Alias(call("sum", Column(o.weight)), o.weight))
            if self.rows:
                aggs.append(Alias(call("implode", Column(o.row)), o.row))
        plan: AnyNode = n.GroupBy(below, tuple(keys), tuple(aggs), node.maintain_order)
        if not kept_orders(typed.inputs[0], ordered=order_below(typed, False), through=False):
            return plan
        # so that nothing but the aggregates tells the order of the rows
        names = [output_name(k) for k in keys]
        nested = [c for c in names if c in typed.frame.schema and typed.frame.schema[c].is_nested]
        return n.Sort(plan, tuple(Column(c) for c in names if c not in nested))

    def _join(self, typed: Typed, node: n.Join, below: tuple[AnyNode, ...]) -> AnyNode:
        left, right = typed.inputs
        how = node.how
        loose = self.whole or id(typed) in self.without
        if loose and how in ("semi", "anti"):
            return below[0]
        if how in ("semi", "anti") and right.frame.private and (self.carry or self.rows):
            below = (below[0], Rewriter(self.facts, self.done, False, self.whole)._build(right, ordered=False))
        if left.frame.private and not right.frame.private and how in ("inner", "left"):
            below = (below[0], _once_each(right, below[1]))
            how = "left" if loose else how
        return msgspec.structs.replace(
            node,
            left=below[0],
            right=below[1],
            how=how,
            left_on=tuple(map(lenient, node.left_on)),
            right_on=tuple(map(lenient, node.right_on)),
            validate="m:m",
            # INVARIANT: rows stay in the order they have, whatever keys they are found by
            maintain_order="left" if left.frame.private and how not in ("semi", "anti", "cross") else "none",
        )

    def _concat(self, typed: Typed, node: n.Concat, below: tuple[AnyNode, ...]) -> AnyNode:
        everything = self.carried(typed)
        if not everything:
            return msgspec.structs.replace(node, inputs=below)
        inputs = []
        for part, plan in zip(typed.inputs, below, strict=True):
            missing = [c for c in everything if c not in self.carried(part)]
            empty = tuple(Alias(Literal(NULL), c) for c in missing)
            inputs.append(n.WithColumns(plan, empty) if empty else plan)
        return n.Concat(tuple(inputs), "diagonal_relaxed")


def _once_each(typed: Typed, plan: AnyNode) -> AnyNode:
    """Return a table that is nobody's with one row for each of its keys, as its flow type says it has.

    INVARIANT: whatever a step did to the table, no row of a person is repeated by a join with it. Nothing is left out but
    the missing keys of remainder rows, which match nothing, and one that is called as a shown cell is.
    """
    unique = typed.frame.unique
    if unique is None or (isinstance(typed.boundary, Boundary) and typed.boundary.window):
        return plan
    if not unique:
        return n.Slice(plan, 0, 1)
    return n.Unique(plan, tuple(map(Column, sorted(unique))), "first", maintain_order=True)


def nesting(typed: Typed) -> dict[int, int]:
    """Return, by occurrence, how often its rows were put into lists on the way: once per pre-aggregation."""
    if typed.occurrence is not None:
        return {typed.occurrence.index: 0}
    found: dict[int, int] = {}
    for below in typed.inputs:
        if below.frame.private:
            found |= nesting(below)
    more = 1 if isinstance(typed.node, n.GroupBy) and typed.frame.private else 0
    return {index: depth + more for index, depth in found.items()}


def turned(typed: Typed) -> frozenset[int]:
    """Return the occurrences of whose rows it is known from which column of one unpivot each repetition comes."""
    if typed.occurrence is not None or not typed.frame.private:
        return frozenset()
    below = frozenset[int]().union(*(turned(t) for t in typed.inputs if t.frame.private))
    match typed.node:
        case n.Unpivot():
            # of two in a row neither
            return frozenset(o.index for o in typed.frame.occurrences) - below
        case n.GroupBy() | n.Explode():
            return frozenset()
        case _:
            return below & {o.index for o in typed.frame.occurrences}


def is_row_unit(occurrence: Occurrence, facts: Mapping[str, DatasetFacts]) -> bool:
    """Whether every row is a unit of its own."""
    return facts[occurrence.dataset].unit is None


def as_float(expr: Expr, dtype: DType) -> AnyExpr:
    """Return an expression as 64-bit float, dates and times by their ticks."""
    if dtype.is_temporal:
        return Cast(Cast(expr, INT64, strict=False), FLOAT64)  # type: ignore[arg-type]
    return Cast(expr, FLOAT64, strict=False)  # type: ignore[arg-type]
