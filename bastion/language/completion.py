"""Completion and inspection at the cursor, from the tables that evaluation itself uses. Nothing runs, nothing is asked."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from bastion_plan.errors import BastionError
from bastion_policy.facts import DatasetFacts

from bastion.client.frames import RemoteLazyFrame
from bastion.language.callables import Member, Module, SafeFunction
from bastion.language.commands import COMMANDS
from bastion.language.cursor import Surroundings, callee, primary, scan
from bastion.language.environment import Environment
from bastion.language.inferring import Kind, infer, members_of
from bastion.language.inspection import describe_value
from bastion.language.refusals import REFUSED, refused_methods
from bastion.render.safe_text import safe_text

_WORD = re.compile(r"[^\W\d]\w*\Z")
_NAMES = re.compile(r"[^\W\d]\w*")
_FROM = re.compile(r"\b(?:from|join)\s+\w*\Z", re.IGNORECASE)
_DATASETS = {"dataset", "get_df", "delete_df", "exposure", "audit"}
HIDDEN = "hidden"


class Completion(NamedTuple):
    """What may stand at the cursor.

    matches: texts, each in place of what stands from start to end. kinds: of each: "function", "param", "module", "class",
    "instance", "dataset", "magic", or the data type of a column ("Float64"; "hidden" where nobody may use it). "refused":
    a statistic of a column that the policy never releases. What nobody may use or have comes last.
    """

    matches: list[str]
    start: int
    end: int
    kinds: list[str]


def complete(env: Environment, code: str, cursor: int) -> Completion:
    """Return what may stand at the cursor, columns and parameters first."""
    before = code[:cursor]
    line = before.rpartition("\n")[2]
    command = re.fullmatch(r"\s*%(\w*)", line)
    if command:
        return _made(((name, "magic") for name in COMMANDS), command[1], cursor)
    around = scan(before)
    if around.comment:
        return Completion([], cursor, cursor, [])
    if around.text is not None:
        return _in_text(env, code, before, around)
    found = _WORD.search(before)
    prefix = found[0] if found else ""
    head = before[: cursor - len(prefix)]
    if head.rstrip().endswith("."):
        expression = primary(head.rstrip()[:-1], around)
        offered = _members(env, before, infer(env, expression))
        if refused := refused_methods(env, before, expression):
            offered = [(name, REFUSED if name in refused else kind) for name, kind in offered]
        return _made(offered, prefix, cursor)
    names = ((name, _kind(env, name)) for name in sorted(env.known()))
    return _made([*_parameters(env, head, around), *names], prefix, cursor)


def inspect_at(env: Environment, code: str, cursor: int) -> str:
    """Return what is known of the name at the cursor, else of the innermost call that it stands in; empty for neither."""
    end = min(cursor, len(code))
    while end < len(code) and (code[end].isalnum() or code[end] == "_"):
        end += 1
    around = scan(code[:end])
    if around.text is None and not around.comment and (code[:end][-1:].isalnum() or code[:end][-1:] == "_"):
        found = infer(env, primary(code[:end], around))
        if found is not None and not isinstance(found, Kind | int | float | str | bool):
            return describe_value(found, detailed=True)
    inside = scan(code[:cursor])
    for opened in reversed(inside.opened):
        called = callee(code[:cursor], inside, opened)
        found = infer(env, called) if called else None
        if isinstance(found, SafeFunction | Member | type):
            return describe_value(found, detailed=True)
    return ""


def _made(offered: Iterable[tuple[str, str]], prefix: str, cursor: int) -> Completion:
    found = _dim_last({name: kind for name, kind in offered if name.startswith(prefix) and not name.startswith("_")})
    return Completion(list(found), cursor - len(prefix), cursor, list(found.values()))


def _dim_last(found: dict[str, str]) -> dict[str, str]:
    """Return the matches with those behind the others that a policy never releases; their kind says so."""
    return dict(sorted(found.items(), key=lambda match: match[1] in (HIDDEN, REFUSED)))


# ---- names and members -----------------------------------------------------------------------------------------------


def _members(env: Environment, before: str, owner: Any) -> list[tuple[str, str]]:
    if owner is None:
        return []
    if isinstance(owner, SafeFunction) and owner.name == "pl.col":
        return [(name, kind) for name, kind in _columns(env, before, scan(before)) if name.isidentifier()]
    kinds = {name: _kind_of_member(owner, name) for name in members_of(owner)}
    return list(kinds.items())


def _kind_of_member(owner: Any, name: str) -> str:
    if isinstance(owner, Module):
        return _kind_of(owner.entries[name])
    if isinstance(owner, Kind):
        return "instance" if isinstance(getattr(owner.type, name, None), property) else "function"
    found = getattr(type(owner), name, None)
    return "instance" if isinstance(found, property) else "function"


def _kind(env: Environment, name: str) -> str:
    try:
        return _kind_of(env.lookup(name))
    except BastionError:
        return "instance"


def _kind_of(value: Any) -> str:
    if isinstance(value, SafeFunction | Member):
        return "function"
    if isinstance(value, Module):
        return "module"
    if isinstance(value, type):
        return "class"
    return "dataset" if isinstance(value, RemoteLazyFrame) and value._dataset is not None else "instance"


def _parameters(env: Environment, head: str, around: Surroundings) -> list[tuple[str, str]]:
    """Return the parameters of the call that the cursor stands in, where an argument may begin, without those given."""
    if not around.opened or not re.search(r"[(,]\s*\Z", head):
        return []
    opened = around.opened[-1]
    function = infer(env, called) if (called := callee(head, around, opened)) else None
    if not isinstance(function, SafeFunction | Member):
        return []
    given = set(re.findall(r"[(,]\s*([^\W\d]\w*)\s*=(?!=)", head[opened.start :]))
    try:
        parameters = list(inspect.signature(function.call).parameters.values())
    except (TypeError, ValueError):
        return []
    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    metered = isinstance(function, SafeFunction) and function.metered
    offered = [found.name for found in parameters[metered:] if found.kind in named]
    return [(f"{name}=", "param") for name in offered if name not in given and not name.startswith("_")]


# ---- texts -----------------------------------------------------------------------------------------------------------


def _in_text(env: Environment, code: str, before: str, around: Surroundings) -> Completion:
    """Return what a text may say: datasets in dataset("…"), columns and datasets in SQL, else columns."""
    opened = around.opened[-1]
    called = callee(before, around, around.opened[-2]) if len(around.opened) > 1 else ""
    name = called.rpartition(".")[2]
    typed = before[opened.inside :]
    if name in _DATASETS:
        return _quoted(_datasets(env), typed, opened.quote, len(before))
    if name == "sql":
        prefix = _WORD.search(typed)
        word = prefix[0] if prefix else ""
        tables = _datasets(env)
        columns = [] if _FROM.search(typed) else _columns(env, code, around)
        if not columns and not _FROM.search(typed):  # no table is named yet: of all
            columns = [column for facts in _facts(env) for column in _of_facts(facts)]
        return _made([(n, k) for n, k in [*columns, *tables] if n.isidentifier()], word, len(before))
    return _quoted(_columns(env, before, around), typed, opened.quote, len(before))


def _quoted(offered: Iterable[tuple[str, str]], typed: str, quote: str, cursor: int) -> Completion:
    found = _dim_last({text: kind for name, kind in offered if (text := _written(name, quote)).startswith(typed)})
    return Completion(list(found), cursor - len(typed), cursor, list(found.values()))


def _written(name: str, quote: str) -> str:
    """Return a name as it is written between quotes: what cannot be seen, or would end the text, is escaped."""
    if safe_text(name) != name:
        name = name.encode("unicode_escape").decode()
    else:
        name = name.replace("\\", "\\\\")
    return name.replace(quote[0], f"\\{quote[0]}") if quote else name


def _facts(env: Environment) -> list[DatasetFacts]:
    """Return the facts that are here already."""
    connection = env.connection
    return [card.facts for card in connection._datasets.values()] if connection is not None else []


def _datasets(env: Environment) -> list[tuple[str, str]]:
    return [(name, "dataset") for name in sorted(facts.name for facts in _facts(env))]


def _columns(env: Environment, text: str, around: Surroundings) -> list[tuple[str, str]]:
    """Return columns with their types: first of the frame whose method's call the cursor stands in, then of all others named."""
    frames: list[RemoteLazyFrame] = []
    for opened in reversed(around.opened):
        called = callee(text, around, opened) if opened.kind == "(" else ""
        owner, dot, _ = called.rpartition(".")
        found = infer(env, owner) if dot else None
        if isinstance(found, RemoteLazyFrame):
            frames.append(found)
    names = dict.fromkeys(_NAMES.findall(text))
    frames += [value for name in names if isinstance(value := env.names.get(name), RemoteLazyFrame)]
    columns: dict[str, str] = {}
    for frame in frames:
        for name, kind in _of_frame(frame):
            columns.setdefault(name, kind)
    for facts in _facts(env):
        if facts.name in names or re.search(rf"\(\s*[\"']{re.escape(facts.name)}[\"']", text):
            for name, kind in _of_facts(facts):
                columns.setdefault(name, kind)
    return list(columns.items())


def _of_frame(frame: RemoteLazyFrame) -> list[tuple[str, str]]:
    card = frame._dataset
    if card is not None:
        return _of_facts(frame._connection._datasets.get(card.facts.id, card).facts)
    try:
        return [(name, str(dtype)) for name, dtype in frame.plan_schema.items()]
    except BastionError:
        return []


def _of_facts(facts: DatasetFacts) -> list[tuple[str, str]]:
    hidden = set(facts.hidden)
    return [(c.name, HIDDEN if c.name in hidden else str(c.dtype)) for c in facts.columns]
