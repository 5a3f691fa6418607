"""Cards: a dataset, the list of datasets, a connection, requests; as HTML and as text."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bastion_policy.words import policy_words
from bastion_wire.messages import AuditRecord, Dataset

from bastion.render.safe_text import MAX_LINE, MAX_NAME, safe_html, safe_text
from bastion.render.tables import STYLE

if TYPE_CHECKING:
    from bastion.client.denied import AccessRequest


def grid_text(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an aligned text table; the cells are made safe."""
    header, rows = [safe_text(h) for h in header], [[safe_text(cell, MAX_LINE) for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in (header, *rows)) for i in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (header, *rows)
    ]
    return "\n".join([lines[0], "  ".join("─" * w for w in widths), *lines[1:]])


def grid_html(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML table, left-aligned; the cells are made safe."""
    head = "".join(f'<th class="s">{safe_html(h)}</th>' for h in header)
    body = "".join(
        "<tr>" + "".join(f'<td class="s">{safe_html(c, MAX_LINE)}</td>' for c in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def dataset_card(card: Dataset) -> tuple[str, str]:
    """Return (HTML, text) of a dataset: columns, types, roles, the policy in words. Nothing is asked of the server."""
    facts = card.facts
    title = safe_text(
        f"{facts.name}: {len(facts.columns)} columns, of {facts.owner}, version {facts.version}", MAX_LINE
    )
    hint = f"Made-up rows of this shape, to write code with: {_call(facts.name)}.preview()"
    rows = [
        (safe_text(c.name, MAX_NAME), safe_text(c.dtype, MAX_NAME), str(c.role), "inferred" if c.inferred else "")
        for c in facts.columns
    ]
    words = [safe_text(w, MAX_LINE) for w in policy_words(facts.policy)]
    # INVARIANT: what an owner has to look at (no unit, a weakened rule) does not look like the policy's other words
    warnings = [f"look at this: {safe_text(w, MAX_LINE)}" for w in card.warnings]
    header = ("column", "type", "role", "")
    text = "\n".join([title, "", grid_text(header, rows), "", *(f"· {w}" for w in (*words, *warnings)), "", hint])
    lines = "".join(f"<div>· {safe_html(w)}</div>" for w in words)
    lines += "".join(f'<div class="red">· {safe_html(w)}</div>' for w in warnings)
    page = f'{STYLE}<div class="bastion"><b>{safe_html(title)}</b>{grid_html(header, rows)}{lines}<div class="foot">{safe_html(hint)}</div></div>'
    return page, text


def _call(name: str) -> str:
    """Return how a cell says a dataset."""
    return f"dataset({json.dumps(safe_text(name, MAX_LINE), ensure_ascii=False)})"


def dataset_list(cards: Sequence[Dataset]) -> tuple[str, str]:
    """Return (HTML, text) of several datasets."""
    if not cards:
        return (
            f'{STYLE}<div class="bastion">There are no datasets that you may see.</div>',
            "There are no datasets that you may see.",
        )
    header = ("dataset", "columns", "owner", "kind")
    rows = [(c.facts.name, str(len(c.facts.columns)), c.facts.owner, c.kind_of) for c in cards]
    return f'{STYLE}<div class="bastion">{grid_html(header, rows)}</div>', grid_text(header, rows)


def connection_card(lines: Sequence[str]) -> tuple[str, str]:
    """Return (HTML, text) of a connection. lines: as `connection_lines` gives them."""
    page = "".join(f"<div>{safe_html(line)}</div>" for line in lines)
    return f'{STYLE}<div class="bastion"><div class="box good">{page}</div></div>', "\n".join(lines)


def request_list(requests: Sequence[AccessRequest]) -> tuple[str, str]:
    """Return (HTML, text) of access requests."""
    if not requests:
        return f'{STYLE}<div class="bastion">There are no access requests.</div>', "There are no access requests."
    header = ("request", "state", "by", "about", "reason", "answer")
    rows = [(r.id, _standing(r), r.requester, ", ".join(r.info.datasets), r.reason, r.answer) for r in requests]
    return f'{STYLE}<div class="bastion">{grid_html(header, rows)}</div>', grid_text(header, rows)


def _standing(request: AccessRequest) -> str:
    """Return the state, and of an approval how it ended."""
    info = request.info_now
    return f"{info.state}, {info.ended}" if info.ended else info.state


def audit_list(records: Sequence[AuditRecord]) -> tuple[str, str]:
    """Return (HTML, text) of records of the audit log, oldest first; red flags are marked."""
    if not records:
        return f'{STYLE}<div class="bastion">There are no records.</div>', "There are no records."
    header = ("record", "time", "", "kind", "who", "what")
    rows = [
        (
            str(r.index), time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(r.time)), "RED" if r.red else "",
            r.kind_of, r.who, r.summary,
        )
        for r in records
    ]  # fmt: skip
    return f'{STYLE}<div class="bastion">{grid_html(header, rows)}</div>', grid_text(header, rows)
