"""The tag of an expression in Polars' JSON form, such as "Function/StringExpr/Contains" or "BinaryExpr/Plus"."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

#: functions whose own content names the function
_FAMILIES = {
    "StringExpr", "TemporalExpr", "ListExpr", "ArrayExpr", "StructExpr", "Categorical", "BinaryExpr", "Boolean", "Bitwise",
    "Range", "Business", "Trigonometry", "Pow", "SetOperation", "FillNullWithStrategy",
}  # fmt: skip


def tag_of(expr: pl.Expr) -> str:
    """Return the tag of the outermost node."""
    tree = json.loads(expr.meta.serialize(format="json"))
    kind, content = _single(tree)
    match kind:
        case "Agg":
            return f"Agg/{_single(content)[0]}"
        case "BinaryExpr":
            return f"BinaryExpr/{content['op']}"
        case "Function":
            return "/".join(["Function", *_function(content["function"])])
        case _:
            return kind


def _function(tree: Any) -> list[str]:
    kind, content = _single(tree)
    if kind in {"RollingExpr", "RollingExprBy"}:
        name = content.get("function", content.get("function_by"))
        return [kind, _single(name)[0]]
    return [kind, *_function(content)] if kind in _FAMILIES else [kind]


def _single(tree: Any) -> tuple[str, Any]:
    if isinstance(tree, str):
        return tree, None
    kind = next(iter(tree))
    return kind, tree[kind]
