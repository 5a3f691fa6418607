"""What `x?` and `help(x)` say, read from the same tables that evaluation uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
from bastion_plan.errors import BastionError

from bastion.client.explaining import card_text, frame_text, verdict_text
from bastion.client.frames import RemoteLazyFrame
from bastion.expr.core import Expr
from bastion.language.builtins import plain_methods
from bastion.language.callables import Member, Module, SafeFunction, kind_name
from bastion.language.limits import Limits, Meter
from bastion.language.members import table_of
from bastion.language.reading import read_member
from bastion.language.texts import text_of
from bastion.render.safe_text import safe_text

if TYPE_CHECKING:
    from bastion.language.environment import Environment


def describe_name(env: Environment, dotted: str, *, detailed: bool = False) -> str:
    """Return what a name, or a chain of members like `pl.col` or `titanic.select`, is and does.

    Raises:
        LanguageError: there is no such name or member.
    """
    first, *rest = dotted.split(".")
    value = env.lookup(first)
    for name in rest:
        value = read_member(value, name)
    return describe_value(value, detailed=detailed)


def describe_value(value: Any, *, detailed: bool = False) -> str:
    """Return what a value is and does, as text. detailed: with its members."""
    lines: list[str] = []
    if isinstance(value, SafeFunction | Member):
        lines = [repr(value), "", value.doc]
    elif isinstance(value, Module):
        lines = [repr(value)]
    elif isinstance(value, RemoteLazyFrame):
        lines = [_frame(value, detailed=detailed)]
    elif isinstance(value, Expr):
        lines = [f"column expression  {value!r}"]
    elif isinstance(value, pl.DataFrame | pl.Series):
        lines = [repr(value)]
    else:
        lines = [f"{kind_name(value)}  {text_of(value, Meter(Limits()))}"]
    if detailed:
        names = members(value)
        if names:
            lines += ["", "members: " + ", ".join(names)]
    return safe_text("\n".join(lines).rstrip(), lines=True)


def _frame(frame: RemoteLazyFrame, *, detailed: bool) -> str:
    if frame.dataset is not None:
        return card_text(frame.dataset)
    try:
        verdict = frame.verdict
    except BastionError:
        return frame_text(frame.plan_schema, None)
    text = frame_text(frame.plan_schema, verdict)
    return f"{text}\n\n{verdict_text(verdict, frame._names())}" if detailed else text


def members(value: Any) -> list[str]:
    """Return the members a cell may reach on a value, sorted: what completion offers after a dot."""
    if isinstance(value, Module):
        return sorted(value.entries)
    if isinstance(value, SafeFunction):
        return sorted(value.members)
    return sorted({*table_of(value), *plain_methods(value)})


def overview(env: Environment) -> str:
    """Return what the language offers, as text."""
    from bastion.language.commands import COMMANDS

    own = [f for f in env.fixed.values() if isinstance(f, SafeFunction) and not f.name.startswith("pl.")]
    lines = ["Cells are written with Polars' expressions over datasets that stay on the server.", ""]
    lines += [f"  {f.name}{f.signature}: {f.doc.splitlines()[0] if f.doc else ''}" for f in own]
    lines += ["", *(f"  {doc}" for _, doc in COMMANDS.values()), "", "  x?  says what x is, x?? says more"]
    return "\n".join(lines)
