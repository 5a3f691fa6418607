"""Any value of the language as a MIME bundle: the one place that decides how things look."""

from __future__ import annotations

import html
from typing import Any

import polars as pl
from bastion_plan.errors import BastionError
from bastion_policy.verdict import ReleaseNote
from bastion_wire.messages import Dataset

from bastion.client.connection import Connection, Released
from bastion.client.denied import AccessRequest, Denied
from bastion.client.frames import RemoteLazyFrame
from bastion.render import cards, denials, tables

MAX_TEXT = 20_000


def bundle(value: Any, note: ReleaseNote | None = None, *, twin: str = "") -> dict[str, str]:
    """Return text/plain, and text/html where there is more to show.

    note: what the guard did to a released table. twin: as `tables.table_html` has it.
    """
    match value:
        case Released():
            return bundle(value.frame, value.note, twin=twin)
        case pl.DataFrame():
            return _both(tables.table_html(value, note, twin=twin), tables.text(value, note))
        case pl.Series():
            return bundle(value.to_frame(), note, twin=twin)
        case Denied():
            return _both(denials.denial_html(value), denials.denial_text(value))
        case BastionError():
            return _both(denials.error_html(value), denials.error_text(value))
        case Connection():
            return _both(*cards.connection_card(value))
        case RemoteLazyFrame() if value.dataset is not None:
            return _both(*cards.dataset_card(value.dataset))
        case Dataset():
            return _both(*cards.dataset_card(value))
        case AccessRequest():
            return _both(*cards.request_list([value]))
        case list() if value and all(isinstance(item, AccessRequest) for item in value):
            return _both(*cards.request_list(value))
        case list() if value and all(isinstance(item, RemoteLazyFrame) and item.dataset for item in value):
            return _both(*cards.dataset_list([item.dataset for item in value]))
        case RemoteLazyFrame():
            text = repr(value)
            return _both(f"<pre>{html.escape(text)}</pre>", text)
        case _:
            return {"text/plain": repr(value)[:MAX_TEXT]}


def clipped_table(value: Any) -> pl.DataFrame | None:
    """Return the table in `value`, if `bundle` does not show all of it."""
    match value:
        case Released():
            table = value.frame
        case pl.DataFrame():
            table = value
        case pl.Series():
            table = value.to_frame()
        case _:
            return None
    return table if tables.is_clipped(table) else None


def _both(page: str, text: str) -> dict[str, str]:
    return {"text/html": page, "text/plain": text}
