"""The builtins of the language: safe versions of Python's, and methods of texts, lists and dicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
from bastion_plan.errors import LanguageError

from bastion.expr.core import Expr
from bastion.language.callables import SafeFunction, kind_name
from bastion.language.limits import Meter, over, take
from bastion.language.operations import truth
from bastion.language.texts import text_of

_ITERABLE = (list, tuple, set, range, str, dict, pl.Series)


def iterate(value: Any, meter: Meter) -> list[Any]:
    """Return the elements of public data as a list.

    Raises:
        LanguageError: something whose elements are on the server, or that has none.
    """
    if isinstance(value, Mapping):
        return take(value, meter)
    if isinstance(value, _ITERABLE):
        return take(value, meter)
    msg = f"A {kind_name(value)} cannot be looped over."
    step = "Loop over frame.columns, frame.schema, a list, or a fetched result."
    raise LanguageError(msg, code="language.value", next_step=step)


def _numbers(name: str, values: list[Any]) -> list[Any]:
    if any(isinstance(v, Expr) for v in values):
        msg = f"{name} works on plain values, not on column expressions."
        raise LanguageError(msg, code="language.value", next_step=f"Write expr.{name}(), or pl.{name}_horizontal(…).")
    return values


def _len(meter: Meter, value: Any) -> int:
    """The number of elements of a list, text or dict."""
    if isinstance(value, pl.DataFrame):
        return value.height
    if isinstance(value, (*_ITERABLE, bytes)):
        return len(value)
    msg = f"A {kind_name(value)} has no length here."
    raise LanguageError(msg, code="language.value", next_step="For rows on the server: .select(pl.len()).")


def _range(meter: Meter, *bounds: int) -> range:
    """Whole numbers from a start to before a stop."""
    if not bounds or len(bounds) > 3 or not all(isinstance(b, int) for b in bounds):
        raise _usage("range", "range(stop), range(start, stop) or range(start, stop, step)")
    if len(bounds) == 3 and bounds[2] == 0:
        raise _usage("range", "a step other than 0")
    made = range(*bounds)
    if abs(bounds[-1] if len(bounds) == 1 else bounds[1] - bounds[0]) > 2**62:
        raise over("The range is too long", meter.limits.weight)
    meter.length(len(made), "The range is too long")
    return made


def _usage(name: str, text: str) -> LanguageError:
    msg = f"{name} is not used like this."
    return LanguageError(msg, code="language.call", next_step=f"Write {text}.")


def _zip(meter: Meter, *iterables: Any) -> list[Any]:
    """Elements side by side, as a list of tuples."""
    columns = [iterate(i, meter) for i in iterables]
    return meter.value(list(zip(*columns, strict=False)))  # type: ignore[no-any-return]


def _enumerate(meter: Meter, values: Any, start: int = 0) -> list[Any]:
    """Elements with their number, as a list of tuples."""
    return meter.value(list(enumerate(iterate(values, meter), start)))  # type: ignore[no-any-return]


def _sorted(meter: Meter, values: Any, *, reverse: bool = False) -> list[Any]:
    """Elements in order."""
    items = _numbers("sort", iterate(values, meter))
    meter.spend(len(items) * max(1, len(items).bit_length()))
    return _typed("sorted", lambda: sorted(items, reverse=truth(reverse)))  # type: ignore[no-any-return]


def _reversed(meter: Meter, values: Any) -> list[Any]:
    """Elements in the opposite order."""
    return iterate(values, meter)[::-1]


def _extreme(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def extreme(meter: Meter, *values: Any) -> Any:
        items = iterate(values[0], meter) if len(values) == 1 else list(values)
        if not items:
            raise _usage(name, f"{name} of at least one value")
        return _typed(name, lambda: function(_numbers(name, items)))

    extreme.__doc__ = f"The {'smallest' if name == 'min' else 'largest'} element."
    return extreme


def _sum(meter: Meter, values: Any, start: Any = 0) -> Any:
    """The sum of numbers."""
    items = iterate(values, meter)
    if any(isinstance(v, Expr) for v in items):
        total: Any = start
        for item in items:
            total = item if isinstance(total, int) and total == 0 else total + item
        return total
    if any(isinstance(v, str | list | tuple) for v in items):
        raise _usage("sum", 'sum of numbers; for texts "".join([…])')
    return meter.value(_typed("sum", lambda: sum(items, start)))


def _round(meter: Meter, number: Any, ndigits: int | None = None) -> Any:
    """A number with fewer digits."""
    if isinstance(number, Expr):
        return number.round(ndigits or 0)  # type: ignore[attr-defined]
    if not isinstance(number, int | float | Decimal) or (
        ndigits is not None and not (isinstance(ndigits, int) and abs(ndigits) <= 400)
    ):
        raise _usage("round", "round(number, digits)")
    return _typed("round", lambda: round(number, ndigits))


def _abs(meter: Meter, number: Any) -> Any:
    """The absolute value."""
    if isinstance(number, Expr | int | float | Decimal | timedelta):
        return abs(number)
    raise _usage("abs", "abs(number)")


def _str(meter: Meter, value: Any = "") -> str:
    """A value as text."""
    if isinstance(value, Expr):
        msg = "A column expression has no text here."
        raise LanguageError(msg, code="language.value", next_step="To make texts of a column: expr.cast(pl.String).")
    return text_of(value, meter)


def _int(meter: Meter, value: Any = 0) -> int:
    """A whole number of a number or text."""
    if isinstance(value, str) and len(value) > 100:
        raise _usage("int", "int of a shorter text")
    if not isinstance(value, int | float | str | Decimal):
        raise _usage("int", "int of a number or text; for columns expr.cast(pl.Int64)")
    return meter.integer(_typed("int", lambda: int(value)))


def _float(meter: Meter, value: Any = 0.0) -> float:
    """A number of a number or text."""
    if isinstance(value, str) and len(value) > 100:
        raise _usage("float", "float of a shorter text")
    if not isinstance(value, int | float | str | Decimal):
        raise _usage("float", "float of a number or text; for columns expr.cast(pl.Float64)")
    return _typed("float", lambda: float(value))  # type: ignore[no-any-return]


def _bool(meter: Meter, value: Any = False) -> bool:
    """Whether a plain value counts as true."""
    return truth(value)


def _list(meter: Meter, values: Any = ()) -> list[Any]:
    """Elements as a list."""
    return iterate(values, meter)


def _tuple(meter: Meter, values: Any = ()) -> tuple[Any, ...]:
    """Elements as a tuple."""
    return tuple(iterate(values, meter))


def _set(meter: Meter, values: Any = ()) -> set[Any]:
    """Distinct elements."""
    return _typed("set", lambda: set(iterate(values, meter)))  # type: ignore[no-any-return]


def _dict(meter: Meter, pairs: Any = None, **named: Any) -> dict[Any, Any]:
    """A dict of pairs and names."""
    first = {} if pairs is None else pairs if isinstance(pairs, Mapping) else None
    if first is None:
        first = _typed("dict", lambda: {p[0]: p[1] for p in iterate(pairs, meter) if isinstance(p, list | tuple)})
    return meter.value({**first, **named})  # type: ignore[no-any-return]


def _any(meter: Meter, values: Any) -> bool:
    """Whether any element is true."""
    return any(truth(v) for v in iterate(values, meter))


def _all(meter: Meter, values: Any) -> bool:
    """Whether all elements are true."""
    return all(truth(v) for v in iterate(values, meter))


def _typed(name: str, work: Callable[[], Any]) -> Any:
    try:
        return work()
    except (TypeError, ValueError, OverflowError, ArithmeticError, IndexError):
        msg = f"{name} does not go with these values."
        raise LanguageError(msg, code="language.value") from None


# ---- methods of texts, lists and dicts ------------------------------------------------------------------------------


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    msg = f"A text is needed here, not a {kind_name(value)}."
    raise LanguageError(msg, code="language.value")


def _replace(meter: Meter, text: str, old: str, new: str) -> str:
    """Put another text in place of a part."""
    old, new = _text(old), _text(new)
    count = text.count(old)
    meter.characters(len(text) + count * max(0, len(new) - len(old)) + (len(new) * (len(text) + 1) if not old else 0))
    return text.replace(old, new)


def _join(meter: Meter, text: str, values: Any) -> str:
    """Join texts, with this text between them."""
    items = [_text(v) for v in iterate(values, meter)]
    meter.characters(sum(map(len, items)) + len(text) * len(items))
    return text.join(items)


def _split(meter: Meter, text: str, sep: str | None = None) -> list[str]:
    """Split a text at a separator, or at blanks."""
    if sep is not None and not _text(sep):
        raise _usage("split", "a separator that is not empty")
    meter.characters(len(text))
    return meter.value(text.split(sep))  # type: ignore[no-any-return]


def _simple(name: str, doc: str) -> Callable[..., Any]:
    """Return a text method that takes texts and cannot grow the text by more than a factor of three."""
    own = getattr(str, name)

    def method(meter: Meter, text: str, *args: str) -> Any:
        meter.characters(3 * len(text))
        return _typed(name, lambda: own(text, *(_text(a) for a in args)))

    method.__doc__ = doc
    return method


def _first(name: str) -> Callable[..., Any]:
    def method(meter: Meter, text: str, part: str) -> Any:
        meter.characters(len(text))
        return getattr(str, name)(text, _text(part))

    method.__doc__ = f"{name} of a part in the text."
    return method


TEXT_METHODS: dict[str, Callable[..., Any]] = {
    "upper": _simple("upper", "In capital letters."),
    "lower": _simple("lower", "In small letters."),
    "title": _simple("title", "Words beginning with capital letters."),
    "capitalize": _simple("capitalize", "Beginning with a capital letter."),
    "strip": _simple("strip", "Without blanks at the ends."),
    "lstrip": _simple("lstrip", "Without blanks at the start."),
    "rstrip": _simple("rstrip", "Without blanks at the end."),
    "removeprefix": _simple("removeprefix", "Without a prefix."),
    "removesuffix": _simple("removesuffix", "Without a suffix."),
    "isdigit": _simple("isdigit", "Whether there are digits only."),
    "startswith": _first("startswith"),
    "endswith": _first("endswith"),
    "count": _first("count"),
    "find": _first("find"),
    "replace": _replace,
    "join": _join,
    "split": _split,
}


def _keys(meter: Meter, mapping: dict[Any, Any]) -> list[Any]:
    """The keys."""
    return take(mapping, meter)


def _values(meter: Meter, mapping: dict[Any, Any]) -> list[Any]:
    """The values."""
    return take(mapping.values(), meter)


def _items(meter: Meter, mapping: dict[Any, Any]) -> list[Any]:
    """Pairs of keys and values."""
    return take(mapping.items(), meter)


def _get(meter: Meter, mapping: dict[Any, Any], key: Any, default: Any = None) -> Any:
    """The value of a key, or a default."""
    return _typed("get", lambda: mapping.get(key, default))


def _index(meter: Meter, values: list[Any], value: Any) -> int:
    """The position of a value."""
    meter.value(values)
    return _typed("index", lambda: values.index(value))  # type: ignore[no-any-return]


def _count(meter: Meter, values: list[Any], value: Any) -> int:
    """How often a value occurs."""
    meter.value(values)
    return _typed("count", lambda: values.count(value))  # type: ignore[no-any-return]


DICT_METHODS: dict[str, Callable[..., Any]] = {"keys": _keys, "values": _values, "items": _items, "get": _get}
LIST_METHODS: dict[str, Callable[..., Any]] = {"index": _index, "count": _count}


def plain_methods(value: Any) -> dict[str, Callable[..., Any]]:
    """Return the methods a cell has on a plain value; each takes the meter and the value first."""
    if isinstance(value, str):
        return TEXT_METHODS
    if isinstance(value, dict):
        return DICT_METHODS
    return LIST_METHODS if isinstance(value, list | tuple) else {}


# ---- dates ----------------------------------------------------------------------------------------------------------


def _made(kind: Any) -> Callable[..., Any]:
    def make(*args: Any, **kwargs: Any) -> Any:
        return _typed(kind.__name__, lambda: kind(*args, **kwargs))

    make.__doc__ = f"A {kind.__name__}, as Python's datetime.{kind.__name__}."
    return make


def _from_iso(kind: Any) -> SafeFunction:
    def fromisoformat(text: str) -> Any:
        return _typed("fromisoformat", lambda: kind.fromisoformat(_text(text)))

    return SafeFunction(
        f"{kind.__name__}.fromisoformat", fromisoformat, doc=f"A {kind.__name__} of a text like 2020-01-31."
    )


def constructors() -> dict[str, SafeFunction]:
    """Return date, datetime, time and timedelta."""
    out = {"timedelta": SafeFunction("timedelta", _made(timedelta))}
    for kind in (date, datetime, time):
        out[kind.__name__] = SafeFunction(kind.__name__, _made(kind), members={"fromisoformat": _from_iso(kind)})
    return out


def builtins() -> dict[str, SafeFunction]:
    """Return the safe builtins by name."""
    table: dict[str, Callable[..., Any]] = {
        "len": _len, "range": _range, "zip": _zip, "enumerate": _enumerate, "sorted": _sorted, "reversed": _reversed,
        "min": _extreme("min", min), "max": _extreme("max", max), "sum": _sum, "round": _round, "abs": _abs, "str": _str,
        "int": _int, "float": _float, "bool": _bool, "list": _list, "tuple": _tuple, "set": _set, "dict": _dict,
        "any": _any, "all": _all,
    }  # fmt: skip
    return {name: SafeFunction(name, call, metered=True) for name, call in table.items()}


__all__ = ["builtins", "constructors", "iterate", "plain_methods"]
