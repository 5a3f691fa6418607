"""Type, name and shape of an expression over a schema: what the binder, the flow typing and completion ask.

>>> import bastion_plan.functions
>>> from bastion_plan.expressions import Call, Column
>>> describe(Call("mean", (Column("age"),)), {"age": DType("Int8")})
Described(name='age', dtype=DType(kind='Float64'…), shape=<Shape.ONE: 'one'>)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import bastion_plan.functions  # noqa: F401  (registers every function)
from bastion_plan.dtypes import DYNAMIC, DType
from bastion_plan.errors import BindError, did_you_mean
from bastion_plan.expressions import Alias, Call, Cast, Column, Expr, Literal, NameChange, Over, Ternary
from bastion_plan.functions.accepts import fits
from bastion_plan.functions.calls import LEFT_OUT, check_call, parameters
from bastion_plan.functions.packing import pack, unpack
from bastion_plan.functions.rules import settle, supertype
from bastion_plan.functions.spec import UNKNOWN, Function, Given, Shape

NAME_CHANGES = {"keep": 0, "prefix": 1, "suffix": 1, "to_lowercase": 0, "to_uppercase": 0, "replace": 2}
MAPPINGS = ("group_to_rows", "join", "explode")


@dataclass(frozen=True, slots=True)
class Described:
    """What an expression gives: output name, type, and number of rows for n rows in."""

    name: str
    dtype: DType
    shape: Shape


def describe(expr: Expr, schema: Mapping[str, DType]) -> Described:
    """Return name, type and shape of an expression whose selectors are expanded.

    Raises:
        BindError: unknown column, function or option; a type that does not fit.
    """
    found = _describe(expr, schema)
    return Described(found.name, settle(found.dtype, _constant(expr)), found.shape)


def expr_dtype(expr: Expr, schema: Mapping[str, DType]) -> DType:
    """Return the type of an expression; raises BindError as `describe` does."""
    return describe(expr, schema).dtype


def expr_name(expr: Expr, schema: Mapping[str, DType]) -> str:
    """Return the output name of an expression; raises BindError as `describe` does."""
    return describe(expr, schema).name


def expr_shape(expr: Expr, schema: Mapping[str, DType]) -> Shape:
    """Return how many rows an expression gives; raises BindError as `describe` does."""
    return describe(expr, schema).shape


def aggregated(expr: Expr, schema: Mapping[str, DType]) -> Described:
    """Return what an expression gives inside `group_by(…).agg(…)`: one value per group, or the list of them."""
    found = describe(expr, schema)
    if found.shape is Shape.ONE:
        return found
    return Described(found.name, DType("List", inner=found.dtype), Shape.ONE)


def check_dtype(dtype: DType) -> DType:
    """Return a column type that is well formed, all the way down.

    Raises:
        BindError: an unknown kind, a missing unit, element type, width or precision.
    """
    distinct = len({name for name, _ in dtype.fields}) == len(dtype.fields)
    complete = distinct and len(set(dtype.categories)) == len(dtype.categories) and _is_plain(dtype)
    if not complete:
        msg = f"{dtype.kind} is not a complete data type."
        raise BindError(msg, code="plan.bind.dtype", next_step="Use one of Polars' data types with its parameters.")
    for inner in (*([dtype.inner] if dtype.inner else []), *(t for _, t in dtype.fields)):
        check_dtype(inner)
    return dtype


def _is_plain(dtype: DType) -> bool:
    """Whether a type has the parameters of its kind, and no others."""
    try:
        return unpack(pack(dtype)) == dtype
    except BindError:
        return False


def _describe(expr: Expr, schema: Mapping[str, DType]) -> Described:
    match expr:
        case Column(name=name):
            return Described(name, _column(name, schema), Shape.SAME)
        case Literal(dtype=dtype):
            return Described("literal", dtype if dtype.kind in DYNAMIC else check_dtype(dtype), Shape.ONE)
        case Alias(input=inner, name=name):
            found = _describe(inner, schema)
            return Described(name, found.dtype, found.shape)
        case Cast(input=inner, dtype=dtype):
            found = _describe(inner, schema)
            return Described(found.name, check_dtype(dtype), found.shape)
        case NameChange():
            return _renamed(expr, schema)
        case Ternary():
            return _ternary(expr, schema)
        case Over():
            return _over(expr, schema)
        case Call():
            return _call(expr, schema)
        case _:
            msg = "A selector stands where its columns should."
            raise BindError(msg, code="plan.bind.selector", next_step="Use it where several columns may stand.")


def _column(name: str, schema: Mapping[str, DType]) -> DType:
    try:
        return schema[name]
    except KeyError:
        msg = f"There is no column {name!r}."
        raise BindError(msg, code="plan.bind.column", next_step=did_you_mean(name, schema)) from None


def _ternary(expr: Ternary, schema: Mapping[str, DType]) -> Described:
    predicate, truthy, falsy = (_describe(e, schema) for e in (expr.predicate, expr.truthy, expr.falsy))
    if predicate.dtype.kind not in {"Boolean", "Null"}:
        msg = f"The condition of when() is {predicate.dtype}, not Boolean."
        raise BindError(msg, code="plan.bind.types", next_step="Compare it with something.")
    dtype = supertype(truthy.dtype, falsy.dtype, _constant(expr.truthy), _constant(expr.falsy))
    return Described(truthy.name, dtype, _widest([predicate.shape, truthy.shape, falsy.shape]))


def _over(expr: Over, schema: Mapping[str, DType]) -> Described:
    found = _describe(expr.input, schema)
    for key in (*expr.partition_by, *expr.order_by):
        _describe(key, schema)
    if expr.mapping not in MAPPINGS or not (expr.partition_by or expr.order_by):
        msg = "over() needs keys to partition by or an order, and a known mapping strategy."
        raise BindError(msg, code="plan.bind.over", next_step=f"Strategies: {', '.join(MAPPINGS)}.")
    dtype = settle(found.dtype, _constant(expr.input))
    if expr.mapping == "join" and found.shape is not Shape.ONE:
        dtype = DType("List", inner=dtype)
    return Described(found.name, dtype, Shape.ANY if expr.mapping == "explode" else Shape.SAME)


def _renamed(expr: NameChange, schema: Mapping[str, DType]) -> Described:
    found = _describe(expr.input, schema)
    if NAME_CHANGES.get(expr.kind) != len(expr.values):
        msg = f"name.{expr.kind} with {len(expr.values)} value(s) is not known."
        raise BindError(msg, code="plan.bind.name", next_step=f"Known: {', '.join(NAME_CHANGES)}.")
    name = found.name
    match expr.kind, expr.values:
        case "keep", _:
            name = root_name(expr.input) or found.name
        case "prefix", (text,):
            name = text + name
        case "suffix", (text,):
            name = name + text
        case "to_lowercase", _:
            name = name.lower()
        case "to_uppercase", _:
            name = name.upper()
        case _, (old, new):
            name = name.replace(old, new)
    return Described(name, found.dtype, found.shape)


def root_name(expr: Expr) -> str | None:
    """Return the name of the leftmost column of an expression, or None if it has no column."""
    match expr:
        case Column(name=name):
            return name
        case Call(args=args):
            return next((root for arg in args if (root := root_name(arg)) is not None), None)
        case (
            Ternary(truthy=inner) | Alias(input=inner) | Cast(input=inner) | NameChange(input=inner) | Over(input=inner)
        ):
            return root_name(inner)
        case _:
            return None


def _call(expr: Call, schema: Mapping[str, DType]) -> Described:
    function = check_call(expr)
    given = [_describe(arg, schema) for arg in expr.args]
    for arg, found, what in zip(parameters(function, len(given)), given, expr.args, strict=True):
        if not fits(arg.accepts, found.dtype) and not (arg.optional and what == LEFT_OUT):
            raise _unfit(function, arg.name, arg.accepts, found)
        if (arg.scalar and found.shape is not Shape.ONE) or (arg.each_row and found.shape is Shape.ONE):
            wanted = "one value per row" if arg.each_row else "one value, such as a constant or an aggregate"
            msg = f"{function.name} takes {wanted}{'' if arg.name == 'input' else f' as {arg.name}'}."
            raise BindError(msg, code="plan.bind.shape", next_step="Use over() for values per row.")
    dtype = function.result(
        Given(
            tuple(g.dtype for g in given),
            tuple(g.name for g in given),
            tuple(_constant(a) for a in expr.args),
            function.with_defaults(expr.options),
        )
    )
    return Described(_call_name(function, expr, given), dtype, _call_shape(function, given))


def _unfit(function: Function, name: str, accepts: str, found: Described) -> BindError:
    where = "" if name == "input" else f" as {name}"
    msg = f"{function.name} takes {accepts}{where}, not {found.dtype}."
    step = f"Cast {found.name!r}, or choose another column."
    if found.dtype.kind == "String" and "date" in accepts:
        step = f'Read the text of {found.name!r} as dates first, in the format it has: .str.to_date("%Y-%m-%d") or .str.to_datetime(…).'
    return BindError(msg, code="plan.bind.types", next_step=step)


def _call_name(function: Function, expr: Call, given: Sequence[Described]) -> str:
    if function.name == "struct.field":
        return str(expr.option("name"))
    if function.output_name is not None:
        return function.output_name
    return given[0].name if given else "literal"


def _call_shape(function: Function, given: Sequence[Described]) -> Shape:
    if function.shape is not Shape.SAME:
        return function.shape
    return _widest([g.shape for g in given])


def _widest(shapes: Sequence[Shape]) -> Shape:
    order = {Shape.ONE: 0, Shape.SAME: 1, Shape.ANY: 2}
    return reduce(lambda a, b: a if order[a] >= order[b] else b, shapes, Shape.ONE)


def _constant(expr: Expr) -> Any:
    while isinstance(expr, Alias):
        expr = expr.input
    return expr.value if isinstance(expr, Literal) else UNKNOWN
