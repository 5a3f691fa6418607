"""The tabs Activity, Exposure and Budget: the audit log with filters, what was released, and what is left of budgets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import traitlets as t
from bastion_plan.errors import BastionError, InputError
from bastion_wire import messages as m

from bastion.client.exposure import Exposure, uses_text
from bastion_widgets.owner import shown

if TYPE_CHECKING:
    from bastion.client.connection import Connection

RECORDS = 100
MAX_FIGURES = 20  #: datasets whose exposure is asked for at once
#: kinds of records, and what they are about
KINDS = {
    "outcome": "answers and denials", "grant_used": "answers by approval", "request": "requests", "decision": "decisions",
    "intent": "questions as they came", "policy": "policies and deletions", "upload": "uploads", "key": "keys", "note": "notes",
    "start": "starts", "stop": "stops",
}  # fmt: skip


class ActivityTabs(t.HasTraits):
    """Traits and clicks of the tabs."""

    _connection: Connection
    said: Any

    if TYPE_CHECKING:

        def _cards(self) -> dict[str, m.Dataset]: ...

    #: records of the log, oldest first, and the filters they were asked with
    activity = t.Dict().tag(sync=True)
    #: what the server said when the log was verified
    verified = t.Dict().tag(sync=True)
    #: per dataset: what was released
    exposure = t.List().tag(sync=True)
    #: per population of people: budgets for noise
    budgets = t.List().tag(sync=True)

    # ---- the log -----------------------------------------------------------------------------------------------------

    async def do_records(
        self,
        who: str = "",
        kind: str = "",
        dataset: str = "",
        since: Any = 0,
        until: Any = 0,
        red: bool = False,
        below: Any = 0,
    ) -> None:
        """Show the last records that match; those before the ones that are shown where `below` is given."""
        filters = {
            "who": str(who).strip(), "kind": str(kind), "dataset": str(dataset), "since": _time(since), "until": _time(until),
            "red": bool(red),
        }  # fmt: skip
        number = below if isinstance(below, int) and not isinstance(below, bool) else 0
        found = await self._connection._audit(
            filters["dataset"] or None, RECORDS, filters["who"] or None, (filters["kind"],) if filters["kind"] else (),
            filters["since"] or None, filters["until"] or None, filters["red"], max(0, number),
        )  # fmt: skip
        names = {key: d.facts.name for key, d in self._cards().items()}
        rows = [_record(record, names) for record in found]
        earlier = self.activity.get("records", []) if number else []
        self.activity = {
            "records": [*rows, *earlier],
            "more": len(found) == RECORDS,
            "filters": filters,
            "kinds": [{"kind": k, "says": v} for k, v in KINDS.items()],
        }

    async def do_verify(self) -> None:
        """Have the server check its whole log now."""
        self.said = shown.said("Checking the whole log …", "busy")
        answer: m.Verified = await self._connection._ask(m.AuditVerify())
        checkpoint = answer.checkpoint
        self.verified = {
            "ok": answer.ok, "size": answer.size, "problem": shown.line(answer.problem),
            "root": checkpoint.root.hex() if checkpoint is not None else "",
            "time": checkpoint.time if checkpoint is not None else 0.0,
        }  # fmt: skip
        self.said = {}

    # ---- figures -----------------------------------------------------------------------------------------------------

    async def do_figures(self) -> None:
        """Ask what was released of each of one's tables, and for the budgets."""
        tables = [d for d in self._cards().values() if d.kind_of == "table"]
        tables.sort(key=lambda d: d.facts.name)
        found = []
        for card in tables[:MAX_FIGURES]:
            try:
                found.append(_exposed(await self._connection._exposure(card.facts.id)))
            except BastionError as error:
                if error.code != "missing.dataset":
                    raise
        self.exposure = found
        mine = {d.facts.name for d in tables} | {d.facts.id for d in tables}
        answer: m.Budgets = await self._connection._ask(m.GetBudget())
        self.budgets = [
            {
                "datasets": [shown.line(name, 80) for name in b.datasets], "epsilon": b.epsilon, "delta": b.delta,
                "spent": b.spent, "left": b.left, "answers": b.answers, "void": shown.line(b.void or ""),
            }
            for b in answer.budgets
            if mine & set(b.datasets)
        ]  # fmt: skip


def _time(value: Any) -> float:
    if value in ("", None):
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        msg = "This is not a time."
        raise InputError(msg, code="input.arguments")
    return float(value)


def _record(record: m.AuditRecord, names: dict[str, str]) -> dict[str, Any]:
    words = record.details.get("words", "")
    return {
        "index": record.index, "time": record.time, "kind": shown.line(record.kind_of, 20), "who": shown.line(record.who, 80),
        "what": shown.line(record.summary, 600), "dataset": shown.line(names.get(record.dataset, record.dataset), 80),
        "plan": shown.line(record.plan_hash[:12], 12), "red": record.red, "words": shown.line(words, 600),
    }  # fmt: skip


def _exposed(found: Exposure) -> dict[str, Any]:
    e = found.message
    return {
        "name": shown.line(e.name, 80), "people": e.people, "untouched": [shown.line(name, 80) for name in e.untouched],
        "epsilon": e.epsilon, "delta": e.delta, "spent": e.spent, "void": shown.line(e.void),
        "audiences": [
            {
                "name": shown.line(a.audience, 80), "members": [shown.line(name, 80) for name in a.members if name != a.audience],
                "answers": a.answers, "approved": a.approved, "unsafe": a.unsafe, "denied": a.denied, "coverage": a.coverage,
                "rank": a.rank, "rank_limit": _finite(a.rank_limit), "epsilon": a.epsilon, "last": a.last, "failed": a.failed,
            }
            for a in e.audiences
        ],
        "columns": [
            {
                "audience": shown.line(c.audience, 80), "column": shown.line(c.column or "(people)", 120),
                "role": shown.line(c.role, 80), "uses": shown.line(uses_text(c.uses), 400), "answers": c.answers, "cells": c.cells,
                "smallest": c.smallest_cell, "approved": c.approved, "unsafe": c.unsafe, "coverage": c.coverage, "last": c.last,
            }
            for c in e.columns
        ],
    }  # fmt: skip


def _finite(value: float | None) -> float | None:
    """Return a number that JSON has."""
    return value if value is not None and math.isfinite(value) else None
