"""Any value of the language as a MIME bundle: the one place that decides how things look.

A new kind of value is added with `register`, beside its type; what needs a widget, with `bastion_widgets.show.register`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
from bastion_plan.errors import BastionError
from bastion_policy.verdict import ReleaseNote
from bastion_wire.messages import AuditRecord, Dataset

from bastion.client.attestation import Attestation
from bastion.client.connection import Connection, Released
from bastion.client.denied import AccessRequest, Denied
from bastion.client.explaining import Explanation
from bastion.client.frames import RemoteLazyFrame
from bastion.client.preview import FakeFrame
from bastion.client.spending import NO_BUDGETS, no_budgets
from bastion.client.training.models import ModelCard, TrainedModel
from bastion.client.training.runs import RemoteRun, RunList
from bastion.render import attested, cards, denials, previews, released, runs, tables
from bastion.render.banners import connection_lines
from bastion.render.charts import Chart
from bastion.render.safe_text import safe_html, safe_text

#: MIME type -> data of one output; text/plain is always there
Bundle = dict[str, Any]
MAX_TEXT = 20_000
#: a line of text that is longer is broken between words; JupyterLab breaks plain text anywhere
WIDE = 90
WRAPPED = (
    "white-space:pre-wrap;word-break:normal;overflow-wrap:anywhere;margin:0;padding:3px 7px;border:0;background:none;"
    "font-size:var(--jp-code-font-size,13px);line-height:var(--jp-code-line-height,1.3)"
)

_MAKERS: dict[type, Callable[[Any], Bundle]] = {}


def register(kind: type, make: Callable[[Any], Bundle]) -> None:
    """Say how values of a type look, and those of its subclasses that have no entry of their own.

    Args:
        kind: the type; a later call for the same one replaces the earlier.
        make: takes the value and returns its bundle. Strings of others in it are made safe (`render.safe_text`), and a
            view that needs a live kernel is no part of it: the bundle is what a saved notebook keeps.
    """
    _MAKERS[kind] = make


def bundle(value: Any, note: ReleaseNote | None = None, *, twin: str = "") -> Bundle:
    """Return text/plain, and text/html (or other types) where there is more to show.

    note: what the guard did to a released table. twin: as `tables.table_html` has it.
    """
    match value:
        case Released():
            return both(released.released_html(value, twin=twin), released.released_text(value))
        case pl.DataFrame() if note is None and no_budgets(value):
            return words(NO_BUDGETS)
        case pl.DataFrame():
            return both(tables.table_html(value, note, twin=twin), tables.text(value, note))
        case pl.Series():
            return bundle(value.to_frame(), note, twin=twin)
    for kind in type(value).__mro__:
        if kind in _MAKERS:
            return _MAKERS[kind](value)
    return plain(value)


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


def both(page: str, text: str) -> Bundle:
    """Return the bundle of a page and its text."""
    return {"text/html": page, "text/plain": text}


def words(text: str) -> Bundle:
    """Return the bundle of a text of lines; of one with long lines, a page as well that breaks them between words."""
    shown = safe_text(text, lines=True)
    if len(shown) > MAX_TEXT or all(len(line) <= WIDE for line in shown.splitlines()):
        return {"text/plain": shown}
    return both(f'<pre style="{WRAPPED}">{safe_html(text, lines=True)}</pre>', shown)


def plain(value: Any) -> Bundle:
    """Return the bundle of what has no view of its own: its repr."""
    return {"text/plain": safe_text(repr(value), MAX_TEXT, lines=True)}


def _frame(frame: RemoteLazyFrame) -> Bundle:
    if frame.dataset is not None:
        return both(*cards.dataset_card(frame.dataset))
    text = repr(frame)
    return both(f"<pre>{safe_html(text, lines=True)}</pre>", text)


def _list(values: list[Any]) -> Bundle:
    kinds = {type(v) for v in values}
    if kinds and all(issubclass(kind, AccessRequest) for kind in kinds):
        return both(*cards.request_list(values))
    if kinds and all(issubclass(kind, AuditRecord) for kind in kinds):
        return both(*cards.audit_list(values))
    if kinds and all(issubclass(kind, RemoteLazyFrame) for kind in kinds) and all(v.dataset for v in values):
        return both(*cards.dataset_list([v.dataset for v in values]))
    return plain(values)


register(Denied, lambda value: both(denials.denial_html(value), denials.denial_text(value)))
register(BastionError, lambda value: both(denials.error_html(value), denials.error_text(value)))
register(Connection, lambda value: both(*cards.connection_card(connection_lines(value))))
register(RemoteLazyFrame, _frame)
register(Dataset, lambda value: both(*cards.dataset_card(value)))
register(AccessRequest, lambda value: both(*cards.request_list([value])))
register(list, _list)
register(Chart, Chart.mimebundle)
register(Explanation, words)
register(FakeFrame, lambda value: both(previews.preview_html(value), previews.preview_text(value)))
register(RemoteRun, lambda value: both(runs.run_html(value.info), runs.run_text(value.info)))
register(RunList, lambda value: both(*(show([r.info for r in value]) for show in (runs.runs_html, runs.runs_text))))
register(Attestation, lambda value: both(attested.attestation_html(value), attested.attestation_text(value)))
register(ModelCard, lambda value: both(runs.card_html(value.lines), runs.card_text(value.lines)))
register(TrainedModel, lambda value: bundle(value.card))
