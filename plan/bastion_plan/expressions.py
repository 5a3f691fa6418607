"""Expressions of the plan: frozen, hashable, tagged structs. What they mean is the registry's business."""

from __future__ import annotations

import math
import struct
from functools import lru_cache
from typing import Any

import msgspec

from bastion_plan.dtypes import DType
from bastion_plan.errors import PlanError

#: what an option of a function or a literal may hold; tuples nest
Constant = None | bool | int | float | str | bytes | tuple[Any, ...]

_CANONICAL_NAN = struct.unpack(">d", bytes.fromhex("7ff8000000000000"))[0]


def freeze(value: Any) -> Any:
    """Return `value` with lists as tuples and every NaN as the one canonical NaN; refuse what is not plain data."""
    if value is None or isinstance(value, bool | str | bytes):
        return value
    if isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            msg = "An integer constant does not fit into 64 bits."
            raise PlanError(msg, code="plan.literal", next_step="Write it as a string and cast it to Int128.")
        return value
    if isinstance(value, float):
        return _CANONICAL_NAN if math.isnan(value) else value
    if isinstance(value, list | tuple):
        return tuple(freeze(v) for v in value)
    msg = f"A constant of Python type {type(value).__name__!r} cannot be part of a plan."
    raise PlanError(msg, code="plan.literal", next_step="Use numbers, strings, booleans, dates or lists of them.")


@lru_cache(maxsize=256)
def _defaults(kind: type[msgspec.Struct]) -> tuple[tuple[str, Any], ...]:
    """The fields whose default is not one shared object of the language (None, True, 0, ()), with that default."""
    fields = ((f.name, f.default) for f in msgspec.structs.fields(kind))
    return tuple((name, default) for name, default in fields if isinstance(default, str | tuple) and default)


def share_defaults(struct: msgspec.Struct) -> None:
    """Put the class's own default object where a field holds an equal one.

    INVARIANT: equal plans have equal bytes. msgspec leaves a field out where it *is* the default, not where it equals it.
    """
    for name, default in _defaults(type(struct)):
        value = getattr(struct, name)
        if value is not default and value == default:
            msgspec.structs.force_setattr(struct, name, default)


class Expr(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="expr"):
    """Base of all expressions."""

    def __post_init__(self) -> None:
        share_defaults(self)


class Column(Expr, frozen=True, tag="col"):
    """A column by name."""

    name: str


class Selector(Expr, frozen=True, tag="sel"):
    """Columns by kind, resolved when the plan is bound.

    kind: "all", "by_name", "exclude", "by_dtype", "by_class" ("numeric", "integer", "float", "string", "boolean",
    "temporal", "date", "datetime", "duration", "time", "categorical", "nested", "list", "struct", "binary", "decimal",
    "enum"), "regex", "starts_with", "ends_with", "contains", "first", "last", "by_index",
    or a set operation over `of`: "union", "intersection", "difference", "symmetric_difference", "complement".
    values: names, patterns, class names or indices. dtypes: for "by_dtype".
    """

    kind: str
    values: tuple[str | int, ...] = ()
    dtypes: tuple[DType, ...] = ()
    of: tuple[Selector, ...] = ()


class Literal(Expr, frozen=True, tag="lit"):
    """A typed constant. The dtype is part of its identity: 1, True and 1.0 are three different literals.

    value, by dtype: null None; integers int (Int128: str); floats float; Boolean bool; String, Categorical, Enum str;
    Binary bytes; Date int days since 1970; Datetime and Duration int in the dtype's unit; Time int nanoseconds;
    Decimal str; List and Array a tuple of such values; Struct a tuple in field order.
    """

    dtype: DType
    value: Any = None

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "value", freeze(self.value))


class Call(Expr, frozen=True, tag="call"):
    """A registered function. options: (name, constant) sorted by name, those equal to the default left out."""

    function: str
    args: tuple[AnyExpr, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "options", tuple((k, freeze(v)) for k, v in self.options))

    def option(self, name: str, default: Any = None) -> Any:
        """Return an option's value, `default` where it was left out (the registry knows the real default)."""
        return dict(self.options).get(name, default)


class Ternary(Expr, frozen=True, tag="if"):
    """when(predicate).then(truthy).otherwise(falsy)."""

    predicate: AnyExpr
    truthy: AnyExpr
    falsy: AnyExpr


class Cast(Expr, frozen=True, tag="cast"):
    """A cast; strict: a value that does not fit is an error, else it becomes null."""

    input: AnyExpr
    dtype: DType
    strict: bool = True
    wrap_numerical: bool = False


class Over(Expr, frozen=True, tag="over"):
    """A window: `input` per partition. mapping: "group_to_rows", "join" or "explode"."""

    input: AnyExpr
    partition_by: tuple[AnyExpr, ...] = ()
    order_by: tuple[AnyExpr, ...] = ()
    descending: bool = False
    nulls_last: bool = False
    mapping: str = "group_to_rows"


class Alias(Expr, frozen=True, tag="as"):
    """A new output name."""

    input: AnyExpr
    name: str


class NameChange(Expr, frozen=True, tag="name"):
    """`.name.*`: kind is "keep", "prefix", "suffix", "to_lowercase", "to_uppercase" or "replace" (values: old, new)."""

    input: AnyExpr
    kind: str
    values: tuple[str, ...] = ()


AnyExpr = Column | Selector | Literal | Call | Ternary | Cast | Over | Alias | NameChange


def children(expr: Expr) -> tuple[Expr, ...]:
    """Return the direct sub-expressions, in evaluation order."""
    match expr:
        case Call(args=args):
            return args
        case Ternary(predicate=p, truthy=t, falsy=f):
            return (p, t, f)
        case Cast(input=i) | Alias(input=i) | NameChange(input=i):
            return (i,)
        case Over(input=i, partition_by=p, order_by=o):
            return (i, *p, *o)
        case Selector(of=of):
            return of
        case _:
            return ()
