"""Selectors: columns by name, type or pattern, resolved on the server's schema when the plan is bound."""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from typing import Any

from bastion_plan import expressions as px
from bastion_plan.errors import InputError

from bastion.expr.core import Expr, column, one_column, selector_dtype


class SelectorExpr(Expr):
    """A selection of columns; `|`, `&`, `-`, `^` and `~` combine selections, anything else makes an expression."""

    __slots__ = ()

    def __or__(self, other: Any) -> Expr:
        both = _combine("union", self, other)
        return super().__or__(other) if both is None else both

    def __and__(self, other: Any) -> Expr:
        both = _combine("intersection", self, other)
        return super().__and__(other) if both is None else both

    def __sub__(self, other: Any) -> Expr:
        both = _combine("difference", self, other)
        return super().__sub__(other) if both is None else both

    def __xor__(self, other: Any) -> Expr:
        both = _combine("symmetric_difference", self, other)
        return super().__xor__(other) if both is None else both

    def __invert__(self) -> Expr:
        return SelectorExpr(px.Selector("complement", of=(self.plan,)))  # type: ignore[arg-type]

    def as_expr(self) -> Expr:
        """Return the selection as a plain expression, so that `|`, `&`, `-` work on values."""
        return Expr(self.plan)

    def exclude(self, columns: Any, *more_columns: Any) -> SelectorExpr:
        """Leave columns out."""
        return SelectorExpr(exclude_from(self.plan, columns, *more_columns))


class Columns(Expr):
    """What `pl.col("a", "b")`, `pl.all()` and their like stand for: an expression, once for each of the columns."""

    __slots__ = ()

    def exclude(self, columns: Any, *more_columns: Any) -> Columns:
        """Leave columns out."""
        return Columns(exclude_from(self.plan, columns, *more_columns))


def _combine(kind: str, left: SelectorExpr, right: Any) -> SelectorExpr | None:
    """Return the combination of two selections; None where the right side is no selection: `pl.col(…)` is its values."""
    if isinstance(right, SelectorExpr):
        return SelectorExpr(px.Selector(kind, of=(left.plan, right.plan)))  # type: ignore[arg-type]
    return None


def exclude_from(plan: px.AnyExpr, columns: Any, *more: Any) -> px.Selector:
    """Return a selection without some columns (names, patterns or types)."""
    if isinstance(plan, px.Column):
        plan = px.Selector("by_name", (plan.name,))
    if not isinstance(plan, px.Selector):
        msg = "exclude works on a selection of columns."
        raise InputError(msg, code="input.arguments", next_step='Write pl.all().exclude("name").')
    items = _items(columns, *more)
    if builtins.all(isinstance(i, str) for i in items) and not builtins.any(i.startswith("^") for i in items):
        unwanted = px.Selector("exclude", tuple(items), of=())
        return px.Selector("intersection", of=(plan, unwanted)) if plan.kind != "all" else unwanted
    parts = [_part(i) for i in items]
    out = parts[0] if len(parts) == 1 else px.Selector("union", of=tuple(parts))
    return px.Selector("difference", of=(plan, out))


def _part(item: Any) -> px.Selector:
    plan = column(item) if not isinstance(item, Expr) else item.plan
    return plan if isinstance(plan, px.Selector) else px.Selector("by_name", (plan.name,))  # type: ignore[union-attr]


def _items(*values: Any) -> list[Any]:
    out: list[Any] = []
    for value in values:
        out.extend(value if isinstance(value, Iterable) and not isinstance(value, str | Expr | type) else [value])
    if not out:
        msg = "A selector needs at least one name, pattern or data type."
        raise InputError(msg, code="input.arguments")
    return out


def _class(kind: str) -> SelectorExpr:
    return SelectorExpr(px.Selector("by_class", (kind,)))


def _strings(kind: str, values: tuple[Any, ...]) -> SelectorExpr:
    items = _items(*values)
    if not builtins.all(isinstance(i, str) for i in items):
        msg = f"{kind} takes strings."
        raise InputError(msg, code="input.arguments")
    return SelectorExpr(px.Selector(kind, tuple(items)))


def all() -> SelectorExpr:
    """All columns."""
    return SelectorExpr(px.Selector("all"))


def by_name(*names: Any, require_all: bool = True) -> SelectorExpr:
    """Columns by name."""
    if not require_all:
        items = _items(*names)
        pattern = "^(" + "|".join(_escape(i) for i in items) + ")$"
        return SelectorExpr(px.Selector("regex", (pattern,)))
    return _strings("by_name", names)


def _escape(text: str) -> str:
    return "".join("\\" + c if c in r"\.+*?()|[]{}^$#&-~" else c for c in text)


def by_dtype(*dtypes: Any) -> SelectorExpr:
    """Columns by data type."""
    return SelectorExpr(px.Selector("by_dtype", dtypes=tuple(selector_dtype(d) for d in _items(*dtypes))))


def by_index(*indices: Any, require_all: bool = True) -> SelectorExpr:
    """Columns by position; negative from the end."""
    del require_all
    items = _items(*indices)
    if not items or builtins.any(isinstance(i, bool) or not isinstance(i, int) for i in items):
        msg = "by_index takes whole numbers."
        raise InputError(msg, code="input.arguments")
    return SelectorExpr(px.Selector("by_index", tuple(items)))


def exclude(columns: Any, *more_columns: Any) -> SelectorExpr:
    """All columns but these."""
    return SelectorExpr(exclude_from(px.Selector("all"), columns, *more_columns))


def matches(pattern: str) -> SelectorExpr:
    """Columns whose name a regular expression finds."""
    return _strings("regex", (pattern,))


def starts_with(*prefix: str) -> SelectorExpr:
    """Columns whose name starts with one of these."""
    return _strings("starts_with", prefix)


def ends_with(*suffix: str) -> SelectorExpr:
    """Columns whose name ends with one of these."""
    return _strings("ends_with", suffix)


def contains(*substring: str) -> SelectorExpr:
    """Columns whose name holds one of these."""
    return _strings("contains", substring)


def first(*, strict: bool = True) -> SelectorExpr:
    """The first column."""
    del strict
    return SelectorExpr(px.Selector("first"))


def last(*, strict: bool = True) -> SelectorExpr:
    """The last column."""
    del strict
    return SelectorExpr(px.Selector("last"))


def _by_class(kind: str, doc: str) -> Any:
    def selector() -> SelectorExpr:
        return _class(kind)

    selector.__name__ = selector.__qualname__ = kind
    selector.__doc__ = doc
    return selector


numeric = _by_class("numeric", "Columns of numbers.")
integer = _by_class("integer", "Columns of whole numbers.")
float = _by_class("float", "Columns of floating-point numbers.")
boolean = _by_class("boolean", "Columns of truth values.")
temporal = _by_class("temporal", "Columns of dates, times and durations.")
date = _by_class("date", "Columns of dates.")
time = _by_class("time", "Columns of times.")
categorical = _by_class("categorical", "Columns of categories.")
nested = _by_class("nested", "Columns of lists, arrays and structs.")
list = _by_class("list", "Columns of lists.")
struct = _by_class("struct", "Columns of structs.")
binary = _by_class("binary", "Columns of bytes.")
decimal = _by_class("decimal", "Columns of decimals.")
enum = _by_class("enum", "Columns of enums.")
datetime = _by_class("datetime", "Columns of datetimes.")
duration = _by_class("duration", "Columns of durations.")


signed_integer = _by_class("signed_integer", "Columns of whole numbers with a sign.")
unsigned_integer = _by_class("unsigned_integer", "Columns of whole numbers without a sign.")
array = _by_class("array", "Columns of arrays.")


def _letters(kind: str, ascii_only: bool, ignore_spaces: bool) -> SelectorExpr:
    plain, wide = {
        "alpha": ("a-zA-Z", r"\p{L}\p{Nl}"),
        "alphanumeric": ("a-zA-Z0-9", r"\p{L}\p{Nl}\p{Nd}"),
        "digit": ("0-9", r"\p{Nd}"),
    }[kind]
    return matches(f"^[{plain if ascii_only else wide}{' ' if ignore_spaces else ''}]+$")


def alpha(ascii_only: bool = False, *, ignore_spaces: bool = False) -> SelectorExpr:
    """Columns whose name is letters only."""
    return _letters("alpha", ascii_only, ignore_spaces)


def alphanumeric(ascii_only: bool = False, *, ignore_spaces: bool = False) -> SelectorExpr:
    """Columns whose name is letters and digits only."""
    return _letters("alphanumeric", ascii_only, ignore_spaces)


def digit(ascii_only: bool = False) -> SelectorExpr:
    """Columns whose name is digits only."""
    return _letters("digit", ascii_only, False)


def empty() -> SelectorExpr:
    """No columns."""
    return SelectorExpr(px.Selector("difference", of=(px.Selector("all"), px.Selector("all"))))


def object() -> SelectorExpr:
    """Columns of Python objects: there are none on a server."""
    return empty()


def string(*, include_categorical: bool = False) -> SelectorExpr:
    """Columns of strings, and of categories where asked for."""
    plain = _class("string")
    return (
        SelectorExpr(px.Selector("union", of=(plain.plan, _class("categorical").plan)))
        if include_categorical
        else plain
    )  # type: ignore[arg-type]


def col(name: str) -> Expr:
    """One column."""
    return Expr(one_column(name))


NAMES = (
    "all",
    "by_name",
    "by_dtype",
    "by_index",
    "exclude",
    "matches",
    "starts_with",
    "ends_with",
    "contains",
    "first",
    "last",
    "numeric",
    "integer",
    "float",
    "boolean",
    "temporal",
    "date",
    "time",
    "categorical",
    "nested",
    "list",
    "struct",
    "binary",
    "decimal",
    "enum",
    "datetime",
    "duration",
    "string",
    "signed_integer",
    "unsigned_integer",
    "array",
    "alpha",
    "alphanumeric",
    "digit",
    "empty",
    "object",
)
