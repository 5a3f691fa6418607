"""The access request: asking an owner from the cell that was denied, and the answer arriving in the same place."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Callable, Coroutine
from typing import Any

import ipywidgets as w
from bastion_plan.errors import BastionError

from bastion.client.connection import Released
from bastion.client.denied import AccessRequest, Denied
from bastion.render.denials import error_html, standing_request
from bastion.render.tables import table_html

STATES = {
    "pending": "Waiting for the owner. You can go on working; the result appears here.",
    "approved": "The owner approved.",
    "denied": "The owner said no.",
    "expired": "The request expired.",
    "withdrawn": "You took the request back.",
}
SEALED = "The owner lets it run. The result is kept sealed, and appears here once you may read it."
WITHHELD = "The owner let it run, and does not let you read the result."


class AccessRequestWidget(w.VBox):
    """A justification box and two ways on: ask the owner, or show the safe part.

    It speaks to the server through the denial's own connection; nothing is filed before the button is pressed. While it
    waits it sends nothing: the server pushes the decision.
    """

    def __init__(self, denied: Denied, on_result: Callable[[Released], None] | None = None) -> None:
        self._denied = denied
        self._on_result = on_result
        self._request: AccessRequest | None = standing_request(denied)
        self._own = False
        self._shown = False
        self._reason = w.Textarea(
            placeholder="Why do you need this? The owner reads it.", rows=2, layout=w.Layout(width="auto")
        )
        self._ask = w.Button(
            description="Request access", button_style="primary", tooltip="Send this query and your reason to the owner"
        )
        self._safe = w.Button(
            description=self._safe_label(), tooltip="Show what may leave now", layout=w.Layout(width="auto")
        )
        self._withdraw = w.Button(description="Withdraw", tooltip="Take the request back")
        self._open = w.Button(description="Show the result", tooltip="An approval for once is used up by this")
        self._state = w.HTML()
        self._result = w.HTML()
        self._ask.on_click(lambda _: self._spawn(self._file()))
        self._safe.on_click(lambda _: self._spawn(self._show_safe()))
        self._withdraw.on_click(lambda _: self._spawn(self._take_back()))
        self._open.on_click(lambda _: self._spawn(self._fetch()))
        super().__init__([])
        self._remove = denied._connection.on_decision(self._decided)
        self._draw()

    @property
    def state(self) -> str:
        """pending, approved, denied, expired, withdrawn; empty while nothing is filed."""
        return self._request.state if self._request is not None else ""

    def refresh(self) -> None:
        """Show a request that was filed elsewhere, by `denied.request(…)` in a cell."""
        if self._request is None:
            self._request = standing_request(self._denied)
            if self._request is not None:
                self._draw()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Return the view; as text there is nothing to add to the denial above, except how a request stands."""
        found: dict[str, Any] = super()._repr_mimebundle_(**kwargs) or {}
        text = f"Request {self._request.id}: {STATES.get(self.state, self.state)}" if self._request is not None else ""
        return {**found, "text/plain": text}

    def _safe_label(self) -> str:
        denial = self._denied.denial
        part = denial.safe_cells < denial.total_cells
        return "Show the safe part" + (f" ({denial.safe_cells} of {denial.total_cells} cells)" if part else "")

    def _draw(self) -> None:
        parts: list[w.Widget] = []
        if self._request is None and self._denied.outcome == "review":
            parts.append(self._reason)
        row = [self._safe] if self._denied.has_safe_part and not self._shown else []
        if self._request is None and self._denied.outcome == "review":
            row.insert(0, self._ask)
        if self.state == "pending":
            row.append(self._withdraw)
        if self.state == "approved" and self._request is not None and self._request.may_read and not self._shown:
            row.append(self._open)
        if row:
            parts.append(w.HBox(row))
        if self._request is not None:
            answer = self._request.answer
            self._state.value = f"<b>{self._state_text()}</b>" + (
                f" “{html.escape(answer)}”" if answer else ""
            )
            parts.append(self._state)
        if self._result.value:
            parts.append(self._result)
        self.children = parts

    def _state_text(self) -> str:
        if self._request is not None and self.state == "approved" and not self._request.may_read:
            return SEALED if self._request.sealed else WITHHELD
        return STATES.get(self.state, html.escape(self.state))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run on the connection's loop: the kernel's own, or that of a blocking connection's thread."""
        loop = self._denied._connection._loop
        if loop is None:
            self._task = asyncio.ensure_future(self._guarded(work))
        else:
            asyncio.run_coroutine_threadsafe(self._guarded(work), loop)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except BastionError as error:
            self._result.value = error_html(error)
        except Exception as error:  # noqa: BLE001 - a click must not fail unseen, nor show its insides
            msg = f"Something went wrong ({type(error).__name__})."
            self._result.value = error_html(BastionError(msg, code="internal.widget"))
        self._draw()

    async def _file(self) -> None:
        self._ask.disabled = True
        try:
            self._request = await self._denied._file(self._reason.value)
            self._own = True
            self._result.value = ""
        finally:
            self._ask.disabled = False

    async def _take_back(self) -> None:
        if self._request is not None:
            self._request = await self._denied._connection._withdraw(self._request.id)

    async def _show_safe(self) -> None:
        released = await self._denied._connection._run_plan(self._denied.plan, "safe_part")
        self._deliver(released)

    def _decided(self, request: AccessRequest) -> None:
        self.refresh()
        if self._request is None or request.id != self._request.id:
            return
        self._request = request
        if not request.sealed:
            self._remove()
        self._draw()
        # a cell that filed it may be waiting for the result, and an approval for once gives it once
        if self._own and (request.sealed or request.may_read):
            self._spawn(self._run() if request.sealed else self._fetch())

    async def _run(self) -> None:
        """Let it run; what it gives stays sealed until a further decision."""
        try:
            await self._fetch()
        except Denied as denied:
            if denied.rule != "owner-grant":
                raise

    async def _fetch(self) -> None:
        released = await self._denied._connection._run_plan(
            self._denied.plan, "run", request=self._request.id if self._request else None
        )
        self._shown = True
        self._deliver(released)

    def _deliver(self, released: Released) -> None:
        self._result.value = table_html(released.frame, released.note, "In the next cells this table is: released")
        if self._on_result is not None:
            self._on_result(released)
