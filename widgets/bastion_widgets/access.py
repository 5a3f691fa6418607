"""The access request: asking an owner from the cell that was denied, and the answer arriving in the same place."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import ipywidgets as w
from bastion_plan.errors import BastionError, InputError

from bastion.client.connection import STOPPED, Released
from bastion.client.denied import AccessRequest, Denied
from bastion.render.bundles import bundle, clipped_table
from bastion.render.denials import AGAIN, Course, error_html, standing_request
from bastion.render.progress import ProgressText
from bastion.render.released import released_html, released_text
from bastion.render.requests import may_be_asked_again, state_text
from bastion.render.safe_text import safe_html

if TYPE_CHECKING:
    from bastion_widgets.result import ResultWidget, Shelf

PLACEHOLDER = "Why do you need this? The owner reads it."
EVERY = 0.25  #: seconds between two lines of progress
FIRST = 2.0  #: seconds that the cell which asked has to take the result, before a list of requests does
#: while the widget answers, the static view does not say the same; once its kernel is gone, only the static view says it
ALIVE = f"""<style>
body:not(:has(.KEY-live.jupyter-widgets-disconnected)) .KEY{{display:none}}
.KEY-live.jupyter-widgets-disconnected>*{{display:none!important}}
.KEY-live.jupyter-widgets-disconnected::after{{{AGAIN}}}
</style>"""


class AccessRequestWidget(w.VBox):
    """A justification box and two ways on: ask the owner, or show the safe part. Then how the request stands, live.

    It speaks to the server through the connection of what it shows; nothing is filed before the button is pressed. While it
    waits it sends nothing: the server pushes the decision. An approved result appears in place.

    Args:
        subject: a denial; or a request that was filed before, as `requests()` lists them after a restart.
        on_result: takes every table that arrives. shelf: keeps the pages of a long table.
        keep: takes what became of a denial, whenever that changes, for the static view of it: a saved notebook has nothing else.
    """

    def __init__(
        self,
        subject: Denied | AccessRequest,
        on_result: Callable[[Released], None] | None = None,
        shelf: Shelf | None = None,
        keep: Callable[[Course], None] | None = None,
    ) -> None:
        self._keep, self._course = keep, Course()
        self._key = f"bastion-{secrets.token_hex(6)}"
        self._arrived: Released | None = None
        self._asking = False
        self._denied = subject if isinstance(subject, Denied) else None
        self._connection = subject._connection
        self._on_result, self._shelf = on_result, shelf
        self._request = standing_request(subject) if isinstance(subject, Denied) else subject
        #: whether it is for this widget to fetch what is approved: it filed the request, or took it up again
        self._own = self._denied is None and self._claim()
        self._shown = False
        self._running: asyncio.Task[Any] | Future[Any] | None = None
        self._pages: ResultWidget | None = None
        self._made: dict[str, w.Widget] = {}
        # every widget, layout and style is a message of its own: those that can be shared are, and parts come when needed
        self._layout, self._plain = w.Layout(width="auto"), w.ButtonStyle()
        self._row = w.HBox([], layout=self._layout)
        super().__init__([], layout=self._layout, _dom_classes=(f"{self._key}-live",))
        self._remove: Callable[[], None] = lambda: None
        self._listen()
        self._draw()

    @property
    def state(self) -> str:
        """pending, approved, denied, expired, withdrawn; empty while nothing is filed."""
        return self._request.state if self._request is not None else ""

    def refresh(self) -> None:
        """Show a request that was filed elsewhere, by `denied.request(…)` in a cell."""
        if self._request is None and self._denied is not None:
            self._request = standing_request(self._denied)
            if self._request is not None:
                self._listen()
                self._draw()

    def close(self) -> None:
        """Take it off the front end, with all its parts."""
        self._remove()
        for part in (*self._made.values(), self._row, self._plain, self._layout):
            part.close()
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Return the view; as text there is nothing to add to the denial above, except how a request stands."""
        found: dict[str, Any] = super()._repr_mimebundle_(**kwargs) or {}
        text = f"Request {self._request.id}: {state_text(self._request)}" if self._request is not None else ""
        return {**found, "text/plain": text}

    # ---- the parts -----------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        request, denied = self._request, self._denied
        asks = (denied is not None and denied.outcome == "review") if request is None else may_be_asked_again(request)
        writes = asks and (request is None or self._asking)
        row = []
        if writes:
            tip = "Send this query and your reason to the owner"
            row.append(self._button("ask", "Request access", tip, self._file, button_style="primary"))
        elif asks:
            row.append(self._button("again", "Ask again", "Put the same query to the owner anew", self._ask_again))
        if denied is not None and denied.has_safe_part and not self._shown:
            row.append(self._button("safe", self._safe_label(), "Show what may leave now", self._show_safe))
        if self.state == "pending":
            row.append(self._button("withdraw", "Withdraw", "Take the request back", self._take_back))
        if self._running is not None:
            stop = self._button("stop", "Stop", "Stop this query", None)
            row.append(stop)
        elif request is not None and request.may_read and not request.info_now.ended:
            once = not self._shown
            tip = "An approval for once is used up by this" if once else "Bring it once more"
            row.append(
                self._button("open", "Show the result" if once else "Show it again", tip, lambda: self._fetching())
            )
        self._row.children = row
        shown = [self._made[name] for name in ("progress", "result") if self._text(name)]
        if self._pages is not None:
            shown.append(self._pages)
        ways = [*([self._reason()] if writes else []), *([self._row] if row else [])]
        state = []
        if request is not None:
            answer = f" “{safe_html(request.answer)}”" if request.answer else ""
            alive = ALIVE.replace("KEY", self._key)
            state.append(self._html("state", f"{alive}<b>{safe_html(state_text(request))}</b>{answer}"))
        # what arrived is what one reads; asking anew comes below it
        self.children = [*state, *shown, *ways] if self._arrived is not None else [*state, *ways, *shown]
        self._remember()

    def _remember(self) -> None:
        """Let the static view say what became of the denial."""
        request, arrived = self._request, self._arrived
        if self._keep is None or (request is None and arrived is None):
            return
        course = Course(
            state_text(request) if request is not None else "",
            request.answer if request is not None else "",
            released_html(arrived) if arrived is not None else "",
            released_text(arrived) if arrived is not None else "",
            self._key,
            open=request is None or self.state == "pending" or not (self._shown or self.state == "denied"),
        )
        if course != self._course:
            self._course = course
            self._keep(course)

    def _safe_label(self) -> str:
        assert self._denied is not None
        denial = self._denied.denial
        part = denial.safe_cells < denial.total_cells
        return "Show the safe part" + (f" ({denial.safe_cells} of {denial.total_cells} cells)" if part else "")

    def _button(
        self, name: str, label: str, tip: str, work: Callable[[], Coroutine[Any, Any, None]] | None, **more: Any
    ) -> w.Widget:
        if name not in self._made:
            button = w.Button(description=label, tooltip=tip, layout=self._layout, style=self._plain, **more)
            button.on_click(lambda _: self._spawn(work()) if work is not None else self._stop())
            self._made[name] = button
        self._made[name].description, self._made[name].tooltip = label, tip
        return self._made[name]

    def _reason(self) -> w.Widget:
        if "reason" not in self._made:
            self._made["reason"] = w.Textarea(placeholder=PLACEHOLDER, rows=2, layout=self._layout)
        return self._made["reason"]

    def _html(self, name: str, value: str) -> w.Widget:
        if name not in self._made:
            shared = next((p.style for p in self._made.values() if isinstance(p, w.HTML)), None)
            style = {} if shared is None else {"style": shared}
            self._made[name] = w.HTML(value=value, layout=self._layout, **style)
        self._made[name].value = value
        return self._made[name]

    def _text(self, name: str) -> str:
        return self._made[name].value if name in self._made else ""

    # ---- work ----------------------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run on the connection's loop: the kernel's own, or that of a blocking connection's thread."""
        loop = self._connection._loop
        if loop is None:
            self._task = asyncio.ensure_future(self._guarded(work))
        else:
            asyncio.run_coroutine_threadsafe(self._guarded(work), loop)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Denied as denied:
            self._ended(denied)
        except BastionError as error:
            self._html("result", error_html(error))
        except Exception as error:  # noqa: BLE001 - a click must not fail unseen, nor show its insides
            msg = f"Something went wrong ({type(error).__name__})."
            self._html("result", error_html(BastionError(msg, code="internal.widget")))
        self._draw()

    def _ended(self, denied: Denied) -> None:
        """What was approved is not given any more: say how the request stands; it may have been used up elsewhere."""
        filed = denied.denial.request
        if self._request is None or filed is None or filed.id != self._request.id or not filed.ended:
            self._html("result", error_html(denied))
            return
        self._request = self._request._now(filed)
        self._release()

    async def _ask_again(self) -> None:
        self._asking = True

    async def _file(self) -> None:
        reason, button = self._made["reason"].value, self._made["ask"]
        button.disabled = True
        try:
            if self._denied is not None:
                self._request = await self._denied._file(reason)
            elif self._request is not None:
                if not reason.strip():
                    msg = "A request needs a reason."
                    raise InputError(msg, code="input.reason", next_step="Say in a sentence what you need it for.")
                self._request = await self._request._again(reason.strip())
            self._own = self._claim()
            self._shown = self._asking = False
            self._arrived = None
            self._html("result", "")
            self._listen()
        finally:
            button.disabled = False

    async def _take_back(self) -> None:
        if self._request is not None:
            self._request = await self._connection._withdraw(self._request.id)
            self._release()

    async def _show_safe(self) -> None:
        assert self._denied is not None
        plan = self._denied.plan
        self._deliver(await self._run(lambda tell: self._connection._run_plan(plan, "safe_part", on_progress=tell)))

    # ---- decisions -----------------------------------------------------------------------------------------------

    def _claim(self) -> bool:
        """Whether this widget is the one of its connection that fetches the result by itself."""
        if self._request is None or self._request.requester != self._connection.identity:
            return False
        if self._request.id in self._connection._claimed:
            return False
        self._connection._claimed.add(self._request.id)
        return True

    def _listen(self) -> None:
        self._remove()
        self._remove = self._connection.on_decision(self._decided)

    def _release(self) -> None:
        """Nothing more is to be heard of the request."""
        self._remove()
        self._remove = lambda: None

    def _decided(self, request: AccessRequest) -> None:
        self.refresh()
        if self._request is None or request.id != self._request.id:
            return
        self._request = self._request._now(request.info)
        info = request.info
        if info.ended or info.state not in ("pending", "approved"):
            self._release()
        self._draw()
        # a cell may be waiting for the result, and an approval for once gives it once
        mine = self._own and not self._shown and request.id not in self._connection._waited
        if mine and (request.sealed or request.may_read) and not info.ended:
            work = self._run_sealed if request.sealed else self._fetching
            self._spawn(work() if self._denied is not None else self._taken_up(work))

    async def _taken_up(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Fetch for a request that was filed elsewhere, unless the cell that filed it still lives, in another kernel."""
        await asyncio.sleep(FIRST)
        if self._request is not None and not self._request.info_now.ended:
            await work()

    async def _run_sealed(self) -> None:
        """Let it run; what it gives stays sealed until a further decision."""
        try:
            await self._fetching()
        except Denied as denied:
            if denied.rule != "owner-grant":
                raise

    async def _fetching(self) -> None:
        assert self._request is not None
        found = await self._run(self._request._result)
        self._shown = True
        self._deliver(found)

    async def _run(self, begin: Callable[[Callable[[Any], None]], Coroutine[Any, Any, Any]]) -> Any:
        """Run it, with how far it is and a button to stop it once that takes long."""
        text = ProgressText()
        work = asyncio.ensure_future(begin(text.heard))
        try:
            while not work.done():
                await asyncio.wait([work], timeout=EVERY)
                if not work.done():
                    self._running = work
                    self._html("progress", f"<small>{safe_html(text.line())}</small>")
                    self._draw()
            return work.result()
        except asyncio.CancelledError:
            work.cancel()
            msg = "The query was stopped."
            raise BastionError(msg, code="interrupted.cancelled", reason=STOPPED) from None
        finally:
            self._running = None
            if "progress" in self._made:
                self._html("progress", "")

    def _stop(self) -> None:
        work, loop = self._running, self._connection._loop
        if work is None:
            return
        if loop is None:
            work.cancel()
        else:
            loop.call_soon_threadsafe(work.cancel)

    def _deliver(self, released: Any) -> None:
        self._pages = None
        if not isinstance(released, Released):  # a fit
            self._html("result", bundle(released).get("text/html", ""))
            return
        twin = ""
        if self._shelf is not None and clipped_table(released) is not None:
            self._pages = self._shelf.add(released)
            twin = self._pages.twin
        line = "In the next cells this table is: released"
        self._arrived = released
        alive = ALIVE.replace("KEY", self._key) if self._request is None else ""
        self._html("result", alive + released_html(released, line, twin=twin))
        if self._on_result is not None:
            self._on_result(released)
