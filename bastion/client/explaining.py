"""Plans, verdicts and cards as plain text: what a terminal, nbconvert or a log shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from bastion_plan import nodes as n
from bastion_plan.dtypes import Schema
from bastion_plan.expressions import Expr as PlanExpr
from bastion_policy.facts import DatasetFacts
from bastion_policy.verdict import Outcome, StaticVerdict
from bastion_wire.messages import Dataset

from bastion.client.room import room
from bastion.expr.core import show
from bastion.render.safe_text import MAX_LINE, MAX_NAME, safe_text

_OUTCOMES = {
    Outcome.RELEASE: "Released automatically.",
    Outcome.REVIEW: "Needs the owner's review.",
    Outcome.REFUSE: "Refused.",
}
#: begins the summary of what is cut down to its safe part
_SAFE_PART = "Only the safe part is released"


class Explanation(str):
    """A text of several lines that shows as it is where a cell ends with it, without quotes and `\\n`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def partly(verdict: StaticVerdict) -> bool:
    """Whether only a safe part is released without asking. That there is one, the data alone can tell."""
    return verdict.outcome is Outcome.RELEASE and verdict.summary.startswith(_SAFE_PART)


def verdict_line(verdict: StaticVerdict) -> str:
    """Return the verdict as one line: the outcome, and why."""
    summary = verdict.summary
    if partly(verdict):
        summary = summary.replace(_SAFE_PART, f"{_SAFE_PART}, if there is one,", 1)
    return safe_text(summary, MAX_LINE) or _OUTCOMES[verdict.outcome]


def verdict_text(verdict: StaticVerdict, names: Mapping[str, str] | None = None) -> str:
    """Return the verdict with its findings, one paragraph each.

    Args:
        names: dataset names by id.
    """
    lines = [f"VERDICT  {verdict_line(verdict)}"]
    for finding in verdict.findings:
        where = f" ({', '.join(finding.columns)})" if finding.columns else ""
        lines.append(f"  {finding.rule}{where}: {finding.reason}")
        if finding.fix:
            lines.append(f"    what would pass: {finding.fix}")
    if verdict.columns:
        used = [_called(column, names or {}) for column in verdict.columns]
        lines.append(f"  columns used: {', '.join(used)}")
    return "\n".join(safe_text(line, MAX_LINE) for line in lines)


def room_line(plan: n.Node, facts: Mapping[str, DatasetFacts], identity: str) -> str:
    """Return what limits further answers about a plan's datasets, as a last line; empty where nothing does."""
    stack, found = [plan], []
    while stack:
        node = stack.pop()
        stack.extend(n.inputs(node))
        if isinstance(node, n.Scan):
            found.append(node.dataset)
    said = room(found, facts, identity)
    return f"\n  room: {safe_text(said)}" if said else ""


def _called(column: str, names: Mapping[str, str]) -> str:
    """Return "dataset id.column" with the dataset's name."""
    dataset, dot, name = column.partition(".")
    return f"{names.get(dataset, dataset)}{dot}{name}"


def plan_text(plan: n.Node, names: Mapping[str, str] | None = None) -> str:
    """Return the plan as an indented tree, the last step first.

    Args:
        names: dataset names by id.
    """
    lines: list[str] = []
    stack: list[tuple[n.Node, int]] = [(plan, 0)]
    while stack:
        node, depth = stack.pop()
        lines.append("  " * depth + _line(node, names or {}))
        stack.extend((below, depth + 1) for below in reversed(n.inputs(node)))
    return "\n".join(safe_text(line, MAX_LINE) for line in lines)


def _line(node: n.Node, names: Mapping[str, str]) -> str:
    if isinstance(node, n.Scan):
        return f"SCAN {names.get(node.dataset, node.dataset)}"
    if isinstance(node, n.Inline):
        return f"INLINE {', '.join(c.name for c in node.columns)}"
    defaults = {f.name: f.default for f in msgspec.structs.fields(node)}
    parts = []
    for name, value in msgspec.structs.asdict(node).items():
        if name in {"input", "left", "right", "inputs"} or (name in defaults and value == defaults[name]):
            continue
        parts.append(f"{name}: {_value(value)}")
    kind = str(node.__struct_config__.tag).upper().replace("_", " ")
    return f"{kind}  {'; '.join(parts)}".rstrip()


def _value(value: Any) -> str:
    if isinstance(value, PlanExpr):
        return show(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    return repr(value) if isinstance(value, str) else str(value)


def schema_lines(schema: Schema, limit: int = 30) -> list[str]:
    """Return `name: type` lines, cut off after `limit`."""
    shown = [(safe_text(name, MAX_NAME), safe_text(dtype, MAX_NAME)) for name, dtype in list(schema.items())[:limit]]
    width = max((len(name) for name, _ in shown), default=0)
    lines = [f"  {name:<{width}}  {dtype}" for name, dtype in shown]
    if len(schema) > limit:
        lines.append(f"  … and {len(schema) - limit} more columns")
    return lines


def frame_text(schema: Schema, verdict: StaticVerdict | None) -> str:
    """Return the repr of a query: its columns and its verdict."""
    head = f"RemoteLazyFrame  {len(schema)} column{'' if len(schema) == 1 else 's'}, not run yet: .fetch() brings the result"
    tail = [verdict_line(verdict)] if verdict is not None else []
    if verdict is not None and (verdict.outcome is not Outcome.RELEASE or partly(verdict)):
        for finding in verdict.findings[:3]:
            said = finding.reason.casefold() in tail[0].casefold()
            more = [part for part in ("" if said else finding.reason, finding.fix) if part]
            tail += [safe_text(f"  {' '.join(map(str, more))}", MAX_LINE)] if more else []
    return "\n".join([head, *schema_lines(schema), *tail])


def card_text(dataset: Dataset) -> str:
    """Return the card of a dataset: columns with their roles, unit, policy."""
    facts = dataset.facts
    unit = facts.unit or ("row" if facts.unit_declared else "row (not declared by the owner)")
    lines = [f"{facts.name}  version {facts.version}" + (f", of {facts.owner}" if facts.owner else "")]
    lines.append(f"  privacy unit: {unit}")
    named = [(safe_text(c.name, MAX_NAME), safe_text(c.dtype, MAX_NAME), c) for c in facts.columns]
    width, types = (max((len(each[i]) for each in named), default=0) for i in (0, 1))
    for name, dtype, column in named:
        note = " (inferred)" if column.inferred else ""
        lines.append(f"  {name:<{width}}  {dtype:<{types}}  {column.role}{note}")
    words = policy_words(facts.policy)
    if words:
        lines.append(f"  policy: {words}")
    lines.append("  preview(): made-up rows of this shape, to write code with")
    lines += [f"  note: {warning}" for warning in dataset.warnings]
    return "\n".join(safe_text(line, MAX_LINE) for line in lines)


def policy_words(policy: Any) -> str:
    """Return a policy in plain words; empty where there are none."""
    try:
        from bastion_policy.words import policy_words as words
    except ImportError:
        return ""
    found = words(policy)
    return found if isinstance(found, str) else " ".join(found)
