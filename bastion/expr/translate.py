"""Real Polars expressions to plan expressions, so that existing Polars code works unchanged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
from bastion_plan import dtypes as dt
from bastion_plan import expressions as px
from bastion_plan.errors import BastionError, LimitError
from bastion_plan.functions.calls import LEFT_OUT, make_call
from bastion_plan.functions.registry import get

from bastion.expr.core import MAX_LEVELS, NoPython
from bastion.expr.literals import literal
from bastion.expr.recognise import Tree, recognise, tree_of
from bastion.expr.serialised import read_dtype, read_literal, read_selector, refuse


def translate(expr: pl.Expr) -> px.AnyExpr:
    """Return the plan's expression of a real Polars expression.

    Raises:
        NoPython: it runs a Python function (map_elements, map_batches, fold, name.map …).
        InputError: it holds something that has no place in a plan, said by name.
    """
    try:
        tree = tree_of(expr)
    except pl.exceptions.ComputeError:
        raise python_refused() from None
    try:
        return _expression(tree, 1)
    except (KeyError, TypeError, IndexError, ValueError, AttributeError):
        raise refuse(
            "something this release does not know", "The Polars release may differ from the pinned one."
        ) from None


def python_refused() -> NoPython:
    """Return the error for an expression with a Python function in it."""
    msg = "The expression runs a Python function (map_elements, map_batches, fold, name.map …), and no Python runs beside the data."
    return NoPython(
        msg, next_step="Use expressions: when/then/otherwise, replace, str.*, dt.*, rolling_*, *_horizontal."
    )


def _expression(tree: Tree, level: int) -> px.AnyExpr:
    if level > MAX_LEVELS + 1:
        msg = f"The expression is nested deeper than {MAX_LEVELS} levels."
        raise LimitError(msg, code="plan.limit.depth", next_step="Use pl.sum_horizontal(…), or several with_columns.")
    if tree == "Len":
        return px.Call("pl.len")
    if not isinstance(tree, dict) or len(tree) != 1:
        raise refuse(
            "something that is not understood" if tree != "Element" else "pl.element()", "Use the methods of .list."
        )
    kind, content = next(iter(tree.items()))
    reader = _READERS.get(kind)
    if reader is not None:
        return reader(content, level + 1)
    return _call(tree, kind, level)


def _column(content: Any, level: int) -> px.AnyExpr:
    del level
    return px.Column(content)


def _alias(content: Any, level: int) -> px.AnyExpr:
    inner = _expression(content[0], level)
    if isinstance(inner, px.Call) and get(inner.function).output_name == content[1]:
        return inner
    return px.Alias(inner, content[1])


_OPERATORS = {
    "Plus": "add", "Minus": "sub", "Multiply": "mul", "TrueDivide": "truediv", "FloorDivide": "floordiv", "Modulus": "mod",
    "Eq": "eq", "NotEq": "ne", "Lt": "lt", "LtEq": "le", "Gt": "gt", "GtEq": "ge", "EqValidity": "eq_missing",
    "NotEqValidity": "ne_missing", "And": "and_", "Or": "or_", "LogicalAnd": "and_", "LogicalOr": "or_", "Xor": "xor",
    "TruncDivide": "truncdiv",
}  # fmt: skip


def _binary(content: Any, level: int) -> px.AnyExpr:
    name = _OPERATORS.get(content["op"])
    if name is None:
        raise refuse(f"the operator {content['op']}")
    return px.Call(name, (_expression(content["left"], level), _expression(content["right"], level)))


def _ternary(content: Any, level: int) -> px.AnyExpr:
    parts = (_expression(content[k], level) for k in ("predicate", "truthy", "falsy"))
    return px.Ternary(*parts)


def _cast(content: Any, level: int) -> px.AnyExpr:
    how = {"Strict": (True, False), "NonStrict": (False, False), "Overflowing": (True, True)}[content["options"]]
    return px.Cast(_expression(content["expr"], level), read_dtype(content["dtype"]), *how)


_MAPPINGS = {"GroupsToRows": "group_to_rows", "Join": "join", "Explode": "explode"}


def _over(content: Any, level: int) -> px.AnyExpr:
    keys = tuple(_expression(k, level) for k in content["partition_by"] or ())
    order: tuple[px.AnyExpr, ...] = ()
    descending = nulls_last = False
    if content["order_by"] is not None:
        by, flags = content["order_by"]
        by_list = _row_encoded(by)
        order = tuple(_expression(b, level) for b in by_list)
        descending, nulls_last = flags["descending"], flags["nulls_last"]
        if len(by_list) > 1:
            ordered = by["Function"]["function"]["RowEncode"]["Ordered"]
            descending, nulls_last = _same(ordered["descending"]), _same(ordered["nulls_last"])
    return px.Over(
        _expression(content["function"], level), keys, order, descending, nulls_last, _MAPPINGS[content["mapping"]]
    )


def _row_encoded(tree: Tree) -> list[Tree]:
    """Return the keys of an order by several expressions, which Polars puts into one."""
    function = tree.get("Function") if isinstance(tree, dict) else None
    if function is not None and isinstance(function["function"], dict) and "RowEncode" in function["function"]:
        return list(function["input"])
    return [tree]


def _same(flags: list[bool]) -> bool:
    if len(set(flags)) != 1:
        raise refuse("an order with different directions inside over", "Order by one expression, or in one direction.")
    return flags[0]


def _keep_name(content: Any, level: int) -> px.AnyExpr:
    return px.NameChange(_expression(content, level), "keep")


def _rename(content: Any, level: int) -> px.AnyExpr:
    inner, change = _expression(content["expr"], level), content["function"]
    if isinstance(change, str):
        return px.NameChange(inner, {"ToLowercase": "to_lowercase", "ToUppercase": "to_uppercase"}[change])
    kind, value = next(iter(change.items()))
    match kind:
        case "Prefix" | "Suffix":
            return px.NameChange(inner, kind.lower(), (value,))
        case "Replace":
            if not value["literal"] and any(c in r"\.+*?()|[]{}^$" for c in value["pattern"]):
                raise refuse("name.replace with a pattern", "Use name.replace(old, new, literal=True), or rename.")
            return px.NameChange(inner, "replace", (value["pattern"], value["value"]))
        case "Map":
            raise python_refused()
    raise refuse(f"name.{kind.lower()}")


def _python(content: Any, level: int) -> px.AnyExpr:
    del content, level
    raise python_refused()


_READERS: dict[str, Callable[[Any, int], px.AnyExpr]] = {
    "Column": _column,
    "Literal": lambda content, level: read_literal(content),
    "Selector": lambda content, level: read_selector(content),
    "Alias": _alias,
    "BinaryExpr": _binary,
    "Ternary": _ternary,
    "Cast": _cast,
    "Over": _over,
    "KeepName": _keep_name,
    "RenameAlias": _rename,
    "AnonymousFunction": _python,
    "AnonymousAgg": _python,
}


#: Polars writes the first n as a slice from 0; where its length is null, it is a slice to the end
_TO_THE_END = {"head": "slice", "list.head": "list.slice"}


def _call(tree: Tree, kind: str, level: int) -> px.AnyExpr:
    found = recognise(tree)
    if found is None and _has_callback(tree):
        raise python_refused()
    if found is None:
        raise refuse(
            _words(tree, kind), "Ask for it, or write it with functions of the language: pl.col(…)? lists them."
        )
    function, arguments, options = found
    args = [px.Literal(dt.NULL) if a is None else _expression(a, level + 1) for a in arguments]
    for index, (arg, given) in enumerate(zip(function.args, arguments, strict=False)):
        if arg.optional and not arg.variadic and given is not None and args[index] == LEFT_OUT:
            if function.name in _TO_THE_END:
                return make_call(_TO_THE_END[function.name], [args[0], literal(0)], {})
            args[index] = explicit_null(args, function.name)
    try:
        return make_call(function.name, args, options)
    except BastionError as error:
        raise refuse(f"{function.name} in a way that is not offered ({error.message})") from None


def explicit_null(args: Sequence[px.AnyExpr], name: str) -> px.Literal:
    """Return a null that is meant as a value, where a plain null would mean "left out": of the type of the new values."""
    values = args[2] if len(args) > 2 else None
    if isinstance(values, px.Literal) and values.dtype.inner is not None:
        return px.Literal(values.dtype.inner)
    raise refuse(f"a null as argument of {name}", "Give a typed null: pl.lit(None, dtype=…).")


def _has_callback(tree: Tree) -> bool:
    """Whether a function holds one of Python's, as pl.fold and rolling_map do where cloudpickle is there to pack it."""
    called = tree["Function"]["function"] if "Function" in tree else None
    if not isinstance(called, dict):
        return False
    (options,) = list(called.values())[:1] or [None]
    if not isinstance(options, dict):
        return False
    inner = options.get("function")
    return "callback" in options or (isinstance(inner, dict) and "Map" in inner)


def _words(tree: Tree, kind: str) -> str:
    """Return the name of a node, for a message."""
    if kind != "Function":
        return {"Eval": "an evaluation inside lists (list.eval)", "Rolling": "expr.rolling", "Field": "pl.field"}.get(
            kind, kind
        )
    name = tree["Function"]["function"]
    parts = []
    while isinstance(name, dict) and name:
        key = next(iter(name))
        parts.append(key)
        name = name[key] if not isinstance(name[key], dict) or len(name[key]) == 1 else None
    if isinstance(name, str) and not parts:
        parts.append(name)
    return f"the function {'.'.join(parts)}"
