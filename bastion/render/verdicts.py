"""The static verdict on a query in one line, before anything runs; and which names of a cell have one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bastion_plan.errors import BastionError
from bastion_policy.verdict import Outcome

from bastion.client.explaining import verdict_line
from bastion.client.frames import RemoteLazyFrame
from bastion.render.denials import SIGN
from bastion.render.safe_text import safe_html, safe_text

SIGNS = {Outcome.RELEASE: "✓", Outcome.REVIEW: SIGN, Outcome.REFUSE: "✗"}
MAX_LINE = 400
MAX_LINES = 5


def verdict_of(frame: RemoteLazyFrame) -> str:
    """Return the verdict in one line: released automatically, or why not and what to change. Nothing is asked or run.

    It is the server's static verdict; what only the data can tell (cells of too few people, say) comes with the answer.
    Empty where the query cannot be judged any more, because its dataset has gone.
    """
    try:
        verdict = frame.verdict
    except BastionError:
        return ""
    line = f"{SIGNS[verdict.outcome]} {verdict_line(verdict)}"
    public = [f for f in verdict.findings if not f.private]
    if verdict.outcome is not Outcome.RELEASE and public:
        lead = public[0]
        for part in (lead.reason, lead.fix):
            if part and part.casefold() not in line.casefold():
                line += f" {part}"
        if len(public) > 1:
            line += f" (and {len(public) - 1} more: explain())"
    return safe_text(line, MAX_LINE)


def assigned(before: Mapping[str, Any], after: Mapping[str, Any], shown: Any = None) -> list[str]:
    """Return a line for every query that a cell gave a name, but for `shown`, the value that the cell shows anyway.

    Args:
        before, after: the names of the session before and after the cell.
    """
    lines = []
    for name, value in after.items():
        new = value is not before.get(name) and isinstance(value, RemoteLazyFrame) and value.dataset is None
        if new and value is not shown and (line := verdict_of(value)):
            lines.append(safe_text(f"{name}: {line}", MAX_LINE))
    if len(lines) > MAX_LINES:
        lines = [*lines[:MAX_LINES], f"… and {len(lines) - MAX_LINES} more queries"]
    return lines


def quiet(text: str) -> dict[str, str]:
    """Return a bundle that shows a line as a remark, below what matters."""
    page = "".join(f"<div>{safe_html(line)}</div>" for line in text.splitlines())
    style = "color:var(--jp-ui-font-color2,#666);font-size:11px"
    return {"text/plain": safe_text(text, lines=True), "text/html": f'<div style="{style}">{page}</div>'}
