"""Names and types of a plan against public facts: what exists for this identity, with which columns and types.

A bound plan has no selectors and no name changes left, and `~` of whole numbers is a subtraction; saved frames are
inlined, so every Scan is an uploaded table; and each expression of a Select, a WithColumns, a key or an aggregate is a
plain `Column` or an `Alias`, so that its output name can be read off it.

INVARIANT: a dataset that does not exist and one that this identity may not see give the same error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from msgspec.structs import replace

from bastion_plan import nodes as n
from bastion_plan import options as o
from bastion_plan import schemas as s
from bastion_plan.dtypes import DATE, UINT32, Schema, datetime
from bastion_plan.errors import BindError, LimitError
from bastion_plan.expressions import Alias, AnyExpr, Column, Expr
from bastion_plan.inlining import inline_saved, with_inputs
from bastion_plan.nodes import Node
from bastion_plan.selectors import Budget, Expander
from bastion_plan.typing import expr_dtype, expr_name
from bastion_plan.validate import validate

#: most columns of all schemas of one plan together
MAX_SCHEMA_COLUMNS = 500_000


class TableFacts(Protocol):
    """What bind needs to know of a dataset (bastion_policy.facts.DatasetFacts fits)."""

    @property
    def schema(self) -> Schema:
        """Column names and types, in order."""
        ...

    @property
    def plan(self) -> Node | None:
        """The plan of a saved frame, which bind inlines; None for an uploaded table."""
        ...


@dataclass(frozen=True)
class BoundPlan:
    """A plan whose names and types are known to fit.

    root: selectors expanded to columns, `~` of whole numbers as subtractions, saved frames inlined (so every Scan is an
        uploaded table).
    schema: of the result.
    schemas: of every node of root, by the node itself (equal nodes have equal schemas).
    """

    root: Node
    schema: Schema
    schemas: dict[Node, Schema]


def bind(plan: Node, catalogue: Mapping[str, TableFacts]) -> BoundPlan:
    """Resolve `plan` against the datasets one may see, by dataset id.

    Raises:
        BindError: unknown dataset, column or function, a type that does not fit, an ambiguous name; with a
            "did you mean" made of names the identity may see.
        DecodeError: a constant or a type that is not written as plans write it.
        LimitError: a plan that is too large, or too large once saved frames and selectors are expanded.
    """
    validate(plan)
    binder = _Binder(catalogue)
    root, schema = binder.bind(inline_saved(plan, catalogue))
    return BoundPlan(root, schema, binder.schemas)


class _Binder:
    def __init__(self, catalogue: Mapping[str, TableFacts]) -> None:
        self.catalogue = catalogue
        self.schemas: dict[Node, Schema] = {}
        self.budget = Budget()
        self.columns = 0

    def bind(self, node: Node) -> tuple[Node, Schema]:
        """Return the bound node and its schema."""
        below = [self.bind(i) for i in n.inputs(node)]
        node = with_inputs(node, tuple(b[0] for b in below))
        bound, schema = self._bind(node, [b[1] for b in below])
        if not any(schema is b[1] for b in below):
            # schemas of all nodes are kept: a wide table under many nodes must not fill the memory
            self.columns += len(schema)
            if self.columns > MAX_SCHEMA_COLUMNS:
                msg = "The frames of the plan have too many columns altogether."
                raise LimitError(msg, code="plan.limit.columns", next_step="Select the columns you need first.")
        self.schemas[bound] = schema
        return bound, schema

    def _bind(self, node: Node, below: list[Schema]) -> tuple[Node, Schema]:
        match node:
            case n.Scan():
                return node, s.checked(self.catalogue[node.dataset].schema.items(), "The dataset")
            case n.Inline():
                return node, s.checked(((c.name, c.dtype) for c in node.columns), "The inline table")
            case n.Join():
                return self._join(node, below[0], below[1])
            case n.JoinAsof():
                return self._join_asof(node, below[0], below[1])
            case n.Concat():
                return self._concat(node, below)
            case n.Select() | n.WithColumns() | n.GroupBy() | n.GroupByDynamic() | n.Rolling():
                return self._projection(node, below[0])
            case n.Explode() | n.Unnest() | n.Unpivot() | n.Pivot():
                return self._reshape(node, below[0])
            case _:
                return self._rows(node, below[0])

    # --- expressions ---

    def _expand(self, exprs: Iterable[Expr], schema: Schema, skip: Iterable[str] = ()) -> tuple[AnyExpr, ...]:
        """Expand expressions whose names do not matter."""
        made = Expander(schema, frozenset(skip), self.budget).expand_all(exprs)
        for expr in made:
            expr_dtype(expr, schema)
        return cast(tuple[AnyExpr, ...], made)

    def _named(self, exprs: Iterable[Expr], schema: Schema, skip: Iterable[str] = ()) -> tuple[AnyExpr, ...]:
        """Expand expressions into columns and aliases."""
        return tuple(named(e, schema) for e in Expander(schema, frozenset(skip), self.budget).expand_all(exprs))

    def _one(self, expr: Expr, schema: Schema, what: str) -> AnyExpr:
        made = self._expand((expr,), schema)
        if len(made) != 1:
            msg = f"{what} takes one expression; this one stands for {len(made)}."
            raise BindError(
                msg, code="plan.bind.selector", next_step="Combine them, for example with all_horizontal()."
            )
        return made[0]

    def _columns(self, exprs: Iterable[Expr], schema: Schema, what: str) -> tuple[Column, ...]:
        made = self._expand(exprs, schema)
        plain = [e for e in made if isinstance(e, Column)]
        if len(plain) != len(made):
            msg = f"{what} takes columns, not computed expressions."
            raise BindError(msg, code="plan.bind.selector", next_step="Compute them with with_columns() first.")
        return tuple(dict.fromkeys(plain))

    # --- nodes ---

    def _projection(self, node: Node, schema: Schema) -> tuple[Node, Schema]:
        match node:
            case n.Select(exprs=exprs):
                made = self._named(exprs, schema)
                return replace(node, exprs=made), s.select_schema(made, schema)
            case n.WithColumns(exprs=exprs):
                made = self._named(exprs, schema)
                return replace(node, exprs=made), s.with_columns_schema(made, schema)
            case n.GroupBy():
                keys = self._named(node.keys, schema)
                if not keys:
                    msg = "group_by needs at least one key."
                    raise BindError(msg, code="plan.bind.keys", next_step="Use select() for the whole frame.")
                groups = s.select_schema(keys, schema, "group_by")
                aggs = self._named(node.aggs, schema, groups)
                return replace(node, keys=keys, aggs=aggs), s.agg_schema(groups, aggs, schema, "group_by")
            case n.GroupByDynamic() | n.Rolling():
                return self._windows(node, schema)
            case _:
                raise unknown_node()

    def _windows(self, node: n.GroupByDynamic | n.Rolling, schema: Schema) -> tuple[Node, Schema]:
        verb = "group_by_dynamic" if isinstance(node, n.GroupByDynamic) else "rolling"
        index = named(self._one(node.index, schema, f"The index of {verb}"), schema)
        (name, dtype), *_ = s.select_schema((index,), schema, verb).items()
        keys = self._named(node.group_by, schema)
        groups = s.select_schema(keys, schema, verb)
        o.check_index(verb, dtype)
        o.check_windows(node, dtype.kind)
        if isinstance(node, n.GroupByDynamic) and node.include_boundaries:
            edge = datetime("us") if dtype == DATE else dtype
            groups |= {"_lower_boundary": edge, "_upper_boundary": edge}
        groups = s.checked([*groups.items(), (name, dtype)], verb)
        aggs = self._named(node.aggs, schema, groups)
        bound = replace(node, index=index, group_by=keys, aggs=aggs)
        return bound, s.agg_schema(groups, aggs, schema, verb)

    def _rows(self, node: Node, schema: Schema) -> tuple[Node, Schema]:
        """Nodes that choose, order or number rows."""
        o.check_rows(node)
        match node:
            case n.Filter():
                predicate = self._one(node.predicate, schema, "filter")
                dtype = expr_dtype(predicate, schema)
                if dtype.kind != "Boolean":
                    msg = f"The predicate of a filter must be Boolean; this one is {dtype}."
                    raise BindError(msg, code="plan.bind.types", next_step="Compare it with a value.")
                return replace(node, predicate=predicate), schema
            case n.Sort():
                by, (descending, nulls_last) = self._keys(node.by, schema, node.descending, node.nulls_last)
                return replace(node, by=by, descending=descending, nulls_last=nulls_last), schema
            case n.TopK():
                by, (reverse,) = self._keys(node.by, schema, node.reverse)
                return replace(node, by=by, reverse=reverse), schema
            case n.Unique(subset=subset):
                if subset is not None:
                    node = replace(node, subset=self._expand(subset, schema))
                return node, schema
            case n.DropNulls(subset=subset, nans=nans):
                if subset is not None:
                    columns = self._columns(subset, schema, "drop_nans" if nans else "drop_nulls")
                    if nans:
                        o.check_nans(columns, schema)
                    node = replace(node, subset=columns)
                return node, schema
            case n.FillNull():
                return self._fill(node, schema)
            case n.WithRowIndex(name=name):
                return node, s.checked([(name, UINT32), *schema.items()], "with_row_index")
            case n.Slice() | n.Sample() | n.Reverse():
                return node, schema
            case _:
                raise unknown_node()

    def _keys(
        self, by: Sequence[Expr], schema: Schema, *flags: tuple[bool, ...]
    ) -> tuple[tuple[AnyExpr, ...], list[tuple[bool, ...]]]:
        """Expand sort keys together with their flags: a flag goes to all columns of its key."""
        per_key = [self._expand((e,), schema) for e in by]
        spread = []
        for flag in flags:
            if len(flag) not in {1, len(by)}:
                msg = f"There are {len(by)} keys to sort by and {len(flag)} flags."
                raise BindError(msg, code="plan.bind.keys", next_step="Give one flag, or one per key.")
            full = [f for f, made in zip(flag, per_key, strict=True) for _ in made] if len(flag) > 1 else flag
            # one flag where all are the same: two ways to say it would be two plans
            spread.append((full[0],) if len(set(full)) == 1 else tuple(full) or (False,))
        return tuple(e for made in per_key for e in made), spread

    def _fill(self, node: n.FillNull, schema: Schema) -> tuple[Node, Schema]:
        if node.value is None:
            return node, schema
        value = self._one(node.value, schema, "fill_null")
        return replace(node, value=value), s.fill_schema(node, value, schema)

    def _join(self, node: n.Join, left: Schema, right: Schema) -> tuple[Node, Schema]:
        o.check_join(node)
        left_on, right_on = self._expand(node.left_on, left), self._expand(node.right_on, right)
        s.check_join_keys(node.how, left_on, right_on, left, right)
        bound = replace(node, left_on=left_on, right_on=right_on)
        return bound, s.join_schema(bound, left, right)

    def _join_asof(self, node: n.JoinAsof, left: Schema, right: Schema) -> tuple[Node, Schema]:
        left_on = self._one(node.left_on, left, "join_asof")
        right_on = self._one(node.right_on, right, "join_asof")
        s.check_join_keys("left", (left_on,), (right_on,), left, right)
        if len(node.by_left) != len(node.by_right):
            msg = f"join_asof has {len(node.by_left)} left and {len(node.by_right)} right `by` columns."
            raise BindError(msg, code="plan.bind.keys")
        for a, b in zip(node.by_left, node.by_right, strict=True):
            s.check_key_types(s.require(a, left), s.require(b, right))
        dtype = expr_dtype(left_on, left)
        o.check_index("join_asof", dtype)
        o.check_asof(node, dtype)
        bound = replace(node, left_on=left_on, right_on=right_on)
        return bound, s.join_schema(bound, left, right)

    def _concat(self, node: n.Concat, below: list[Schema]) -> tuple[Node, Schema]:
        o.check_concat(node)
        return node, s.concat_schema(node.how, below)

    def _reshape(self, node: Node, schema: Schema) -> tuple[Node, Schema]:
        match node:
            case n.Explode():
                columns = self._columns(node.columns, schema, "explode")
                return replace(node, columns=columns), s.explode_schema([c.name for c in columns], schema)
            case n.Unnest():
                columns = self._columns(node.columns, schema, "unnest")
                return replace(node, columns=columns), s.unnest_schema([c.name for c in columns], schema)
            case n.Unpivot():
                index = self._columns(node.index, schema, "unpivot")
                kept = {c.name for c in index}
                on = (
                    tuple(Column(name) for name in schema if name not in kept)
                    if node.on is None
                    else self._columns(node.on, schema, "unpivot")
                )
                bound = replace(node, on=on, index=index)
                return bound, s.unpivot_schema(bound, [c.name for c in on], [c.name for c in index], schema)
            case n.Pivot():
                wide = self._pivot(node, schema)
                return wide, s.pivot_schema(wide, schema)
            case _:
                raise unknown_node()

    def _pivot(self, node: n.Pivot, schema: Schema) -> n.Pivot:
        """Write out the columns that Polars would take for `index` and `values`."""
        o.check_pivot(node)
        for name in (node.on, *node.index, *node.values):
            s.require(name, schema)
        index, values = node.index, node.values
        if not index:
            index = tuple(c for c in schema if c != node.on and c not in values)
        if not values:
            values = tuple(c for c in schema if c != node.on and c not in index)
        return replace(node, index=index, values=values)


def named(expr: Expr, schema: Schema) -> AnyExpr:
    """Return an expanded expression as a plain column or an alias."""
    name = expr_name(expr, schema)
    while isinstance(expr, Alias):
        expr = expr.input
    if isinstance(expr, Column) and expr.name == name:
        return expr
    return Alias(cast(AnyExpr, expr), name)


def unknown_node() -> BindError:
    """Return the error for a node that binding does not know."""
    return BindError("The plan holds a node that is not known.", code="plan.bind.node")
