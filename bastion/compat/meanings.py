"""What expressions meant in the Polars that BastionLab was written for, where today's means something else.

`.then("male")` was the text, today it is the column of that name; `col != None` kept what is not null, today it is null for
every row. Both are read the old way here only where today's reading makes no sense: no such column, a comparison with null.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from bastion_plan import dtypes as dt
from bastion_plan import expressions as px
from bastion_plan.nodes import GroupBy, Node, Select
from bastion_plan.typing import expr_dtype, expr_name
from bastion_policy.flow_trees import columns_in, rewrite


def old_meaning(node: Node, columns: Mapping[str, Any]) -> Node:
    """Return a step of a plan with the expressions of its own read as they were meant.

    Args:
        node: the step. columns: those of the frame that it is a step of.
    """

    def change(expr: px.AnyExpr) -> px.AnyExpr:
        match expr:
            case px.Ternary(predicate=condition, truthy=truthy, falsy=falsy):
                return px.Ternary(condition, text(truthy), text(falsy))
            case px.Call(function="ne" | "eq" as name, args=(left, right)) if _is_null(right) or _is_null(left):
                return px.Call("is_not_null" if name == "ne" else "is_null", (left if _is_null(right) else right,))
        return expr

    def text(branch: px.AnyExpr) -> px.AnyExpr:
        unknown = isinstance(branch, px.Column) and branch.name not in columns
        return px.Literal(dt.STRING, branch.name) if unknown else branch  # type: ignore[union-attr]

    def read(value: Any) -> Any:
        if isinstance(value, px.Expr):
            return rewrite(value, change)
        if isinstance(value, tuple) and value and all(isinstance(item, px.Expr) for item in value):
            return tuple(rewrite(item, change) for item in value)
        return value

    fields = {name: getattr(node, name) for name in node.__struct_fields__}
    changed = {name: read(value) for name, value in fields.items()}
    return msgspec.structs.replace(node, **changed) if changed != fields else node


def without_hidden(node: Node, schema: dt.Schema, hidden: set[str]) -> Node:
    """Return a select or a group_by in which what is computed of hidden columns is null, as BastionLab gave it."""
    if not hidden or not isinstance(node, Select | GroupBy):
        return node

    def shown(expr: px.AnyExpr) -> px.AnyExpr:
        used = columns_in(expr)
        if isinstance(expr, px.Column) or not used & hidden:
            return expr
        return px.Alias(px.Cast(px.Literal(dt.NULL), expr_dtype(expr, schema)), expr_name(expr, schema))

    if isinstance(node, Select):
        return Select(node.input, tuple(map(shown, node.exprs)))
    return msgspec.structs.replace(node, aggs=tuple(map(shown, node.aggs)))


def _is_null(expr: px.AnyExpr) -> bool:
    return isinstance(expr, px.Literal) and expr.value is None
