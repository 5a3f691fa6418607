"""The tab Requests: the queue as the server pushes it, one request whole, and the owner's decisions."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import traitlets as t
from bastion_plan.errors import InputError
from bastion_wire import messages as m

from bastion.client.denied import AccessRequest
from bastion_widgets.owner import shown

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from bastion.client.connection import Connection

MAX_DAYS = 3650.0
DONE = {
    "approve": "Approved.", "deny": "Denied.", "read": "It may be read.", "withhold": "It will not be read; the result is gone.",
    "revoke": "The approval is revoked.",
}  # fmt: skip


class RequestsTab(t.HasTraits):
    """Traits and clicks of the tab."""

    _connection: Connection
    said: Any

    if TYPE_CHECKING:

        def _begin(self, work: Coroutine[Any, Any, None]) -> None: ...
        def _mine(self) -> set[str]: ...

    #: the queue: what waits first
    requests = t.List().tag(sync=True)
    #: the request that is open, whole; empty for none
    request = t.Dict().tag(sync=True)

    def _prepare(self) -> None:
        self._infos: dict[str, m.RequestInfo] = {}

    # ---- what the server says ----------------------------------------------------------------------------------------

    def _request_pushed(self, push: m.Push) -> None:
        info = push.request
        if info is None:
            return
        known = self._infos.get(info.id)
        self._infos[info.id] = info
        self._show_queue()
        if push.text and (known is None or known.ran != info.ran):
            self.said = shown.said(push.text)
        if self.request.get("id") == info.id:
            self._begin(self.do_open_request(info.id))

    async def _load_requests(self) -> None:
        answer = await self._connection._ask(m.ListRequests())
        mine = self._mine()
        own = self._connection.identity
        self._infos = {r.id: r for r in answer.requests if r.requester != own or mine & set(r.datasets)}
        self._show_queue()
        open_one = self.request.get("id")
        if open_one in self._infos:
            await self.do_open_request(open_one)

    def _show_queue(self) -> None:
        self.requests = [shown.request_row(info) for info in shown.newest_first(self._infos.values())]

    # ---- clicks ------------------------------------------------------------------------------------------------------

    async def do_open_request(self, request: str) -> None:
        """Show a request whole; a preview that was asked for stays."""
        info = (await self._connection._ask(m.GetRequest(request))).info
        self._infos[info.id] = info
        kept = {k: self.request[k] for k in ("preview", "suggestions") if k in self.request}
        self.request = {**(kept if self.request.get("id") == info.id else {}), **shown.request_whole(info)}
        self._show_queue()

    async def do_preview(self, request: str) -> None:
        """Show the owner the first rows of what a request is about, or the sealed result."""
        self.said = shown.said("Looking …", "busy")
        asked = AccessRequest(await self._connection._get_request(request, look=False), self._connection)
        frame = await asked._fetch()
        note = self._connection.last.note.notes if self._connection.last is not None else ()
        if self.request.get("id") == request:
            self.request = {**self.request, "preview": shown.table(frame, shown.line(" ".join(note)))}
        self.said = {}

    async def do_decide(
        self, request: str, how: str, reason: str = "", until: Any = None, run_only: bool = False
    ) -> None:
        """Sign a decision with the owner's key and send it. until: when an approval ends, in seconds since 1970."""
        reason = str(reason).strip()
        if how == "deny" and not reason:
            msg = "A denial needs a word to the requester."
            raise InputError(msg, code="input.reason", next_step="Write what they could ask for instead.")
        ends = _moment(until) if until is not None else 0.0
        run, read = how == "approve", how == "read" or (how == "approve" and not run_only)
        decided = await self._connection._decide(request, how, reason, ends, run, read)
        self.said = shown.said(f"{DONE.get(how, '')} {decided.info.requester} has been told.")
        self._infos[request] = decided.info
        self._show_queue()
        if self.request.get("id") == request:
            await self.do_open_request(request)


def _moment(value: Any) -> float:
    fine = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    days = (float(value) - time.time()) / 86400 if fine else math.nan
    if not 0 < days <= MAX_DAYS:
        msg = "Approve until a day from today on, at most ten years ahead."
        raise InputError(msg, code="input.arguments", next_step="Choose another day.")
    return float(value)
