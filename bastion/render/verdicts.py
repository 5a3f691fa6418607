"""The static verdict on a query in one line, before anything runs; and which names of a cell have one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bastion_plan.errors import BastionError
from bastion_plan.nodes import Node, inputs
from bastion_policy.verdict import Outcome

from bastion.client.explaining import partly, verdict_line
from bastion.client.frames import RemoteLazyFrame
from bastion.render.denials import SIGN
from bastion.render.safe_text import safe_html, safe_text

SIGNS = {Outcome.RELEASE: "✓", Outcome.REVIEW: SIGN, Outcome.REFUSE: "✗"}
#: before what is cut down to a safe part, which there may not be
PART = "◐"
#: the one finding of a query whose only fault is that it is not aggregated yet
_ROWS = ("row-level", "The result would hold single people's rows.")
_DECIDED = {
    Outcome.RELEASE: "have at most a safe part to show",
    Outcome.REVIEW: "are for the owner to decide",
    Outcome.REFUSE: "are not released",
}
MAX_LINE = 400
MAX_LINES = 5


def verdict_of(frame: RemoteLazyFrame) -> str:
    """Return the verdict in one line: released automatically, or why not and what to change. Nothing is asked or run.

    It is the server's static verdict; what only the data can tell (cells of too few people, say) comes with the answer.
    Empty where the query cannot be judged any more, because its dataset has gone, or cannot be run, because its connection is
    closed.
    """
    if not frame.connection.connected:
        return ""
    try:
        verdict = frame.verdict
    except BastionError:
        return ""
    sign = PART if partly(verdict) else SIGNS[verdict.outcome]
    line = f"{sign} {verdict_line(verdict)}"
    public = [f for f in verdict.findings if not f.private]
    if (verdict.outcome is not Outcome.RELEASE or partly(verdict)) and public:
        lead = public[0]
        for part in (lead.reason, lead.fix):
            if part and part.casefold() not in line.casefold():
                line += f" {part}"
        if len(public) > 1:
            line += f" (and {len(public) - 1} more: explain())"
    return safe_text(line, MAX_LINE)


def assigned(before: Mapping[str, Any], after: Mapping[str, Any], shown: Any = None) -> list[str]:
    """Return a line for every query that a cell gave a name, but for `shown`, the value that the cell shows anyway.

    Most queries of a pipeline are steps on the way: rows as they stand are said softly, and what is said of a query is not
    said again of one that goes on from it.

    Args:
        before, after: the names of the session before and after the cell.
    """
    said: list[tuple[str, str, Node]] = []
    for name, value in after.items():
        new = value is not before.get(name) and isinstance(value, RemoteLazyFrame) and value.dataset is None
        if new and value is not shown and (line := _as_it_stands(value) or verdict_of(value)):
            said.append((name, line, value.plan))
    plans: dict[str, list[Node]] = {}
    for _, line, plan in said:
        plans.setdefault(line, []).append(plan)
    lines = [safe_text(f"{name}: {line}", MAX_LINE) for name, line, plan in said if not _goes_on(plan, plans[line])]
    if len(lines) > MAX_LINES:
        more = len(lines) - MAX_LINES
        lines = [*lines[:MAX_LINES], f"… and {more} more quer{'y' if more == 1 else 'ies'}"]
    return lines


def _as_it_stands(frame: RemoteLazyFrame) -> str:
    """Return the verdict on rows that nothing was done to but choosing and computing, so that aggregates of them pass."""
    if not frame.connection.connected:
        return ""
    try:
        verdict = frame.verdict
    except BastionError:
        return ""
    if [(f.rule, f.reason) for f in verdict.findings] != [_ROWS]:
        return ""
    if verdict.outcome is Outcome.RELEASE and not partly(verdict):  # released, and logged: that is worth its line
        return ""
    return f"rows as they stand {_DECIDED[verdict.outcome]}; aggregates pass"


def _goes_on(plan: Node, others: list[Node]) -> bool:
    """Whether a plan goes on from another one."""
    wanted = {id(other) for other in others if other is not plan}
    stack, seen = list(inputs(plan)) if wanted else [], set()
    while stack:
        node = stack.pop()
        if id(node) in wanted:
            return True
        if id(node) not in seen:
            seen.add(id(node))
            stack += inputs(node)
    return False


def quiet(text: str) -> dict[str, str]:
    """Return a bundle that shows a line as a remark, below what matters."""
    page = "".join(f"<div>{safe_html(line)}</div>" for line in text.splitlines())
    style = "color:var(--jp-ui-font-color2,#666);font-size:11px"
    return {"text/plain": safe_text(text, lines=True), "text/html": f'<div style="{style}">{page}</div>'}
