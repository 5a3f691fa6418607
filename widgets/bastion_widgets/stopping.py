"""A line of progress with a button that stops what runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as w

from bastion.render.safe_text import safe_html


class StopLine(w.HBox):
    """A line and a button. stop: called once, when the button is pressed."""

    def __init__(self, text: str, stop: Callable[[], Any]) -> None:
        layout = w.Layout(width="auto")
        self._line = w.HTML(value=_small(text), layout=layout)
        self._button = w.Button(description="Stop", tooltip="Stop this query", icon="stop", layout=layout)
        self._button.on_click(lambda _: self._pressed(stop))
        super().__init__([self._button, self._line], layout=w.Layout(align_items="center"))

    def line(self, text: str) -> None:
        """Show another line."""
        self._line.value = _small(text)

    def view(self) -> dict[str, Any]:
        """Return its MIME data, to be shown with a text of the caller's."""
        found: dict[str, Any] = self._repr_mimebundle_() or {}
        return found

    def close(self) -> None:
        """Take it off the front end."""
        for part in (self._line.style, self._button.style, self._line.layout, self._line, self._button, self.layout):
            part.close()
        super().close()

    def _pressed(self, stop: Callable[[], Any]) -> None:
        self._button.disabled = True
        stop()


def _small(text: str) -> str:
    return f'<span style="font-size:11px;color:var(--jp-ui-font-color2,#666)">{safe_html(text)}</span>'
