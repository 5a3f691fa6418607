"""Selectors of the plan as Polars selectors; the binder has normally expanded them to columns before."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import polars.selectors as cs
from bastion_plan.errors import BindError
from bastion_plan.expressions import Selector

from bastion_server.engine.dtypes import to_polars

_CLASSES: dict[str, Callable[[], cs.Selector]] = {
    "numeric": cs.numeric,
    "integer": cs.integer,
    "float": cs.float,
    "string": cs.string,
    "boolean": cs.boolean,
    "temporal": cs.temporal,
    "date": cs.date,
    "datetime": cs.datetime,
    "duration": cs.duration,
    "time": cs.time,
    "categorical": cs.categorical,
    "nested": cs.nested,
    "list": cs.list,
    "struct": cs.struct,
    "binary": cs.binary,
    "decimal": cs.decimal,
    "enum": cs.enum,
}


def lower_selector(selector: Selector) -> cs.Selector:
    """Return the Polars selector.

    Raises:
        BindError: a kind or class that is not known.
    """
    names = [v for v in selector.values if isinstance(v, str)]
    match selector.kind:
        case "all":
            return cs.all()
        case "by_name":
            return cs.by_name(*names)
        case "exclude":
            return cs.all() - _union([lower_selector(s) for s in selector.of]) if selector.of else cs.exclude(*names)
        case "by_dtype":
            return cs.by_dtype(*(to_polars(t) for t in selector.dtypes))
        case "by_class" if all(name in _CLASSES for name in names):
            return _union([_CLASSES[name]() for name in names])
        case "regex":
            return cs.matches("|".join(f"(?:{name})" for name in names))
        case "starts_with":
            return cs.starts_with(*names)
        case "ends_with":
            return cs.ends_with(*names)
        case "contains":
            return cs.contains(*names)
        case "first":
            return cs.first()
        case "last":
            return cs.last()
        case "by_index":
            return cs.by_index(*(v for v in selector.values if isinstance(v, int)))
        case "union" | "intersection" | "difference" | "symmetric_difference" | "complement" if selector.of:
            return _combined(selector.kind, [lower_selector(s) for s in selector.of])
    msg = f"The selector {selector.kind!r} is not known."
    raise BindError(msg, code="plan.bind.selector")


def _union(several: list[cs.Selector]) -> cs.Selector:
    return reduce(lambda a, b: a | b, several, cs.empty())


def _combined(kind: str, several: list[cs.Selector]) -> cs.Selector:
    if kind == "complement":
        return ~several[0]
    operations: dict[str, Callable[[cs.Selector, cs.Selector], cs.Selector]] = {
        "union": lambda a, b: a | b,
        "intersection": lambda a, b: a & b,
        "difference": lambda a, b: a - b,
        "symmetric_difference": lambda a, b: a ^ b,
    }
    return reduce(operations[kind], several)
