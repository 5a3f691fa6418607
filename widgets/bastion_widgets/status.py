"""The line below a cell that runs, for kernel and magics: its verdict, then how far it is; what the cell gives takes its place."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bastion.render.progress import ProgressText
from bastion.render.verdicts import quiet

if TYPE_CHECKING:
    from bastion_wire.messages import Progress

PATIENCE = 0.5  #: seconds that a cell may take before anything is said of its progress
BUTTON_AFTER = 1.0  #: seconds until there is a button: most cells need none, and it is some ten messages
WAITS = "waiting for the owner's decision"
STOP = "interrupt the kernel to stop"


class StatusLine(ABC):
    """One cell's line, with a button that stops the cell.

    A front end says how a display is shown (`_publish`) and the cell's output cleared (`_clear`), and calls `_show` while
    the cell runs.

    Args:
        waiting: says whether the cell waits for an owner's decision.
    """

    def __init__(self, waiting: Callable[[], bool]) -> None:
        self._waiting = waiting
        self._text = ProgressText()
        self._id: str | None = None
        self._ticked = False
        self._button: Any = None
        #: whether the cell has shown something else
        self.others = False

    @abstractmethod
    def _publish(self, data: dict[str, Any], display: str, update: bool) -> None:
        """Show MIME data below the cell, under the id of a display, or in its place."""

    @abstractmethod
    def _clear(self) -> None:
        """Clear the cell's output as soon as there is another."""

    def verdict(self, text: str) -> None:
        """Show the verdict on what is about to run."""
        self._write(text)

    def heard(self, progress: Progress) -> None:
        """Take a progress message; from any thread."""
        self._text.heard(progress)

    def text(self) -> str:
        """Return the line as it is now."""
        return self._text.line(WAITS if self._waiting() else "")

    def replaced(self) -> None:
        """What the cell gives comes now, in the place of the line, where nothing else stands below the cell."""
        if self._id is not None and not self.others:
            self._clear()
            self._id = None
        self._stop_button()

    def close(self) -> None:
        """The cell has ended; a line of progress that still stands says how long it took."""
        if self._id is not None and self._ticked:
            self._write(f"took {self._text.seconds:.1f} s")
        self._stop_button()

    def _show(self, stop: Callable[[], Any], *, clicks: bool = True) -> None:
        """Show how far the cell is. stop: what the button does. clicks: whether they arrive while the cell runs."""
        self._ticked = True
        line = self.text()
        hint = f"{line} · {STOP}"
        beside = line if clicks else hint  # beside the button
        if self._button is not None:
            self._button.line(beside)
        elif self._text.seconds >= BUTTON_AFTER:
            from bastion_widgets.stopping import StopLine

            self._button = StopLine(beside, stop)
            self._write(hint, self._button.view())
        else:
            self._write(hint)

    def _stop_button(self) -> None:
        if self._button is not None:
            self._button.close()
            self._button = None

    def _write(self, text: str, more: dict[str, Any] | None = None) -> None:
        update = self._id is not None
        self._id = self._id or uuid.uuid4().hex
        self._publish({**(more or {}), **quiet(text)}, self._id, update)
