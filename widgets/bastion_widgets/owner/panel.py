"""The owner's panel: live requests, datasets and policies, the audit log, what was released, and budgets.

It holds no decision: it shows what the server says, and what the owner decides is signed with their key and taken by the
server like a decision from anywhere else. While nothing is clicked it sends nothing: the server pushes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import anywidget
import traitlets as t
from bastion_plan.errors import BastionError, InputError, NotAuthorised
from bastion_wire import messages as m

from bastion.client.connection import Connection
from bastion.render.attested import MEANING, claims_rows
from bastion.render.bundles import Bundle, both
from bastion.render.safe_text import safe_html
from bastion.render.tables import STYLE
from bastion_widgets.owner import shown
from bastion_widgets.owner.activity import ActivityTabs
from bastion_widgets.owner.data import DatasetsTab
from bastion_widgets.owner.requests import RequestsTab
from bastion_widgets.show import Screen, register

HERE = Path(__file__).parent
PARTS = ("base.js", "requests.js", "datasets.js", "activity.js", "charts.js", "panel.js")
STATES = {
    "back": "connected",
    "lost": "connection lost: opening it anew",
    "refused": "refused: nothing is sent to this server",
    "ended": "the server does not know this key any more",
}


def page() -> str:
    """Return the front end's module: the parts in order, in one."""
    return "\n".join((HERE / part).read_text(encoding="utf-8") for part in PARTS)


class OwnerPanel(RequestsTab, DatasetsTab, ActivityTabs, anywidget.AnyWidget):
    """What an owner sees of their data, in tabs: Requests, Datasets, Activity, Exposure, Budget.

    Args:
        connection: an open connection of an owner, of either flavour.

    Raises:
        NotAuthorised: the connection is not an owner's.

    >>> OwnerPanel(connection)                                               # doctest: +SKIP
    """

    _esm = page()
    _css = (HERE / "panel.css").read_text(encoding="utf-8")

    #: the five tabs' names, the one that is open first
    tab = t.Unicode("Requests").tag(sync=True)
    #: who and where, and whether the connection stands
    session = t.Dict().tag(sync=True)
    #: the line below the tabs: how (done, busy, error), text, code
    said = t.Dict().tag(sync=True)

    def __init__(self, connection: Connection) -> None:
        if "owner" not in connection.roles:
            msg = "The panel is for owners, and you have no owner's key here."
            raise NotAuthorised(msg, code="wire.auth.role", next_step="Connect with an identity of role owner.")
        self._connection = connection
        super().__init__(session=self._who())
        self._prepare()
        self._prepare_datasets()
        self.on_msg(self._clicked)
        self._removers: list[Callable[[], None]] = [
            connection.on_push(self._request_pushed, "request"),
            connection.on_datasets(lambda: self._begin(self._load_datasets())),
            connection.on_state(self._state_told),
        ]
        self._begin(self._load())

    def close(self) -> None:
        """Stop listening, and take the widget off the page."""
        for remove in self._removers:
            remove()
        self._removers.clear()
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Return the view; its text is all that is left of it without a kernel."""
        made = super()._repr_mimebundle_(**kwargs)
        data, *rest = made if isinstance(made, tuple) else (made or {},)
        data = {**data, "text/plain": self.text()}
        return (data, *rest) if rest else data

    def text(self) -> str:
        """Return what the panel says without a front end: who and where, and what waits."""
        waiting = [r for r in self.requests if r["state"] == "pending"]
        head = f"Owner's panel of {self.session['identity']} on {self.session['endpoint']}."
        return "\n".join([head, *(f"  waits: {r['id']} of {r['requester']}: {r['reason']}" for r in waiting)])

    # ---- clicks and pushes -------------------------------------------------------------------------------------------

    def _clicked(self, _: Any, content: Any, buffers: list[Any]) -> None:
        """Do what the page asks: one of the methods `do_…`, with the fields that it names."""
        if not isinstance(content, dict):
            return
        name = content.get("do")
        method = getattr(self, f"do_{name}", None) if isinstance(name, str) and name.isidentifier() else None
        if method is None:
            return
        fields = {k: v for k, v in content.items() if k != "do" and isinstance(k, str)}
        if buffers:
            fields["buffers"] = buffers
        self._begin(self._called(method, fields))

    async def _called(self, method: Callable[..., Coroutine[Any, Any, None]], fields: dict[str, Any]) -> None:
        try:
            work = method(**fields)
        except TypeError:
            msg = "The page asked for something this panel does not know."
            raise InputError(msg, code="input.panel", next_step="Run the cell again.") from None
        await work

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Run on the connection's loop: the kernel's own, or that of a blocking connection's thread."""
        loop = self._connection._loop
        if loop is None:
            self._task = asyncio.ensure_future(self._guarded(work))
        elif not loop.is_running():
            work.close()
        else:
            asyncio.run_coroutine_threadsafe(self._guarded(work), loop)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except BastionError as error:
            self.said = shown.failed(error)
        except Exception as error:  # noqa: BLE001 - a click must not fail unseen, nor show its insides
            msg = f"Something went wrong ({type(error).__name__})."
            self.said = shown.failed(BastionError(msg, code="internal.widget"))

    async def do_tab(self, tab: str) -> None:
        """Open a tab; what it shows is asked for now."""
        self.tab = tab
        match tab:
            case "Activity":
                await self.do_records()
            case "Exposure" | "Budget":
                await self.do_figures()

    def _state_told(self, state: str) -> None:
        self.session = self._who()
        if state == "back":
            self._begin(self._load())

    def _who(self) -> dict[str, Any]:
        connection = self._connection
        attestation = connection.attestation
        return {
            "identity": shown.line(connection.identity, 80),
            "endpoint": shown.line(connection.endpoint, 200),
            "state": connection.state,
            "says": STATES.get(connection.state, ""),
            "light": attestation.light,
            "attested": shown.line(attestation.sentence, 500),
            "meaning": MEANING[attestation.light],
            "claims": [[name, shown.line(value, 400)] for name, value in claims_rows(attestation)],
        }

    async def _load(self) -> None:
        await self._load_datasets()
        await self._load_requests()

    async def _ask(self, body: m.Body) -> Any:
        return await self._connection._ask(body)


def _outputs(panel: OwnerPanel, screen: Screen) -> list[Bundle]:
    """The panel, below a line that a saved notebook keeps."""
    del screen
    text = f"{panel.text()}\nThe panel is live while its kernel runs; run the cell again to open it anew."
    page = f'{STYLE}<div class="bastion"><div class="foot">{safe_html(text, lines=True)}</div></div>'
    view = panel._repr_mimebundle_()
    data = view[0] if isinstance(view, tuple) else view
    return [both(page, text), {**data, "text/plain": ""}]


register(OwnerPanel, _outputs)
