"""Short ways to write entries of the register: one maker per flow class, with what every such entry shares."""

from __future__ import annotations

from typing import Any

from bastion_plan.functions.rules import same
from bastion_plan.functions.spec import Arg, DTypeRule, Flow, Function, Option, Shape


def column(accepts: str = "any", name: str = "input") -> Arg:
    """Return an argument where a bare string means a column."""
    return Arg(name, accepts, string_is_column=True)


def value(name: str, accepts: str = "any", **rest: Any) -> Arg:
    """Return an argument where a bare string means itself."""
    return Arg(name, accepts, **rest)


def flag(name: str, default: bool = False, doc: str = "") -> Option:
    """Return a Boolean option."""
    return Option(name, "bool", default, choices=(False, True), doc=doc)


def elementwise(name: str, accepts: str, result: DTypeRule, doc: str, *more: Arg, reason: str, **rest: Any) -> Function:
    """Return an entry that looks at one row at a time."""
    return Function(name, (column(accepts), *more), result, Flow.ELEMENTWISE, reason, doc, **rest)


def reduce(
    name: str, accepts: str, result: DTypeRule, flow: Flow, reason: str, doc: str, *more: Arg, **rest: Any
) -> Function:
    """Return an entry that makes one value of a column."""
    rest.setdefault("nulls", "nulls are skipped")
    return Function(name, (column(accepts), *more), result, flow, reason, doc, shape=Shape.ONE, **rest)


def window(name: str, accepts: str, result: DTypeRule, reason: str, doc: str, *more: Arg, **rest: Any) -> Function:
    """Return an entry whose every result reads other rows of the frame."""
    return Function(name, (column(accepts), *more), result, Flow.WINDOW, reason, doc, **rest)


def choose(
    name: str, accepts: str, reason: str, doc: str, *more: Arg, result: DTypeRule = same, **rest: Any
) -> Function:
    """Return an entry that keeps some of the rows as they are."""
    rest.setdefault("shape", Shape.ANY)
    return Function(name, (column(accepts), *more), result, Flow.FILTER, reason, doc, **rest)
