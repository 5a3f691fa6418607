"""The line below a %%bastion cell that runs: in a notebook a display, in a terminal a line on standard error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bastion_widgets.status import PATIENCE
from bastion_widgets.status import StatusLine as AnyStatusLine
from IPython.display import clear_output, publish_display_data

from bastion.client.terminal import TerminalLine


class StatusLine(AnyStatusLine):
    """One cell's line. In a terminal it is written over itself on standard error.

    Args:
        notebook: whether a front end shows displays. waiting: says whether the cell waits for an owner's decision.
    """

    def __init__(self, notebook: bool, waiting: Callable[[], bool]) -> None:
        super().__init__(waiting)
        self._terminal = None if notebook else TerminalLine()

    def verdict(self, text: str) -> None:
        """Show the verdict on what is about to run; a terminal has it with the result."""
        if self._terminal is None:
            super().verdict(text)

    def tick(self, stop: Callable[[], Any]) -> None:
        """Show how far the work is, if it takes long. stop: what the button does; a front end that sends clicks only when no
        cell runs has the interrupt instead.
        """
        if self._text.seconds < PATIENCE:
            return
        if self._terminal is not None:
            self._terminal.write(self.text())
        else:
            self._show(stop, clicks=False)

    def replaced(self) -> None:
        """What the cell gives comes now, in the place of the line; the next thing that it gives stands below."""
        if self._terminal is not None:
            self._terminal.clear()
        super().replaced()
        self.others = True

    def close(self) -> None:
        """The cell has ended."""
        if self._terminal is not None:
            self._terminal.clear()
        super().close()

    def _publish(self, data: dict[str, Any], display: str, update: bool) -> None:
        publish_display_data(data, transient={"display_id": display}, update=update)

    def _clear(self) -> None:
        clear_output(wait=True)
