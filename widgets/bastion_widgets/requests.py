"""Requests that were filed before, live: after a restart of the kernel they go on as if nothing had happened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from bastion.client.connection import Released
from bastion.client.denied import AccessRequest
from bastion.render.denials import Course
from bastion.render.safe_text import safe_html
from bastion_widgets.access import AccessRequestWidget

if TYPE_CHECKING:
    from bastion_widgets.result import Shelf

MAX_ROWS = 12  #: each row is some ten messages to the front end


class RequestRows(w.VBox):
    """A row for each request, the newest first: what it asks for, how it stands, what one can do; the result arrives there.

    Args:
        requests: one's own. on_result, shelf, keep: as `AccessRequestWidget` has them.
    """

    def __init__(
        self,
        requests: Sequence[AccessRequest],
        on_result: Callable[[Released], None] | None = None,
        shelf: Shelf | None = None,
        keep: Callable[[Course], None] | None = None,
    ) -> None:
        newest = sorted(requests, key=lambda r: r.info.created, reverse=True)
        self.rows = [AccessRequestWidget(request, on_result, shelf, keep) for request in newest[:MAX_ROWS]]
        parts: list[w.Widget] = []
        for request, row in zip(newest, self.rows, strict=False):
            parts += [w.HTML(value=_title(request), layout=row._layout), row]
        if left := len(newest) - len(self.rows):
            parts.append(w.HTML(value=f"<small>and {left} older ones, in the table above</small>"))
        super().__init__(parts)

    def close(self) -> None:
        """Take them off the front end."""
        for row in self.rows:
            row.close()
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Return the view; as text and as HTML there is nothing to add to the table above."""
        found: dict[str, Any] = super()._repr_mimebundle_(**kwargs) or {}
        return {**found, "text/html": "", "text/plain": ""}


def _title(request: AccessRequest) -> str:
    what = request.words or request.code
    return (
        f'<div style="margin-top:6px;line-height:1.5"><code>{safe_html(request.id)}</code> {safe_html(what, 300)}'
        f"<br><small style='color:var(--jp-ui-font-color2,#666)'>“{safe_html(request.reason, 300)}”</small></div>"
    )
