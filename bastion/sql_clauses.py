"""Clauses of SQL that change a query's parts: FILTER (WHERE …), names for the columns of a table, conditions taken apart."""

from __future__ import annotations

import re
from typing import Any

from bastion_plan import expressions as px
from bastion_plan import nodes as n
from bastion_plan.dtypes import Schema
from bastion_plan.errors import InputError
from bastion_plan.functions import registry
from bastion_plan.functions.spec import Flow, Shape
from bastion_plan.nodes import Node
from sqlglot import exp


def conjuncts(node: exp.Expression | None) -> list[exp.Expression]:
    """Return the conditions that all have to hold."""
    if node is None:
        return []
    return [*node.flatten()] if isinstance(node, exp.And) else [node]


def filtered(aggregate: px.AnyExpr, condition: px.AnyExpr) -> px.AnyExpr | None:
    """Return an aggregate of the rows for which a condition holds; None of what is no aggregate."""
    if not isinstance(aggregate, px.Call):
        return None
    if aggregate.function == "pl.len":
        return px.Call("sum", (condition,))
    if registry.get(aggregate.function).shape is not Shape.ONE or not aggregate.args:
        return None
    args = tuple(a if isinstance(a, px.Literal) else _narrowed(a, condition) for a in aggregate.args)
    return px.Call(aggregate.function, args, aggregate.options)


def _narrowed(expr: px.AnyExpr, condition: px.AnyExpr) -> px.AnyExpr:
    """Return the values of an expression in the rows for which a condition holds; rows are left out of it only then."""
    if isinstance(expr, px.Call) and registry.get(expr.function).flow is Flow.FILTER:
        return px.Call(expr.function, (_narrowed(expr.args[0], condition), *expr.args[1:]), expr.options)
    return px.Call("filter", (expr, condition))


def renamed(plan: Node, schema: Schema, alias: Any) -> Node:
    """Return a table with its columns called as `AS t(p, q)` says; the first ones, where fewer are named.

    Raises:
        InputError: more names than columns.
    """
    names = [column.name for column in alias.columns] if isinstance(alias, exp.TableAlias) else []
    if not names:
        return plan
    if len(names) > len(schema):
        msg = f"{alias.name!r} has {len(schema)} columns, and {len(names)} names for them."
        raise InputError(msg, code="input.sql")
    called = dict(zip(schema, names, strict=False))
    return n.Select(plan, tuple(px.Alias(px.Column(c), called[c]) if c in called else px.Column(c) for c in schema))  # type: ignore[arg-type]


def pattern(text: str, escape: str = "") -> str:
    """Return a pattern of LIKE as a regular expression."""
    parts, body, at = {"%": ".*", "_": "."}, "", 0
    while at < len(text):
        character = text[at]
        if escape and character == escape and at + 1 < len(text):
            at += 1
            body += re.escape(text[at])
        else:
            body += parts.get(character, re.escape(character))
        at += 1
    return body
