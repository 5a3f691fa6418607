"""Names that Polars has lost since BastionLab's first version, put back on Polars' own expressions.

Only names that today's Polars does not have, and `pl.count()` without arguments, which it refuses. Each is today's method
under its old name, so that everything that reads expressions goes on reading them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

#: old method of an expression -> today's, through a namespace where there is a dot
_EXPR = {
    "suffix": "name.suffix", "prefix": "name.prefix", "keep_name": "name.keep", "is_not": "not_", "cumsum": "cum_sum",
    "cumprod": "cum_prod", "cummax": "cum_max", "cummin": "cum_min", "cumcount": "cum_count", "arr": "list",
    "take_every": "gather_every", "argsort": "arg_sort",
}  # fmt: skip
_NAMESPACES = {
    "str": {
        "strip": "strip_chars", "lstrip": "strip_chars_start", "rstrip": "strip_chars_end", "lengths": "len_bytes",
        "n_chars": "len_chars", "ljust": "pad_end", "rjust": "pad_start", "count_match": "count_matches",
        "parse_int": "to_integer",
    },
    "dt": {
        "days": "total_days", "hours": "total_hours", "minutes": "total_minutes", "seconds": "total_seconds",
        "milliseconds": "total_milliseconds", "nanoseconds": "total_nanoseconds", "microseconds": "total_microseconds",
    },
    "list": {"lengths": "len", "take": "gather"},
}  # fmt: skip


def old_polars() -> Callable[[], None]:
    """Give Polars its old names back, in this process; return a function that takes them off again.

    Added where missing: `Expr.suffix`, `prefix`, `keep_name`, `is_not`, `cumsum`, `arr` for lists …, `.str.strip`, `lengths`
    …, `.dt.days`, `hours` …, `.list.lengths`; `fmt=` of `str.strptime`; `pl.count()`.
    """
    undo: list[Callable[[], None]] = []
    for old, new in _EXPR.items():
        if old == "arr" or not hasattr(pl.Expr, old):
            _add(pl.Expr, old, property(lambda self: self.list) if old == "arr" else _method(new), undo)
    for label, names in _NAMESPACES.items():
        space = type(getattr(pl.lit(""), label))
        for old, new in names.items():
            if not hasattr(space, old):
                _add(space, old, _method(new), undo)
    _replace(type(pl.lit("").str), "strptime", _with_fmt, undo)
    _replace(pl, "count", _with_no_columns, undo)

    def back() -> None:
        while undo:
            undo.pop()()

    return back


def _method(path: str) -> Callable[..., Any]:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        target = self
        for name in path.split("."):
            target = getattr(target, name)
        return target(*args, **kwargs)

    return call


def _add(owner: Any, name: str, value: Any, undo: list[Callable[[], None]]) -> None:
    before = vars(owner).get(name)
    setattr(owner, name, value)
    undo.append(lambda: delattr(owner, name) if before is None else setattr(owner, name, before))


def _replace(owner: Any, name: str, wrap: Callable[[Any], Any], undo: list[Callable[[], None]]) -> None:
    before = getattr(owner, name)
    if getattr(before, "_of_bastion_compat", False):
        return
    made = wrap(before)
    made._of_bastion_compat = True
    setattr(owner, name, made)
    undo.append(lambda: setattr(owner, name, before))


def _with_fmt(strptime: Any) -> Any:
    def call(self: Any, dtype: Any, format: Any = None, *, fmt: Any = None, **kwargs: Any) -> Any:
        return strptime(self, dtype, format if fmt is None else fmt, **kwargs)

    return call


def _with_no_columns(count: Any) -> Any:
    def call(*columns: Any) -> Any:
        return count(*columns) if columns else pl.len().alias("count")

    return call
