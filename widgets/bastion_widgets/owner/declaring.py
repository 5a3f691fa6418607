"""A column's role as an owner fills it in: bounds of a measure, and values of a column that may be named."""

from __future__ import annotations

import math
from typing import Any

from bastion_plan.errors import InputError
from bastion_policy.facts import ColumnFacts
from bastion_policy.roles import Role, RoleKind, Scalar, check_roles

from bastion_widgets.owner import shown

MAX_DOMAIN = 1000


def declared_fields(role: Role) -> dict[str, Any]:
    """Return what the form's fields hold of a role, as text."""
    return {
        "lower": "" if role.lower is None else f"{role.lower:.15g}",
        "upper": "" if role.upper is None else f"{role.upper:.15g}",
        "domain": [_line(value) for value in role.domain or ()],
        "varies": role.varies,
    }


def role_of(column: ColumnFacts, kind: str, lower: str, upper: str, domain: str, varies: bool) -> Role:
    """Return the role that a filled-in form declares.

    Args:
        column: whose role. kind: the role's name. lower, upper: numbers as typed; empty for none. domain: a value a line.

    Raises:
        InputError: no such role, or something typed that is no value of the column. PolicyError: a role that cannot be.
    """
    if kind not in {known.value for known in RoleKind}:
        msg = "There is no such role."
        raise InputError(msg, code="input.role", next_step=f"There are: {', '.join(RoleKind)}.")
    lines = [line.strip() for line in domain.splitlines() if line.strip()]
    if len(lines) > MAX_DOMAIN:
        msg = f"A domain has at most {MAX_DOMAIN} values here."
        raise InputError(msg, code="input.role", next_step="Write a longer one into the policy's text.")
    values = tuple(dict.fromkeys(_value(line, column) for line in lines))
    role = Role(RoleKind(kind), _bound(lower, "lower"), _bound(upper, "upper"), values or None, varies)
    check_roles({column.name: column.dtype}, {column.name: role})
    return role


def _bound(text: str, which: str) -> float | None:
    if not text.strip():
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        msg = f"The {which} bound is not a number."
        raise InputError(msg, code="input.role", next_step="Write two numbers, or leave both empty.")
    return number


def _value(line: str, column: ColumnFacts) -> Scalar:
    for known in column.role.domain or ():
        if _line(known) == line:  # as it was shown: it stays what it is
            return known
    try:
        if column.dtype.kind == "Boolean":
            return {"true": True, "false": False}[line.lower()]
        if column.dtype.is_integer:
            return int(line)
        if column.dtype.is_float:
            return float(line)
    except (KeyError, ValueError):
        msg = f"{shown.line(line, 80)} is not a value of type {column.dtype}."
        raise InputError(msg, code="input.role", next_step="Write one value a line.") from None
    return line


def _line(value: Scalar) -> str:
    return shown.line(value, 200)
