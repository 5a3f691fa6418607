"""Completion and inspection at the cursor, from the tables that evaluation itself uses. Nothing runs."""

from __future__ import annotations

import re
from typing import Any

from bastion_plan.errors import BastionError

from bastion.client.frames import RemoteLazyFrame
from bastion.client.grouping import RemoteGroupBy
from bastion.expr.core import Expr
from bastion.expr.methods import NAMESPACES, Namespace
from bastion.expr.toplevel import Then, When
from bastion.language.callables import Member, Module, SafeFunction
from bastion.language.commands import COMMANDS
from bastion.language.environment import Environment
from bastion.language.evaluator import read_member
from bastion.language.inspection import describe_value
from bastion.language.inspection import members as members_of
from bastion.language.members import MEMBERS

_TAIL = re.compile(r"[^\W\d]\w*\Z|\Z")
_GROUPERS = {"group_by", "groupby", "group_by_dynamic", "groupby_dynamic", "rolling", "groupby_rolling"}
_NOT_FRAMES = {"fetch", "explain", "columns", "dtypes", "width", "schema", "collect_schema", "plan_hash", "safe_part"}
_FRAMES = {"dataset", "sql", "concat", "upload"}


def complete(env: Environment, code: str, cursor: int) -> tuple[list[str], int, int, list[str]]:
    """Return (matches, start, end, kinds): what may stand at the cursor."""
    before = code[:cursor]
    line = before.rpartition("\n")[2]
    command = re.fullmatch(r"\s*%(\w*)", line)
    if command:
        names = [name for name in COMMANDS if name.startswith(command[1])]
        return _result(names, cursor - len(command[1]), cursor, "magic")
    quoted = _open_string(before)
    if quoted is not None:
        names = [n for n in _strings(env, before, quoted) if n.startswith(before[quoted + 1 :])]
        return _result(names, quoted + 1, cursor, "column")
    word = _TAIL.search(before)
    start = word.start() if word else cursor
    prefix = before[start:]
    if before[:start].rstrip().endswith("."):
        owner = before[:start].rstrip()[:-1]
        offered = _after(env, owner)
    else:
        offered = sorted(env.known())
    names = [name for name in offered if name.startswith(prefix) and not name.startswith("_")]
    kinds = [_kind(env, before[:start], name) for name in names]
    return names, start, cursor, kinds


def inspect_at(env: Environment, code: str, cursor: int) -> str:
    """Return what is known of the name at the cursor (or of the function whose call it stands in); else ""."""
    start = end = min(cursor, len(code))
    while end < len(code) and (code[end].isalnum() or code[end] == "_"):
        end += 1
    while start and (code[start - 1].isalnum() or code[start - 1] == "_"):
        start -= 1
    name = code[start:end]
    if not name:
        before = code[:start].rstrip()
        if not before.endswith("("):
            return ""
        return inspect_at(env, code, len(before) - 1) if before[:-1] else ""
    found = _find(env, code[:start].rstrip(), name)
    return "" if found is None else describe_value(found, detailed=True)


def _result(names: list[str], start: int, end: int, kind: str) -> tuple[list[str], int, int, list[str]]:
    return names, start, end, [kind] * len(names)


def _find(env: Environment, before: str, name: str) -> Any:
    """Return the thing a name means after some text; None where that is not known without running it."""
    try:
        if not before.endswith("."):
            return env.lookup(name)
        owner = _resolve(env, before[:-1])
        if isinstance(owner, type):
            reader = MEMBERS.get(owner, {}).get(name)
            method = getattr(owner, name, None) if reader is not None else None
            return Member(owner.__name__, name, method) if callable(method) else None
        return None if owner is None else read_member(owner, name)
    except BastionError:
        return None


def _after(env: Environment, text: str) -> list[str]:
    owner = _resolve(env, text)
    if owner is None:
        return []
    if isinstance(owner, type):
        return sorted(MEMBERS.get(owner, {}))
    return members_of(owner)


def _resolve(env: Environment, text: str) -> Any:
    """Return the value of a chain of names, or the class of what a chain of calls gives; None where unknown.

    Methods are never called: their result is known by kind (a frame's methods give frames, expressions' expressions).
    """
    steps = _chain(text)
    if not steps:
        return None
    try:
        (name, called), *rest = steps
        value: Any = env.lookup(name)
        if called:
            value = _called(value, name)
        for name, called in rest:
            if isinstance(value, type):
                value = _step(value, name)
            else:
                owner = value
                value = read_member(value, name)
                if called:
                    value = _called(value, name, owner)
            if value is None:
                return None
        return value
    except BastionError:
        return None


def _called(value: Any, name: str, owner: Any = None) -> Any:
    if isinstance(owner, RemoteLazyFrame | Expr | Namespace):
        return _step(
            RemoteLazyFrame if isinstance(owner, RemoteLazyFrame) else Expr,
            name if isinstance(owner, RemoteLazyFrame) else "",
        )
    if isinstance(value, SafeFunction):
        if name in _FRAMES:
            return RemoteLazyFrame
        if value.name == "pl.when":
            return When
        return Expr if value.name.startswith("pl.") else None
    return None


def _step(owner: type, name: str) -> Any:
    if issubclass(owner, RemoteGroupBy):
        return RemoteLazyFrame
    if issubclass(owner, RemoteLazyFrame):
        return None if name in _NOT_FRAMES else RemoteGroupBy if name in _GROUPERS else RemoteLazyFrame
    if owner is When:
        return Then
    if name in NAMESPACES and issubclass(owner, Expr):
        return NAMESPACES[name]
    if issubclass(owner, Namespace):
        return Expr
    return Expr if issubclass(owner, Expr) else None


def _chain(text: str) -> list[tuple[str, bool]]:
    """Return (name, whether called) of the chain that ends a text: `a.b(c).d` gives a, b called, d."""
    steps: list[tuple[str, bool]] = []
    at = len(text)
    while True:
        while at and text[at - 1].isspace():
            at -= 1
        called = bool(at) and text[at - 1] == ")"
        if called:
            at = _opening(text, at)
        end = at
        while at and (text[at - 1].isalnum() or text[at - 1] == "_"):
            at -= 1
        if at == end:
            return []
        steps.append((text[at:end], called))
        rest = text[:at].rstrip()
        if not rest.endswith("."):
            return steps[::-1]
        at = len(rest) - 1


def _opening(text: str, at: int) -> int:
    """Return the place of the parenthesis that the one before `at` closes."""
    depth = 0
    quote = ""
    for index in range(at - 1, -1, -1):
        character = text[index]
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in ")]}":
            depth += 1
        elif character in "([{":
            depth -= 1
            if depth == 0:
                return index
    return 0


def _open_string(before: str) -> int | None:
    """Return where the string begins that is open at the end of a text."""
    line_start = before.rpartition("\n")[0]
    offset = len(line_start) + 1 if line_start or before.startswith("\n") else 0
    opened: int | None = None
    quote = ""
    for index in range(offset, len(before)):
        character = before[index]
        if opened is None and character == "#":
            return None
        if opened is None and character in "\"'":
            opened, quote = index, character
        elif opened is not None and character == quote and before[index - 1] != "\\":
            opened = None
    return opened


def _strings(env: Environment, before: str, opened: int) -> list[str]:
    """Return what a string may say: dataset names in dataset("…"), else the columns of the frames in the cell."""
    facts = env.connection.facts.values() if env.connection is not None and env.connection.connected else ()
    if re.search(r"\b(dataset|get_df)\(\s*\Z", before[:opened]):
        return sorted(f.name for f in facts)
    names = dict.fromkeys(re.findall(r"[^\W\d]\w*", before[:opened]))
    columns: dict[str, None] = {}
    for name in names:
        value = env.names.get(name)
        if isinstance(value, RemoteLazyFrame):
            columns |= dict.fromkeys(value.columns)
    for known in facts:
        if known.name in names or re.search(rf"\(\s*[\"']{re.escape(known.name)}[\"']", before):
            columns |= dict.fromkeys(c.name for c in known.columns)
    return list(columns)


def _kind(env: Environment, before: str, name: str) -> str:
    found = _find(env, before.rstrip(), name)
    if isinstance(found, SafeFunction | Member):
        return "function"
    if isinstance(found, Module):
        return "module"
    if isinstance(found, type):
        return "class"
    return "instance"
