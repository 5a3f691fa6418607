"""A released table with all that is known of it: what the guard did, and the facts of this release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bastion.render.copies import copy_html
from bastion.render.safe_text import safe_text
from bastion.render.tables import table_html, text

if TYPE_CHECKING:
    from bastion.client.connection import Released
    from bastion.client.release_facts import Marks


def facts_lines(released: Released) -> list[str]:
    """Return the release facts for a footer: the smallest group, the time, the audit log's head, attestation."""
    parts = []
    about, checkpoint = released.about, released.checkpoint
    if about is not None and about.smallest:
        people = "1 person" if about.smallest == 1 else f"{about.smallest} people"
        parts.append(f"smallest group allowed: {people}")
    if released.elapsed:
        parts.append(_seconds(released.elapsed))
    if checkpoint is not None:
        parts.append(f"audit log: {checkpoint.size:_} records, head {checkpoint.root.hex()[:12]}")
    if about is not None:
        parts.append("server attested" if about.attested else "server UNATTESTED")
    return [" · ".join(parts)] if parts else []


def released_html(released: Released, *more: str, twin: str = "", copy: bool = True) -> str:
    """Return a released table as HTML, `more` lines below it, and (`copy`) a way to copy all of it."""
    return table_html(
        released.frame, released.note, *facts_lines(released), *more, twin=twin, marks=_marks(released),
        below=copy_html(released.frame) if copy else "",
    )  # fmt: skip


def released_text(released: Released) -> str:
    """Return a released table as text."""
    lines = [text(released.frame, released.note, marks=_marks(released)), *map(safe_text, facts_lines(released))]
    return "\n".join(lines)


def _marks(released: Released) -> Marks | None:
    return released.about.marks if released.about is not None else None


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms on the server" if seconds < 1 else f"{seconds:.1f} s on the server"
