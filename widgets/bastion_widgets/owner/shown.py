"""What the panel's page is given: plain data made of the server's messages, every foreign string made safe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl
from bastion_plan.errors import BastionError
from bastion_wire import messages as m

from bastion.render.safe_text import safe_text

MAX_TEXT, MAX_LINE, MAX_CELL = 20_000, 2_000, 80
MAX_ROWS, MAX_COLUMNS = 50, 40

_FIGURES = {
    "people": "people in the data",
    "rows": "rows of the result",
    "cells": "cells that pass",
    "hidden_cells": "cells that fail",
    "merged_cells": "cells put together",
    "smallest_cell": "people in the smallest cell that passes",
    "coverage": "share of all people it is about",
}


def line(text: object, limit: int = MAX_LINE) -> str:
    """Return a foreign string on one line."""
    return safe_text(text, limit)


def block(text: object) -> str:
    """Return a foreign string with its lines."""
    return safe_text(text, MAX_TEXT, lines=True)


def state_text(info: m.RequestInfo) -> str:
    """Return a request's state; of an approval, what it still allows."""
    if info.state == "pending":
        return "waits for you"
    if info.state != "approved":
        return line(info.state)
    if info.ended:
        ended = {"used": "used", "expired": "over", "revoked": "revoked"}.get(info.ended, line(info.ended))
        return f"approved, {ended}"
    if not info.may_read:
        return "ran, waits to be read" if info.ran else "approved to run only"
    return "approved"


def possible(info: m.RequestInfo) -> list[str]:
    """Return which decisions the server may still take on a request; whether it does is its own to say."""
    if info.state == "pending":
        return ["decide"]
    if info.state != "approved" or info.ended:
        return []
    return ["reading", "revoke"] if not info.may_read else ["revoke"]


def request_row(info: m.RequestInfo) -> dict[str, Any]:
    """Return a request as the queue shows it."""
    return {
        "id": line(info.id),
        "state": line(info.state, 20),
        "says": state_text(info),
        "live": bool(possible(info)),
        "requester": line(info.requester, 80),
        "reason": line(info.reason, 300),
        "datasets": [line(name, 80) for name in info.datasets],
        "created": info.created,
    }


def request_whole(info: m.RequestInfo) -> dict[str, Any]:
    """Return all there is to know of a request."""
    return {
        **request_row(info),
        "reason": block(info.reason),
        "can": possible(info),
        "expires": info.expires,
        "decided_by": line(info.decided_by, 80),
        "decided_at": info.decided_at,
        "answer": block(info.answer),
        "until": info.until,
        "ended": line(info.ended, 20),
        "ran": info.ran,
        "code": block(info.code),
        "words": block(info.words),
        "expressions": [line(text) for text in info.expressions],
        "columns": [
            {
                "name": line(name, 120),
                "role": line(info.roles.get(name, ""), 120),
                "uses": line(", ".join(info.uses.get(name, ())), 300),
            }
            for name in dict.fromkeys((*info.roles, *info.uses))
        ],
        "findings": [line(text) for text in info.findings],
        "findings_private": [line(text) for text in info.findings_private],
        "figures": [{"name": _FIGURES.get(k, line(k, 60)), "value": figure(k, v)} for k, v in info.figures.items()],
        "past": [
            {"time": e.time, "who": line(e.who, 80), "what": line(e.what, 300), "text": line(e.text, 600)} for e in info.past
        ],
    }  # fmt: skip


def figure(name: str, value: float) -> str:
    """Return a number for reading."""
    return f"{100 * value:.3g} %" if name == "coverage" else f"{value:,.0f}"


def table(frame: pl.DataFrame, says: str) -> dict[str, Any]:
    """Return the first rows of a table as strings."""
    part = frame[:MAX_ROWS, :MAX_COLUMNS]
    clipped = part.shape != frame.shape
    shape = f"{frame.height} rows, {frame.width} columns" + (
        f"; shown: {part.height} and {part.width}" if clipped else ""
    )
    return {
        "columns": [line(name, MAX_CELL) for name in part.columns],
        "rows": [["" if v is None else line(v, MAX_CELL) for v in row] for row in part.rows()],
        "says": f"{shape}. {says}",
    }  # fmt: skip


def said(text: str, how: str = "done", *, stop: str = "") -> dict[str, Any]:
    """Return the line below the tabs. how: done, busy or error. stop: what a button beside it asks for."""
    return {"how": how, "text": block(text), "code": "", "stop": stop}


def failed(error: BastionError) -> dict[str, Any]:
    """Return an error as the line below the tabs."""
    text = " ".join(part for part in (error.message, error.reason, error.next_step) if part)
    return {"how": "error", "text": block(text), "code": line(error.code, 80), "stop": ""}


def newest_first(infos: Iterable[m.RequestInfo]) -> list[m.RequestInfo]:
    """Return requests in the order of the queue: what waits, then what may be taken back, then the rest."""
    return sorted(infos, key=lambda r: (r.state != "pending", not possible(r), -r.created))
