"""Operators on plain values, bounded before they make anything; operators on our own objects are theirs."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
from bastion_plan.errors import LanguageError

from bastion.expr.core import Expr, NotAValue
from bastion.language.callables import kind_name
from bastion.language.limits import Meter, over
from bastion.language.members import is_own

_BINARY: dict[type[ast.operator], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
    ast.Pow: ("**", operator.pow),
    ast.BitAnd: ("&", operator.and_),
    ast.BitOr: ("|", operator.or_),
    ast.BitXor: ("^", operator.xor),
    ast.LShift: ("<<", operator.lshift),
    ast.RShift: (">>", operator.rshift),
}
_COMPARE: dict[type[ast.cmpop], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Eq: ("==", operator.eq),
    ast.NotEq: ("!=", operator.ne),
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
}
_TIMES = (date, datetime, time, timedelta)
_SEQUENCES = (list, tuple)


def binary(op: ast.operator, left: Any, right: Any, meter: Meter) -> Any:
    """Return `left op right`.

    Raises:
        LanguageError: the operator does not go with these values, or the result would be too large.
    """
    sign, function = _BINARY[type(op)]
    if isinstance(left, Expr) or isinstance(right, Expr):
        meter.spend(10)
        return function(left, right)
    if not _plain_pair(type(op), left, right, meter):
        raise _mismatch(sign, left, right)
    try:
        return meter.value(function(left, right))
    except ZeroDivisionError:
        msg = "A number is divided by zero."
        raise LanguageError(msg, code="language.value") from None
    except (TypeError, ValueError, OverflowError, ArithmeticError):
        raise _mismatch(sign, left, right) from None


def _plain_pair(op: type[ast.operator], left: Any, right: Any, meter: Meter) -> bool:
    """Return whether the operator may be used; refuses by size before anything is made."""
    number = isinstance(left, int | float | Decimal) and isinstance(right, int | float | Decimal)
    if number:
        if op is ast.Pow:
            _check_power(left, right, meter)
        if op is ast.LShift and isinstance(left, int) and isinstance(right, int):
            if right > meter.limits.bits:
                raise over("The number has too many bits", meter.limits.bits)
        elif op is ast.Mult and isinstance(left, int) and isinstance(right, int):
            meter.integer(left)
            meter.integer(right)
        return True
    if op is ast.Mult:
        for sequence, count in ((left, right), (right, left)):
            if isinstance(count, int) and isinstance(sequence, str | bytes):
                meter.characters(len(sequence) * max(count, 0))
                return True
            if isinstance(count, int) and isinstance(sequence, list | tuple):
                meter.length(len(sequence) * max(count, 0))
                return True
        return isinstance(left, timedelta) or isinstance(right, timedelta)
    if op is ast.Add:
        if isinstance(left, str | bytes) and type(left) is type(right):
            meter.characters(len(left) + len(right))
            return True
        if isinstance(left, _SEQUENCES) and type(left) is type(right):
            meter.length(len(left) + len(right))
            return True
        return isinstance(left, _TIMES) and isinstance(right, _TIMES)
    if op in (ast.Sub, ast.Div, ast.FloorDiv, ast.Mod):
        if op is ast.Sub and isinstance(left, set) and isinstance(right, set):
            return True
        return isinstance(left, _TIMES) and isinstance(right, (*_TIMES, int, float))
    if op in (ast.BitOr, ast.BitAnd, ast.BitXor):
        sets = isinstance(left, set) and isinstance(right, set)
        return sets or (op is ast.BitOr and isinstance(left, dict) and isinstance(right, dict))
    return False


def _check_power(left: Any, right: Any, meter: Meter) -> None:
    if (
        isinstance(left, int)
        and isinstance(right, int)
        and right > 0
        and left.bit_length() * right > meter.limits.bits + right
    ):
        raise over("The number has too many bits", meter.limits.bits, next_step="Use floats: 10.0 ** 30.")
    if isinstance(left, Decimal) or isinstance(right, Decimal):
        raise _mismatch("**", left, right)
    if isinstance(right, int) and right.bit_length() > 64:
        raise over("The exponent is too large", 2**64)


def unary(op: ast.unaryop, value: Any, meter: Meter) -> Any:
    """Return `-value`, `+value`, `~value` or `not value`."""
    if isinstance(op, ast.Not):
        return not truth(value)
    if isinstance(value, Expr):
        return {ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Invert: operator.invert}[type(op)](value)
    if isinstance(value, timedelta) and not isinstance(op, ast.Invert):
        return -value if isinstance(op, ast.USub) else value
    if isinstance(value, int | float | Decimal) and not (isinstance(op, ast.Invert) and not isinstance(value, int)):
        if isinstance(op, ast.USub):
            return -value
        return +value if isinstance(op, ast.UAdd) else ~int(value)
    msg = f"The sign does not go with a {kind_name(value)}."
    raise LanguageError(msg, code="language.operator")


def compare(op: ast.cmpop, left: Any, right: Any, meter: Meter) -> Any:
    """Return one comparison."""
    if isinstance(op, ast.In | ast.NotIn):
        found = _contains(left, right, meter)
        return found if isinstance(op, ast.In) else not found
    if isinstance(op, ast.Is | ast.IsNot):
        return _identical(left, right) is isinstance(op, ast.Is)
    sign, function = _COMPARE[type(op)]
    if isinstance(left, Expr) or isinstance(right, Expr):
        meter.spend(10)
        return function(left, right)
    if not (_comparable(left) and _comparable(right)):
        raise _mismatch(sign, left, right)
    meter.value(left)
    meter.value(right)
    try:
        return bool(function(left, right))
    except (TypeError, ValueError):
        raise _mismatch(sign, left, right) from None


def _comparable(value: Any) -> bool:
    plain = (bool, int, float, str, bytes, Decimal, *_TIMES, list, tuple, dict, set, range, pl.DataType, type)
    return value is None or isinstance(value, plain)


def _identical(left: Any, right: Any) -> bool:
    for value in (left, right):
        if value is None or isinstance(value, bool):
            return left is right
    msg = "`is` compares with None, True or False only."
    raise LanguageError(msg, code="language.operator", next_step="Write == instead.")


def _contains(item: Any, container: Any, meter: Meter) -> bool:
    if isinstance(container, Expr):
        container.__contains__(item)
    if isinstance(container, str):
        if not isinstance(item, str):
            raise _mismatch("in", item, container)
        meter.characters(len(container))
        return item in container
    if isinstance(container, list | tuple | set | dict | range):
        if isinstance(item, Expr) or (
            isinstance(container, list | tuple) and any(isinstance(c, Expr) for c in container)
        ):
            msg = "`in` does not look for column expressions."
            raise LanguageError(msg, code="language.operator", next_step="Use .is_in([…]).")
        meter.value(container)
        try:
            return item in container
        except TypeError:
            raise _mismatch("in", item, container) from None
    if is_own(container) and hasattr(type(container), "plan_schema") and isinstance(item, str):
        return item in container.plan_schema
    raise _mismatch("in", item, container)


def truth(value: Any) -> bool:
    """Return whether a plain value counts as true.

    Raises:
        NotAValue: an expression or a frame, whose values are on the server.
    """
    if value is None or isinstance(
        value, bool | int | float | str | bytes | Decimal | list | tuple | set | Mapping | range | timedelta
    ):
        return bool(value)
    if is_own(value):
        msg = f"A {kind_name(value)} is neither true nor false, because its values are on the server."
        raise NotAValue(
            msg,
            next_step="Use & for and, | for or, ~ for not, with each comparison in parentheses, (a > 1) & (b == 2), and "
            "pl.when(…).then(…).otherwise(…) for if.",
        )
    msg = f"A {kind_name(value)} is neither true nor false."
    raise LanguageError(msg, code="language.operator", next_step="Compare it with a value.")


def _mismatch(sign: str, left: Any, right: Any) -> LanguageError:
    msg = f"{sign} does not go with a {kind_name(left)} and a {kind_name(right)}."
    step = 'Use an f-string: f"{x:.2f}".' if sign == "%" and isinstance(left, str) else ""
    if "frame" in (kind_name(left), kind_name(right)):
        step = f"Columns compute within a frame: pl.col(…) {sign} …, in .filter(…), .select(…) or .with_columns(…)."
    return LanguageError(msg, code="language.operator", next_step=step)


def subscript(value: Any, index: Any, meter: Meter) -> Any:
    """Return `value[index]`."""
    from bastion.client.frames import RemoteLazyFrame
    from bastion.client.grouping import GroupsBase

    if isinstance(value, RemoteLazyFrame | GroupsBase):
        return value[index]
    if isinstance(value, str | bytes | list | tuple | range):
        if isinstance(index, slice | int):
            try:
                return meter.value(value[index])
            except (IndexError, ValueError, TypeError):
                msg = "There is nothing at this position."
                raise LanguageError(msg, code="language.value", next_step=f"It has {len(value)} elements.") from None
    elif isinstance(value, Mapping):
        try:
            return value[index]
        except (KeyError, TypeError):
            known = ", ".join(repr(k) for k in list(value)[:12])
            msg = "There is no such key."
            raise LanguageError(msg, code="language.value", next_step=f"There are: {known}." if known else "") from None
    elif isinstance(value, pl.DataFrame):
        return _table_item(value, index)
    elif isinstance(value, pl.Series) and isinstance(index, int) and not isinstance(index, bool):
        if -len(value) <= index < len(value):
            return value[index]
        msg = "There is nothing at this position."
        raise LanguageError(msg, code="language.value", next_step=f"It has {len(value)} values.")
    msg = f"A {kind_name(value)} takes no such index."
    raise LanguageError(msg, code="language.operator")


def _table_item(table: pl.DataFrame, index: Any) -> Any:
    if isinstance(index, str):
        if index in table.columns:
            return table[index]
        msg = f"The table has no column {index!r}."
        raise LanguageError(msg, code="language.value", next_step=f"There are: {', '.join(table.columns[:12])}.")
    if isinstance(index, list) and all(isinstance(i, str) for i in index) and set(index) <= set(table.columns):
        return table.select(index)
    if isinstance(index, int) and not isinstance(index, bool) and -table.height <= index < table.height:
        return table[index]
    if (
        isinstance(index, slice)
        and all(isinstance(i, int) or i is None for i in (index.start, index.stop, index.step))
        and index.step != 0
    ):
        return table[index]
    pair = isinstance(index, tuple) and len(index) == 2 and isinstance(index[0], int) and index[1] in table.columns
    if pair and -table.height <= index[0] < table.height:
        return table[index[0], index[1]]
    msg = "A table takes a column name, a list of names, a row number, a slice, or (row, column)."
    raise LanguageError(msg, code="language.operator")
