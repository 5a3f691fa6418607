"""Cards: a dataset, the list of datasets, a connection, requests; as HTML and as text."""

from __future__ import annotations

import html
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bastion_policy.words import policy_words
from bastion_wire.messages import AuditRecord, Dataset

from bastion.render.tables import STYLE

if TYPE_CHECKING:
    from bastion.client.connection import Connection
    from bastion.client.denied import AccessRequest


def grid_text(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an aligned text table."""
    widths = [max(len(line[i]) for line in (header, *rows)) for i in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (header, *rows)
    ]
    return "\n".join([lines[0], "  ".join("─" * w for w in widths), *lines[1:]])


def grid_html(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an escaped HTML table, left-aligned."""
    head = "".join(f'<th class="s">{html.escape(h)}</th>' for h in header)
    body = "".join("<tr>" + "".join(f'<td class="s">{html.escape(c)}</td>' for c in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def dataset_card(card: Dataset) -> tuple[str, str]:
    """Return (HTML, text) of a dataset: columns, types, roles, the policy in words. Nothing is asked of the server."""
    facts = card.facts
    title = f"{facts.name}: {len(facts.columns)} columns, of {facts.owner}, version {facts.version}"
    rows = [(c.name, str(c.dtype), str(c.role), "inferred" if c.inferred else "") for c in facts.columns]
    words = [*policy_words(facts.policy), *card.warnings]
    header = ("column", "type", "role", "")
    text = "\n".join([title, "", grid_text(header, rows), "", *(f"· {w}" for w in words)])
    lines = "".join(f"<div>· {html.escape(w)}</div>" for w in words)
    page = f'{STYLE}<div class="bastion"><b>{html.escape(title)}</b>{grid_html(header, rows)}{lines}</div>'
    return page, text


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


def connection_card(connection: Connection) -> tuple[str, str]:
    """Return (HTML, text) of a connection: where, as whom, whether attested, how many datasets."""
    welcome = connection.welcome
    attested = "attested" if welcome.attested else "not attested: whoever runs the server's machine could read the data"
    lines = [
        f"Connected to {connection.endpoint} as {connection.identity} ({', '.join(welcome.roles)}).",
        f"Encrypted with CURVE; {attested}.",
        f"{len(connection.facts)} dataset{'s' if len(connection.facts) != 1 else ''} to explore: datasets()",
        *(f"Warning: {notice}" for notice in welcome.notices),
    ]
    page = "".join(f"<div>{html.escape(line)}</div>" for line in lines)
    return f'{STYLE}<div class="bastion"><div class="box good">{page}</div></div>', "\n".join(lines)


def request_list(requests: Sequence[AccessRequest]) -> tuple[str, str]:
    """Return (HTML, text) of access requests."""
    if not requests:
        return f'{STYLE}<div class="bastion">There are no access requests.</div>', "There are no access requests."
    header = ("request", "state", "by", "about", "reason", "answer")
    rows = [(r.id, r.state, r.requester, ", ".join(r.info.datasets), r.reason, r.answer) for r in requests]
    return f'{STYLE}<div class="bastion">{grid_html(header, rows)}</div>', grid_text(header, rows)


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
