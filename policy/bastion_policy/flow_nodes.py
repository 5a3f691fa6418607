"""Flow types of nodes: whose rows a frame holds, and where private rows become cells."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import msgspec
from bastion_plan import nodes as n
from bastion_plan.bind import BoundPlan
from bastion_plan.dtypes import BOOLEAN, Schema
from bastion_plan.errors import BindError, LimitError
from bastion_plan.expressions import Alias, AnyExpr, Call, Column, Expr, Over, children
from bastion_plan.nodes import AnyNode, Node
from bastion_plan.typing import expr_dtype

from bastion_policy import flow_inline as inline
from bastion_policy import flow_strict as strict
from bastion_policy import flow_tied as tied
from bastion_policy import flow_windows as windows
from bastion_policy.boundary import REST, Boundary, Output
from bastion_policy.flow_chosen import choosing, chosen_in, join_keys, of_rows, public_nulls
from bastion_policy.flow_expressions import ExpressionTyping, join_chosen, join_sources, scalar_bounds
from bastion_policy.flow_functions import OF_ALL_ROWS, PER_UNIT, WITHIN
from bastion_policy.flow_joins import join_frames, of_whole_people
from bastion_policy.flow_order import kept_orders
from bastion_policy.flow_reshape import concat_frames, fill_columns, fill_frame, opaque, reshape_frame
from bastion_policy.flow_rules import rule_of
from bastion_policy.flow_sizes import Lengths, too_long
from bastion_policy.flow_trees import is_scalar, output_name, reduces, with_children
from bastion_policy.flow_unique import unique_after
from bastion_policy.flow_within import failing
from bastion_policy.lineage import (
    CONSTANT,
    OWN,
    ROWS_OF_PERSON,
    Computed,
    Form,
    Frame,
    Kind,
    Occurrence,
    Source,
    Typed,
    Value,
    World,
)
from bastion_policy.roles import RoleKind
from bastion_policy.statistics import (
    StatisticsParser,
    check_condition,
    check_key,
    hidden_use,
    labels,
    order_dependent,
    unknown,
)
from bastion_policy.verdict import Finding

#: nodes that pick rows of a private frame one by one
CHOOSING = {
    n.Slice: "Taking the first or last rows",
    n.TopK: "top_k",
    n.Unique: "unique",
    n.Sample: "sample",
}
#: findings that no action can turn into an answer
REFUSED = frozenset({"hidden-column", "reserved-name", "fan-out"})
#: tables of cells in one plan: each is measured by plans of its own, which hold those it needs
MAX_BOUNDARIES = 64
#: sizes of all sub-expressions of a plan together: typing looks at every sub-expression from each one above it
MAX_WORK = 60_000
#: of these, those that hold where the owner put no guard, too
ALWAYS_REFUSED = frozenset({"hidden-column", "reserved-name"})


@dataclass(frozen=True)
class _Step:
    """What a step adds, so that its columns can be read as what computed them: copies, with what is known of them."""

    computed: Computed
    exprs: tuple[AnyExpr, ...]
    columns: dict[str, Value]
    schema: Schema


@dataclass
class FlowTyping:
    """Types one bound plan. findings: what keeps it from being released automatically, outermost columns excepted."""

    bound: BoundPlan
    world: World
    findings: list[Finding] = field(default_factory=list)
    occurrences: list[Occurrence] = field(default_factory=list)
    used: set[Source] = field(default_factory=set)
    windows: int = 0
    boundaries: int = 0
    copies: int = 0
    inlined: int = 0

    def __post_init__(self) -> None:
        self.world = self.world.decided(n.scans(self.bound.root))
        self.lengths = Lengths(self.bound)

    def root(self) -> Typed:
        """Return the flow type of the whole plan.

        Raises:
            LimitError: plan.limit.aggregations, plan.limit.nesting, where judging would hold up everybody else.
        """
        work, stack = 0, [self.bound.root]
        while stack:
            node = stack.pop()
            stack.extend(n.inputs(node))
            work += sum(_size_and_work(e)[1] for e in expressions(node))
            if work > MAX_WORK:
                msg = "The expressions of the plan are nested too deeply for their number."
                fix = "Use pl.sum_horizontal(...), or several with_columns or queries."
                raise LimitError(msg, code="plan.limit.nesting", next_step=fix)
        return self.type(self.bound.root)  # type: ignore[arg-type]

    def type(self, node: AnyNode) -> Typed:
        """Return the flow type of a node and everything below it."""
        rule_of(node)  # INVARIANT: no rule, no judgement
        chosen = tied.projected(node)
        if chosen is not None:
            rows = self.type(chosen.input)
            below: tuple[Typed, ...] = (
                tied.project(self, chosen, rows)
                if rows.frame.private
                else self._open(chosen, (rows,), self.bound.schemas[chosen]),
            )
        else:
            below = tuple(self.type(i) for i in n.inputs(node))  # type: ignore[arg-type]
        schema = self.bound.schemas[node]
        if any(name.startswith(OWN) for name in schema):
            self._find("reserved-name", f"Column names must not start with {OWN!r}.", "Choose another name.")
        if not any(t.frame.private for t in below) and not isinstance(node, n.Scan):
            return self._open(node, below, schema)
        if (long := self.lengths.grown(node)) is not None:
            # INVARIANT: how long a row becomes is bounded before it is looked at
            self._add([too_long(long)])
        return self._private(node, below, schema)

    def _find(self, rule: str, reason: str, fix: str = "", sources: frozenset[Source] = frozenset()) -> None:
        self._add([Finding(rule, reason, fix, labels(sources))])

    def _add(self, findings: Sequence[Finding]) -> None:
        self.findings += [f for f in findings if f not in self.findings]

    @staticmethod
    def _at_most(count: int) -> None:
        if count > MAX_BOUNDARIES:
            msg = f"The plan aggregates private rows in more than {MAX_BOUNDARIES} places."
            fix = "Compute them in one group_by or select, or send several smaller queries."
            raise LimitError(msg, code="plan.limit.aggregations", next_step=fix)

    def _open(self, node: AnyNode, below: tuple[Typed, ...], schema: Schema) -> Typed:
        """A node over released or public frames only: free."""
        kind = Kind.RELEASED if any(t.frame.kind is Kind.RELEASED for t in below) else Kind.PUBLIC
        sources = join_sources(v for t in below for v in t.frame.columns.values())
        value = Value(sources=sources)
        unique = unique_after(node, below, schema)
        return Typed(node, Frame(kind, dict.fromkeys(schema, value), schema, unique=unique), below)

    def _private(self, node: AnyNode, below: tuple[Typed, ...], schema: Schema) -> Typed:
        if not isinstance(node, inline.THROUGH):
            below = tuple(map(self._without_copies, below))
        match node:
            case n.Scan():
                return self._scan(node, schema)
            case n.Filter():
                return self._filter(node, below[0])
            case n.Select():
                return self._select(node, below[0], schema)
            case n.WithColumns():
                return self._with_columns(node, below[0], schema)
            case n.GroupBy():
                return self._group_by(node, below[0], schema)
            case n.Join() | n.JoinAsof():
                frames = below[0].frame, below[1].frame
                joined, findings = join_frames(node, *frames, schema, self.world)
                self.used |= join_sources(joined.columns.values())
                return self._changed(node, below, (self._chosen_by_keys(joined, frames, node), findings))
            case n.Concat():
                parts = [o.dataset for t in below for o in t.frame.occurrences]
                if len(set(parts)) < len(parts):
                    self._not_repeated("Putting a table below itself")
                return self._changed(node, below, concat_frames(node, [t.frame for t in below], schema))
            case n.Unpivot() | n.Explode() | n.Unnest():
                if not isinstance(node, n.Unnest):
                    self._not_repeated("unpivot" if isinstance(node, n.Unpivot) else "explode")
                return self._changed(node, below, reshape_frame(node, below[0].frame, schema, self.world))
            case n.FillNull():
                filled = fill_columns(node, below[0].frame)
                if filled is None:
                    return self._changed(node, below, fill_frame(below[0].frame, schema))
                used = set(self.used)
                made = self._with_columns(n.WithColumns(below[0].node, filled), below[0], schema)
                self.used = used  # filled is not used
                return made
            case _:
                return self._rows(node, below[0], schema)

    def _chosen_by_keys(self, joined: Frame, sides: Sequence[Frame], node: n.Join | n.JoinAsof) -> Frame:
        """Return a joined frame with what decided which rows of its sides there are: they were chosen there, or by the keys."""
        on = join_keys(node)
        keys = [
            ExpressionTyping(f, self.world).value(k) for f, ks in zip(sides, on, strict=True) for k in ks if f.private
        ]
        told, held = join_chosen(keys), {id(v) for f in sides for v in f.columns.values()}
        columns = {c: v if id(v) in held else replace(v, chosen=v.chosen | told) for c, v in joined.columns.items()}
        whole = of_whole_people(sides, on, self.world)
        parts = (f.chosen for f, w in zip(sides, whole, strict=True) if not w)
        return replace(joined, columns=columns, chosen=choosing(keys, self.world).union(*parts))

    def _changed(self, node: AnyNode, below: tuple[Typed, ...], changed: tuple[Frame, list[Finding]]) -> Typed:
        frame, findings = changed
        self._add(findings)
        return Typed(node, frame, below)

    # -- leaves and row-by-row nodes

    def _scan(self, node: n.Scan, schema: Schema) -> Typed:
        occurrence = Occurrence(len(self.occurrences), node.dataset)
        self.occurrences.append(occurrence)
        columns = {}
        for name in schema:
            source = Source(occurrence.index, node.dataset, name)
            low, high = (0.0, 1.0) if schema[name].kind == "Boolean" else self.world.bounds(source)
            columns[name] = Value(
                frozenset({source}), Form.COLUMN, low, high, plain=source, pristine=True, own_scale=True, evenly=True
            )
        return Typed(node, Frame(Kind.PRIVATE, columns, schema, (occurrence,)), occurrence=occurrence)

    def _value(self, expr: Expr, frame: Frame) -> Value:
        self._windows_by_unit(expr, frame)
        typing = ExpressionTyping(frame, self.world)
        value = typing.value(expr)
        if value.sources and not value.stored:
            value = replace(value, dated=typing.moved(expr))
        value = replace(value, blank=typing.blank(expr))
        self._add([unknown(name) for name in dict.fromkeys(typing.unknown)])
        self._add([order_dependent(name) for name in dict.fromkeys(typing.cross_row)])
        self.used |= value.sources
        return value

    def _windows_by_unit(self, expr: Expr, frame: Frame) -> None:
        """INVARIANT: a unit's rows are taken together; parts of them, split by a condition, would count the condition."""
        stack = [expr]
        while stack:
            item = stack.pop()
            stack.extend(children(item))
            if isinstance(item, Over):
                self._orders([ExpressionTyping(frame, self.world).value(e) for e in item.order_by])
            if isinstance(item, Over) and len(item.partition_by) > 1:
                keys = [frame.columns.get(k.name) if isinstance(k, Column) else None for k in item.partition_by]
                units = [v for v in keys if v is not None and v.plain is not None and self.world.is_unit(v.plain)]
                if units and len(units) < len(keys):
                    self._parts_of_units()

    def _parts_of_units(self) -> None:
        reason = "Rows of one person are split by another key, which tells whose rows differ."
        self._find("key", reason, "Group by the privacy unit alone, then by other columns.")

    def _orders(self, values: Sequence[Value]) -> None:
        """INVARIANT: who is first among a person's rows may depend on stored columns that predicates may use, and on
        nothing else: a computed key would choose whose rows count by a condition on one of them."""
        for value in values:
            if value.plain is not None and self.world.is_unit(value.plain):
                continue  # it is the same in all rows of a person
            self._add(check_condition(value, self.world, "a sort before a step that reads the order"))
            if value.plain is None:
                reason = "A later step reads the order of rows, and a sort by a computed key could pick single rows."
                self._find("order-dependent", reason, "Sort by columns as they are stored.", value.sources)

    def _not_repeated(self, what: str) -> None:
        """INVARIANT: five times a count is a multiple of five as it stands: rows that repeat undo rounding."""
        if self.world.rounded:
            reason = f"{what} repeats people's rows, and numbers of this data are rounded, which repetition would undo."
            self._find("repeated-rows", reason, "Aggregate each column by itself.")

    def _no_hidden(self, value: Value, what: str) -> None:
        hidden = frozenset(s for s in value.sources if self.world.role(s).kind is RoleKind.HIDDEN)
        if hidden:
            self._add([hidden_use(hidden, what)])

    def _hides(self, value: Value) -> bool:
        return any(self.world.role(s).kind is RoleKind.HIDDEN for s in value.sources)

    def _filter(self, node: n.Filter, below: Typed) -> Typed:
        base, (predicate,) = self._lift(below, (node.predicate,))
        value = self._value(predicate, base.frame)
        self._add(check_condition(value, self.world, "a filter"))
        frame = replace(base.frame, narrowed=True, chosen=base.frame.chosen | choosing([value], self.world))
        lifted = Typed(n.Filter(base.node, predicate), frame, (base,))
        return self._drop(lifted, below) if base is not below else replace_node(lifted, node)

    def _select(self, node: n.Select, below: Typed, schema: Schema) -> Typed:
        exprs = node.exprs
        values = self._tied(node, below, schema)
        if values is not None:
            return values
        if exprs and all(is_scalar(e) for e in exprs) and any(reduces(e) for e in exprs):
            return self._boundary(node, below, schema, (), exprs)
        base, lifted = self._lift(below, exprs)
        columns = self._columns(lifted, base.frame)
        step = self._copied(lifted, base.frame, others=False)
        columns, schema = columns | step.columns, schema | step.schema
        frame = base.frame.with_columns(columns, schema, computed=step.computed)
        return Typed(n.Select(base.node, (*lifted, *step.exprs)), frame, (base,))

    def _with_columns(self, node: n.WithColumns, below: Typed, schema: Schema) -> Typed:
        base, lifted = self._lift(below, node.exprs)
        step = self._copied(lifted, base.frame, others=True)
        columns = {**below.frame.columns, **self._columns(lifted, base.frame), **step.columns}
        schema = schema | step.schema
        wide = {**base.frame.columns, **columns}
        frame = base.frame.with_columns(wide, {**base.frame.schema, **schema}, computed=step.computed)
        made = Typed(n.WithColumns(base.node, (*lifted, *step.exprs)), frame, (base,))
        if base is below:
            shown = frame.with_columns({c: columns[c] for c in schema}, schema, computed=step.computed)
            return replace_node(made, msgspec.structs.replace(node, exprs=(*node.exprs, *step.exprs)), shown)
        return self._drop(made, below, schema)

    def _copied(self, exprs: Sequence[AnyExpr], frame: Frame, *, others: bool) -> _Step:
        """Return what a step must copy so that its expressions can be read as if written where they are aggregated."""
        constants = {
            c for c, v in frame.columns.items() if c.startswith(OWN) and v.form is Form.CONSTANT and not v.sources
        }
        computed, new = inline.after(frame.computed, exprs, others=others, taken=self.copies, constants=constants)
        self.copies += len(new)
        # copies that were taken before, and new ones
        origin = {k: k for k in sorted(inline.copies_of(computed)) if k in frame.columns} | {
            k: c for c, k in new.items()
        }
        taken = tuple(Column(k) if k == c else Alias(Column(c), k) for k, c in origin.items() if k != c or not others)
        columns = {k: frame.columns[c] for k, c in origin.items()}
        return _Step(computed, taken, columns, {k: frame.schema[c] for k, c in origin.items()})

    def _without_copies(self, typed: Typed) -> Typed:
        """Leave the copies out before a step that may do other things to them than to the columns computed from them."""
        visible = {c: t for c, t in typed.frame.schema.items() if not c.startswith(inline.COPY)}
        if not typed.frame.private or len(visible) == len(typed.frame.schema):
            return typed
        frame = typed.frame.with_columns({c: typed.frame.columns[c] for c in visible}, visible)
        return Typed(n.Select(typed.node, tuple(map(Column, visible))), frame, (typed,))

    def _columns(self, exprs: Sequence[AnyExpr], frame: Frame) -> dict[str, Value]:
        columns = {}
        for expr in exprs:
            value = self._value(expr, frame)
            if value.form is Form.COMBINATION:
                # its terms can only be guarded apart where they are written inside the aggregate
                value = value.derived(Form.MIX, reason="a sum of several columns; write it inside the aggregate")
            if value.form is Form.COLUMN and not value.stored:
                value = replace(value, line=strict.line_of(expr, frame))
            if not value.sources and value.form is Form.CONSTANT:
                value = replace(CONSTANT, low=value.low, high=value.high, steps=value.steps, blank=value.blank)
            columns[output_name(expr)] = value
        return columns

    def _drop(self, made: Typed, below: Typed, schema: Schema | None = None) -> Typed:
        """Leave out the columns that windows brought in."""
        schema = schema or below.frame.schema
        exprs = tuple(Column(c) for c in schema)
        columns = {c: made.frame.columns[c] for c in schema}
        frame = made.frame.with_columns(columns, schema, computed=made.frame.computed)
        return Typed(n.Select(made.node, exprs), frame, (made,))

    def _rows(self, node: AnyNode, below: Typed, schema: Schema) -> Typed:
        frame = below.frame
        match node:
            case n.Sort(by=by):
                keys = [self._value(expr, frame) for expr in by]
                for value in keys:
                    self._no_hidden(value, "a sort")
                secret = {s for s in join_sources(keys) if self.world.role(s).secret}
                frame = replace(frame, ordered=frame.ordered | secret)
            case n.DropNulls(subset=subset, nans=nans):
                names = [output_name(e) for e in subset] if subset is not None else list(schema)
                chosen = [v for v in (frame.columns[c] for c in names) if not public_nulls(v, nans=nans)]
                for value in (frame.columns[c] for c in names):
                    self.used |= value.sources
                    found = check_condition(value, self.world, "a filter")
                    if public_nulls(value, nans=nans) and not self.world.strict:
                        found = [f for f in found if f.rule == "hidden-column" and subset is not None]
                    self._add(found)
                frame = replace(frame, narrowed=True, chosen=frame.chosen | choosing(chosen, self.world))
                if subset is None and len(frame.schema) > len(schema):
                    shown = [c for c in schema if not self._hides(frame.columns[c])]
                    node = msgspec.structs.replace(node, subset=tuple(map(Column, shown)))
            case n.Reverse():
                pass
            case n.Unique(subset=None, keep="any" | "first" | "last"):
                everything = tuple(Column(c) for c in schema)
                return tied.distinct(self, everything, below, schema)
            case n.Slice() | n.TopK() | n.Unique() | n.Sample():
                self._choosing(node, frame)
            case n.WithRowIndex():
                self._add([order_dependent("with_row_index")])
                columns = {node.name: Value(form=Form.MIX, reason="it numbers the rows"), **frame.columns}
                frame = frame.with_columns(columns, schema)
            case n.GroupByDynamic() if (made := windows.dynamic(self, node, below, schema)) is not None:
                return made
            case n.Pivot() if (made := windows.pivot(self, node, below, schema)) is not None:
                return made
            case n.GroupByDynamic() | n.Rolling():
                what = "group_by_dynamic" if isinstance(node, n.GroupByDynamic) else "rolling"
                fix = 'Group by a truncated date instead: .group_by(pl.col(...).dt.truncate("1mo")).agg(...).'
                self._find("windows", f"The windows of {what} may hold single people's rows.", fix)
                frame = opaque(frame, schema, f"it comes from {what}")
            case n.Pivot():
                fix = "Use sum, mean, median, min, max or len, or group_by(...).agg(...) first and pivot its cells."
                self._find("row-level", f"pivot with {node.aggregate} puts single rows into cells.", fix)
                frame = opaque(frame, schema, "it comes from pivot")
            case _:
                self._find("unknown-node", "The guard does not know this kind of step.")
                frame = opaque(frame, schema, "it comes from an unknown step")
        return Typed(node, frame, (below,))

    def _choosing(self, node: AnyNode, frame: Frame) -> None:
        by = node.by if isinstance(node, n.TopK) else (node.subset or ()) if isinstance(node, n.Unique) else ()
        for expr in by:
            self._no_hidden(self._value(expr, frame), "the choice of rows")
        what = CHOOSING[type(node)]
        if isinstance(node, n.Slice):
            size = "" if node.length is None else str(node.length)
            what = f"head({size})" if node.offset == 0 else f"tail({size})" if node.offset < 0 else "slice"
        fix = f"Aggregate first, e.g. {example(frame, self.world)}."
        if by and isinstance(node, n.Unique):
            fix = "Keep the columns of the subset alone, .select(...).unique(), or count by them: .group_by(...).agg(pl.len())."
        self._find("row-level", f"{what} would show or pick single people's rows.", fix)

    # -- boundaries

    def _tied(self, node: n.Select, below: Typed, schema: Schema) -> Typed | None:
        """select(col.unique()), select(col.value_counts()) and the like: groups by another name."""
        found = tied.leaf(node.exprs[0]) if len(node.exprs) == 1 else None
        if found is None:
            return None
        try:
            dtype = expr_dtype(found.call, below.frame.schema)
        except BindError:
            return None
        return tied.select(self, node.exprs[0], below, schema, dtype)

    def cells(
        self, below: Typed, keys: Sequence[AnyExpr], aggs: Sequence[AnyExpr], schema: Schema, *, marked: bool
    ) -> Typed:
        """Return the boundary of a group_by in other words; marked: with the column `REST`."""
        node = n.GroupBy(below.node, tuple(keys), tuple(aggs))
        return self._boundary(node, below, schema, keys, aggs, marked=marked)

    def narrow(self, below: Typed, predicate: AnyExpr) -> Typed:
        """Return the rows for which a predicate holds."""
        return self._filter(n.Filter(below.node, predicate), below)

    def _group_by(self, node: n.GroupBy, below: Typed, schema: Schema) -> Typed:
        frame = below.frame
        if any(reduces(k) or isinstance(_plain(k), Over) for k in node.keys):
            base, keys = self._lift(below, node.keys)
            if base is not below:
                return self._group_by(msgspec.structs.replace(node, input=base.node, keys=keys), base, schema)
        values = [self._value(k, frame) for k in node.keys]
        units = [v.plain for v in values if v.plain is not None and self.world.is_unit(v.plain)]
        covered = {u.occurrence for u in units} >= {o.index for o in frame.occurrences}
        if units and covered:
            return self._pre_aggregate(node, below, schema, values)
        return self._boundary(node, below, schema, node.keys, node.aggs)

    def _pre_aggregate(self, node: n.GroupBy, below: Typed, schema: Schema, keys: Sequence[Value]) -> Typed:
        """A group_by that keeps the unit as key: the rows stay private, one or a few per unit."""
        frame = below.frame
        columns = {output_name(e): v for e, v in zip(node.keys, keys, strict=True)}
        for value in keys:
            self._no_hidden(value, "a group key")
            if value.plain is None or not self.world.is_unit(value.plain):
                self._add(check_key(value, self.world))
                self._parts_of_units()
        for expr in node.aggs:
            self._windows_by_unit(expr, frame)
            typing, value = ExpressionTyping(frame, self.world), self._per_unit(expr, frame)
            chosen = chosen_in(expr, frame, self.world, value.sources)
            chosen |= of_rows(expr, frame, self.world, value.sources)
            columns[output_name(expr)] = replace(value, blank=typing.blank(expr), chosen=chosen)
        per_unit = len(node.keys) == 1 and len(frame.occurrences) == 1
        made = replace(
            frame.with_columns(columns, schema),
            per_unit=per_unit,
            grouped=True,
            ordered=frozenset(),  # what a group_by gives has an order of its own
            chosen=frozenset() if per_unit else frame.chosen,  # of one row there are no others
        )
        return Typed(node, made, (below,))

    def _per_unit(self, expr: Expr, frame: Frame) -> Value:
        """Return what is known of an aggregate of one unit's rows.

        INVARIANT: which row comes last in the order of a measure is no public matter, nor is whether that row has a value.
        """
        typing = ExpressionTyping(frame, self.world)
        inner = _plain(expr)
        args = inner.args if isinstance(inner, Call) else (inner,)
        plain, order = [typing.value(a) for a in args], typing.order(expr)
        value = self._of_unit(expr, inner, frame, typing, [_ordered(v, order) for v in plain])
        return replace(value, makes_nulls=True) if any(_told(v, order) for v in plain) else value

    def _of_unit(
        self, expr: Expr, inner: Expr, frame: Frame, typing: ExpressionTyping, values: Sequence[Value]
    ) -> Value:
        """INVARIANT: computed from the rows of one unit, so it is a column of that unit, whatever the function."""
        fails = [f"!{f}" for f in (failing(expr, frame, self.world),) if f is not None]
        fails += [f for f in typing.cross_row if f.startswith("!")]
        self._add([order_dependent(f) for f in dict.fromkeys(fails)])
        self._add([unknown(f) for f in dict.fromkeys(typing.unknown)])
        sources = join_sources(values)
        datasets = {o.dataset for o in frame.occurrences}
        known = len(datasets) == 1 and not frame.fanned and not frame.grouped
        most = self._most_rows(*datasets) if known else None
        if isinstance(inner, Call) and self._counts_rows(inner, values):
            sources = frozenset(Source(o.index, o.dataset, ROWS_OF_PERSON) for o in frame.occurrences)
            # everybody who is there has a row; the unit is not counted where it is missing
            least = 0.0 if inner.function == "count" else 1.0
            return Value(sources, Form.COLUMN, least, most, pristine=True, own_scale=True)
        if isinstance(inner, Call) and is_scalar(inner) and len(values) == 1:
            value = values[0]
            if value.form is not Form.COLUMN or value.makes_nulls or inner.function not in PER_UNIT:
                return value if value.form in (Form.MIX, Form.CONSTANT) else value.derived(Form.BINNED)
            counts = inner.function in ("len", "count", "n_unique", "null_count")
            if self.world.strict and counts and any(self.world.role(s).secret for s in sources):
                # INVARIANT (strict): fewer than k people without a value are nobody; added up person by person they would be counted
                reason = f"Under the strict profile {inner.function}() per person tells who has no value."
                self._find("strict-argument", reason, "Count the rows with len(), or the values of all.", sources)
            if value.several and frame.fanned and not counts:
                # INVARIANT: of x and w below each other it is x + w, whose variance is a covariance with all its digits
                return Value(sources, Form.MIX, reason="it puts several columns of a unit together")
            low, high = value.low, value.high
            summed = inner.function == "sum" and not counts
            single = summed and most == 1 and isinstance(inner.args[0], Column)
            per_row = strict.line_of(inner.args[0], frame) if summed and known and not single else None
            if value.per_row is not None and (
                summed or (frame.per_unit and not frame.fanned and inner.function in WITHIN)
            ):
                per_row = value.per_row  # a sum of sums, or what one row of each holds
            if counts:
                low, high = 0.0, most
            elif single:
                pass  # of one row each it is the column itself, whose bounds nobody shall widen by saying so
            elif inner.function == "sum" and most is not None and low is not None and high is not None:
                low, high = most * min(low, 0.0), most * max(high, 0.0)
            elif inner.function in ("sum", "std", "var"):
                low = high = None
            bit = typing.bit_of_unit(value, inner.function)
            picked = value.picked or (typing.several_rows and inner.function not in OF_ALL_ROWS)
            made = Value(sources, Form.COLUMN, low, high, pristine=value.pristine, own_scale=value.own_scale, bit=bit)
            # what many rows of a person come to at least is far below what anybody's do: who deviates most would not stand out
            within = value.plain if inner.function in WITHIN else None
            one_row = frame.per_unit and not frame.fanned and inner.function in WITHIN
            return replace(
                made,
                evenly=counts or (value.evenly and (summed or one_row)),
                picked=picked,
                within=within,
                coarse=value.coarse
                or (value.per_row is not None and per_row is None)
                or (summed and not single and ((low is not None and low < 0) or per_row is None)),
                per_row=per_row,
            )
        return Value(sources, Form.MIX, reason="it mixes several columns of a unit")

    def _counts_rows(self, aggregate: Call, values: Sequence[Value]) -> bool:
        """Whether an aggregate of one person's rows is their number: it reads no column, or the one that says whose they are."""
        if not values:
            return aggregate.function == "pl.len"
        own = values[0].plain is not None and self.world.is_unit(values[0].plain)
        return aggregate.function in ("len", "count") and len(values) == 1 and own

    def _most_rows(self, dataset: str) -> float | None:
        """Return a bound on the rows of a person, by which plans are judged.

        INVARIANT: whether a question is taken costs nothing, so it depends on a power of ten, not on the most rows that one has.
        """
        most = self.world.rows_per_unit.get(dataset)
        return None if most is None else 10.0 ** math.ceil(math.log10(max(most, 1)))

    def _boundary(
        self,
        node: AnyNode,
        below: Typed,
        schema: Schema,
        keys: Sequence[AnyExpr],
        aggs: Sequence[AnyExpr],
        *,
        window: bool = False,
        marked: bool = False,
    ) -> Typed:
        frame = below.frame
        self.boundaries += 1
        self._at_most(self.boundaries)
        found_keys = []
        for key in keys:
            value = self._value(key, frame)
            self._add(check_key(value, self.world))
            self._one_column(value, output_name(key))
            if schema[output_name(key)].is_nested:
                self._find("row-level", "Lists and structs cannot be group keys here.", "Group by one of their values.")
            found_keys.append((output_name(key), _plain(key), value, schema[output_name(key)]))
        parser = StatisticsParser(frame, self.world)
        outputs: list[Output] = []
        for expr in aggs:
            name = output_name(expr)
            self._windows_by_unit(expr, frame)
            output = parser.output(name, self._inlined(expr, frame), schema[name])
            outputs.append(output)
            for finding in output.findings:
                if window:
                    self._add([finding])
        for statistic in parser.statistics:
            self.used |= statistic.sources
        for output in outputs:
            terms = [t for i in output.statistics for t in parser.statistics[i].terms]
            if any(not t.value.sources and t.value.form is not Form.CONSTANT for t in terms):
                # INVARIANT: a number that differs from part to part of a concat is a weight
                reason = f"{output.name!r} computes with which table or column a row comes from."
                finding = Finding("argument", reason, "Use it as a group key.")
                output.findings.append(finding)
                if window:
                    self._add([finding])
        boundary = Boundary(tuple(found_keys), parser.statistics, outputs, window, marked)
        for order in kept_orders(below):
            if isinstance(order.node, n.Sort):
                typing = ExpressionTyping(order.inputs[0].frame, self.world)
                self._orders([typing.value(e) for e in order.node.by])
        schema = {**schema, REST: BOOLEAN} if marked else schema
        sources = join_sources(v for *_, v, _ in found_keys) | join_sources(Value(s.sources) for s in parser.statistics)
        value = Value(sources=sources)
        made = Frame(
            Kind.RELEASED, dict.fromkeys(schema, value), schema, unique=frozenset(output_name(k) for k in keys)
        )
        return Typed(node, made, (below,), boundary=boundary)

    def _inlined(self, expr: AnyExpr, frame: Frame) -> AnyExpr:
        """Return an aggregate over what computed its columns; as it stands where that would be too long."""
        found = inline.inlined(expr, frame.computed)
        self.inlined += _size_and_work(found)[1] if found is not expr else 0
        return found if self.inlined <= MAX_WORK else expr

    def _one_column(self, value: Value, name: str) -> None:
        """INVARIANT: a computed key bins one column; a condition on several could cut a single person out of a cell."""
        if value.plain is not None:
            return
        stacked = value.form is Form.COLUMN  # of one name in several tables
        columns = {("" if stacked else s.dataset, s.column) for s in value.sources}
        if len(columns) > 1 or (not columns and value.form is Form.MIX):
            reason = f"The group key {name!r} is computed from several columns, which can single people out."
            fix = "Group by the columns themselves, or by bins of one column each."
            self._find("key", reason, fix, value.sources)

    # -- aggregates inside row expressions

    def _lift(self, below: Typed, exprs: Sequence[AnyExpr]) -> tuple[Typed, tuple[AnyExpr, ...]]:
        """Replace every aggregate inside row expressions by a column that a guarded group_by brings back.

        INVARIANT: a broadcast or windowed aggregate is a boundary like any other; what comes back to the private rows is
        what would have been released.
        """
        found: list[tuple[tuple[AnyExpr, ...], AnyExpr]] = []

        def lift(expr: AnyExpr) -> AnyExpr:
            if isinstance(expr, Over) and is_scalar(expr.input) and reduces(expr.input) and not expr.order_by:
                values = [ExpressionTyping(below.frame, self.world).value(k) for k in expr.partition_by]
                if any(v.plain is not None and self.world.is_unit(v.plain) for v in values):
                    return expr
                return note(expr.partition_by, expr.input)
            if isinstance(expr, Call | Alias) or not is_scalar(expr):
                if is_scalar(expr) and reduces(expr) and not isinstance(expr, Alias):
                    return note((), expr)
            elif reduces(expr):
                return note((), expr)
            below_exprs = children(expr)
            if isinstance(expr, Over):
                return expr
            return with_children(expr, [lift(c) for c in below_exprs]) if below_exprs else expr  # type: ignore[arg-type]

        def note(keys: tuple[AnyExpr, ...], inner: AnyExpr) -> AnyExpr:
            if (keys, inner) not in found:
                self._at_most(self.boundaries + len(found) + 1)
                found.append((keys, inner))
            return Column(f"{OWN}w{self.windows + found.index((keys, inner))}")

        lifted = tuple(lift(e) for e in exprs)
        base = below
        for keys, inner in found:
            base = self._window(base, keys, inner)
        return base, lifted

    def _window(self, below: Typed, keys: tuple[AnyExpr, ...], inner: AnyExpr) -> Typed:
        name = f"{OWN}w{self.windows}"
        self.windows += 1
        frame = below.frame
        try:
            dtype = expr_dtype(inner, frame.schema)
            key_types = [expr_dtype(k, frame.schema) for k in keys]
        except BindError:
            self._find("unknown-function", "The guard does not know a window of this plan.")
            return below
        names = [f"{name}k{i}" for i in range(len(keys))]
        values = [self._value(k, frame) for k in keys]
        schema = {**frame.schema, **dict(zip(names, key_types, strict=True))}
        keyed = below
        if keys:
            exprs = tuple(Alias(k, c) for k, c in zip(keys, names, strict=True))
            columns = {**frame.columns, **dict(zip(names, values, strict=True))}
            wide = frame.with_columns(columns, schema, computed=frame.computed)
            keyed = Typed(n.WithColumns(below.node, exprs), wide, (below,))
        aggs = (Alias(inner, name),)
        cell_schema = {c: schema[c] for c in names} | {name: dtype}
        key_columns = tuple(Column(c) for c in names)
        grouped: AnyNode = n.GroupBy(keyed.node, key_columns, aggs) if keys else n.Select(keyed.node, aggs)
        cells = self._boundary(grouped, keyed, cell_schema, key_columns, aggs, window=True)
        join = n.Join(
            keyed.node,
            grouped,
            how="left" if keys else "cross",
            left_on=key_columns,
            right_on=key_columns,
            nulls_equal=True,
            maintain_order="left",
        )
        sources = join_sources(values)
        bounds = scalar_bounds(inner, ExpressionTyping(frame, self.world))
        value = Value(sources, Form.BINNED, makes_nulls=True, chosen=join_chosen(values)) if keys else bounds
        value = replace(value, blank=frozenset({name}))  # it is null where it is withheld
        columns = {**keyed.frame.columns, name: value}
        made = keyed.frame.with_columns(columns, {**schema, name: dtype}, computed=frame.computed)
        return Typed(join, made, (keyed, cells))


def expressions(node: Node) -> Iterator[Expr]:
    """Iterate over the expressions of one node."""
    for name in node.__struct_fields__:
        value = getattr(node, name)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Expr):
                yield item


def _size_and_work(expr: Expr) -> tuple[int, int]:
    """Return the number of sub-expressions, and the sum of theirs over all of them."""
    size, work = 1, 0
    for child in children(expr):
        more = _size_and_work(child)
        size, work = size + more[0], work + more[1]
    return size, work + size


def _plain(expr: Expr) -> AnyExpr:
    return _plain(expr.input) if isinstance(expr, Alias) else expr  # type: ignore[return-value]


def _ordered(value: Value, order: frozenset[Source]) -> Value:
    """Return the value of rows that were taken by the order that measures put them in."""
    told = _told(value, order)
    return replace(value, sources=value.sources | told, plain=None) if told else value


def _told(value: Value, order: frozenset[Source]) -> frozenset[Source]:
    """Return the measures that decide which of several values one is."""
    return order - value.sources if value.form is not Form.CONSTANT or value.sources else frozenset()


def _aliased(expr: AnyExpr, name: str) -> AnyExpr:
    return expr if isinstance(expr, Column) and expr.name == name else Alias(_plain(expr), name)


def replace_node(typed: Typed, node: AnyNode, frame: Frame | None = None) -> Typed:
    """Return the typed node with the user's own node in its place."""
    return Typed(node, frame or typed.frame, typed.inputs, typed.boundary, typed.occurrence)


def example(frame: Frame, world: World) -> str:
    """Return an aggregation of this frame that would pass, as code."""
    plain = {c: v.plain for c, v in frame.columns.items() if v.plain is not None}
    keys = [c for c, s in plain.items() if world.role(s).keys and not frame.schema[c].is_float]
    numbers = [
        c
        for c, s in plain.items()
        if frame.schema[c].is_numeric and world.role(s).kind in (RoleKind.MEASURE, RoleKind.QUASI)
    ]
    number = next((c for c in numbers if c not in keys[:1] and frame.schema[c].is_float), None)
    number = number or next((c for c in numbers if c not in keys[:1]), None)
    what = f"pl.col({number!r}).mean()" if number else "pl.len()"
    return f".group_by({keys[0]!r}).agg({what})" if keys else f".select({what})"


def used_columns(typing: FlowTyping) -> tuple[str, ...]:
    """Return the source columns that the plan uses, as `dataset.column`."""
    return labels(frozenset(typing.used))
