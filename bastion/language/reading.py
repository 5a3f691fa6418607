"""Reading a member of a value: through the tables, never as Python would."""

from __future__ import annotations

from typing import Any

import polars as pl
from bastion_plan.errors import LanguageError, did_you_mean

from bastion.client.absent import ONWARD
from bastion.client.frames import RemoteLazyFrame
from bastion.client.habits import instead, other_plot
from bastion.client.plotting import Plots
from bastion.expr.core import PYTHON_METHODS, refuse_python
from bastion.language.builtins import plain_methods
from bastion.language.callables import Member, Module, SafeFunction, kind_name
from bastion.language.limits import Limits, Meter
from bastion.language.members import MEMBERS, is_own, table_of


def read_member(owner: Any, name: str, meter: Meter | None = None) -> Any:
    """Return a member of a value through the tables.

    Raises:
        BindError, InputError: the value has no such member (for a cell).
    """
    if isinstance(owner, Module):
        return owner.read(name)
    if isinstance(owner, SafeFunction):
        if name in owner.members:
            return owner.members[name]
        if owner.name == "pl.col":
            return owner.call(name)
        raise _absent(owner, name, owner.members)
    methods = plain_methods(owner)
    if name in methods:
        method = methods[name]
        own = meter or Meter(Limits())
        return Member(kind_name(owner), name, _bound(method, own, owner))
    table = table_of(owner)
    if name not in table:
        if is_own(owner) and name in PYTHON_METHODS:
            refuse_python(name)
        raise _absent(owner, name, {**table, **methods})
    value = table[name](owner)
    return (
        Member(kind_name(owner), name, value)
        if callable(value) and not is_own(value) and not isinstance(value, type)
        else value
    )


def _bound(method: Any, meter: Meter, owner: Any) -> Any:
    def call(*args: Any) -> Any:
        return method(meter, owner, *args)

    call.__doc__ = method.__doc__
    return call


def _absent(owner: Any, name: str, known: Any) -> LanguageError:
    if isinstance(owner, str) and name in {"format", "format_map"}:
        msg = "Texts have no format here."
        return LanguageError(msg, code="language.member", next_step='Write an f-string: f"{x:.2f}".')
    msg = f"A {kind_name(owner)} has no {name!r}."
    reason, hint = (
        instead(owner, name, known, cell=True)
        if isinstance(owner, RemoteLazyFrame)
        else ("", did_you_mean(name, known))
    )
    if isinstance(owner, pl.DataFrame | pl.Series) and (hasattr(owner, name) or name in MEMBERS[RemoteLazyFrame]):
        msg, hint = f"A fetched {'table' if isinstance(owner, pl.DataFrame) else 'column'} has no {name!r}.", ONWARD
    elif isinstance(owner, Plots):
        hint = other_plot(name) or hint
    if (
        not hint
        and isinstance(owner, list | dict | set)
        and name in {"append", "extend", "insert", "update", "add", "pop"}
    ):
        hint = "Values do not change: write xs + [x], {**d, key: value}, or a comprehension."
    return LanguageError(msg, code="language.member", reason=reason, next_step=hint, details={"name": name})
