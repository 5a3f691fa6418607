"""What a front end shows of a value: static views, and widgets below them. The kernel and the magics both show through it."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import polars as pl

from bastion.client.connection import Released
from bastion.client.denied import AccessRequest, Denied, NotApproved
from bastion.language import Environment
from bastion.render.bundles import Bundle, both, bundle, clipped_table, words
from bastion.render.denials import Course, denial_html, denial_text
from bastion.render.requests import may_resume
from bastion_widgets.names import install

if TYPE_CHECKING:
    from bastion_widgets.access import AccessRequestWidget
    from bastion_widgets.result import Shelf

#: takes a value and the screen; returns its outputs in order, or None where the static bundle is all there is
Maker = Callable[[Any, "Screen"], "list[Bundle] | None"]

MAX_REFRESHED = 64
_MAKERS: dict[type, Maker] = {}


def register(kind: type, make: Maker) -> None:
    """Say which outputs show values of a type, and of its subclasses that have no entry of their own.

    Where a widget is among them, a static output comes before it: a saved notebook, nbconvert and a kernel that is
    gone have nothing else. A type without an entry is shown by its static bundle (`bastion.render.bundles.register`).
    """
    _MAKERS[kind] = make


class Replaceable(Bundle):
    """A bundle that another one may take the place of later. display: the id that it is to be shown under."""

    def __init__(self, data: Bundle, display: str) -> None:
        super().__init__(data)
        self.display = display


class Screen:
    """What is shown of one session's values.

    Args:
        environment: the session. arrived: takes what a widget fetches after its cell has ended; by default nothing.
        replace: shows a bundle in the place of the one that was shown under an id, after its cell has ended, too; None
            where the front end cannot.
    """

    def __init__(
        self,
        environment: Environment,
        arrived: Callable[[Released], None] | None = None,
        replace: Callable[[Bundle, str], None] | None = None,
    ) -> None:
        self.environment = environment
        install(environment)
        self.arrived = arrived or (lambda released: None)
        self.replace = replace
        self._shelf: Shelf | None = None
        self._waiting: deque[AccessRequestWidget] = deque(maxlen=MAX_REFRESHED)

    def outputs(self, value: Any, *, widgets: bool = True) -> list[Bundle]:
        """Return MIME bundles that show a value, in order; at least one, and the first is static.

        Args:
            value: of any type. A table that was the last answer brings its footer.
            widgets: False for static views alone.
        """
        value = self._released(value)
        if widgets:
            for kind in type(value).__mro__:
                if kind in _MAKERS:
                    made = _MAKERS[kind](value, self)
                    return [bundle(value)] if made is None else made
        return [bundle(value)]

    def displayed(self, value: Any, *, widgets: bool = True) -> list[Bundle]:
        """Return what `display(value)` shows: as `outputs`, but a text as it is, without quotes."""
        if isinstance(value, str):
            return [words(value)]
        return self.outputs(value, widgets=widgets)

    def static(self, value: Any) -> Bundle:
        """Return the one bundle that shows a value without a widget, as for an expression in a reply."""
        return bundle(self._released(value))

    def denial(self, denied: Denied, *, widgets: bool = True) -> list[Bundle]:
        """Return what shows a denial; the next cell finds it by the name `denied`, unless an owner decided already."""
        if not isinstance(denied, NotApproved):
            self.environment.names["denied"] = denied
        return self.outputs(denied, widgets=widgets)

    def refresh(self) -> None:
        """Let widgets show what a cell did to their requests. Call it when a cell has ended."""
        for widget in self._waiting:
            widget.refresh()

    def shelf(self) -> Shelf:
        """Return the session's result widgets."""
        if self._shelf is None:
            from bastion_widgets.result import Shelf

            self._shelf = Shelf()
        return self._shelf

    def watch(self, widget: AccessRequestWidget) -> None:
        """Refresh a widget after every cell, while it is among the newest."""
        self._waiting.append(widget)

    def _released(self, value: Any) -> Any:
        """Return the release that a table came with, if it is the last one."""
        connection = self.environment.connection
        last = connection.last if connection is not None else None
        return last if last is not None and value is last.frame else value


def _table(value: Any, screen: Screen) -> list[Bundle] | None:
    """A table that its static view cuts short: below it, a widget with all of it."""
    table = clipped_table(value)
    if table is None:
        return None
    return screen.shelf().outputs(value if isinstance(value, Released) else table)


def _denial(denied: Denied, screen: Screen) -> list[Bundle] | None:
    """The reason as static text, which survives anything; below it the ways on. What comes of them is kept with the reason."""
    if denied.outcome != "review" and not denied.has_safe_part:
        return None
    from bastion_widgets.access import AccessRequestWidget

    replace, display = screen.replace, uuid.uuid4().hex
    told: list[Course] = []  # before it is shown: of a request that was filed before

    def view(course: Course) -> Bundle:
        return both(denial_html(denied, course), denial_text(denied, course))

    def keep(course: Course) -> None:
        if replace is not None and shown:
            replace(view(course), display)
        told.append(course)

    shown: list[Bundle] = []
    widget = AccessRequestWidget(denied, screen.arrived, screen.shelf(), keep)
    first = view(told[-1]) if told else bundle(denied)
    shown += [first if replace is None else Replaceable(first, display), widget._repr_mimebundle_()]
    screen.watch(widget)
    return shown


def _requests(value: list[Any], screen: Screen) -> list[Bundle] | None:
    """A list of requests: as a static table, which follows; below it those of one's own that something may still come of."""
    if not value or not all(isinstance(request, AccessRequest) for request in value):
        return None
    own = [r for r in value if r.requester == r._connection.identity and may_resume(r)]
    if not own:
        return None
    from bastion_widgets.requests import RequestRows

    first, replace, display = bundle(value), screen.replace, uuid.uuid4().hex
    seen = [first]  # what the front end has of the table
    shown: list[Bundle] = []

    def follow(_: Course) -> None:
        now = bundle(value)
        if replace is not None and shown and now != seen[-1]:
            seen[:] = [now]
            replace(now, display)

    rows = RequestRows(own, screen.arrived, screen.shelf(), follow)
    shown += [first if replace is None else Replaceable(first, display), rows._repr_mimebundle_()]
    return shown


for _kind in (Released, pl.DataFrame, pl.Series):
    register(_kind, _table)
register(Denied, _denial)
register(list, _requests)
